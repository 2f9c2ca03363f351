"""Packets as bytes: where each header is and what its fields say. One file per protocol of the layers 2 to 4."""

"""Readers: bytes of one protocol in, the host that is asked for out."""

"""Penstock in line, the kernel's bridge and a direct cable, measured against each other on one machine."""

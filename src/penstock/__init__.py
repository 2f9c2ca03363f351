"""Penstock: a transparent safe-browsing proxy that works on packets, not sockets."""

__version__ = "0.1.0"

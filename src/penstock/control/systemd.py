"""What systemd is told of us: sd_notify(3), without its library."""

import contextlib
import os
import socket


def notify_systemd(text: str) -> None:
    """Tell systemd, if it asked for it."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, contextlib.suppress(OSError):
            notify.connect("\0" + address[1:] if address.startswith("@") else address)
            notify.send(text.encode())

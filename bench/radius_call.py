"""One Accounting-Request: this address is a subscriber with that profile, or no longer. Prints when it was sent.

    python bench/radius_call.py HOST PORT SECRET STATUS IDENTIFIER ADDRESS PROFILE

The time is CLOCK_MONOTONIC in seconds. Ends with status 1 without a reply.
"""

import socket
import struct
import sys
import time

from radius_load import build_packet

PATIENCE_S = 5.0


def main() -> int:
    """Send it and wait for its reply."""
    host, port, secret, status, identifier, address, profile = sys.argv[1:]
    rows = (
        (40, struct.pack(">I", int(status))),
        (44, f"call-{int(identifier) // 2}".encode()),
        (1, b"one-who-moves"),
        (4, b"\xc0\x00\x02\x02"),
        (8, socket.inet_aton(address)),
        (11, profile.encode()),  # Filter-Id
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.settimeout(PATIENCE_S)
        one.connect((host, int(port)))
        sent_s = time.monotonic()
        one.send(build_packet(int(identifier) & 0xFF, rows, secret.encode()))
        if one.recv(4096)[0] != 5:
            return 1
    print(sent_s)
    return 0


if __name__ == "__main__":
    sys.exit(main())

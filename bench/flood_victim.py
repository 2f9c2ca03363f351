"""Who is flooded: a server that takes every connection and every datagram, and says nothing.

    python -m bench.flood_victim

    TCP port 8080        accepted, held for HOLD_S if files allow, reset
    UDP ports 53, 8443   never read

A server that works for each packet would slow the bystander down where the flood reaches it, which is the bridge: this one
costs as little as can be, so that what is compared is what stands between.
"""

import resource
import select
import socket
import struct
import time
from collections import deque
from contextlib import suppress

from bench.flood_packets import DNS_PORT, HTTP_PORT, QUIC_PORT, VICTIM_IPV4

HOLD_S = 8.0
TURN_S = 0.02
SPARE_FILES = 64
BACKLOG = 8192
LINGER = struct.pack("ii", 1, 0)  # close(2) resets


def main() -> None:
    """Serve until the program is ended."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    deaf = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    for channel, port in zip(deaf, (DNS_PORT, QUIC_PORT), strict=True):
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        channel.bind((VICTIM_IPV4, port))
    listener = socket.create_server((VICTIM_IPV4, HTTP_PORT), backlog=BACKLOG)
    listener.setblocking(False)
    print("ready", flush=True)
    held: deque[tuple[float, socket.socket]] = deque()
    while True:
        select.select([listener], [], [], TURN_S)
        now_s = time.monotonic()
        with suppress(BlockingIOError):
            while len(held) < most - SPARE_FILES:
                held.append((now_s, listener.accept()[0]))
        while held and (now_s - held[0][0] > HOLD_S or len(held) >= most - SPARE_FILES):
            channel = held.popleft()[1]
            channel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
            channel.close()
        time.sleep(TURN_S)


if __name__ == "__main__":
    main()

"""RADIUS accounting at a fixed rate: starts, updates and stops of many subscribers, every reply counted and timed.

    python bench/radius_load.py HOST PORT SECRET RATE COUNT FIRST SUBSCRIBERS

Prints one JSON object. Packets are made while they are sent, by the standard library alone. A session is stopped, started
again or updated in turn, so that each packet changes something. Knows RFC 2866; refuses to know who answers.
"""

import json
import random
import select
import socket
import struct
import sys
import time
from hashlib import md5

START, STOP, INTERIM = 1, 2, 3
WINDOW_S = 1.0  # for the last replies
BUFFER_BYTES = 8 << 20
IDENTIFIERS = 256


def build_packet(identifier: int, rows: tuple[tuple[int, bytes], ...], secret: bytes) -> bytes:
    """An Accounting-Request of these attributes."""
    body = b"".join(bytes((kind, len(value) + 2)) + value for kind, value in rows)
    head = struct.pack(">BBH", 4, identifier, 20 + len(body))
    return head + md5(head + bytes(16) + body + secret, usedforsecurity=False).digest() + body


def build_request(identifier: int, status: int, number: int, at_s: int, secret: bytes) -> bytes:
    """About one subscriber's session with an IPv4 address and an IPv6 prefix."""
    name, session = b"s%07d" % number, b"session-%07d" % number
    ipv4 = struct.pack(">I", (100 << 24) + number)
    ipv6 = bytes((0, 56)) + b"\x20\x01\x0d\xb8" + struct.pack(">I", number << 8)[:3]
    rows = (
        (40, struct.pack(">I", status)),  # Acct-Status-Type
        (44, session),  # Acct-Session-Id
        (1, name),  # User-Name
        (4, b"\xc0\x00\x02\x01"),  # NAS-IP-Address
        (8, ipv4),  # Framed-IP-Address
        (123, ipv6),  # Delegated-IPv6-Prefix
        (55, struct.pack(">I", at_s)),  # Event-Timestamp
    )
    return build_packet(identifier, rows, secret)


class Load:
    """A few sockets, since a source has 256 identifiers at one time."""

    def __init__(self, host: str, port: int, secret: bytes) -> None:
        self.secret, self.waiting = secret, [{} for _ in range(16)]
        self.delays_ms: list[float] = []
        self.sockets = []
        for _ in self.waiting:
            one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
            one.connect((host, port))
            one.setblocking(False)
            self.sockets.append(one)

    def send(self, turn: int, status: int, number: int) -> None:
        """One request; the identifier is used again after 4,096 others."""
        place = turn % len(self.sockets)
        identifier = turn // len(self.sockets) % IDENTIFIERS
        packet = build_request(identifier, status, number, int(time.time()), self.secret)
        self.waiting[place][identifier] = time.perf_counter()
        self.sockets[place].send(packet)

    def hear(self, wait_s: float) -> None:
        """Take the replies that are there."""
        ready, _, _ = select.select(self.sockets, [], [], wait_s)
        now_s = time.perf_counter()
        for one in ready:
            waiting = self.waiting[self.sockets.index(one)]
            while True:
                try:
                    reply = one.recv(4096)
                except BlockingIOError:
                    break
                begun_s = waiting.pop(reply[1], None)
                if begun_s is not None and reply[0] == 5:
                    self.delays_ms.append((now_s - begun_s) * 1e3)


def main() -> None:
    """Send COUNT requests at RATE a second; print what came back."""
    host, port, secret, rate, count, first, subscribers = sys.argv[1:]
    load, chance = Load(host, int(port), secret.encode()), random.Random(int(first))
    stopped: set[int] = set()
    begun_s = time.perf_counter()
    for turn in range(int(count)):
        late_s = begun_s + turn / int(rate) - time.perf_counter()
        if late_s > 0 or turn % 64 == 0:
            load.hear(max(late_s, 0))
        number = int(first) + chance.randrange(int(subscribers))
        if number in stopped:
            stopped.discard(number)
            load.send(turn, START, number)
        elif turn % 3:
            load.send(turn, INTERIM if turn % 3 == 1 else START, number)
        else:
            stopped.add(number)
            load.send(turn, STOP, number)
    sent_s = time.perf_counter() - begun_s
    end_s = time.perf_counter() + WINDOW_S
    while time.perf_counter() < end_s and any(load.waiting):
        load.hear(0.05)
    delays = sorted(load.delays_ms)
    figures = {
        "sent": int(count),
        "rate": int(count) / sent_s,
        "answered": len(delays),
        "reply_p50_ms": delays[len(delays) // 2] if delays else 0.0,
        "reply_p99_ms": delays[len(delays) * 99 // 100] if delays else 0.0,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

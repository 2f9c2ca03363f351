"""A server's TCP in plain Python: keeps the first or the last copy, acknowledges cumulatively, may forget, may be lenient.

Positions are offsets from the client's first byte, never wrapped.
"""

from random import Random

from tests.flow.readers import Reader
from tests.vocabulary import ACK, FIN, PSH, RST, SYN, URG, WRONG, Segment, ahead

Reply = tuple[int, int, int, bytes]
"""Position of the server's byte, position acknowledged, flags, data."""


class Server:
    """One connection's receiving end; `stream` is what its application can read."""

    def __init__(self, random: Random, client_first: int, server_first: int, read: Reader, hops: int = 0) -> None:
        self.random, self.read, self.hops = random, read, hops
        self.client_first, self.server_first = client_first, server_first
        self.keeps_last = random.random() < 0.5
        self.reneges = random.random() < 0.3
        self.is_lenient = random.random() < 0.2
        self.answers = random.random() < 0.5
        self.window = random.choice([65535, 65535, 400, 40])
        self.stream = bytearray()
        self.held: dict[int, int] = {}
        self.fin_at: int | None = None
        self.is_dead = False
        self.sent = 0
        self.hosts: list[bytes] = []
        self.last_stamp: int | None = None
        self.skipped: set[int] = set()

    @property
    def following(self) -> int:
        """The position it waits for, FIN counting."""
        return len(self.stream) + self.is_closed

    @property
    def is_closed(self) -> bool:
        return self.fin_at == len(self.stream)

    def place(self, seq: int) -> int:
        return self.following + ahead(seq, (self.client_first + self.following) % (1 << 32))

    def accepts(self, segment: Segment) -> bool:
        """Would a careful stack take this segment's bytes? A lenient one looks at the checksum alone."""
        if self.is_lenient:
            return True
        if not segment.flags & ACK or bytes([19, 18]) in segment.options:
            return False
        if ahead(segment.ack, (self.server_first + self.sent) % (1 << 32)) > 0:
            return False
        if segment.options[:4] == b"\1\1\x08\x0a":
            stamp = int.from_bytes(segment.options[4:8])
            if self.last_stamp is not None and ahead(stamp, self.last_stamp) < 0:
                return False
            self.last_stamp = stamp
        return True

    def receive(self, segment: Segment) -> list[Reply]:
        """Take a segment from the wire; what is said in answer."""
        if self.is_dead or segment.checksum == WRONG or segment.ttl <= self.hops:
            return []
        start = self.place(segment.seq)
        if segment.flags & RST:
            self.is_dead = start == self.following
            return []
        if segment.flags & SYN or not self.accepts(segment):
            return [self.acknowledgement()]
        if start > self.following + self.window or start + len(segment.data) < self.following:
            return [self.acknowledgement()]
        if segment.flags & URG:
            self.skipped.add(start + segment.urgent - 1)
        for number, byte in enumerate(segment.data, start):
            if len(self.stream) <= number < self.following + self.window and (
                self.keeps_last or number not in self.held
            ):
                self.held[number] = byte
        end = start + len(segment.data)
        if segment.flags & FIN and end >= len(self.stream) and self.fin_at is None:
            self.fin_at = end
        return self.advance()

    def advance(self) -> list[Reply]:
        """Move what is in order to the application."""
        before = len(self.stream)
        while len(self.stream) in self.held and not self.is_closed:
            self.stream.append(self.held.pop(len(self.stream)))
        if self.reneges and self.random.random() < 0.2:
            self.held.clear()
        replies = [self.acknowledgement()]
        if len(self.stream) > before or self.is_closed:
            read = bytes(byte for at, byte in enumerate(self.stream) if at not in self.skipped)
            hosts = self.read(read, self.is_closed)
            for _ in hosts[len(self.hosts) :] if self.answers else []:
                data = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
                replies.append((self.sent, self.following, ACK | PSH, data))
                self.sent += len(data)
            self.hosts = hosts
        return replies

    def acknowledgement(self) -> Reply:
        return self.sent, self.following, ACK, b""

"""A healthy client: plain TCP with retransmission over a bad line. All that it sends must arrive, unchanged."""

from random import Random

from tests.flow.evader import OTHER, STAMP, TTL, write_request
from tests.flow.server import Server
from tests.hellos import APPLICATION_DATA, CHANGE_CIPHER_SPEC, cut, plain_hello, post_quantum_hello, record
from tests.vocabulary import ACK, FIN, PSH, Flow, ahead, frame, read_frame, timestamps

REFUSED_REQUEST = b"GET / HTTP/1.1\r\nHost: bad.test\r\n\r\n"  # harmless inside the body of a POST


def write_exchange(random: Random) -> bytes:
    body = random.choice([b"", b"a=b", REFUSED_REQUEST, bytes(3000), random.randbytes(200)])
    kind = random.randrange(3)
    if kind == 0:
        return write_request(random, OTHER, b"POST", b"Content-Length: %d\r\n" % len(body)) + body
    if kind == 1:
        parts = cut(body, [random.randrange(1, 99), 1000]) if body else []
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
        return write_request(random, OTHER, b"PUT", b"Transfer-Encoding: chunked\r\n") + chunks + b"0\r\n\r\n"
    return write_request(random, OTHER)


def write_stream(random: Random) -> bytes:
    """What an honest client says: HTTP, TLS or something else."""
    kind = random.randrange(4)
    if kind == 0:
        hello = random.choice([plain_hello, post_quantum_hello])(OTHER)
        records = b"".join(
            record(part) for part in cut(hello, [random.randrange(len(hello)) for _ in range(random.choice([0, 0, 3]))])
        )
        later = b"".join(record(random.randbytes(random.randrange(20, 400)), APPLICATION_DATA) for _ in range(4))
        return records + record(b"\1", CHANGE_CIPHER_SPEC) + later
    if kind == 1:
        return b"SSH-2.0-x\r\n" + random.randbytes(500)
    return b"".join(write_exchange(random) for _ in range(random.choice([1, 2, 4])))


class Honest:
    """Its sending side; `closes`: a FIN stands behind the last byte."""

    def __init__(self, random: Random, flow: Flow, server: Server, stream: bytes) -> None:
        self.random, self.flow, self.server, self.stream = random, flow, server, stream
        self.first, self.closes = server.client_first, random.random() < 0.7
        self.acknowledged = self.sent = 0
        self.stamped, self.stamp = random.random() < 0.5, STAMP
        self.flight = random.choice([300, 4000, 20_000])
        self.segment_bytes = random.choice([1, 7, 100, 1460] if len(stream) < 700 else [100, 1460])
        self.end = len(stream) + self.closes
        self.refusals = 0

    def hear(self, content: bytes) -> None:
        """A frame that came to the client."""
        segment = read_frame(content)
        if segment.is_reset:
            self.refusals += 1
        self.acknowledged = max(
            self.acknowledged, ahead(segment.ack, (self.first + self.acknowledged) % (1 << 32)) + self.acknowledged
        )
        self.sent = max(self.sent, self.acknowledged)

    def next_frame(self) -> bytes | None:
        """A segment that the window has room for."""
        limit = min(self.acknowledged + min(self.flight, self.server.window), len(self.stream))
        size = min(self.random.randint(1, self.segment_bytes), limit - self.sent)
        is_last = self.closes and self.sent + max(size, 0) == len(self.stream)
        if self.sent >= self.end or (size <= 0 and not is_last):
            return None
        return self.write(max(size, 0), is_last)

    def write(self, size: int, is_last: bool) -> bytes:
        self.stamp += 1
        data = self.stream[self.sent : self.sent + size]
        content = frame(
            self.flow, True, seq=self.first + self.sent, ack=self.server.server_first + self.server.sent, data=data,
            flags=ACK | PSH | (FIN if is_last else 0), ttl=TTL, options=timestamps(self.stamp, 1) if self.stamped else b"",
        )  # fmt: skip
        self.sent += size + is_last
        return content

    def time_out(self) -> None:
        """Begin again at what is not acknowledged."""
        self.sent = self.acknowledged

    @property
    def is_done(self) -> bool:
        return self.acknowledged >= self.end

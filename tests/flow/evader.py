"""Somebody who wants a refused host, sees everything on the wire and has every trick that a client's machine allows."""

from random import Random

from tests.flow.server import Server
from tests.hellos import ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, cut, plain_hello, record
from tests.vocabulary import ACK, BARE, FIN, MD5, PSH, RST, SYN, URG, WRONG, Flow, frame, timestamps

REFUSED, COVER, OTHER = b"bad.test", b"fun.test", b"good.test"
JUNK = [b"SSH-2.0-x\r\n", b"\0\0", b"?", b"G", record(b"x" * 30, APPLICATION_DATA), record(b"\x10\0\0\4abcd"), b""]
TTL, STAMP = 64, 1_000_000


def write_request(random: Random, host: bytes, method: bytes = b"GET", fields: bytes = b"") -> bytes:
    path = b"/" + b"x" * random.choice([0, 0, 5, 60])
    name = random.choice([b"Host", b"HOST", b"host"])
    target = random.choice([path, path, b"http://" + host + path])
    return method + b" " + target + b" HTTP/1.1\r\n" + fields + name + b": " + host + b"\r\n\r\n"


def write_polite(random: Random) -> bytes:
    """A request that is allowed, with one of the bodies that HTTP knows."""
    refused = b"GET / HTTP/1.1\r\nHost: " + REFUSED + b"\r\n\r\n"
    body = random.choice([b"", b"abc", bytes(70), refused, b"\r\n" + refused, b"x" * 300])
    kind = random.randrange(6)
    if kind == 0:
        size = random.choice([len(body), len(body) + 3])
        return write_request(random, OTHER, b"POST", b"Content-Length: %d\r\n" % size) + body + bytes(size - len(body))
    if kind == 1:
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in cut(body, [7, 30]) if body)
        return write_request(random, OTHER, b"POST", b"Transfer-Encoding: chunked\r\n") + chunks + b"0\r\n\r\n"
    if kind == 2:
        return write_request(random, OTHER, b"GET", b"Content-Length: %d\r\n" % len(body)) + body
    if kind == 3:
        return write_request(random, OTHER, b"GET", b"Upgrade: x\r\nConnection: upgrade\r\n")
    return write_request(random, OTHER)


def write_http(random: Random) -> bytes:
    """Some allowed requests, then the one that is not, perhaps without its last lines (a FIN completes it)."""
    wanted = write_request(random, REFUSED)
    if random.random() < 0.2:
        wanted = wanted[: -random.choice([2, 4])]
    return b"".join(write_polite(random) for _ in range(random.choice([0, 0, 1, 2]))) + wanted


def write_tls(random: Random, skipped: bool) -> bytes:
    """A hello for the refused host, or one for another and then, as after a HelloRetryRequest, that one."""

    def records(name: bytes) -> bytes:
        whole = plain_hello(name)
        return b"".join(
            record(part) for part in cut(whole, [random.randrange(len(whole)) for _ in range(random.choice([0, 2]))])
        )

    if random.random() < 0.4:
        return records(REFUSED)
    between = [b"", record(b"\1", CHANGE_CIPHER_SPEC)] + ([record(b"\1\x5a", ALERT)] if skipped else [])
    return records(COVER) + random.choice(between) + records(REFUSED)


class Evader:
    """Moves one segment at a time, towards a stream with the refused name and with a covering copy of it."""

    def __init__(self, random: Random, flow: Flow, server: Server, stream: bytes, tricks: frozenset[str]) -> None:
        self.random, self.flow, self.server, self.stream, self.tricks = random, flow, server, stream, tricks
        self.cover = stream.replace(REFUSED, COVER)
        self.is_patient = random.random() < 0.3
        self.stamped = random.random() < 0.5

    def frame(self, at: int, data: bytes, flags: int = ACK | PSH, **more: object) -> bytes:
        options = timestamps(STAMP, 1) if self.stamped else b""
        more = {"ack": self.server.server_first + self.server.sent, "options": options, "ttl": TTL, **more}
        return frame(self.flow, True, seq=self.server.client_first + at, flags=flags, data=data, **more)  # type: ignore[arg-type]

    def some(self, stream: bytes) -> tuple[int, bytes]:
        """A piece of a stream, most often at what the server waits for."""
        random, wanted = self.random, self.server.following
        if random.random() < 0.6:
            start = max(wanted - random.choice([0, 0, 0, 1, 9]), 0)
        else:
            start = random.randrange(len(stream))
        return start, stream[start : start + random.choice([1, 2, 8, 30, 100, 1460])]

    def move(self) -> bytes:
        """The next frame."""
        random = self.random
        if self.is_patient and random.random() < 0.7:
            return self.repeat()
        kind = random.randrange(100)
        if kind < 40:
            return self.repeat()
        if kind < 60:
            return self.frame(*self.some(self.cover))
        if kind < 80:
            return self.decoy()
        if kind < 86:
            start, data = self.some(self.stream)
            size = random.choice([1, 5, 200])
            return self.frame(start - size, random.randbytes(size) + data)
        if kind < 92:
            at, data = self.some(random.choice([self.stream, self.cover]))
            return self.frame(at, random.choice([data, b""]), ACK | FIN)
        return self.strange()

    def repeat(self) -> bytes:
        """The wanted bytes, with a FIN behind the last of them."""
        start, data = self.some(self.stream)
        is_last = start + len(data) >= len(self.stream) and self.random.random() < 0.5
        return self.frame(start, data, ACK | PSH | (FIN if is_last else 0))

    def decoy(self) -> bytes:
        """Bytes that the server, or a careful one, does not take."""
        random = self.random
        at, data = self.some(random.choice([self.cover, self.cover, self.stream]))
        sent = self.server.server_first + self.server.sent
        return random.choice(
            [
                lambda: self.frame(at, data, ttl=random.choice([1, 60, 61, 62])),
                lambda: self.frame(at, data, checksum=WRONG),
                lambda: self.frame(at, data, checksum=BARE),
                lambda: self.frame(at, data, flags=random.choice([0, PSH, FIN])),
                lambda: self.frame(at, data, options=MD5 + b"\1\1"),
                lambda: self.frame(at, data, options=timestamps(STAMP - random.choice([1, 5000, 1 << 31]), 1)),
                lambda: self.frame(at, data, ack=sent + random.choice([1, 100_000, -100_000, 1 << 31])),
                lambda: self.frame(at - 10_000, data),
                lambda: self.frame(
                    at, random.choice(JUNK), ack=sent + 100_000, flags=random.choice([ACK | PSH, ACK | FIN])
                ),
                lambda: self.frame(at + random.choice([70_000, 1 << 31, -(1 << 30)]), data),
            ]
        )()

    def strange(self) -> bytes:
        """Probes, resets, handshakes, urgent bytes."""
        random, wanted = self.random, self.server.following
        kinds = [
            lambda: self.frame(wanted - 1, b"", ACK),
            lambda: self.frame(wanted - 1, b"?", ACK),
            lambda: self.frame(wanted, self.cover[wanted : wanted + 1], ACK),
            lambda: self.frame(wanted + random.choice([0, 1, -5, 9000]), b"", RST | random.choice([0, ACK])),
            lambda: self.frame(random.randrange(1 << 32), b"", SYN),
            lambda: self.frame(-1, b"", SYN),
        ]
        if "urgent" in self.tricks:
            start = max(wanted, 0)
            kinds += [
                lambda: self.frame(
                    start, random.choice([b"", self.stream[start:][:40]]), ACK | URG, urgent=random.randrange(60)
                )
            ] * 2
        if "syn_ack" in self.tricks:
            kinds.append(lambda: self.frame(random.randrange(9000), b"", SYN | ACK, ack=self.server.client_first))
        return random.choice(kinds)()

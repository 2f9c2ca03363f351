"""Somebody who wants a refused name over QUIC, sees everything on the wire and has every trick of a client's machine.

Knows what the server has read of each attempt. Refuses to know what the box holds.
"""

from random import Random

from penstock.flow.connection import PAIR_LIMIT, TRIES
from tests.flow.quic_server import Connection, QuicServer
from tests.quic import ACK_FRAME, CLOSE, HANDSHAKE, PING, V1, V2, ZERO_RTT, crypto, hello, initial, long_packet, varint

REFUSED, COVER, OTHER = b"bad.test", b"fun.test", b"good.test"
FOREIGN = 0xFF00001D


class Attempt:
    """One connection that an evader tries to have accepted with the refused name."""

    def __init__(self, random: Random) -> None:
        self.dcid, self.scid = random.randbytes(8), random.randbytes(random.choice([0, 4, 8]))
        self.version = random.choice([V1, V1, V2])
        self.size = size = random.choice([0, 0, 0, 1500, 4500])
        first = hello((REFUSED if random.random() < 0.6 else COVER).decode(), size)
        self.sent, self.first_end = 0, len(first)
        self.stream = first + (hello(REFUSED.decode()) if random.random() < 0.5 else b"")
        self.cover = self.stream.replace(REFUSED, COVER)
        self.number = random.choice([0, 0, 1, 200, 70_000, 1 << 31])
        self.token = b""
        self.cid = self.dcid  # whose keys it uses

    def ask_twice(self) -> None:
        """First for the covering name, then for the refused one."""
        first = hello(COVER.decode(), self.size)
        self.stream, self.cover = first + hello(REFUSED.decode()), first + hello(COVER.decode())
        self.sent, self.first_end = 0, len(first)


class Evader:
    """Sees everything, has two ports and, with a trick, two addresses."""

    def __init__(self, random: Random, server: QuicServer, tricks: frozenset[str]) -> None:
        self.random, self.server, self.tricks = random, server, tricks
        self.attempts = [Attempt(random) for _ in range(random.choice([1, 1, 2]))]
        self.decoys = [Attempt(random) for _ in range(2)]
        self.later: list[bytes] = []
        self.is_patient = random.random() < 0.5
        self.is_careful = random.random() < 0.5  # spoils no attempt of its own
        if self.is_careful and server.asks_again and random.random() < 0.7:
            self.attempts[0].ask_twice()

    def known(self, attempt: Attempt) -> Connection | None:
        return self.server.connections.get(attempt.cid)

    @property
    def has_begun(self) -> bool:
        """Has a server read something of an attempt?"""
        return any(known.stream for attempt in self.attempts if (known := self.known(attempt)))

    def following(self, attempt: Attempt) -> bytes:
        """The CRYPTO frame behind the one before, or at what the server waits for; it ends where the first hello ends."""
        random, known, size = self.random, self.known(attempt), self.random.choice([100, 1000])
        at = attempt.sent if random.random() < 0.7 else len(known.stream) if known else 0
        end = min(at + size, attempt.first_end if at < attempt.first_end else len(attempt.stream))
        attempt.sent = end
        return crypto(at, attempt.stream[at:end])

    def piece(self, attempt: Attempt, stream: bytes) -> bytes:
        """A CRYPTO frame, most often at what the server waits for."""
        random, known = self.random, self.known(attempt)
        at = (
            len(known.stream)
            if known and random.random() < 0.6
            else random.choice([0, 0, random.randrange(len(stream))])
        )
        at = max(at - random.choice([0, 0, 0, 1, 30]), 0)
        return crypto(at, stream[at : at + random.choice([1, 10, 60, 200, 1000, 1000, 1000])])

    def frames(self, attempt: Attempt) -> bytes:
        random = self.random
        parts = []
        for _ in range(random.choice([1, 1, 2, 3])):
            is_real = self.is_careful or random.random() < 0.7
            parts.append(self.piece(attempt, attempt.stream if is_real else attempt.cover))
            if self.is_careful:
                continue
            if random.random() < 0.1:
                long_type = varint(6, random.choice([2, 4, 8]))
                parts[-1] = long_type + parts[-1][1:]
            if random.random() < 0.15:
                odd = [
                    PING,
                    bytes(9),
                    ACK_FRAME,
                    CLOSE,
                    b"\x1f",
                    b"\x40\x01",
                    b"\x06\0\0",
                    b"\x03" + bytes(7),
                    b"\x06\xff",
                ]
                parts.insert(random.randrange(len(parts) + 1), random.choice(odd))
        return b"".join(parts)[:1180]

    def packet(self, attempt: Attempt, size: int, frames: bytes | None = None) -> bytes:
        """An Initial of an attempt, under right or wrong ID, keys, version and number."""
        random, known = self.random, self.known(attempt)
        frames = self.frames(attempt) if frames is None else frames
        retried = self.server.retry_cids.get(attempt.dcid)
        if retried and attempt.cid == attempt.dcid and random.random() < 0.7:
            attempt.cid, attempt.token = retried, b"token"
        dcid, key_cid = attempt.cid, attempt.cid
        if known and random.random() < 0.5:
            dcid = known.scid
        if self.is_careful:
            attempt.number += 1
            return initial(dcid, frames, scid=attempt.scid, version=attempt.version, number=attempt.number, number_bytes=4,
                           token=attempt.token, key_cid=key_cid, size=size)  # fmt: skip
        if random.random() < 0.05:
            dcid = random.choice([random.randbytes(8), self.decoys[0].dcid, b""])
        if random.random() < 0.03:
            key_cid = random.choice([dcid, self.decoys[0].dcid])
        version = attempt.version if random.random() < 0.85 else random.choice([V1, V2])
        if random.random() < 0.1:
            attempt.number = random.choice([attempt.number + 300, 1 << 20, (1 << 40) + 5])
        number = attempt.number
        attempt.number += random.choice([1, 1, 1, 0, 3])
        if known and random.random() < 0.2:
            number = known.largest + 1
        scid = attempt.scid if random.random() < 0.9 else random.randbytes(5)
        return initial(dcid, frames, scid=scid, version=version, number=number, number_bytes=random.choice([1, 2, 4, 4]),
                       token=attempt.token, key_cid=key_cid, size=size)  # fmt: skip

    def beside(self, attempt: Attempt) -> bytes:
        """What may stand in front of an Initial, or behind it, in one datagram."""
        random = self.random
        kind = random.randrange(7)
        if kind < 2:
            known = self.known(attempt)
            dcid = known.scid if known and random.random() < 0.5 else attempt.cid
            return long_packet(random.choice([ZERO_RTT, HANDSHAKE]), dcid, bytes(30), scid=attempt.scid)
        if kind == 2:
            return self.packet(attempt, 0, PING if self.is_careful else self.piece(attempt, attempt.cover))
        if kind > 4 and "vehicle" in self.tricks:
            return self.vehicle(0)
        return random.choice([b"", bytes(20), b"\x40" + bytes(20), long_packet(0, attempt.cid, b"x", version=FOREIGN)])

    def vehicle(self, size: int) -> bytes:
        """Half of an allowed hello; the other half comes later."""
        random = self.random
        cid, name = random.randbytes(8), hello(OTHER.decode())
        self.later.append(initial(cid, crypto(50, name[50:]), number=1))
        return initial(cid, crypto(0, name[:50]), size=size)

    def move(self) -> tuple[list[bytes], int]:
        """The next datagrams, and at which size they are one super-packet (0: they are none)."""
        random = self.random
        if self.later and random.random() < 0.6:
            return [self.later.pop()], 0
        attempt = random.choice(self.attempts if random.random() < 0.8 else self.decoys)
        kind = random.randrange(100)
        if self.is_patient and kind < 60:
            frames = self.following(attempt)
            if random.random() < 0.5:
                return [self.packet(attempt, 1200, frames)], 0
            return [self.beside(attempt) + self.packet(attempt, 0, frames)], 0
        if kind < 50:
            return [self.packet(attempt, 1200)], 0
        if kind < 70:
            front = random.random() < 0.6
            main, other = self.packet(attempt, 900), self.beside(attempt)
            return [main + other if front else other + main], 0
        if kind < 82:
            others = [self.packet(random.choice([attempt, *self.decoys]), 1200, PING) for _ in range(2)]
            if "vehicle" in self.tricks and random.random() < 0.5:
                others.append(self.vehicle(1200))
            packets = [self.packet(attempt, 1200), *others]
            random.shuffle(packets)
            size = len(packets[0])
            return packets[: next((n for n, packet in enumerate(packets) if len(packet) != size), 4)], size
        if kind < 86:
            return [long_packet(ZERO_RTT, attempt.cid, bytes(1100), scid=attempt.scid)], 0
        if kind < 90:
            return [
                random.choice(
                    [b"hello", b"\x40" + bytes(40), long_packet(0, attempt.cid, bytes(1180), version=FOREIGN)]
                )
            ], 0
        if kind < 99 or random.random() < 0.9:
            count = random.choice([1, TRIES + 1])
        else:
            count = PAIR_LIMIT + 4
        return [
            initial(random.randbytes(8), random.choice([PING, crypto(0, hello(OTHER.decode()))])) for _ in range(count)
        ], 0

"""The oracle of the QUIC path: random evaders and healthy clients through the box, to a server in plain Python.

    evader ──► box ──► server: opens Initials by its own code, finds connections by ID ──► which names does it act for?

The server is the least careful one that still is nobody's accomplice: any packet that its keys open counts, whatever its
port, its datagram's size or what stands beside it. Each of its habits is drawn by lot.

`python -m tests.flow.quic_model --runs 20000` names each run that fails, `--run N` repeats it in words,
`--without late` leaves a trick out. RFC 9000 7, 12, 17, 19; RFC 9001 5.2; RFC 9368; RFC 9369.
"""

import argparse
from collections import Counter
from contextlib import suppress
from ctypes import c_int64
from dataclasses import dataclass, field
from random import Random

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from penstock.flow.connection import PAIR_LIMIT, TRIES
from penstock.line.native import Outcome
from penstock.path.holds import HOLDS_IN_USE
from penstock.path.layout import W_HOLDS
from tests.flow.readers import read_hello_name
from tests.path.boxes import Box, name_of
from tests.quic import (
    ACK_FRAME,
    CLOSE,
    HANDSHAKE,
    INITIAL,
    PING,
    SERVER,
    TYPES,
    V1,
    V2,
    ZERO_RTT,
    crypto,
    datagram,
    hello,
    initial,
    keys,
    long_packet,
    mask,
    read_datagram,
    varint,
)
from tests.vocabulary import BARE, RIGHT, WRONG, Flow, ethernet, ipv4, packed

REFUSED, COVER, OTHER = b"bad.test", b"fun.test", b"good.test"
TRICKS = frozenset({"addresses", "late", "vehicle"})
MS, HOPS = 1_000_000, 4
MOVES, PATIENCE = 24, 40
PAUSE_NS = 90_000 * MS
FOREIGN = 0xFF00001D


# ---- packets, read by the server's own code ----------------------------------------------------------------------------
@dataclass
class Packet:
    """A long header packet as it stands in its datagram."""

    kind: int
    version: int
    dcid: bytes
    scid: bytes
    token: bytes
    content: bytes
    number_at: int


def read_varint(content: bytes, at: int) -> tuple[int, int]:
    """The integer at a place, and the place behind it. Raises IndexError where it is cut off."""
    size = 1 << (content[at] >> 6)
    if at + size > len(content):
        raise IndexError
    return int.from_bytes(content[at : at + size]) & (1 << 8 * size - 2) - 1, at + size


def read_packets(data: bytes) -> list[Packet]:
    """The long header packets of versions 1 and 2 in a datagram, as far as it can be read."""
    found = []
    with suppress(IndexError):
        while data and data[0] & 0x80:
            version, size = int.from_bytes(data[1:5]), data[5]
            dcid, at = data[6 : 6 + size], 6 + size
            scid, at = data[at + 1 : at + 1 + data[at]], at + 1 + data[at]
            if version not in (V1, V2) or max(len(dcid), len(scid)) > 20:
                break
            kind, token = TYPES[version].index(data[0] >> 4 & 3), b""
            if kind == INITIAL:
                size, at = read_varint(data, at)
                token, at = data[at : at + size], at + size
            size, at = read_varint(data, at)
            if at + size > len(data):
                break
            found.append(Packet(kind, version, dcid, scid, token, data[: at + size], at))
            data = data[at + size :]
    return found


def open_packet(packet: Packet, cid: bytes, version: int, largest: int) -> tuple[int, bytes] | None:
    """Number and frames of an Initial under the keys of a connection ID; None when they do not open it."""
    content, at = packet.content, packet.number_at
    if len(content) < at + 20:
        return None
    key, iv, hp = keys(cid, version)
    cover = mask(hp, content[at + 4 : at + 20])
    size = ((content[0] ^ cover[0]) & 3) + 1
    shown = bytes(a ^ b for a, b in zip(content[at : at + size], cover[1:], strict=False))
    number, window, expected = int.from_bytes(shown), 1 << 8 * size, largest + 1
    number |= expected & -window  # RFC 9000 A.3
    if number <= expected - window // 2:
        number += window
    elif number > expected + window // 2 and number >= window:
        number -= window
    head = bytes([content[0] ^ cover[0] & 15]) + content[1:at] + shown
    try:
        return number, AESGCM(key).decrypt((int.from_bytes(iv) ^ number).to_bytes(12), content[at + size :], head)
    except InvalidTag:
        return None


# ---- the server --------------------------------------------------------------------------------------------------------
@dataclass
class Connection:
    """What the server knows of one."""

    cid: bytes
    version: int
    scid: bytes
    born_ns: int
    largest: int = -1
    done: int = 0
    stream: bytearray = field(default_factory=bytearray)
    held: dict[int, int] = field(default_factory=dict)
    names: list[bytes] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)
    is_dead: bool = False
    is_confirmed: bool = False


class QuicServer:
    """Many connections; `names` are those that it acted for."""

    def __init__(self, random: Random, *, is_plain: bool = False) -> None:
        self.random = random
        self.keeps_last = random.random() < 0.5
        self.asks_again = random.random() < 0.5
        self.retries = random.random() < 0.3
        self.skips_unknown = not is_plain and random.random() < 0.3
        self.reads_long_types = not is_plain and random.random() < 0.5
        self.reads_on = not is_plain and random.random() < 0.5
        self.upgrades = random.random() < 0.5
        self.limit_ns = random.choice([10_000, 30_000, 59_000]) * MS
        self.connections: dict[bytes, Connection] = {}
        self.retry_cids: dict[bytes, bytes] = {}
        self.names: list[bytes] = []

    def find(self, packet: Packet, now_ns: int) -> Connection | None:
        """The connection of an Initial, by its ID alone; perhaps a new one, perhaps a Retry instead."""
        known = self.connections.get(packet.dcid)
        if known and now_ns - known.born_ns < self.limit_ns:
            return known
        if open_packet(packet, packet.dcid, packet.version, -1) is None:
            return None
        if self.retries and packet.token != b"token":
            self.retry_cids.setdefault(packet.dcid, self.random.randbytes(8))
            return None
        made = Connection(packet.dcid, packet.version, self.random.randbytes(8), now_ns)
        self.connections[packet.dcid] = self.connections[made.scid] = made
        return made

    def receive(self, data: bytes, now_ns: int) -> Connection | None:
        """A datagram from the wire. Returns the last connection that it spoke of."""
        last = None
        for packet in read_packets(data):
            connection = self.connections.get(packet.dcid)
            if packet.kind == INITIAL and (connection := self.find(packet, now_ns)):
                self.open(connection, packet)
            elif packet.kind == HANDSHAKE and connection:
                connection.is_confirmed = True
            last = connection or last
        return last

    def open(self, connection: Connection, packet: Packet) -> None:
        if packet.version != connection.version and not self.upgrades:
            return
        opened = open_packet(packet, connection.cid, packet.version, connection.largest)
        if opened is None or connection.is_dead or opened[0] in connection.seen:
            return
        connection.seen.add(opened[0])
        connection.largest = max(connection.largest, opened[0])
        with suppress(IndexError):
            self.read_frames(connection, opened[1])
        self.act(connection)

    def read_frames(self, connection: Connection, frames: bytes) -> None:
        at = 0
        while at < len(frames):
            if frames[at] == 0:
                at = len(frames) - len(frames[at:].lstrip(b"\0"))
                continue
            start = at
            kind, at = read_varint(frames, at)
            if at - start > 1 and not self.reads_long_types:
                connection.is_dead = True
                return
            if kind == 6:
                offset, at = read_varint(frames, at)
                size, at = read_varint(frames, at)
                if at + size > len(frames):
                    return
                self.keep(connection, offset, frames[at : at + size])
                at += size
            elif kind in (2, 3):
                for number in range(4 if kind == 2 else 7):
                    ranges, after = read_varint(frames, at)
                    at = after
                    if number == 2 and ranges:
                        return
            elif kind == 0x1C:
                if not self.reads_on:
                    connection.is_dead = True
                    return
                for _ in range(3):
                    size, at = read_varint(frames, at)
                at += size
            elif kind > 1 and not self.skips_unknown:
                connection.is_dead = True
                return

    def keep(self, connection: Connection, offset: int, content: bytes) -> None:
        """Keep bytes that are not read yet: the first or the last copy of each."""
        for place, byte in enumerate(content, offset):
            if place >= len(connection.stream) and (self.keeps_last or place not in connection.held):
                connection.held[place] = byte

    def act(self, connection: Connection) -> None:
        """Act on each hello that is whole now."""
        stream, held = connection.stream, connection.held
        while len(stream) in held:
            stream.append(held.pop(len(stream)))
        while len(connection.names) < 1 + self.asks_again and len(stream) >= connection.done + 4:
            end = connection.done + 4 + int.from_bytes(stream[connection.done + 1 : connection.done + 4])
            if stream[connection.done] != 1 or len(stream) < end:
                return
            with suppress(IndexError):
                names = read_hello_name(bytes(stream[connection.done : end]))
                connection.names += names
                self.names += names
            connection.done = end


# ---- the evader --------------------------------------------------------------------------------------------------------
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


# ---- the healthy client ------------------------------------------------------------------------------------------------
class Client:
    """Cuts its hello as it likes, repeats what is missing, follows Retry, HelloRetryRequest and a change of version."""

    def __init__(self, random: Random, server: QuicServer, flow: Flow) -> None:
        self.random, self.server, self.flow = random, server, flow
        self.dcid = self.cid = random.randbytes(random.choice([8, 8, 20]))
        self.scid = random.randbytes(random.choice([0, 8]))
        self.version, self.token = random.choice([V1, V1, V2]), b""
        self.number = random.choice([0, 0, 1, random.randrange(1 << 16)])
        self.stream = hello(OTHER.decode(), random.choice([0, 0, 1800, 5000, 20_000]))
        self.first_end = len(self.stream)
        self.cut = random.choice([1000, 1000, 100])
        self.has_early = random.random() < 0.2
        self.is_told = False
        self.closed = 0
        self.queue: list[bytes] = []

    @property
    def connection(self) -> Connection | None:
        return self.server.connections.get(self.cid)

    @property
    def is_done(self) -> bool:
        return bool(self.connection and self.connection.is_confirmed)

    def hear(self) -> None:
        """What the server said has arrived."""
        if self.connection:
            self.is_told = True
            if self.server.asks_again and self.connection.names and len(self.stream) == self.first_end:
                self.stream += hello(OTHER.decode(), 300)
            if self.server.upgrades and self.connection.names:
                self.version = V2
        elif self.dcid in self.server.retry_cids and not self.token:
            self.cid, self.token = self.server.retry_cids[self.dcid], b"token"

    def flight(self) -> list[bytes]:
        """Everything that the server has not acknowledged, once more."""
        random, known = self.random, self.connection
        at = len(known.stream) if known and self.is_told else 0
        dcid = known.scid if known and self.is_told else self.cid
        if known and known.names and self.is_told and at >= len(self.stream):
            front = self.write(dcid, ACK_FRAME, 300)
            return [front + long_packet(HANDSHAKE, dcid, bytes(60), scid=self.scid)]
        pieces = [(place, self.stream[place : place + self.cut]) for place in range(at, len(self.stream), self.cut)]
        if random.random() < 0.4:
            random.shuffle(pieces)
        packets, frames = [], b"" if random.random() < 0.5 else random.choice([PING, bytes(5), ACK_FRAME])
        for place, content in pieces:
            if len(frames) + len(content) > 1100:
                packets.append(self.write(dcid, frames, 1200))
                frames = b""
            frames += crypto(place, content)
        packets.append(self.write(dcid, frames, 1200))
        if self.has_early:
            packets.insert(random.randrange(len(packets) + 1), long_packet(ZERO_RTT, dcid, bytes(200), scid=self.scid))
        return packets

    def write(self, dcid: bytes, frames: bytes, size: int) -> bytes:
        self.number += 1
        return initial(dcid, frames, scid=self.scid, version=self.version, number=self.number - 1, number_bytes=4,
                       token=self.token, key_cid=self.cid, size=size)  # fmt: skip


# ---- the model ---------------------------------------------------------------------------------------------------------
class Model:
    """A box for many runs; the clock goes on between them, so that the box has forgotten the run before."""

    def __init__(self, seed: int = 0, tricks: frozenset[str] = TRICKS, *, says: bool = False) -> None:
        self.seed, self.tricks, self.says = seed, tricks, says
        self.box = Box(capacity=64, stream_count=8, large_count=2)
        self.tally: Counter[str] = Counter()
        self.sizes: dict[bytes, int] = {}
        self.pieces: dict[bytes, dict[int, bytes]] = {}
        self.received = self.answered = self.missing = self.identity = 0

    def send(self, server: QuicServer, flow: Flow, data: list[bytes], gso_size: int = 0, ttl: int = 64,
             checksum: str = RIGHT) -> list[Outcome]:  # fmt: skip
        """A packet through the box, whole or in two fragments; what the box lets pass reaches the server."""
        content = datagram(flow, b"".join(data), checksum=checksum, ttl=ttl)
        if checksum == WRONG and self.random.random() < 0.5 and not flow.is_ipv6:
            content = content[:40] + bytes(2) + content[42:]  # no checksum at all
        frames = [content]
        if self.fragments and not gso_size and not flow.is_ipv6 and self.random.random() < self.fragments:
            frames = self.cut(flow, content[34:], ttl)
        self.sizes[content] = gso_size
        self.received += len(b"".join(data))
        return [self.cross(server, flow, frame, gso_size) for frame in frames]

    def cut(self, flow: Flow, content: bytes, ttl: int) -> list[bytes]:
        """A datagram in two fragments."""
        middle, ends = len(content) // 16 * 8, (packed(flow.client), packed(flow.server))
        self.identity += 1
        cuts = ((0x2000, content[:middle]), (middle // 8, content[middle:]))
        return [
            ethernet(True, False) + ipv4(*ends, 17, len(part), ttl, place, identity=self.identity & 0xFFFF) + part
            for place, part in cuts
        ]

    def cross(self, server: QuicServer, flow: Flow, content: bytes, gso_size: int) -> Outcome:
        """One frame through the box."""
        outcome = self.box.take_raw(content, True, gso_size)
        assert outcome.path_reason != 0, "a packet that went up has a path reason"
        self.tally[name_of(outcome)] += 1
        passed = [content] if outcome.is_forwarded else [sent for to_server, sent in outcome.sent if to_server]
        self.answered += sum(len(read_datagram(sent).data) for to_server, sent in outcome.sent if not to_server)
        if self.says:
            heads = [(p.kind, p.version, p.dcid.hex(), len(p.content)) for p in read_packets(content[42:])]
            print(f"{flow.client}:{flow.client_port} gso {gso_size}: {name_of(outcome)}, {len(passed)} pass: {heads}")
        for frame in passed:
            self.arrive(server, flow, frame)
        return outcome

    def arrive(self, server: QuicServer, flow: Flow, frame: bytes) -> None:
        """A frame behind the box: a datagram, those of a super-packet, or a fragment, of which the first one waits."""
        is_ipv6 = frame[12:14] == b"\x86\xdd"
        if not is_ipv6 and int.from_bytes(frame[20:22]) & 0x3FFF:
            parts = self.pieces.setdefault(frame[18:20], {})
            parts[int.from_bytes(frame[20:22]) & 0x1FFF] = frame[34:]
            if len(parts) < 2:
                return
            content = parts[0] + parts[max(parts)]
            frame = frame[:14] + ipv4(frame[26:30], frame[30:34], 17, len(content), frame[22]) + content
        read, has_checksum = read_datagram(frame), is_ipv6 or frame[40:42] != bytes(2)
        step = self.sizes.get(frame, 0) or max(len(read.data), 1)
        if frame[21 if is_ipv6 else 22] <= HOPS or (read.checksum == WRONG and has_checksum):
            return
        for at in range(0, len(read.data), step):
            if self.random.random() < self.loses:
                continue
            known = server.receive(read.data[at : at + step], self.box.now_ns)
            if known and self.random.random() < 0.3:
                reply = initial(b"", ACK_FRAME, scid=known.scid, version=known.version, key_cid=known.cid, side=SERVER)
                self.box.take_raw(datagram(flow, reply, False), False)

    def begin(self, number: int, kind: str) -> Random:
        self.random = random = Random(f"{self.seed} {kind} {number}")
        self.box.now_ns += PAUSE_NS
        self.sizes.clear()
        self.pieces.clear()
        self.loses, self.fragments = random.choice([0, 0, 0.1]), random.choice([0, 0, 0.2])
        self.received = self.answered = 0
        return random

    def evade(self, number: int) -> str:
        """One evader. Returns what went wrong, or nothing."""
        random = self.begin(number, "evade")
        server = QuicServer(random)
        if "late" in self.tricks and random.random() < 0.2:
            server.limit_ns = 1 << 62
        evader = Evader(random, server, self.tricks)
        addresses = ["10.1.0.1", "10.1.0.2"] if "addresses" in self.tricks and random.random() < 0.4 else ["10.1.0.1"]
        ports, v6 = [40_000, 40_001], random.random() < 0.2
        for _ in range(MOVES):
            data, gso_size = evader.move()
            client = addresses[-1 if evader.has_begun and random.random() < 0.6 else 0]
            flow = Flow(f"fd00::{client[-1]}", "2001:db8::1") if v6 else Flow(client)
            flow = flow._replace(client_port=random.choice(ports), server_port=443)
            ttl, checksum = (2 if random.random() < 0.12 else 64), random.choice([RIGHT] * 18 + [BARE, WRONG])
            for part in [data] if gso_size else [[one] for one in data]:
                self.send(server, flow, part, gso_size, ttl, checksum)
            if random.random() < 0.12:
                self.box.now_ns += random.choice([50, 150, 150, 5_000, 11_000, 65_000]) * MS
            if REFUSED in server.names:
                return "a bypass"
        self.tally["evaders"] += 1
        self.tally["evaders whose server acted for others"] += bool(server.names)
        return self.check()

    def carry(self, number: int) -> str:
        """Some healthy clients of one address at a time. Returns what went wrong, or nothing."""
        random = self.begin(number, "carry")
        server = QuicServer(random, is_plain=True)
        server.limit_ns = PAUSE_NS
        clients = [
            Client(random, server, Flow("10.1.0.3", client_port=50_000 + n, server_port=443))
            for n in range(random.choice([1, 1, 3]))
        ]
        self.loses, near = random.choice([0, 0.1, 0.25]), random.choice([0, 0.1, 0.25])
        for turn in range(PATIENCE):
            waiting = [client for client in clients if not client.is_done]
            if not waiting:
                break
            for client in waiting:
                self.fly(server, client, near)
            self.box.now_ns += random.choice([1, 20, 90]) * MS << min(turn, 4)
        self.tally["healthy clients"] += len(clients)
        if any(client.closed for client in clients):
            return "a healthy client was refused"
        return self.check() if all(client.is_done for client in clients) else "a healthy client stalled"

    def fly(self, server: QuicServer, client: Client, near: float) -> None:
        """One flight of a client, with loss, repetition and another order, and what it hears of it."""
        random, flight = self.random, client.flight()
        if random.random() < 0.3:
            flight.insert(random.randrange(len(flight) + 1), random.choice(flight))
        sizes = {len(packet) for packet in flight}
        if len(sizes) == 1 and random.random() < 0.2:
            groups, size = [flight[at : at + 20] for at in range(0, len(flight), 20)], sizes.pop()
        else:
            groups, size = [[packet] for packet in flight], 0
        for group in groups:
            if random.random() < near:
                continue
            for outcome in self.send(server, client.flow, group, size if len(group) > 1 else 0):
                client.closed += sum(not to_server for to_server, _ in outcome.sent)
            self.box.now_ns += random.choice([0, 0, 1, 30]) * MS
        if random.random() >= self.loses:
            client.hear()

    def check(self) -> str:
        """The ledger: what went up has a reason or waits; no more than three times is answered."""
        waiting = self.box.held() + c_int64.from_address(self.box.path.worker.word(W_HOLDS) + HOLDS_IN_USE).value
        up = sum(count for name, count in self.box.counts().items() if name.startswith("up_"))
        missing = up - sum(self.box.path_counts().values()) - waiting - self.missing
        if missing:
            self.missing += missing
            return f"the ledger is open: {missing} packets ended without a reason"
        return "" if self.answered <= 3 * self.received else "more than three times was answered"

    def run(self, first: int, count: int) -> list[str]:
        """Runs `first` to `first + count`, three evaders to one healthy run. Returns the failures."""
        failures = []
        for number in range(first, first + count):
            said = self.carry(number) if number % 4 == 3 else self.evade(number)
            failures += [f"run {number}: {said}"] if said else []
        return failures


def main() -> None:
    parser = argparse.ArgumentParser(description="Random evaders and healthy clients of QUIC through the whole path.")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", type=int, help="repeat this run alone, in words")
    parser.add_argument("--without", nargs="*", default=[], choices=sorted(TRICKS), help="tricks that no evader uses")
    choices = parser.parse_args()
    model = Model(choices.seed, TRICKS - set(choices.without), says=choices.run is not None)
    first, count = (0, choices.runs) if choices.run is None else (choices.run, 1)
    failures = model.run(first, count)
    print(*failures, sep="\n")
    print(f"{len(failures)} failures in {count} runs; {dict(model.tally)}")
    raise SystemExit(bool(failures))


if __name__ == "__main__":
    main()

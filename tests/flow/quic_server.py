"""A server's QUIC in plain Python, as far as the names that it is asked for: opens Initials by its own code.

It is the least careful server that still is nobody's accomplice: any packet that its keys open counts, whatever its port,
its datagram's size or what stands beside it. Each of its habits is drawn by lot.

Knows Initials, CRYPTO streams, Retry and versions 1 and 2. Refuses to know who asks, and the box before it.
RFC 9000 7, 12, 17, 19; RFC 9001 5.2; RFC 9368; RFC 9369.
"""

from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.flow.readers import read_hello_name
from tests.quic import HANDSHAKE, INITIAL, TYPES, V1, V2, keys, mask

MS = 1_000_000  # in ns


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

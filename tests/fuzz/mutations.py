"""Packets taken apart so that they can be changed in any way, and the ways.

A packet of a captured conversation keeps what its sender wrote above the addresses; the ends become two that nobody owns.
Most changes leave the checksums right, so that what is behind them is read; others do not.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from tests.vocabulary import FAST_OPEN, MD5, MPTCP_CAPABLE, MSS, ethernet, ipv4, ipv6, packed, sum16, timestamps

GUEST = {4: "10.77.0.77", 6: "fd77::77"}
NOBODY = {4: "198.51.100.99", 6: "2001:db8:77::99"}
TCP, UDP = 6, 17
FRAME_LIMIT = 1514  # of an interface with the usual MTU, tags not counted
TAGS = [(0x8100, 0), (0x8100, 100), (0x88A8, 7), (0x8100, 0xE064)]
OPTIONS = [
    MSS,
    MPTCP_CAPABLE,
    FAST_OPEN,
    MD5,
    timestamps(1, 2),
    timestamps(1 << 31, 1),
    b"\x1e\xff",
    b"\0",
    b"\x13\1",
    bytes(40),
]
EXTENSIONS = [  # kind, and all but the first byte, which names the next
    (0, b"\0\1\4" + bytes(4)), (60, b"\0\1\4" + bytes(4)), (43, b"\0\4\0" + bytes(4)), (43, b"\2\0\1" + bytes(20)),
    (51, b"\4" + bytes(22)), (44, bytes(7)), (135, b"\0" + bytes(6)), (0, b"\xff" + bytes(6)), (60, b"\x20" + bytes(262)),
]  # fmt: skip
ODD_BYTES = [0, 1, 0x7F, 0x80, 0xFF, 0x20, 0x0A, 0x0D]


@dataclass
class Packet:
    """One packet of a conversation: everything that a frame is made of."""

    to_server: bool
    family: int
    protocol: int
    content: bytes
    """From the TCP or UDP header on; its ports are those of the capture."""
    client_port: int = 0
    ttl: int = 64
    tags: tuple[tuple[int, int], ...] = ()
    extensions: list[tuple[int, bytes]] = field(default_factory=list)
    ip_options: bytes = b""
    is_mended: bool = True
    """The checksum is made right."""

    @property
    def head_bytes(self) -> int:
        """Of TCP or UDP, as the packet says it."""
        said = self.content[12] >> 4 << 2 if self.protocol == TCP and len(self.content) > 12 else 8
        return min(said, len(self.content))

    def write(self, at: int, part: bytes) -> None:
        self.content = self.content[:at] + part + self.content[at + len(part) :]

    def mend(self) -> bytes:
        """The content with the client's port and the right checksum."""
        port = self.client_port.to_bytes(2)
        content = port + self.content[2:] if self.to_server else self.content[:2] + port + self.content[4:]
        at = 16 if self.protocol == TCP else 6
        if not self.is_mended or len(content) < at + 2:
            return content
        source, target = self.ends
        content = content[:at] + b"\0\0" + content[at + 2 :]
        whole = sum16(source + target + struct.pack(">II", len(content), self.protocol) + content)
        return content[:at] + (~whole & 0xFFFF or 0xFFFF).to_bytes(2) + content[at + 2 :]

    @property
    def ends(self) -> tuple[bytes, bytes]:
        client, server = packed(GUEST[self.family]), packed(NOBODY[self.family])
        return (client, server) if self.to_server else (server, client)

    def build(self) -> bytes:
        """The frame."""
        return self.build_around(self.mend(), 0x4000, self.extensions, self.protocol)

    def build_around(self, content: bytes, fragment: int, extensions: list[tuple[int, bytes]], protocol: int) -> bytes:
        """A frame around bytes of this packet."""
        source, target = self.ends
        head = ethernet(self.to_server, self.family == 6, self.tags)
        if self.family == 4:
            options = self.ip_options
            return head + ipv4(source, target, protocol, len(content), self.ttl, fragment, options) + content
        kinds = [kind for kind, _ in extensions] + [protocol]
        between = b"".join(bytes([kind]) + body for kind, (_, body) in zip(kinds[1:], extensions, strict=True))
        return head + ipv6(source, target, kinds[0], len(between) + len(content), self.ttl) + between + content


# ---- changes of a packet ---------------------------------------------------------------------------------------------
def flip_bits(content: bytes, random: Random, start: int = 0) -> bytes:
    """A few bits of the bytes from `start` on, or a byte that means something."""
    changed = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 4, 8)) if len(content) > start else 0):
        at = random.randrange(start, len(content))
        changed[at] = random.choice(ODD_BYTES) if random.random() < 0.3 else changed[at] ^ 1 << random.randrange(8)
    return bytes(changed)


def change_payload(packet: Packet, random: Random) -> None:
    packet.content = flip_bits(packet.content, random, packet.head_bytes)


def change_head(packet: Packet, random: Random) -> None:
    head = packet.head_bytes
    packet.content = flip_bits(packet.content[:head], random) + packet.content[head:]


def cut_payload(packet: Packet, random: Random) -> None:
    packet.content = packet.content[: random.randint(packet.head_bytes, len(packet.content))]


def grow_payload(packet: Packet, random: Random) -> None:
    room = max(0, 1400 - len(packet.content))
    packet.content += random.choice((bytes(room), random.randbytes(room), packet.content[packet.head_bytes :][:room]))


def repeat_part(packet: Packet, random: Random) -> None:
    body = packet.content[packet.head_bytes :]
    start, size = random.randint(0, len(body)), random.randint(0, 64)
    packet.content = (
        packet.content[: packet.head_bytes] + body[:start] + body[start : start + size] * 2 + body[start:]
    )[:1400]


def shift_numbers(packet: Packet, random: Random) -> None:
    """Sequence or acknowledgement number, by little or by much; of a datagram, its length."""
    at, size = (random.choice((4, 8)), 4) if packet.protocol == TCP else (4, 2)
    by = random.choice((-1, 1, -random.randrange(2000), random.randrange(2000), 1 << 31, 70_000))
    packet.write(at, ((int.from_bytes(packet.content[at : at + size]) + by) % (1 << 8 * size)).to_bytes(size))


def change_flags(packet: Packet, random: Random) -> None:
    if packet.protocol == TCP:
        packet.write(13, bytes([random.choice((2, 4, 0x10, 0x11, 0x12, 0x18, 0x19, 0x30, 0x38, 0, 0xFF))]))


def change_options(packet: Packet, random: Random) -> None:
    """Other options, or a header that says it is longer or shorter."""
    if packet.protocol != TCP:
        return
    body = packet.content[packet.head_bytes :]
    options = b"".join(random.choice(OPTIONS) for _ in range(random.randint(0, 4)))[:40]
    options += bytes(-len(options) % 4)
    words = 5 + len(options) // 4 if random.random() < 0.8 else random.randrange(16)
    packet.content = packet.content[:12] + bytes([words << 4]) + packet.content[13:20] + options + body


def change_ttl(packet: Packet, random: Random) -> None:
    packet.ttl = random.choice((0, 1, 3, 32, 63, 128, 255))


def change_tags(packet: Packet, random: Random) -> None:
    packet.tags = tuple(random.choice(TAGS) for _ in range(random.randint(1, 4)))


def change_chain(packet: Packet, random: Random) -> None:
    """Extension headers, or IPv4 options."""
    if packet.family == 6:
        packet.extensions = [random.choice(EXTENSIONS) for _ in range(random.choice((1, 1, 2, 3, 9)))]
    else:
        packet.ip_options = random.choice(
            (b"\1\1\1\1", b"\x07\x27\x04" + bytes(37), b"\x83\3\4\0", b"\0" * 8, b"\x94\4\0\0")
        )


def break_checksum(packet: Packet, random: Random) -> None:
    packet.is_mended = False


def turn_around(packet: Packet, random: Random) -> None:
    """The same from the other side."""
    packet.to_server = not packet.to_server
    packet.content = packet.content[2:4] + packet.content[:2] + packet.content[4:]


CHANGES: list[Callable[[Packet, Random], None]] = [
    change_payload, change_payload, change_payload, change_head, cut_payload, grow_payload, repeat_part, shift_numbers,
    shift_numbers, change_flags, change_options, change_ttl, change_tags, change_chain, break_checksum, turn_around,
]  # fmt: skip


# ---- changes of a frame ----------------------------------------------------------------------------------------------
def cut_fragments(packet: Packet, random: Random) -> list[bytes]:
    """The packet in fragments, which may overlap, be tiny, out of order, or too few."""
    content, identity = packet.mend(), random.randbytes(4)
    size = random.choice((8, 16, 64, 256, 512))
    pieces = list(range(0, len(content), size))[:40]
    frames = []
    for at in pieces:
        more = at + size < len(content)
        shift = random.choice((0, 0, 0, 0, 0, 0, -8, 8)) if at else 0
        offset, piece = max(0, at + shift) // 8, content[at : at + size]
        if packet.family == 4:
            frame = packet.build_around(piece, offset | more << 13, [], packet.protocol)
            frames.append(frame)
        else:
            head = (44, b"\0" + (offset << 3 | more).to_bytes(2) + identity)
            frames.append(packet.build_around(piece, 0, [*packet.extensions, head], packet.protocol))
    if random.random() < 0.3:
        random.shuffle(frames)
    if random.random() < 0.2:
        frames.pop(random.randrange(len(frames)))
    return frames


def change_lengths(frame: bytes, random: Random) -> bytes:
    """A length that the IP header says, wrong by little or by much."""
    at = 14 + random.choice((0, 2, 3, 4, 5, 6, 7, 9))
    return frame[:at] + bytes([random.choice((*ODD_BYTES, 0x45, 0x46, 0x4F, 0x60))]) + frame[at + 1 :]


def cut_frame(frame: bytes, random: Random) -> bytes:
    return frame[: random.randint(14, len(frame))]


def mutate(packet: Packet, random: Random) -> list[bytes]:
    """What is sent in the place of a packet."""
    for _ in range(random.choice((1, 1, 2, 3))):
        random.choice(CHANGES)(packet, random)
    if random.random() < 0.15 and packet.content:
        return cut_fragments(packet, random)
    frame = packet.build()
    if random.random() < 0.25:
        frame = random.choice((flip_bits, change_lengths, cut_frame))(frame, random)
    return [frame] * random.choice((1, 1, 1, 1, 2, 5))


def is_harmless(frame: bytes) -> bool:
    """May the frame be sent? It must fit, be IP, and concern no address that an honest client has."""
    kind = frame[12:14]
    at = 12
    while kind in (b"\x81\0", b"\x88\xa8"):
        at += 4
        kind = frame[at : at + 2]
    honest = any(packed(end) in frame[:200] for end in ("10.77.0.2", "10.77.0.3", "fd77::2", "fd77::3"))
    return 14 <= len(frame) <= FRAME_LIMIT + at - 12 and kind != b"\x08\x06" and not honest

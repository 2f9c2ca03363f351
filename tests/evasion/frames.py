"""Frames of a raw client, as a recipe wants them: also with headers that are not true, and in IP fragments.

Knows Ethernet, IP, TCP and UDP headers. Refuses to know connections. RFC 791, RFC 8200, RFC 9293, RFC 768.
"""

import random
import struct
from dataclasses import dataclass

from tests.evasion.recipe import Piece
from tests.vocabulary import MODULUS, packed, sum16

FLAGS = {"F": 1, "S": 2, "R": 4, "P": 8, "A": 16, "U": 32, "E": 64, "C": 128}
TCP, UDP, FRAGMENT = 6, 17, 44
ETHERTYPES = {4: b"\x08\x00", 6: b"\x86\xdd"}


@dataclass(frozen=True)
class Ends:
    """Both ends of a flow, and the stations between which its frames travel."""

    client: str
    server: str
    client_mac: bytes
    server_mac: bytes

    @property
    def version(self) -> int:
        return 6 if ":" in self.client else 4

    @property
    def packed(self) -> bytes:
        """Both addresses, the client's first."""
        return packed(self.client) + packed(self.server)

    def checksum(self, content: bytes, protocol: int) -> int:
        """What makes the whole sum right, where the field is zero in the content."""
        pseudo = sum16(self.packed + struct.pack(">II", len(content), protocol))
        return ~sum16(pseudo.to_bytes(2) + content) & 0xFFFF


def flag_bits(letters: str) -> int:
    return sum(FLAGS[letter] for letter in letters)


def build_tcp(
    ends: Ends, ports: tuple[int, int], seq: int, ack: int, flags: str, data: bytes = b"", options: bytes = b"",
    window: int = 65535, urgent: int = 0, checksum: str = "right", header_words: int | None = None, reserved: int = 0,
) -> bytes:  # fmt: skip
    """A segment; `checksum` is right, wrong, zero, or bare: the pseudo-header's alone."""
    options += b"\0" * (-len(options) % 4)
    words = 5 + len(options) // 4 if header_words is None else header_words
    head = struct.pack(
        ">HHIIBBHHH", *ports, seq % MODULUS, ack % MODULUS, words << 4 | reserved, flag_bits(flags), window, 0, urgent
    )
    content = head + options + data
    bare = sum16(ends.packed + struct.pack(">II", len(content), TCP))
    value = {"right": ends.checksum(content, TCP), "zero": 0, "bare": bare}.get(checksum)
    if value is None:
        value = (ends.checksum(content, TCP) + 0x1234) & 0xFFFF
    return content[:16] + value.to_bytes(2) + content[18:]


def build_udp(ends: Ends, ports: tuple[int, int], data: bytes, checksum: str = "right", length: int = 0) -> bytes:
    """A datagram; `checksum` is right, wrong or none; `length` is added to the true one."""
    content = struct.pack(">HHHH", *ports, 8 + len(data) + length, 0) + data
    value = 0 if checksum == "none" else ends.checksum(content, UDP) or 0xFFFF
    if checksum == "wrong":
        value = value + 0x1234 & 0xFFFF or 1
    return content[:6] + value.to_bytes(2) + content[8:]


def build_frames(
    ends: Ends, protocol: int, content: bytes, *, ttl: int = 64, identity: int = 0, ip_options: bytes = b"",
    extensions: tuple[tuple[int, bytes], ...] = (), untrue: tuple[tuple[str, int], ...] = (),
    pieces: tuple[Piece, ...] = (), tos: int = 0, tags: tuple[int, ...] = (), station: bytes = b"",
) -> list[bytes]:  # fmt: skip
    """The frame of an IP packet, or those of its fragments in their order."""
    between = b"".join((tag >> 16 or 0x8100).to_bytes(2) + (tag & 0xFFFF).to_bytes(2) for tag in tags)
    link = (station or ends.server_mac) + ends.client_mac + between + ETHERTYPES[ends.version]
    if not pieces:
        return [
            link
            + _build_ip(ends, protocol, content, ttl, identity, 0, False, ip_options, extensions, dict(untrue), tos)
        ]
    frames = []
    for piece in pieces:
        end = len(content) if piece.end is None else min(piece.end, len(content))
        part = fill_bytes(piece.fill, content[piece.start : end])
        more = end < len(content) if piece.more is None else piece.more
        frames.append(link + _build_ip(
            ends, protocol, part, piece.ttl or ttl, identity + piece.identity, piece.start, more, ip_options, extensions,
            dict(untrue), tos, True,
        ))  # fmt: skip
    return frames


def fill_bytes(fill: bytes | str | None, true: bytes) -> bytes:
    """What stands in place of the true bytes; as long, unless it is given byte by byte."""
    if fill is None:
        return true
    if fill == "zeros":
        return bytes(len(true))
    if fill == "noise":
        return random.Random(len(true)).randbytes(len(true))
    assert isinstance(fill, bytes), fill
    return fill


def _build_ip(
    ends: Ends, protocol: int, content: bytes, ttl: int, identity: int, start: int, more: bool, options: bytes,
    extensions: tuple[tuple[int, bytes], ...], untrue: dict[str, int], tos: int, is_piece: bool = False,
) -> bytes:  # fmt: skip
    protocol = untrue.get("protocol", protocol)
    if ends.version == 6:
        chain = list(extensions)
        if is_piece:
            chain.append((FRAGMENT, struct.pack(">BHI", 0, start | more, identity)))
        kinds = [kind for kind, _ in chain] + [protocol]
        between = b"".join(bytes([following]) + body for following, (_, body) in zip(kinds[1:], chain, strict=True))
        length = len(between) + len(content) + untrue.get("length", 0)
        first = untrue.get("version", 6) << 28 | tos << 20
        return struct.pack(">IHBB", first, length, kinds[0], ttl) + ends.packed + between + content
    words = 5 + len(options) // 4
    field = untrue.get("flags", 0 if is_piece else 0x4000) | start // 8 | (0x2000 if more else 0)
    length = 4 * words + len(content) + untrue.get("length", 0)
    first = untrue.get("version", 4) << 4 | untrue.get("words", words)
    head = (
        struct.pack(">BBHHHBBH", first, tos, length, identity & 0xFFFF, field, ttl, protocol, 0) + ends.packed + options
    )
    value = (~sum16(head) & 0xFFFF) + untrue.get("checksum", 0) & 0xFFFF
    return head[:10] + value.to_bytes(2) + head[12:] + content

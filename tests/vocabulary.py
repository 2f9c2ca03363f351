"""The words of packet tests: frames made and read in a few lines of struct code, with right checksums unless asked.

    CLIENT, SERVER = endpoints      frame(flow, TO_SERVER, seq=1, data=b"GET ...")      read_frame(bytes).seq

Independent of the package under test: what is written here never passes through its own code.
"""

import struct
from collections.abc import Iterable
from functools import cache
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple

FIN, SYN, RST, PSH, ACK, URG, CWR = 1, 2, 4, 8, 16, 32, 128
TO_SERVER, TO_CLIENT = True, False
MODULUS = 1 << 32
RIGHT, BARE, WRONG = "right", "bare", "wrong"

NOP = b"\1"
MPTCP_CAPABLE = bytes([30, 4, 1, 0x81])
FAST_OPEN = bytes([34, 2, 1, 1])
FAST_OPEN_EXPERIMENT = bytes([254, 4, 0xF9, 0x89])
MD5 = bytes([19, 18]) + bytes(16)
MSS = bytes([2, 4, 5, 0xB4])


def timestamps(value: int, echo: int) -> bytes:
    """The option of RFC 7323, padded to words."""
    return NOP + NOP + struct.pack(">BBII", 8, 10, value % MODULUS, echo % MODULUS)


class Flow(NamedTuple):
    """Who speaks with whom, and inside which tags (TPID, TCI)."""

    client: str = "10.1.0.1"
    server: str = "192.0.2.80"
    client_port: int = 40000
    server_port: int = 80
    tags: tuple[tuple[int, int], ...] = ()

    @property
    def is_ipv6(self) -> bool:
        return ":" in self.client


FLOW4 = Flow()
FLOW6 = Flow("fd00::1", "2001:db8::80")
CLIENT_MAC, SERVER_MAC = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")


@cache
def packed(address: str) -> bytes:
    """4 or 16 bytes."""
    return ip_address(address).packed


def sum16(content: bytes) -> int:
    """The ones' complement sum of big-endian words: 2^16 is 1 modulo 65,535."""
    total = int.from_bytes(content + b"\0" * (len(content) & 1)) % 0xFFFF
    return total or (0xFFFF if any(content) else 0)


def ipv4(source: bytes, target: bytes, protocol: int, content_bytes: int, ttl: int = 64, fragment: int = 0x4000,
         options: bytes = b"", tos: int = 0, identity: int = 0) -> bytes:  # fmt: skip
    """An IPv4 header."""
    words = 5 + len(options) // 4
    head = struct.pack(
        ">BBHHHBBH4s4s", 0x40 | words, tos, 4 * words + content_bytes, identity, fragment, ttl, protocol, 0, source, target
    ) + options  # fmt: skip
    return head[:10] + (~sum16(head) & 0xFFFF).to_bytes(2) + head[12:]


def ipv6(
    source: bytes, target: bytes, following: int, content_bytes: int, ttl: int = 64, traffic_class: int = 0
) -> bytes:
    """An IPv6 header."""
    return struct.pack(">IHBB16s16s", 6 << 28 | traffic_class << 20, content_bytes, following, ttl, source, target)


def ethernet(to_server: bool, is_ipv6: bool, tags: Iterable[tuple[int, int]] = ()) -> bytes:
    """The frame's head, the tags in its bytes."""
    pair = SERVER_MAC + CLIENT_MAC if to_server else CLIENT_MAC + SERVER_MAC
    return pair + b"".join(struct.pack(">HH", *tag) for tag in tags) + (b"\x86\xdd" if is_ipv6 else b"\x08\0")


def tcp(source: bytes, target: bytes, source_port: int, target_port: int, seq: int, ack: int, flags: int,
        data: bytes = b"", options: bytes = b"", window: int = 65535, urgent: int = 0,
        checksum: str = RIGHT) -> bytes:  # fmt: skip
    """A segment with its checksum: RIGHT, BARE (only the pseudo-header's sum) or WRONG (neither)."""
    options += b"\0" * (-len(options) % 4)
    head = struct.pack(
        ">HHIIBBHHH", source_port, target_port, seq % MODULUS, ack % MODULUS, (20 + len(options)) << 2,
        flags, window, 0, urgent,
    ) + options  # fmt: skip
    length = len(head) + len(data)
    pseudo = sum16(source + target + struct.pack(">II", length, 6))
    whole = sum16(pseudo.to_bytes(2) + head + data)
    value = pseudo if checksum == BARE else ~whole & 0xFFFF
    if checksum == WRONG:
        value = next(v for v in (0xDEAD, 0xBEEF, 0x1234) if v not in (pseudo, ~whole & 0xFFFF))
    return head[:16] + value.to_bytes(2) + head[18:] + data


def frame(flow: Flow, to_server: bool, *, seq: int, ack: int = 0, flags: int = ACK | PSH, data: bytes = b"",
          options: bytes = b"", ttl: int = 64, window: int = 65535, urgent: int = 0, checksum: str = RIGHT,
          ip_options: bytes = b"", extensions: Iterable[tuple[int, bytes]] = (), tos: int = 0) -> bytes:  # fmt: skip
    """A whole Ethernet frame. `extensions`: IPv6 extension headers as (kind, bytes without the next-header byte)."""
    ends = (packed(flow.client), flow.client_port), (packed(flow.server), flow.server_port)
    (source, source_port), (target, target_port) = ends if to_server else ends[::-1]
    segment = tcp(source, target, source_port, target_port, seq, ack, flags, data, options, window, urgent, checksum)
    if flow.is_ipv6:
        chain = list(extensions)
        kinds = [kind for kind, _ in chain] + [6]
        between = b"".join(bytes([following]) + body for following, (_, body) in zip(kinds[1:], chain, strict=True))
        ip = ipv6(source, target, kinds[0], len(between) + len(segment), ttl, tos) + between
    else:
        ip = ipv4(source, target, 6, len(segment), ttl, options=ip_options, tos=tos)
    return ethernet(to_server, flow.is_ipv6, flow.tags) + ip + segment


class Segment(NamedTuple):
    """What a frame says."""

    source: str
    target: str
    source_port: int
    target_port: int
    seq: int
    ack: int
    flags: int
    data: bytes
    options: bytes
    ttl: int
    tags: tuple[tuple[int, int], ...]
    checksum: str
    macs: bytes
    window: int
    urgent: int

    @property
    def end(self) -> int:
        """The sequence number behind it, SYN and FIN counting."""
        return (self.seq + len(self.data) + (self.flags & FIN != 0) + (self.flags & SYN != 0)) % MODULUS

    @property
    def is_reset(self) -> bool:
        return self.flags & RST != 0


def read_frame(content: bytes) -> Segment:
    """The TCP segment in a frame without IPv6 extension headers. Raises AssertionError where lengths disagree."""
    tags, at = [], 12
    while (kind := int.from_bytes(content[at : at + 2])) in (0x8100, 0x88A8):
        tags.append((kind, int.from_bytes(content[at + 2 : at + 4])))
        at += 4
    ip = content[at + 2 :]
    if kind == 0x0800:
        head = (ip[0] & 15) * 4
        assert sum16(ip[:head]) == 0xFFFF, "IPv4 header checksum"
        source, target, ttl, segment = ip[12:16], ip[16:20], ip[8], ip[head : int.from_bytes(ip[2:4])]
    else:
        assert kind == 0x86DD
        source, target, ttl, segment = ip[8:24], ip[24:40], ip[7], ip[40 : 40 + int.from_bytes(ip[4:6])]
    sport, dport, seq, ack, offset, flags, window, field, urgent = struct.unpack(">HHIIBBHHH", segment[:20])
    start = (offset >> 4) * 4
    assert 20 <= start <= len(segment)
    pseudo = sum16(source + target + struct.pack(">II", len(segment), 6))
    is_right = sum16(pseudo.to_bytes(2) + segment) == 0xFFFF
    checksum = RIGHT if is_right else BARE if field == pseudo else WRONG
    return Segment(
        str(ip_address(source)), str(ip_address(target)), sport, dport, seq, ack, flags, segment[start:],
        segment[20:start], ttl, tuple(tags), checksum, content[:12], window, urgent,
    )  # fmt: skip


def mapped(address: str) -> bytes:
    """The 16-byte form in which tables hold an address."""
    parsed = ip_address(address)
    return parsed.packed if isinstance(parsed, IPv6Address) else bytes(10) + b"\xff\xff" + parsed.packed


def ahead(a: int, b: int) -> int:
    """a - b of sequence numbers, in [-2^31, 2^31)."""
    return (a - b + (1 << 31)) % MODULUS - (1 << 31)

"""Captures: frames from pcap and pcapng files, as Ethernet, and who the client of a captured connection is.

Knows the two file forms, gzip around them, and the link types that carry IP. Refuses to know what a frame holds beyond
the first protocol number, and reads as a stream: at no time more than one block and one chunk are in memory.

    pcap     │ magic version zone sigfigs snaplen link │ seconds fraction captured wire │ frame │ ...
    pcapng   │ type length │ body │ length │ ...          a section, its interfaces, then packets, in blocks

Own code, not a library's: scapy and dpkt take a file that breaks off for one that ends, and neither says at which byte
a damaged one broke; the readers of libpcap need libpcap. Two hundred lines say it exactly.

Source: draft-ietf-opsawg-pcap (pcap), draft-ietf-opsawg-pcapng sections 3.1 and 4 (blocks), RFC 1952 (gzip), RFC 1661
section 2 (PPP), tcpdump.org/linktypes.html (cooked and loopback headers).
"""

import re
import zlib
from collections.abc import Callable, Iterator
from os import PathLike, fspath
from struct import Struct
from typing import BinaryIO, NamedTuple

from penstock.errors import PenstockError

CHUNK_BYTES = 1 << 16
FRAME_LIMIT = 262_144  # libpcap's largest snapshot length
BLOCK_LIMIT = 16 << 20  # what Wireshark takes
INTERFACE_LIMIT = 65_536  # the old packet block cannot name more
NS_PER_S = 1_000_000_000

PCAP_MAGICS = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
"""The first four bytes: byte order, and nanoseconds in a unit of the fraction."""

SECTION, INTERFACE, OLD_PACKET, SIMPLE_PACKET, ENHANCED_PACKET = 0x0A0D0D0A, 1, 2, 3, 6
SECTION_MAGICS = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
OPTION_END, OPTION_TSRESOL, OPTION_TSOFFSET = 0, 9, 14

ETHERNET, PPP, LINUX_COOKED, LINUX_COOKED_2 = 1, 9, 113, 276
RAW_IP = {12, 14, 101, 228, 229}
LOOPBACK = {0, 108}
INET_FAMILIES = {2, 10, 24, 28, 30}  # AF_INET; AF_INET6 of Linux, NetBSD, FreeBSD, Darwin
NETLINK = 824  # ARPHRD_NETLINK: the protocol field is no EtherType
ETHERTYPE_MIN = 0x0600
ETHERTYPE_OF_VERSION = {4: b"\x08\x00", 6: b"\x86\xdd"}
ETHERTYPE_OF_PPP = {0x21: b"\x08\x00", 0x57: b"\x86\xdd"}
NO_ADDRESSES = bytes(12)


class Frame(NamedTuple):
    """One captured frame."""

    time_ns: int
    link: int
    """LINKTYPE_ number of the interface."""
    wire_bytes: int
    """Its length on the wire; `bytes` may be shorter."""
    bytes: bytes


class CaptureError(PenstockError):
    """A capture cannot be read (on): the message says which file, which byte (after decompression), and why."""

    def __init__(self, path: str, offset_bytes: int | None, reason: str) -> None:
        super().__init__(f"{path}: {reason}" if offset_bytes is None else f"{path}: byte {offset_bytes}: {reason}")
        self.offset_bytes = offset_bytes


class Interface(NamedTuple):
    """What the packets of a pcapng interface need to be read."""

    link: int
    snap_bytes: int
    ticks_per_s: int
    offset_s: int


class Content:
    """The content of a file, decompressed where gzip is around it, with a count of the bytes read."""

    def __init__(self, path: str, file: BinaryIO) -> None:
        self.path = path
        self.offset_bytes = 0
        self.damage = ""
        self._file = file
        self._have = bytearray(file.read(CHUNK_BYTES))
        self._gzip: zlib._Decompress | None = None
        if self._have.startswith(b"\x1f\x8b"):
            self._compressed, self._have = bytes(self._have), bytearray()
            self._gzip = zlib.decompressobj(wbits=31)

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; fewer only at the end."""
        while len(self._have) < size:
            chunk = self._file.read(CHUNK_BYTES) if self._gzip is None else self._inflate()
            if not chunk:
                break
            self._have += chunk
        taken = bytes(self._have[:size])
        del self._have[:size]
        self.offset_bytes += len(taken)
        return taken

    def read_exactly(self, size: int, what: str) -> bytes:
        """`size` bytes. Raises CaptureError where the file ends before."""
        start = self.offset_bytes
        taken = self.read(size)
        if len(taken) < size:
            raise self.error(start, self.damage or f"the file ends inside {what} ({len(taken)} of {size} bytes)")
        return taken

    def error(self, offset_bytes: int, reason: str) -> CaptureError:
        return CaptureError(self.path, offset_bytes, reason)

    def _inflate(self) -> bytes:
        """The next piece of a gzip file of one or more members; empty at its end, and where it is damaged.

        Of the piece that holds the damage nothing comes out: up to CHUNK_BYTES before it are lost.
        """
        while not self.damage:
            assert self._gzip is not None
            compressed = self._compressed or self._file.read(CHUNK_BYTES)
            if self._gzip.eof:
                if not compressed.strip(b"\0"):
                    break  # zeros may fill the last block of a tape
                self._gzip = zlib.decompressobj(wbits=31)
            try:
                chunk = self._gzip.decompress(compressed, CHUNK_BYTES)
            except zlib.error as error:
                self.damage = f"the gzip data is damaged ({error})"
                break
            self._compressed = self._gzip.unconsumed_tail or self._gzip.unused_data
            if chunk:
                return chunk
            if not compressed:
                self.damage = "the gzip data breaks off"
        return b""


def read_frames(path: str | PathLike[str]) -> Iterator[Frame]:
    """The frames of a capture, in the order of the file.

    Raises CaptureError, behind the last frame that could be read, when the file is damaged, breaks off, is no capture
    or cannot be opened.
    """
    name = fspath(path)
    try:
        with open(name, "rb") as file:
            content = Content(name, file)
            magic = content.read(4)
            if magic in PCAP_MAGICS:
                yield from _read_pcap(content, *PCAP_MAGICS[magic])
            elif magic == SECTION.to_bytes(4):
                yield from _read_pcapng(content)
            else:
                raise content.error(0, content.damage or "neither pcap nor pcapng")
            if content.damage:
                raise content.error(content.offset_bytes, content.damage)
    except OSError as error:
        raise CaptureError(name, None, error.strerror or "cannot be read") from error


def _read_pcap(content: Content, order: str, fraction_ns: int) -> Iterator[Frame]:
    (link,) = Struct(order + "16xI").unpack(content.read_exactly(20, "the file header"))
    record = Struct(order + "IIII")
    while True:
        start = content.offset_bytes
        header = content.read(record.size)
        if not header:
            return
        if len(header) < record.size:
            raise content.error(start, content.damage or "the file ends inside a record header")
        seconds, fraction, captured_bytes, wire_bytes = record.unpack(header)
        if captured_bytes > FRAME_LIMIT:
            raise content.error(start, f"a record of {captured_bytes} bytes (the most is {FRAME_LIMIT})")
        frame = content.read_exactly(captured_bytes, "a record")
        yield Frame(seconds * NS_PER_S + fraction * fraction_ns, link & 0xFFFF, wire_bytes, frame)


def _read_pcapng(content: Content) -> Iterator[Frame]:
    order, start, time_ns = "<", 0, 0
    interfaces: list[Interface] = []
    head = SECTION.to_bytes(4) + content.read_exactly(4, "a block header")
    while head:
        if len(head) < 8:
            raise content.error(start, content.damage or "the file ends inside a block header")
        if head.startswith(SECTION.to_bytes(4)):
            magic = content.read_exactly(4, "a section header")
            if magic not in SECTION_MAGICS:
                raise content.error(start, "a section without a byte order")
            order, interfaces, head = SECTION_MAGICS[magic], [], head + magic
        kind, size = Struct(order + "II").unpack(head[:8])
        if size < len(head) + 4 or size > BLOCK_LIMIT:
            raise content.error(start, f"a block of {size} bytes")
        body = content.read_exactly(size - len(head), "a block")
        if body[-4:] != head[4:8]:
            raise content.error(start, "the two lengths of a block differ")
        if kind == INTERFACE:
            if len(body) < 12 or len(interfaces) == INTERFACE_LIMIT:
                raise content.error(start, "an interface block without content, or one too many")
            interfaces.append(_parse_interface(order, body[:-4]))
        elif kind in PACKET_PARSERS:
            frame = PACKET_PARSERS[kind](order, body[:-4], interfaces, time_ns)
            if frame is None:
                raise content.error(start, "a packet block that contradicts itself or names no known interface")
            time_ns = frame.time_ns
            yield frame
        start = content.offset_bytes
        head = content.read(8)


def _parse_interface(order: str, body: bytes) -> Interface:
    """An interface block; options that do not fit are left alone."""
    link, snap_bytes = Struct(order + "H2xI").unpack_from(body)
    ticks_per_s, offset_s, at = 1_000_000, 0, 8
    option = Struct(order + "HH")
    while at + 4 <= len(body):
        code, size = option.unpack_from(body, at)
        value = body[at + 4 : at + 4 + size]
        if code == OPTION_END or len(value) < size:
            break
        if code == OPTION_TSRESOL and size == 1:
            ticks_per_s = 1 << (value[0] & 0x7F) if value[0] & 0x80 else 10 ** value[0]
        elif code == OPTION_TSOFFSET and size == 8:
            (offset_s,) = Struct(order + "q").unpack(value)
        at += 4 + size + -size % 4
    return Interface(link, snap_bytes, ticks_per_s, offset_s)


PacketParser = Callable[[str, bytes, list[Interface], int], Frame | None]


def _packet_parser(layout: str) -> PacketParser:
    """A parser for the two packet blocks that carry a time; `layout` is their fixed part."""
    fixed = {order: Struct(order + layout) for order in "<>"}

    def parse_packet(order: str, body: bytes, interfaces: list[Interface], _: int) -> Frame | None:
        start = fixed[order].size
        if len(body) < start:
            return None
        number, high, low, captured_bytes, wire_bytes = fixed[order].unpack_from(body)
        if number >= len(interfaces) or start + captured_bytes > len(body) or captured_bytes > FRAME_LIMIT:
            return None
        interface = interfaces[number]
        time_ns = (high << 32 | low) * NS_PER_S // interface.ticks_per_s + interface.offset_s * NS_PER_S
        return Frame(time_ns, interface.link, wire_bytes, body[start : start + captured_bytes])

    return parse_packet


def _parse_simple_packet(order: str, body: bytes, interfaces: list[Interface], time_ns: int) -> Frame | None:
    """The packet block without a time and an interface: it has the time of its predecessor."""
    if len(body) < 4 or not interfaces:
        return None
    (wire_bytes,) = Struct(order + "I").unpack_from(body)
    captured_bytes = min(wire_bytes, interfaces[0].snap_bytes or wire_bytes)
    if 4 + captured_bytes > len(body) or captured_bytes > FRAME_LIMIT:
        return None
    return Frame(time_ns, interfaces[0].link, wire_bytes, body[4 : 4 + captured_bytes])


PACKET_PARSERS: dict[int, PacketParser] = {
    ENHANCED_PACKET: _packet_parser("IIIII"),
    OLD_PACKET: _packet_parser("H2xIIII"),
    SIMPLE_PACKET: _parse_simple_packet,
}


def to_ethernet(frame: Frame) -> bytes | None:
    """The frame as Ethernet, with zero addresses where it had none; None for a link type that is not read, or no IP."""
    link, content = frame.link, frame.bytes
    if link == ETHERNET:
        return content
    if link in RAW_IP:
        return _wrap_ip(content)
    if link in LOOPBACK:
        families = {int.from_bytes(content[:4], "big"), int.from_bytes(content[:4], "little")}
        return _wrap_ip(content[4:]) if families & INET_FAMILIES else None
    if link == LINUX_COOKED:
        return _wrap_cooked(content[2:4], content[14:16], content[16:])
    if link == LINUX_COOKED_2:
        return _wrap_cooked(content[8:10], content[:2], content[20:])
    if link == PPP:
        return _wrap_ppp(content)
    return None


def _wrap_ip(packet: bytes) -> bytes | None:
    ethertype = ETHERTYPE_OF_VERSION.get(packet[0] >> 4) if packet else None
    return NO_ADDRESSES + ethertype + packet if ethertype else None


def _wrap_cooked(device: bytes, protocol: bytes, packet: bytes) -> bytes | None:
    """Cooked headers name the EtherType; that of a VLAN tag is followed by the tag as in Ethernet."""
    if not packet or int.from_bytes(device) == NETLINK or int.from_bytes(protocol) < ETHERTYPE_MIN:
        return None
    return NO_ADDRESSES + protocol + packet


def _wrap_ppp(content: bytes) -> bytes | None:
    """The address and control bytes, and the first byte of the protocol number, may have been left out."""
    at = 2 if content.startswith(b"\xff\x03") else 0
    size = 1 if len(content) > at and content[at] & 1 else 2
    ethertype = ETHERTYPE_OF_PPP.get(int.from_bytes(content[at : at + size]))
    return NO_ADDRESSES + ethertype + content[at + size :] if ethertype else None


TCP_SYN, TCP_ACK = 0x02, 0x10
UDP_FLAGS = -1  # in the place of a segment's flags
SYSTEM_PORTS = 1024  # RFC 6335 6: below it are servers
REQUEST = re.compile(
    rb"(?:GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH|PRI) |[!#$%&'*+.^_`|~\w-]+ [^\s]+ HTTP/\d|"
    rb"\x16\x03.{3}\x01",
    re.DOTALL,
)
RESPONSE = re.compile(rb"HTTP/\d|\x16\x03.{3}\x02", re.DOTALL)


class Directions:
    """Says which side of a captured TCP connection or UDP flow is the client.

    In line the SYN-ACK, or the interface, says so; a capture may begin later.
    What the handshake or the bytes said is remembered, for as many connections as `capacity` and at least half as many: the
    older half is forgotten at once.
    """

    def __init__(self, capacity: int = 1_000_000) -> None:
        self._half = max(1, capacity // 2)
        self._young: dict[bytes, bool] = {}
        self._old: dict[bytes, bool] = {}

    def is_from_client(
        self, source: bytes, source_port: int, destination: bytes, destination_port: int, flags: int, payload: bytes
    ) -> bool:
        """Did the client send this segment or datagram? `payload` is its content, or the first bytes of it. `flags`: of
        TCP; UDP_FLAGS for UDP, where whoever is seen first is the client, unless it speaks from a system port."""
        here, there = source + source_port.to_bytes(2), destination + destination_port.to_bytes(2)
        forward = here <= there
        key = here + there if forward else there + here
        if flags == UDP_FLAGS:
            key = b"udp" + key
            if (known := self._find(key)) is not None:
                return known == forward
            from_client = not source_port < SYSTEM_PORTS <= destination_port
        elif flags & TCP_SYN:
            from_client = not flags & TCP_ACK
        elif (known := self._find(key)) is not None:
            return known == forward
        elif REQUEST.match(payload):
            from_client = True
        elif RESPONSE.match(payload):
            from_client = False
        else:  # a guess, which the next segment may prove wrong
            return source_port >= destination_port
        self._remember(key, from_client == forward)
        return from_client

    def _find(self, key: bytes) -> bool | None:
        known = self._young.get(key)
        if known is None and (known := self._old.get(key)) is not None:
            self._remember(key, known)
        return known

    def _remember(self, key: bytes, lower_is_client: bool) -> None:
        if key not in self._young and len(self._young) >= self._half:
            self._old, self._young = self._young, {}
        self._young[key] = lower_is_client

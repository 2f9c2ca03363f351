"""The packets of a flood: frames in rows, made once, of which only addresses, ports and numbers change.

    row:  Ethernet 14 │ IPv4 20 │ TCP or UDP │ payload          changed: the client's host and port, TCP's seq and ack

The sum of what never changes is kept, so a row's checksums cost a few additions. No kernel owns the clients' addresses:
nobody resets what they begin.

Knows layouts. Refuses to know when they are sent. RFC 791, RFC 768, RFC 9293, RFC 1071.
"""

import random
import socket
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from tests.hellos import extension, plain_hello
from tests.quic import crypto, hello, initial

CROWD_PREFIX = "10.78.0.0/16"
CROWD, HOSTS = "10.78.0.0", 65_534
VICTIM_IPV4 = "198.51.100.11"
HTTP_PORT, DNS_PORT, QUIC_PORT = 8080, 53, 8443  # beside those of the servers that the bystander asks
FIRST_PORT, PORTS, STRIDE = 1024, 64_000, 40_503
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
IP_SUM_AT, HOST_AT, PORT_AT, SEQ_AT, ACK_AT = 24, 28, 34, 38, 42
SUM_AT = {socket.IPPROTO_TCP: 50, socket.IPPROTO_UDP: 40}
HEAD_BYTES = 34
MSS = b"\2\4\5\xb4"
ROWS = 8192
INITIALS = 1024  # each takes a third of a millisecond to seal
HELLO_BYTES, HELLO_PIECES = 4000, ((0, 1400), (1400, 2300))  # more than 2 KB and not the whole
REQUEST = b"GET /"
MESSAGE = np.dtype({"names": ["vector", "vectors"], "formats": ["u8", "u8"], "offsets": [16, 24], "itemsize": 64})
VECTOR = np.dtype([("base", "u8"), ("size", "u8")])  # iovec; MESSAGE is mmsghdr


@dataclass(frozen=True)
class Stations:
    """The hardware addresses that the frames go from and to."""

    client: bytes
    server: bytes


def _words(rows: Any) -> Any:
    """The sum of the big-endian words of each row."""
    if rows.shape[1] & 1:
        rows = np.pad(rows, ((0, 0), (0, 1)))
    return rows.reshape(len(rows), -1, 2).astype(np.uint64).sum(axis=1) @ np.array([256, 1], np.uint64)


def _fold(total: Any) -> Any:
    for _ in range(4):
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


class Frames:
    """Rows of frames of one size. `contents`: the transport header and payload of each, what changes left 0."""

    def __init__(self, stations: Stations, protocol: int, contents: list[bytes]) -> None:
        self.count, size = len(contents), len(contents[0])
        self.sum_at = SUM_AT[protocol]
        source, target = socket.inet_aton(CROWD), socket.inet_aton(VICTIM_IPV4)
        ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + size, 0, 0x4000, 64, protocol, 0, source, target)
        head = stations.server + stations.client + b"\x08\0" + ip
        whole = b"".join(head + content for content in contents)
        self.bytes = np.frombuffer(whole, np.uint8).reshape(self.count, -1).copy()
        self.ip_sum = _words(self.bytes[:1, 14:HEAD_BYTES])
        pseudo = np.frombuffer(source + target + struct.pack(">HH", protocol, size), np.uint8).reshape(1, -1)
        self.sums = _words(self.bytes[:, HEAD_BYTES:]) + _words(pseudo)
        self.vectors = np.zeros(self.count, VECTOR)
        self.vectors["base"] = self.bytes.ctypes.data + np.arange(self.count) * self.bytes.shape[1]
        self.vectors["size"] = self.bytes.shape[1]
        self.messages = np.zeros(self.count, MESSAGE)
        self.messages["vector"] = self.vectors.ctypes.data + np.arange(self.count) * VECTOR.itemsize
        self.messages["vectors"] = 1

    def address(self, hosts: Any, ports: Any, seqs: Any = None, acks: Any = None) -> None:
        """Give the first rows their clients and, of TCP, their numbers."""
        hosts, ports = hosts.astype(np.uint64), ports.astype(np.uint64)
        total = self.sums[: len(hosts)] + hosts + ports
        self._put(HOST_AT, hosts)
        self._put(PORT_AT, ports)
        for at, numbers in ((SEQ_AT, seqs), (ACK_AT, acks)):
            if numbers is not None:
                numbers = numbers.astype(np.uint64) & 0xFFFFFFFF
                total += (numbers >> 16) + (numbers & 0xFFFF)
                self._put(at, numbers >> 16)
                self._put(at + 2, numbers & 0xFFFF)
        self._put(IP_SUM_AT, _fold(self.ip_sum + hosts))
        sums = _fold(total)
        self._put(self.sum_at, np.where(sums == 0, 0xFFFF, sums) if self.sum_at == 40 else sums)

    def _put(self, at: int, values: Any) -> None:
        self.bytes[: len(values), at] = values >> 8
        self.bytes[: len(values), at + 1] = values & 0xFF


def client_of(serials: Any) -> tuple[Any, Any]:
    """The host and the port of the clients with these numbers; the next ones have other hosts."""
    return serials % HOSTS + 1, FIRST_PORT + serials * STRIDE % PORTS


def build_tcp(flags: int, data: bytes = b"", options: bytes = b"", seq: int = 0) -> bytes:
    """A TCP header and payload."""
    return struct.pack(">HHIIBBHHH", 0, HTTP_PORT, seq, 0, 80 + 4 * len(options), flags, 0xFFFF, 0, 0) + options + data


def build_udp(port: int, data: bytes) -> bytes:
    """A UDP header and payload."""
    return struct.pack(">HHHH", 0, port, 8 + len(data), 0) + data


def build_syns(stations: Stations, count: int = ROWS) -> Frames:
    """SYNs, each of another client."""
    chance = random.Random(1)
    contents = [build_tcp(SYN, options=MSS, seq=chance.getrandbits(32)) for _ in range(count)]
    return Frames(stations, socket.IPPROTO_TCP, contents)


def build_queries(stations: Stations, count: int = ROWS) -> Frames:
    """DNS queries for the addresses of random names."""
    chance, contents = random.Random(2), []
    for _ in range(count):
        labels = b"\x10" + chance.randbytes(8).hex().encode() + b"\x07example\3net\0"
        head = struct.pack(">6H", chance.getrandbits(16), 0x0100, 1, 0, 0, 0)
        contents.append(build_udp(DNS_PORT, head + labels + struct.pack(">HH", 1, 1)))
    return Frames(stations, socket.IPPROTO_UDP, contents)


def build_initials(stations: Stations, count: int = INITIALS) -> Frames:
    """QUIC Initials that their keys open, each with another connection ID and half of a hello."""
    chance, half = random.Random(3), hello("www.example.net", 1800)[:900]
    contents = [build_udp(QUIC_PORT, initial(chance.randbytes(8), crypto(0, half))) for _ in range(count)]
    return Frames(stations, socket.IPPROTO_UDP, contents)


def build_hello_pieces(stations: Stations, count: int) -> list[Frames]:
    """What completes a handshake, and the first segments of a ClientHello; the rest of it never comes."""
    message = plain_hello(b"www.example.net", extension(21, bytes(HELLO_BYTES)))
    record = b"\x16\3\1" + len(message).to_bytes(2) + message
    contents = [build_tcp(ACK), *(build_tcp(ACK | PSH, record[start:end]) for start, end in HELLO_PIECES)]
    return [Frames(stations, socket.IPPROTO_TCP, [content] * count) for content in contents]


def build_segments(stations: Stations, flags: int, data: bytes, count: int) -> Frames:
    """The same segment of `count` connections."""
    return Frames(stations, socket.IPPROTO_TCP, [build_tcp(flags, data)] * count)

"""The words of QUIC tests: Initials made and opened with `cryptography`, datagrams in frames.

    initial(DCID, crypto(0, hello("good.test")))      datagram(flow, payload)      read_datagram(frame).data

Independent of the package under test. RFC 9000 16-19, RFC 9001 5, RFC 9369 3.
"""

import hmac
import struct
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.hellos import extension, plain_hello
from tests.vocabulary import BARE, RIGHT, WRONG, Flow, ethernet, ipv4, ipv6, packed, sum16

V1, V2 = 1, 0x6B3343CF
SALTS = {
    V1: bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a"),
    V2: bytes.fromhex("0dede3def700a6db819381be6e269dcbf9bd2ed9"),
}
TYPES = {V1: (0, 1, 2, 3), V2: (1, 2, 3, 0)}
INITIAL, ZERO_RTT, HANDSHAKE, RETRY = range(4)
CLIENT, SERVER = "client in", "server in"
PING, PADDING = b"\1", b"\0"
CLOSE = b"\x1c\0\0\0"
ACK_FRAME = b"\2\0\0\0\0"


def hello(name: str, size: int = 0) -> bytes:
    """A ClientHello as QUIC carries it: the handshake message without a record, at least `size` bytes long."""
    short = plain_hello(name.encode(), extension(21, b""))
    return plain_hello(name.encode(), extension(21, bytes(max(size - len(short), 0))))


def varint(value: int, size: int = 0) -> bytes:
    """A variable-length integer, of `size` bytes or as short as can be."""
    for power, length in enumerate((1, 2, 4, 8)):
        if (size == 0 and value < 1 << (8 * length - 2)) or size == length:
            return (value | power << (8 * length - 2)).to_bytes(length)
    raise ValueError(value)


def crypto(offset: int, content: bytes) -> bytes:
    """A CRYPTO frame."""
    return b"\6" + varint(offset) + varint(len(content)) + content


def expand(secret: bytes, label: str, size: int) -> bytes:
    name = b"tls13 " + label.encode()
    return hmac.digest(secret, struct.pack(">HB", size, len(name)) + name + b"\0\1", "sha256")[:size]


def keys(dcid: bytes, version: int = V1, side: str = CLIENT) -> tuple[bytes, bytes, bytes]:
    """Key, IV and header key of Initials."""
    secret = expand(hmac.digest(SALTS[version], dcid, "sha256"), side, 32)
    prefix = "quic" if version == V1 else "quicv2"
    return expand(secret, f"{prefix} key", 16), expand(secret, f"{prefix} iv", 12), expand(secret, f"{prefix} hp", 16)


def mask(key: bytes, sample: bytes) -> bytes:
    return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(sample)


def long_packet(
    kind: int, dcid: bytes, body: bytes, *, scid: bytes = b"", version: int = V1, token: bytes = b""
) -> bytes:
    """A long header packet that is not protected (0-RTT, Handshake): only its head is read by anyone on the way."""
    first = 0xC0 | TYPES.get(version, TYPES[V1])[kind] << 4
    head = bytes([first]) + struct.pack(">IB", version, len(dcid)) + dcid + bytes([len(scid)]) + scid
    if kind == INITIAL:
        head += varint(len(token)) + token
    return head + varint(len(body), 2) + body


def initial(dcid: bytes, frames: bytes, *, scid: bytes = b"", version: int = V1, number: int = 0, number_bytes: int = 2,
            token: bytes = b"", key_cid: bytes | None = None, key_version: int | None = None, side: str = CLIENT,
            size: int = 1200, first: int = 0xC0) -> bytes:  # fmt: skip
    """A protected Initial of at least `size` bytes (PADDING frames fill it), under the keys of `key_cid` or `dcid`."""
    head = (
        bytes([first | TYPES[version][INITIAL] << 4 | (number_bytes - 1)])
        + struct.pack(">IB", version, len(dcid))
        + dcid
    )
    head += bytes([len(scid)]) + scid + varint(len(token)) + token
    room = size - len(head) - 2 - number_bytes - 16
    frames = frames.ljust(max(room, 4), b"\0")
    head += varint(number_bytes + len(frames) + 16, 2) + (number & (1 << 8 * number_bytes) - 1).to_bytes(number_bytes)
    key, iv, hp = keys(dcid if key_cid is None else key_cid, key_version or version, side)
    nonce = (int.from_bytes(iv) ^ number).to_bytes(12)
    body = AESGCM(key).encrypt(nonce, frames, head)
    cover = mask(hp, body[4 - number_bytes : 20 - number_bytes])
    start = len(head) - number_bytes
    shown = bytes(a ^ b for a, b in zip(head[start:], cover[1:], strict=False))
    return bytes([head[0] ^ cover[0] & 15]) + head[1:start] + shown + body


class Opened(NamedTuple):
    """An Initial that its keys open."""

    version: int
    dcid: bytes
    scid: bytes
    number: int
    frames: bytes


def open_initial(packet: bytes, key_cid: bytes, side: str = SERVER) -> Opened | None:
    """Open an Initial; None when its keys do not."""
    version, size = struct.unpack_from(">IB", packet, 1)
    dcid = packet[6 : 6 + size]
    at = 6 + size
    scid = packet[at + 1 : at + 1 + packet[at]]
    at += 1 + len(scid)
    assert packet[at] == 0, "a token"
    length = int.from_bytes(packet[at + 1 : at + 3]) & 0x3FFF
    at += 3
    key, iv, hp = keys(key_cid, version, side)
    cover = mask(hp, packet[at + 4 : at + 20])
    first = packet[0] ^ cover[0] & 15
    number_bytes = (first & 3) + 1
    shown = bytes(a ^ b for a, b in zip(packet[at : at + number_bytes], cover[1:], strict=False))
    number = int.from_bytes(shown)
    head = bytes([first]) + packet[1:at] + shown
    try:
        frames = AESGCM(key).decrypt(
            (int.from_bytes(iv) ^ number).to_bytes(12), packet[at + number_bytes : at + length], head
        )
    except InvalidTag:
        return None
    return Opened(version, dcid, scid, number, frames)


def udp(source: bytes, target: bytes, source_port: int, target_port: int, data: bytes, checksum: str = RIGHT) -> bytes:
    """A datagram with its checksum: RIGHT, BARE or WRONG."""
    head = struct.pack(">HHHH", source_port, target_port, 8 + len(data), 0)
    pseudo = sum16(source + target + struct.pack(">II", 8 + len(data), 17))
    whole = ~sum16(pseudo.to_bytes(2) + head + data) & 0xFFFF or 0xFFFF
    value = {RIGHT: whole, BARE: pseudo, WRONG: whole ^ 0x5555}[checksum]
    return head[:6] + value.to_bytes(2) + data


def datagram(flow: Flow, data: bytes, to_server: bool = True, *, checksum: str = RIGHT, ttl: int = 64) -> bytes:
    """A whole Ethernet frame."""
    ends = (packed(flow.client), flow.client_port), (packed(flow.server), flow.server_port)
    (source, source_port), (target, target_port) = ends if to_server else ends[::-1]
    content = udp(source, target, source_port, target_port, data, checksum)
    head = ipv6(source, target, 17, len(content), ttl) if flow.is_ipv6 else ipv4(source, target, 17, len(content), ttl)
    return ethernet(to_server, flow.is_ipv6, flow.tags) + head + content


class Datagram(NamedTuple):
    """What a frame says."""

    source_port: int
    target_port: int
    data: bytes
    tags: tuple[tuple[int, int], ...]
    checksum: str


def read_datagram(content: bytes) -> Datagram:
    """The UDP datagram in a frame. Raises AssertionError where lengths disagree."""
    tags, at = [], 12
    while (kind := int.from_bytes(content[at : at + 2])) in (0x8100, 0x88A8):
        tags.append((kind, int.from_bytes(content[at + 2 : at + 4])))
        at += 4
    ip = content[at + 2 :]
    if kind == 0x0800:
        assert ip[9] == 17
        assert sum16(ip[:20]) == 0xFFFF
        source, target, body = ip[12:16], ip[16:20], ip[20 : int.from_bytes(ip[2:4])]
    else:
        assert ip[6] == 17
        source, target, body = ip[8:24], ip[24:40], ip[40 : 40 + int.from_bytes(ip[4:6])]
    source_port, target_port, size, field = struct.unpack(">HHHH", body[:8])
    assert size == len(body)
    pseudo = sum16(source + target + struct.pack(">II", size, 17))
    is_right = sum16(pseudo.to_bytes(2) + body) == 0xFFFF
    return Datagram(
        source_port, target_port, body[8:], tuple(tags), RIGHT if is_right else BARE if field == pseudo else WRONG
    )

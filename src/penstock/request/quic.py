"""QUIC as the client sends it: the packets of a datagram, and the frames of an Initial once it is opened.

    datagram │ long header packet │ long header packet │ ... │ short header packet, or none
    Initial  │ form, type │ version │ DCID │ SCID │ token │ length │ number │ frames, protected │ tag │

Knows headers of versions 1 and 2 and the frames that an Initial may carry. Refuses to know keys (`initial`), which
connection a packet belongs to and what its hello says. Every length is checked against the datagram's end, which the
caller has from the IP and UDP headers.

RFC 9000 16 (integers), 17.2 (long headers), 12.4 and 17.2.2 (frames of an Initial), 19 (frames); RFC 9369 3.2 (types).
"""

from penstock.compile.memory import be16, be32, be64, put64, shared, u8, u64
from penstock.request.status import BAD, COMPLETE, NOT_MINE
from penstock.wire.quic import FIXED_BIT, LONG_HEADER, VERSION_1, VERSION_2

# What `parse_packet` and `find_crypto` write: one int64 each; places are addresses.
PACKET_TYPE, PACKET_VERSION, PACKET_END, PACKET_NUMBER = 0, 8, 16, 24
DCID, DCID_BYTES, SCID, SCID_BYTES = 32, 40, 48, 56
CRYPTO_OFFSET, CRYPTO_DATA, CRYPTO_BYTES = 64, 72, 80
PACKET_BYTES = 96

INITIAL, ZERO_RTT, HANDSHAKE, RETRY = 0, 1, 2, 3  # as version 1 numbers them
DATAGRAM_LEAST = 1200  # RFC 9000 14.1: of a client's datagram with an Initial
CID_LIMIT = 20  # RFC 9000 17.2: of versions 1 and 2
VARINT_BAD = -1

PADDING, PING, ACK, ACK_ECN, CRYPTO, CONNECTION_CLOSE = 0x00, 0x01, 0x02, 0x03, 0x06, 0x1C
ACK_RANGES_LIMIT = 1 << 14  # more do not fit into a datagram


@shared
def varint_bytes(p):  # type: ignore[no-untyped-def]
    """How long the variable-length integer at p is: 1, 2, 4 or 8. Source: RFC 9000 16."""
    return 1 << (u8(p) >> 6)


@shared
def read_varint(p, end):  # type: ignore[no-untyped-def]
    """The variable-length integer at p.

    Reads: [p, end), at most 8 bytes. Returns: its value; VARINT_BAD when it is cut off. Source: RFC 9000 16.
    """
    if p >= end or p + varint_bytes(p) > end:
        return VARINT_BAD
    kind = u8(p) >> 6
    if kind == 0:
        return u8(p) & 0x3F
    if kind == 1:
        return be16(p) & 0x3FFF
    if kind == 2:
        return be32(p) & 0x3FFFFFFF
    return be64(p) & 0x3FFFFFFFFFFFFFFF


@shared
def parse_invariants(p, end, packet):  # type: ignore[no-untyped-def]
    """Parse what long headers of all versions share.

    Reads: [p, end). Writes: PACKET_VERSION, DCID*, SCID*; PACKET_NUMBER: the place behind them.
    Returns: COMPLETE, or NOT_MINE when it is no long header or is cut off. Source: RFC 8999 5.1.
    """
    if end - p < 7 or u8(p) & LONG_HEADER == 0:
        return NOT_MINE
    put64(packet + PACKET_VERSION, be32(p + 1))
    size = u8(p + 5)
    put64(packet + DCID, p + 6)
    put64(packet + DCID_BYTES, size)
    at = p + 6 + size
    if at >= end:
        return NOT_MINE
    size = u8(at)
    put64(packet + SCID, at + 1)
    put64(packet + SCID_BYTES, size)
    put64(packet + PACKET_NUMBER, at + 1 + size)
    return COMPLETE if at + 1 + size <= end else NOT_MINE


@shared
def parse_packet(p, end, packet):  # type: ignore[no-untyped-def]
    """Parse the header of the long header packet at p.

    Reads: [p, end), the rest of its datagram. Writes: PACKET_*, DCID*, SCID*. Of another version only what all share.
    Returns: COMPLETE; NOT_MINE (no long header, or one of another version: see PACKET_VERSION); BAD (no server of its
        version can read it).
    Bounds: no loop. Source: RFC 9000 17.2, RFC 9369 3.2.
    """
    put64(packet + PACKET_VERSION, 0)
    if parse_invariants(p, end, packet) != COMPLETE:
        return NOT_MINE
    version = u64(packet + PACKET_VERSION)
    if version != VERSION_1 and version != VERSION_2:
        return NOT_MINE
    if u64(packet + DCID_BYTES) > CID_LIMIT or u64(packet + SCID_BYTES) > CID_LIMIT:
        return BAD
    kind, at = u8(p) >> 4 & 3, u64(packet + PACKET_NUMBER)
    if version == VERSION_2:
        kind = (kind + 3) & 3
    put64(packet + PACKET_TYPE, kind)
    put64(packet + PACKET_END, end)
    if kind == RETRY:
        return COMPLETE
    if kind == INITIAL:
        size = read_varint(at, end)
        if size < 0 or size > end - at - varint_bytes(at):
            return BAD
        at += varint_bytes(at) + size
    size = read_varint(at, end)
    if size < 0 or size > end - at - varint_bytes(at):
        return BAD
    at += varint_bytes(at)
    put64(packet + PACKET_NUMBER, at)
    put64(packet + PACKET_END, at + size)
    return COMPLETE


@shared
def is_foreign_initial(p, end, packet):  # type: ignore[no-untyped-def]
    """Does this datagram look like the first one of a QUIC version that we do not read? It is as long as a client's first
    must be, and its connection IDs are as they are in all versions so far.

    Reads: the invariants, as `parse_packet` left them. Source: RFC 8999 5.1, RFC 9000 14.1, 7.2.
    """
    if end - p < DATAGRAM_LEAST or u8(p) & FIXED_BIT == 0 or u64(packet + PACKET_VERSION) == 0:
        return False
    return (
        u64(packet + DCID_BYTES) >= 8
        and u64(packet + DCID_BYTES) <= CID_LIMIT
        and u64(packet + SCID_BYTES) <= CID_LIMIT
    )


@shared
def _skip_ack(at, end, fields):  # type: ignore[no-untyped-def]
    """The place behind the fields of an ACK frame, or 0 when it is cut off.

    Bounds: ACK_RANGES_LIMIT. Source: RFC 9000 19.3."""
    ranges = 0
    for number in range(2 * ACK_RANGES_LIMIT + 8):
        if number >= fields + 2 * ranges:
            return at
        value = read_varint(at, end)
        if value < 0:
            return 0
        if number == 2:
            if value > ACK_RANGES_LIMIT:
                return 0
            ranges = value
        at += varint_bytes(at)
    return 0


@shared
def _skip_close(at, end):  # type: ignore[no-untyped-def]
    """The place behind the fields of a CONNECTION_CLOSE frame, or 0 when it is cut off. Source: RFC 9000 19.19."""
    for _ in range(2):  # error code, type of the frame that caused it
        if read_varint(at, end) < 0:
            return 0
        at += varint_bytes(at)
    size = read_varint(at, end)
    if size < 0 or size > end - at - varint_bytes(at):
        return 0
    return at + varint_bytes(at) + size


@shared
def find_crypto(p, end, packet):  # type: ignore[no-untyped-def]
    """Find the next CRYPTO frame of an opened Initial.

    Reads: [p, end), its frames. Writes: CRYPTO_OFFSET, CRYPTO_DATA, CRYPTO_BYTES.
    Returns: the place behind the frame; 0 when there is none any more; -1 for a frame that an Initial must not have, or one
        that is cut off.
    Bounds: every byte is looked at once. Source: RFC 9000 12.4, 19.
    """
    at = p
    while at < end:
        kind = read_varint(at, end)  # a longer form of a type than need be is read too: some servers take it
        if kind < 0:
            return -1
        at += varint_bytes(at)
        if kind == PADDING:
            while at + 8 <= end and u64(at) == 0:
                at += 8
        elif kind == CRYPTO:
            offset = read_varint(at, end)
            if offset < 0:
                return -1
            at += varint_bytes(at)
            size = read_varint(at, end)
            if size < 0:
                return -1
            at += varint_bytes(at)
            if size > end - at:
                return -1
            put64(packet + CRYPTO_OFFSET, offset)
            put64(packet + CRYPTO_DATA, at)
            put64(packet + CRYPTO_BYTES, size)
            return at + size
        elif kind == ACK or kind == ACK_ECN:
            at = _skip_ack(at, end, 4 if kind == ACK else 7)
            if at == 0:
                return -1
        elif kind == CONNECTION_CLOSE:
            at = _skip_close(at, end)
            if at == 0:
                return -1
        elif kind != PING:
            return -1
    return 0

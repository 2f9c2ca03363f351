"""Segments that the server would discard: dropped here too, and not remembered.

An evader sends them to make us read other bytes than the server does. The fixed byte keeps that from being a bypass; this
file keeps his *allowed* sites working. Each test is a cheap comparison with what the handshake said.
RFC 9293 3.10.7.4 (ACK), RFC 2385 (MD5), RFC 7323 5 (PAWS), RFC 1122 3.2.1.2 (IPv4 checksum), RFC 7126 4.3 and 4.4 (source
routes), RFC 8200 4.2 and 4.4 (IPv6 options, routing headers).
"""

from penstock.compile.memory import shared, u8, u16, u32, u64
from penstock.flow.record import sequence_difference
from penstock.kernel import reasons as r
from penstock.kernel.tables import (
    FLOW_ACKED,
    FLOW_BIRTH,
    FLOW_FLAGS,
    FLOW_SERVER_ISN,
    FLOW_SERVER_NEXT,
    FLOW_TSVAL,
    FLOW_TTL,
    HAS_MD5,
    HAS_TIMESTAMPS,
    UP_ACK,
    UP_FLAGS,
    UP_HEAD,
    UP_IS_IPV6,
    UP_L3,
    UP_L4,
    UP_PAYLOAD,
    UP_TTL,
)
from penstock.path.layout import TRUST_CHECKSUMS, W_OPTIONS
from penstock.path.refusal import find_timestamps
from penstock.wire.checksum import WRONG, fold, sum_bytes
from penstock.wire.headers import ACK, EXTENSION_LIMIT, PROTOCOL_AH, PROTOCOL_FRAGMENT

MD5_OPTION = 19
IPV4_BYTES, LOOSE_ROUTE, STRICT_ROUTE = 20, 131, 137
IPV6_BYTES, HOP_BY_HOP, ROUTING, DESTINATION = 40, 0, 43, 60
UNKNOWN_ENDS = 64
OPTIONS_LIMIT = 64
TTL_SLACK = 3  # routes change by a hop or two; a decoy must die before the server, so it is far lower


@shared
def _has_md5(u):  # type: ignore[no-untyped-def]
    """Does the packet carry an MD5 signature option? Bounds: 40 bytes of options."""
    at, end = u + UP_HEAD + u32(u + UP_L4) + 20, u + UP_HEAD + u32(u + UP_PAYLOAD)
    for _ in range(40):
        if at + 1 >= end or u8(at) == 0:
            return False
        if u8(at) == MD5_OPTION:
            return True
        step = 1 if u8(at) == 1 else u8(at + 1)
        if step < 1:
            return False
        at += step
    return False


@shared
def _has_bad_options(at, end):  # type: ignore[no-untyped-def]
    """Do the IPv4 options in [at, end) hold a source route, or a length that cannot be? Bounds: 40 bytes of options."""
    for _ in range(40):
        if at >= end or u8(at) == 0:
            return False
        if u8(at) == LOOSE_ROUTE or u8(at) == STRICT_ROUTE:
            return True
        step = 1
        if u8(at) != 1:
            step = u8(at + 1) if at + 1 < end else 0
            if step < 2 or at + step > end:
                return True
        at += step
    return False


@shared
def _has_bad_ipv6_options(at, end):  # type: ignore[no-untyped-def]
    """Is there an option among those in [at, end) that ends the packet where it is not known (as its upper bits say), or
    one that is longer than what holds it? (Linux takes none of the known ones either: jumbograms have no length in the
    header, so that none comes here, and mobile nodes are not served.) Bounds: OPTIONS_LIMIT options."""
    for _ in range(OPTIONS_LIMIT):
        if at >= end:
            return False
        step = 1
        if u8(at) != 0:
            step = 2 + u8(at + 1) if at + 1 < end else 0
            if u8(at) >= UNKNOWN_ENDS or at + step > end:
                return True
        at += step
    return at < end


@shared
def _has_bad_extensions(first, l4):  # type: ignore[no-untyped-def]
    """Would somebody on the way discard the packet for one of its extension headers, in front of l4?

    Bounds: EXTENSION_LIMIT headers."""
    at, protocol = first + IPV6_BYTES, u8(first + 6)
    for _ in range(EXTENSION_LIMIT):
        if at >= l4:
            return False
        end = at + ((u8(at + 1) + 1) << 3)
        if protocol == PROTOCOL_FRAGMENT:
            end = at + 8
        elif protocol == PROTOCOL_AH:
            end = at + ((u8(at + 1) + 2) << 2)
        elif protocol == ROUTING:
            if u8(at + 3):
                return True  # further nodes to visit: no server is a router
        elif (protocol == HOP_BY_HOP or protocol == DESTINATION) and _has_bad_ipv6_options(at + 2, end):
            return True
        at, protocol = end, u8(at)
    return False


@shared
def find_bad_header(w, u):  # type: ignore[no-untyped-def]
    """Why a router or the server would discard this packet for its IP headers, or 0."""
    if u32(u + UP_IS_IPV6):
        first, l4 = u + UP_HEAD + u32(u + UP_L3), u + UP_HEAD + u32(u + UP_L4)
        return r.BAD_OPTION if l4 > first + IPV6_BYTES and _has_bad_extensions(first, l4) else 0
    header = u + UP_HEAD + u32(u + UP_L3)
    size = (u8(header) & 15) << 2
    if u64(w + W_OPTIONS) & TRUST_CHECKSUMS == 0 and fold(sum_bytes(header, size, 0)) != 0xFFFF:
        return r.BAD_CHECKSUM
    if size > IPV4_BYTES and _has_bad_options(header + IPV4_BYTES, header + size):
        return r.BAD_OPTION
    return 0


@shared
def find_decoy(w, u, record, checksum):  # type: ignore[no-untyped-def]
    """Why the server would discard this segment of the client, or 0."""
    bad = find_bad_header(w, u)
    if bad:
        return bad
    if checksum == WRONG:
        return r.BAD_CHECKSUM
    if u32(u + UP_FLAGS) & ACK == 0:
        return r.NO_ACK_FLAG
    if record == 0:
        return 0
    flags = u32(record + FLOW_FLAGS)
    if flags & HAS_MD5 == 0 and _has_md5(u):
        return r.MD5_OPTION
    if flags & HAS_TIMESTAMPS:
        stamps = find_timestamps(u)
        if stamps and sequence_difference(stamps >> 32 & 0xFFFFFFFF, u32(record + FLOW_TSVAL)) < 0:
            return r.OLD_TIMESTAMP
    if u32(record + FLOW_ACKED) == u32(record + FLOW_BIRTH):
        # Another handshake of these ports may be the one that is completed (SYN cookies): its server has other numbers.
        first, next_ = u32(record + FLOW_SERVER_ISN) + 1, u32(record + FLOW_SERVER_NEXT)
        ack = u32(u + UP_ACK)
        if sequence_difference(ack, first) < 0 or sequence_difference(ack, next_) > 0:
            return r.OUT_OF_WINDOW
    if u32(u + UP_TTL) + TTL_SLACK < u16(record + FLOW_TTL):
        return r.LOW_TTL
    return 0

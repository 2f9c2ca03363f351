"""The one walk from a frame to its TCP segment or UDP datagram, compiled for kernel and process alike.

    Ethernet (14) | up to two VLAN tags (4 each) | IPv4 with options, or IPv6 with extension headers | TCP or UDP

Knows where each header stands; knows nothing of flows or policy. It refuses to guess: what it cannot place is named so.
RFC 894, IEEE 802.1Q/802.1ad, RFC 791, RFC 8200, RFC 9293, RFC 768.
"""

from penstock.compile.memory import be16, be32, put32, put64, shared, shr, u8, u32, u64, within
from penstock.kernel.tables import (
    FLOW_CLIENT,
    FLOW_PORTS,
    FLOW_SCOPE,
    FLOW_SERVER,
)

# What parse_packet found.
IS_TCP, IS_FRAGMENT, IS_OTHER, IS_FOREIGN, IS_TRUNCATED, IS_MALFORMED, IS_DEEP, IS_UDP = range(8)

# The view: where things are in the packet, and what the segment says; one 64-bit word each.
VIEW_L3, VIEW_L4, VIEW_PAYLOAD, VIEW_SIZE = 0, 8, 16, 24
VIEW_SEQ, VIEW_ACK, VIEW_FLAGS, VIEW_IS_IPV6 = 32, 40, 48, 56
VIEW_TTL, VIEW_PROTOCOL, VIEW_SERVER_PORT, VIEW_END = 64, 72, 80, 88
VIEW_HASH, VIEW_ADDRESS_HASH, VIEW_VLAN = 96, 104, 112
VIEW_BYTES = 120

FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_VLAN, ETHERTYPE_QINQ = 0x0800, 0x86DD, 0x8100, 0x88A8
PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_FRAGMENT, PROTOCOL_AH = 6, 17, 44, 51
PROTOCOL_SHIFT = 24  # of the protocol in the word of the scope
UDP_BYTES = 8
VLAN_LIMIT = 2
VLAN_ID = 0x0FFF
EXTENSION_LIMIT = 8  # RFC 8200 names seven, one of them (destination options) twice
HEADERS_LIMIT = 1024  # bytes of frame before the TCP header; real ones stay under 200
MAPPED_PREFIX = 0xFFFF0000  # ::ffff:0:0/96 as the third machine word of an IPv4-mapped address


@shared
def blur(value, zero, mask):  # type: ignore[no-untyped-def]
    """`value`, which is at most `mask` (ones): `zero` is 0, but the verifier does not know, so that the paths that led to
    different values become one path again instead of being proved one by one."""
    return (value ^ zero) & mask


@shared
def parse_packet(data, end, client_side, zero, view, key):  # type: ignore[no-untyped-def]
    """Find the TCP segment or UDP datagram of the Ethernet frame in [data, end).

    Reads: the frame; `client_side` is 1 when it came from the subscribers; `zero` is 0 (see `blur`).
    Writes: view; key: the flow key with the subscriber's side as client (addresses for all IP packets; ports and protocol
        for TCP and UDP).
    Returns: IS_TCP; IS_UDP; IS_FRAGMENT (addresses and protocol known); IS_OTHER (another IP protocol); IS_FOREIGN (no
        IP); IS_TRUNCATED (a header reaches past `end`); IS_MALFORMED; IS_DEEP (over EXTENSION_LIMIT
        headers; over VLAN_LIMIT tags, one of VLAN 0: then VIEW_L3 is 0).
    Bounds: VLAN_LIMIT tags, EXTENSION_LIMIT extension headers.
    Source: RFC 791 3.1, RFC 8200 3-4, RFC 9293 3.1, RFC 768; RFC 2675 4 for a UDP length of 0.
    """
    if not within(data, 14, end):
        return IS_TRUNCATED
    kind, at, zero_tags = be16(data + 12), 14, 0
    for _ in range(VLAN_LIMIT):
        if kind != ETHERTYPE_VLAN and kind != ETHERTYPE_QINQ:
            break
        if not within(data, at + 4, end):
            return IS_TRUNCATED
        zero_tags |= (be16(data + at) & VLAN_ID) - 1
        if at == 14:
            put64(view + VIEW_VLAN, be16(data + at))
        kind = be16(data + at + 2)
        at += 4
    at = blur(at, zero, 31)
    if kind == ETHERTYPE_VLAN or kind == ETHERTYPE_QINQ:
        # Linux takes off any number of tags of VLAN 0, so that what stands behind more of them than are read here arrives.
        tag = data + at
        if not within(tag, 4, end):
            return IS_TRUNCATED
        zero_tags |= (be16(tag) & VLAN_ID) - 1
        return IS_DEEP if zero_tags < 0 else IS_FOREIGN
    put64(view + VIEW_L3, at)
    ip = data + at
    put32(key + FLOW_SCOPE, 0)
    put32(key + FLOW_PORTS, 0)
    put64(view + VIEW_SIZE, 0)
    if kind == ETHERTYPE_IPV4:
        if not within(ip, 20, end):
            return IS_TRUNCATED
        header, total = (u8(ip) & 15) << 2, be16(ip + 2)
        if u8(ip) >> 4 != 4 or header < 20 or total < header:
            return IS_MALFORMED
        source, target = u32(ip + 12), u32(ip + 16)
        client, server = (source, target) if client_side else (target, source)
        put64(key + FLOW_CLIENT, 0)
        put32(key + FLOW_CLIENT + 8, MAPPED_PREFIX)
        put32(key + FLOW_CLIENT + 12, client)
        put64(key + FLOW_SERVER, 0)
        put32(key + FLOW_SERVER + 8, MAPPED_PREFIX)
        put32(key + FLOW_SERVER + 12, server)
        protocol, l4, stop, ttl, is_ipv6 = u8(ip + 9), at + header, at + total, u8(ip + 8), 0
        put64(view + VIEW_PROTOCOL, protocol)
        put64(view + VIEW_END, stop)
        put64(view + VIEW_IS_IPV6, 0)
        if be16(ip + 6) & 0x3FFF:
            return IS_FRAGMENT
    elif kind == ETHERTYPE_IPV6:
        if not within(ip, 40, end):
            return IS_TRUNCATED
        if u8(ip) >> 4 != 6:
            return IS_MALFORMED
        client_at, server_at = (8, 24) if client_side else (24, 8)
        put64(key + FLOW_CLIENT, u64(ip + client_at))
        put64(key + FLOW_CLIENT + 8, u64(ip + client_at + 8))
        put64(key + FLOW_SERVER, u64(ip + server_at))
        put64(key + FLOW_SERVER + 8, u64(ip + server_at + 8))
        protocol, l4, stop, ttl, is_ipv6 = u8(ip + 6), at + 40, at + 40 + be16(ip + 4), u8(ip + 7), 1
        put64(view + VIEW_END, stop)
        put64(view + VIEW_IS_IPV6, 1)
        for _ in range(EXTENSION_LIMIT):
            # Hop-by-hop, routing, destination, mobility, HIP, shim6; authentication counts in words of four.
            is_extension = protocol == 0 or protocol == 43 or protocol == 60
            is_extension = is_extension or protocol == 135 or protocol == 139 or protocol == 140
            if not is_extension and protocol != PROTOCOL_AH and protocol != PROTOCOL_FRAGMENT:
                break
            if l4 > HEADERS_LIMIT:
                return IS_DEEP
            if protocol == 0 and l4 != at + 40:
                return IS_MALFORMED  # hop-by-hop options stand first (RFC 8200 4.1), else nobody takes the packet
            l4 = blur(l4, zero, 4095)
            more = data + l4
            if not within(more, 8, end):
                return IS_TRUNCATED
            if protocol == PROTOCOL_FRAGMENT:
                if u64(view + VIEW_SIZE):
                    return IS_MALFORMED  # a second one
                if be16(more + 2) & 0xFFF9:
                    put64(view + VIEW_PROTOCOL, u8(more))
                    put64(view + VIEW_L4, l4)
                    return IS_FRAGMENT
                put64(view + VIEW_SIZE, 1)  # until it has its own meaning: there was one
                l4 += 8  # one whole packet behind a fragment header (RFC 6946)
            elif protocol == PROTOCOL_AH:
                l4 += (u8(more + 1) + 2) << 2
            else:
                l4 += (u8(more + 1) + 1) << 3
            protocol = u8(more)
        if (
            protocol == 0
            or protocol == 43
            or protocol == 60
            or protocol == PROTOCOL_FRAGMENT
            or protocol == PROTOCOL_AH
        ):
            return IS_DEEP
        put64(view + VIEW_PROTOCOL, protocol)
    else:
        return IS_FOREIGN
    if protocol != PROTOCOL_TCP and protocol != PROTOCOL_UDP:
        return IS_OTHER
    if l4 > HEADERS_LIMIT:
        return IS_DEEP
    l4 = blur(l4, zero, 4095)
    head = data + l4
    if not within(head, UDP_BYTES, end):
        return IS_TRUNCATED
    if client_side:
        put32(key + FLOW_PORTS, be32(head))
        put64(view + VIEW_SERVER_PORT, be16(head + 2))
    else:
        put32(key + FLOW_PORTS, be16(head + 2) << 16 | be16(head))
        put64(view + VIEW_SERVER_PORT, be16(head))
    put32(key + FLOW_SCOPE, protocol << PROTOCOL_SHIFT)
    put64(view + VIEW_L4, l4)
    put64(view + VIEW_TTL, ttl)
    put64(view + VIEW_IS_IPV6, is_ipv6)
    if protocol == PROTOCOL_UDP:
        size = be16(head + 4)
        if size == 0 and is_ipv6:
            size = stop - l4  # Linux takes it for a jumbogram's, of any size
        if size < UDP_BYTES or l4 + size > stop:
            return IS_MALFORMED
        put64(view + VIEW_PAYLOAD, l4 + UDP_BYTES)
        put64(view + VIEW_SIZE, size - UDP_BYTES)
        return IS_UDP
    if not within(head, 20, end):
        return IS_TRUNCATED
    payload = l4 + ((u8(head + 12) >> 4) << 2)
    if u8(head + 12) >> 4 < 5 or payload > stop:
        return IS_MALFORMED
    put64(view + VIEW_PAYLOAD, payload)
    put64(view + VIEW_SIZE, stop - payload)
    put64(view + VIEW_SEQ, be32(head + 4))
    put64(view + VIEW_ACK, be32(head + 8))
    put64(view + VIEW_FLAGS, u8(head + 13))
    return IS_TCP


MULTIPLIER = -0x61C8864680B583EB  # 2^64 / golden ratio, as in Knuth's multiplicative hashing


@shared
def mix(state, word):  # type: ignore[no-untyped-def]
    """One round of the keyed hash: every bit of `word` reaches the upper half, then comes back down."""
    state = (state ^ word) * MULTIPLIER
    return state ^ shr(state, 32)


@shared
def hash_flow(secret, view, key):  # type: ignore[no-untyped-def]
    """Hash the flow key: VIEW_ADDRESS_HASH over the address pair (chooses the ring, so that fragments, which have no
    ports, reach the worker of their flow) and VIEW_HASH over the whole key (chooses bucket and tag)."""
    state = mix(secret, u64(key + FLOW_CLIENT))
    state = mix(state, u64(key + FLOW_CLIENT + 8))
    state = mix(state, u64(key + FLOW_SERVER))
    state = mix(state, u64(key + FLOW_SERVER + 8))
    put64(view + VIEW_ADDRESS_HASH, state)
    state = mix(state, u64(key + FLOW_PORTS))
    put64(view + VIEW_HASH, mix(state, secret))
    return 0


@shared
def is_same_key(a, b):  # type: ignore[no-untyped-def]
    """Are two flow keys (40 bytes) equal?"""
    return (
        u64(a) == u64(b)
        and u64(a + 8) == u64(b + 8)
        and u64(a + 16) == u64(b + 16)
        and u64(a + 24) == u64(b + 24)
        and u64(a + 32) == u64(b + 32)
    )

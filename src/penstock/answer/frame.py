"""Layers 2 and 3 of a frame that we author, mirrored from the packet at hand.

    packet at hand   [ dst MAC | src MAC | tags and EtherType ... | IP, options | TCP ...
    metadata tag                         | (TPID, TCI)
    frame            [ MACs    |         | tag | tags and EtherType | IP, bare    ] -> here `write_segment` goes on

Knows Ethernet with any tags in the bytes (they are copied as they stand, between the addresses and `l3_off`) and one
tag that the kernel took out of them. Refuses to know: encapsulations with a length of their own (PPPoE, GTP-U), and
layer 4.

The IP header says nothing of its own: IPv4 without options, DF, identification 0 (an atomic datagram, RFC 6864 4.1);
IPv6 without extension headers, flow label 0 (RFC 6437 2). The DSCP is mirrored so that the answer travels in the class
of its flow; the ECN bits are not: a mark on the packet at hand is no news of this path, and control segments are
Not-ECT (RFC 3168 6.1.4 to 6.1.6).

IEEE 802.3 and 802.1Q, RFC 791 3.1, RFC 8200 3, RFC 2474 3.
"""

from penstock.compile.memory import be16, move, put8, putbe16, putbe32, shared, u8
from penstock.wire.checksum import write_ipv4_checksum

HOPS = 64  # RFC 1700's recommended TTL, what most hosts send
ADDRESSES_BYTES = 12  # both MAC addresses
TAG_BYTES = 4
IPV4_BYTES = 20
IPV6_BYTES = 40
DSCP_BITS = 0xFC  # of the TOS or traffic class byte
DONT_FRAGMENT_BE = 0x4000


@shared
def write_pair(out, at, size, reverse):  # type: ignore[no-untyped-def]
    """Copy two adjacent fields of `size` bytes each, exchanged when `reverse` is 1.

    Reads: [at, at + 2 size). Writes: as much at `out`. Returns: 0. Bounds: two copies.
    """
    if reverse != 0:
        move(out, at + size, size)
        move(out + size, at, size)
    else:
        move(out, at, 2 * size)
    return 0


@shared
def write_link(out, packet, l3_off, reverse, vlan_tag):  # type: ignore[no-untyped-def]
    """Write everything before the IP header: addresses, the metadata tag if any, what stood between them and IP.

    Reads: [packet, packet + l3_off), l3_off at least 14. Writes: l3_off + 4 bytes at most. Returns: the address where
    IP starts in the frame. Bounds: three copies.
    """
    write_pair(out, packet, 6, reverse)
    at = out + ADDRESSES_BYTES
    if vlan_tag != 0:
        putbe32(at, vlan_tag)
        at += TAG_BYTES
    move(at, packet + ADDRESSES_BYTES, l3_off - ADDRESSES_BYTES)
    return at + l3_off - ADDRESSES_BYTES


@shared
def write_ipv4(out, l3, reverse, protocol, l4_bytes):  # type: ignore[no-untyped-def]
    """Write an IPv4 header, checksum included.

    Reads: the 20 fixed bytes of the header at `l3`. Writes: 20 bytes. Returns: the address behind it. Bounds: no loop
    but that of the checksum. Source: RFC 791 3.1, RFC 6864 4.1.
    """
    put8(out, 0x45)
    put8(out + 1, u8(l3 + 1) & DSCP_BITS)
    putbe16(out + 2, IPV4_BYTES + l4_bytes)
    putbe16(out + 4, 0)
    putbe16(out + 6, DONT_FRAGMENT_BE)
    put8(out + 8, HOPS)
    put8(out + 9, protocol)
    write_pair(out + 12, l3 + 12, 4, reverse)
    write_ipv4_checksum(out)
    return out + IPV4_BYTES


@shared
def write_ipv6(out, l3, reverse, protocol, l4_bytes):  # type: ignore[no-untyped-def]
    """Write an IPv6 header.

    Reads: the 40 bytes of the header at `l3`. Writes: 40 bytes. Returns: the address behind it. Bounds: no loop.
    Source: RFC 8200 3.
    """
    traffic_class = (be16(l3) >> 4) & DSCP_BITS
    putbe32(out, (6 << 28) | (traffic_class << 20))
    putbe16(out + 4, l4_bytes)
    put8(out + 6, protocol)
    put8(out + 7, HOPS)
    write_pair(out + 8, l3 + 8, 16, reverse)
    return out + IPV6_BYTES


@shared
def write_frame_head(out, packet, l3_off, is_ipv6, reverse, protocol, l4_bytes, vlan_tag):  # type: ignore[no-untyped-def]
    """Write the headers of layers 2 and 3 of a frame that carries `l4_bytes` of TCP or UDP.

    `reverse` 1: towards the sender of the packet at hand (addresses exchanged); 0: the way it was going itself.
    `vlan_tag`: the tag in the packet's metadata as the wire would have it, TPID << 16 | TCI; 0 for none.

    Reads: [packet, packet + l3_off + 20 or 40). Writes: l3_off + 4 + 40 bytes at most; `out` does not overlap the
    packet. Returns: the address where that starts; the frame's size is that - out + l4_bytes. Bounds: no loop but that
    of the checksum.
    """
    l3 = write_link(out, packet, l3_off, reverse, vlan_tag)
    if is_ipv6 != 0:
        return write_ipv6(l3, packet + l3_off, reverse, protocol, l4_bytes)
    return write_ipv4(l3, packet + l3_off, reverse, protocol, l4_bytes)

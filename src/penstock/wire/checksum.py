"""The Internet checksum: sums, the pseudo-header of TCP and UDP, full and partial checksums.

    segment:  [ ports | seq | ack | off flags window | CHECK urgent | options | payload ]
    CHECK  =  ~fold(pseudo-header + segment with CHECK = 0)    a full checksum, on every wire
           =   fold(pseudo-header)                             a partial one: the sender left the rest to its device

Knows how to sum, verify and write. A sum is a non-negative int64 of 16-bit words in the machine's byte order (little
endian); sums of even-sized pieces add up; `fold` makes the wire's 16-bit number of it. Refuses to know: whether a
packet is to be repaired (never: a WRONG one is dropped by the caller), and the final address of an IPv6 routing header
(such a segment is summed with the address in its header, so it is WRONG).

RFC 1071 (the sum), RFC 1624 (update), RFC 9293 3.1, RFC 768 and RFC 8200 8.1 (pseudo-headers), RFC 791 3.1 (IPv4 header).
"""

from penstock.compile.memory import be16, putbe16, shared, shr, u8, u16, u32, u64
from penstock.wire.headers import PROTOCOL_TCP, PROTOCOL_UDP

RIGHT = 0  # the full checksum holds
BARE = 1  # the field is the bare pseudo-header sum: a partial checksum, to be completed before it is sent
WRONG = 2  # neither: no receiver would take it

LOW_32_BITS = 0xFFFFFFFF
LOW_16_BITS = 0xFFFF
TCP_CHECK_OFF = 16
UDP_CHECK_OFF = 6
IPV4_CHECK_OFF = 10
IPV4_ADDRESSES_OFF = 12
IPV4_ADDRESSES_BYTES = 8
IPV6_ADDRESSES_OFF = 8
IPV6_ADDRESSES_BYTES = 32


@shared
def swap16(value):  # type: ignore[no-untyped-def]
    """The low 16 bits with their two bytes exchanged."""
    return ((value & 0xFF) << 8) | ((value >> 8) & 0xFF)


@shared
def sum_bytes(p, size, start):  # type: ignore[no-untyped-def]
    """Add the 16-bit words of `size` bytes to a sum. An odd last byte is padded with a zero.

    Reads: [p, p + size), any alignment. Writes: nothing. Returns: the sum, in [0, 2^63) as long as `start` is
    the sum of less than 2^31 bytes. Bounds: size / 32 + 10 turns. Source: RFC 1071 2: words of 32 bits in an
    accumulator of 64 need no carry, and two independent accumulators keep two adders busy.
    """
    low = start
    high = 0
    at = p
    end = p + size
    while at + 32 <= end:
        a = u64(at)
        b = u64(at + 8)
        c = u64(at + 16)
        d = u64(at + 24)
        low += (a & LOW_32_BITS) + (b & LOW_32_BITS) + (c & LOW_32_BITS) + (d & LOW_32_BITS)
        high += shr(a, 32) + shr(b, 32) + shr(c, 32) + shr(d, 32)
        at += 32
    while at + 4 <= end:
        low += u32(at)
        at += 4
    if at + 2 <= end:
        low += u16(at)
        at += 2
    if at < end:
        low += u8(at)
    return low + high


@shared
def fold(total):  # type: ignore[no-untyped-def]
    """The ones' complement sum as the wire's 16-bit number; 0 only for a sum of nothing but zeros.

    Reads: a sum. Writes: nothing. Returns: [0, 0xFFFF]; not complemented. Bounds: no loop. Source: RFC 1071 1, 2(B).
    """
    total = (total & LOW_32_BITS) + shr(total, 32)
    total = (total & LOW_32_BITS) + shr(total, 32)
    total = (total & LOW_16_BITS) + (total >> 16)
    total = (total & LOW_16_BITS) + (total >> 16)
    return swap16(total)


@shared
def pseudo_sum(l3, is_ipv6, protocol, length):  # type: ignore[no-untyped-def]
    """The sum of the pseudo-header: addresses, protocol, length of what follows the IP headers.

    Reads: the addresses of the IP header at `l3` (20 or 40 bytes). Writes: nothing. Returns: a sum. Bounds: 8 turns.
    Source: RFC 9293 3.1, RFC 8200 8.1.
    """
    rest = swap16(protocol) + swap16(length >> 16) + swap16(length)
    if is_ipv6 != 0:
        return sum_bytes(l3 + IPV6_ADDRESSES_OFF, IPV6_ADDRESSES_BYTES, rest)
    return sum_bytes(l3 + IPV4_ADDRESSES_OFF, IPV4_ADDRESSES_BYTES, rest)


@shared
def tcp_sum(l3, l4, length, is_ipv6):  # type: ignore[no-untyped-def]
    """The sum of pseudo-header and segment, its checksum field included as it stands.

    Reads: the addresses at `l3`, [l4, l4 + length). Writes: nothing. Returns: a sum; it folds to 0xFFFF when the
    checksum is right. Bounds: those of `sum_bytes`. Source: RFC 9293 3.1.
    """
    return sum_bytes(l4, length, pseudo_sum(l3, is_ipv6, PROTOCOL_TCP, length))


@shared
def verify_tcp(l3, l4, length, is_ipv6):  # type: ignore[no-untyped-def]
    """Would a receiver take this segment?

    BARE is tried first: it needs no byte of the payload, and between virtual interfaces it is the common case. Where
    both hold, completing the partial checksum writes the field that is there.

    Reads: the addresses at `l3`, [l4, l4 + length), length at least 18. Writes: nothing. Returns: RIGHT, BARE or WRONG.
    Bounds: those of `sum_bytes`. Source: RFC 9293 3.1; the partial form is that of Linux's CHECKSUM_PARTIAL.
    """
    pseudo = pseudo_sum(l3, is_ipv6, PROTOCOL_TCP, length)
    if be16(l4 + TCP_CHECK_OFF) == fold(pseudo):
        return BARE
    if fold(sum_bytes(l4, length, pseudo)) == LOW_16_BITS:
        return RIGHT
    return WRONG


@shared
def write_bare_tcp_checksum(l3, l4, length, is_ipv6):  # type: ignore[no-untyped-def]
    """Write the partial checksum of a segment that a device is to complete.

    Reads: the addresses at `l3`. Writes: the checksum field. Returns: 0. Bounds: 8 turns. Source: Linux's
    CHECKSUM_PARTIAL.
    """
    putbe16(l4 + TCP_CHECK_OFF, fold(pseudo_sum(l3, is_ipv6, PROTOCOL_TCP, length)))
    return 0


@shared
def verify_udp(l3, l4, length, is_ipv6):  # type: ignore[no-untyped-def]
    """Would a receiver take this datagram? Over IPv4 a checksum of 0 says that there is none; over IPv6 it is wrong.

    Reads: the addresses at `l3`, [l4, l4 + length), length at least 8. Writes: nothing. Returns: RIGHT, BARE or WRONG.
    Bounds: those of `sum_bytes`. Source: RFC 768, RFC 8200 8.1.
    """
    checksum = be16(l4 + UDP_CHECK_OFF)
    if checksum == 0:
        return WRONG if is_ipv6 else RIGHT
    pseudo = pseudo_sum(l3, is_ipv6, PROTOCOL_UDP, length)
    if checksum == fold(pseudo):
        return BARE
    if fold(sum_bytes(l4, length, pseudo)) == LOW_16_BITS:
        return RIGHT
    return WRONG


@shared
def write_udp_checksum(l3, l4, length, is_ipv6):  # type: ignore[no-untyped-def]
    """Write the full checksum of a datagram that we author; one that comes out as 0 is written as 0xFFFF.

    Reads: the addresses at `l3`, [l4, l4 + length). Writes: the checksum field. Returns: the checksum. Bounds: those of
    `sum_bytes`. Source: RFC 768.
    """
    putbe16(l4 + UDP_CHECK_OFF, 0)
    checksum = fold(sum_bytes(l4, length, pseudo_sum(l3, is_ipv6, PROTOCOL_UDP, length))) ^ LOW_16_BITS
    putbe16(l4 + UDP_CHECK_OFF, checksum if checksum else LOW_16_BITS)
    return checksum


@shared
def write_tcp_checksum(l3, l4, length, is_ipv6):  # type: ignore[no-untyped-def]
    """Write the full checksum of a segment that we author or whose partial checksum we complete.

    Reads: the addresses at `l3`, [l4, l4 + length). Writes: the checksum field. Returns: the checksum. Bounds: those of
    `sum_bytes`. Source: RFC 9293 3.1.
    """
    putbe16(l4 + TCP_CHECK_OFF, 0)
    checksum = fold(tcp_sum(l3, l4, length, is_ipv6)) ^ LOW_16_BITS
    putbe16(l4 + TCP_CHECK_OFF, checksum)
    return checksum


@shared
def write_ipv4_checksum(l3):  # type: ignore[no-untyped-def]
    """Write the checksum of an IPv4 header, options included.

    Reads: the header at `l3`, its length from its first byte (at most 60 bytes). Writes: the checksum field. Returns:
    the checksum. Bounds: 8 turns. Source: RFC 791 3.1.
    """
    putbe16(l3 + IPV4_CHECK_OFF, 0)
    checksum = fold(sum_bytes(l3, (u8(l3) & 15) * 4, 0)) ^ LOW_16_BITS
    putbe16(l3 + IPV4_CHECK_OFF, checksum)
    return checksum


@shared
def update16(checksum, old, value):  # type: ignore[no-untyped-def]
    """The checksum after one 16-bit word of what it covers changed from `old` to `value`. A wrong one stays wrong.

    Reads: three 16-bit numbers, all in the wire's order. Writes: nothing. Returns: [0, 0xFFFF]. Bounds: no loop.
    Source: RFC 1624 3, equation 3.
    """
    total = (checksum ^ LOW_16_BITS) + (old ^ LOW_16_BITS) + value
    total = (total & LOW_16_BITS) + (total >> 16)
    total = (total & LOW_16_BITS) + (total >> 16)
    return total ^ LOW_16_BITS

"""TCP segments that we author: data, acknowledgements, the end of a connection, resets.

Knows the header, the timestamps option and the full checksum: nothing is left to a device, because what we send may
leave by a raw socket. Refuses to know: which numbers are right (the flow's record says), windows, retransmission.

Timestamps: on a connection that negotiated them a segment without may be dropped (RFC 7323 3.2), so the caller passes
`tsval` = the last tsecr of the side that is to take the segment, and `tsecr` = that side's last tsval. Both 0: no
option. Resets carry none: that rule spares them.

RFC 9293 3.1, 3.10.7.1; RFC 5961 3.2 (a reset must carry the exact number); RFC 7323 3.2.
"""

from penstock.answer.frame import IPV4_BYTES, IPV6_BYTES, write_frame_head, write_pair
from penstock.compile.memory import move, put8, putbe16, putbe32, shared
from penstock.wire.checksum import write_tcp_checksum
from penstock.wire.headers import ACK, PROTOCOL_TCP, RST

TCP_BYTES = 20  # the header without options
TIMESTAMPS_BYTES = 12  # the option and the two NOPs that align it (RFC 7323 appendix A)
TIMESTAMPS_HEAD_BE = 0x0101080A  # NOP, NOP, kind 8, length 10


@shared
def write_segment(  # type: ignore[no-untyped-def]
    out, packet, l3_off, l4_off, is_ipv6, vlan_tag, reverse,
    seq, ack, flags, window, tsval, tsecr, payload, payload_bytes,
):  # fmt: skip
    """Write a whole frame with one segment, headers mirrored from the packet at hand, checksums in full.

    `packet` is the frame at hand, IP at `l3_off`, TCP at `l4_off`; `vlan_tag` and `reverse` as in `write_frame_head`;
    `seq`, `ack`, `tsval`, `tsecr` are taken modulo 2^32; `window` is the field as it stands, not scaled.

    Reads: the packet's headers up to the ports; [payload, payload + payload_bytes). Writes: the frame at `out`:
    l3_off + 76 + payload_bytes at most; `out` overlaps neither. Returns: the frame's size. Bounds: those of
    `sum_bytes`. Source: RFC 9293 3.1, RFC 7323 3.2.
    """
    head_bytes = TCP_BYTES
    if (tsval | tsecr) != 0:
        head_bytes += TIMESTAMPS_BYTES
    l4_bytes = head_bytes + payload_bytes
    l4 = write_frame_head(out, packet, l3_off, is_ipv6, reverse, PROTOCOL_TCP, l4_bytes, vlan_tag)
    write_pair(l4, packet + l4_off, 2, reverse)
    putbe32(l4 + 4, seq)
    putbe32(l4 + 8, ack)
    put8(l4 + 12, head_bytes << 2)
    put8(l4 + 13, flags)
    putbe16(l4 + 14, window)
    putbe16(l4 + 18, 0)
    if head_bytes > TCP_BYTES:
        putbe32(l4 + 20, TIMESTAMPS_HEAD_BE)
        putbe32(l4 + 24, tsval)
        putbe32(l4 + 28, tsecr)
    move(l4 + head_bytes, payload, payload_bytes)
    l3 = l4 - IPV4_BYTES
    if is_ipv6 != 0:
        l3 = l4 - IPV6_BYTES
    write_tcp_checksum(l3, l4, l4_bytes, is_ipv6)
    return l4 - out + l4_bytes


@shared
def write_reset(out, packet, l3_off, l4_off, is_ipv6, vlan_tag, reverse, seq, ack):  # type: ignore[no-untyped-def]
    """Write a frame with a reset that acknowledges `ack`.

    The ACK flag is always set: a peer in SYN-SENT takes no other reset, and every other state ignores the number.

    Reads: the packet's headers up to the ports. Writes: l3_off + 64 bytes at most. Returns: the frame's size.
    Bounds: those of `sum_bytes`. Source: RFC 9293 3.10.7.3, RFC 5961 3.2.
    """
    return write_segment(
        out, packet, l3_off, l4_off, is_ipv6, vlan_tag, reverse, seq, ack, RST | ACK, 0, 0, 0, packet, 0
    )

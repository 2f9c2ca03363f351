"""UDP datagrams that we author, mirrored from the packet at hand.

Knows the header and the full checksum. Refuses to know what is in it. RFC 768, RFC 8200 8.1.
"""

from penstock.answer.frame import IPV4_BYTES, IPV6_BYTES, write_frame_head, write_pair
from penstock.compile.memory import move, putbe16, shared
from penstock.wire.checksum import write_udp_checksum
from penstock.wire.headers import PROTOCOL_UDP, UDP_BYTES


@shared
def write_datagram(out, packet, l3_off, l4_off, is_ipv6, vlan_tag, reverse, payload, payload_bytes):  # type: ignore[no-untyped-def]
    """Write a frame with one datagram: towards the sender of the packet at hand (`reverse` 1), or the way that was going.

    Reads: the packet's headers up to the ports; [payload, payload + payload_bytes). Writes: the frame at `out`:
    l3_off + 52 + payload_bytes at most; `out` overlaps neither. Returns: the frame's size. Bounds: those of `sum_bytes`.
    Source: RFC 768.
    """
    l4_bytes = UDP_BYTES + payload_bytes
    l4 = write_frame_head(out, packet, l3_off, is_ipv6, reverse, PROTOCOL_UDP, l4_bytes, vlan_tag)
    write_pair(l4, packet + l4_off, 2, reverse)
    putbe16(l4 + 4, l4_bytes)
    move(l4 + UDP_BYTES, payload, payload_bytes)
    write_udp_checksum(l4 - IPV6_BYTES if is_ipv6 else l4 - IPV4_BYTES, l4, l4_bytes, is_ipv6)
    return l4 - out + l4_bytes

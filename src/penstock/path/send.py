"""To the wire: the client's own packet as it came, or a frame that we authored.

A packet is released from where it lies in the ring, behind a virtio-net header (`struct virtio_net_hdr`, 10 bytes): it
says where a partial checksum is to be completed and at which size a super-packet is to be cut, exactly as the kernel had
it. A VLAN tag that the kernel keeps beside the bytes goes back between the addresses and the EtherType. Nothing else
changes, but for the urgent pointer: a byte marked urgent would leave the stream of some servers and not of others.
"""

from numba import types

from penstock.answer.udp import write_datagram
from penstock.compile.memory import INT, be16, move, put8, put16, put32, put64, putbe16, shared, u8, u32, u64
from penstock.kernel.tables import (
    FLOW_CLIENT,
    FLOW_PROTOCOL,
    FLOW_SERVER,
    UP_GSO_SIZE,
    UP_HEAD,
    UP_IS_IPV6,
    UP_KEY,
    UP_L3,
    UP_L4,
    UP_LENGTH,
    UP_PAYLOAD,
    UP_PAYLOAD_BYTES,
    UP_VLAN_PRESENT,
    UP_VLAN_PROTO,
    UP_VLAN_TCI,
)
from penstock.path.layout import NO_WIRE_CLIENT, W_CAPTURE, W_CLIENT_FD, W_FRAME, W_MESSAGE, W_SERVER_FD
from penstock.wire.checksum import BARE, TCP_CHECK_OFF, UDP_CHECK_OFF, update16, verify_tcp, verify_udp
from penstock.wire.headers import MAPPED_PREFIX, PROTOCOL_UDP, URG

_sendmsg = types.ExternalFunction("sendmsg", INT(types.intc, INT, types.intc))

NEEDS_CHECKSUM, GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, GSO_ECN = 1, 1, 4, 5, 0x80
CWR = 0x80
TCP_URGENT = 18
VNET_BYTES, ADDRESSES_BYTES, TAG_BYTES = 10, 12, 4
FRAGMENT = -1  # no checksum of its own
DONT_WAIT, NO_SIGNAL = 0x40, 0x4000
# W_MESSAGE: struct msghdr (56 bytes), four iovecs, the virtio-net header, a tag.
IOVECS, VNET, TAG = 64, 128, 144


@shared
def vlan_tag_of(u):  # type: ignore[no-untyped-def]
    """The tag in the packet's metadata as the wire has it, TPID << 16 | TCI; 0 for none."""
    if u32(u + UP_VLAN_PRESENT) == 0:
        return 0
    tpid = u32(u + UP_VLAN_PROTO)  # the kernel's __be16
    return ((tpid & 0xFF) << 8 | tpid >> 8 & 0xFF) << 16 | u32(u + UP_VLAN_TCI) & 0xFFFF


@shared
def _add_iovec(w, number, start, size):  # type: ignore[no-untyped-def]
    place = u64(w + W_MESSAGE) + IOVECS + 16 * number
    put64(place, start)
    put64(place + 8, size)
    return number + 1


@shared
def _capture(w, iovecs, count, to_server):  # type: ignore[no-untyped-def]
    """Without a wire: append the frame to W_CAPTURE, if the caller wants to see it."""
    capture = u64(w + W_CAPTURE)
    if capture == 0:
        return 1
    place = capture + 8 + u64(capture)
    size = 0
    for number in range(count):
        move(place + 16 + size, u64(iovecs + 16 * number), u64(iovecs + 16 * number + 8))
        size += u64(iovecs + 16 * number + 8)
    put64(place, to_server)
    put64(place + 8, size)
    put64(capture, u64(capture) + 16 + (size + 7 & ~7))
    return 1


@shared
def _send(w, fd, count):  # type: ignore[no-untyped-def]
    """sendmsg over `count` iovecs. Returns 1 when the wire took the frame."""
    message = u64(w + W_MESSAGE)
    if fd < 0:
        return _capture(w, message + IOVECS + 16, count - 1, 0 if fd == NO_WIRE_CLIENT else 1)
    put64(message, 0)
    put32(message + 8, 0)
    put64(message + 16, message + IOVECS)
    put64(message + 24, count)
    put64(message + 32, 0)
    put64(message + 40, 0)
    put32(message + 48, 0)
    return 1 if _sendmsg(types.intc(fd), message, types.intc(DONT_WAIT | NO_SIGNAL)) >= 0 else 0


@shared
def _clear_urgent(w, u):  # type: ignore[no-untyped-def]
    """A copy of the packet without URG, its full checksum following; a partial one does not cover the header yet."""
    packet, size = u64(w + W_FRAME), u32(u + UP_LENGTH)
    move(packet, u + UP_HEAD, size)
    l4 = packet + u32(u + UP_L4)
    flags, urgent, checksum = be16(l4 + 12), be16(l4 + TCP_URGENT), be16(l4 + TCP_CHECK_OFF)
    put8(l4 + 13, u8(l4 + 13) & ~URG)
    putbe16(l4 + TCP_URGENT, 0)
    if u32(u + UP_GSO_SIZE) == 0 and checksum_of(u) != BARE:
        putbe16(l4 + TCP_CHECK_OFF, update16(update16(checksum, flags, flags & ~URG), urgent, 0))
    return packet


@shared
def checksum_of(u):  # type: ignore[no-untyped-def]
    """RIGHT, BARE or WRONG: the TCP or UDP checksum of the packet. A super-packet's is partial by definition."""
    if u32(u + UP_GSO_SIZE):
        return BARE
    packet, l4 = u + UP_HEAD, u32(u + UP_L4)
    l3 = packet + u32(u + UP_L3)
    length = u32(u + UP_PAYLOAD) + u32(u + UP_PAYLOAD_BYTES) - l4
    if is_udp(u):
        return verify_udp(l3, packet + l4, length, u32(u + UP_IS_IPV6))
    return verify_tcp(l3, packet + l4, length, u32(u + UP_IS_IPV6))


@shared
def is_udp(u):  # type: ignore[no-untyped-def]
    """Is the packet at hand a UDP datagram?"""
    return u8(u + UP_KEY + FLOW_PROTOCOL) == PROTOCOL_UDP


@shared
def _gso_kind(u):  # type: ignore[no-untyped-def]
    """What kind of super-packet this is, as virtio-net names it."""
    if is_udp(u):
        return GSO_UDP_L4
    return GSO_TCPV6 if u32(u + UP_IS_IPV6) else GSO_TCPV4


@shared
def send_packet(w, u, to_server, checksum):  # type: ignore[no-untyped-def]
    """Send the packet at hand on as it came. `checksum`: what `checksum_of` said of it (FRAGMENT for a fragment).

    Returns: 1; 0 when the wire did not take it.
    """
    vnet, packet, size = u64(w + W_MESSAGE) + VNET, u + UP_HEAD, u32(u + UP_LENGTH)
    l4, gso_size, tag = u32(u + UP_L4), u32(u + UP_GSO_SIZE), vlan_tag_of(u)
    put64(vnet, 0)
    put16(vnet + 8, 0)
    flags = 0 if checksum == FRAGMENT or is_udp(u) else u8(packet + l4 + 13)
    if flags & URG:
        packet = _clear_urgent(w, u)
    if checksum == BARE:
        shift = TAG_BYTES if tag else 0
        put8(vnet, NEEDS_CHECKSUM)
        if gso_size:
            put8(vnet + 1, _gso_kind(u) | GSO_ECN if flags & CWR else _gso_kind(u))
            put16(vnet + 2, u32(u + UP_PAYLOAD) + shift)
            put16(vnet + 4, gso_size)
        put16(vnet + 6, l4 + shift)
        put16(vnet + 8, UDP_CHECK_OFF if is_udp(u) else TCP_CHECK_OFF)
    count = _add_iovec(w, 0, vnet, VNET_BYTES)
    if tag:
        place = u64(w + W_MESSAGE) + TAG
        putbe16(place, tag >> 16)
        putbe16(place + 2, tag & 0xFFFF)
        count = _add_iovec(w, count, packet, ADDRESSES_BYTES)
        count = _add_iovec(w, count, place, TAG_BYTES)
        count = _add_iovec(w, count, packet + ADDRESSES_BYTES, size - ADDRESSES_BYTES)
    else:
        count = _add_iovec(w, count, packet, size)
    return _send(w, u64(w + W_SERVER_FD) if to_server else u64(w + W_CLIENT_FD), count)


@shared
def send_frame(w, frame, size, to_server):  # type: ignore[no-untyped-def]
    """Send a frame that we authored, checksums in full. Returns: 1; 0 when the wire did not take it."""
    vnet = u64(w + W_MESSAGE) + VNET
    put64(vnet, 0)
    put16(vnet + 8, 0)
    count = _add_iovec(w, _add_iovec(w, 0, vnet, VNET_BYTES), frame, size)
    return _send(w, u64(w + W_SERVER_FD) if to_server else u64(w + W_CLIENT_FD), count)


@shared
def is_one_host(address):  # type: ignore[no-untyped-def]
    """Can it be the address of one host on a network? Reads: 16 bytes, as flow keys have them.

    Source: RFC 1122 3.2.1.3, RFC 4291 2.5.2, 2.5.3, 2.7; 240.0.0.0/4 is nobody's.
    """
    if u64(address):
        return u8(address) != 0xFF
    first = u8(address + 12)
    return u32(address + 8) == MAPPED_PREFIX and first != 0 and first != 127 and first < 224


@shared
def may_answer(u):  # type: ignore[no-untyped-def]
    """May the packet at hand be answered in its server's name? Not where an answer would reach many, or go in a circle."""
    client, server = u + UP_KEY + FLOW_CLIENT, u + UP_KEY + FLOW_SERVER
    is_circle = u64(client) == u64(server) and u64(client + 8) == u64(server + 8)
    return is_one_host(client) and is_one_host(server) and not is_circle


@shared
def answer_frame(w, u, frame, size, to_server):  # type: ignore[no-untyped-def]
    """Send a frame that answers the packet at hand, or resets its server. Returns: 1; 0 when it was not sent."""
    return send_frame(w, frame, size, to_server) if may_answer(u) else 0


@shared
def send_payload(w, u, payload, size):  # type: ignore[no-untyped-def]
    """Send a datagram that we author to the client of the packet at hand. Returns: 1; 0 when the wire did not take it."""
    frame = u64(w + W_FRAME)
    length = write_datagram(
        frame, u + UP_HEAD, u32(u + UP_L3), u32(u + UP_L4), u32(u + UP_IS_IPV6), vlan_tag_of(u), 1, payload, size
    )
    return answer_frame(w, u, frame, length, 0)

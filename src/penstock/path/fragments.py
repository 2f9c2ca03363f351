"""Fragments of protected subscribers: held until their packet is whole, judged as one, and released.

    fragment ─► slot of (addresses, identification) ─► whole? ─► the packet in one piece ─► judged like any other
                     │ overlap, tiny first, odd length: the whole slot is dropped            │ TCP: goes on as one packet
                     └ not whole after 100 ms: dropped, the sender repeats it                │ others: as they came
                                                                                             └ refused: nothing goes on

Bounds: SLOT_COUNT packets at a time (of one subscriber no more than are left), PIECE_LIMIT fragments each, HOLD_NS long.
Overlaps are never reconciled (RFC 5722). A first fragment that does not hold the header of TCP or UDP and more is dropped
(RFC 1858, RFC 7112), and so is a fragmented SYN, which no honest sender makes. RFC 791 3.2, RFC 8200 4.5.
"""

from penstock.compile.memory import be16, be32, move, put8, put32, put64, putbe16, same, shared, u8, u32, u64
from penstock.flow.record import sequence_difference
from penstock.flow.stream import POOL_FLOWS, record_at
from penstock.kernel import reasons as r
from penstock.kernel import tables as t
from penstock.kernel.owners import find_owner_at
from penstock.kernel.tables import KEY_BYTES, UP_HEAD, UP_IS_IPV6, UP_KEY, UP_L3, UP_L4, UP_LENGTH
from penstock.path.holds import count_path
from penstock.path.layout import (
    HELD,
    W_ADDRESS_MASK,
    W_ADDRESSES,
    W_BUCKET_MASK,
    W_CONTROL,
    W_FRAGMENTS,
    W_NOW_NS,
    W_POOL,
    W_SUBSCRIBER_MASK,
    W_SUBSCRIBERS,
    W_VIEW,
)
from penstock.path.send import FRAGMENT, send_packet
from penstock.wire import headers as h
from penstock.wire.checksum import BARE, fold, sum_bytes, write_bare_tcp_checksum, write_ipv4_checksum

SLOT_COUNT = 64  # per worker: 10 MB, touched only when used
PIECE_LIMIT = 64  # an honest 64 KB datagram in pieces of an Ethernet MTU has 45
HOLD_NS = 100_000_000
SEGMENT_LEAST = 500  # bytes of payload in a segment that is made of fragments, the last one aside
TINY_BYTES = 40  # payload of a first fragment; the least MTU of IPv4 (68) leaves room for 48
HEADROOM = 256  # before the payload of the whole packet: what may stand before TCP or UDP
LONGEST = 65535

SLOT_BORN_NS, SLOT_ID, SLOT_PROTOCOL, SLOT_COUNT_OFF, SLOT_TOTAL, SLOT_HAVE, SLOT_RAW_END = 0, 8, 16, 24, 32, 40, 48
TTL_SLACK = 3  # pieces of one packet travel one way; for one that dies on it the server would take another
SLOT_FIRST = 56  # the address of the first fragment's ring record in the raw area, 0 while it is missing
SLOT_KEY = 64
SLOT_OWNER = 104
SLOT_PIECES = 128  # PIECE_LIMIT of: start, end, offset of the ring record in the raw area
PIECE_BYTES = 24
SLOT_WHOLE = SLOT_PIECES + PIECE_LIMIT * PIECE_BYTES
WHOLE_BYTES = UP_HEAD + HEADROOM + 65536
SLOT_RAW = SLOT_WHOLE + WHOLE_BYTES
RAW_BYTES = 65536 + PIECE_LIMIT * (UP_HEAD + 256)
SLOT_BYTES = SLOT_RAW + RAW_BYTES
FRAGMENTS_BYTES = SLOT_COUNT * SLOT_BYTES
UNKNOWN = -1
IS_WHOLE = 2  # UP_IS_PEEK of a packet that was put together here

MORE_BIT_IPV4, OFFSET_MASK_IPV4 = 0x2000, 0x1FFF
IPV6_BYTES, FRAGMENT_BYTES = 40, 8


@shared
def _drop_slot(w, slot, reason):  # type: ignore[no-untyped-def]
    """Drop what a slot holds. The packet at hand, if it is not in it yet, is the caller's."""
    count_path(w, reason, u64(slot + SLOT_COUNT_OFF))
    put64(slot + SLOT_BORN_NS, 0)
    return reason


@shared
def expire_fragments(w, now_ns):  # type: ignore[no-untyped-def]
    """Drop the slots that did not become whole in time. Bounds: SLOT_COUNT."""
    for number in range(SLOT_COUNT):
        slot = u64(w + W_FRAGMENTS) + number * SLOT_BYTES
        born_ns = u64(slot + SLOT_BORN_NS)
        if born_ns and now_ns - born_ns > HOLD_NS:
            _drop_slot(w, slot, r.FRAGMENT_LATE)
    return 0


@shared
def _find_slot(w, u, identification, protocol):  # type: ignore[no-untyped-def]
    """The slot of this packet, or an empty one made its own; 0 when none is left, or its subscriber holds more than that.
    Bounds: SLOT_COUNT."""
    empty, left, held = 0, 0, 0
    for number in range(SLOT_COUNT):
        slot = u64(w + W_FRAGMENTS) + number * SLOT_BYTES
        if u64(slot + SLOT_BORN_NS) == 0:
            empty, left = slot, left + 1
            continue
        if u64(slot + SLOT_ID) == identification and u64(slot + SLOT_PROTOCOL) == protocol:
            if same(slot + SLOT_KEY, u + UP_KEY, KEY_BYTES):
                return slot
        if u64(slot + SLOT_OWNER) == u64(u + t.UP_OWNER):
            held += 1
    if held >= left:
        return 0
    if empty:
        put64(empty + SLOT_OWNER, u64(u + t.UP_OWNER))
        put64(empty + SLOT_BORN_NS, u64(w + W_NOW_NS))
        put64(empty + SLOT_ID, identification)
        put64(empty + SLOT_PROTOCOL, protocol)
        put64(empty + SLOT_COUNT_OFF, 0)
        put64(empty + SLOT_TOTAL, UNKNOWN)
        put64(empty + SLOT_HAVE, 0)
        put64(empty + SLOT_RAW_END, 0)
        put64(empty + SLOT_FIRST, 0)
        move(empty + SLOT_KEY, u + UP_KEY, KEY_BYTES)
    return empty


@shared
def _ttl_of(u):  # type: ignore[no-untyped-def]
    """The TTL or hop limit of the packet."""
    return u8(u + UP_HEAD + u32(u + UP_L3) + (7 if u32(u + UP_IS_IPV6) else 8))


@shared
def _is_bad_piece(u, slot, start, end, more):  # type: ignore[no-untyped-def]
    """Does this piece contradict what is there? Bounds: PIECE_LIMIT."""
    total = u64(slot + SLOT_TOTAL)
    if more == 0 and total != UNKNOWN and total != end:
        return True
    if total != UNKNOWN and end > total:
        return True
    ttl = _ttl_of(u)
    for number in range(PIECE_LIMIT):
        if number >= u64(slot + SLOT_COUNT_OFF):
            break
        piece = slot + SLOT_PIECES + number * PIECE_BYTES
        if start < u64(piece + 8) and u64(piece) < end:
            return True
        if abs(_ttl_of(slot + SLOT_RAW + u64(piece + 16)) - ttl) > TTL_SLACK:
            return True
        if more == 0 and u64(piece + 8) > end:
            return True
    return False


@shared
def _is_repeated_piece(slot, payload, start, end):  # type: ignore[no-untyped-def]
    """Is exactly this piece there already? Bounds: PIECE_LIMIT."""
    for number in range(PIECE_LIMIT):
        if number >= u64(slot + SLOT_COUNT_OFF):
            break
        piece = slot + SLOT_PIECES + number * PIECE_BYTES
        if u64(piece) == start and u64(piece + 8) == end:
            return same(slot + SLOT_WHOLE + UP_HEAD + HEADROOM + start, payload, end - start)
    return False


@shared
def _add_piece(slot, u, payload, start, end, more):  # type: ignore[no-untyped-def]
    """Keep a piece: its bytes in their place, and its ring record as it is. Returns 1, or 0 when there is no room."""
    count, raw, size = u64(slot + SLOT_COUNT_OFF), u64(slot + SLOT_RAW_END), UP_HEAD + u32(u + UP_LENGTH)
    if count == PIECE_LIMIT or raw + size > RAW_BYTES:
        return 0
    move(slot + SLOT_WHOLE + UP_HEAD + HEADROOM + start, payload, end - start)
    move(slot + SLOT_RAW + raw, u, size)
    piece = slot + SLOT_PIECES + count * PIECE_BYTES
    put64(piece, start)
    put64(piece + 8, end)
    put64(piece + 16, raw)
    put64(slot + SLOT_COUNT_OFF, count + 1)
    put64(slot + SLOT_RAW_END, raw + (size + 7 & ~7))
    put64(slot + SLOT_HAVE, u64(slot + SLOT_HAVE) + end - start)
    if start == 0:
        put64(slot + SLOT_FIRST, slot + SLOT_RAW + raw)
    if more == 0:
        put64(slot + SLOT_TOTAL, end)
    return 1


@shared
def hold_fragment(w, u):  # type: ignore[no-untyped-def]
    """Take a fragment. Returns: the address of its slot when its packet is whole now; HELD; or, negative, a reason - 1000
    for which it and what the slot held were dropped."""
    packet, l3, end_of_packet = u + UP_HEAD, u32(u + UP_L3), u32(u + UP_LENGTH)
    ip = packet + l3
    if u32(u + UP_IS_IPV6):
        fragment = packet + u32(u + UP_L4)
        payload, stop = fragment + FRAGMENT_BYTES, ip + IPV6_BYTES + be16(ip + 4)
        start, more, identification, protocol = (
            be16(fragment + 2) & 0xFFF8,
            be16(fragment + 2) & 1,
            be32(fragment + 4),
            0,
        )
    else:
        payload, stop = ip + ((u8(ip) & 15) << 2), ip + be16(ip + 2)
        if fold(sum_bytes(ip, payload - ip, 0)) != 0xFFFF:
            return r.BAD_CHECKSUM - 1000  # a router drops it, and the server would put another in its place
        field = be16(ip + 6)
        start, more = (field & OFFSET_MASK_IPV4) << 3, field & MORE_BIT_IPV4
        identification, protocol = be16(ip + 4), u8(ip + 9)
    end = start + stop - payload
    if stop > packet + end_of_packet or stop <= payload or end > LONGEST:
        return r.FRAGMENT_BAD - 1000
    slot = _find_slot(w, u, identification, protocol)
    if slot == 0:
        return r.FRAGMENT_FULL - 1000
    if _is_repeated_piece(slot, payload, start, end):
        return r.FRAGMENT_BAD - 1000  # the network's own duplicate: it goes, the slot stays
    is_odd = more and end & 7
    is_tiny = start == 0 and stop - payload < TINY_BYTES
    if is_odd or is_tiny or _is_bad_piece(u, slot, start, end, more):
        _drop_slot(w, slot, r.FRAGMENT_BAD)
        return r.FRAGMENT_BAD - 1000
    if _add_piece(slot, u, payload, start, end, more) == 0:
        _drop_slot(w, slot, r.FRAGMENT_FULL)
        return r.FRAGMENT_FULL - 1000
    if u64(slot + SLOT_TOTAL) == u64(slot + SLOT_HAVE) and u64(slot + SLOT_FIRST):
        return slot
    return HELD


@shared
def _write_headers(slot, first):  # type: ignore[no-untyped-def]
    """Write the headers of the whole packet in front of its payload. Returns: where its frame begins, or 0."""
    packet, l3, total = first + UP_HEAD, u32(first + UP_L3), u64(slot + SLOT_TOTAL)
    payload = slot + SLOT_WHOLE + UP_HEAD + HEADROOM
    if u32(first + UP_IS_IPV6):
        size = u32(first + UP_L4)
        if size > HEADROOM or size - l3 - IPV6_BYTES + total > LONGEST:
            return 0
        frame = payload - size
        move(frame, packet, size)
        putbe16(frame + l3 + 4, size - l3 - IPV6_BYTES + total)
        at, protocol = frame + l3 + 6, u8(frame + l3 + 6)
        following = frame + l3 + IPV6_BYTES
        for _ in range(h.EXTENSION_LIMIT):  # the header before the fragment header names what follows it
            if protocol == h.PROTOCOL_FRAGMENT or following >= payload:
                break
            at, protocol = following, u8(following)
            following += (u8(following + 1) + 2) << 2 if protocol == h.PROTOCOL_AH else (u8(following + 1) + 1) << 3
        put8(at, u8(packet + size))
        return frame
    header = (u8(packet + l3) & 15) << 2
    if l3 + header > HEADROOM or header + total > LONGEST:
        return 0
    frame = payload - l3 - header
    move(frame, packet, l3 + header)
    putbe16(frame + l3 + 2, header + total)
    putbe16(frame + l3 + 6, 0)
    write_ipv4_checksum(frame + l3)
    return frame


@shared
def _find_number(w, view, key):  # type: ignore[no-untyped-def]
    """The number of the flow's record, or NO_RECORD: what the kernel looked up for other packets."""
    h.hash_flow(u64(u64(w + W_CONTROL) + t.CONTROL_HASH_KEY), view, key)
    bucket = u64(view + h.VIEW_HASH) & u64(w + W_BUCKET_MASK)
    tags = u64(w + W_POOL + POOL_FLOWS) + bucket * t.BUCKET_BYTES
    for way in range(t.WAYS):
        if u32(tags + 4 * way) & 1 and h.is_same_key(record_at(w + W_POOL, bucket << 3 | way), key):
            return bucket << 3 | way
    return t.NO_RECORD


@shared
def _find_sharer(w, u, key):  # type: ignore[no-untyped-def]
    """Whose packet it is, if several share its address: a piece has no port to say so. Returns: his flags."""
    lines, mask = u64(w + W_SUBSCRIBERS), u64(w + W_SUBSCRIBER_MASK)
    line = lines + (u64(u + t.UP_OWNER) & mask) * t.SUBSCRIBER_BYTES
    if u32(line + t.SUBSCRIBER_FLAGS) & t.SUBSCRIBER_SHARED:
        secret, control = u64(u64(w + W_CONTROL) + t.CONTROL_HASH_KEY), u64(w + W_CONTROL)
        number = find_owner_at(control, u64(w + W_ADDRESSES), u64(w + W_ADDRESS_MASK), secret, key)
        put64(u + t.UP_OWNER, number)
        line = lines + (number & mask) * t.SUBSCRIBER_BYTES
    return u32(line + t.SUBSCRIBER_FLAGS)


@shared
def build_whole(w, slot):  # type: ignore[no-untyped-def]
    """The ring record of the packet in one piece. Returns: its address; 0 when it is neither TCP nor UDP, or nobody's
    who is protected, so that there is nothing to judge; -1 when it must not pass."""
    first = u64(slot + SLOT_FIRST)
    frame = _write_headers(slot, first)
    if frame == 0:
        return -1
    end = slot + SLOT_WHOLE + UP_HEAD + HEADROOM + u64(slot + SLOT_TOTAL)
    view = u64(w + W_VIEW)
    key = view + h.VIEW_BYTES
    for word in range(0, h.VIEW_BYTES, 8):
        put64(view + word, 0)
    status = h.parse_packet(frame, end, 1, 0, view, key)
    if status == h.IS_OTHER:
        return 0
    # An urgent pointer cannot be cleared in pieces; a fragmented SYN is no honest one.
    if (status != h.IS_TCP and status != h.IS_UDP) or u64(view + h.VIEW_FLAGS) & (h.SYN | h.URG):
        return -1
    u = frame - UP_HEAD
    move(u, first, UP_HEAD)
    put32(u + UP_LENGTH, end - frame)
    put32(u + t.UP_GSO_SIZE, 0)
    put32(u + UP_L3, u64(view + h.VIEW_L3))
    put32(u + UP_L4, u64(view + h.VIEW_L4))
    put32(u + t.UP_PAYLOAD, u64(view + h.VIEW_PAYLOAD))
    put32(u + t.UP_PAYLOAD_BYTES, u64(view + h.VIEW_SIZE))
    put32(u + t.UP_SEQ, u64(view + h.VIEW_SEQ))
    put32(u + t.UP_ACK, u64(view + h.VIEW_ACK))
    put32(u + t.UP_FLAGS, u64(view + h.VIEW_FLAGS))
    put32(u + t.UP_TTL, u64(view + h.VIEW_TTL))
    put32(u + t.UP_IS_PEEK, IS_WHOLE)
    put32(key + t.FLOW_SCOPE, u32(key + t.FLOW_SCOPE) | u32(first + UP_KEY + t.FLOW_SCOPE) & t.SCOPE_MASK)
    move(u + UP_KEY, key, KEY_BYTES)
    if _find_sharer(w, u, key) & t.SUBSCRIBER_PROTECTED == 0:
        return 0
    number = _find_number(w, view, key)
    put32(u + t.UP_FLOW, number)
    if number != t.NO_RECORD and status == h.IS_TCP:  # the kernel saw no segment: what was sent is known only now
        record, fin = record_at(w + W_POOL, number), u64(view + h.VIEW_FLAGS) & h.FIN
        segment_end = u64(view + h.VIEW_SEQ) + u64(view + h.VIEW_SIZE) + fin
        if sequence_difference(segment_end, u32(record + t.FLOW_CLIENT_NEXT)) > 0:
            put32(record + t.FLOW_CLIENT_NEXT, segment_end)
    return u


@shared
def release_whole(w, u, slot):  # type: ignore[no-untyped-def]
    """Send a segment on that came in fragments, in one packet, which the device cuts into segments no longer than the
    longest fragment was. As fragments its parts could meet those of another packet with the same identification at the
    server, and what nobody has judged would be put together there. Returns: 1; 0 when the wire did not take it.

    Bounds: PIECE_LIMIT."""
    make_segment(u, slot)
    return send_packet(w, u, 1, BARE)


@shared
def make_segment(u, slot):  # type: ignore[no-untyped-def]
    """Make the ring record of a segment that came in fragments, or a copy of it, one of a super-packet that came in one.

    Bounds: PIECE_LIMIT."""
    packet, l4, longest = u + UP_HEAD, u32(u + UP_L4), 0
    for number in range(PIECE_LIMIT):
        if number >= u64(slot + SLOT_COUNT_OFF):
            break
        piece = slot + SLOT_PIECES + number * PIECE_BYTES
        longest = max(longest, u64(piece + 8) - u64(piece))
    header = u32(u + t.UP_PAYLOAD) - l4
    put32(u + t.UP_GSO_SIZE, max(longest - header, SEGMENT_LEAST))
    put32(u + t.UP_IS_PEEK, 0)
    put32(u + t.UP_REASON, r.UP_UNJUDGED)
    length = header + u32(u + t.UP_PAYLOAD_BYTES)
    return write_bare_tcp_checksum(packet + u32(u + UP_L3), packet + l4, length, u32(u + UP_IS_IPV6))


@shared
def piece_of(slot, number):  # type: ignore[no-untyped-def]
    """The ring record of the fragment that came as the `number`th."""
    return slot + SLOT_RAW + u64(slot + SLOT_PIECES + number * PIECE_BYTES + 16)


@shared
def release_pieces(w, slot):  # type: ignore[no-untyped-def]
    """Send the original fragments on, in the order in which they came. Returns: 1; 0 when the wire did not take one."""
    taken = 1
    for number in range(PIECE_LIMIT):
        if number >= u64(slot + SLOT_COUNT_OFF):
            break
        taken &= send_packet(w, piece_of(slot, number), 1, FRAGMENT)
    return taken


@shared
def slot_of(w, u):  # type: ignore[no-untyped-def]
    """The slot in which a whole packet stands."""
    return u64(w + W_FRAGMENTS) + (u - u64(w + W_FRAGMENTS)) // SLOT_BYTES * SLOT_BYTES

"""The HTTP answer: a template whose places are filled in, and its segments.

    template   HTTP/1.1 403 Forbidden ... reference 0000000000000000 ...
                                                    ^ a place: kind << 32 | offset
    stream     [seq0 .................................... seq0 + answer_bytes][FIN]
    segment    answer[offset : offset + room], at seq0 + offset

A segment is a function of the answer and of an offset into it, so a lost one is written again from the client's ACK
number and nothing is queued. Knows how to fill in and how to cut. Refuses to know: what the page says (the snapshot's
templates are whole responses), HTTP itself, when the server is quiet enough for an answer.

RFC 9293 3.7.1 and 3.7.2 (segment sizes), RFC 6691 (MSS and options).
"""

from penstock.answer.tcp import TIMESTAMPS_BYTES, write_segment
from penstock.compile.memory import move, put8, shared, shr, u8, u64
from penstock.wire.headers import ACK, FIN, PSH

PLACE_LIMIT = 8  # places in a template
FILL_BYTES = 16  # of what goes into the places of one kind: its address, and its size
REFERENCE_BYTES = 16  # lower-case hex digits
ENTITY_BYTES = 5
MSS_LEAST_BYTES = 88  # what Linux takes as the least honest MSS; a smaller one costs us a packet per byte
MSS_MOST_BYTES = 1_220  # fits an MTU of 1,280, the least of IPv6 (RFC 8200 5): we hear no "packet too big"
FRAME_ROOM_BYTES = 2_048  # takes any frame of an answer: 22 of link layer in the bytes, a tag, 40, 32 and the payload


@shared
def write_hex(out, number, digits):  # type: ignore[no-untyped-def]
    """Write the lowest bits of a number as lower-case hex digits.

    Reads: nothing. Writes: `digits` bytes. Returns: 0. Bounds: `digits` turns.
    """
    for digit in range(digits):
        value = shr(number, 4 * (digits - 1 - digit)) & 15
        put8(out + digit, value + 48 if value < 10 else value + 87)
    return 0


@shared
def write_response(out, template, template_bytes, places, fills):  # type: ignore[no-untyped-def]
    """Copy a template and fill in its places.

    Reads: the template; `places`: PLACE_LIMIT words, kind << 32 | offset into it, 0 for none; `fills`: FILL_BYTES for each
    kind, and what they lead to. Writes: template_bytes at `out`. Returns: the answer's size (template_bytes).
    Bounds: PLACE_LIMIT places; what does not fit at its offset is left out.
    """
    move(out, template, template_bytes)
    for number in range(PLACE_LIMIT):
        place = u64(places + 8 * number)
        fill, off = fills + (place >> 32) * FILL_BYTES, place & 0xFFFFFFFF
        if off > 0 and off + u64(fill + 8) <= template_bytes:
            move(out + off, u64(fill), u64(fill + 8))
    return template_bytes


@shared
def _write_entity(out, byte):  # type: ignore[no-untyped-def]
    """Write the numeric entity of an ASCII byte of two digits (HTML 13.1.4). Returns: its size."""
    put8(out, 38)
    put8(out + 1, 35)
    put8(out + 2, 48 + byte // 10)
    put8(out + 3, 48 + byte % 10)
    put8(out + 4, 59)
    return ENTITY_BYTES


@shared
def _sequence_bytes(byte):  # type: ignore[no-untyped-def]
    """How many bytes the UTF-8 sequence has that begins so (RFC 3629 3); 1 for what begins none."""
    if byte >= 0xF0:
        return 4
    if byte >= 0xE0:
        return 3
    return 2 if byte >= 0xC0 else 1


@shared
def write_text(out, room, text, size):  # type: ignore[no-untyped-def]
    """Write a text into a place of a page: no byte of it is markup, control bytes are blanks, and blanks fill the place.

    Reads: text[0:size). Writes: out[0:room). Returns: how many bytes of the text fit; no character is cut. Bounds: `size`.
    """
    at, written = 0, 0
    for _ in range(size):
        if at >= size:
            break
        byte = u8(text + at)
        length = min(_sequence_bytes(byte), size - at)
        is_markup = byte == 34 or byte == 38 or byte == 39 or byte == 60 or byte == 62
        if written + (ENTITY_BYTES if is_markup else length) > room:
            break
        if is_markup:
            written += _write_entity(out + written, byte)
        else:
            for number in range(length):
                byte = u8(text + at + number)
                is_foreign = byte < 32 or byte == 127 or (number > 0 and byte < 128)
                put8(out + written, 32 if is_foreign else byte)
                written += 1
        at += length
    for _ in range(room - written):
        put8(out + written, 32)
        written += 1
    return at


@shared
def write_url(out, room, url, size):  # type: ignore[no-untyped-def]
    """Write a web address into a place of a header field, whose trailing blanks are no part of it (RFC 9110 5.5): visible
    ASCII alone. Returns: 1; 0 when it has another byte, or does not fit: nothing can be led there.

    Reads: url[0:size). Writes: out[0:room). Bounds: `room`.
    """
    if size > room:
        return 0
    for at in range(room):
        byte = 32
        if at < size:
            byte = u8(url + at)
            if byte <= 32 or byte >= 127:
                return 0
        put8(out + at, byte)
    return 1


@shared
def find_room_bytes(mss, tsval, tsecr):  # type: ignore[no-untyped-def]
    """How many bytes of an answer go into one segment: the step from one offset to the next.

    Reads: `mss` as the client's SYN said it (536 where it said nothing), the timestamps that the segment will carry.
    Writes: nothing. Returns: [76, 1220]. Bounds: no loop. Source: RFC 6691 2: the MSS does not count options.
    """
    room = min(max(mss, MSS_LEAST_BYTES), MSS_MOST_BYTES)
    if (tsval | tsecr) != 0:
        room -= TIMESTAMPS_BYTES
    return room


@shared
def write_answer_segment(  # type: ignore[no-untyped-def]
    out, packet, l3_off, l4_off, is_ipv6, vlan_tag,
    answer, answer_bytes, offset, mss, seq0, ack, window, tsval, tsecr, fin,
):  # fmt: skip
    """Write a frame with the segment of an answer that starts at `offset`, towards the sender of the packet at hand.

    The last segment pushes, and ends the stream when `fin` is 1; at offset = answer_bytes a bare FIN is left.

    Reads: the packet's headers, at most MSS_MOST_BYTES of the answer. Writes: l3_off + 76 + 1,220 bytes at most.
    Returns: the frame's size; 0 when nothing is left at `offset` or it is outside. Bounds: one segment.
    """
    rest = answer_bytes - offset
    if offset < 0 or rest < 0 or (rest == 0 and fin == 0):
        return 0
    room = find_room_bytes(mss, tsval, tsecr)
    flags = ACK
    size = room
    if rest <= room:
        size = rest
        flags |= PSH
        if fin != 0:
            flags |= FIN
    return write_segment(
        out, packet, l3_off, l4_off, is_ipv6, vlan_tag, 1,
        seq0 + offset, ack, flags, window, tsval, tsecr, answer + offset, size,
    )  # fmt: skip

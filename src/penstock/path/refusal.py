"""Refused is a state: what a refused flow gets, rebuilt on demand from (J, first sequence number, template).

    client ◄── page or alert, FIN │ both ways withheld │ reset ──► server

A page or alert is authored only while the server is quiet: it has answered everything, and the client has all of it.
Otherwise both sides are reset, so that nothing is ever injected into a response. Afterwards the client's bytes are
acknowledged and thrown away, its request repeated is answered again, and each packet of the server is answered by a reset
with exactly the number that it waits for (RFC 5961 3.2).
"""

from penstock.answer.http import (
    FILL_BYTES,
    REFERENCE_BYTES,
    find_room_bytes,
    write_answer_segment,
    write_hex,
    write_response,
)
from penstock.answer.tcp import write_reset, write_segment
from penstock.answer.tls import UNRECOGNIZED_NAME, write_alert
from penstock.compile.memory import be32, put32, put64, shared, u8, u32, u64
from penstock.flow.record import REFUSED, judged_end_of, pack_word, sequence_difference
from penstock.flow.stream import ANSWER_RESET, ANSWER_RESET_BOTH
from penstock.kernel import reasons as r
from penstock.kernel import tables as t
from penstock.kernel.tables import (
    UP_ACK,
    UP_FLAGS,
    UP_HEAD,
    UP_IS_IPV6,
    UP_L3,
    UP_L4,
    UP_PAYLOAD,
    UP_PAYLOAD_BYTES,
    UP_SEQ,
)
from penstock.path.events import EVENT_HAS_ECH, EVENT_IS_REQUEST, EVENT_RESET, write_event
from penstock.path.hosts import identify, marker_of, subscriber_of
from penstock.path.layout import (
    D_SIZE,
    PROTO_DNS,
    PROTO_HTTP,
    PROTO_TLS,
    UNIT_DETAIL,
    UNIT_HOST,
    UNIT_HOST_BYTES,
    UNIT_PROTO,
    UNIT_REASON,
    UNIT_VERSION,
    W_ANSWER,
    W_DNS,
    W_FILLS,
    W_FRAME,
    W_HOOK,
    W_JUDGED,
    W_SNAPSHOT,
)
from penstock.path.overrides import TOKEN_BYTES, note_warning, write_token
from penstock.path.queries import is_silent
from penstock.path.said import find_said, keep_said
from penstock.path.send import answer_frame, vlan_tag_of
from penstock.path.units import TOLD
from penstock.policy.actions import BLOCK, REDIRECT, WARN
from penstock.policy.judge import OUT_CATEGORY, OUT_WOULD
from penstock.policy.snapshot import (
    COLUMN_CONTINUED,
    COLUMN_COURT,
    COLUMN_OWN_LIST,
    PLACE_REFERENCE,
    PLACE_TEXTS,
    PLACE_TOKEN,
    PLACES,
    TEMPLATE_BYTES,
    TEMPLATE_START,
    find_template,
)
from penstock.wire.headers import ACK, FIN, RST

# FLOW_ANSWER: kind | column << 4 | (category & 0xFF) << 8 | times << 16 | record version's minor << 24
ANSWER_PAGE, ANSWER_ALERT, ANSWER_DNS = 1, 2, 4  # ANSWER_RESET: flow.stream
ANSWER_SAID = 6  # by a hook: path.said has it, under the number in the category's place
NO_CATEGORY = 0xFF
F_REFERENCE = len(PLACE_TEXTS) * FILL_BYTES  # behind what `write_response` reads: a reference's text
FILLS_BYTES = F_REFERENCE + REFERENCE_BYTES
TIMES_LIMIT = 32  # repetitions of an answer; a client that takes none of them is reset
SEGMENT_LIMIT = 8  # of an answer
MSS_BYTES = 1220
WINDOW = 65535
TIMESTAMPS_OPTION = 8


@shared
def find_timestamps(u):  # type: ignore[no-untyped-def]
    """TSval << 32 | TSecr of the packet's timestamps option (RFC 7323), 0 without one. Bounds: 40 bytes of options."""
    at, end = u + UP_HEAD + u32(u + UP_L4) + 20, u + UP_HEAD + u32(u + UP_PAYLOAD)
    for _ in range(40):
        if at >= end or u8(at) == 0:
            return 0
        if u8(at) == 1:
            at += 1
            continue
        if at + 1 >= end or u8(at + 1) < 2:
            return 0
        if u8(at) == TIMESTAMPS_OPTION and u8(at + 1) == 10 and at + 10 <= end:
            return be32(at + 2) << 32 | be32(at + 6)
        at += u8(at + 1)
    return 0


@shared
def send_reset(w, u, to_server, seq, ack):  # type: ignore[no-untyped-def]
    """Reset one side. `seq` is what that side waits for."""
    from_client = u32(u + t.UP_FROM_CLIENT)
    reverse = 1 if from_client != to_server else 0
    frame, packet = u64(w + W_FRAME), u + UP_HEAD
    size = write_reset(
        frame, packet, u32(u + UP_L3), u32(u + UP_L4), u32(u + UP_IS_IPV6), vlan_tag_of(u), reverse, seq, ack
    )
    return answer_frame(w, u, frame, size, to_server)


@shared
def _build_answer(w, u, record):  # type: ignore[no-untyped-def]
    """Write the answer of a refused flow into W_ANSWER. Returns: its size; 0 when the snapshot has no such page."""
    answer, out = u32(record + t.FLOW_ANSWER), u64(w + W_ANSWER)
    if answer & 15 == ANSWER_ALERT:
        return write_alert(out, UNRECOGNIZED_NAME, 0x300 | answer >> 24)
    if answer & 15 == ANSWER_DNS:  # it stands there once, for the packet that holds the query
        size = u64(u64(w + W_DNS) + D_SIZE)
        put64(u64(w + W_DNS) + D_SIZE, 0)
        return size
    snapshot = u64(w + W_SNAPSHOT)
    category = answer >> 8 & 0xFF
    fills, offset = u64(w + W_FILLS), 0
    if answer & 15 == ANSWER_SAID:
        offset = find_said(w, u, record, category, answer >> 4 & 15 == REDIRECT, fills)
    else:
        offset = find_template(snapshot, -1 if category == NO_CATEGORY else category, answer >> 4 & 15)
    if offset == 0:
        return 0
    template = snapshot + offset
    reference = identify(w, u, _marker(record))
    write_hex(fills + F_REFERENCE, reference, REFERENCE_BYTES)
    _set_fill(fills, PLACE_REFERENCE, fills + F_REFERENCE, REFERENCE_BYTES)
    if answer >> 4 & 15 == WARN:
        _set_fill(fills, PLACE_TOKEN, write_token(w, u, reference), TOKEN_BYTES)
    return write_response(out, template + TEMPLATE_START, u64(template + TEMPLATE_BYTES), template + PLACES, fills)


@shared
def _set_fill(fills, kind, at, size):  # type: ignore[no-untyped-def]
    """What goes into the places of one kind."""
    put64(fills + kind * FILL_BYTES, at)
    put64(fills + kind * FILL_BYTES + 8, size)
    return 0


@shared
def _column_of(reason, action):  # type: ignore[no-untyped-def]
    """The column of the page for a refusal: policy.snapshot."""
    if reason == r.COURT_ORDER:
        return COLUMN_COURT
    if reason == r.OWN_LIST:
        return COLUMN_OWN_LIST
    return COLUMN_CONTINUED if reason == r.CONTINUED else action


@shared
def _marker(record):  # type: ignore[no-untyped-def]
    """What tells one refusal of a flow from another: where its answer begins, and which connection it is."""
    return u32(record + t.FLOW_ANSWER_SEQ) << 32 | u32(record + t.FLOW_BIRTH)


@shared
def send_answer(w, u, record):  # type: ignore[no-untyped-def]
    """Send the whole answer, then FIN, to the client. Bounds: SEGMENT_LIMIT segments."""
    size = _build_answer(w, u, record)
    ack = judged_end_of(u64(record + t.FLOW_WORD))
    if size == 0:
        return send_reset(w, u, 0, u32(u + UP_ACK), ack)
    stamps = find_timestamps(u)
    tsval, tsecr = stamps & 0xFFFFFFFF, stamps >> 32 & 0xFFFFFFFF
    seq, offset, frame = u32(record + t.FLOW_ANSWER_SEQ), 0, u64(w + W_FRAME)
    step = find_room_bytes(MSS_BYTES, tsval, tsecr)
    for _ in range(SEGMENT_LIMIT):
        length = write_answer_segment(
            frame, u + UP_HEAD, u32(u + UP_L3), u32(u + UP_L4), u32(u + UP_IS_IPV6), vlan_tag_of(u),
            u64(w + W_ANSWER), size, offset, MSS_BYTES, seq, ack, WINDOW, tsval, tsecr, 1,
        )  # fmt: skip
        if length == 0:
            break
        answer_frame(w, u, frame, length, 0)
        offset += step
        if offset >= size:
            break
    put32(record + t.FLOW_ANSWER_END, seq + size + 1)
    return 1


@shared
def is_quiet(u, record):  # type: ignore[no-untyped-def]
    """Has the server answered everything, and the client all of it? Then an answer can stand in the server's place."""
    server_next = u32(record + t.FLOW_SERVER_NEXT)
    if u32(u + UP_ACK) != server_next:
        return False
    if u32(record + t.FLOW_MARK) == 0 and u32(record + t.FLOW_WATCH) == 0:
        return server_next == (u32(record + t.FLOW_SERVER_ISN) + 1) & 0xFFFFFFFF  # nothing was asked before
    return u32(record + t.FLOW_WATCH) == 0 and server_next == u32(record + t.FLOW_MARK)


@shared
def _tell(w, u, marker, proto, action, reason, flags):  # type: ignore[no-untyped-def]
    """Write the event of what UNIT_* says, if that was not done."""
    if u64(w + UNIT_DETAIL) == TOLD:
        return 0
    if reason == r.ENCRYPTED_HELLO:
        flags |= EVENT_HAS_ECH
    return write_event(
        w, u, identify(w, u, marker), proto, action, reason, subscriber_of(w, u), u64(w + UNIT_DETAIL), flags,
        u64(w + UNIT_HOST), u64(w + UNIT_HOST_BYTES),
    )  # fmt: skip


@shared
def refuse_flow(w, u, record, released_end, end):  # type: ignore[no-untyped-def]
    """Refuse the flow with what read_unit left in UNIT_*: the record, both sides, the event.

    Reads: released_end: the first sequence number that the server does not have; end: behind the client's last byte.
    """
    reason, proto = u64(w + UNIT_REASON), u64(w + UNIT_PROTO)
    category, action = u64(w + W_JUDGED + OUT_CATEGORY), u64(w + W_JUDGED + OUT_WOULD)
    if reason == r.AMBIGUOUS:
        category, action = NO_CATEGORY, BLOCK
        put64(w + W_JUDGED + OUT_CATEGORY, -1)
    if reason == r.CONTINUED:
        category = NO_CATEGORY
    kind = ANSWER_RESET
    if is_quiet(u, record):
        if proto == PROTO_HTTP:
            kind = ANSWER_PAGE
            if u64(w + W_HOOK):
                kind = ANSWER_SAID
        elif proto == PROTO_TLS:
            kind = ANSWER_ALERT
    if proto == PROTO_DNS and is_silent(u, record):
        kind = ANSWER_DNS
    if kind == ANSWER_SAID:
        category = keep_said(w, u, record)
    column = _column_of(reason, action)
    put32(record + t.FLOW_ANSWER, kind | column << 4 | (category & 0xFF) << 8 | (u64(w + UNIT_VERSION) & 0xFF) << 24)
    put32(record + t.FLOW_ANSWER_SEQ, u32(u + UP_ACK))
    put32(record + t.FLOW_ANSWER_END, u32(u + UP_ACK))
    put64(record + t.FLOW_WORD, pack_word(REFUSED, end, 0))
    flags = EVENT_IS_REQUEST | (EVENT_RESET if kind == ANSWER_RESET else 0)
    _tell(w, u, _marker(record), proto, action, reason, flags)
    if column == WARN:
        note_warning(w, identify(w, u, _marker(record)), u64(w + UNIT_HOST), u64(w + UNIT_HOST_BYTES))
    send_reset(w, u, 1, released_end, u32(u + UP_ACK))
    if kind == ANSWER_RESET:
        send_reset(w, u, 0, u32(u + UP_ACK), end)
    else:
        send_answer(w, u, record)
    return reason


@shared
def refuse_stateless(w, u):  # type: ignore[no-untyped-def]
    """Refuse a request of a flow without a record: both sides are reset."""
    reason = u64(w + UNIT_REASON)
    action = u64(w + W_JUDGED + OUT_WOULD)
    _tell(w, u, marker_of(u), u64(w + UNIT_PROTO), action, reason, EVENT_IS_REQUEST | EVENT_RESET)
    send_reset(w, u, 1, u32(u + UP_SEQ), u32(u + UP_ACK))
    send_reset(w, u, 0, u32(u + UP_ACK), u32(u + UP_SEQ) + u32(u + UP_PAYLOAD_BYTES))
    return reason


@shared
def reset_other(w, u, record):  # type: ignore[no-untyped-def]
    """Of a flow that was refused between its packets: the side that did not send this one is reset too, for it may have
    nothing to say. (What it waits for is what this packet begins with.)"""
    if u32(record + t.FLOW_ANSWER) & 15 == ANSWER_RESET_BOTH:
        put32(record + t.FLOW_ANSWER, ANSWER_RESET)
        send_reset(w, u, u32(u + t.UP_FROM_CLIENT), u32(u + UP_SEQ), u32(u + UP_ACK))
    return 0


@shared
def serve_refused_client(w, u, record):  # type: ignore[no-untyped-def]
    """A packet of the client on a refused flow: acknowledged, answered again, or reset. Returns: its reason."""
    flags, ack = u32(u + UP_FLAGS), u32(u + UP_ACK)
    reset_other(w, u, record)
    if flags & RST:
        return r.REFUSED_CLIENT
    answer = u32(record + t.FLOW_ANSWER)
    word = u64(record + t.FLOW_WORD)
    end = u32(u + UP_SEQ) + u32(u + UP_PAYLOAD_BYTES) + (flags & FIN)
    judged_end = judged_end_of(word)
    in_order = sequence_difference(u32(u + UP_SEQ), judged_end) <= 0
    if in_order and sequence_difference(end, judged_end) > 0:
        judged_end = end & 0xFFFFFFFF
        put64(record + t.FLOW_WORD, pack_word(REFUSED, judged_end, 0))
    times = answer >> 16 & 0xFF
    if answer & 15 == ANSWER_RESET or times >= TIMES_LIMIT:
        send_reset(w, u, 0, ack, judged_end)
        return r.REFUSED_CLIENT
    if sequence_difference(ack, u32(record + t.FLOW_ANSWER_END)) < 0:
        put32(record + t.FLOW_ANSWER, answer + (1 << 16))
        send_answer(w, u, record)
    elif end != u32(u + UP_SEQ):
        stamps, frame = find_timestamps(u), u64(w + W_FRAME)
        size = write_segment(
            frame, u + UP_HEAD, u32(u + UP_L3), u32(u + UP_L4), u32(u + UP_IS_IPV6), vlan_tag_of(u), 1,
            u32(record + t.FLOW_ANSWER_END), judged_end, ACK, WINDOW,
            stamps & 0xFFFFFFFF, stamps >> 32 & 0xFFFFFFFF, u + UP_HEAD, 0,
        )  # fmt: skip
        answer_frame(w, u, frame, size, 0)
    return r.REFUSED_CLIENT


@shared
def serve_refused_server(w, u, record):  # type: ignore[no-untyped-def]
    """A packet of the server on a refused flow: reset with the number it waits for. Returns: its reason."""
    flags = u32(u + UP_FLAGS)
    reset_other(w, u, record)
    if flags & RST == 0 and flags & ACK:
        send_reset(w, u, 1, u32(u + UP_ACK), u32(u + UP_SEQ) + u32(u + UP_PAYLOAD_BYTES))
    return r.REFUSED_SERVER

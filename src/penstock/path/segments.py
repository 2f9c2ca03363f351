"""TCP segments of the client, and the peeks at the heads of responses: what a segment adds to its flow, and what follows.

take_segment ─► decoy? conflict? keep the bytes ─► read_units ─► refuse_flow | release
take_midstream: no record, so what begins in the segment is judged on sight
take_peek: where a response ends, or that the connection is no longer HTTP
"""

from penstock.compile.memory import put16, put32, put64, shared, u16, u32, u64
from penstock.flow.record import (
    FREED,
    OPEN,
    REFUSED,
    SETTLING,
    free_end_of,
    is_before_birth,
    is_settled,
    judged_end_of,
    pack_word,
    sequence_difference,
    state_of,
)
from penstock.flow.stream import (
    CONFLICT,
    LARGE_BYTES,
    NO_FIN,
    NO_MEMORY,
    NO_UNIT,
    S_BASE,
    S_DATA,
    S_FIN,
    S_HEAD_END,
    S_STATE,
    S_UNIT,
    STATE_BYTES,
    STORED,
    contiguous_end,
    find_stream,
    forget_before,
    free_stream,
    is_same_as_marked,
    is_same_so_far,
    last_end,
    mark_bytes,
    put_bytes,
    take_stream,
)
from penstock.kernel import reasons as r
from penstock.kernel import tables as t
from penstock.kernel.exceptions import ASYMMETRIC, DEFAULT, GAP, MIDSTREAM, REASSEMBLY_FULL, REFUSE
from penstock.kernel.tables import UP_ACK, UP_FLAGS, UP_HEAD, UP_PAYLOAD, UP_PAYLOAD_BYTES, UP_SEQ
from penstock.path.asks import MAY_NOT_ASK, find_released_end, may_ask
from penstock.path.decoys import find_decoy
from penstock.path.events import EVENT_RESET, write_event
from penstock.path.hosts import identify, is_paused, marker_of, subscriber_of
from penstock.path.layout import (
    HELD,
    PROTO_TCP,
    SIGHT_BYTES,
    UNIT_ALLOWED,
    UNIT_F,
    UNIT_IS_HEAD,
    UNIT_J,
    UNIT_REASON,
    W_CONTROL,
    W_HOOK,
    W_JUDGED,
    W_MAY_ASK,
    W_POOL,
    W_SIGHT,
)
from penstock.path.policies import policy_at, refuse_by_policy
from penstock.path.refusal import find_timestamps, refuse_flow, refuse_stateless, serve_refused_client
from penstock.path.release import read_checksum, release
from penstock.path.units import (
    ASKS,
    FREES,
    MODE_CHUNK,
    MODE_START,
    MODE_TRY,
    REFUSES,
    WAITS,
    WATCH_HEAD,
    WATCH_HEADLESS,
    WATCH_NONE,
    WATCH_UNKNOWN,
    read_unit,
    refuse,
)
from penstock.policy.actions import BLOCK
from penstock.policy.actions import FORWARD as ACTION_FORWARD
from penstock.policy.judge import OUT_CATEGORY, OUT_SERVICE
from penstock.request.response import CONTINUES, FOREIGN, SWITCHES, UNKNOWN, read_response
from penstock.wire.headers import FIN, RST

UNITS_LIMIT = LARGE_BYTES // 6  # in one packet: as many of the shortest chunks as a stream can hold


@shared
def tell_conflict(w, u, reason):  # type: ignore[no-untyped-def]
    """Report a segment that carries other bytes than were released before."""
    write_event(w, u, identify(w, u, marker_of(u)), PROTO_TCP, ACTION_FORWARD, reason, subscriber_of(w, u), 0, 0, u, 0)
    return reason


@shared
def resynchronise(w, u, record):  # type: ignore[no-untyped-def]
    """Bytes of this flow passed unread: begin again at this segment, and take nothing about it for granted. It may even be
    another connection of the same ports, so that all numbers are those of this segment."""
    seq, ack = u32(u + UP_SEQ), u32(u + UP_ACK)
    put32(record + t.FLOW_BIRTH, seq)
    put32(record + t.FLOW_ACKED, seq)
    put32(record + t.FLOW_CLIENT_NEXT, seq + u32(u + UP_PAYLOAD_BYTES) + (u32(u + UP_FLAGS) & FIN))
    put32(record + t.FLOW_SERVER_ISN, ack - 1)
    put32(record + t.FLOW_SERVER_NEXT, ack)
    put32(record + t.FLOW_TSVAL, find_timestamps(u) >> 32)
    flags = t.OWNER_MASK << t.OWNER_SHIFT | t.FAILS_CLOSED | t.HAS_TIMESTAMPS | t.HAS_MD5
    put32(record + t.FLOW_FLAGS, u32(record + t.FLOW_FLAGS) & flags)
    put64(record + t.FLOW_WORD, pack_word(OPEN, u32(u + UP_SEQ), 0))
    put32(record + t.FLOW_EPOCH, u64(u64(w + W_CONTROL) + t.CONTROL_EPOCH))
    put32(record + t.FLOW_STREAM, 0)
    put32(record + t.FLOW_WATCH, WATCH_UNKNOWN)
    put64(record + t.FLOW_LEFT, 0)
    put16(record + t.FLOW_MODE, MODE_TRY)
    return 0


@shared
def open_stream(w, record, number):  # type: ignore[no-untyped-def]
    """The flow's stream, its base moved up to what the server has. Returns: 0 when there is no memory."""
    pool, birth, word = w + W_POOL, u32(record + t.FLOW_BIRTH), u64(record + t.FLOW_WORD)
    free_end = free_end_of(word)
    stream = find_stream(pool, u32(record + t.FLOW_STREAM), number, birth)
    if stream == 0:
        put32(record + t.FLOW_STREAM, take_stream(pool, number, birth, free_end))
        return find_stream(pool, u32(record + t.FLOW_STREAM), number, birth)
    acked = sequence_difference(u32(record + t.FLOW_ACKED), u64(stream + S_BASE))
    free_off = sequence_difference(free_end, u64(stream + S_BASE))
    head = sequence_difference(u64(stream + S_HEAD_END), u64(stream + S_BASE))
    is_chunked = u16(record + t.FLOW_MODE) == MODE_CHUNK and state_of(word) == OPEN
    if acked >= sequence_difference(judged_end_of(word), u64(stream + S_BASE)) or (is_chunked and acked >= head):
        forget_before(stream, free_off)  # a body behind acknowledged bytes (or kept chunk headers) need not be kept
    else:
        forget_before(stream, min(acked, free_off))
    return stream


@shared
def keep_bytes(w, u, stream, word):  # type: ignore[no-untyped-def]
    """Keep what this segment brings: bytes that the server does not have, other than a body's.

    Returns: STORED, CONFLICT, OUTSIDE or NO_MEMORY; nothing changes unless STORED.
    """
    base, pool = u64(stream + S_BASE), w + W_POOL
    offset, p = sequence_difference(u32(u + UP_SEQ), base), u + UP_HEAD + u32(u + UP_PAYLOAD)
    end = offset + u32(u + UP_PAYLOAD_BYTES)
    fin = u64(stream + S_FIN)
    if u32(u + UP_FLAGS) & FIN:
        if fin != NO_FIN and fin != end:
            return CONFLICT
        fin = end
    if fin != NO_FIN and max(end, last_end(stream)) > fin:
        return CONFLICT  # bytes behind the end: a server takes one or the other
    if offset < 0:
        if not is_same_as_marked(stream, u32(u + UP_SEQ), p, min(-offset, u32(u + UP_PAYLOAD_BYTES))):
            return CONFLICT
        p -= offset
        offset = 0
    body, free_off = sequence_difference(judged_end_of(word), base), sequence_difference(free_end_of(word), base)
    before = min(end, body)  # [offset, before) was judged; [before, behind) is body; [behind, end) is new
    behind = max(offset, free_off) if body < free_off else before
    before = before if body < free_off else end
    if not is_same_so_far(stream, offset, p, before - offset):
        return CONFLICT
    if body < free_off:
        if not is_same_so_far(stream, behind, p + behind - offset, end - behind):
            return CONFLICT
        stored = put_bytes(pool, stream, behind, p + behind - offset, end - behind)
        if stored != STORED:
            return stored
    stored = put_bytes(pool, stream, offset, p, before - offset)
    if stored == STORED:
        put64(stream + S_FIN, fin)
    return stored


@shared
def note_request(w, record):  # type: ignore[no-untyped-def]
    """A request was allowed: remember where its response will begin, so that it can be known when it has ended."""
    server_next, watch = u32(record + t.FLOW_SERVER_NEXT), u32(record + t.FLOW_WATCH)
    is_first = watch == WATCH_NONE and u32(record + t.FLOW_MARK) == 0
    if is_first or (watch == WATCH_NONE and u32(record + t.FLOW_MARK) == server_next):
        put32(record + t.FLOW_MARK, server_next)
        put32(record + t.FLOW_WATCH, WATCH_HEADLESS if u64(w + UNIT_IS_HEAD) else WATCH_HEAD)
    else:
        put32(record + t.FLOW_WATCH, WATCH_UNKNOWN)
    return 0


@shared
def read_units(w, u, record, stream, released_end):  # type: ignore[no-untyped-def]
    """Read unit after unit as far as the bytes reach. Returns: the packet's reason; the record's state says the rest.
    HELD: a unit waits for a hook, and the packet with it."""
    reason, base = r.INCOMPLETE, u64(stream + S_BASE)
    for _ in range(UNITS_LIMIT):
        free_end = free_end_of(u64(record + t.FLOW_WORD))
        free_off = sequence_difference(free_end, base)
        if u64(stream + S_FIN) == free_off:
            put64(record + t.FLOW_WORD, pack_word(OPEN, free_end + 1, 0))
            return reason
        if u64(stream + S_FIN) != NO_FIN and free_off > u64(stream + S_FIN):
            return reason
        end = contiguous_end(stream, free_off)
        eof = 1 if u64(stream + S_FIN) == end else 0
        if u64(stream + S_UNIT) != free_end:
            for word in range(0, STATE_BYTES, 8):
                put64(stream + S_STATE + word, 0)
            put64(stream + S_UNIT, free_end)
        put64(w + UNIT_ALLOWED, 0)
        put64(w + W_HOOK, 0)
        data, mode = u64(stream + S_DATA), u16(record + t.FLOW_MODE)
        outcome = read_unit(w, u, record, data + free_off, data + end, eof, stream + S_STATE)
        if outcome == WAITS:
            return reason
        if outcome == ASKS:
            return HELD
        if outcome == REFUSES:
            reason = refuse_flow(w, u, record, released_end, base + end + eof)
            free_stream(w + W_POOL, stream)
            return reason
        if outcome == FREES:
            put64(record + t.FLOW_WORD, pack_word(SETTLING, base + end + eof, 0))
            return r.NOT_A_REQUEST if mode == MODE_START else r.SECOND_FLIGHT
        reason = u64(w + UNIT_REASON)
        judged_end, body = free_end + u64(w + UNIT_J), u64(w + UNIT_F) - u64(w + UNIT_J)
        put64(stream + S_UNIT, NO_UNIT)
        if u16(record + t.FLOW_MODE) == MODE_CHUNK:  # a chunk header
            mark_bytes(stream, free_off, u64(w + UNIT_J), u32(record + t.FLOW_ACKED))
        else:
            put64(stream + S_HEAD_END, judged_end)
        if u64(w + UNIT_ALLOWED):
            note_request(w, record)
        put64(record + t.FLOW_WORD, pack_word(OPEN, judged_end, body))
    refuse(w, r.AMBIGUOUS, PROTO_TCP, 0, u, 0)
    free_stream(w + W_POOL, stream)
    return refuse_flow(w, u, record, released_end, u32(u + UP_SEQ) + u32(u + UP_PAYLOAD_BYTES))


@shared
def repeat_proof(w, u, stream, checksum, word):  # type: ignore[no-untyped-def]
    """A segment of a settling flow that reaches before J: there it must say what was said before."""
    base, p = u64(stream + S_BASE), u + UP_HEAD + u32(u + UP_PAYLOAD)
    offset = sequence_difference(u32(u + UP_SEQ), base)
    if u64(stream + S_FIN) != NO_FIN and offset + u32(u + UP_PAYLOAD_BYTES) > u64(stream + S_FIN):
        return tell_conflict(w, u, r.CONFLICT)
    end = min(offset + u32(u + UP_PAYLOAD_BYTES), sequence_difference(judged_end_of(word), base))
    if offset < 0:
        p, offset = p - offset, 0
    if not is_same_so_far(stream, offset, p, end - offset):
        return tell_conflict(w, u, r.CONFLICT)
    return release(w, u, checksum, r.REPEATED if offset < end else r.SETTLED)


@shared
def meet_full_memory(w, u, record, checksum):  # type: ignore[no-untyped-def]
    """No memory for this flow's unfinished request: its policy, and what fails closed waits. Returns: the reason."""
    policy = policy_at(w, REASSEMBLY_FULL)
    if policy == REFUSE:
        return refuse_by_policy(w, u, record, u32(u + UP_SEQ), r.STREAM_FULL_REFUSED)
    if policy == DEFAULT or u32(record + t.FLOW_FLAGS) & t.FAILS_CLOSED:
        return r.STREAM_FULL
    put32(record + t.FLOW_EPOCH, 0)  # bytes pass unread
    return release(w, u, checksum, r.STREAM_FULL_OPEN)


@shared
def refuse_paused(w, u, record):  # type: ignore[no-untyped-def]
    """Nothing goes on for who is paused, whatever it is: both sides are reset. Returns: the reason."""
    put64(w + W_JUDGED + OUT_CATEGORY, -1)
    put64(w + W_JUDGED + OUT_SERVICE, -1)
    write_event(
        w, u, identify(w, u, marker_of(u)), PROTO_TCP, BLOCK, r.PAUSED, subscriber_of(w, u), 0, EVENT_RESET, u, 0
    )  # fmt: skip
    return refuse_by_policy(w, u, record, u32(u + UP_SEQ), r.PAUSED)


@shared
def take_segment(w, u, record, number):  # type: ignore[no-untyped-def]
    """A segment of the client on a flow with a record. Returns: its reason; HELD: it waits for a hook."""
    word, checksum = u64(record + t.FLOW_WORD), read_checksum(w, u)
    may_ask(w, u)
    is_gap = u32(record + t.FLOW_EPOCH) != u64(u64(w + W_CONTROL) + t.CONTROL_EPOCH)
    if is_gap and u32(u + t.UP_REASON) == r.UP_GAP:  # not of what the record remembers, so that it is no measure
        decoy = find_decoy(w, u, 0, checksum)
        if decoy:
            return decoy
        if policy_at(w, GAP) == REFUSE:
            return refuse_by_policy(w, u, record, u32(u + UP_SEQ), r.GAP_REFUSED)
        resynchronise(w, u, record)
        word = u64(record + t.FLOW_WORD)
    if state_of(word) == REFUSED:
        return serve_refused_client(w, u, record)
    if is_settled(word, u32(record + t.FLOW_ACKED)) and not is_paused(w, u):
        return release(w, u, checksum, r.SETTLED)
    decoy = find_decoy(w, u, record, checksum)
    if decoy:
        return decoy
    if is_paused(w, u):
        return refuse_paused(w, u, record)
    if u32(u + UP_FLAGS) & RST:
        return release(w, u, checksum, r.RESET_DATA)  # it ends the connection, or is challenged: no byte of the stream
    is_one_way = u32(record + t.FLOW_FLAGS) & t.ONE_WAY
    if is_one_way and policy_at(w, ASYMMETRIC) == REFUSE:
        return refuse_by_policy(w, u, record, u32(u + UP_SEQ), r.ASYMMETRIC_REFUSED)
    if u32(record + t.FLOW_EPOCH) != u64(u64(w + W_CONTROL) + t.CONTROL_EPOCH):
        resynchronise(w, u, record)  # behind a packet that waited longer than anybody read
        word = u64(record + t.FLOW_WORD)
    if is_before_birth(u32(u + UP_SEQ), u32(record + t.FLOW_BIRTH), u32(record + t.FLOW_ACKED)):
        return r.OUT_OF_WINDOW
    stream = open_stream(w, record, number)
    if stream == 0:
        return meet_full_memory(w, u, record, checksum)
    base = u64(stream + S_BASE)
    acked = max(sequence_difference(u32(record + t.FLOW_ACKED), base), 0)
    if acked > contiguous_end(stream, max(sequence_difference(free_end_of(word), base), 0)):
        # The server has bytes behind F that were never read here: they passed while nobody judged.
        free_stream(w + W_POOL, stream)
        resynchronise(w, u, record)
        word = u64(record + t.FLOW_WORD)
        stream = open_stream(w, record, number)
        base, acked = u64(stream + S_BASE), 0
    released_end = find_released_end(w, base + contiguous_end(stream, acked))
    if state_of(word) == SETTLING:
        return repeat_proof(w, u, stream, checksum, word)
    stored = keep_bytes(w, u, stream, word)
    if stored == CONFLICT:
        return tell_conflict(w, u, r.CONFLICT)
    if stored != STORED:
        return meet_full_memory(w, u, record, checksum) if stored == NO_MEMORY else r.OUT_OF_WINDOW
    reason = read_units(w, u, record, stream, released_end)
    if reason == HELD:
        return HELD
    if is_one_way and reason != r.INCOMPLETE and state_of(u64(record + t.FLOW_WORD)) != REFUSED:
        # Nobody will ever acknowledge it here: it was judged once, and is free.
        put64(record + t.FLOW_WORD, pack_word(FREED, judged_end_of(u64(record + t.FLOW_WORD)), 0))
        free_stream(w + W_POOL, stream)
    end = u32(u + UP_SEQ) + u32(u + UP_PAYLOAD_BYTES) + (u32(u + UP_FLAGS) & FIN)
    if reason == r.INCOMPLETE and sequence_difference(end, released_end) <= 0:
        reason = r.REPEATED
    if state_of(u64(record + t.FLOW_WORD)) == REFUSED:
        return reason
    return release(w, u, checksum, reason)


@shared
def take_midstream(w, u):  # type: ignore[no-untyped-def]
    """A segment of the client without a record: what begins in it is judged, and nothing is remembered."""
    checksum = read_checksum(w, u)
    decoy = find_decoy(w, u, 0, checksum)
    if decoy:
        return decoy
    if is_paused(w, u):
        return refuse_paused(w, u, 0)
    if policy_at(w, MIDSTREAM) == REFUSE:
        return refuse_by_policy(w, u, 0, u32(u + UP_SEQ), r.MIDSTREAM_REFUSED)
    record = u64(w + W_SIGHT)
    for word in range(0, SIGHT_BYTES, 8):
        put64(record + word, 0)
    put16(record + t.FLOW_MODE, MODE_TRY)
    put64(w + W_MAY_ASK, MAY_NOT_ASK)  # nothing would keep what follows behind it
    p = u + UP_HEAD + u32(u + UP_PAYLOAD)
    end, eof = p + u32(u + UP_PAYLOAD_BYTES), u32(u + UP_FLAGS) & FIN
    if read_unit(w, u, record, p, end, eof, record + t.RECORD_BYTES) == REFUSES:
        return refuse_stateless(w, u)
    return release(w, u, checksum, r.ON_SIGHT)


@shared
def take_peek(w, u, record):  # type: ignore[no-untyped-def]
    """The head of a response: where it ends, or that the connection is no longer HTTP."""
    watch = u32(record + t.FLOW_WATCH)
    if u32(u + UP_SEQ) != u32(record + t.FLOW_MARK) or watch == WATCH_NONE:
        return r.PEEKED
    p = u + UP_HEAD + u32(u + UP_PAYLOAD)
    end = u + UP_HEAD + min(u32(u + UP_PAYLOAD) + u32(u + UP_PAYLOAD_BYTES), u32(u + t.UP_LENGTH))
    size = read_response(p, end, 1 if watch == WATCH_HEADLESS else 0)
    if size == SWITCHES or size == FOREIGN:
        # What such a server is asked for is no HTTP request, whatever it looks like (RTSP cameras, NTRIP casters).
        is_over = size == FOREIGN or u16(record + t.FLOW_MODE) == MODE_TRY
        if is_over and state_of(u64(record + t.FLOW_WORD)) == OPEN:
            put64(record + t.FLOW_WORD, pack_word(FREED, u32(record + t.FLOW_CLIENT_NEXT), 0))
    elif size == UNKNOWN or watch == WATCH_UNKNOWN:
        put32(record + t.FLOW_WATCH, WATCH_UNKNOWN)
    elif size < 0:
        put32(record + t.FLOW_MARK, u32(record + t.FLOW_MARK) + CONTINUES - size)
    else:
        put32(record + t.FLOW_MARK, u32(record + t.FLOW_MARK) + size)
        put32(record + t.FLOW_WATCH, WATCH_NONE)
    return r.PEEKED

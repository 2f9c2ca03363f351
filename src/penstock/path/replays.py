"""What waited for hooks goes on: answers are taken, budgets end, packets go through `step` once more, in their order.

    answers ─┐
    budgets ─┴► line ─► first packet ─► step ─► asked about something else? it waits again
                             ▲                └► counted; the next one ◄──── until none is left: the flow waits no more
                             └──────────────────────────┘
Refuses to know what an answer means (`asks`). Each packet is counted once, here, when its end is known.
"""

from penstock.compile.memory import put32, put64, shared, u32, u64
from penstock.flow.stream import record_at
from penstock.kernel import reasons as r
from penstock.kernel import tables as t
from penstock.kernel.tables import UP_KEY, UP_SEQ
from penstock.path.ask_rings import ANSWER_COUNT, ANSWER_ID, read_answer
from penstock.path.asks import (
    A_ENDS,
    A_LINE,
    A_LINES,
    A_OPEN,
    A_QUEUE,
    A_QUEUE_HEAD,
    A_QUEUE_TAIL,
    A_REPLY,
    A_SLOTS,
    A_TAKEN,
    ANSWERED,
    CHAIN_LIMIT,
    IDLE,
    L_BEGIN,
    L_BIRTH,
    L_DEADLINE_NS,
    L_FIRST,
    L_FLOW,
    L_IDENTITY,
    L_NUMBER,
    L_SERIAL,
    L_STATE,
    L_UNIT,
    LINE_BYTES,
    LINE_COUNT,
    OVER,
    QUEUE_BYTES,
    QUEUE_COUNT,
    WAITING,
    close_line,
    drop_first,
)
from penstock.path.holds import count_path
from penstock.path.layout import HELD, W_ASKS, W_CONTROL, W_HOOK, W_NOW_NS, W_POOL
from penstock.path.slots import place_of
from penstock.path.step import step
from penstock.wire.headers import is_same_key

NO_UNIT = -1


@shared
def _find_record(w, line, u):  # type: ignore[no-untyped-def]
    """The record of a line's flow, or 0: it is another's by now."""
    record = record_at(w + W_POOL, u64(line + L_FLOW) - 1)
    return record if is_same_key(record, u + UP_KEY) and u32(record + t.FLOW_BIRTH) == u64(line + L_BIRTH) else 0


@shared
def _step_again(w, line, u):  # type: ignore[no-untyped-def]
    """Take a packet that waited to its end. Returns: its reason; HELD: it is asked about once more."""
    record = _find_record(w, line, u)
    if record == 0 or u32(record + t.FLOW_EPOCH) != u64(u64(w + W_CONTROL) + t.CONTROL_EPOCH):
        return r.ASK_LEFT  # others of its flow passed unread meanwhile
    reason = step(w, u)
    put64(w + W_HOOK, 0)
    return reason


@shared
def replay_line(w, line):  # type: ignore[no-untyped-def]
    """Have what waits of a flow go on, until one packet waits again or none is left. Bounds: CHAIN_LIMIT packets."""
    asks = u64(w + W_ASKS)
    put64(asks + A_LINE, line)
    for _ in range(CHAIN_LIMIT):
        u = place_of(asks + A_SLOTS, u64(line + L_FIRST) - 1)
        reason = _step_again(w, line, u)
        if reason == HELD:
            break
        record = _find_record(w, line, u)
        count_path(w, reason, drop_first(asks, line))
        if u64(line + L_FIRST) == 0:
            if record:
                put32(record + t.FLOW_HANDLED, u64(line + L_NUMBER))
            close_line(asks, line)
            break
        put64(line + L_STATE, IDLE)
        put64(line + L_DEADLINE_NS, 0)
        put64(line + L_IDENTITY, 0)
        put64(line + L_UNIT, NO_UNIT)
        put64(line + L_BEGIN, u32(place_of(asks + A_SLOTS, u64(line + L_FIRST) - 1) + UP_SEQ))
    put64(asks + A_LINE, 0)
    return 0


@shared
def _take_answers(w):  # type: ignore[no-untyped-def]
    """Take what was answered; what nobody waits for any more is nothing. Bounds: ANSWER_COUNT."""
    asks = u64(w + W_ASKS)
    reply = asks + A_REPLY
    for _ in range(ANSWER_COUNT):
        taken = read_answer(w, u64(asks + A_TAKEN), reply)
        if taken == u64(asks + A_TAKEN):
            break
        put64(asks + A_TAKEN, taken)
        identity = u64(reply + ANSWER_ID)
        line = asks + A_LINES + (identity & (LINE_COUNT - 1)) * LINE_BYTES
        if identity and u64(line + L_FLOW) and u64(line + L_STATE) == WAITING and u64(line + L_IDENTITY) == identity:
            put64(line + L_STATE, ANSWERED)
            replay_line(w, line)
    return 0


@shared
def _end_budgets(w, now_ns):  # type: ignore[no-untyped-def]
    """Have the tables decide where the budget is over by `now_ns`. Bounds: QUEUE_COUNT."""
    asks = u64(w + W_ASKS)
    for _ in range(QUEUE_COUNT):
        head = u64(asks + A_QUEUE_HEAD)
        if head == u64(asks + A_QUEUE_TAIL):
            break
        place = asks + A_QUEUE + (head & (QUEUE_COUNT - 1)) * QUEUE_BYTES
        line = u64(place)
        is_same = u64(line + L_FLOW) and u64(line + L_SERIAL) == u64(place + 8) and u64(line + L_DEADLINE_NS)
        if is_same and u64(line + L_DEADLINE_NS) > now_ns:
            break
        put64(asks + A_QUEUE_HEAD, head + 1)
        if is_same and u64(line + L_STATE) == WAITING:
            put64(line + L_STATE, OVER)
            replay_line(w, line)
    return 0


@shared
def serve_asks(w):  # type: ignore[no-untyped-def]
    """Take answers, and end budgets. Returns: how many flows wait still."""
    asks = u64(w + W_ASKS)
    if u64(asks + A_OPEN) == 0:
        return 0
    _take_answers(w)
    _end_budgets(w, u64(w + W_NOW_NS))
    return u64(asks + A_OPEN)


@shared
def end_asks(w):  # type: ignore[no-untyped-def]
    """The worker ends: the tables decide on what waits. (Were it dropped, a sender that repeats its last packet first would
    be read anew from there, and what stands before it never.) Bounds: LINE_COUNT lines of CHAIN_LIMIT packets."""
    asks = u64(w + W_ASKS)
    if u64(asks + A_OPEN) == 0:
        return 0
    put64(asks + A_ENDS, 1)
    for number in range(LINE_COUNT):
        line = asks + A_LINES + number * LINE_BYTES
        if u64(line + L_FLOW):
            put64(line + L_STATE, OVER)
            replay_line(w, line)
    put64(asks + A_ENDS, 0)
    return 0

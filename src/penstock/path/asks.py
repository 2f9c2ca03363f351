"""Requests that wait for a hook: what is asked, what waits behind it, and what was answered.

    unit decided by the tables ─► a filter? ─► the packet into a slot, the ask into the ring ─► HELD
    later packets of the flow  ─► behind it, in order                                            │
    answer, or the budget over ─► `replays`: the packets through `step` again, in order ◄────────┘

A *line* is a flow that waits: its packets, the unit that is asked about, what hooks said of its hosts so far. A unit finds
its answer by its line, its place and the number of its host. Whatever cannot wait (no room, a full ring) is decided by the
tables at once. Bounds: LINE_COUNT flows, SLOT_COUNT packets, CHAIN_LIMIT of a flow; of the slots of a size nobody holds
more than are left for the others. Times are W_NOW_NS.
"""

from penstock.compile.memory import put32, put64, shared, u32, u64
from penstock.flow.record import free_end_of, sequence_difference
from penstock.kernel import reasons as r
from penstock.kernel import tables as t
from penstock.kernel.tables import UP_FLAGS, UP_FLOW, UP_KEY, UP_LENGTH, UP_NUMBER, UP_OWNER, UP_PAYLOAD_BYTES, UP_SEQ
from penstock.path.ask_rings import (
    ANSWER_ACTION,
    ANSWER_BYTES,
    ANSWER_CATEGORY,
    ANSWER_HOOK,
    ANSWER_URL_BYTES,
    note_unasked,
    write_ask,
)
from penstock.path.fragments import IS_WHOLE, make_segment, slot_of
from penstock.path.fragments import SLOT_COUNT_OFF as PIECES_OFF
from penstock.path.hosts import DNS_PORT, blame_nobody, identify
from penstock.path.layout import (
    HELD,
    PROTO_HTTP,
    W_ASKS,
    W_HOOK,
    W_JUDGED,
    W_MAY_ASK,
    W_NAMES,
    W_NOW_NS,
    W_RELEASED_END,
    W_SNAPSHOT,
    W_SUBSCRIBER_MASK,
    W_SUBSCRIBERS,
    W_TARGET,
    W_TARGET_BYTES,
    W_URLS,
)
from penstock.path.slots import (
    LINE_NEXT,
    LINE_WEIGHT,
    SLOTS_BYTES,
    fill_slot,
    free_slot,
    left_of,
    line_at,
    place_of,
    size_for,
    size_of,
)
from penstock.policy.actions import BLOCK, FORWARD, REDIRECT, REPORT
from penstock.policy.filters import find_all_categories, find_filter
from penstock.policy.judge import OUT_CATEGORY, OUT_WOULD
from penstock.policy.layout import FILTERS_COUNT, HOOK_BUDGET_NS, REPORT_ONLY
from penstock.policy.names import CATEGORY_LIMIT
from penstock.policy.snapshot import TEXT_ROOM, URL_ROOM
from penstock.wire.headers import FIN, mix

WAY_COUNT, SET_COUNT = 8, 512  # so many that a full set is as good as full slots
LINE_COUNT = WAY_COUNT * SET_COUNT
CHAIN_LIMIT = 32  # packets of a flow, the one that is asked about among them
QUEUE_COUNT = 4096  # asks within a budget; a power of two
SHARE_COUNT, SHARE_BYTES = 256, 32  # by the owner's number: a word for each size of slots

# The memory: words, shares, lines, the queue of those whose budget ends next, the answer at hand, what was said, slots.
A_OPEN, A_SERIAL, A_TAKEN, A_LINE = 0, 8, 16, 24  # lines in use; lines ever; answers taken; the line that is replayed
A_QUEUE_HEAD, A_QUEUE_TAIL = 32, 40
A_SAID_NEXT, A_ENDS = 48, 56  # the other one: 1 when nothing is asked any more
A_SHARES = 64
A_LINES = A_SHARES + SHARE_BYTES * SHARE_COUNT
L_FLOW, L_SERIAL, L_BIRTH = (
    0,
    8,
    16,
)  # the record's number + 1, 0: free; the first packet's ask; the client's first byte
L_UNIT = 24  # where the unit that is asked about begins
L_KNOWN, L_ALLOWED, L_REPORTED = 32, 40, 48  # its hosts of which hooks spoke, a bit each; and said so
L_IDENTITY, L_HOST = 56, 64  # the ask that waits, or 0; the number of its host
L_STATE = 72
L_DEADLINE_NS = 80  # of the first packet; 0: it was not asked about yet
L_FIRST, L_LAST, L_COUNT = 88, 96, 104  # slot + 1
L_BEGIN, L_END = 112, 120  # what waits: sequence numbers
L_RELEASED_END, L_NUMBER, L_SHARE = 128, 136, 144
L_HOOK, L_CATEGORY = 152, 160  # the last hook that decided on the unit, never 0, and the category that it named
LINE_BYTES = 192
A_QUEUE = A_LINES + LINE_COUNT * LINE_BYTES
QUEUE_BYTES = 16
SAID_COUNT, SAID_BYTES = 64, 64 + ANSWER_BYTES
A_REPLY = A_QUEUE + QUEUE_COUNT * QUEUE_BYTES
A_SAID = A_REPLY + ANSWER_BYTES
A_TEXT = A_SAID + SAID_COUNT * SAID_BYTES  # what was said: `said`
A_URL = A_TEXT + TEXT_ROOM
A_SLOTS = A_URL + URL_ROOM
ASKS_ROOM_BYTES = A_SLOTS + SLOTS_BYTES

IDLE, WAITING, ANSWERED, OVER = 0, 1, 2, 3  # L_STATE; OVER: the tables decide on what the first packet brings

# What `consult` says of a host.
NO_WORD, HOOK_ALLOWS, HOOK_REPORTS, HOOK_REFUSES, MUST_WAIT = 0, 1, 2, 3, 4

MAY_NOT_ASK, MAY_ASK = 0, 1  # W_MAY_ASK


@shared
def _ways_of(asks, number):  # type: ignore[no-untyped-def]
    """The lines among which a flow's stands."""
    return asks + A_LINES + (mix(number, 0) & (SET_COUNT - 1)) * WAY_COUNT * LINE_BYTES


@shared
def find_line(asks, record, number):  # type: ignore[no-untyped-def]
    """The line of a flow, or 0: it does not wait. Bounds: WAY_COUNT."""
    line, birth = _ways_of(asks, number), u32(record + t.FLOW_BIRTH)
    for _ in range(WAY_COUNT):
        if u64(line + L_FLOW) == number + 1 and u64(line + L_BIRTH) == birth:
            return line
        line += LINE_BYTES
    return 0


@shared
def may_ask(w, u):  # type: ignore[no-untyped-def]
    """Say whether units of the packet at hand may wait: of a flow with a record, and not on the port of DNS."""
    is_dns = u32(u + UP_KEY + t.FLOW_PORTS) & 0xFFFF == DNS_PORT
    put64(w + W_MAY_ASK, MAY_NOT_ASK if is_dns else MAY_ASK)
    return 0


@shared
def find_released_end(w, computed):  # type: ignore[no-untyped-def]
    """The first byte that the server does not have: as it was when the packet at hand came, if that waited since."""
    line = u64(u64(w + W_ASKS) + A_LINE)
    end = computed
    if line and u64(line + L_DEADLINE_NS):
        end = u64(line + L_RELEASED_END)
    put64(w + W_RELEASED_END, end)
    return end


@shared
def is_wanted(w, u, proto, host, host_bytes):  # type: ignore[no-untyped-def]
    """Is there a hook that may have an opinion on this host?"""
    snapshot = u64(w + W_SNAPSHOT)
    if u64(snapshot + FILTERS_COUNT) == 0:
        return False
    port = u32(u + UP_KEY + t.FLOW_PORTS) & 0xFFFF
    return find_filter(snapshot, proto, port, _tag_of(w, u), _hits_of(w, host, host_bytes), host, host_bytes)


@shared
def _tag_of(w, u):  # type: ignore[no-untyped-def]
    line = u64(w + W_SUBSCRIBERS) + (u64(u + UP_OWNER) & u64(w + W_SUBSCRIBER_MASK)) * t.SUBSCRIBER_BYTES
    return u32(line + t.SUBSCRIBER_PROFILE)


@shared
def _hits_of(w, host, host_bytes):  # type: ignore[no-untyped-def]
    target, size = u64(w + W_TARGET), u64(w + W_TARGET_BYTES)
    return find_all_categories(u64(w + W_NAMES), host, host_bytes, target, size, u64(w + W_URLS))


@shared
def consult(w, u, record, proto, number, host, host_bytes, refused):  # type: ignore[no-untyped-def]
    """What hooks say of the `number`th host of the unit at hand, which the tables have judged. (What a
    court or the subscriber himself forbids is not theirs to decide.)

    Reads: W_JUDGED; refused: why the tables refuse it, 0 if they do not. Writes: what a hook decided: W_JUDGED, W_HOOK.
    Returns: NO_WORD: the tables decide; MUST_WAIT: the packet is kept, and the unit is read again when it is its time; or
        what a hook said.
    """
    if u64(u64(w + W_SNAPSHOT) + FILTERS_COUNT) == 0 or u64(w + W_MAY_ASK) == MAY_NOT_ASK:
        return NO_WORD
    if refused == r.COURT_ORDER or refused == r.OWN_LIST:
        return NO_WORD
    asks, unit = u64(w + W_ASKS), free_end_of(u64(record + t.FLOW_WORD))
    line = u64(asks + A_LINE)
    if line:
        if u64(line + L_UNIT) != unit:
            _begin_unit(line, unit)
        if u64(line + L_STATE) == ANSWERED and u64(line + L_HOST) == number:
            put64(line + L_STATE, IDLE)
            return _take_reply(w, line, number, proto)
        if u64(line + L_KNOWN) >> number & 1:
            return find_word(w, number)
        if u64(line + L_STATE) == OVER:
            return NO_WORD
    if not is_wanted(w, u, proto, host, host_bytes):
        return NO_WORD
    default = u64(w + W_JUDGED + OUT_WOULD)
    if refused == 0 and default != FORWARD:
        default = REPORT
    if _ask(w, u, record, unit, proto, number, default, host, host_bytes):
        return MUST_WAIT
    note_unasked(w)
    return NO_WORD


@shared
def find_word(w, number):  # type: ignore[no-untyped-def]
    """What was said of a host of the unit at hand before: HOOK_ALLOWS, HOOK_REPORTS or NO_WORD."""
    line = u64(u64(w + W_ASKS) + A_LINE)
    if line == 0:
        return NO_WORD
    if u64(line + L_ALLOWED) >> number & 1:
        return HOOK_ALLOWS
    return HOOK_REPORTS if u64(line + L_REPORTED) >> number & 1 else NO_WORD


@shared
def show_decision(w):  # type: ignore[no-untyped-def]
    """Have the next event name the hook that decided on the unit at hand, and its category."""
    line = u64(u64(w + W_ASKS) + A_LINE)
    put64(w + W_HOOK, u64(line + L_HOOK))
    blame_nobody(w, FORWARD)
    put64(w + W_JUDGED + OUT_CATEGORY, u64(line + L_CATEGORY))
    return 0


@shared
def _begin_unit(line, unit):  # type: ignore[no-untyped-def]
    put64(line + L_UNIT, unit)
    for word in (L_KNOWN, L_ALLOWED, L_REPORTED):
        put64(line + word, 0)
    put64(line + L_IDENTITY, 0)
    if u64(line + L_STATE) != OVER:
        put64(line + L_STATE, IDLE)
    return 0


@shared
def _take_reply(w, line, number, proto):  # type: ignore[no-untyped-def]
    """What the answer at hand says of the host: any bytes, of which what makes no sense is no opinion."""
    reply = u64(w + W_ASKS) + A_REPLY
    action, category, bit = u64(reply + ANSWER_ACTION), u64(reply + ANSWER_CATEGORY), 1 << number
    put64(line + L_KNOWN, u64(line + L_KNOWN) | bit)
    if action != FORWARD and action != REPORT and action != BLOCK and action != REDIRECT:
        return NO_WORD
    put64(line + L_HOOK, max(u64(reply + ANSWER_HOOK) & 0xFFFFFFFF, 1))
    put64(line + L_CATEGORY, category if category >= 0 and category < CATEGORY_LIMIT else -1)
    if action == FORWARD:
        put64(line + L_ALLOWED, u64(line + L_ALLOWED) | bit)
        return HOOK_ALLOWS
    if action == REPORT or u64(u64(w + W_SNAPSHOT) + REPORT_ONLY):
        put64(line + L_REPORTED, u64(line + L_REPORTED) | bit)
        return HOOK_REPORTS
    is_led = action == REDIRECT and proto == PROTO_HTTP and u64(reply + ANSWER_URL_BYTES) > 0
    show_decision(w)
    put64(w + W_JUDGED + OUT_WOULD, REDIRECT if is_led else BLOCK)
    return HOOK_REFUSES


# ---- asking -----------------------------------------------------------------------------------------------------------
@shared
def _ask(w, u, record, unit, proto, number, default, host, host_bytes):  # type: ignore[no-untyped-def]
    """Ask, and have the packet wait. Returns: 1; 0 when there is no room for one of both, or the worker ends."""
    asks, now_ns = u64(w + W_ASKS), u64(w + W_NOW_NS)
    if u64(asks + A_ENDS) or u64(asks + A_QUEUE_TAIL) - u64(asks + A_QUEUE_HEAD) >= QUEUE_COUNT:
        return 0
    line, is_new = u64(asks + A_LINE), False
    if line == 0:
        line, is_new = _open_line(w, u, record), True
        if line == 0:
            return 0
        _begin_unit(line, unit)
    serial = u64(asks + A_SERIAL) + 1
    put64(asks + A_SERIAL, serial)
    identity = mix(identify(w, u, unit << 32 | serial & 0xFFFFFFFF), serial) & ~(LINE_COUNT - 1)
    identity |= (line - asks - A_LINES) // LINE_BYTES
    hits = _hits_of(w, host, host_bytes)
    if write_ask(w, u, identity, proto, default, hits, _tag_of(w, u), host, host_bytes) == 0:
        if is_new:
            _abandon_line(asks, line)
        return 0
    put64(line + L_IDENTITY, identity)
    put64(line + L_HOST, number)
    put64(line + L_STATE, WAITING)
    put64(line + L_RELEASED_END, u64(w + W_RELEASED_END))
    if u64(line + L_DEADLINE_NS) == 0:
        put64(line + L_DEADLINE_NS, now_ns + u64(u64(w + W_SNAPSHOT) + HOOK_BUDGET_NS))
        place = asks + A_QUEUE + (u64(asks + A_QUEUE_TAIL) & (QUEUE_COUNT - 1)) * QUEUE_BYTES
        put64(place, line)
        put64(place + 8, serial)
        put64(line + L_SERIAL, serial)
        put64(asks + A_QUEUE_TAIL, u64(asks + A_QUEUE_TAIL) + 1)
    return 1


@shared
def _open_line(w, u, record):  # type: ignore[no-untyped-def]
    """A line for the flow of the packet at hand, which is its first. Returns: 0 when there is no room."""
    asks, number = u64(w + W_ASKS), u32(u + UP_FLOW)
    line, found = _ways_of(asks, number), 0
    for _ in range(WAY_COUNT):
        if u64(line + L_FLOW) == 0:
            found = line
        line += LINE_BYTES
    if found == 0:
        return 0
    for word in range(0, LINE_BYTES, 8):
        put64(found + word, 0)
    put64(found + L_SHARE, asks + A_SHARES + (u64(u + UP_OWNER) & (SHARE_COUNT - 1)) * SHARE_BYTES)
    put64(found + L_BEGIN, u32(u + UP_SEQ))
    put64(found + L_END, u32(u + UP_SEQ))
    if _keep_packet(w, u, record, found) == 0:
        return 0
    put64(asks + A_OPEN, u64(asks + A_OPEN) + 1)
    put64(found + L_FLOW, number + 1)
    put64(found + L_BIRTH, u32(record + t.FLOW_BIRTH))
    put64(found + L_CATEGORY, -1)
    return found


@shared
def _abandon_line(asks, line):  # type: ignore[no-untyped-def]
    """Close a line that was opened for the packet at hand, which goes on at once."""
    drop_first(asks, line)
    close_line(asks, line)
    return 0


# ---- packets ----------------------------------------------------------------------------------------------------------
@shared
def _keep_packet(w, u, record, line):  # type: ignore[no-untyped-def]
    """Put the packet at hand behind those of its line. Returns: 1; 0 when there is no room for it."""
    slots, size, count = u64(w + W_ASKS) + A_SLOTS, size_for(u32(u + UP_LENGTH)), u64(line + L_COUNT)
    share = u64(line + L_SHARE) + 8 * size
    if count >= CHAIN_LIMIT or u64(share) >= left_of(slots, size):
        return 0
    slot = fill_slot(slots, u, 1, u64(w + W_NOW_NS))
    if slot < 0:
        return 0
    if u32(u + t.UP_IS_PEEK) == IS_WHOLE:
        pieces, copy = slot_of(w, u), place_of(slots, slot)
        put64(line_at(slots, slot) + LINE_WEIGHT, u64(pieces + PIECES_OFF))
        make_segment(copy, pieces)
        put32(copy + UP_NUMBER, u32(record + t.FLOW_HANDLED))
    else:
        put64(line + L_NUMBER, u32(u + UP_NUMBER))
    if count:
        put64(line_at(slots, u64(line + L_LAST) - 1) + LINE_NEXT, slot + 1)
    else:
        put64(line + L_FIRST, slot + 1)
        if u32(u + t.UP_IS_PEEK) == IS_WHOLE:
            put64(line + L_NUMBER, u32(record + t.FLOW_HANDLED))
    put64(line + L_LAST, slot + 1)
    put64(line + L_COUNT, count + 1)
    put64(share, u64(share) + 1)
    end = u32(u + UP_SEQ) + u32(u + UP_PAYLOAD_BYTES) + (u32(u + UP_FLAGS) & FIN)
    if sequence_difference(u32(u + UP_SEQ), u64(line + L_END)) <= 0 and sequence_difference(end, u64(line + L_END)) > 0:
        put64(line + L_END, end & 0xFFFFFFFF)
    return 1


@shared
def drop_first(asks, line):  # type: ignore[no-untyped-def]
    """Give back the slot of the first packet of a line. Returns: how many packets it stood for."""
    slots, slot = asks + A_SLOTS, u64(line + L_FIRST) - 1
    place = line_at(slots, slot)
    weight = u64(place + LINE_WEIGHT)
    put64(line + L_FIRST, u64(place + LINE_NEXT))
    put64(line + L_COUNT, u64(line + L_COUNT) - 1)
    share = u64(line + L_SHARE) + 8 * size_of(slot)
    put64(share, u64(share) - 1)
    free_slot(slots, slot)
    return weight


@shared
def close_line(asks, line):  # type: ignore[no-untyped-def]
    """Nothing of this flow waits any more."""
    put64(line + L_FLOW, 0)
    put64(line + L_IDENTITY, 0)
    put64(asks + A_OPEN, u64(asks + A_OPEN) - 1)
    return 0


@shared
def wait_behind(w, u, record, number):  # type: ignore[no-untyped-def]
    """A packet of the client: behind what waits of its flow.

    Returns: 0 when nothing does; HELD; or why it is withheld for good: ASK_REPEATED, ASK_FULL.
    """
    asks = u64(w + W_ASKS)
    if u64(asks + A_OPEN) == 0:
        return 0
    line = find_line(asks, record, number)
    if line == 0 or line == u64(asks + A_LINE):
        return 0
    end = u32(u + UP_SEQ) + u32(u + UP_PAYLOAD_BYTES) + (u32(u + UP_FLAGS) & FIN)
    is_behind = sequence_difference(u32(u + UP_SEQ), u64(line + L_BEGIN)) >= 0
    is_repeated = is_behind and sequence_difference(end, u64(line + L_END)) <= 0
    if not is_repeated and _keep_packet(w, u, record, line):
        return HELD
    if u32(u + t.UP_IS_PEEK) != IS_WHOLE:
        put64(line + L_NUMBER, u32(u + UP_NUMBER))
    return r.ASK_REPEATED if is_repeated else r.ASK_FULL

"""Datagrams of QUIC connections whose hello is not whole yet: held, at most HOLD_NS, then released in order or dropped.

    connection ──► first slot held ──► next ──► last        slots of three sizes, as the ring's records have

A packet is held as its ring record, so that it is released like one that comes from the ring. Bounds: HELD_LIMIT packets a
connection, SMALL_COUNT + MIDDLE_COUNT + LARGE_COUNT in all.
"""

from penstock.compile.memory import move, put64, shared, u32, u64
from penstock.flow.connection import E_HELD, E_HELD_COUNT, E_HELD_LAST, E_SERIAL, entry_at
from penstock.kernel import reasons as r
from penstock.kernel import tables as t
from penstock.kernel.tables import UP_HEAD, UP_LARGE, UP_LENGTH, UP_MIDDLE, UP_SMALL
from penstock.path.layout import HELD, W_CONNECTIONS, W_COUNTERS, W_HOLDS
from penstock.path.send import FRAGMENT, checksum_of, send_packet

HOLD_NS = 100_000_000
HELD_LIMIT = 64  # packets of one connection: a hello of 64 KB has 55
SMALL_COUNT, MIDDLE_COUNT, LARGE_COUNT = 1024, 64, 8  # powers of two; per worker 4 MB
SLOT_COUNT = SMALL_COUNT + MIDDLE_COUNT + LARGE_COUNT

# The memory: words, then a line for each slot, then the slots.
HOLDS_IN_USE, HOLDS_NEXT = 0, 8
LINES = 64
LINE_OWNER, LINE_NEXT, LINE_BORN_NS = 0, 8, 16  # owner: the connection's serial number, 0: free
LINE_BYTES = 32
SMALLS = LINES + SLOT_COUNT * LINE_BYTES
SMALL_STRIDE, MIDDLE_STRIDE, LARGE_STRIDE = UP_HEAD + UP_SMALL, UP_HEAD + UP_MIDDLE, UP_HEAD + UP_LARGE
MIDDLES = SMALLS + SMALL_COUNT * SMALL_STRIDE
LARGES = MIDDLES + MIDDLE_COUNT * MIDDLE_STRIDE
HOLDS_BYTES = LARGES + LARGE_COUNT * LARGE_STRIDE


@shared
def count_path(w, reason, times):  # type: ignore[no-untyped-def]
    """Count path reasons of packets that `step` does not return."""
    place = u64(w + W_COUNTERS) + reason * 8
    put64(place, u64(place) + times)
    return 0


@shared
def _line_at(holds, slot):  # type: ignore[no-untyped-def]
    return holds + LINES + slot * LINE_BYTES


@shared
def _place_of(holds, slot):  # type: ignore[no-untyped-def]
    """Where a slot's ring record lies."""
    if slot < SMALL_COUNT:
        return holds + SMALLS + slot * SMALL_STRIDE
    if slot < SMALL_COUNT + MIDDLE_COUNT:
        return holds + MIDDLES + (slot - SMALL_COUNT) * MIDDLE_STRIDE
    return holds + LARGES + (slot - SMALL_COUNT - MIDDLE_COUNT) * LARGE_STRIDE


@shared
def _find_free(holds, size):  # type: ignore[no-untyped-def]
    """A free slot for a packet of `size` bytes, or -1. Bounds: SMALL_COUNT."""
    first, count = 0, SMALL_COUNT
    if size > UP_MIDDLE:
        first, count = SMALL_COUNT + MIDDLE_COUNT, LARGE_COUNT
    elif size > UP_SMALL:
        first, count = SMALL_COUNT, MIDDLE_COUNT
    start = u64(holds + HOLDS_NEXT)
    for turn in range(count):
        slot = first + ((start + turn) & (count - 1))
        if u64(_line_at(holds, slot) + LINE_OWNER) == 0:
            put64(holds + HOLDS_NEXT, start + turn + 1)
            return slot
    return -1


@shared
def hold_packet(w, u, entry, now_ns):  # type: ignore[no-untyped-def]
    """Hold the packet for its connection. Returns: HELD; CONNECTION_FULL when there is no room: it is withheld for good."""
    holds, count = u64(w + W_HOLDS), u64(entry + E_HELD_COUNT)
    if count == HELD_LIMIT:
        return r.CONNECTION_FULL
    slot = _find_free(holds, u32(u + UP_LENGTH))
    if slot < 0:
        return r.CONNECTION_FULL
    line = _line_at(holds, slot)
    put64(line + LINE_OWNER, u64(entry + E_SERIAL))
    put64(line + LINE_NEXT, 0)
    put64(line + LINE_BORN_NS, now_ns)
    move(_place_of(holds, slot), u, UP_HEAD + u32(u + UP_LENGTH))
    if count:
        put64(_line_at(holds, u64(entry + E_HELD_LAST) - 1) + LINE_NEXT, slot + 1)
    else:
        put64(entry + E_HELD, slot + 1)
    put64(entry + E_HELD_LAST, slot + 1)
    put64(entry + E_HELD_COUNT, count + 1)
    put64(holds + HOLDS_IN_USE, u64(holds + HOLDS_IN_USE) + 1)
    return HELD


@shared
def _free_slot(holds, slot):  # type: ignore[no-untyped-def]
    put64(_line_at(holds, slot) + LINE_OWNER, 0)
    put64(holds + HOLDS_IN_USE, u64(holds + HOLDS_IN_USE) - 1)
    return 0


@shared
def end_hold(w, entry, is_released, reason):  # type: ignore[no-untyped-def]
    """Release what is held for a connection, in the order in which it came, or drop it. Each is counted as `reason`.

    Bounds: HELD_LIMIT.
    """
    holds, slot, failed = u64(w + W_HOLDS), u64(entry + E_HELD), 0
    for _ in range(HELD_LIMIT):
        if slot == 0:
            break
        u, following = _place_of(holds, slot - 1), u64(_line_at(holds, slot - 1) + LINE_NEXT)
        if is_released:
            is_piece = u32(u + t.UP_REASON) == r.UP_FRAGMENT
            if send_packet(w, u, 1, FRAGMENT if is_piece else checksum_of(u)) == 0:
                failed += 1
        _free_slot(holds, slot - 1)
        slot = following
    count_path(w, reason, u64(entry + E_HELD_COUNT) - failed)
    count_path(w, r.ANSWER_FAILED, failed)
    put64(entry + E_HELD, 0)
    put64(entry + E_HELD_COUNT, 0)
    return 0


@shared
def expire_holds(w, now_ns):  # type: ignore[no-untyped-def]
    """Drop what is held for connections whose hello did not become whole in time; its bytes stay known.

    Bounds: SLOT_COUNT."""
    holds, c = u64(w + W_HOLDS), u64(w + W_CONNECTIONS)
    if u64(holds + HOLDS_IN_USE) == 0:
        return 0
    for slot in range(SLOT_COUNT):
        line = _line_at(holds, slot)
        if u64(line + LINE_OWNER) and now_ns - u64(line + LINE_BORN_NS) > HOLD_NS:
            entry = entry_at(c, u64(line + LINE_OWNER))
            if entry:
                end_hold(w, entry, 0, r.HELLO_LATE)
            if u64(line + LINE_OWNER):
                _free_slot(holds, slot)
                count_path(w, r.HELLO_LATE, 1)
    return 0

"""Datagrams of QUIC connections whose hello is not whole yet: held, at most HOLD_NS, then released in order or dropped.

    connection ──► first slot held ──► next ──► last        slots: `path.slots`

Bounds: HELD_LIMIT packets a connection, SLOT_COUNT in all.
"""

from penstock.compile.memory import put64, shared, u32, u64
from penstock.flow.connection import E_HELD, E_HELD_COUNT, E_HELD_LAST, E_SERIAL, entry_at
from penstock.kernel import reasons as r
from penstock.kernel import tables as t
from penstock.path.layout import HELD, W_CONNECTIONS, W_COUNTERS, W_HOLDS
from penstock.path.send import FRAGMENT, checksum_of, send_packet
from penstock.path.slots import (
    LINE_BORN_NS,
    LINE_NEXT,
    LINE_OWNER,
    SLOT_COUNT,
    SLOTS_BYTES,
    SLOTS_IN_USE,
    fill_slot,
    free_slot,
    line_at,
    place_of,
)

HOLD_NS = 100_000_000
HELD_LIMIT = 64  # packets of one connection: a hello of 64 KB has 55
HOLDS_IN_USE, HOLDS_BYTES = SLOTS_IN_USE, SLOTS_BYTES  # owner: the connection's serial number


@shared
def count_path(w, reason, times):  # type: ignore[no-untyped-def]
    """Count path reasons of packets that `step` does not return."""
    place = u64(w + W_COUNTERS) + reason * 8
    put64(place, u64(place) + times)
    return 0


@shared
def hold_packet(w, u, entry, now_ns):  # type: ignore[no-untyped-def]
    """Hold the packet for its connection. Returns: HELD; CONNECTION_FULL when there is no room: it is withheld for good."""
    holds, count = u64(w + W_HOLDS), u64(entry + E_HELD_COUNT)
    if count == HELD_LIMIT:
        return r.CONNECTION_FULL
    slot = fill_slot(holds, u, u64(entry + E_SERIAL), now_ns)
    if slot < 0:
        return r.CONNECTION_FULL
    if count:
        put64(line_at(holds, u64(entry + E_HELD_LAST) - 1) + LINE_NEXT, slot + 1)
    else:
        put64(entry + E_HELD, slot + 1)
    put64(entry + E_HELD_LAST, slot + 1)
    put64(entry + E_HELD_COUNT, count + 1)
    return HELD


@shared
def end_hold(w, entry, is_released, reason):  # type: ignore[no-untyped-def]
    """Release what is held for a connection, in the order in which it came, or drop it. Each is counted as `reason`.

    Bounds: HELD_LIMIT.
    """
    holds, slot, failed = u64(w + W_HOLDS), u64(entry + E_HELD), 0
    for _ in range(HELD_LIMIT):
        if slot == 0:
            break
        u, following = place_of(holds, slot - 1), u64(line_at(holds, slot - 1) + LINE_NEXT)
        if is_released:
            is_piece = u32(u + t.UP_REASON) == r.UP_FRAGMENT
            if send_packet(w, u, 1, FRAGMENT if is_piece else checksum_of(u)) == 0:
                failed += 1
        free_slot(holds, slot - 1)
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
        line = line_at(holds, slot)
        if u64(line + LINE_OWNER) and now_ns - u64(line + LINE_BORN_NS) > HOLD_NS:
            entry = entry_at(c, u64(line + LINE_OWNER))
            if entry:
                end_hold(w, entry, 0, r.HELLO_LATE)
            if u64(line + LINE_OWNER):
                free_slot(holds, slot)
                count_path(w, r.HELLO_LATE, 1)
    return 0

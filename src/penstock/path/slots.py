"""Room for packets that wait in a worker: slots of three sizes, as the ring's records have.

    lines: | owner | next | born | weight | ...       slots: | small ... | middle ... | large ... |

A packet is kept as its ring record, so that it is released like one that comes from the ring. Knows free and taken slots.
Refuses to know what a packet waits for: its owner's number and the next of his slots stand in its line.
"""

from penstock.compile.memory import move, put64, shared, u32, u64
from penstock.kernel.tables import UP_HEAD, UP_LARGE, UP_LENGTH, UP_MIDDLE, UP_SMALL

SMALL_COUNT, MIDDLE_COUNT, LARGE_COUNT = 1024, 64, 8  # powers of two; 4 MB
SLOT_COUNT = SMALL_COUNT + MIDDLE_COUNT + LARGE_COUNT

# The memory: words, then a line for each slot, then the slots.
SLOTS_IN_USE, SLOTS_NEXT = 0, 8
LINES = 64
LINE_OWNER, LINE_NEXT, LINE_BORN_NS, LINE_WEIGHT = 0, 8, 16, 24  # owner: any number but 0, which is: free
LINE_BYTES = 32
SMALLS = LINES + SLOT_COUNT * LINE_BYTES
SMALL_STRIDE, MIDDLE_STRIDE, LARGE_STRIDE = UP_HEAD + UP_SMALL, UP_HEAD + UP_MIDDLE, UP_HEAD + UP_LARGE
MIDDLES = SMALLS + SMALL_COUNT * SMALL_STRIDE
LARGES = MIDDLES + MIDDLE_COUNT * MIDDLE_STRIDE
SLOTS_BYTES = LARGES + LARGE_COUNT * LARGE_STRIDE


@shared
def line_at(slots, slot):  # type: ignore[no-untyped-def]
    """The line of a slot."""
    return slots + LINES + slot * LINE_BYTES


@shared
def place_of(slots, slot):  # type: ignore[no-untyped-def]
    """Where a slot's ring record lies."""
    if slot < SMALL_COUNT:
        return slots + SMALLS + slot * SMALL_STRIDE
    if slot < SMALL_COUNT + MIDDLE_COUNT:
        return slots + MIDDLES + (slot - SMALL_COUNT) * MIDDLE_STRIDE
    return slots + LARGES + (slot - SMALL_COUNT - MIDDLE_COUNT) * LARGE_STRIDE


@shared
def _find_free(slots, size):  # type: ignore[no-untyped-def]
    """A free slot for a packet of `size` bytes, or -1. Bounds: SMALL_COUNT."""
    first, count = 0, SMALL_COUNT
    if size > UP_MIDDLE:
        first, count = SMALL_COUNT + MIDDLE_COUNT, LARGE_COUNT
    elif size > UP_SMALL:
        first, count = SMALL_COUNT, MIDDLE_COUNT
    start = u64(slots + SLOTS_NEXT)
    for turn in range(count):
        slot = first + ((start + turn) & (count - 1))
        if u64(line_at(slots, slot) + LINE_OWNER) == 0:
            put64(slots + SLOTS_NEXT, start + turn + 1)
            return slot
    return -1


@shared
def fill_slot(slots, u, owner, now_ns):  # type: ignore[no-untyped-def]
    """Keep the packet of the ring record `u` for `owner`. Returns: its slot, or -1: no room. Bounds: SMALL_COUNT."""
    slot = _find_free(slots, u32(u + UP_LENGTH))
    if slot < 0:
        return -1
    line = line_at(slots, slot)
    put64(line + LINE_OWNER, owner)
    put64(line + LINE_NEXT, 0)
    put64(line + LINE_BORN_NS, now_ns)
    put64(line + LINE_WEIGHT, 1)
    move(place_of(slots, slot), u, UP_HEAD + u32(u + UP_LENGTH))
    put64(slots + SLOTS_IN_USE, u64(slots + SLOTS_IN_USE) + 1)
    return slot


@shared
def free_slot(slots, slot):  # type: ignore[no-untyped-def]
    """Give a slot back."""
    put64(line_at(slots, slot) + LINE_OWNER, 0)
    put64(slots + SLOTS_IN_USE, u64(slots + SLOTS_IN_USE) - 1)
    return 0

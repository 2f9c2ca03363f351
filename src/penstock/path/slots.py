"""Room for packets that wait in a worker: slots of three sizes, as the ring's records have.

    lines: | owner | next | born | weight | ...       slots: | small ... | middle ... | large ... |

A packet is kept as its ring record, so that it is released like one that comes from the ring. Knows free and taken slots.
Refuses to know what a packet waits for: its owner's number and the next of his slots stand in its line.
"""

from penstock.compile.memory import move, put64, shared, u32, u64
from penstock.kernel.tables import UP_HEAD, UP_LARGE, UP_LENGTH, UP_MIDDLE, UP_SMALL

SMALL_COUNT, MIDDLE_COUNT, LARGE_COUNT = 1024, 64, 8  # powers of two; 4 MB
SLOT_COUNT = SMALL_COUNT + MIDDLE_COUNT + LARGE_COUNT
SMALL, MIDDLE, LARGE = 0, 1, 2  # the sizes

# The memory: words, then a line for each slot, then the slots.
SLOTS_IN_USE, SLOTS_NEXT, SLOTS_OF_SIZE = 0, 8, 16  # the third: a word for each of the three sizes, how many are in use
LINES = 64
LINE_OWNER, LINE_NEXT, LINE_BORN_NS, LINE_WEIGHT = 0, 8, 16, 24  # owner: any number but 0, which is: free
LINE_BYTES = 32
SMALLS = LINES + SLOT_COUNT * LINE_BYTES
SMALL_STRIDE, MIDDLE_STRIDE, LARGE_STRIDE = UP_HEAD + UP_SMALL, UP_HEAD + UP_MIDDLE, UP_HEAD + UP_LARGE
MIDDLES = SMALLS + SMALL_COUNT * SMALL_STRIDE
LARGES = MIDDLES + MIDDLE_COUNT * MIDDLE_STRIDE
SLOTS_BYTES = LARGES + LARGE_COUNT * LARGE_STRIDE


@shared
def size_for(length):  # type: ignore[no-untyped-def]
    """Into which of the three sizes a packet of `length` bytes goes."""
    if length > UP_MIDDLE:
        return LARGE
    return MIDDLE if length > UP_SMALL else SMALL


@shared
def size_of(slot):  # type: ignore[no-untyped-def]
    """Which of the three sizes a slot has."""
    if slot >= SMALL_COUNT + MIDDLE_COUNT:
        return LARGE
    return MIDDLE if slot >= SMALL_COUNT else SMALL


@shared
def _count_of(size):  # type: ignore[no-untyped-def]
    if size == LARGE:
        return LARGE_COUNT
    return MIDDLE_COUNT if size == MIDDLE else SMALL_COUNT


@shared
def left_of(slots, size):  # type: ignore[no-untyped-def]
    """How many slots of a size are free."""
    return _count_of(size) - u64(slots + SLOTS_OF_SIZE + 8 * size)


@shared
def _change_use(slots, slot, change):  # type: ignore[no-untyped-def]
    place = slots + SLOTS_OF_SIZE + 8 * size_of(slot)
    put64(place, u64(place) + change)
    put64(slots + SLOTS_IN_USE, u64(slots + SLOTS_IN_USE) + change)
    return 0


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
    """A free slot of a size, or -1. Bounds: SMALL_COUNT."""
    first, count = 0, _count_of(size)
    if size == LARGE:
        first = SMALL_COUNT + MIDDLE_COUNT
    elif size == MIDDLE:
        first = SMALL_COUNT
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
    slot = _find_free(slots, size_for(u32(u + UP_LENGTH)))
    if slot < 0:
        return -1
    line = line_at(slots, slot)
    put64(line + LINE_OWNER, owner)
    put64(line + LINE_NEXT, 0)
    put64(line + LINE_BORN_NS, now_ns)
    put64(line + LINE_WEIGHT, 1)
    move(place_of(slots, slot), u, UP_HEAD + u32(u + UP_LENGTH))
    _change_use(slots, slot, 1)
    return slot


@shared
def free_slot(slots, slot):  # type: ignore[no-untyped-def]
    """Give a slot back."""
    put64(line_at(slots, slot) + LINE_OWNER, 0)
    _change_use(slots, slot, -1)
    return 0

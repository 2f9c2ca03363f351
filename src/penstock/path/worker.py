"""A worker: one ring, one thread that enters compiled code once and leaves it at shutdown.

    pulse → orders → up to BATCH ring records through `step` → what waits for hooks → sleep when the ring is empty

The ring is the kernel's (kernel/bpf/ringbuf.c): two 64-bit positions on pages of their own, then records of an 8-byte
header (length, busy bit 31, discard bit 30) and data. The clock is read here, between packets, never in `step`.
"""

from numba import types

from penstock.compile.memory import (
    INT,
    acquire32,
    acquire64,
    fence,
    put32,
    put64,
    release64,
    shared,
    stack,
    u32,
    u64,
)
from penstock.flow.stream import POOL_NOW_MS, mark_unfinished, record_at
from penstock.kernel import reasons as r
from penstock.kernel import tables as t
from penstock.kernel.tables import UP_FLOW, UP_KEY
from penstock.path.layout import (
    HAND_ON,
    HELD,
    ORDER_GENERATION,
    ORDER_NAMES,
    ORDER_SNAPSHOT,
    ORDER_STOP,
    ORDER_TAKEN,
    W_COUNTERS,
    W_EXPIRE_NS,
    W_HISTOGRAM,
    W_NAMES,
    W_NOW_NS,
    W_ORDERS,
    W_POOL,
    W_PULSE,
    W_RING,
    W_RING_FD,
    W_RING_MASK,
    W_SNAPSHOT,
)
from penstock.path.replays import end_asks, serve_asks
from penstock.path.step import expire_held, step
from penstock.wire.headers import is_same_key

_poll = types.ExternalFunction("poll", types.intc(INT, INT, types.intc))
_clock_gettime = types.ExternalFunction("clock_gettime", types.intc(types.intc, INT))

BATCH = 64
PAGE_BYTES = 4096
RING_PRODUCER, RING_DATA = PAGE_BYTES, 2 * PAGE_BYTES
BUSY_BIT, DISCARD_BIT = 1 << 31, 1 << 30
CLOCK_MONOTONIC, POLLIN = 1, 1
EXPIRE_NS = 10_000_000  # between two looks for what was held for too long
SLEEP_MS = 20  # a fifth of the stale limit: a sleeping worker's pulse is never mistaken for a dead one's
ASKS_MS = 1  # while a request waits for a hook: an answer wakes nobody
SPIN_TURNS = (
    200  # looks at an empty ring before sleeping, well under a microsecond: longer ones cost others their processor
)


@shared
def read_clock(room):  # type: ignore[no-untyped-def]
    """CLOCK_MONOTONIC in nanoseconds, the clock of bpf_ktime_get_ns. `room`: 16 bytes."""
    _clock_gettime(types.intc(CLOCK_MONOTONIC), room)
    return u64(room) * 1_000_000_000 + u64(room + 8)


@shared
def take_orders(w):  # type: ignore[no-untyped-def]
    """Take a new snapshot if there is one; from then on the old one is not read. Returns: STOP or HAND_ON to stop."""
    orders = u64(w + W_ORDERS)
    generation = acquire64(orders + ORDER_GENERATION)
    if generation != u64(orders + ORDER_TAKEN):
        put64(w + W_SNAPSHOT, u64(orders + ORDER_SNAPSHOT))
        put64(w + W_NAMES, u64(orders + ORDER_NAMES))
        release64(orders + ORDER_TAKEN, generation)
    return acquire64(orders + ORDER_STOP)


@shared
def expire(w, u):  # type: ignore[no-untyped-def]
    """A record older than the stale limit: the kernel lets its flow pass meanwhile, so it is not acted on."""
    number = u32(u + UP_FLOW)
    if number != t.NO_RECORD and u32(u + t.UP_IS_PEEK) == 0:
        record = record_at(w + W_POOL, number)
        if is_same_key(record, u + UP_KEY):
            put32(record + t.FLOW_EPOCH, 0)
            put32(record + t.FLOW_HANDLED, u32(u + t.UP_NUMBER))
    return r.EXPIRED


@shared
def take_record(w, u, now_ns, room):  # type: ignore[no-untyped-def]
    """One ring record: stepped or expired, counted, timed."""
    born_ns = u64(u + t.UP_TIME_NS)
    if now_ns - born_ns > t.STALE_NS and u32(u + t.UP_IS_PEEK) == 0:
        reason = expire(w, u)
    else:
        reason = step(w, u)
    if reason == HELD:
        return reason
    place = u64(w + W_COUNTERS) + reason * 8
    put64(place, u64(place) + 1)
    if u32(u + t.UP_IS_PEEK) == 0:
        bucket = min(max(read_clock(room) - born_ns, 0) // t.HISTOGRAM_STEP_NS, t.HISTOGRAM_BUCKETS - 1)
        place = u64(w + W_HISTOGRAM) + bucket * 8
        put64(place, u64(place) + 1)
    return reason


@shared
def drain(w, now_ns, room):  # type: ignore[no-untyped-def]
    """Take up to BATCH records of the ring. Returns: how many positions were passed."""
    ring, taken = u64(w + W_RING), 0
    at = u64(ring)
    while taken < BATCH and at != acquire64(ring + RING_PRODUCER):
        header = ring + RING_DATA + (at & u64(w + W_RING_MASK))
        length = acquire32(header)
        if length & BUSY_BIT:
            break  # another CPU is still writing it
        if length & DISCARD_BIT == 0:
            take_record(w, header + 8, now_ns, room)
        at += ((length & ~(BUSY_BIT | DISCARD_BIT)) + 8 + 7) & ~7
        release64(ring, at)
        taken += 1
    return taken


@shared
def sleep(w, room, most_ms):  # type: ignore[no-untyped-def]
    """Wait until the kernel wakes us, or until the next pulse is due.

    The producer looks at `sleeping` behind a full barrier after it reserved its record, and we look at its position
    behind one after we said that we sleep: one of both sees the other.
    """
    ring, pulse = u64(w + W_RING), u64(w + W_PULSE)
    for _ in range(SPIN_TURNS):
        if u64(ring) != acquire64(ring + RING_PRODUCER):
            return 0
    release64(pulse + t.PULSE_SLEEPING, 1)
    fence()
    if u64(ring) == acquire64(ring + RING_PRODUCER):
        put64(room, u64(w + W_RING_FD) & 0xFFFFFFFF | POLLIN << 32)
        _poll(room, 1, types.intc(most_ms))
    release64(pulse + t.PULSE_SLEEPING, 0)
    return 1


@shared
def leave(w, order, room):  # type: ignore[no-untyped-def]
    """The worker ends. What it holds is dropped and counted; on what waits for hooks the tables decide. To be handed on,
    its flows with unfinished bytes become gaps, and the pulse stays fresh, so that packets wait in the ring for the next
    worker instead of passing unread."""
    now_ns = read_clock(room)
    expire_held(w, now_ns + t.STALE_NS + EXPIRE_NS)
    end_asks(w)
    if order == HAND_ON:
        mark_unfinished(w + W_POOL)
    release64(u64(w + W_PULSE) + t.PULSE_TIME_NS, read_clock(room) if order == HAND_ON else 0)
    return 0


def serve(w):  # type: ignore[no-untyped-def]
    """Serve a ring until the orders say stop. Reads and writes the worker's block and all that it points to."""
    room = stack(16)
    turns, order = 0, take_orders(w)
    while order == 0:
        now_ns = read_clock(room)
        put64(w + W_NOW_NS, now_ns)
        put64(w + W_POOL + POOL_NOW_MS, now_ns >> 20)
        release64(u64(w + W_PULSE) + t.PULSE_TIME_NS, now_ns)
        if now_ns >= u64(w + W_EXPIRE_NS):
            put64(w + W_EXPIRE_NS, now_ns + EXPIRE_NS)
            expire_held(w, now_ns)
        taken = drain(w, now_ns, room)
        asks = serve_asks(w)
        if taken == 0:
            sleep(w, room, ASKS_MS if asks else SLEEP_MS)
        turns, order = turns + 1, take_orders(w)
    leave(w, order, room)
    return turns

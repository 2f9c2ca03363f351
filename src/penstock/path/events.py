"""Events: what the path tells the control side, one record of 512 bytes each, in a ring of shared memory.

One writer (the worker), one reader (the control process). A full ring loses the event and counts it; the packet path
never waits. Times are CLOCK_MONOTONIC in nanoseconds; hosts are as asked, not yet in lower case.
"""

from penstock.compile.memory import acquire64, move, put64, release64, shared, u64
from penstock.kernel.reasons import BLOCKED
from penstock.kernel.tables import KEY_BYTES, UP_KEY, UP_TIME_NS
from penstock.path.layout import W_EVENTS, W_HOOK, W_JUDGED
from penstock.path.sample import sample_request
from penstock.policy.judge import OUT_CATEGORY, OUT_SERVICE, OUT_WOULD

EVENT_BYTES = 512
EVENT_COUNT = 8192
RING_WRITTEN, RING_READ, RING_LOST, RING_HEAD_BYTES = 0, 64, 128, 192
EVENTS_BYTES = RING_HEAD_BYTES + EVENT_BYTES * EVENT_COUNT

EVENT_TIME_NS, EVENT_ID, EVENT_PROTO, EVENT_ACTION, EVENT_REASON = 0, 8, 16, 24, 32
EVENT_CATEGORY, EVENT_SERVICE, EVENT_WOULD, EVENT_SUBSCRIBER = 40, 48, 56, 64
EVENT_DETAIL, EVENT_FLAGS, EVENT_HOST_BYTES = 72, 80, 88
EVENT_KEY = 96
EVENT_HOST = EVENT_KEY + KEY_BYTES
EVENT_HOOK = 400  # the tag of the hook that decided; 0: none did
HOST_LIMIT = 255

# EVENT_FLAGS
EVENT_RESET, EVENT_HAS_ECH, EVENT_IS_REQUEST, EVENT_MIDSTREAM, EVENT_UNRESOLVED = 1, 2, 4, 8, 16
EVENT_OVERRIDDEN = 64  # 32: control.hooks.asks


@shared
def write_event(w, u, identity, proto, action, reason, subscriber, detail, flags, host, host_bytes):  # type: ignore[no-untyped-def]
    """Write one event about the packet `u`; category and service are those of the last judgement. A request that is not
    released is sampled here: it has one event.

    Returns: 1; 0 when the ring was full (counted).
    """
    if flags & EVENT_IS_REQUEST and reason >= BLOCKED:
        sample_request(w, u, host, host_bytes)
    ring = u64(w + W_EVENTS)
    written = u64(ring + RING_WRITTEN)
    if written - acquire64(ring + RING_READ) >= EVENT_COUNT:
        put64(ring + RING_LOST, u64(ring + RING_LOST) + 1)
        return 0
    event = ring + RING_HEAD_BYTES + (written & (EVENT_COUNT - 1)) * EVENT_BYTES
    size = min(max(host_bytes, 0), HOST_LIMIT)
    put64(event + EVENT_TIME_NS, u64(u + UP_TIME_NS))
    put64(event + EVENT_ID, identity)
    put64(event + EVENT_PROTO, proto)
    put64(event + EVENT_ACTION, action)
    put64(event + EVENT_REASON, reason)
    put64(event + EVENT_CATEGORY, u64(w + W_JUDGED + OUT_CATEGORY))
    put64(event + EVENT_SERVICE, u64(w + W_JUDGED + OUT_SERVICE))
    put64(event + EVENT_WOULD, u64(w + W_JUDGED + OUT_WOULD))
    put64(event + EVENT_SUBSCRIBER, subscriber)
    put64(event + EVENT_DETAIL, detail)
    put64(event + EVENT_FLAGS, flags)
    put64(event + EVENT_HOST_BYTES, size)
    put64(event + EVENT_HOOK, u64(w + W_HOOK))
    move(event + EVENT_KEY, u + UP_KEY, KEY_BYTES)
    move(event + EVENT_HOST, host, size)
    release64(ring + RING_WRITTEN, written + 1)
    return 1

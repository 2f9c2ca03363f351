"""The rings between a worker and the hook process: what a request asks, and what is answered. Records of one size each.

    | written | read | lost, unasked | record 0 | record 1 | ...       a cache line each, then records: `path.events`

Unasked, of asks alone: requests that could not wait, whatever had no room.

asks      the worker writes: an event without a reason, service and detail, whose places hold what hooks want to know:

    EVENT_REASON   a bit for each category of the host, by the snapshot's numbers
    EVENT_DETAIL   the tag of the subscriber's profile
    EVENT_ACTION   the default verdict                      EVENT_ID   under which the answer is known
    ASK_PATH       of a URL over HTTP, its first PATH_LIMIT bytes

answers   the hook process writes: an identity, an action, and what the action needs (ANSWER_*)

A full ring loses the record and counts it. Neither side waits. What comes from the other side is bounded here, whatever it
says: either process may have been taken over.
"""

from penstock.compile.memory import acquire64, move, put64, release64, shared, u64
from penstock.hooks.verdict import TEXT_LIMIT, URL_LIMIT
from penstock.kernel.tables import KEY_BYTES, UP_KEY, UP_OWNER, UP_TIME_NS
from penstock.path.events import (
    EVENT_ACTION,
    EVENT_BYTES,
    EVENT_DETAIL,
    EVENT_FLAGS,
    EVENT_HOST,
    EVENT_HOST_BYTES,
    EVENT_ID,
    EVENT_KEY,
    EVENT_PROTO,
    EVENT_REASON,
    EVENT_SUBSCRIBER,
    EVENT_TIME_NS,
    HOST_LIMIT,
    RING_HEAD_BYTES,
    RING_LOST,
    RING_READ,
    RING_WRITTEN,
)
from penstock.path.layout import W_ANSWER_RING, W_ASK_RING, W_TARGET, W_TARGET_BYTES

EVENT_ASKS = 32  # of EVENT_FLAGS
ASK_PATH_BYTES, ASK_PATH = 400, EVENT_BYTES
ASK_BYTES, ASK_COUNT = 2048, 1024
PATH_LIMIT = ASK_BYTES - ASK_PATH
ASKS_UNASKED = RING_LOST + 8
ASKS_BYTES = RING_HEAD_BYTES + ASK_BYTES * ASK_COUNT

ANSWER_ID, ANSWER_ACTION, ANSWER_CATEGORY = 0, 8, 16  # int64; action -1: none, the tables decide; category -1: none
ANSWER_URL_BYTES, ANSWER_TEXT_BYTES, ANSWER_HOOK = 24, 32, 40  # the tag of the hook that decided; 0: none did
ANSWER_URL = 64
ANSWER_TEXT = ANSWER_URL + URL_LIMIT + 16
URL_BYTES, TEXT_BYTES = URL_LIMIT + 8, 4 * TEXT_LIMIT
ANSWER_BYTES, ANSWER_COUNT = 4096, 256
ANSWERS_BYTES = RING_HEAD_BYTES + ANSWER_BYTES * ANSWER_COUNT
NO_ACTION = -1

assert ANSWER_TEXT + TEXT_BYTES <= ANSWER_BYTES


@shared
def write_ask(w, u, identity, proto, default, hits, tag, host, host_bytes):  # type: ignore[no-untyped-def]
    """Ask about the packet `u`. Returns: 1; 0 when the ring is full (counted), or there is none."""
    ring = u64(w + W_ASK_RING)
    if ring == 0:
        return 0
    written = u64(ring + RING_WRITTEN)
    if written - acquire64(ring + RING_READ) >= ASK_COUNT:
        put64(ring + RING_LOST, u64(ring + RING_LOST) + 1)
        return 0
    ask = ring + RING_HEAD_BYTES + (written & (ASK_COUNT - 1)) * ASK_BYTES
    size, path_bytes = min(max(host_bytes, 0), HOST_LIMIT), min(max(u64(w + W_TARGET_BYTES), 0), PATH_LIMIT)
    put64(ask + EVENT_TIME_NS, u64(u + UP_TIME_NS))
    put64(ask + EVENT_ID, identity)
    put64(ask + EVENT_PROTO, proto)
    put64(ask + EVENT_ACTION, default)
    put64(ask + EVENT_REASON, hits)
    put64(ask + EVENT_SUBSCRIBER, u64(u + UP_OWNER))
    put64(ask + EVENT_DETAIL, tag)
    put64(ask + EVENT_FLAGS, EVENT_ASKS)
    put64(ask + EVENT_HOST_BYTES, size)
    put64(ask + ASK_PATH_BYTES, path_bytes)
    move(ask + EVENT_KEY, u + UP_KEY, KEY_BYTES)
    move(ask + EVENT_HOST, host, size)
    move(ask + ASK_PATH, u64(w + W_TARGET), path_bytes)
    release64(ring + RING_WRITTEN, written + 1)
    return 1


@shared
def note_unasked(w):  # type: ignore[no-untyped-def]
    """Count a request that hooks should have been asked about."""
    ring = u64(w + W_ASK_RING)
    if ring:
        put64(ring + ASKS_UNASKED, u64(ring + ASKS_UNASKED) + 1)
    return 0


@shared
def read_answer(w, taken, out):  # type: ignore[no-untyped-def]
    """Copy the answer behind `taken` ones, if there is one. Who writes it may change it meanwhile: the copy alone counts.

    Writes: out[0:ANSWER_BYTES). Returns: how many are taken by now: one more, or, when the ring says what cannot be, as
        many as it says.
    """
    ring = u64(w + W_ANSWER_RING)
    if ring == 0:
        return taken
    written = acquire64(ring + RING_WRITTEN)
    if written == taken:
        return taken
    if written - taken < 0 or written - taken > ANSWER_COUNT:
        put64(out + ANSWER_ID, 0)
        release64(ring + RING_READ, written)
        return written
    move(out, ring + RING_HEAD_BYTES + (taken & (ANSWER_COUNT - 1)) * ANSWER_BYTES, ANSWER_BYTES)
    put64(out + ANSWER_URL_BYTES, min(max(u64(out + ANSWER_URL_BYTES), 0), URL_BYTES))
    put64(out + ANSWER_TEXT_BYTES, min(max(u64(out + ANSWER_TEXT_BYTES), 0), TEXT_BYTES))
    release64(ring + RING_READ, taken + 1)
    return taken + 1

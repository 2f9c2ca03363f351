"""The bytes of one flow's unfinished request, and those that were released but are not acknowledged yet.

    base                P                       capacity
     │ released, maybe  │ the unit being read    │
     │ unacknowledged   │ (request, hello, ...)  │
     └── ranges: which of these bytes are here, in any order of arrival

A released byte is fixed: a segment that overlaps it must carry the same bytes (`put_bytes` says CONFLICT). Memory is
bounded by name: STREAM_COUNT streams of one page with STREAM_INLINE bytes in them, LARGE_COUNT blocks of LARGE_BYTES for
those that grow. No subscriber holds more of either than are left for the others (the dynamic threshold of Choudhury and
Hahne, 1998): alone he gets half. Nobody tells us when bytes are acknowledged: with each stream that is taken the oldest
ones are looked at, and those that are done are taken back, so that few pages are in use and those are warm.
"""

from penstock.compile.memory import move, put32, put64, same, shared, shr, u32, u64
from penstock.flow.record import (
    OPEN,
    REFUSED,
    SETTLING,
    age_of,
    free_end_of,
    is_settled,
    judged_end_of,
    pack_word,
    sequence_difference,
    state_of,
)
from penstock.kernel.tables import (
    BUCKET_BYTES,
    BUCKET_RECORDS,
    FLOW_ACKED,
    FLOW_ANSWER,
    FLOW_BIRTH,
    FLOW_EPOCH,
    FLOW_FLAGS,
    FLOW_SEEN,
    FLOW_STREAM,
    FLOW_WORD,
    OWNER_SHIFT,
    RECORD_BYTES,
    WAYS,
)

# The pool: where the streams and blocks of one worker are.
POOL_FLOWS, POOL_STREAMS, POOL_STREAM_COUNT, POOL_FREE, POOL_FREE_COUNT = 0, 8, 16, 24, 32
POOL_LARGE, POOL_LARGE_FREE, POOL_LARGE_FREE_COUNT = 48, 56, 64
POOL_QUEUE, POOL_QUEUE_HEAD, POOL_QUEUE_SIZE = (
    72,
    80,
    40,
)  # streams in the order in which they were taken, round and round
POOL_NOW_MS = 88  # the time as FLOW_SEEN counts it
POOL_SHARES = 96  # how many streams and large blocks each subscriber holds
POOL_BYTES = 104

STREAM_COUNT = 16384  # per worker: 64 MB, touched only when used
LARGE_COUNT = 256  # per worker: 32 MB
LARGE_BYTES = 131072  # 64 KB that may be unacknowledged, and 64 KB of a request

S_OWNER, S_BIRTH, S_BASE, S_FIN, S_RANGES = 0, 8, 16, 24, 32
S_RANGE = 40  # RANGE_LIMIT pairs of offsets from base, in order, apart from each other
RANGE_LIMIT = 16  # pieces out of order; more are dropped and repeated by the sender
S_DATA, S_CAPACITY, S_LARGE, S_UNIT, S_QUEUED = 296, 304, 312, 320, 328
S_HEAD_END, S_MARKS, S_MARK_FIRST, S_SHARE = 336, 344, 352, 360
S_STATE = 368  # of the reader of the unit that starts at sequence number S_UNIT
STATE_BYTES = 512
MARK_COUNT = 32  # unacknowledged chunk headers; beyond them what lies between is kept too
S_MARK = S_STATE + STATE_BYTES
S_INLINE = S_MARK + MARK_COUNT * 32
STREAM_BYTES = 4096
STREAM_INLINE = STREAM_BYTES - S_INLINE
# Chunk headers of a body are kept apart: then the chunks between them need not be kept.
MARK_BYTES = 32  # sequence number, length, then at most MARK_LIMIT bytes
MARK_LIMIT = 20
NO_UNIT = -1
NO_FIN = -1
SILENT_MS, SILENT_MS_URGENT = 120_000, 10_000  # of a flow with unfinished bytes: servers wait a minute for a head
ANSWER_RESET = 3  # of FLOW_ANSWER: both sides are reset
ANSWER_RESET_BOTH = 5  # neither is yet, and whichever speaks first brings the reset upon both
QUEUE_STEPS, QUEUE_STEPS_URGENT = 2, 64  # streams looked at for one that is taken; when none is free

SHARE_COUNT, SHARE_BYTES = 4096, 16  # lines of two numbers, by the owner's number; a few may share one
SHARE_STREAMS, SHARE_LARGE = 0, 8

STORED, CONFLICT, OUTSIDE, NO_MEMORY = 0, 1, 2, 3


@shared
def record_at(pool, number):  # type: ignore[no-untyped-def]
    """The address of the flow record with this number."""
    return u64(pool + POOL_FLOWS) + (number >> 3) * BUCKET_BYTES + BUCKET_RECORDS + (number & (WAYS - 1)) * RECORD_BYTES


@shared
def _share_of(pool, number):  # type: ignore[no-untyped-def]
    """The line of the subscriber whose flow this is."""
    owner = shr(u32(record_at(pool, number) + FLOW_FLAGS), OWNER_SHIFT)
    return u64(pool + POOL_SHARES) + (owner & (SHARE_COUNT - 1)) * SHARE_BYTES


@shared
def _change_share(place, change):  # type: ignore[no-untyped-def]
    put64(place, u64(place) + change)
    return 0


@shared
def _is_done(pool, stream):  # type: ignore[no-untyped-def]
    """Is nothing in this stream needed any more? Its record is another's, settled, or the server has every byte."""
    record, index = record_at(pool, u64(stream + S_OWNER) - 1), (stream - u64(pool + POOL_STREAMS)) // STREAM_BYTES
    if u32(record + FLOW_BIRTH) != u64(stream + S_BIRTH) or u32(record + FLOW_STREAM) != index + 1:
        return True
    word = u64(record + FLOW_WORD)
    if state_of(word) == SETTLING:
        return is_settled(word, u32(record + FLOW_ACKED))
    if state_of(word) != OPEN:
        return True
    acked = sequence_difference(u32(record + FLOW_ACKED), u64(stream + S_BASE))
    end = last_end(stream)
    if u64(stream + S_FIN) != NO_FIN:  # a FIN ahead of its bytes will complete them
        end = max(end, u64(stream + S_FIN) + 1)
    unread = sequence_difference(free_end_of(word), u64(stream + S_BASE)) < end
    return acked >= end and not unread


@shared
def mark_unfinished(pool):  # type: ignore[no-untyped-def]
    """Make a gap of every flow of which bytes are still needed here: nobody is going to know them.

    Bounds: STREAM_COUNT.
    """
    head, limit = u64(pool + POOL_QUEUE_HEAD), u64(pool + POOL_STREAM_COUNT)
    for number in range(u64(pool + POOL_QUEUE_SIZE)):
        at = head + number
        index = u64(u64(pool + POOL_QUEUE) + 8 * (at if at < limit else at - limit))
        stream = u64(pool + POOL_STREAMS) + index * STREAM_BYTES
        if u64(stream + S_OWNER) and not _is_done(pool, stream):
            put32(record_at(pool, u64(stream + S_OWNER) - 1) + FLOW_EPOCH, 0)
    return 0


@shared
def free_stream(pool, stream):  # type: ignore[no-untyped-def]
    """Give the stream and its block back."""
    if u64(stream + S_LARGE):
        count = u64(pool + POOL_LARGE_FREE_COUNT)
        put64(u64(pool + POOL_LARGE_FREE) + 8 * count, u64(stream + S_LARGE) - 1)
        put64(pool + POOL_LARGE_FREE_COUNT, count + 1)
        put64(stream + S_LARGE, 0)
        _change_share(u64(stream + S_SHARE) + SHARE_LARGE, -1)
    if u64(stream + S_OWNER):
        put64(stream + S_OWNER, 0)
        _change_share(u64(stream + S_SHARE) + SHARE_STREAMS, -1)
        count = u64(pool + POOL_FREE_COUNT)
        put64(u64(pool + POOL_FREE) + 8 * count, (stream - u64(pool + POOL_STREAMS)) // STREAM_BYTES)
        put64(pool + POOL_FREE_COUNT, count + 1)
    return 0


@shared
def _give_up(pool, stream, silent_ms):  # type: ignore[no-untyped-def]
    """Was the flow silent for longer than `silent_ms`? Then it is refused, for its unfinished bytes are forgotten: whatever
    it says later is answered by a reset."""
    record = record_at(pool, u64(stream + S_OWNER) - 1)
    if age_of(u64(pool + POOL_NOW_MS), u32(record + FLOW_SEEN)) <= silent_ms:
        return False
    put32(record + FLOW_ANSWER, ANSWER_RESET)
    put64(record + FLOW_WORD, pack_word(REFUSED, judged_end_of(u64(record + FLOW_WORD)), 0))
    return True


@shared
def _turn_queue(pool, steps, silent_ms, keep):  # type: ignore[no-untyped-def]
    """Look at the `steps` oldest streams: what is done, or was silent for `silent_ms`, is taken back; the others go to the
    queue's end, and `keep` in any case (the stream that is being written to)."""
    queue, limit = u64(pool + POOL_QUEUE), u64(pool + POOL_STREAM_COUNT)
    for _ in range(steps):
        size, head = u64(pool + POOL_QUEUE_SIZE), u64(pool + POOL_QUEUE_HEAD)
        if size == 0:
            break
        index = u64(queue + 8 * head)
        put64(pool + POOL_QUEUE_HEAD, head + 1 if head + 1 < limit else 0)
        put64(pool + POOL_QUEUE_SIZE, size - 1)
        stream = u64(pool + POOL_STREAMS) + index * STREAM_BYTES
        put64(stream + S_QUEUED, 0)
        if stream != keep and u64(stream + S_OWNER) and (_is_done(pool, stream) or _give_up(pool, stream, silent_ms)):
            free_stream(pool, stream)
        if u64(stream + S_OWNER):
            _enqueue(pool, stream, index)
    return 0


@shared
def _enqueue(pool, stream, index):  # type: ignore[no-untyped-def]
    """Put a stream at the queue's end, where it stands once at most."""
    if u64(stream + S_QUEUED):
        return 0
    limit, size = u64(pool + POOL_STREAM_COUNT), u64(pool + POOL_QUEUE_SIZE)
    tail = u64(pool + POOL_QUEUE_HEAD) + size
    put64(u64(pool + POOL_QUEUE) + 8 * (tail if tail < limit else tail - limit), index)
    put64(pool + POOL_QUEUE_SIZE, size + 1)
    put64(stream + S_QUEUED, 1)
    return 1


@shared
def take_stream(pool, number, birth, base):  # type: ignore[no-untyped-def]
    """An empty stream for the flow `number`, its first byte being sequence number `base`. Returns: its index + 1, or 0 when
    none is left, or the flow's subscriber holds more than that."""
    share = _share_of(pool, number)
    _turn_queue(pool, QUEUE_STEPS, SILENT_MS, 0)
    if u64(share + SHARE_STREAMS) >= u64(pool + POOL_FREE_COUNT):
        _turn_queue(pool, QUEUE_STEPS_URGENT, SILENT_MS_URGENT, 0)
        if u64(share + SHARE_STREAMS) >= u64(pool + POOL_FREE_COUNT):
            return 0
    _change_share(share + SHARE_STREAMS, 1)
    count = u64(pool + POOL_FREE_COUNT) - 1
    put64(pool + POOL_FREE_COUNT, count)
    index = u64(u64(pool + POOL_FREE) + 8 * count)
    stream = u64(pool + POOL_STREAMS) + index * STREAM_BYTES
    _enqueue(pool, stream, index)
    put64(stream + S_OWNER, number + 1)
    put64(stream + S_SHARE, share)
    put64(stream + S_BIRTH, birth)
    put64(stream + S_BASE, base)
    put64(stream + S_FIN, NO_FIN)
    put64(stream + S_RANGES, 0)
    put64(stream + S_DATA, stream + S_INLINE)
    put64(stream + S_CAPACITY, STREAM_INLINE)
    put64(stream + S_LARGE, 0)
    put64(stream + S_UNIT, NO_UNIT)
    put64(stream + S_HEAD_END, base)
    put64(stream + S_MARKS, 0)
    put64(stream + S_MARK_FIRST, 0)
    return index + 1


@shared
def find_stream(pool, index, number, birth):  # type: ignore[no-untyped-def]
    """The address of stream `index` - 1 if it still is this flow's, or 0."""
    if index < 1 or index > u64(pool + POOL_STREAM_COUNT):
        return 0
    stream = u64(pool + POOL_STREAMS) + (index - 1) * STREAM_BYTES
    if u64(stream + S_OWNER) != number + 1 or u64(stream + S_BIRTH) != birth:
        return 0
    return stream


@shared
def _grow(pool, stream):  # type: ignore[no-untyped-def]
    """Move the bytes into a large block. Returns 1, or 0 when none is left, or the subscriber holds more than that."""
    if u64(stream + S_LARGE):
        return 0
    share = u64(stream + S_SHARE)
    if u64(share + SHARE_LARGE) >= u64(pool + POOL_LARGE_FREE_COUNT):
        _turn_queue(pool, QUEUE_STEPS_URGENT, SILENT_MS_URGENT, stream)
        if u64(share + SHARE_LARGE) >= u64(pool + POOL_LARGE_FREE_COUNT):
            return 0
    count = u64(pool + POOL_LARGE_FREE_COUNT)
    _change_share(share + SHARE_LARGE, 1)
    index = u64(u64(pool + POOL_LARGE_FREE) + 8 * (count - 1))
    put64(pool + POOL_LARGE_FREE_COUNT, count - 1)
    data = u64(pool + POOL_LARGE) + index * LARGE_BYTES
    move(data, u64(stream + S_DATA), u64(stream + S_CAPACITY))
    put64(stream + S_DATA, data)
    put64(stream + S_CAPACITY, LARGE_BYTES)
    put64(stream + S_LARGE, index + 1)
    return 1


@shared
def forget_before(stream, offset):  # type: ignore[no-untyped-def]
    """Drop the bytes before `offset`, which becomes the base."""
    if offset <= 0:
        return 0
    count, kept, end = u64(stream + S_RANGES), 0, 0
    for number in range(RANGE_LIMIT):
        if number >= count:
            break
        place = stream + S_RANGE + 16 * number
        start, stop = u64(place), u64(place + 8)
        if stop > offset:
            put64(stream + S_RANGE + 16 * kept, max(start, offset) - offset)
            put64(stream + S_RANGE + 16 * kept + 8, stop - offset)
            kept, end = kept + 1, stop
    if end > offset:
        move(u64(stream + S_DATA), u64(stream + S_DATA) + offset, end - offset)
    put64(stream + S_RANGES, kept)
    put64(stream + S_BASE, (u64(stream + S_BASE) + offset) & 0xFFFFFFFF)
    if u64(stream + S_FIN) != NO_FIN:
        put64(stream + S_FIN, u64(stream + S_FIN) - offset)
    return 0


@shared
def mark_bytes(stream, offset, size, acked):  # type: ignore[no-untyped-def]
    """Keep `size` bytes at `offset` (a chunk header) apart from the others, so that the base may pass them before they are
    acknowledged. Where that cannot be, they hold the base: S_HEAD_END."""
    count, first = u64(stream + S_MARKS), u64(stream + S_MARK_FIRST)
    for _ in range(MARK_COUNT):  # the oldest ones, once the server has them
        place = stream + S_MARK + first * MARK_BYTES
        if count == 0 or sequence_difference(acked, u32(place) + u32(place + 4)) < 0:
            break
        first = first + 1 if first + 1 < MARK_COUNT else 0
        count -= 1
    seq = (u64(stream + S_BASE) + offset) & 0xFFFFFFFF
    put64(stream + S_MARK_FIRST, first)
    put64(stream + S_MARKS, count)
    if size > MARK_LIMIT or count == MARK_COUNT:
        put64(stream + S_HEAD_END, seq + size)
        return 0
    at = first + count
    place = stream + S_MARK + (at if at < MARK_COUNT else at - MARK_COUNT) * MARK_BYTES
    put32(place, seq)
    put32(place + 4, size)
    move(place + 8, u64(stream + S_DATA) + offset, size)
    put64(stream + S_MARKS, count + 1)
    return 1


@shared
def is_same_as_marked(stream, seq, p, size):  # type: ignore[no-untyped-def]
    """Do the bytes at p, from sequence number `seq` on, agree with the chunk headers that were kept apart?"""
    count, first = u64(stream + S_MARKS), u64(stream + S_MARK_FIRST)
    for number in range(MARK_COUNT):
        if number >= count:
            break
        at = first + number
        place = stream + S_MARK + (at if at < MARK_COUNT else at - MARK_COUNT) * MARK_BYTES
        start = sequence_difference(u32(place), seq)
        low, high = max(start, 0), min(start + u32(place + 4), size)
        if low < high and not same(place + 8 + low - start, p + low, high - low):
            return False
    return True


@shared
def is_same_so_far(stream, offset, p, size):  # type: ignore[no-untyped-def]
    """Do the bytes at p agree with those kept at the same place?"""
    count = u64(stream + S_RANGES)
    for number in range(RANGE_LIMIT):
        if number >= count:
            break
        place = stream + S_RANGE + 16 * number
        low, high = max(u64(place), offset), min(u64(place + 8), offset + size)
        if low < high and not same(u64(stream + S_DATA) + low, p + low - offset, high - low):
            return False
    return True


@shared
def put_bytes(pool, stream, offset, p, size):  # type: ignore[no-untyped-def]
    """Keep `size` bytes at `offset` from the base.

    Returns: STORED; CONFLICT (other bytes are kept there: nothing changes); OUTSIDE (does not fit, or too many pieces);
        NO_MEMORY.
    Bounds: RANGE_LIMIT ranges; one copy.
    """
    if size <= 0:
        return STORED
    if offset < 0 or offset + size > LARGE_BYTES:
        return OUTSIDE
    if not is_same_so_far(stream, offset, p, size):
        return CONFLICT
    count = u64(stream + S_RANGES)
    start, end, first, behind = offset, offset + size, count, count
    for number in range(RANGE_LIMIT):  # ranges first..behind-1 touch the new one and become one with it
        if number >= count:
            break
        place = stream + S_RANGE + 16 * number
        if u64(place + 8) >= offset and first == count:
            first = number
        if u64(place) > offset + size:
            behind = number
            break
    if first > behind:
        first = behind
    merged = behind - first
    # The last range is kept for the bytes that come first: those that the server waits for.
    if merged == 0 and count >= (RANGE_LIMIT if first == 0 else RANGE_LIMIT - 1):
        return OUTSIDE
    if offset + size > u64(stream + S_CAPACITY) and _grow(pool, stream) == 0:
        return NO_MEMORY
    if merged:
        start = min(start, u64(stream + S_RANGE + 16 * first))
        end = max(end, u64(stream + S_RANGE + 16 * (behind - 1) + 8))
    move(stream + S_RANGE + 16 * (first + 1), stream + S_RANGE + 16 * behind, 16 * (count - behind))
    put64(stream + S_RANGE + 16 * first, start)
    put64(stream + S_RANGE + 16 * first + 8, end)
    put64(stream + S_RANGES, count - merged + 1)
    move(u64(stream + S_DATA) + offset, p, size)
    return STORED


@shared
def last_end(stream):  # type: ignore[no-untyped-def]
    """Behind the last byte that is kept."""
    count = u64(stream + S_RANGES)
    return u64(stream + S_RANGE + 16 * (count - 1) + 8) if count else 0


@shared
def contiguous_end(stream, offset):  # type: ignore[no-untyped-def]
    """Up to where the bytes from `offset` on are here without a hole; `offset` itself if its byte is missing."""
    count = u64(stream + S_RANGES)
    for number in range(RANGE_LIMIT):
        if number >= count:
            break
        place = stream + S_RANGE + 16 * number
        if u64(place) <= offset and offset < u64(place + 8):
            return u64(place + 8)
    return offset

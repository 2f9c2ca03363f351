"""Streams against a dictionary from positions to bytes; the pool against a set."""

from collections.abc import Iterator
from functools import cache
from itertools import groupby
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.compile.memory import CHECKED, allow, forbid, take_fault
from penstock.compile.native import kernel
from penstock.flow import stream as s
from penstock.flow.record import FREED, OPEN, REFUSED
from penstock.kernel import tables as t

STREAMS, LARGE, FLOWS = 6, 2, 64


def compare(stream, offset, p, size):  # type: ignore[no-untyped-def]
    """`is_same_so_far` with a number for its answer."""
    return 1 if s.is_same_so_far(stream, offset, p, size) else 0


@cache
def compiled(function: Any) -> Any:
    return kernel(function)


class Pool:
    """A small pool of streams over a small flow table."""

    def __init__(self) -> None:
        self.kept: list[np.ndarray] = []
        self.regions: list[int] = []
        self.flows = self.room(FLOWS // t.WAYS * t.BUCKET_BYTES)
        self.words = self.room(s.POOL_BYTES).view(np.int64)
        self.pool = int(self.words.ctypes.data)
        self.streams = self.room(STREAMS * s.STREAM_BYTES)
        values = {
            s.POOL_FLOWS: self.flows, s.POOL_STREAMS: self.streams, s.POOL_FREE: self.numbers(STREAMS),
            s.POOL_LARGE: self.room(LARGE * s.LARGE_BYTES), s.POOL_LARGE_FREE: self.numbers(LARGE),
            s.POOL_QUEUE: self.room(8 * STREAMS), s.POOL_SHARES: self.room(s.SHARE_COUNT * s.SHARE_BYTES),
        }  # fmt: skip
        for offset, room in values.items():
            self.words[offset // 8] = room.ctypes.data
        for offset, count in (
            (s.POOL_STREAM_COUNT, STREAMS),
            (s.POOL_FREE_COUNT, STREAMS),
            (s.POOL_LARGE_FREE_COUNT, LARGE),
        ):
            self.words[offset // 8] = count

    def room(self, size: int) -> np.ndarray:
        made = np.zeros(size, np.uint8)
        self.kept.append(made)
        if CHECKED:
            self.regions.append(allow(made.ctypes.data, made.ctypes.data + size))
        return made

    def numbers(self, count: int) -> np.ndarray:
        made = self.room(8 * count)
        made.view(np.int64)[:] = np.arange(count)[::-1]
        return made

    def close(self) -> None:
        fault = take_fault()
        for region in self.regions:
            forbid(region)
        assert fault is None, f"access outside every buffer: {fault}"

    def record(self, number: int) -> np.ndarray:
        at = (number >> 3) * t.BUCKET_BYTES + t.BUCKET_RECORDS + (number & 7) * t.RECORD_BYTES
        return self.flows[at : at + t.RECORD_BYTES]

    def set_record(
        self, number: int, birth: int, acked: int, judged: int, state: int = OPEN, owner: int | None = None
    ) -> None:
        """Fill a flow's record; its owner is one of its own unless one is named."""
        record = self.record(number)
        flags = (number + 1 if owner is None else owner) << t.OWNER_SHIFT
        record[t.FLOW_FLAGS : t.FLOW_FLAGS + 4].view(np.uint32)[0] = flags
        record[t.FLOW_WORD : t.FLOW_WORD + 8].view(np.uint64)[0] = state << 62 | judged % (1 << 32)
        record[t.FLOW_ACKED : t.FLOW_ACKED + 4].view(np.uint32)[0] = acked % (1 << 32)
        record[t.FLOW_BIRTH : t.FLOW_BIRTH + 4].view(np.uint32)[0] = birth

    def take(self, number: int, birth: int, base: int) -> int:
        """The address of a stream for this flow, or 0."""
        index = compiled(s.take_stream)(self.pool, number, birth, base)
        self.record(number)[t.FLOW_STREAM : t.FLOW_STREAM + 4].view(np.uint32)[0] = index
        return compiled(s.find_stream)(self.pool, index, number, birth)

    def put(self, stream: int, offset: int, data: bytes) -> int:
        lent = np.frombuffer(data or b"\0", np.uint8).copy()
        region = allow(lent.ctypes.data, lent.ctypes.data + len(lent)) if CHECKED else -1
        try:
            return int(compiled(s.put_bytes)(self.pool, stream, offset, lent.ctypes.data, len(data)))
        finally:
            if CHECKED:
                forbid(region)

    def is_same(self, stream: int, offset: int, data: bytes) -> bool:
        lent = np.frombuffer(data or b"\0", np.uint8).copy()
        region = allow(lent.ctypes.data, lent.ctypes.data + len(lent)) if CHECKED else -1
        try:
            return bool(compiled(compare)(stream, offset, lent.ctypes.data, len(data)))
        finally:
            if CHECKED:
                forbid(region)

    def word(self, stream: int, offset: int) -> int:
        at = stream - int(self.streams.ctypes.data) + offset
        return int(self.streams[at : at + 8].view(np.int64)[0])

    def read(self, stream: int) -> dict[int, int]:
        """Position to byte, as the stream has it."""
        data = self.word(stream, s.S_DATA)
        place = next(room for room in self.kept if room.ctypes.data <= data < room.ctypes.data + room.nbytes)
        start, held = data - place.ctypes.data, {}
        last = -1
        for number in range(self.word(stream, s.S_RANGES)):
            low, high = (self.word(stream, s.S_RANGE + 16 * number + part) for part in (0, 8))
            assert last < low < high, "ranges are in order and apart"
            last = high
            held.update((at, int(place[start + at])) for at in range(low, high))
        return held


@pytest.fixture
def pool() -> Iterator[Pool]:
    made = Pool()
    yield made
    made.close()


def count_pieces(held: dict[int, int]) -> int:
    return len(list(groupby(sorted(held), key=lambda at: at - sorted(held).index(at))))


def contiguous_end(held: dict[int, int], at: int) -> int:
    while at in held:
        at += 1
    return at


place = st.one_of(st.integers(0, 120), st.integers(3200, 3300))
pieces = st.tuples(st.just("put"), place, st.binary(min_size=1, max_size=40).map(lambda b: bytes(x & 1 for x in b)))
acts = st.lists(
    st.one_of(pieces, pieces, pieces, st.tuples(st.just("forget"), st.integers(-2, 60), st.just(b""))), max_size=40
)


@settings(max_examples=300, deadline=None)
@given(acts)
def test_a_stream_is_a_dictionary(steps: list[tuple[str, int, bytes]]) -> None:
    pool = Pool()
    stream = pool.take(3, 100, 100)
    held: dict[int, int] = {}
    for act, at, data in steps:
        if act == "forget":
            compiled(s.forget_before)(stream, at)
            held = {key - max(at, 0): byte for key, byte in held.items() if key >= max(at, 0)}
        else:
            new = dict(enumerate(data, at))
            agrees = all(held.get(key, byte) == byte for key, byte in new.items())
            assert pool.is_same(stream, at, data) == agrees
            stored = pool.put(stream, at, data)
            merged = {**held, **new}
            if not agrees:
                assert stored == s.CONFLICT
            elif stored == s.OUTSIDE:
                assert count_pieces(merged) > s.RANGE_LIMIT - 1
            else:
                assert stored == s.STORED
                held = merged
        assert pool.read(stream) == held
        for probe in (0, at, at + 1):
            assert compiled(s.contiguous_end)(stream, probe) == contiguous_end(held, probe)
    pool.close()


def test_what_does_not_fit_changes_nothing(pool: Pool) -> None:
    stream = pool.take(3, 100, 100)
    assert pool.put(stream, -1, b"x") == s.OUTSIDE
    assert pool.put(stream, s.LARGE_BYTES - 1, b"xy") == s.OUTSIDE
    assert pool.put(stream, s.LARGE_BYTES - 2, b"xy") == s.STORED
    assert pool.put(stream, 0, b"") == s.STORED
    assert pool.read(stream) == {s.LARGE_BYTES - 2: ord("x"), s.LARGE_BYTES - 1: ord("y")}


def test_there_is_always_room_for_the_next_byte(pool: Pool) -> None:
    """Sixteen pieces behind a hole of two segments: the first of the two touches nothing, and must be kept all the same."""
    stream = pool.take(3, 100, 100)
    for number in range(40):
        pool.put(stream, 2 + 2 * number, b"x")
    assert pool.put(stream, 0, b"a") == s.STORED
    assert pool.put(stream, 1, b"b") == s.STORED
    assert compiled(s.contiguous_end)(stream, 0) >= 3


def test_a_stream_that_grows_keeps_its_bytes(pool: Pool) -> None:
    stream = pool.take(3, 100, 100)
    whole = bytes(range(256)) * 500
    for at in range(0, len(whole), 1000):
        assert pool.put(stream, at, whole[at : at + 1000]) == s.STORED
    assert pool.word(stream, s.S_LARGE)
    assert bytes(pool.read(stream).values()) == whole
    compiled(s.forget_before)(stream, 100_000)
    assert bytes(pool.read(stream).values()) == whole[100_000:]


def test_large_blocks_end_and_come_back(pool: Pool) -> None:
    for number in range(LARGE + 1):
        pool.set_record(number, 100, 100, 101)
    streams, stored = [], []
    for number in range(LARGE + 1):
        streams.append(pool.take(number, 100, 100))
        stored.append(pool.put(streams[-1], 5000, b"x"))
    assert stored == [s.STORED] * LARGE + [s.NO_MEMORY]
    compiled(s.free_stream)(pool.pool, streams[0])
    assert pool.put(streams[-1], 5000, b"x") == s.STORED


def test_no_subscriber_holds_more_than_are_left(pool: Pool) -> None:
    for number in range(STREAMS):
        pool.set_record(number, 100, 100, 100, owner=77)
    pool.set_record(STREAMS, 100, 100, 100, owner=78)
    held = []
    for number in range(STREAMS):
        stream = pool.take(number, 100, 100)
        if stream:
            assert pool.put(stream, 0, b"abc") == s.STORED
            held.append(stream)
    assert len(held) == STREAMS // 2
    assert pool.take(STREAMS, 100, 100), "another subscriber still gets one"


def test_an_exhausted_pool_takes_back_what_is_done(pool: Pool) -> None:
    for number in range(STREAMS):
        pool.set_record(number, 100, 100, 100)
        assert pool.put(pool.take(number, 100, 100), 0, b"abc") == s.STORED
    assert pool.take(40, 9, 9) == 0
    done = {
        "acknowledged and judged": (100, 103, 103, OPEN, True),
        "judged, not acknowledged": (100, 102, 103, OPEN, False),
        "acknowledged, not judged": (100, 103, 100, OPEN, False),
        "free": (100, 100, 100, FREED, True),
        "refused": (100, 100, 100, REFUSED, True),
        "another flow's": (777, 100, 100, OPEN, True),
    }
    for name, (birth, acked, judged, state, is_done) in done.items():
        pool.set_record(2, birth, acked, judged, state)
        taken = pool.take(41, 9, 9)
        assert bool(taken) == is_done, name
        if taken:
            compiled(s.free_stream)(pool.pool, taken)
            pool.set_record(2, 100, 100, 100)
            assert pool.put(pool.take(2, 100, 100), 0, b"abc") == s.STORED


def test_a_stream_belongs_to_one_connection(pool: Pool) -> None:
    index = compiled(s.take_stream)(pool.pool, 3, 100, 100)
    assert compiled(s.find_stream)(pool.pool, index, 3, 100)
    for wrong in (
        (index, 4, 100),
        (index, 3, 101),
        (0, 3, 100),
        (-5, 3, 100),
        (STREAMS + 1, 3, 100),
        (1 << 31, 3, 100),
    ):
        assert compiled(s.find_stream)(pool.pool, *wrong) == 0


def test_freeing_twice_is_freeing_once(pool: Pool) -> None:
    stream = pool.take(3, 100, 100)
    for _ in range(3):
        compiled(s.free_stream)(pool.pool, stream)
    assert pool.words[s.POOL_FREE_COUNT // 8] == STREAMS


def test_a_stream_in_use_is_not_taken_back(pool: Pool) -> None:
    """A block is wanted while the stream that wants it is empty, and so looks done."""
    for number in range(LARGE):
        pool.set_record(number, 100, 100, 100)
        assert pool.put(pool.take(number, 100, 100), 5000, b"x") == s.STORED
    pool.set_record(9, 100, 100, 100)
    stream = pool.take(9, 100, 100)
    assert pool.put(stream, 5000, b"x") == s.NO_MEMORY
    assert pool.word(stream, s.S_OWNER) == 10


def test_whose_bytes_are_needed_becomes_a_gap(pool: Pool) -> None:
    """Unfinished, not acknowledged yet, all acknowledged, free by now; streams that were given back are nobody's."""
    for number, (acked, judged, state, is_gap) in enumerate(
        ((100, 100, OPEN, True), (100, 104, OPEN, True), (104, 104, OPEN, False), (104, 104, FREED, False))
    ):
        pool.set_record(number, 100, 100, 100)
        pool.record(number)[t.FLOW_EPOCH : t.FLOW_EPOCH + 4].view(np.uint32)[0] = 7
        assert pool.put(pool.take(number, 100, 100), 0, b"GET ") == s.STORED
        pool.set_record(number, 100, acked, judged, state)
        compiled(s.mark_unfinished)(pool.pool)
        epoch = int(pool.record(number)[t.FLOW_EPOCH : t.FLOW_EPOCH + 4].view(np.uint32)[0])
        assert epoch == (0 if is_gap else 7), number

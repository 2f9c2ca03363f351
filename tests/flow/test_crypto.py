"""CRYPTO bytes against a dictionary from places to bytes: any order, overlap and size up to 64 KB."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.compile.memory import CHECKED, allow, forbid, take_fault
from penstock.compile.native import kernel
from penstock.flow import crypto as c
from tests.answer.buffers import compiled, lend

run_put, run_clear, run_grow = kernel(c.put_crypto), kernel(c.clear_crypto), kernel(c.grow_crypto)
CONTENT = np.random.default_rng(4).integers(0, 256, c.LARGE_BYTES, np.uint8).tobytes()


class Crypto:
    """A store and, beside it, the dictionary that it is compared with."""

    def __init__(self, capacity: int = c.SMALL_BYTES) -> None:
        self.head = np.zeros(c.HEAD_BYTES // 8, np.int64)
        self.address = int(self.head.ctypes.data)
        self.rooms: list[np.ndarray] = []
        self.held: dict[int, int] = {}
        self.regions = [self.announce(self.head)]
        run_clear(self.address, self.room(capacity), capacity)

    def announce(self, array: np.ndarray) -> int:
        return allow(array.ctypes.data, array.ctypes.data + array.nbytes) if CHECKED else -1

    def room(self, capacity: int) -> int:
        """Bits and bytes, full of what was there before."""
        made = np.full(capacity // 8 + capacity, 0xA5, np.uint8)
        self.rooms.append(made)
        self.regions.append(self.announce(made))
        return int(made.ctypes.data)

    def close(self) -> None:
        if CHECKED:
            for region in self.regions:
                forbid(region)
            assert take_fault() is None

    def word(self, offset: int) -> int:
        return int(self.head[offset // 8])

    def put(self, offset: int, content: bytes) -> int:
        with lend(content) as (p,):
            return int(run_put(self.address, offset, p, len(content)))

    def grow(self) -> None:
        run_grow(self.address, self.room(c.LARGE_BYTES), c.LARGE_BYTES)

    def put_both(self, offset: int, content: bytes) -> int:
        """Put them here and into the dictionary; the outcome must be the dictionary's."""
        outcome = self.put(offset, content)
        new = dict(enumerate(content, offset))
        if offset < 0 or offset + len(content) > self.word(c.CAPACITY):
            assert outcome == c.OUTSIDE
        elif any(self.held.get(place, byte) != byte for place, byte in new.items()):
            assert outcome == c.CONFLICT
        else:
            assert outcome == c.STORED
            self.held |= new
        if outcome != c.CONFLICT:
            self.compare()
        return outcome

    def compare(self) -> None:
        """Marks and contiguous bytes are the dictionary's."""
        end = 0
        while end in self.held:
            end += 1
        assert self.word(c.CONTIGUOUS) == end
        assert self.word(c.LAST) == max(self.held, default=-1) + 1
        start = self.word(c.BYTES) - int(self.rooms[-1].ctypes.data)
        assert self.rooms[-1][start : start + end].tobytes() == bytes(self.held[place] for place in range(end))


@contextmanager
def store(capacity: int = c.SMALL_BYTES) -> Iterator[Crypto]:
    made = Crypto(capacity)
    yield made
    made.close()


near = st.one_of(
    st.integers(0, 300), st.integers(0, 9).map(lambda n: 64 * n), st.integers(c.SMALL_BYTES - 200, c.SMALL_BYTES)
)
sizes = st.one_of(st.integers(0, 5), st.integers(60, 70), st.integers(0, 600))
acts = st.lists(st.tuples(near, sizes, st.integers(0, 40)), max_size=30)


@compiled
@given(acts)
def test_a_store_is_a_dictionary(steps: list[tuple[int, int, int]]) -> None:
    """One piece in forty has another byte somewhere: a conflict exactly where that byte, or its right one, is known."""
    with store() as made:
        for offset, size, odd in steps:
            content = bytearray(CONTENT[offset : offset + size])
            if odd == 0 and content:
                content[size // 2] ^= 1
            if made.put_both(offset, bytes(content)) == c.CONFLICT:
                break


@compiled
@given(
    st.lists(st.tuples(st.integers(0, 40), st.binary(max_size=6).map(lambda b: bytes(x & 1 for x in b))), max_size=12)
)
def test_small_pieces_of_two_bytes_conflict_as_they_should(steps: list[tuple[int, bytes]]) -> None:
    with store() as made:
        for offset, content in steps:
            if made.put_both(offset, content) == c.CONFLICT:
                break


@compiled
@given(
    st.lists(st.integers(1, c.LARGE_BYTES - 1), max_size=40, unique=True),
    st.randoms(),
    st.booleans(),
)
def test_any_cut_in_any_order_is_whole(cuts: list[int], random: Random, twice: bool) -> None:
    """64 KB in a store that grows when a piece does not fit."""
    edges = [0, *sorted(cuts), c.LARGE_BYTES]
    pieces = [(start, CONTENT[start:end]) for start, end in pairwise(edges)]
    pieces += pieces[:5] if twice else []
    random.shuffle(pieces)
    with store() as made:
        for offset, content in pieces:
            if made.put(offset, content) == c.OUTSIDE:
                assert made.word(c.CAPACITY) == c.SMALL_BYTES
                made.grow()
                assert made.put(offset, content) == c.STORED
        assert made.word(c.CONTIGUOUS) == made.word(c.LAST) == c.LARGE_BYTES
        assert made.rooms[-1][c.LARGE_BYTES // 8 :].tobytes() == CONTENT


@compiled
@given(acts, acts)
def test_what_grows_keeps_its_bytes(before: list[tuple[int, int, int]], after: list[tuple[int, int, int]]) -> None:
    with store() as made:
        for offset, size, _ in before:
            made.put_both(offset, CONTENT[offset : offset + size])
        made.grow()
        made.compare()
        for offset, size, _ in after:
            offset *= 15
            assert made.put_both(offset, CONTENT[offset : offset + size]) == c.STORED


@pytest.mark.parametrize(("offset", "size"), [(-1, 1), (c.SMALL_BYTES, 1), (c.SMALL_BYTES - 1, 2), (1 << 62, 1)])
def test_what_does_not_fit_changes_nothing(offset: int, size: int) -> None:
    with store() as made:
        made.put_both(3, b"abc")
        assert made.put(offset, bytes(size)) == c.OUTSIDE
        made.compare()
        assert made.put_both(c.SMALL_BYTES - 1, b"x") == c.STORED
        assert made.put_both(c.SMALL_BYTES, b"") == c.STORED


def test_a_cleared_store_knows_nothing() -> None:
    with store() as made:
        made.put_both(0, CONTENT[:1000])
        run_clear(made.address, int(made.rooms[-1].ctypes.data), c.SMALL_BYTES)
        made.held.clear()
        made.compare()
        assert made.put_both(5, bytes(100)) == c.STORED

"""The layout of the names database; that it finds what it should is tested with the look-up."""

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.control.lists.names_file import (
    LOAD_LIMIT,
    NamesError,
    build_filter,
    hash_names,
    merge_names,
    number_sets,
    place_names,
)
from penstock.policy.names import PROBE_LIMIT, SET_LIMIT

hashes = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=200).map(lambda values: np.array(values, np.uint64))


@settings(deadline=None)
@given(hashes, st.data())
def test_merging_joins_the_masks_of_one_name(values: np.ndarray, data: st.DataObject) -> None:
    values = np.concatenate([values, values[: len(values) // 2]])
    masks = st.lists(st.integers(0, 2**64 - 1), min_size=len(values), max_size=len(values))
    exact, below = (np.array(data.draw(masks), np.uint64) for _ in range(2))
    expected: dict[int, list[int]] = {}
    for value, first, second in zip(values.tolist(), exact.tolist(), below.tolist(), strict=True):
        joined = expected.setdefault(value, [0, 0])
        joined[0] |= first
        joined[1] |= second
    merged = merge_names(values, exact, below)
    assert merged[0].tolist() == sorted(expected)
    assert [list(pair) for pair in zip(merged[1].tolist(), merged[2].tolist(), strict=True)] == [
        expected[value] for value in sorted(expected)
    ]


@settings(deadline=None)
@given(hashes)
def test_every_name_lies_within_reach_of_its_home(values: np.ndarray) -> None:
    values = np.unique(values)
    slots, bits = place_names(values, np.ones(len(values), np.uint64))
    assert len(values) <= LOAD_LIMIT * (1 << bits)
    assert len(slots) == (1 << bits) + PROBE_LIMIT
    assert int((slots != 0).sum()) == len(values)
    for value in values.tolist():
        home = value >> (64 - bits)
        reach = slots[home : home + PROBE_LIMIT].tolist()
        wanted = (value & (2**48 - 1)) << 16 | 1
        assert wanted in reach
        assert 0 not in reach[: reach.index(wanted)]


@settings(deadline=None)
@given(hashes, st.integers(6, 12))
def test_the_filter_has_every_name(values: np.ndarray, bits: int) -> None:
    values = np.unique(values)
    words = build_filter(values, bits).tolist()
    assert len(words) == 1 << (bits - 4)
    for value in values.tolist():
        wanted = 1 << (value & 63) | 1 << (value >> 6 & 63)
        assert words[value >> (64 - bits + 4)] & wanted == wanted


def test_crowded_hashes_make_the_table_grow() -> None:
    close = np.arange(2 * PROBE_LIMIT, dtype=np.uint64) << np.uint64(64 - 9)  # neighbours in a table of 2**9 slots
    below = close >> np.uint64(1)
    values = np.unique(np.concatenate([close, below, below + np.uint64(1), below + np.uint64(2)]))
    _, bits = place_names(values, np.ones(len(values), np.uint64))
    assert bits > next(n for n in range(20) if len(values) <= LOAD_LIMIT * (1 << n))


def test_hashes_that_share_a_home_are_refused() -> None:
    with pytest.raises(NamesError, match="crowd together"):
        place_names(np.arange(1000, dtype=np.uint64), np.ones(1000, np.uint64))


def test_more_combinations_than_a_slot_can_name_are_refused() -> None:
    masks = np.arange(SET_LIMIT, dtype=np.uint64)
    with pytest.raises(NamesError, match="65,536 different combinations"):
        number_sets(masks, masks)


def test_a_wrong_count_is_noticed() -> None:
    with pytest.raises(ValueError, match="2 names announced, 1 found"):
        hash_names(b"a.example\n", 2, os.urandom(16))

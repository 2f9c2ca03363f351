"""The layout of the names database; that it finds what it should is tested with the look-up."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.control.lists.names_file import (
    LOAD_LIMIT,
    MARK,
    NOTHING,
    NamesError,
    Reach,
    Said,
    Sets,
    build_filter,
    hash_names,
    is_current,
    merge_said,
    number_kind,
    place_names,
    write_names,
)
from penstock.policy.names import PROBE_LIMIT, SET_LIMIT

hashes = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=200).map(lambda values: np.array(values, np.uint64))
kind = st.builds(number_kind, st.sampled_from([0, 63]), st.sampled_from(Reach), st.booleans()) | st.just(MARK)


def read_plainly(kinds: list[int]) -> tuple[int, int, int, int]:
    """The set of one name, of which these things are said."""
    found = [0, 0, 0, 0]
    for category in range(64):
        for at, reach in ((0, Reach.EXACT), (2, Reach.BELOW)):
            kinds_of = {(r, out): number_kind(category, r, out) in kinds for r in Reach for out in (False, True)}
            for near in (reach, Reach.SUBTREE):
                if kinds_of[near, True] or kinds_of[near, False]:
                    found[at + kinds_of[near, True]] |= 1 << category
                    break
    return tuple(found)  # type: ignore[return-value]


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 2), kind), min_size=1, max_size=12))
def test_what_is_said_of_one_name_comes_together(entries: list[tuple[int, int]]) -> None:
    said = Said(np.array([value for value, _ in entries], np.uint64), np.array([k for _, k in entries], np.uint16))
    sets = Sets()
    found, numbers = merge_said(said, sets)
    stored = sets.store()
    assert found.tolist() == sorted({value for value, _ in entries})
    for value, number in zip(found.tolist(), numbers.tolist(), strict=True):
        wanted = read_plainly([k for at, k in entries if at == value])
        assert tuple(stored[number].tolist()) == wanted
        assert number > 0


@settings(deadline=None)
@given(hashes)
def test_every_name_lies_within_reach_of_its_home(values: np.ndarray) -> None:
    values = np.unique(values)
    slots, bits = place_names(values, np.ones(len(values), np.uint16))
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
    _, bits = place_names(values, np.ones(len(values), np.uint16))
    assert bits > next(n for n in range(20) if len(values) <= LOAD_LIMIT * (1 << n))


def test_hashes_that_share_a_home_are_refused() -> None:
    with pytest.raises(NamesError, match="crowd together"):
        place_names(np.arange(1000, dtype=np.uint64), np.ones(1000, np.uint16))


def test_more_combinations_than_a_slot_can_name_are_refused() -> None:
    rows = np.zeros((SET_LIMIT, 4), np.uint64)
    rows[:, 0] = np.arange(SET_LIMIT)
    sets = Sets()
    assert sets.number(rows[:-1]).tolist() == list(range(1, SET_LIMIT))
    with pytest.raises(NamesError, match="65,536 different combinations"):
        sets.number(rows)


def test_a_database_of_another_version_is_not_current(tmp_path: Path) -> None:
    path = tmp_path / "names.db"
    assert not is_current(path)
    write_names(path, bytes(16), 0, {}, NOTHING, NOTHING)
    assert is_current(path)
    content = bytearray(path.read_bytes())
    content[8] -= 1
    for damaged in (bytes(content), b"", b"x" * 100, content[:9]):
        path.write_bytes(damaged)
        assert not is_current(path)


def test_a_wrong_count_is_noticed() -> None:
    with pytest.raises(ValueError, match="2 names announced, 1 found"):
        hash_names(b"a.example\n", 2, os.urandom(16))

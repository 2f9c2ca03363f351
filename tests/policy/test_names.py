"""The compiled look-up against a dictionary."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.control.lists.names_file import hash_names, write_names
from penstock.policy import names
from penstock.policy.names import HOST_LIMIT, LABEL_LIMIT, find_categories
from penstock.policy.snapshot import open_names

from .worlds import compiled, readable, span

Table = dict[bytes, tuple[int, int]]

# Few labels, so that random hosts meet random lists; some lie at the limits.
label = st.sampled_from([b"a", b"b", b"ab", b"a-b", b"_x", b"com", b"9", b"x" * 63])
name = st.lists(label, min_size=1, max_size=6).map(b".".join).filter(lambda n: len(n) <= 253)
mask = st.integers(0, 2**64 - 1) | st.sampled_from([1, 1 << 63])
table = st.dictionaries(name, st.tuples(mask, mask).filter(any), max_size=30)
odd = st.lists(label | st.just(b""), min_size=0, max_size=400).map(b".".join)
host = name | odd | st.binary(max_size=300)


def store(entries: Table, directory: Path) -> Path:
    """A names database of these names with their exact and subtree masks."""
    key, path = os.urandom(16), directory / "names.db"
    hashes = hash_names(b"".join(n + b"\n" for n in entries), len(entries), key)
    exact, below = (np.array([masks[part] for masks in entries.values()], np.uint64) for part in (0, 1))
    write_names(path, key, 0, {}, hashes, exact, below)
    return path


def look_up(entries: Table, asked: bytes) -> int:
    """What the database must say of a host."""
    bare = asked.lower()
    for _ in range(HOST_LIMIT):
        bare = bare.removesuffix(b".")
    tail, found = bare[-HOST_LIMIT:], 0
    dots = [at for at in reversed(range(len(tail))) if tail[at : at + 1] == b"."]
    for at in dots[:LABEL_LIMIT]:
        found |= entries.get(tail[at + 1 :], (0, 0))[1]
    if len(bare) <= HOST_LIMIT and len(dots) < LABEL_LIMIT:
        exact, below = entries.get(bare, (0, 0))
        found |= exact | below
    return found


@settings(max_examples=60, deadline=None)
@given(table, st.lists(host, min_size=1, max_size=30))
def test_find_categories_is_the_dictionary(entries: Table, hosts: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        database = open_names(store(entries, Path(directory)))
        for asked in [*hosts, *entries, *(b"www." + n.upper() + b"." for n in entries)]:
            text = span(asked)
            with readable(text) as (at,):
                found = compiled(find_categories)(database.address, at, len(asked))
            assert found & (2**64 - 1) == look_up(entries, asked), asked
        database.close()


@pytest.mark.parametrize("count", [0, 1, 41, 42, 10_000])
def test_a_table_of_any_size_finds_its_names_and_no_others(count: int, tmp_path: Path) -> None:
    entries = {b"n%d.example" % number: (0, 1) for number in range(count)}
    database = open_names(store(entries, tmp_path))
    for number in range(count + 500):
        text = span(b"n%d.example" % number)
        with readable(text) as (at,):
            assert compiled(find_categories)(database.address, at, len(text)) == (number < count)
    database.close()


def test_the_key_changes_every_hash() -> None:
    first, second = (hash_names(b"bad.example.test\n", 1, os.urandom(16)) for _ in range(2))
    assert first[0] != second[0]


def test_hashes_are_well_mixed() -> None:
    text = b"".join(b"n%d.example\n" % number for number in range(20_000))
    hashes = hash_names(text, 20_000, os.urandom(16))
    for bit in range(64):
        ones = int((hashes >> np.uint64(bit) & np.uint64(1)).sum())
        assert abs(ones - 10_000) < 500, f"bit {bit}"  # 7 standard deviations
    assert len(np.unique(hashes)) == 20_000


def test_the_head_is_as_written(tmp_path: Path) -> None:
    database = open_names(store({b"a.b": (1, 2), b"c.b": (1, 2), b"d.b": (0, 2)}, tmp_path))
    assert database.word(names.NAME_COUNT) == 3
    assert database.word(names.SET_COUNT) == 3  # two, and the one that is never used
    assert database.path.read_bytes()[:8] == b"PENNAMS\1"
    database.close()


def ask(entries: Table, asked: bytes, directory: Path) -> int:
    """What the compiled look-up says of one host."""
    database, text = open_names(store(entries, directory)), span(asked)
    with readable(text) as (at,):
        found = compiled(find_categories)(database.address, at, len(asked))
    database.close()
    return int(found)


def test_capitals_are_small_letters_and_nothing_else_is(tmp_path: Path) -> None:
    letters = b"abcdefghijklmnopqrstuvwxyz0123456789-_.example"
    assert ask({letters: (0, 1)}, letters.upper(), tmp_path) == 1
    for capital in (b"@", b"["):
        assert ask({bytes([capital[0] + 32]): (0, 1)}, capital, tmp_path) == 0


def test_a_host_longer_than_a_name_has_parents_only(tmp_path: Path) -> None:
    longest = b"x" * HOST_LIMIT
    assert ask({longest: (1, 2)}, longest, tmp_path) == 3
    assert ask({longest: (1, 2)}, b"x" + longest, tmp_path) == 0
    assert ask({b"example": (1, 2)}, longest + b".example", tmp_path) == 2


def test_look_ups_are_bounded(tmp_path: Path) -> None:
    asked = b"b" + b"." * 200 + b"a"
    assert ask({b"." * (LABEL_LIMIT - 1) + b"a": (0, 1)}, asked, tmp_path) == 1
    assert ask({b"." * LABEL_LIMIT + b"a": (0, 1)}, asked, tmp_path) == 0
    assert ask({b"a": (0, 1)}, b"a" + b"." * HOST_LIMIT, tmp_path) == 1
    assert ask({b"a": (0, 1)}, b"a" + b"." * (HOST_LIMIT + 1), tmp_path) == 0

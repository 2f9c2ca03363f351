"""The compiled look-up against a reading of the lists in plain Python."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.control.lists.entries import Entry
from penstock.control.lists.names_file import Reach, hash_names
from penstock.policy import names
from penstock.policy.names import HOST_LIMIT, LABEL_LIMIT, find_categories, find_exceptions
from penstock.policy.snapshot import open_names

from .databases import Said, find_plainly, put, sign, store
from .worlds import compiled, readable, span

# Few labels, so that random hosts meet random lists; some lie at the limits.
label = st.sampled_from([b"a", b"b", b"ab", b"a-b", b"_x", b"com", b"9", b"x" * 63])
name = st.lists(label, min_size=1, max_size=6).map(b".".join).filter(lambda n: len(n) <= 253)
near = st.lists(st.sampled_from([b"a", b"b"]), min_size=1, max_size=4).map(b".".join)
category = st.sampled_from([0, 1, 63])
said = st.tuples(category, st.builds(Entry, name | near, st.sampled_from(Reach), st.booleans()))
odd = st.lists(label | st.just(b""), min_size=0, max_size=400).map(b".".join)
host = name | near | odd | st.binary(max_size=300)


@settings(max_examples=100, deadline=None)
@given(st.lists(said, max_size=40), st.lists(host, min_size=1, max_size=30))
def test_find_categories_is_the_plain_reading(entries: list[Said], hosts: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        database = open_names(store(entries, Path(directory)))
        listed = [entry.name for _, entry in entries]
        for asked in [*hosts, *listed, *(b"www." + n.upper() + b"." for n in listed)]:
            text = span(asked)
            with readable(text) as (at,):
                found = compiled(find_categories)(database.address, at, len(asked))
                out = compiled(find_exceptions)(database.address, at, len(asked))
            assert found == sign(find_plainly(entries, asked)), asked
            assert found & out == 0, asked
        database.close()


@pytest.mark.parametrize(
    ("entries", "host", "is_listed"),
    [
        ([put(b"bad.test"), put(b"good.bad.test", allowed=True)], b"www.good.bad.test", False),
        ([put(b"bad.test"), put(b"good.bad.test", allowed=True)], b"www.bad.test", True),
        ([put(b"bad.test", allowed=True), put(b"worse.bad.test")], b"www.worse.bad.test", True),
        ([put(b"bad.test"), put(b"bad.test", allowed=True)], b"bad.test", False),
        ([put(b"bad.test"), put(b"bad.test", reach=Reach.EXACT, allowed=True)], b"bad.test", False),
        ([put(b"bad.test"), put(b"bad.test", reach=Reach.EXACT, allowed=True)], b"www.bad.test", True),
        ([put(b"bad.test", reach=Reach.EXACT), put(b"bad.test", allowed=True)], b"bad.test", True),
        ([put(b"bad.test", reach=Reach.BELOW)], b"bad.test", False),
        ([put(b"bad.test", reach=Reach.BELOW)], b"www.bad.test", True),
        ([put(b"bad.test"), put(b"good.bad.test", category=1, allowed=True)], b"good.bad.test", True),
    ],
)
def test_the_nearest_entry_decides(entries: list[Said], host: bytes, is_listed: bool, tmp_path: Path) -> None:
    assert ask(entries, host, tmp_path) == is_listed


def test_what_a_host_is_taken_out_of(tmp_path: Path) -> None:
    database = open_names(store([put(b"bad.test"), put(b"good.bad.test", allowed=True)], tmp_path))
    for asked, out in ((b"good.bad.test", 1), (b"bad.test", 0), (b"other.test", 0)):
        text = span(asked)
        with readable(text) as (at,):
            assert compiled(find_exceptions)(database.address, at, len(asked)) == out
    database.close()


@pytest.mark.parametrize("count", [0, 1, 41, 42, 10_000])
def test_a_table_of_any_size_finds_its_names_and_no_others(count: int, tmp_path: Path) -> None:
    entries = [put(b"n%d.example" % number) for number in range(count)]
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
    paths = [put(b"a.b", path=b"/x"), put(b"a.b", path=b"/y")]
    database = open_names(store([put(b"a.b"), put(b"c.b"), put(b"d.b", category=1), *paths], tmp_path))
    assert database.word(names.NAME_COUNT) == 3
    assert database.word(names.URL_COUNT) == 3  # two, and the mark of their host
    assert database.word(names.SET_COUNT) == 4  # two, that of marks, and the one that is never used
    assert database.path.read_bytes()[:8] == b"PENNAMS\1"
    database.close()


def ask(entries: list[Said], asked: bytes, directory: Path) -> int:
    """What the compiled look-up says of one host."""
    database, text = open_names(store(entries, directory)), span(asked)
    with readable(text) as (at,):
        found = compiled(find_categories)(database.address, at, len(asked))
    database.close()
    return int(found)


def test_capitals_are_small_letters_and_nothing_else_is(tmp_path: Path) -> None:
    letters = b"abcdefghijklmnopqrstuvwxyz0123456789-_.example"
    assert ask([put(letters)], letters.upper(), tmp_path) == 1
    for capital in (b"@", b"["):
        assert ask([put(bytes([capital[0] + 32]))], capital, tmp_path) == 0


def test_a_host_longer_than_a_name_has_parents_only(tmp_path: Path) -> None:
    longest = b"x" * HOST_LIMIT
    both = [put(longest, reach=Reach.EXACT), put(longest, category=1)]
    assert ask(both, longest, tmp_path) == 3
    assert ask(both, b"x" + longest, tmp_path) == 0
    assert ask([put(b"example", category=1)], longest + b".example", tmp_path) == 2


def test_look_ups_are_bounded(tmp_path: Path) -> None:
    asked = b"b" + b"." * 200 + b"a"
    assert ask([put(b"." * (LABEL_LIMIT - 1) + b"a")], asked, tmp_path) == 1
    assert ask([put(b"." * LABEL_LIMIT + b"a")], asked, tmp_path) == 0
    assert ask([put(b"a")], b"a" + b"." * HOST_LIMIT, tmp_path) == 1
    assert ask([put(b"a")], b"a" + b"." * (HOST_LIMIT + 1), tmp_path) == 0

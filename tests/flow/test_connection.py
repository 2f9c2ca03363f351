"""Connections by ID: what is found, for how long, how many of a pair, and whose stores may be lent to another."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.compile.memory import CHECKED, allow, forbid, take_fault
from penstock.compile.native import kernel
from penstock.flow import connection as n
from penstock.flow import crypto
from penstock.kernel import tables as t
from tests.answer.buffers import lend

run_find, run_make, run_alias = kernel(n.find_connection), kernel(n.make_connection), kernel(n.set_alias)
run_at, run_newest, run_previous = kernel(n.entry_at), kernel(n.newest_of), kernel(n.previous_of)
run_crypto, run_take, run_enlarge = kernel(n.crypto_of), kernel(n.take_crypto), kernel(n.enlarge_crypto)
run_put, run_message = kernel(crypto.put_crypto), kernel(n.message_bytes)

Pair = tuple[int, int]
HERE: Pair = (1, 1)


class Table:
    """The memory of one worker's connections, and packets of address pairs."""

    def __init__(self) -> None:
        self.kept: list[np.ndarray] = []
        self.regions: list[int] = []
        self.words = self.room(n.CONNECTIONS_BYTES).view(np.int64)
        self.c = int(self.words.ctypes.data)
        self.packet = self.room(t.UP_KEY + t.KEY_BYTES)
        for slot, size in (
            (n.HEADS, 8 * n.HEAD_COUNT), (n.ENTRIES, n.CONNECTION_COUNT * n.ENTRY_BYTES),
            (n.STORES, n.STORE_COUNT * n.STORE_BYTES), (n.LARGES, n.LARGE_COUNT * n.LARGE_STRIDE),
            (n.SHARES, n.SHARE_COUNT * n.SHARE_BYTES),
        ):  # fmt: skip
            self.words[slot // 8] = self.room(size).ctypes.data
        self.words[n.SECRET // 8] = 0x1234567
        self.now_ms = 1_000_000
        self.owner = 0  # whose packets `of` makes: another's for each connection, unless `is_one_owner`
        self.is_one_owner = False

    def room(self, size: int) -> np.ndarray:
        made = np.zeros(size, np.uint8)
        self.kept.append(made)
        if CHECKED:
            self.regions.append(allow(made.ctypes.data, made.ctypes.data + size))
        return made

    def close(self) -> None:
        for region in self.regions:
            forbid(region)
        if CHECKED:
            assert take_fault() is None

    @property
    def now_ms(self) -> int:
        return int(self.words[n.NOW_MS // 8])

    @now_ms.setter
    def now_ms(self, value: int) -> None:
        self.words[n.NOW_MS // 8] = value

    def of(self, pair: Pair, port: int = 7) -> int:
        """A packet between two addresses."""
        key = self.packet[t.UP_KEY :]
        key[:32] = 0
        key[15], key[31], key[t.FLOW_PORTS] = *pair, port
        self.packet[t.UP_OWNER : t.UP_OWNER + 8].view(np.int64)[0] = self.owner
        return int(self.packet.ctypes.data)

    def make(self, cid: bytes, pair: Pair = HERE, scid: bytes = b"me", port: int = 7) -> int:
        self.owner += 0 if self.is_one_owner else 1
        with lend(cid, scid) as (dcid_at, scid_at):
            return int(run_make(self.c, self.of(pair, port), 1, dcid_at, len(cid), scid_at, len(scid)))

    def find(self, cid: bytes, pair: Pair = HERE) -> int:
        with lend(cid) as (cid_at,):
            return int(run_find(self.c, self.of(pair), cid_at, len(cid)))

    def alias(self, entry: int, cid: bytes) -> None:
        with lend(cid) as (cid_at,):
            run_alias(entry, cid_at, len(cid))

    def word(self, entry: int, slot: int) -> int:
        return int(self.place(entry)[slot : slot + 8].view(np.int64)[0])

    def set(self, entry: int, slot: int, value: int) -> None:
        self.place(entry)[slot : slot + 8].view(np.int64)[0] = value

    def place(self, address: int) -> np.ndarray:
        room = next(room for room in self.kept if room.ctypes.data <= address < room.ctypes.data + room.nbytes)
        return room[address - room.ctypes.data :]

    def put(self, store: int, offset: int, content: bytes) -> int:
        with lend(content) as (p,):
            return int(run_put(store, offset, p, len(content)))

    def full_store(self, entry: int, content: bytes = b"abc") -> int:
        store = int(run_take(self.c, entry))
        assert store
        assert self.put(store, 0, content) == crypto.STORED
        return store


@pytest.fixture
def table() -> Iterator[Table]:
    made = Table()
    yield made
    made.close()


def number(value: int) -> bytes:
    return value.to_bytes(8)


# ---- found and made ------------------------------------------------------------------------------------------------
pairs = st.tuples(st.integers(1, 2), st.integers(1, 2))
cids = st.sampled_from([b"", b"a", b"abcdefgh", b"abcdefgi", bytes(20), b"x" * 20])
acts = st.lists(
    st.tuples(st.sampled_from(["make", "make", "alias", "wait"]), pairs, cids, st.integers(0, 40_000)), max_size=25
)


@settings(max_examples=60, deadline=None)
@given(acts)
def test_a_table_is_a_list(steps: list[tuple[str, Pair, bytes, int]]) -> None:
    """The newest connection of a pair whose own or later ID it is, and that is not older than RETAIN_MS."""
    table, known = Table(), []
    for act, pair, cid, wait in steps:
        if act == "make":
            entry = table.make(cid, pair)
            assert table.word(entry, n.E_SERIAL) == len(known) + 1
            assert table.word(entry, n.E_STATE) == n.READING
            known.append([pair, cid, b"", table.now_ms, entry])
        elif act == "alias" and known:
            known[-1][2] = cid
            table.alias(known[-1][4], cid)
        elif act == "wait":
            table.now_ms += wait
        young = [line for line in known if table.now_ms - line[3] <= n.RETAIN_MS]
        for probe_pair in ((1, 1), (2, 1)):
            for probe in (b"", b"abcdefgh", b"a"):
                mine = [line for line in young if line[0] == probe_pair]
                found = [entry for _, own, later, _, entry in mine if own == probe or (probe and later == probe)]
                assert table.find(probe, probe_pair) == (found[-1] if found else 0)
    table.close()


def test_an_entry_says_what_it_was_made_of(table: Table) -> None:
    entry = table.make(b"server-1", (3, 4), b"client", 9)
    assert table.place(entry)[n.E_DCID : n.E_DCID + 8].tobytes() == b"server-1"
    assert table.place(entry)[n.E_SCID : n.E_SCID + 6].tobytes() == b"client"
    assert (table.word(entry, n.E_DCID_BYTES), table.word(entry, n.E_SCID_BYTES)) == (8, 6)
    assert table.word(entry, n.E_PORTS) == 9
    for slot in (n.E_STORE, n.E_LARGE, n.E_DONE, n.E_HELD, n.E_HELD_COUNT, n.E_TIMES, n.E_ALIAS_BYTES, n.E_EXPECTED):
        assert table.word(entry, slot) == 0


def test_a_pair_has_so_many(table: Table) -> None:
    """The last of PAIR_LIMIT look-ups is one too many; another pair and a later time have room."""
    for at in range(n.PAIR_LIMIT):
        assert table.find(b"wanted-1") == 0
        assert table.make(number(at))
    assert table.find(number(0)) != 0
    assert table.find(b"wanted-1") == -1
    assert table.find(b"wanted-1", (1, 2)) == 0
    table.now_ms += n.RETAIN_MS + 1
    assert table.find(b"wanted-1") == 0
    assert table.find(number(n.PAIR_LIMIT - 1)) == 0


def test_a_place_is_taken_only_when_it_is_old(table: Table) -> None:
    first = table.make(b"first-id")
    for at in range(n.CONNECTION_COUNT - 1):
        assert table.make(number(at), (2, 2))
    assert table.make(b"too-many") == 0
    assert table.word(table.c, n.NEXT_SERIAL) == n.CONNECTION_COUNT
    table.now_ms += n.LEAST_MS - 1
    assert table.make(b"too-many") == 0
    assert table.find(b"first-id") == first
    table.now_ms += 1
    assert table.make(b"allowed!", (5, 5)) == first
    assert table.word(first, n.E_SERIAL) == n.CONNECTION_COUNT + 1
    assert run_at(table.c, 1) == 0
    assert table.find(b"first-id") == 0
    assert run_newest(table.c, table.of(HERE)) == 0
    assert run_at(table.c, n.CONNECTION_COUNT + 1) == first


def test_nobody_takes_the_places_of_others(table: Table) -> None:
    table.is_one_owner, table.owner = True, 7
    taken = sum(1 for at in range(n.CONNECTION_COUNT) if table.make(number(at), (2, 2)))
    assert taken == n.SCARCE_COUNT, "as long as so many places are not in use, nobody is limited"
    table.owner = 8
    assert all(table.make(number(at), (3, 3)) for at in range(n.SHARE_LIMIT))
    assert table.make(b"too-many", (3, 3)) == 0
    table.now_ms += n.LEAST_MS + 1
    table.owner = 7
    assert table.make(b"allowed!", (2, 2)), "another ten seconds, another share"


def test_nobody_takes_the_stores_of_others(table: Table) -> None:
    table.is_one_owner, table.owner = True, 7
    for at in range(n.CONNECTION_COUNT):
        if entry := table.make(number(at), (at & 63, at >> 6 & 63)):
            assert run_take(table.c, entry) != 0
    table.owner = 8
    for at in range(n.SHARE_LIMIT):
        entry = table.make(number(at), (at & 63, 64 + (at >> 6)))
        assert run_take(table.c, entry) != 0
    table.owner = 9
    assert run_take(table.c, table.make(b"a-third", (70, 70))) != 0


def test_entries_of_a_pair_lead_back(table: Table) -> None:
    entries = [table.make(number(at)) for at in range(3)]
    assert run_newest(table.c, table.of(HERE)) == entries[2]
    assert run_previous(table.c, entries[2]) == entries[1]
    assert run_previous(table.c, entries[0]) == 0
    assert run_at(table.c, 0) == 0


# ---- stores --------------------------------------------------------------------------------------------------------
def test_stores_go_round_and_only_readers_keep_them(table: Table) -> None:
    reader, judged = table.make(b"reading1"), table.make(b"judged-1")
    table.full_store(reader)
    table.full_store(judged)
    table.set(judged, n.E_STATE, n.JUDGED)
    for at in range(n.STORE_COUNT - 2):
        other = table.make(number(at))
        assert run_take(table.c, other)
        table.set(other, n.E_STATE, n.JUDGED)
    assert run_crypto(table.c, judged) != 0
    last = table.make(b"the-last")
    assert run_take(table.c, last) != 0
    assert run_crypto(table.c, reader) != 0
    assert run_crypto(table.c, judged) == 0
    assert table.word(run_crypto(table.c, last), crypto.LAST) == 0


def test_no_store_where_all_that_are_tried_are_read(table: Table) -> None:
    for at in range(n.STORE_COUNT):
        entry = table.make(number(at), (at & 63, at >> 6 & 63))
        assert run_take(table.c, entry) != 0
    late = table.make(b"too-late", (70, 70))
    assert run_take(table.c, late) == 0
    assert run_crypto(table.c, late) == 0
    table.now_ms += n.HELLO_MS
    assert run_take(table.c, late) == 0
    table.now_ms += 1
    assert run_take(table.c, late) != 0


def test_a_large_store_is_had_once_and_can_be_lost(table: Table) -> None:
    content = bytes(range(200))
    entries = [table.make(number(at)) for at in range(n.LARGE_COUNT + 1)]
    stores = [table.full_store(entry, content) for entry in entries]
    for entry, store in zip(entries[:-1], stores, strict=False):
        assert run_enlarge(table.c, entry, store) == 1
        assert run_enlarge(table.c, entry, store) == 0
        assert table.put(store, 60_000, content) == crypto.STORED
        assert table.put(store, 0, content) == crypto.STORED
    assert run_enlarge(table.c, entries[-1], stores[-1]) == 0
    table.set(entries[3], n.E_STATE, n.REFUSED)
    assert run_crypto(table.c, entries[3]) == stores[3]
    assert run_enlarge(table.c, entries[-1], stores[-1]) == 1
    assert run_crypto(table.c, entries[3]) == 0
    assert run_crypto(table.c, entries[-1]) == stores[-1]
    assert table.put(stores[-1], 0, content) == crypto.STORED
    assert table.put(stores[-1], 0, b"\7" + content[1:]) == crypto.CONFLICT


@pytest.mark.parametrize(("done", "content", "size"), [(0, b"\1\0\0", 0), (0, b"\1\0\1\2", 262), (2, b"ab\1\0\0\0", 4),
                                                       (0, b"\1\xff\xff\xff", 0x1000003)])  # fmt: skip
def test_how_long_the_message_is(table: Table, done: int, content: bytes, size: int) -> None:
    entry = table.make(b"server-1")
    store = table.full_store(entry, content)
    table.set(entry, n.E_DONE, done)
    assert run_message(entry, store) == size

"""All of the store for the kernel's tables after a start: as arrays, and one by one who chose something or is a device.

No object of a row outlives its part. It does not know those tables, nor how a line is written there.
"""

import sqlite3
from collections.abc import Iterator
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from penstock.control.subscribers.devices import DEVICE_MARK, list_owners
from penstock.control.subscribers.effective import NameAction, is_in_trial
from penstock.control.subscribers.holding import Holding
from penstock.control.subscribers.place_key import unpack_places
from penstock.control.subscribers.schema import HAS_DEVICES, has_choices
from penstock.control.subscribers.store import read_meta, select
from penstock.control.subscribers.terms import Person, Terms
from penstock.control.subscribers.updates import Line
from penstock.control.subscribers.words import FAILS_CLOSED, PACKETS_PER_S, PAUSED, PROFILE, Words, read_words

PART = 16_384  # rows at a time
PEOPLE_PART = 512  # of those who are looked at one by one
NOTHING = -1
COLUMNS = 6

_LINES = f"""SELECT s.number, coalesce(p.value, c.profile, s.profile, {NOTHING}), coalesce(f.value, c.fails_closed, 0),
coalesce(r.value, c.packets_per_s, 0), coalesce(h.value, 0) > 0, s.id FROM subscribers s
LEFT JOIN configured c ON c.number = s.number
LEFT JOIN changes p ON p.number = s.number AND p.field = {PROFILE}
LEFT JOIN changes f ON f.number = s.number AND f.field = {FAILS_CLOSED}
LEFT JOIN changes r ON r.number = s.number AND r.field = {PACKETS_PER_S}
LEFT JOIN changes h ON h.number = s.number AND h.field = {PAUSED}"""
_MAY_BE_DEVICES = f"SELECT number, id FROM subscribers WHERE instr(id, '{DEVICE_MARK}')"


class PersonRow(NamedTuple):
    """A row of `subscribers`, and what was said of him."""

    number: int
    id: str
    profile: int | None
    words: Words


def read_places(connection: sqlite3.Connection) -> Iterator[tuple[NDArray[Any], NDArray[np.uint32]]]:
    """Every place (PLACE_DTYPE) and its number."""
    cursor = connection.execute("SELECT place, number FROM places")
    while rows := cursor.fetchmany(PART):
        keys, numbers = zip(*rows, strict=True)
        yield unpack_places(keys), np.array(numbers, np.uint32)


def read_lines(connection: sqlite3.Connection, terms: Terms, now_s: float) -> Iterator[tuple[Line, NDArray[np.uint32]]]:
    """A line and the numbers for which it holds."""
    names: dict[int, str | None] = dict(connection.execute("SELECT code, word FROM words"))
    names[NOTHING] = None
    trials = terms.trials
    alone = find_alone(connection)
    cursor = connection.execute(_LINES)
    while rows := cursor.fetchmany(PART):
        *columns, ids = zip(*rows, strict=True)
        columns.append(tuple(_number_trials(terms, trials, one) for one in ids) if trials else (0,) * len(ids))
        table = np.fromiter(chain.from_iterable(columns), np.int64, COLUMNS * len(rows)).reshape(COLUMNS, -1).T
        at = np.flatnonzero(~np.isin(table[:, 0], alone))
        table = table[at]
        kinds, first, of_kind = np.unique(table[:, 1:], axis=0, return_index=True, return_inverse=True)
        for index, (profile, fails_closed, packets_per_s, is_paused, _) in enumerate(kinds.tolist()):
            numbers = table[of_kind.reshape(-1) == index, 0].astype(np.uint32)
            name = ids[at[first[index]]]  # any of them: they are in the same trials
            yield terms.make_line(name, names[profile], fails_closed, packets_per_s, is_paused), numbers
    for number, holding in read_holdings(connection, terms, now_s):
        yield holding.line, np.array([number], np.uint32)


def read_names(connection: sqlite3.Connection, terms: Terms, now_s: float) -> Iterator[tuple[int, str, NameAction]]:
    """Every own name that holds now: whose, the name, and what he says of it."""
    for number, holding in read_holdings(connection, terms, now_s):
        for name, action in holding.names.items():
            yield number, name, action


def read_holdings(connection: sqlite3.Connection, terms: Terms, now_s: float) -> Iterator[tuple[int, Holding]]:
    """What holds for those who chose something, and for devices."""
    names: dict[int, str] = dict(connection.execute("SELECT code, word FROM words"))
    alone = find_alone(connection).tolist()
    query = "SELECT number, id, profile FROM subscribers WHERE number"
    for start in range(0, len(alone), PEOPLE_PART):
        rows = list(dict.fromkeys(select(connection, query, alone[start : start + PEOPLE_PART])))
        yield from (
            (people[-1].number, terms.judge([Person(*one[1:]) for one in people], names, now_s))
            for people in read_people(connection, rows)
        )


def read_people(connection: sqlite3.Connection, rows: list[tuple[int, str, int | None]]) -> Iterator[list[PersonRow]]:
    """Those of the rows (number, id, profile), each behind his owners."""
    wanted = {owner for _, name, _ in rows for owner in list_owners(name)}
    found = {row[1]: row for row in select(connection, "SELECT number, id, profile FROM subscribers WHERE id", wanted)}
    found |= {row[1]: row for row in rows}
    words = read_words(connection, {row[0] for row in found.values()}, has_choices(connection))
    for _, name, _ in rows:
        chain_of = [found[one] for one in (*list_owners(name), name) if one in found]
        yield [PersonRow(number, one, profile, words[number]) for number, one, profile in chain_of]


def find_alone(connection: sqlite3.Connection) -> NDArray[np.int64]:
    """The numbers of those who chose something, and of devices."""
    chose = connection.execute("SELECT number FROM choices") if has_choices(connection) else ()
    found = {row[0] for row in chose}
    if read_meta(connection, HAS_DEVICES):
        cursor = connection.execute(_MAY_BE_DEVICES)
        while rows := cursor.fetchmany(PART):
            wanted = {owner for _, name in rows for owner in list_owners(name)}
            known = {row[0] for row in select(connection, "SELECT id FROM subscribers WHERE id", wanted)}
            found |= {number for number, name in rows if not known.isdisjoint(list_owners(name))}
    return np.array(sorted(found), np.int64)


def _number_trials(terms: Terms, trials: list[str], name: str) -> int:
    """A bit for each trial in which somebody is."""
    return sum(is_in_trial(service, name, terms.shares[service]) << bit for bit, service in enumerate(trials))

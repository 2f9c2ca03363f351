"""All of the store as arrays, for the kernel's tables after a start: no object of a row outlives its part.

It does not know those tables, nor how a line is written there.
"""

import sqlite3
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penstock.control.subscribers.place_key import unpack_places
from penstock.control.subscribers.rows import FAILS_CLOSED, PACKETS_PER_S, PAUSED, PROFILE
from penstock.control.subscribers.terms import Terms
from penstock.control.subscribers.updates import Line

PART = 16_384  # rows at a time
NOTHING = -1

_LINES = f"""SELECT s.number, coalesce(p.value, c.profile, s.profile, {NOTHING}), coalesce(f.value, c.fails_closed, 0),
coalesce(r.value, c.packets_per_s, 0), coalesce(h.value, 0) > 0 FROM subscribers s
LEFT JOIN configured c ON c.number = s.number
LEFT JOIN changes p ON p.number = s.number AND p.field = {PROFILE}
LEFT JOIN changes f ON f.number = s.number AND f.field = {FAILS_CLOSED}
LEFT JOIN changes r ON r.number = s.number AND r.field = {PACKETS_PER_S}
LEFT JOIN changes h ON h.number = s.number AND h.field = {PAUSED}"""


def read_places(connection: sqlite3.Connection) -> Iterator[tuple[NDArray[Any], NDArray[np.uint32]]]:
    """Every place (PLACE_DTYPE) and its number."""
    cursor = connection.execute("SELECT place, number FROM places")
    while rows := cursor.fetchmany(PART):
        keys, numbers = zip(*rows, strict=True)
        yield unpack_places(keys), np.array(numbers, np.uint32)


def read_lines(connection: sqlite3.Connection, terms: Terms) -> Iterator[tuple[Line, NDArray[np.uint32]]]:
    """A line and the numbers for which it holds."""
    names: dict[int, str | None] = dict(connection.execute("SELECT code, word FROM words"))
    names[NOTHING] = None
    cursor = connection.execute(_LINES)
    while rows := cursor.fetchmany(PART):
        table = np.fromiter(chain.from_iterable(rows), np.int64, 5 * len(rows)).reshape(-1, 5)
        kinds, of_kind = np.unique(table[:, 1:], axis=0, return_inverse=True)
        for index, (profile, fails_closed, packets_per_s, is_paused) in enumerate(kinds.tolist()):
            numbers = table[of_kind.reshape(-1) == index, 0].astype(np.uint32)
            yield terms.make_line(names[profile], fails_closed, packets_per_s, is_paused), numbers

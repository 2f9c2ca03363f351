"""The store as its one writer sees it: transactions, look-ups of many rows by key, and the little that stays in memory.

It knows the tables of `schema`, and no rule: `register` decides, `rows` holds what a batch is about.
"""

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, get_args

from penstock.control.subscribers.model import Source
from penstock.control.subscribers.schema import HAS_DEVICES, explain_errors, open_writer

SOURCES: tuple[Source, ...] = get_args(Source)
SHAPE_LIMIT = 8
WHOLE_ADDRESS = (128, 0)
"""A shape that is looked up wherever blocks of ports are: packets in pieces have no ports."""
_WIDTHS = (1, 8, 64, 512)
_HASH_MASK = (1 << 63) - 1


@dataclass(slots=True)
class Nas:
    """A NAS, by its source. Sessions of it are over that were last spoken of before `restarted_ms`."""

    code: int
    restarted_ms: int
    is_over: bool
    """Rows of such sessions may be there still."""
    swept_row: int = 0
    """The row from which on."""


class Catalogue:
    """What all rows share: names by number, how many places of which shape there are, the next numbers."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """As it is in the store. Raises sqlite3.Error."""
        self._connection = connection
        self.nas: dict[tuple[int, str], Nas] = {}
        for code, source, name, restarted_ms, is_over in connection.execute("SELECT * FROM nas"):
            self.nas[source, name] = Nas(code, restarted_ms, bool(is_over))
        self.nas_by_code = {nas.code: nas for nas in self.nas.values()}
        self.words: dict[int, str] = dict(connection.execute("SELECT code, word FROM words"))
        self._codes = {word: code for code, word in self.words.items()}
        self.shapes = {
            (bits, port_bits): count for bits, port_bits, count in connection.execute("SELECT * FROM shapes")
        }
        self._saved = dict(self.shapes)
        self.next_session = 1 + (connection.execute("SELECT max(session) FROM sessions").fetchone()[0] or 0)
        highest = [connection.execute(f"SELECT max(number) FROM {table}") for table in ("subscribers", "freed")]
        self.next_number = 1 + max(cursor.fetchone()[0] or 0 for cursor in highest)
        self.has_claims = bool(connection.execute("SELECT EXISTS(SELECT 1 FROM claims)").fetchone()[0])
        self.has_choices = bool(connection.execute("SELECT EXISTS(SELECT 1 FROM choices)").fetchone()[0])
        self.has_devices = bool(read_meta(connection, HAS_DEVICES))

    def find_nas(self, source: Source, name: str) -> Nas:
        """The NAS of that name, made when nobody spoke of it before."""
        key = SOURCES.index(source), name
        found = self.nas.get(key)
        if found is None:
            cursor = self._connection.execute("INSERT INTO nas VALUES(NULL, ?, ?, 0, 0)", key)
            found = self.nas[key] = Nas(int(cursor.lastrowid or 0), 0, False)
            self.nas_by_code[found.code] = found
        return found

    def save_nas(self, nas: Nas) -> None:
        """Keep what was changed of a NAS."""
        changed = (nas.restarted_ms, nas.is_over, nas.code)
        self._connection.execute("UPDATE nas SET restarted_ms=?, is_over=? WHERE code=?", changed)

    def note_devices(self) -> None:
        """There is somebody who may be the device of another one."""
        if not self.has_devices:
            self.has_devices = True
            self._connection.execute("INSERT INTO meta VALUES(?, 1)", (HAS_DEVICES,))

    def find_code(self, word: str) -> int:
        """The number that stands for a word in rows."""
        code = self._codes.get(word)
        if code is None:
            cursor = self._connection.execute("INSERT INTO words VALUES(NULL, ?)", (word,))
            code = self._codes[word] = int(cursor.lastrowid or 0)
            self.words[code] = word
        return code

    @property
    def place_count(self) -> int:
        """Places in use."""
        return sum(self.shapes.values())

    def has_shape(self, shape: tuple[int, int]) -> bool:
        """Can places of this shape be looked up, beside those in use?"""
        if shape in self.shapes:
            return True
        used = {shape, *self.shapes}
        if any(port_bits for _, port_bits in used):
            used.add(WHOLE_ADDRESS)
        return len(used) <= SHAPE_LIMIT

    def count_shape(self, shape: tuple[int, int], more: int) -> None:
        """There are so many more places of a shape."""
        count = self.shapes.get(shape, 0) + more
        if count:
            self.shapes[shape] = count
        else:
            self.shapes.pop(shape, None)

    def save_shapes(self) -> None:
        """Keep the counts."""
        if self.shapes == self._saved:
            return
        rows = [(*shape, self.shapes.get(shape, 0)) for shape in {*self.shapes, *self._saved}]
        self._connection.executemany("REPLACE INTO shapes VALUES(?, ?, ?)", rows)
        self._connection.execute("DELETE FROM shapes WHERE count = 0")
        self._saved = dict(self.shapes)


class Store:
    """The file, open to write."""

    def __init__(self, path: Path) -> None:
        """Open it, or make it. Raises StoreError, with the cure."""
        self.path = path
        self.connection = open_writer(path)
        try:
            with explain_errors(path):
                self._secret: bytes = self.read_meta("secret")
                self._catalogue: Catalogue | None = None
                self._version = -1
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file; what was written is in it."""
        self.connection.close()

    @contextmanager
    def write(self) -> Iterator[Catalogue]:
        """A transaction: all of the block, or nothing. Raises StoreError; then nothing was changed."""
        with explain_errors(self.path):
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                # Another process may have written, before it left us the place.
                version = self.connection.execute("PRAGMA data_version").fetchone()[0]
                if self._catalogue is None or version != self._version:
                    self._catalogue, self._version = Catalogue(self.connection), version
                yield self._catalogue
                self._catalogue.save_shapes()
                self.connection.execute("COMMIT")
            except BaseException:
                self._catalogue = None
                if self.connection.in_transaction:  # a full disk has ended it already
                    self.connection.execute("ROLLBACK")
                raise

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """The connection, to read. Raises StoreError."""
        with explain_errors(self.path):
            yield self.connection

    def read_meta(self, name: str) -> Any:
        """A value of the store as a whole; None: not there."""
        return read_meta(self.connection, name)

    def hash_session(self, source: Source, session: str) -> int:
        """The number that stands for a session. Two of the same number would be taken for one: with two million sessions
        the odds are one in four million, and whoever chooses names does not know the secret."""
        word = blake2b(f"{source}\0{session}".encode(), digest_size=8, key=self._secret).digest()
        return int.from_bytes(word) & _HASH_MASK


def read_meta(connection: sqlite3.Connection, name: str) -> Any:
    """A value of the store as a whole; None: not there."""
    row = connection.execute("SELECT value FROM meta WHERE name=?", (name,)).fetchone()
    return row[0] if row else None


def select(connection: sqlite3.Connection, head: str, values: Collection[Any]) -> list[tuple[Any, ...]]:
    """Rows of `head`, which ends with the column that is to be one of `values`, however many.

    Statements have few widths, so that each is compiled once; SQLite looks the values up in their order.
    """
    rest, found = list(values), []
    while rest:
        width = next((width for width in _WIDTHS if width >= len(rest)), _WIDTHS[-1])
        part, rest = rest[:width], rest[width:]
        part += part[-1:] * (width - len(part))
        found += connection.execute(f"{head} IN ({','.join('?' * width)})", part).fetchall()
    return found

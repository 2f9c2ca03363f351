"""The tables of the store, and how the file is opened by its writer and its readers.

    subscribers  number -> id, the profile that a source named, when he was last heard of, whether he may be forgotten
    configured   number -> what the configuration says of him;   changes: number, field -> what a call said, and when
    choices      number -> what he chose (choices.py, JSON), when, and when it next comes to something else
    sessions     who, by which NAS, until when, and all of its places with the time of each (rows.py)
    places       place -> session and number; session 0: the configuration's
    claims       place -> number, since when the configuration names it: in force where nobody younger is
    nas, words   names that rows hold as numbers;   shapes: how many places have one;   freed: numbers, longest free first

Times are milliseconds since 1970, where rows expire and are forgotten seconds. A place is five to ten bytes (place_key),
a session's name a keyed hash of 64 bits: a million subscribers with two addresses each are a file of 200 MB. What is
looked up at random comes first in a key, what follows is in the order of arrival, so that a batch touches few pages.

WAL (https://sqlite.org/wal.html): readers see whole batches and never wait. With `synchronous=NORMAL` a batch outlives the
death of the process; a power cut may take the last ones, and never damages the file.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from penstock.control.subscribers.devices import DEVICE_MARK
from penstock.errors import PenstockError

VERSION = 2
CHOICES_SINCE = 2
HAS_DEVICES = "has_devices"  # somebody has an id with DEVICE_MARK
PAGE_BYTES = 1024  # a batch changes rows all over the file, and each takes its whole page into the log
CACHE_KB = 24_576
LOG_PAGES = 65_536  # of the log before it is copied into the file: rows that change again meanwhile are copied once
LOG_BYTES = LOG_PAGES * PAGE_BYTES  # what is left of it afterwards
WAIT_S = 5.0  # for another writer
STATEMENTS = 256

SCHEMA = """
CREATE TABLE meta(name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE words(code INTEGER PRIMARY KEY, word TEXT NOT NULL UNIQUE);
CREATE TABLE nas(code INTEGER PRIMARY KEY, source INTEGER NOT NULL, name TEXT NOT NULL, restarted_ms INTEGER NOT NULL,
    is_over INTEGER NOT NULL, UNIQUE(source, name));
CREATE TABLE subscribers(number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, profile INTEGER, profile_ms INTEGER,
    seen_s INTEGER NOT NULL, is_idle INTEGER NOT NULL);
CREATE INDEX idle ON subscribers(seen_s) WHERE is_idle;
CREATE TABLE configured(number INTEGER PRIMARY KEY, profile INTEGER NOT NULL, fails_closed INTEGER NOT NULL,
    packets_per_s INTEGER);
CREATE TABLE changes(number INTEGER NOT NULL, field INTEGER NOT NULL, value INTEGER NOT NULL, at_ms INTEGER NOT NULL,
    PRIMARY KEY(number, field)) WITHOUT ROWID;
CREATE INDEX paused ON changes(value) WHERE field = 3 AND value > 0;
CREATE TABLE sessions(session INTEGER PRIMARY KEY, hash INTEGER NOT NULL UNIQUE, number INTEGER, nas INTEGER,
    at_ms INTEGER NOT NULL, whole_ms INTEGER, released_ms INTEGER, released_until_s INTEGER, expires_s INTEGER,
    places BLOB NOT NULL);
CREATE INDEX sessions_number ON sessions(number) WHERE number IS NOT NULL;
CREATE INDEX sessions_nas ON sessions(nas) WHERE nas IS NOT NULL;
CREATE INDEX sessions_expires ON sessions(expires_s) WHERE expires_s IS NOT NULL;
CREATE TABLE places(place BLOB PRIMARY KEY, session INTEGER NOT NULL, number INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE claims(place BLOB PRIMARY KEY, number INTEGER NOT NULL, at_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX claims_number ON claims(number);
CREATE TABLE shapes(bits INTEGER NOT NULL, port_bits INTEGER NOT NULL, count INTEGER NOT NULL,
    PRIMARY KEY(bits, port_bits)) WITHOUT ROWID;
CREATE TABLE freed(turn INTEGER PRIMARY KEY, number INTEGER NOT NULL);
"""
CHOICES = """
CREATE TABLE choices(number INTEGER PRIMARY KEY, text TEXT NOT NULL, at_ms INTEGER NOT NULL, next_s INTEGER);
CREATE INDEX choices_next ON choices(next_s) WHERE next_s IS NOT NULL;
"""
# What brings a store of a version to the next one; terms are said anew by every start.
STEPS = {
    1: f"""{CHOICES}
DELETE FROM meta WHERE name='terms';
INSERT INTO meta SELECT '{HAS_DEVICES}', 1 WHERE EXISTS(SELECT 1 FROM subscribers WHERE instr(id, '{DEVICE_MARK}'));
"""
}


# Numbers are given out in turn, and who has none any more is among the freed: nobody need be counted one by one.
COUNT_SUBSCRIBERS = """SELECT max(coalesce((SELECT max(number) FROM subscribers), 0),
coalesce((SELECT max(number) FROM freed), 0)) - (SELECT count(*) FROM freed)"""
COUNT_PLACES = "SELECT total(count) FROM shapes"


class StoreError(PenstockError):
    """The store cannot be used; the text says why, and the cure."""


class StoreFullError(StoreError):
    """There is no room on the disk: the batch was not applied."""


class StoreBusyError(StoreError):
    """Another process writes for longer than WAIT_S: the batch was not applied."""


class StoreDamagedError(StoreError):
    """The file is not what was written."""


class DamagedRowError(Exception):
    """Rows that contradict each other, or one that cannot be read; `explain_errors` names the file."""


@contextmanager
def explain_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into those above."""
    try:
        yield
    except sqlite3.Error as error:
        raise _explain(path, error) from error
    except DamagedRowError as error:
        raise _say_damaged(path, str(error)) from error
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error


def _explain(path: Path, error: sqlite3.Error) -> StoreError:
    code = getattr(error, "sqlite_errorcode", 0)
    if code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return _say_damaged(path, str(error))
    if code & 0xFF == sqlite3.SQLITE_FULL or code in (
        sqlite3.SQLITE_IOERR_WRITE,
        sqlite3.SQLITE_IOERR_FSYNC,
        sqlite3.SQLITE_IOERR_SHMSIZE,
        sqlite3.SQLITE_IOERR_TRUNCATE,
    ):
        return StoreFullError(f"{path}: no room on the disk ({error}): make room; nothing was changed")
    if code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreBusyError(f"{path}: another process writes: is there a second `penstock run`?")
    return StoreError(f"{path}: {error}")


def _say_damaged(path: Path, detail: str) -> StoreDamagedError:
    """What to tell of a file that is not what was written."""
    return StoreDamagedError(
        f"{path}: this file is damaged ({detail}). Move it aside, with {path.name}-wal and {path.name}-shm, and start "
        "again: a new one begins with the configuration and the watched file, and knows who is connected when RADIUS "
        "says so again; what was set by calls is lost with it"
    )


def open_writer(path: Path) -> sqlite3.Connection:
    """The store to write to, made where there is none. Raises StoreError."""
    with explain_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():  # closing a descriptor of it gives up the locks of this process's other connections
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        os.chmod(path, 0o600)  # -wal and -shm take it over
        connection = _connect(path, "rwc")
        try:
            connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
            if connection.execute("PRAGMA journal_mode=WAL").fetchone()[0] != "wal":
                raise StoreError(f"{path}: this file system cannot map files: choose another for `register.database`")
            for setting in (
                "synchronous=NORMAL",
                f"cache_size=-{CACHE_KB}",
                f"wal_autocheckpoint={LOG_PAGES}",
                f"journal_size_limit={LOG_BYTES}",
            ):
                connection.execute(f"PRAGMA {setting}")
            _make_tables(path, connection)
        except BaseException:
            connection.close()
            raise
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """The store to read. Raises StoreError, also where there is none."""
    if not path.exists():
        raise StoreError(f"{path}: nobody is registered: `penstock run` makes this file")
    with explain_errors(path):
        connection = _connect(path, "ro")
        try:
            _check_version(path, connection)
        except BaseException:
            connection.close()
            raise
    return connection


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        timeout=WAIT_S,
        cached_statements=STATEMENTS,
    )


def _make_tables(path: Path, connection: sqlite3.Connection) -> None:
    if _check_version(path, connection) == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            _execute_all(connection, SCHEMA + CHOICES)
            connection.execute("INSERT INTO meta VALUES('secret', ?)", (os.urandom(16),))
        for step in range(version or VERSION, VERSION):
            _execute_all(connection, STEPS[step])
        connection.execute(f"PRAGMA user_version={VERSION}")


def _execute_all(connection: sqlite3.Connection, statements: str) -> None:
    for statement in statements.split(";\n"):
        connection.execute(statement)


def has_choices(connection: sqlite3.Connection) -> bool:
    """Is there the table? A store that an older version's process still writes has none."""
    return bool(connection.execute("PRAGMA user_version").fetchone()[0] >= CHOICES_SINCE)


def _check_version(path: Path, connection: sqlite3.Connection) -> int:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if version > VERSION:
        raise StoreError(
            f"{path}: version {version} of the store, and this Penstock knows {VERSION}: it was written by a newer one; "
            "go back to that, or move the file aside"
        )
    if version == 0 and tables:
        raise StoreError(f"{path}: this is another program's database: choose another for `register.database`")
    return version

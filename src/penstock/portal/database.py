"""The portal's own files: SQLite in WAL mode, one connection that writes behind a lock, made where there is none.

    portal.db    tokens, sessions of pages, the audit        journal.db    events

A program of this machine may write beside the process (`penstock token create`), and reads never wait. What is deleted is
overwritten. It does not know what is in the tables.
"""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from penstock.errors import PenstockError

WAIT_S = 5.0  # for another program that writes
FULL = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_FSYNC,
    sqlite3.SQLITE_IOERR_SHMSIZE,
    sqlite3.SQLITE_IOERR_TRUNCATE,
)


class DatabaseError(PenstockError):
    """The file cannot be used; the text says why, and the cure. Nothing was changed."""


class Database:
    """One file. `schema`: statements that make its tables; `version`: theirs."""

    def __init__(self, path: Path, schema: str, version: int = 1) -> None:
        """Raises DatabaseError."""
        self.path = path
        self._lock = threading.Lock()
        with self._explain():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not path.exists():
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            os.chmod(path, 0o600)  # -wal and -shm take it over
            self._connection = sqlite3.connect(path, WAIT_S, isolation_level=None, check_same_thread=False)
            try:
                self._open(schema, version)
            except BaseException:
                self._connection.close()
                raise

    def _open(self, schema: str, version: int) -> None:
        execute = self._connection.execute
        if execute("PRAGMA journal_mode=WAL").fetchone()[0] != "wal":
            raise DatabaseError(f"{self.path}: this file system cannot map files: choose another for `api`")
        for setting in ("synchronous=NORMAL", "secure_delete=ON", "journal_size_limit=16777216", "foreign_keys=ON"):
            execute(f"PRAGMA {setting}")
        found = execute("PRAGMA user_version").fetchone()[0]
        if found > version or (not found and execute("SELECT count(*) FROM sqlite_master").fetchone()[0]):
            raise DatabaseError(f"{self.path}: a newer Penstock wrote this file, or another program: move it aside")
        if not found:
            execute("BEGIN IMMEDIATE")
            with self._connection:
                if not execute("PRAGMA user_version").fetchone()[0]:  # nobody was faster
                    for statement in schema.split(";\n"):
                        execute(statement)
                    execute(f"PRAGMA user_version={version}")

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of the block, or nothing. Raises DatabaseError."""
        with self._lock, self._explain():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # a full disk has ended it already
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """One view of the file for all statements of the block. Raises DatabaseError."""
        with self._explain():
            connection = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode=ro", WAIT_S, uri=True, isolation_level=None
            )
            try:
                connection.execute("BEGIN")
                yield connection
            finally:
                connection.close()

    @contextmanager
    def look(self) -> Iterator[sqlite3.Connection]:
        """For one short question: the connection that writes, which is open."""
        with self._lock, self._explain():
            yield self._connection

    def forget_log(self) -> None:
        """Have the log behind the file hold nothing any more of what was deleted, as far as nobody reads it."""
        with self._lock, self._explain():
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _explain(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0)
            if code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise DatabaseError(f"{self.path}: this file is damaged ({error}): move it aside") from error
            if code & 0xFF == sqlite3.SQLITE_FULL or code in FULL:
                raise DatabaseError(f"{self.path}: no room on the disk: make room; nothing was changed") from error
            raise DatabaseError(f"{self.path}: {error}") from error
        except OSError as error:
            raise DatabaseError(f"{self.path}: {error.strerror}") from error

"""Who changed or looked at what. A row is written before it is done, so that nothing is done without one; its status after.

It does not know what is written down (`roles`).
"""

from dataclasses import dataclass
from sqlite3 import Connection
from typing import Any

from penstock.portal.database import Database

DAY_S = 86_400.0
FIELDS = "entry, at_s, token, name, role, address, operation, method, path, subscriber, status"
DELETED_AT_ONCE = 10_000
ROW_LIMIT = 1_000_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One row."""

    id: int
    at_s: float
    token: int | None
    name: str | None
    role: str | None
    address: str
    operation: str
    method: str
    path: str
    subscriber: str | None
    status: int | None
    """None: it was begun, and nobody lived to tell what became of it."""


class Audit:
    """The audit of a portal."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, at_s: float, token: int | None, **fields: Any) -> int:
        """Write down what is about to be done: the row's number. Raises DatabaseError; then it must not be done."""
        row = {"at_s": at_s, "token": token, **fields}
        with self._database.write() as connection:
            query = f"INSERT INTO audit({', '.join(row)}) VALUES({', '.join('?' * len(row))})"
            return connection.execute(query, tuple(row.values())).lastrowid or 0

    def end(self, entry: int, status: int) -> None:
        """Write down what became of it. Raises DatabaseError."""
        with self._database.write() as connection:
            connection.execute("UPDATE audit SET status=? WHERE entry=?", (status, entry))

    def list_entries(self, before: int | None, limit: int, subscriber: str | None) -> list[Entry]:
        """The latest entries, those before an entry, of one subscriber or of all."""
        query, values = f"SELECT {FIELDS} FROM audit WHERE entry < ?", [before if before is not None else 1 << 62]
        with self._database.read() as connection:
            if subscriber is not None:
                rows = connection.execute(
                    f"{query} AND subscriber = ? ORDER BY entry DESC LIMIT ?", (*values, subscriber, limit)
                )
            else:
                rows = connection.execute(f"{query} ORDER BY entry DESC LIMIT ?", (*values, limit))
            return [Entry(*row) for row in rows]

    def name_subscriber(self, entry: int, subscriber: str) -> None:
        """Write down whom it turned out to concern. Raises DatabaseError; then he must not be shown."""
        with self._database.write() as connection:
            connection.execute("UPDATE audit SET subscriber=? WHERE entry=?", (subscriber, entry))

    def forget(self, now_s: float, keep_days: int, row_limit: int = ROW_LIMIT) -> bool:
        """Delete what is older; of too many rows the oldest of the token that has most, so that whoever fills the audit
        pushes nobody else's out. True when there may be more to delete. Raises DatabaseError.
        """
        query = "DELETE FROM audit WHERE entry IN (SELECT entry FROM audit WHERE at_s < ? ORDER BY at_s LIMIT ?)"
        with self._database.write() as connection:
            old = connection.execute(query, (now_s - keep_days * DAY_S, DELETED_AT_ONCE)).rowcount
            many = self._forget_loudest(connection, row_limit)
        return old == DELETED_AT_ONCE or many > 0

    def _forget_loudest(self, connection: Connection, row_limit: int) -> int:
        first, last = connection.execute("SELECT min(entry), max(entry) FROM audit").fetchone()
        if last is None or last - first < row_limit:
            return 0
        counts = connection.execute("SELECT token, count(*) FROM audit GROUP BY token ORDER BY 2 DESC").fetchall()
        missing = sum(count for _, count in counts) - row_limit
        if missing <= 0:
            return 0
        second = counts[1][1] if len(counts) > 1 else 0
        count = min(missing, DELETED_AT_ONCE, max(counts[0][1] - second, 1))
        query = "DELETE FROM audit WHERE entry IN (SELECT entry FROM audit WHERE token IS ? ORDER BY entry LIMIT ?)"
        return connection.execute(query, (counts[0][0], count)).rowcount

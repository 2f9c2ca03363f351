"""Who changed or looked at what. A row is written before it is done, so that nothing is done without one; its status after.

It does not know what is written down (`roles`).
"""

from dataclasses import dataclass
from typing import Any

from penstock.portal.database import Database

DAY_S = 86_400.0
FIELDS = "entry, at_s, name, role, address, operation, method, path, subscriber, status"
DELETED_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One row."""

    id: int
    at_s: float
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

    def forget(self, now_s: float, keep_days: int) -> bool:
        """Delete what is older; True when there may be more."""
        query = "DELETE FROM audit WHERE entry IN (SELECT entry FROM audit WHERE at_s < ? ORDER BY at_s LIMIT ?)"
        with self._database.write() as connection:
            old = connection.execute(query, (now_s - keep_days * DAY_S, DELETED_AT_ONCE)).rowcount
        return old == DELETED_AT_ONCE

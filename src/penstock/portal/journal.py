"""The journal: refused, reported and exceptional requests, for as long as names may be kept, and no longer.

Rows come from the control process in batches and go by their age, by their number, and for good (`secure_delete`). On a
full disk rows are lost and counted. It does not know who may read them.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from penstock.portal.database import Database, DatabaseError

SCHEMA = """
CREATE TABLE events(event INTEGER PRIMARY KEY AUTOINCREMENT, at_s REAL NOT NULL, subscriber TEXT, proto TEXT, host TEXT,
    action TEXT, reason TEXT, category TEXT, service TEXT, flow TEXT, answer TEXT, hook TEXT, detail TEXT,
    src_ip TEXT, src_port INTEGER, dest_ip TEXT, dest_port INTEGER);
CREATE INDEX events_time ON events(at_s);
CREATE INDEX events_subscriber ON events(subscriber)"""

TEXTS = ("subscriber", "proto", "host", "action", "reason", "category", "service", "flow", "answer", "hook", "detail")
FIELDS = ("at_s", *TEXTS, "src_ip", "src_port", "dest_ip", "dest_port")
QUERY = f"SELECT event, {', '.join(FIELDS)} FROM events"
DAY_S = 86_400.0
DELETED_AT_ONCE = 5_000
TEXT_LIMIT = 512
REFUSED = "answer IS NOT NULL AND reason != 'rewritten'"


@dataclass(frozen=True, slots=True)
class Row:
    """One event."""

    id: int
    at_s: float
    subscriber: str | None
    proto: str | None
    host: str | None
    action: str | None
    reason: str | None
    category: str | None
    service: str | None
    flow: str | None
    answer: str | None
    hook: str | None
    detail: str | None
    src_ip: str | None
    src_port: int | None
    dest_ip: str | None
    dest_port: int | None


@dataclass(frozen=True, slots=True)
class Refusals:
    """What was refused to a subscriber, counted."""

    by_day: list[tuple[int, str | None, int]]
    """Day (from 0), category, how often."""
    hosts: list[tuple[str, str | None, int, float]]
    """The most refused first: host, the category of the last time, how often, when last."""


def read_event(fields: Any) -> tuple[Any, ...] | None:
    """The row of an event's line; None for what is no request.

    What events say comes from the packet process in the end, which may have been taken over: no text of theirs is one
    that cannot be kept, and no time is later than now, or it would be kept for longer than anything may be. Raises
    ValueError, KeyError, TypeError.
    """
    if not isinstance(fields, dict):
        raise TypeError("no event")
    if "action" not in fields:
        return None
    at_s = datetime.strptime(fields["timestamp"], "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()
    named = {**fields, "flow": fields.get("id")}
    texts = (_read_text(named.get(name)) for name in TEXTS)
    ends = [(_read_text(fields.get(f"{end}_ip")), _read_port(fields.get(f"{end}_port"))) for end in ("src", "dest")]
    return (min(at_s, now_s()), *texts, *ends[0], *ends[1])


def _read_text(said: Any) -> str | None:
    if said is None:
        return None
    if isinstance(said, (dict, list)):
        raise TypeError("no text")
    return str(said)[:TEXT_LIMIT].encode("utf-8", "backslashreplace").decode()[:TEXT_LIMIT]


def _read_port(said: Any) -> int | None:
    if said is None:
        return None
    if type(said) is not int or not 0 <= said <= 65_535:
        raise ValueError("no port")
    return said


class Journal:
    """The journal of a portal."""

    def __init__(self, path: Path) -> None:
        """Raises DatabaseError."""
        self._database = Database(path, SCHEMA)
        self.also_tell: Callable[[list[Row]], None] = lambda rows: None
        self.lost = 0
        """Events that could not be written down."""

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    # ---- writing ------------------------------------------------------------------------------------------------------
    def write_lines(self, lines: list[bytes]) -> None:
        """Write events down. What cannot be is lost and counted."""
        rows = []
        for line in lines:
            try:
                row = read_event(json.loads(line))
            except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
                self.lost += 1
                continue
            if row is not None:
                rows.append(row)
        try:
            with self._database.write() as connection:
                query = f"INSERT INTO events({', '.join(FIELDS)}) VALUES({', '.join('?' * len(FIELDS))})"
                connection.executemany(query, rows)
        except DatabaseError:
            self.lost += len(rows)
        self.also_tell([Row(0, *row) for row in rows])

    def forget(self, now_s: float, keep_days: int, row_limit: int) -> bool:
        """Delete what is too old, and the oldest of what is too much; True when there may be more to delete.

        Raises DatabaseError.
        """
        with self._database.write() as connection:
            query = "DELETE FROM events WHERE event IN (SELECT event FROM events WHERE at_s < ? ORDER BY at_s LIMIT ?)"
            old = connection.execute(query, (now_s - keep_days * DAY_S, DELETED_AT_ONCE)).rowcount
            last = connection.execute("SELECT max(event) FROM events").fetchone()[0] or 0
            query = (
                "DELETE FROM events WHERE event IN (SELECT event FROM events WHERE event <= ? ORDER BY event LIMIT ?)"
            )
            many = connection.execute(query, (last - row_limit, DELETED_AT_ONCE)).rowcount
        if old or many:
            self._database.forget_log()
        return DELETED_AT_ONCE in (old, many)

    # ---- reading ------------------------------------------------------------------------------------------------------
    def list_rows(self, subscriber: str | None, before: int | None, limit: int, action: str | None = None) -> list[Row]:
        """The latest events, or those before one, of one subscriber or of all."""
        conditions, values = ["event < ?"], [before if before is not None else 1 << 62]
        for name, value in (("subscriber", subscriber), ("action", action)):
            if value is not None:
                conditions.append(f"{name} = ?")
                values.append(value)  # type: ignore[arg-type]
        query = f"{QUERY} WHERE {' AND '.join(conditions)} ORDER BY event DESC LIMIT ?"
        with self._database.read() as connection:
            return [Row(*row) for row in connection.execute(query, (*values, limit))]

    def count_refusals(self, subscriber: str, bounds_s: Sequence[float], host_limit: int) -> Refusals:
        """What was refused to a subscriber from the first of some moments to the last, by the days between them.

        It is counted in the file: a program that asks without end makes a million rows.
        """
        range_s = (subscriber, bounds_s[0], bounds_s[-1])
        condition = f"subscriber = ? AND at_s >= ? AND at_s < ? AND {REFUSED}"
        day = " ".join(f"WHEN at_s < ? THEN {number}" for number in range(len(bounds_s) - 1))
        days = f"SELECT CASE {day} END AS day, category, count(*) FROM events WHERE {condition} GROUP BY day, category"
        hosts = f"""SELECT host, category, count(*), max(at_s) FROM events WHERE {condition} AND host IS NOT NULL
            GROUP BY host ORDER BY 3 DESC, 1 LIMIT ?"""  # a bare column is of the row with the maximum (lang_select, 2.5)
        with self._database.read() as connection:
            return Refusals(
                connection.execute(days, (*bounds_s[1:], *range_s)).fetchall(),
                connection.execute(hosts, (*range_s, host_limit)).fetchall(),
            )

    def read_between(self, from_s: float, to_s: float) -> Iterator[Row]:
        """All events of a span of time."""
        with self._database.read() as connection:
            for row in connection.execute(f"{QUERY} WHERE at_s >= ? AND at_s < ? ORDER BY event", (from_s, to_s)):
                yield Row(*row)

    def describe(self) -> dict[str, Any]:
        """How much there is, and since when."""
        with self._database.read() as connection:
            first, last, oldest_s = connection.execute(
                "SELECT (SELECT min(event) FROM events), (SELECT max(event) FROM events), (SELECT min(at_s) FROM events)"
            ).fetchone()
        rows = last - first + 1 if last is not None else 0
        return {"rows": rows, "oldest_s": oldest_s, "lost": self.lost}


def stamp_time(at_s: float) -> datetime:
    """A time for people and programs: UTC."""
    return datetime.fromtimestamp(at_s, UTC)


def now_s() -> float:
    """Seconds since 1970."""
    return time.time()

"""The journal: what is kept of events, for how long, how many; a disk that is full; a week; an export."""

import json
import sqlite3
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from penstock.portal.command import parse_moment, pseudonymise
from penstock.portal.database import DatabaseError
from penstock.portal.journal import DELETED_AT_ONCE, Journal, now_s
from penstock.portal.routes_events import build_week
from penstock.portal.routing import PREFIX
from tests.portal.scene import Scene

NOW_S = 1_764_000_000.0


def write_event(at_s: float = NOW_S, **fields: Any) -> bytes:
    """A line as the control process hands it over."""
    known: dict[str, Any] = {
        "timestamp": datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f+0000"),
        "id": "0123456789abcdef",
        "proto": "tls",
        "src_ip": "10.0.0.1",
        "src_port": 40000,
        "dest_ip": "192.0.2.1",
        "dest_port": 443,
        "host": "bad.example",
        "subscriber": "home",
        "action": "block",
        "reason": "blocked",
        "category": "phishing",
        "service": "web",
        "answer": "alert",
    }
    return json.dumps(known | fields).encode()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with closing(Journal(tmp_path / "journal.db")) as made:
        yield made


def test_rows_are_what_events_say(journal: Journal) -> None:
    journal.write_lines([write_event(), write_event(subscriber="office", host=None, qtype="A", hook="exam")])
    second, first = journal.list_rows(None, None, 10)
    assert (first.at_s, first.subscriber, first.host, first.flow) == (NOW_S, "home", "bad.example", "0123456789abcdef")
    assert (second.subscriber, second.host, second.hook) == ("office", None, "exam")
    assert [row.id for row in journal.list_rows("home", None, 10)] == [first.id]
    assert journal.list_rows(None, second.id, 10) == [first]
    assert journal.list_rows(None, None, 10, "empty") == []


NO_EVENTS = [
    b"",
    b"[]",
    b"{",
    b'{"action": 1}',
    b'{"action": "x", "timestamp": 5}',
    b"\xff",
    b"[" * 50_000,
    write_event(src_port=1 << 70),
    write_event(src_port=-1),
    write_event(dest_port="443"),
    write_event(dest_port=1.5),
    write_event(src_ip={"x": 1}),
    write_event(dest_ip=["x"]),
]


@pytest.mark.parametrize("line", NO_EVENTS, ids=lambda line: line[-30:].decode("ascii", "replace"))
def test_what_is_no_event_is_lost_and_counted(journal: Journal, line: bytes) -> None:
    journal.write_lines([line, write_event()])
    assert journal.lost == 1
    assert len(journal.list_rows(None, None, 10)) == 1


@pytest.mark.parametrize(
    "host", ["\ud800.example", "\x00\x1b[31m.example", "\u202egnp.example", "<script>", "x" * 90_000]
)
def test_any_text_may_be_a_host(journal: Journal, host: str) -> None:
    journal.write_lines([write_event(host=host), write_event(host=host, subscriber="\udfff")])
    assert journal.lost == 0
    assert all(row.host and len(row.host) <= 512 for row in journal.list_rows(None, None, 10))
    assert json.dumps([pseudonymise(row, b"key") for row in journal.list_rows(None, None, 10)]).isascii()


def test_who_says_another_time_keeps_nothing_for_longer(journal: Journal) -> None:
    """Times are the packet process's, which may have been taken over."""
    journal.write_lines([write_event(now_s() + 3650 * 86_400), write_event(NOW_S)])
    assert max(row.at_s for row in journal.list_rows(None, None, 10)) <= now_s() + 60
    assert not journal.forget(now_s() + 8 * 86_400, 7, 10**6)
    assert journal.list_rows(None, None, 10) == []


def test_an_event_of_a_cause_is_no_request(journal: Journal) -> None:
    journal.write_lines([b'{"event": "exception", "cause": "gap"}'])
    assert (journal.lost, journal.list_rows(None, None, 10)) == (0, [])


def test_what_is_too_old_is_gone_for_good(tmp_path: Path, journal: Journal) -> None:
    day_s = 86_400
    old = [write_event(NOW_S - 8 * day_s, host=f"secret-{n}.example") for n in range(20)]
    journal.write_lines([*old, write_event(NOW_S - 6 * day_s)])
    assert b"secret-7.example" in b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert not journal.forget(NOW_S, 7, 1000)
    assert [row.host for row in journal.list_rows(None, None, 100)] == ["bad.example"]
    assert b"secret-" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


def test_a_file_of_before_is_cleared_in_parts(journal: Journal) -> None:
    journal.write_lines([write_event(NOW_S - 9e6)] * (DELETED_AT_ONCE + 10))
    assert journal.forget(NOW_S, 7, 10**6)
    assert not journal.forget(NOW_S, 7, 10**6)
    assert journal.describe() == {"rows": 0, "oldest_s": None, "lost": 0}


def test_of_too_many_the_oldest_go(journal: Journal) -> None:
    journal.write_lines([write_event(host=f"{number}.example") for number in range(30)])
    journal.forget(NOW_S, 7, 10)
    assert [row.host for row in journal.list_rows(None, None, 100)] == [
        f"{number}.example" for number in range(29, 19, -1)
    ]
    assert journal.describe()["rows"] == 10


def test_on_a_full_disk_rows_are_lost_and_counted(journal: Journal) -> None:
    journal.write_lines([write_event()])
    with journal._database.look() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages}")
    journal.write_lines([write_event(host="x" * 400) for _ in range(500)])
    assert journal.lost == 500
    with journal._database.look() as connection:
        connection.execute("PRAGMA max_page_count=1000000")
    journal.write_lines([write_event()])
    assert len(journal.list_rows(None, None, 10)) == 2


def test_a_file_of_another_program_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE things(x)")
    with pytest.raises(DatabaseError, match="move it aside"):
        Journal(path)
    path.write_bytes(b"nothing like it" * 1000)
    with pytest.raises(DatabaseError, match="damaged"):
        Journal(path)


# ---- the week ---------------------------------------------------------------------------------------------------------
def test_a_week_counts_days_by_the_clock_of_the_subscriber(journal: Journal) -> None:
    zone = ZoneInfo("Europe/Madrid")

    def refuse(text: str, host: str, category: str | None, **fields: Any) -> bytes:
        return write_event(datetime.fromisoformat(text).timestamp(), host=host, category=category, **fields)

    journal.write_lines(
        [
            refuse("2024-10-27T23:30:00+00:00", "bad.example", "phishing"),  # the 28th there, behind the clock change
            refuse("2024-10-27T00:30:00+02:00", "bad.example", "gambling"),
            refuse("2024-10-27T23:30:00+01:00", "own.example", None),
            refuse("2024-10-27T23:30:00+01:00", "else.example", None, subscriber="office"),
            refuse("2024-10-27T23:30:00+01:00", "told.example", "phishing", answer=None),
            refuse("2024-10-27T23:30:00+01:00", "rewritten.example", None, reason="rewritten"),
            refuse("2024-10-21T23:30:00+02:00", "late.example", "phishing"),  # the day before the first
        ]
    )
    week = build_week(journal, "home", date(2024, 10, 22), zone, 7)
    assert [day.total for day in week.days] == [0, 0, 0, 0, 0, 2, 1]
    assert week.days[5].categories == {"gambling": 1, "other": 1}
    assert week.days[6].categories == {"phishing": 1}
    assert sorted(week.categories) == ["gambling", "other", "phishing"]
    assert [(one.host, one.count) for one in week.hosts] == [("bad.example", 2), ("own.example", 1)]
    assert week.hosts[0].category == "phishing", "the last one's"


def test_a_week_of_a_program_that_asks_without_end_is_counted_where_it_lies(journal: Journal) -> None:
    lines = [write_event(NOW_S + number, host=f"{number}.example") for number in range(20_000)]
    journal.write_lines(lines)
    first = datetime.fromtimestamp(NOW_S, UTC).date()
    tracemalloc.start()
    try:
        week = build_week(journal, "home", first, ZoneInfo("UTC"), 7)
        assert tracemalloc.get_traced_memory()[1] < 200_000
    finally:
        tracemalloc.stop()
    assert sum(day.total for day in week.days) == 20_000
    assert len(week.hosts) == 20


def test_events_and_week_over_http(scene: Scene) -> None:
    lines = [write_event(now_s() - 60, host=f"{n % 3}.example") for n in range(6)]
    scene.portal.journal.write_lines(
        [
            *lines,
            write_event(now_s(), action="report", reason="reported", answer=None),
            write_event(subscriber="office"),
        ]
    )
    first = scene.call("GET", f"{PREFIX}/subscribers/home/events", params={"limit": 4}).json()
    assert len(first["events"]) == 4
    assert first["events"][0]["action"] == "report"
    rest = scene.call("GET", f"{PREFIX}/subscribers/home/events", params={"before": first["next_before"]}).json()
    assert len(rest["events"]) == 3
    assert rest["next_before"] is None
    week = scene.call("GET", f"{PREFIX}/subscribers/home/week", "selfcare").json()
    assert week["days"][-1]["total"] + week["days"][-2]["total"] == 6
    assert [one["count"] for one in week["hosts"]] == [2, 2, 2]
    assert {one["subscriber"] for one in scene.call("GET", f"{PREFIX}/events").json()["events"]} == {"home", "office"}


# ---- the export -------------------------------------------------------------------------------------------------------
def test_an_export_has_pseudonyms_and_no_addresses(journal: Journal) -> None:
    journal.write_lines([write_event(), write_event(subscriber="office"), write_event()])
    rows = list(journal.read_between(NOW_S, NOW_S + 1))
    told = [pseudonymise(row, b"key") for row in rows]
    assert told[0] == told[2]
    assert told[0]["subscriber"] != told[1]["subscriber"]
    assert told[0]["host"] == "bad.example"
    text = json.dumps(told)
    for secret in ("home", "office", "10.0.0.1", "192.0.2.1", "40000", "0123456789abcdef"):
        assert secret not in text
    assert pseudonymise(rows[0], b"another") != told[0]
    assert list(journal.read_between(NOW_S + 1, NOW_S + 2)) == []


def test_moments() -> None:
    assert parse_moment("1970-01-02") == 86_400
    assert parse_moment("1970-01-02T00:00:00+01:00") == 82_800

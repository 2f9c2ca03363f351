"""The watched file: bad lines and their places, differences, what is remembered, and what is refused."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.control.subscribers.model import Assign, Event, Place, Release, Restart
from penstock.control.subscribers.settings import Scope
from penstock.control.subscribers.watched_file import Change, WatchedFile
from tests.control.subscribers.radius import address, prefix

HEADER = "subscriber,address,port_first,port_last,scope,profile\n"
SCOPES = {"north": Scope(number=7)}


class Desk:
    """A file, whoever watches it, and what the register would know: places by session, as the events say."""

    def __init__(self, here: Path) -> None:
        self.path, self.memory = here / "places.csv", here / "memory"
        self.said: dict[str, Assign] = {}
        self.now_s = 1000.0
        self.restart()

    def restart(self) -> None:
        self.file = WatchedFile(self.path, self.memory, SCOPES)

    def write(self, text: str | bytes) -> None:
        """The file anew, under another inode as editors do."""
        unfinished = self.path.with_suffix(".new")
        unfinished.write_bytes(text if isinstance(text, bytes) else text.encode())
        unfinished.replace(self.path)

    def poll(self) -> Change | None:
        """Poll until the file is read."""
        self.now_s += 1
        for _ in range(2):
            while (change := self.file.poll(self.now_s)) is None and self.file.is_reading:
                pass
            if change:
                return change
        return None

    def apply(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, Assign):
                self.said[event.session] = event
            elif isinstance(event, Release):
                self.said.pop(event.session, None)
            elif isinstance(event, Restart):
                assert event.nas == "file"
                self.said = {key: one for key, one in self.said.items() if one.at_s >= event.at_s}

    def take(self) -> list[Event]:
        """Everything that changed, said and finished."""
        change = self.poll()
        if change is None:
            return []
        events = list(change.events)
        self.apply(events)
        self.file.finish(change)
        return events

    @property
    def where(self) -> dict[Place, tuple[str, str | None]]:
        return {place: (one.subscriber, one.profile) for one in self.said.values() for place in one.places}

    @property
    def problems(self) -> list[str]:
        return [str(problem).removeprefix(f"{self.path}:") for problem in self.file.problems]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_what_a_file_says(desk: Desk) -> None:
    desk.write(HEADER + 'alice,10.1.2.3,,,,family\n\n"Bob, jr",203.0.113.1,1024,2047,north,\ncarol,2001:db8::/56,,,,\n')
    events = desk.take()
    assert desk.problems == []
    assert desk.where == {
        address("10.1.2.3"): ("alice", "family"),
        address("203.0.113.1", 1024, 6, scope=7): ("Bob, jr", None),
        prefix("2001:db8::/56"): ("carol", None),
    }
    assert {type(event) for event in events} == {Assign, Restart}
    assert all(event.at_s == desk.now_s for event in events if isinstance(event, Assign))


def test_columns_in_any_order_and_a_byte_order_mark(desk: Desk) -> None:
    desk.write(b"\xef\xbb\xbfaddress,subscriber\r\n10.0.0.1,alice\r\n")
    desk.take()
    assert desk.where == {address("10.0.0.1"): ("alice", None)}


def test_only_the_difference_is_said(desk: Desk) -> None:
    desk.write(HEADER + "a,10.0.0.1,,,,\nb,10.0.0.2,,,,\nc,10.0.0.3,,,,\n")
    assert len(desk.take()) == 4
    desk.write(HEADER + "c,10.0.0.3,,,,\na,10.0.0.1,,,,other\nd,10.0.0.2,,,,\n")
    events = desk.take()
    assert [type(event) for event in events] == [Release, Assign, Assign]
    assert desk.where == {
        address("10.0.0.1"): ("a", "other"),
        address("10.0.0.2"): ("d", None),
        address("10.0.0.3"): ("c", None),
    }
    os.utime(desk.path)
    assert desk.take() == []
    assert desk.problems == []


def test_a_restart_says_only_what_changed_meanwhile(desk: Desk) -> None:
    desk.write(HEADER + "a,10.0.0.1,,,,\nb,10.0.0.2,,,,\n")
    desk.take()
    desk.restart()
    assert desk.take() == []
    desk.write(HEADER + "a,10.0.0.1,,,,\n")
    desk.restart()
    assert [type(event) for event in desk.take()] == [Release]


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"penstock-file-1\nabc")])
def test_without_a_memory_all_is_said_and_what_is_gone_goes(desk: Desk, damage: object) -> None:
    desk.write(HEADER + "a,10.0.0.1,,,,\nb,10.0.0.2,,,,\n")
    desk.take()
    assert callable(damage)
    damage(desk.memory)
    desk.write(HEADER + "a,10.0.0.1,,,,\n")
    desk.restart()
    assert [type(event) for event in desk.take()] == [Assign, Restart]
    assert desk.where == {address("10.0.0.1"): ("a", None)}


BAD = [
    ("", "1:1: expected a header: subscriber,address and perhaps port_first,port_last,scope,profile"),
    ("subscriber,adress\n", "1:12: expected a header of columns, each once: did you mean `address`?"),
    ("subscriber\n", "1:1: expected a header with the column `address`"),
    (HEADER + "a,10.0.0.1,,,,\nb,10.0.0.300,,,,\n", "3:3: address: expected a prefix such as 10.0.0.0/8 or fd00::/8"),
    (HEADER + "a,10.0.0.1/8,,,,\n", "2:3: address: expected no bits behind the prefix's length: 10.0.0.0/8"),
    (HEADER + '"a, b",10.0.0.1,1024,x,,\n', "2:17: port_first: expected a first and a last port from 0 to 65535"),
    (HEADER + "a,10.0.0.1,,1024,,\n", "2:13: port_last: expected a first and a last port from 0 to 65535"),
    (
        HEADER + "a,10.0.0.1,2047,1024,,\n",
        "2:12: port_first: expected a range of ports from 0 to 65535, not 2047 to 1024",
    ),
    (
        HEADER + "a,10.0.0.1,1,65534,,\n",
        "2:12: port_first: expected a range of ports that comes to at most 8 blocks, not 30",
    ),
    (HEADER + "a,10.0.0.0/24,0,1023,,\n", "2:15: port_first: expected ports of one address, not of a prefix"),
    (HEADER + "a,10.0.0.1,,,nroth,\n", "2:14: scope: expected one of `scopes`: did you mean `north`?"),
    (HEADER + ",10.0.0.1,,,,\n", "2:1: subscriber: expected 1 to 253 characters, no space at either end"),
    (HEADER + "a,10.0.0.1,,,, family\n", "2:15: profile: expected 1 to 63 characters, no space at either end"),
    (HEADER + "a,10.0.0.1\n", "2:1: expected 6 columns, as the header has, not 2"),
    (HEADER + "a,10.0.0.1,,,,\nb,10.0.0.1,,,,\n", "3:1: address: expected each place once: it is in line 2 already"),
    (HEADER + "a,10.0.0.1,,,,\nb,10.0.0.2,,,,", "3:15: expected a line end: is the file whole?"),
    (HEADER + 'a,"10.0.0.1,,,,\n', "2:1: expected CSV: unexpected end of data"),
    (HEADER.encode() + b"\xff,10.0.0.1,,,,\n", "2:1: subscriber: expected UTF-8 text"),
]


@pytest.mark.parametrize(("text", "said"), BAD, ids=[row[1] for row in BAD])
def test_a_bad_line_is_named_and_the_last_good_file_stays(desk: Desk, text: str | bytes, said: str) -> None:
    desk.write(HEADER + "z,192.0.2.1,,,,\n")
    desk.take()
    before = desk.where
    desk.write(text)
    assert desk.take() == []
    assert len(desk.problems) == 1
    assert desk.problems[0].startswith(said), desk.problems
    assert desk.take() == []
    assert (desk.where, len(desk.problems)) == (before, 1)
    desk.write(HEADER + "y,192.0.2.2,,,,\n")
    desk.take()
    assert (desk.where, desk.problems) == ({address("192.0.2.2"): ("y", None)}, [])


def test_a_file_of_another_kind_names_some_lines(desk: Desk) -> None:
    desk.write("subscriber,address\n" + "hello\n" * 1000)
    assert desk.take() == []
    assert len(desk.problems) == 20


def test_a_file_that_lost_more_than_half_of_its_lines_is_refused(desk: Desk) -> None:
    lines = [f"s{number},10.0.0.{number},,,,\n" for number in range(100)]
    desk.write(HEADER + "".join(lines))
    desk.take()
    desk.write(HEADER + "".join(lines[:49]))
    assert desk.take() == []
    assert desk.problems == [
        "1:1: expected at least half of the 100 lines that were there, not 49: take them away in steps if that is meant"
    ]
    desk.restart()
    assert desk.take() == []
    assert len(desk.problems) == 1
    desk.write(HEADER + "".join(lines[:50]))
    desk.take()
    assert (len(desk.where), desk.problems) == (50, [])


def test_a_file_that_is_gone_changes_nothing(desk: Desk) -> None:
    desk.write(HEADER + "a,10.0.0.1,,,,\n")
    desk.take()
    desk.path.unlink()
    assert desk.take() == []
    assert desk.problems == ["1:1: expected a readable file: No such file or directory"]
    desk.path.mkdir()
    assert desk.take() == []
    assert desk.problems == ["1:1: expected a readable file: it is none"]
    desk.path.rmdir()
    desk.write(HEADER + "a,10.0.0.1,,,,\n")
    assert desk.take() == []
    assert desk.problems == []


def test_a_file_that_is_being_written_is_left_alone(desk: Desk) -> None:
    with desk.path.open("w") as file:
        file.write(HEADER)
        for number in range(5):
            file.write(f"s{number},10.0.0.{number},,,,\n")
            file.flush()
            assert desk.file.poll(1.0) is None
    assert desk.problems == []
    desk.take()
    assert len(desk.where) == 5


def test_a_change_waits_for_the_end_of_the_one_before(desk: Desk) -> None:
    desk.write(HEADER + "a,10.0.0.1,,,,\n")
    change = desk.poll()
    assert change is not None
    desk.write(HEADER + "a,10.0.0.1,,,,\nb,10.0.0.2,,,,\n")
    assert desk.poll() is None
    desk.apply(list(change.events))
    desk.file.finish(change)
    desk.take()
    assert len(desk.where) == 2


@pytest.mark.parametrize("is_killed", [False, True])
def test_what_was_only_begun_is_said_again(desk: Desk, is_killed: bool) -> None:
    desk.write(HEADER + "a,10.0.0.1,,,,\n")
    desk.take()
    desk.write(HEADER + "a,10.0.0.1,,,,\nb,10.0.0.2,,,,\nc,10.0.0.3,,,,\n")
    change = desk.poll()
    assert change is not None
    desk.apply([next(change.events)])
    assert len(desk.where) == 2
    if is_killed:
        desk.restart()
    else:
        desk.file.give_up()
    desk.write(HEADER + "a,10.0.0.1,,,,\nc,10.0.0.3,,,,\n")
    desk.take()
    assert desk.where == {address("10.0.0.1"): ("a", None), address("10.0.0.3"): ("c", None)}


def test_a_memory_that_cannot_be_written_is_a_problem(desk: Desk) -> None:
    desk.write(HEADER + "a,10.0.0.1,,,,\n")
    desk.take()
    desk.memory.unlink()
    desk.memory.mkdir()
    desk.write(HEADER + "b,10.0.0.1,,,,\n")
    assert desk.take() == []
    assert "memory:1:1: expected a file to write" in desk.problems[0]
    desk.memory.rmdir()
    assert len(desk.take()) == 2


ROWS = st.dictionaries(st.integers(0, 30), st.tuples(st.sampled_from("abc"), st.sampled_from(["", "x"])), max_size=12)
STEPS = st.lists(st.tuples(ROWS, st.sampled_from(["good", "bad", "restart", "cut"])), max_size=8)


@settings(max_examples=40, deadline=None)
@given(steps=STEPS)
def test_what_was_said_is_the_last_good_file(steps: list[tuple[dict[int, tuple[str, str]], str]]) -> None:
    with tempfile.TemporaryDirectory() as here:
        desk = Desk(Path(here))
        good: dict[Place, tuple[str, str | None]] = {}
        for rows, kind in steps:
            text = HEADER + "".join(f"{who},10.0.0.{at},,,,{profile}\n" for at, (who, profile) in rows.items())
            desk.write(text + ("x\n" if kind == "bad" else ""))
            if kind == "restart":
                desk.restart()
            if kind == "cut":
                change = desk.poll()
                if change is not None:
                    desk.apply([event for event, _ in zip(change.events, range(2), strict=False)])
                    desk.restart()
                    desk.write(text)
            desk.take()
            is_loss = len(good) > 10 and 2 * len(rows) < len(good)
            if kind != "bad" and not is_loss:
                good = {address(f"10.0.0.{at}"): (who, profile or None) for at, (who, profile) in rows.items()}
            assert desk.where == good

"""What is said at a register's door, over a real socket, and the events that it comes to."""

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from select import select
from typing import Any

import pytest

from penstock.control.configuration import Configuration, Profile
from penstock.control.subscribers.calls import CallError, Calls, SetCall, build_events, call_register
from penstock.control.subscribers.command import SubscribersError, parse_pause
from penstock.control.subscribers.model import Assign, Change, Event, Release
from penstock.control.subscribers.place_text import parse_place
from penstock.control.subscribers.settings import Scope
from penstock.line import handover

NOW_S = 1_000_000.0
CONFIGURATION = Configuration(profiles={"kids": Profile()}, scopes={"north": Scope(number=7)})


@contextmanager
def listening(directory: Path, heard: list[tuple[Event, ...]], why: str = "") -> Iterator[Path]:
    """A register's door at which whatever makes sense is done, or with `why` not."""
    door = directory / "register"
    calls = Calls(door, CONFIGURATION, lambda name: name == "carol", lambda: {"places": 3})
    stops = threading.Event()

    def serve() -> None:
        while not stops.is_set():
            for said in calls.hear(select(calls.sockets(), [], [], 0.02)[0], NOW_S):
                heard.append(said.events)
                said.visitor.say("no" if why else "done", why=why)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield door
    finally:
        stops.set()
        thread.join()
        calls.close()


@pytest.fixture(autouse=True)
def doors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "DOORS", tmp_path)


def test_a_call_becomes_events_and_is_answered(tmp_path: Path) -> None:
    heard: list[tuple[Event, ...]] = []
    with listening(tmp_path, heard) as door:
        assert door.stat().st_mode & 0o777 == 0o600
        assert call_register(door, "tell")["places"] == 3
        call_register(door, "set", subscriber="carol", profile="kids", paused_until_s=math.inf)
        call_register(door, "set", subscriber="dave", addresses=["10.0.0.1", "10.1.0.0/16"], scope="north")
        call_register(door, "set", subscriber="carol", addresses=[], fail="closed", packets_per_s=0)
    places = (*parse_place("10.0.0.1", 7), *parse_place("10.1.0.0/16", 7))
    assert heard == [
        (Change("carol", NOW_S, "kids", None, None, math.inf),),
        (Assign("call", "dave", "dave", places, NOW_S),),
        (Change("carol", NOW_S, None, "closed", 0, None), Release("call", "carol", NOW_S)),
    ]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ({}, "subscriber: Field required"),
        ({"subscriber": "carol"}, "nothing was said"),
        ({"subscriber": "carol", "profile": "kid"}, "did you mean `kids`"),
        ({"subscriber": "carl", "profile": "kids"}, "there is no subscriber `carl`"),
        ({"subscriber": "carl", "addresses": []}, "there is no subscriber `carl`"),
        ({"subscriber": "carol", "fail": "ajar"}, "fail: "),
        ({"subscriber": "carol", "packets_per_s": -1}, "packets_per_s: "),
        ({"subscriber": "carol", "addresses": ["10.0.0.1/8"]}, "expected an address"),
        ({"subscriber": "carol", "addresses": ["10.0.0.1"], "scope": "nort"}, "did you mean `north`"),
        ({"subscriber": "ca\nrol", "addresses": ["10.0.0.1"]}, "subscriber: "),
        ({"subscriber": "carol", "colour": "red"}, "colour: "),
    ],
)
def test_what_makes_no_sense_is_answered_with_why(tmp_path: Path, words: dict[str, Any], why: str) -> None:
    heard: list[tuple[Event, ...]] = []
    with listening(tmp_path, heard) as door, pytest.raises(CallError, match=why):
        call_register(door, "set", **words)
    assert heard == []


def test_what_could_not_be_written_is_said(tmp_path: Path) -> None:
    with listening(tmp_path, [], "no room") as door, pytest.raises(CallError, match="no room"):
        call_register(door, "set", subscriber="carol", fail="open")


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(CallError, match="no run answers"):
        call_register(tmp_path / "register", "tell")


def test_events_of_nothing() -> None:
    with pytest.raises(CallError, match="nothing was said"):
        build_events(SetCall(subscriber="carol"), {}, NOW_S)


@pytest.mark.parametrize(
    ("text", "until_s"),
    [
        ("off", 0.0),
        ("on", math.inf),
        ("90s", NOW_S + 90),
        ("30m", NOW_S + 1800),
        ("8h", NOW_S + 28_800),
        ("2d", NOW_S + 172_800),
    ],
)
def test_pauses(text: str, until_s: float) -> None:
    assert parse_pause(text, NOW_S) == until_s


@pytest.mark.parametrize("text", ["", "5", "m", "-5m", "5 m", "5w", "false"])
def test_no_pauses(text: str) -> None:
    with pytest.raises(SubscribersError, match="expected a duration"):
        parse_pause(text, NOW_S)

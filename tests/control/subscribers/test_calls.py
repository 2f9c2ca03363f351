"""What is said at a register's door, over a real socket, and the events that it comes to."""

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from select import select
from typing import Any

import pytest

from penstock.control.configuration import Configuration, Profile, Service
from penstock.control.subscribers.calls import CallError, Calls, SetCall, build_events, call_register
from penstock.control.subscribers.choices_command import ChoicesCommandError, build_words
from penstock.control.subscribers.command import SubscribersError, parse_pause
from penstock.control.subscribers.known import KnownSubscribers
from penstock.control.subscribers.model import Assign, Change, Event, Release
from penstock.control.subscribers.place_text import parse_place
from penstock.control.subscribers.register import Register
from penstock.control.subscribers.settings import Scope
from penstock.control.subscribers.store import Store
from penstock.line import handover

NOW_S = 1_000_000.0
SERVICES = {name: {"categories": {"adult": "block"}} for name in ("adults", "ads")}
CONFIGURATION = Configuration(
    services=SERVICES, profiles={"kids": Profile(services=("adults",))}, scopes={"north": Scope(number=7)}
)
NIGHT = {
    "name": "night",
    "days": ["mon"],
    "begin": "13:00",
    "end": "14:00",
    "pause": True,
}  # NOW_S is a Monday, 13:46:40


@contextmanager
def listening(directory: Path, heard: list[tuple[Event, ...]], why: str = "") -> Iterator[Path]:
    """A register's door at which whatever makes sense is done, or with `why` not."""
    door = directory / "register"
    stops, listens = threading.Event(), threading.Event()

    def serve() -> None:
        store = Store(directory / "subscribers.db")
        register = Register(store, CONFIGURATION.subscriber_register)
        register.sync_configuration(CONFIGURATION, NOW_S)
        register.apply([Change("carol", NOW_S)], NOW_S)
        with KnownSubscribers(store.path, lambda: NOW_S) as known:
            calls = Calls(door, CONFIGURATION, known.find_subscriber, lambda: {"places": 3})
            listens.set()
            while not stops.is_set():
                for said in calls.hear(select(calls.sockets(), [], [], 0.02)[0], NOW_S):
                    heard.append(said.events)
                    if not why:
                        register.apply(said.events, NOW_S)
                    said.visitor.say("no" if why else "done", why=why)
            calls.close()
        store.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        assert listens.wait(10)
        yield door
    finally:
        stops.set()
        thread.join()


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
        ({}, "subscriber: expected this key"),
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
        ({"subscriber": "carol", "choices": {"deny": ["a b"]}}, r"deny\[0\]: expected a name .*`a b` is no name"),
        ({"subscriber": "carol", "choices": {"alow": []}}, "alow: expected a known key: did you mean `allow`"),
        ({"subscriber": "carol", "choices": {"zone": "Mars/Phobos"}}, "zone: expected a time zone such as"),
        ({"subscriber": "carol", "choices": {"services": {"add": True}}}, "services.add: .*did you mean `ads`"),
        ({"subscriber": "carol", "choices": {"schedules": [NIGHT, NIGHT]}}, "`night` is there twice"),
        (
            {"subscriber": "carol", "choices": {"schedules": [NIGHT | {"services": ["adult"]}]}},
            r"schedules\[0\].services\[0\]: .*did you mean `adults`",
        ),
        (
            {"subscriber": "carol", "choices": {"schedules": [NIGHT | {"begin": "7:00"}]}},
            r"schedules\[0\].begin: expected",
        ),
        ({"subscriber": "carol", "choices": {"safe_search": "strict"}}, "safe_search: expected null or `off`"),
        ({"subscriber": "carol", "choices": {"allow": ["x.test"], "deny": ["x.test"]}}, "not in both: x.test"),
        (
            {"subscriber": "carol", "choices": {"deny": [f"n{n}.test" for n in range(501)]}},
            "deny: expected at most 500",
        ),
        ({"subscriber": "carol", "edit": {"services": {"add": False}}}, "edit.services.add: .*did you mean `ads`"),
        ({"subscriber": "carl", "edit": {"allow": ["x.test"]}}, "there is no subscriber `carl`"),
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


def test_more_than_is_read_at_once_is_not_taken_for_done(tmp_path: Path) -> None:
    heard: list[tuple[Event, ...]] = []
    with listening(tmp_path, heard) as door, pytest.raises(CallError, match="more than it reads at once"):
        call_register(door, "set", subscriber="carol", edit={"deny": [f"{number}.x.test" for number in range(6000)]})
    assert heard == []


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(CallError, match="no run answers"):
        call_register(tmp_path / "register", "tell")


def test_choices_are_replaced_by_field_and_edited_by_name(tmp_path: Path) -> None:
    heard: list[tuple[Event, ...]] = []
    with listening(tmp_path, heard) as door:
        call_register(
            door, "set", subscriber="carol", profile="kids", choices={"deny": ["B\u00fcro.Test."], "zone": "UTC"}
        )
        call_register(door, "set", subscriber="carol", choices={"schedules": [NIGHT], "services": {"ads": True}})
        told = call_register(door, "choices", subscriber="carol")
        assert told["choices"] == {
            "deny": ["xn--bro-hoa.test"],
            "zone": "UTC",
            "schedules": [NIGHT],
            "services": {"ads": True},
        }
        assert told["effective"] == {
            "services": ["ads", "adults"],
            "paused": True,
            "safe_search": "off",
            "youtube": "off",
            "ech": "keep",
            "unresolved": "ignore",
            "schedules": ["night"],
            "names": 1,
            "next_change_s": NOW_S + 800,
        }
        edit = {"allow": ["xn--bro-hoa.test", "y.test"], "services": {"adults": False, "ads": None}}
        call_register(door, "set", subscriber="carol", choices={"schedules": []}, edit=edit)
        call_register(door, "set", subscriber="carol", edit={"no_allow": ["y.test"]})
        told = call_register(door, "choices", subscriber="carol")
        assert told["choices"] == {"allow": ["xn--bro-hoa.test"], "zone": "UTC", "services": {"adults": False}}
        assert told["effective"]["services"] == []
        with pytest.raises(CallError, match="there is no subscriber `carl`"):
            call_register(door, "choices", subscriber="carl")


def test_what_the_configuration_has_no_more_does_not_stop_other_changes(tmp_path: Path) -> None:
    """A service that was chosen once stays chosen while somebody changes something else."""
    with listening(tmp_path, []) as door:
        call_register(door, "set", subscriber="carol", choices={"services": {"ads": True}})
        CONFIGURATION.services.pop("ads")
        try:
            call_register(door, "set", subscriber="carol", edit={"deny": ["x.test"]})
            assert call_register(door, "choices", subscriber="carol")["choices"]["services"] == {"ads": True}
        finally:
            CONFIGURATION.services["ads"] = Service(categories={"adult": "block"})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({}, {}),
        ({"services": ["ad blocking=off", "a=b=profile"]}, {"edit": {"services": {"ad blocking": False, "a=b": None}}}),
        ({"allow": ["x.test"], "no_deny": ["y.test"]}, {"edit": {"allow": ["x.test"], "no_deny": ["y.test"]}}),
        ({"zone": "UTC", "youtube": "none", "safe_search": None}, {"choices": {"zone": "UTC", "youtube": None}}),
    ],
)
def test_words_of_the_command(words: dict[str, Any], said: dict[str, Any]) -> None:
    lists = {name: words.pop(name, []) for name in ("services", "allow", "deny", "no_allow", "no_deny")}
    assert build_words(*lists.values(), **words) == said


@pytest.mark.parametrize("text", ["ads", "ads=", "=on", "ads=yes"])
def test_no_services_of_the_command(text: str) -> None:
    with pytest.raises(ChoicesCommandError, match="expected a service and on, off or profile"):
        build_words([text], [], [], [], [])


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

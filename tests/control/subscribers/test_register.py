"""The register beside the model in plain Python: any sequence of events, restarts, expiries and configurations."""

import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from penstock.control.configuration import Configuration
from penstock.control.subscribers import batch, sweep
from penstock.control.subscribers.choices import DAYS, Choices, Schedule
from penstock.control.subscribers.known import Known, KnownSubscribers
from penstock.control.subscribers.model import Assign, Change, Event, Place, Release, Restart
from penstock.control.subscribers.place_key import make_place
from penstock.control.subscribers.register import Register
from penstock.control.subscribers.settings_register import RegisterSettings
from penstock.control.subscribers.store import Store
from penstock.control.subscribers.updates import Line, Updates
from penstock.control.values import parse_prefix
from tests.control.subscribers.model_register import DAY_S, ModelRegister

FORGET_DAYS = 2
PREFIXES = [
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.2.3",
    "10.1.2.4",
    "10.1.2.0/30",
    "fd00::/8",
    "fd00:1::/48",
    "fd00:1:0:100::/56",
]
PREFIXES += ["fd00:1:0:100::/64", "fd00:1:0:100::1"]
SINGLE = make_place(parse_prefix("203.0.113.1"))
PLACES = [make_place(parse_prefix(prefix), scope) for prefix in PREFIXES for scope in (0, 1)]
PLACES += [Place(0, SINGLE.address, 128, port, bits) for port, bits in ((0, 6), (1024, 6), (1024, 7), (65_535, 16))]
PEOPLE = ["ann", "ann/tv", "ben", "dörte", "eve", "eve/1/2"]
SERVICES = ["web", "ads"]
NAMES = ["a.example", "b.a.example"]

people = st.sampled_from(PEOPLE)
sources = st.sampled_from(["radius", "radius", "radius", "file"])
sessions = st.sampled_from(["1", "2", "3"])
nases = st.sampled_from(["", "bng"])
profiles = st.sampled_from([None, None, "red", "blue", "other"])
# Whole milliseconds, which floats hold exactly.
offsets = st.sampled_from([-9.0, -2.0, -1.5, -1.125, -1.0, -0.5, 0.0, 0.0, 0.0, 0.25, 1.0, 3.0])
expiries = st.sampled_from([None, None, float("inf"), 0.5, 3.0, 4.2, 60.0])
# It is 22:13:20 in the beginning.
clocks = st.sampled_from(["22:13", "22:14", "22:15", "22:23", "23:14", "00:00", "09:00"])
chosen_schedules = st.builds(
    Schedule,
    name=st.sampled_from("ab"),
    days=st.sampled_from([DAYS, ("tue",), ("wed", "thu")]),
    begin=clocks,
    end=clocks,
    pause=st.just(True),
    services=st.sampled_from([(), ("web",), ("ads", "gone")]),
)
pauses = st.sampled_from([None, None, 0.0, -1.0, 2.5, 30.0, float("inf")])


@st.composite
def choices(draw: st.DrawFn, now_s: float) -> Choices:
    if draw(st.booleans()):
        return Choices()
    said = {name: draw(st.sampled_from([None, None, "allow", "deny"])) for name in NAMES}
    return Choices(
        services=draw(st.dictionaries(st.sampled_from(SERVICES), st.booleans())),
        allow=tuple(name for name in NAMES if said[name] == "allow"),
        deny=tuple(name for name in NAMES if said[name] == "deny"),
        schedules=tuple(draw(st.lists(chosen_schedules, max_size=2, unique_by=lambda one: one.name))),
        zone=draw(st.sampled_from([None, None, "Europe/Madrid"])),
        safe_search=draw(st.sampled_from([None, "off", "strict"])),
        overrides=tuple(
            {"name": name, "until_s": now_s + more_s}
            for name, more_s in draw(
                st.dictionaries(st.sampled_from(NAMES), st.sampled_from([-1.0, 0.5, 60.0]))
            ).items()
        ),
    )


@st.composite
def events(draw: st.DrawFn, now_s: float, known: list[Place]) -> Event:
    at_s = now_s + draw(offsets)
    places = st.lists(st.sampled_from(known), max_size=3).map(tuple)
    kind = draw(st.sampled_from(["assign", "assign", "assign", "release", "restart", "change", "choose"]))
    if kind == "assign":
        lease_s = draw(expiries)
        return Assign(
            draw(sources),
            draw(sessions),
            draw(people),
            draw(places),
            at_s,
            draw(profiles),
            None if lease_s is None else now_s + lease_s,
            draw(nases),
            draw(st.booleans()),
        )
    if kind == "release":
        return Release(draw(sources), draw(sessions), at_s, draw(places))
    if kind == "restart":
        return Restart(draw(sources), draw(nases), at_s)
    if kind == "choose":
        return Change(draw(people), at_s, choices=draw(choices(now_s)))
    pause_s = draw(pauses)
    return Change(
        draw(people),
        at_s,
        draw(profiles),
        draw(st.sampled_from([None, "open", "closed"])),
        draw(st.sampled_from([None, 0, 5])),
        pause_s if pause_s in (None, 0.0) else now_s + pause_s,
    )


entries = st.fixed_dictionaries(
    {"id": people, "profile": st.sampled_from(["red", "blue"])},
    optional={
        "prefixes": st.lists(st.sampled_from(PREFIXES), max_size=3, unique=True),
        "fail": st.sampled_from(["open", "closed"]),
        "scope": st.sampled_from([0, 1]),
        "packets_per_s": st.sampled_from([7, 70]),
    },
)


class Mirror:
    """What the kernel's tables would hold: nothing but Updates goes into it."""

    def __init__(self) -> None:
        self.places: dict[bytes, int] = {}
        self.lines: dict[int, Line] = {}
        self.names: dict[int, dict[str, str]] = {}

    def take(self, updates: Updates, register: Register, now_s: float) -> None:
        if updates.are_all_lines_new:
            self.lines.update(read_lines(register, now_s))
        for number, change in updates.names.items():
            assert not change.gone & change.names.keys()
            names = self.names.setdefault(number, {})
            for name in change.gone:
                names.pop(name, None)
            names.update(change.names)
        self.lines.update(updates.lines)
        for place, number in updates.put():
            assert number in self.lines  # a line stands before its first place
            self.places[place] = number
        for place in updates.taken_away():
            self.places.pop(place, None)


def read_places(register: Register) -> dict[Place, int]:
    found = {}
    for rows, numbers in register.load_places():
        for row, number in zip(rows.tolist(), numbers.tolist(), strict=True):
            scope, bits, port_bits, port, address = row
            found[Place(scope, bytes(address), bits, port, port_bits)] = number
    return found


def read_lines(register: Register, now_s: float) -> dict[int, Line]:
    return {number: line for line, numbers in register.load_lines(now_s) for number in numbers.tolist()}


def read_names(register: Register, now_s: float) -> dict[int, dict[str, str]]:
    found: dict[int, dict[str, str]] = {}
    for number, name, action in register.load_names(now_s):
        found.setdefault(number, {})[name] = action
    return found


def judged(line: Line) -> tuple[object, ...]:
    """What open flows are judged by."""
    return line.profile, line.is_paused, line.services


class RegisterMachine(RuleBasedStateMachine):
    @initialize(
        share=st.sampled_from([1, 2, 2000]), capacity=st.sampled_from([6, 1024]), addresses=st.sampled_from([6, 1024])
    )
    def begin(self, share: int, capacity: int, addresses: int) -> None:
        self.share, self.places = share, PLACES
        if share < 2000:  # what a restart left for later takes room until then, which the model does not know
            capacity = addresses = 1024
            self.places = PLACES[:8]
        self.directory = tempfile.TemporaryDirectory(dir="/dev/shm")  # hundreds of stores, each forced to the disk
        self.path = Path(self.directory.name) / "below" / "subscribers.db"
        self.settings = {"capacity": capacity, "addresses": addresses, "forget_days": FORGET_DAYS}
        self.model = ModelRegister(capacity, addresses, FORGET_DAYS)
        self.mirror = Mirror()
        self.numbers: dict[int, str] = {}
        self.now_s = 1_700_000_000.0
        self.open()
        self.is_late = False
        self.reader = KnownSubscribers(self.path, lambda: self.now_s)
        self.configure([], None, 4000, "UTC", 1.0)

    def open(self) -> None:
        self.store = Store(self.path)
        self.register = Register(self.store, RegisterSettings.model_construct(**self.settings))

    def teardown(self) -> None:
        if hasattr(self, "reader"):
            self.reader.close()
            self.store.close()
            self.directory.cleanup()

    def compare(self, updates: Updates) -> None:
        """What the transaction said, beside what the model did."""
        before = dict(self.mirror.places)
        old_lines = dict(self.mirror.lines)
        self.mirror.take(updates, self.register, self.now_s)
        assert Counter((kind, name, other) for kind, name, other, _ in updates.reports) == self.model.reports
        away = {number for place, number in before.items() if self.mirror.places.get(place) != number}
        turned = set()
        if not updates.are_all_lines_new:
            for number, line in self.mirror.lines.items():
                old = old_lines.get(number)
                if old and number in self.numbers and judged(old) != judged(line):
                    turned.add(number)
            turned |= {number for number in updates.names if number in self.numbers}
        named = {number for number in updates.names if number in self.numbers and number not in old_lines}
        assert away | turned - named <= updates.look_again
        numbers = set(old_lines)
        if not updates.are_all_lines_new and not self.is_late:
            assert updates.look_again & numbers <= self.model.lost | turned

    def drain(self, updates: Updates) -> None:
        """Until there is nothing more to sweep; the model does that at once."""
        turns = 0
        while updates.is_more:
            updates = self.register.expire(self.now_s)
            self.mirror.take(updates, self.register, self.now_s)
            turns += 1
            assert turns < 100

    @rule(data=st.data(), count=st.integers(1, 9))
    def apply(self, data: st.DataObject, count: int) -> None:
        drawn = [data.draw(events(self.now_s, self.places)) for _ in range(count)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(batch, "SHARE", self.share)
            updates = self.register.apply(drawn, self.now_s)
        assert sum(updates.counts[kind] for kind in ("assign", "release", "restart", "change")) == count
        self.model.apply(drawn, self.now_s)
        self.compare(updates)
        if updates.is_more:
            self.expire()

    @rule(passed_s=st.sampled_from([0.0, 0.25, 1.0, 5.0, 61.0, 599.0, 601.0, 1.5 * DAY_S, 3.0 * DAY_S]))
    def wait(self, passed_s: float) -> None:
        self.now_s += passed_s
        self.is_late = True

    @rule()
    def expire(self) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(batch, "SHARE", self.share)
            patch.setattr(sweep, "SHARE", self.share)
            patch.setattr(sweep, "SCHEDULES_SHARE", self.share)
            updates = self.register.expire(self.now_s)
            self.mirror.take(updates, self.register, self.now_s)
            self.drain(updates)
        self.model.expire(self.now_s)
        self.is_late = False

    @rule(
        entries=st.lists(entries, max_size=4, unique_by=lambda entry: entry["id"]),
        default=st.sampled_from([None, "red"]),
        rate=st.sampled_from([None, 4000]),
        zone=st.sampled_from(["UTC", "Asia/Kathmandu"]),
        share=st.sampled_from([1.0, 0.5]),
    )
    def configure(
        self, entries: list[dict[str, object]], default: str | None, rate: int | None, zone: str, share: float
    ) -> None:
        configuration = Configuration.model_validate(
            {
                "services": {
                    "web": {"categories": {"a": "block"}},
                    "ads": {"categories": {"b": "block"}, "share": share},
                },
                "profiles": {"red": {"services": ["web"]}, "blue": {"services": ["ads"], "youtube": "moderate"}},
                "limits": {"packets_per_s": rate},
                "subscribers": entries,
            }
        )
        register = RegisterSettings.model_construct(**self.settings, default_profile=default, zone=zone)
        configuration = configuration.model_copy(update={"subscriber_register": register})
        updates = self.register.sync_configuration(configuration, self.now_s)
        self.model.synchronise(configuration, self.now_s)
        self.compare(updates)
        self.is_late = True  # with another zone schedules begin and end at another time

    @rule()
    def start_again(self) -> None:
        self.store.close()
        self.open()

    @invariant()
    def it_agrees(self) -> None:
        if not hasattr(self, "store"):
            return
        model = self.model
        self.numbers = numbers = {person.number: name for name, person in model.people.items()}
        assert self.reader.names_of(range(1, 20)) == numbers
        places = {place: model.people[row.person].number for place, row in model.rows.items()}
        assert read_places(self.register) == places
        assert self.mirror.places == places
        lines = {person.number: model.line(name, self.now_s) for name, person in model.people.items()}
        assert read_lines(self.register, self.now_s) == lines
        names = {person.number: model.names(name, self.now_s) for name, person in model.people.items()}
        names = {number: said for number, said in names.items() if said}
        assert read_names(self.register, self.now_s) == names
        nobody = {number: model.nobody() for number in self.mirror.lines if number not in lines}
        if not self.is_late:
            assert {number: line for number, line in self.mirror.lines.items() if number in lines} == lines
            assert {number: said for number, said in self.mirror.names.items() if said} == names
        assert all(self.mirror.lines[number].profile is None for number in nobody)
        assert self.register.place_count == len(places)
        assert self.register.subscriber_count == len(lines)
        assert self.reader.count() == (len(lines), len(places))

    @rule(data=st.data())
    def ask(self, data: st.DataObject) -> None:
        """What people ask for, through a connection that is open all the time."""
        place, port = data.draw(st.sampled_from(PLACES)), data.draw(st.integers(0, 65_535))
        found = self.reader.find_by_address(place.address, port, place.scope)
        assert (found and found.id) == self.model.find(Place(place.scope, place.address, 128, port, 16))
        prefix, after = data.draw(st.sampled_from(["", "b", "d", "00"])), data.draw(st.sampled_from(["", "ben", "d"]))
        limit = data.draw(st.integers(0, 4))
        names = [known.id for known in self.reader.list_subscribers(prefix, after, limit)]
        assert names == sorted(name for name in self.model.people if name.startswith(prefix) and name > after)[:limit]
        for name in PEOPLE:
            known = self.reader.find_subscriber(name)
            assert (known is None) == (name not in self.model.people)
            if known:
                self.compare_known(known)

    def compare_known(self, known: Known) -> None:
        assert known.line == self.model.line(known.id, self.now_s)
        assert known.effective.names == self.model.names(known.id, self.now_s)
        assert known.choices == self.model.people[known.id].choices
        assert list(known.owners) == sorted(self.model.chain(known.id))[:-1]
        assert known.is_configured == (self.model.people[known.id].configured is not None)
        mine = {place: row for place, row in self.model.rows.items() if row.person == known.id}
        said = {one.place: (one.at_s, one.source) for one in known.places}
        wanted = {place: (row.at, (row.session and row.session[0]) or "configuration") for place, row in mine.items()}
        assert said == wanted, (known.id, set(said.items()) ^ set(wanted.items()))
        for one in known.places:
            row = mine[one.place]
            assert one.source == (row.session[0] if row.session else "configuration")
            if row.session:
                talk = self.model.talks[row.session]
                assert (one.nas, one.expires_s) == (talk.nas[1], talk.expires_s)


# Without shrinking, which takes minutes here.
RegisterMachine.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
TestRegister = RegisterMachine.TestCase

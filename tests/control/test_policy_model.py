"""From what was configured and chosen to what becomes of a request: store, tables and packet path against a few lines of
plain Python, for random policies, subscribers, choices, times and names.

The model knows neither bits, lines and hashes nor batches: it asks everything anew, by what was said, for each request.
"""

import tempfile
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from penstock.control.subscribers import outlet
from penstock.control.subscribers.choices import DAYS, Choices
from penstock.control.subscribers.effective import is_in_trial
from penstock.control.subscribers.model import Change
from penstock.control.subscribers.outlet import Outlet
from penstock.control.subscribers.register import Register
from penstock.control.subscribers.store import Store
from penstock.control.subscribers.updates import Updates
from tests.hellos import plain_hello, record
from tests.path.boxes import Box, Conversation, name_of, request
from tests.policy.worlds import world
from tests.vocabulary import Flow

CATEGORIES = ["c0", "c1", "c2"]
SERVICES = ["web", "ads", "new"]
HOSTS = ["a.test", "b.test", "c.test", "x.a.test", "y.b.test"]
PEOPLE = {"ann": "10.1.0.1", "ben": "10.1.0.2", "ann/tablet": "10.1.0.3"}
ZONES = ["UTC", "Europe/Madrid", "America/St_Johns"]
START_S = 1_774_700_000  # a day before clocks go forward in Europe
PORTS = count(1024)

acts = st.dictionaries(
    st.sampled_from(CATEGORIES), st.sampled_from(["block", "redirect", "empty", "report", "warn"]), min_size=1
)
service = st.fixed_dictionaries(
    {"categories": acts}, optional={"report_only": st.booleans(), "share": st.sampled_from([0.3, 0.6])}
)
names = st.sets(st.sampled_from(HOSTS), max_size=2)
switched = st.lists(st.sampled_from(SERVICES), unique=True)
clock = st.tuples(st.integers(0, 23), st.sampled_from([0, 30])).map("{0[0]:02}:{0[1]:02}".format)


@st.composite
def schedules(draw: st.DrawFn) -> list[dict[str, Any]]:
    made = []
    for number in range(draw(st.integers(0, 2))):
        chosen = draw(st.lists(st.sampled_from(SERVICES), unique=True))
        days = draw(st.lists(st.sampled_from(DAYS), min_size=1, unique=True))
        times = {"begin": draw(clock), "end": draw(clock), "pause": not chosen or draw(st.booleans())}
        made.append({"name": f"s{number}", "days": days, "services": chosen, **times})
    return made


@st.composite
def choices(draw: st.DrawFn) -> dict[str, Any]:
    allow, deny = draw(names), draw(names)
    made: dict[str, Any] = {
        "services": draw(st.dictionaries(st.sampled_from(SERVICES), st.booleans(), max_size=2)),
        "allow": sorted(allow - deny),
        "deny": sorted(deny),
        "schedules": draw(schedules()),
        "zone": draw(st.sampled_from([None, *ZONES])),
    }
    if draw(st.booleans()):
        until_s = START_S + draw(st.integers(-10, 40)) * 3600
        made["overrides"] = [{"name": draw(st.sampled_from(HOSTS)), "until_s": until_s}]
    return made


policies = st.fixed_dictionaries(
    {
        "services": st.fixed_dictionaries(dict.fromkeys(SERVICES, service)),
        "lists": st.fixed_dictionaries(dict.fromkeys(CATEGORIES, names)),
        "profiles": st.fixed_dictionaries({"p": switched, "q": switched}),
        "court": st.lists(st.sampled_from(CATEGORIES), max_size=1),
        "report_only": st.sampled_from([False, False, False, True]),
        "zone": st.sampled_from(ZONES),
    }
)
words = st.tuples(st.sampled_from(sorted(PEOPLE)), choices() | st.sampled_from(["p", "q"]))
moments = st.lists(st.integers(0, 60 * 60), min_size=1, max_size=4).map(sorted)


# ---- the model --------------------------------------------------------------------------------------------------------
class Model:
    """Who said what."""

    def __init__(self, policy: dict[str, Any]) -> None:
        self.policy = policy
        self.profiles = {"ann": "p", "ben": "q", "ann/tablet": "p"}
        self.choices: dict[str, Choices] = {}

    def say(self, who: str, what: dict[str, Any] | str) -> None:
        if isinstance(what, str):
            self.profiles[who] = what
        else:
            self.choices[who] = Choices.model_validate(what)

    def lineage(self, who: str) -> list[str]:
        return [who.split("/")[0], who] if "/" in who else [who]

    def active(self, who: str, now_s: float) -> list[Any]:
        """The schedules in force, by the wall's clock."""
        zone, found = self.policy["zone"], []
        for one in self.lineage(who):
            chosen = self.choices.get(one, Choices())
            zone = chosen.zone or zone
            wall = datetime.fromtimestamp(now_s, ZoneInfo(zone))
            clock, today = f"{wall:%H:%M}", wall.weekday()
            for schedule in chosen.schedules:
                is_night = schedule.end <= schedule.begin
                begun = clock >= schedule.begin and DAYS[today] in schedule.days
                began = clock < schedule.end and DAYS[(today - 1) % 7] in schedule.days
                if (is_night and (begun or began)) or (not is_night and begun and clock < schedule.end):
                    found.append(schedule)
        return found

    def services(self, who: str, now_s: float) -> set[str]:
        on: set[str] = set()
        for one in self.lineage(who):
            on |= set(self.policy["profiles"][self.profiles[one]])
            for name, is_on in self.choices.get(one, Choices()).services.items():
                (on.add if is_on else on.discard)(name)
        for schedule in self.active(who, now_s):
            on |= set(schedule.services)
        shares = {name: self.policy["services"][name].get("share", 1) for name in SERVICES}
        return {name for name in on if shares[name] == 1 or is_in_trial(name, who.split("/")[0], shares[name])}

    def own_word(self, who: str, host: str, now_s: float) -> str | None:
        labels = host.split(".")
        for start in range(len(labels)):
            name = ".".join(labels[start:])
            for one in reversed(self.lineage(who)):
                chosen = self.choices.get(one, Choices())
                if name in chosen.allow or any(o.name == name and o.until_s > now_s for o in chosen.overrides):
                    return "allow"
                if name in chosen.deny:
                    return "deny"
        return None

    def expect(self, who: str, host: str, now_s: float) -> str:
        """What becomes of a request: the path's reason."""
        policy = self.policy
        if any(schedule.pause for schedule in self.active(who, now_s)):
            return "paused"
        covering = {".".join(host.split(".")[start:]) for start in range(host.count(".") + 1)}
        hit = [category for category in CATEGORIES if policy["lists"][category] & covering]
        if set(hit) & set(policy["court"]):
            return "reported" if policy["report_only"] else "court_order"
        word = self.own_word(who, host, now_s)
        if word == "deny":
            return "reported" if policy["report_only"] else "own_list"
        if word == "allow":
            return "allowed"
        on = self.services(who, now_s)
        acting = [
            "report" if made.get("report_only") else action
            for name, made in policy["services"].items()
            if name in on
            for category, action in made["categories"].items()
            if category in hit
        ]
        if not acting:
            return "allowed"
        refuses = any(action != "report" for action in acting) and not policy["report_only"]
        return "blocked" if refuses else "reported"


# ---- the product ------------------------------------------------------------------------------------------------------
class Product:
    """The register over a store, the tables that it fills, and the path that reads them."""

    def __init__(self, made: Any, directory: Path) -> None:
        self.configuration = made.configuration
        self.box = Box()
        self.box.path.set_snapshot(made.snapshot.address, made.snapshot.names_address)
        self.store = Store(directory / "register.db")
        self.register = Register(self.store, self.configuration.subscriber_register)
        self.outlet = Outlet(self.box.path.directory, self.box.path.own_names, self.configuration)
        self.now_s = float(START_S)
        with patch.object(outlet.time, "time", lambda: self.now_s):
            self.register.sync_configuration(self.configuration, self.now_s)
            self.outlet.fill(self.register)

    def say(self, who: str, what: dict[str, Any] | str) -> None:
        change = {"profile": what} if isinstance(what, str) else {"choices": Choices.model_validate(what)}
        self.write(self.register.apply([Change(who, self.now_s, **change)], self.now_s))

    def pass_time(self, now_s: float) -> None:
        self.now_s = now_s
        updates = self.register.expire(now_s)
        self.write(updates)
        while updates.is_more:
            updates = self.register.expire(now_s)
            self.write(updates)

    def write(self, updates: Updates) -> None:
        with patch.object(outlet.time, "time", lambda: self.now_s):
            self.outlet.write(self.register, updates)

    def ask(self, who: str, host: str, over_tls: bool) -> str:
        port = 1024 + next(PORTS) % 60_000
        talk = Conversation(self.box, Flow(client=PEOPLE[who], client_port=port)).open()
        content = record(plain_hello(host.encode())) if over_tls else request(host)
        found = name_of(talk.client(content))
        return "allowed" if found in ("unprotected", "free") else found


def configure(policy: dict[str, Any], directory: Path) -> dict[str, Any]:
    subscribers = [
        {"id": who, "prefixes": [f"{address}/32"], "profile": "q" if who == "ben" else "p"}
        for who, address in PEOPLE.items()
    ]
    return {
        "services": policy["services"],
        "profiles": {name: {"services": on} for name, on in policy["profiles"].items()},
        "subscribers": subscribers,
        "court_orders": {"categories": policy["court"]},
        "report_only": policy["report_only"],
        "register": {"database": str(directory / "register.db"), "zone": policy["zone"]},
        "page": {"redirect_url": "https://help.example/"},
    }


@settings(
    phases=[Phase.reuse, Phase.generate],
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(policies, st.lists(words, max_size=6), st.lists(words, max_size=2), moments, st.booleans())
def test_what_becomes_of_a_request_is_what_was_chosen(
    policy: dict, said: list, later: list, minutes: list[int], over_tls: bool
) -> None:
    note(f"{policy} {said} {later} {minutes}")
    texts = {category: "".join(f"{host}\n" for host in sorted(hosts)) for category, hosts in policy["lists"].items()}
    with tempfile.TemporaryDirectory() as name, world(configure(policy, Path(name)), texts) as made:
        model, product = Model(policy), Product(made, Path(name))
        try:
            for who, what in said:
                model.say(who, what)
                product.say(who, what)
            for turn, minute in enumerate(minutes):
                product.pass_time(START_S + 60.0 * minute)
                for who, what in later if turn == 1 else []:
                    model.say(who, what)
                    product.say(who, what)
                for who in PEOPLE:
                    for host in HOSTS:
                        expected = model.expect(who, host, product.now_s)
                        assert product.ask(who, host, over_tls) == expected, (who, host, minute)
        finally:
            product.store.close()

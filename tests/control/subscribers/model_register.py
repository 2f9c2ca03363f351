"""The register as it is meant, in plain Python: dictionaries, one event after the other, nothing kept small or fast.

Written from what the register promises, beside `penstock.control.subscribers.batch`, to be compared with it.
"""

from collections import Counter
from dataclasses import dataclass, field
from math import ceil, inf

from penstock.control.configuration import Configuration, Profile
from penstock.control.subscribers.choices import NONE_CHOSEN, Choices
from penstock.control.subscribers.effective import Layer, is_in_trial
from penstock.control.subscribers.model import Assign, Change, Event, Place, Release, Restart
from penstock.control.subscribers.place_key import make_place
from penstock.control.subscribers.updates import Line, Switches
from tests.control.subscribers.plain_choices import LEVELS, find_level, find_name, has_service, in_force

TOMBSTONE_S = 600
DAY_S = 86_400
SHAPES = 8

Session = tuple[str, str]
"""Source and name."""


@dataclass
class Person:
    number: int
    seen_s: float
    profile: str | None = None
    profile_at: float = 0
    configured: tuple[str, bool, int | None] | None = None
    changes: dict[str, tuple[object, float]] = field(default_factory=dict)
    is_idle: bool = True
    choices: Choices = NONE_CHOSEN
    chosen_at: float = -1


@dataclass
class Row:
    """Who is at a place."""

    person: str
    session: Session | None
    """None: the configuration says so."""
    at: float


@dataclass
class Talk:
    """What is remembered of a session that has places."""

    person: str
    nas: tuple[str, str]
    at: float
    whole: float
    expires_s: float | None


class ModelRegister:
    def __init__(self, capacity: int, addresses: int, forget_days: int) -> None:
        self.capacity, self.addresses, self.forget_days = capacity, addresses, forget_days
        self.people: dict[str, Person] = {}
        self.rows: dict[Place, Row] = {}
        self.talks: dict[Session, Talk] = {}
        self.released: dict[Session, tuple[float, float]] = {}
        self.gone: dict[tuple[Session, Place], tuple[float, float]] = {}
        self.claims: dict[Place, tuple[str, float]] = {}
        self.restarts: dict[tuple[str, str], float] = {}
        self.profiles: dict[str, Profile] = {}
        self.shares: dict[str, float] = {}
        self.zone = "UTC"
        self.default_profile: str | None = None
        self.packets_per_s: int | None = None
        self.freed: list[int] = []
        self.highest = 0
        self.now_s = 0.0

    # ---- what holds ---------------------------------------------------------------------------------------------------
    def chain(self, name: str) -> list[str]:
        """Whose device he is, and himself."""
        return [one for one in self.people if name == one or name.startswith(f"{one}/")]

    def own_profile(self, name: str) -> str | None:
        person = self.people[name]
        said = person.configured[0] if person.configured else person.profile
        if "profile" in person.changes:
            said = person.changes["profile"][0]
        return said if said in self.profiles else None

    def profile(self, name: str) -> str | None:
        said = [one for one in map(self.own_profile, sorted(self.chain(name))) if one]
        return said[-1] if said else self.default_profile

    def word(self, name: str, key: str, column: int) -> object:
        """The inner one's word, a call's before the configuration's."""
        for one in sorted(self.chain(name), reverse=True):
            person = self.people[one]
            if key in person.changes:
                return person.changes[key][0]
            if person.configured and person.configured[column] is not None:
                return person.configured[column]
        return None

    def layers(self, name: str) -> list[Layer]:
        chain = sorted(self.chain(name))
        named = [self.profile(chain[0]), *map(self.own_profile, chain[1:])]
        found = [
            (self.profiles.get(said or ""), self.people[one].choices) for one, said in zip(chain, named, strict=True)
        ]
        return [Layer(None, Choices(zone=self.zone)), *(Layer(*one) for one in found)]

    def line(self, name: str, now_s: float) -> Line:
        layers, chain = self.layers(name), self.chain(name)
        paused = [self.people[one].changes.get("paused_until_s", (0, 0))[0] for one in chain]
        services = {
            service
            for service, share in self.shares.items()
            if has_service(layers, service, now_s) and is_in_trial(service, min(chain), share)
        }
        levels = [LEVELS[find_level(layers, key)] for key in ("safe_search", "youtube")]
        return Line(
            self.profile(name),
            self.word(name, "fail", 1) in (True, "closed"),
            self.word(name, "packets_per_s", 2) or self.packets_per_s,
            any(paused) or any(schedule.pause for schedule in in_force(layers, now_s)),
            frozenset(services),
            Switches(*levels),
            bool(self.names(name, now_s)),
        )

    def names(self, name: str, now_s: float) -> dict[str, str]:
        layers = self.layers(name)
        known: set[str] = set()
        for _, chosen in layers:
            known |= {*chosen.allow, *chosen.deny, *(override.name for override in chosen.overrides)}
        return {own: said for own in known if (said := find_name(layers, own, now_s))}

    def nobody(self) -> Line:
        return Line(None, False, self.packets_per_s, False)

    def has_place(self, name: str) -> bool:
        return any(row.person == name and row.session for row in self.rows.values())

    def find(self, place: Place) -> str | None:
        """Who is at a single address and port: the longest prefix, the smallest block."""
        found = [
            (known.bits, known.port_bits, row.person)
            for known, row in self.rows.items()
            if known.scope == place.scope
            and int.from_bytes(known.address) >> (128 - known.bits)
            == int.from_bytes(place.address) >> (128 - known.bits)
            and known.port >> (16 - known.port_bits) == place.port >> (16 - known.port_bits)
        ]
        return max(found)[2] if found else None

    # ---- transactions -------------------------------------------------------------------------------------------------
    def begin(self, now_s: float, mentioned: set[str]) -> None:
        self.now_s = now_s
        self.reports: Counter[tuple[str, str, str]] = Counter()
        self.lost: set[int] = set()
        self.touched: set[str] = set()
        # Who may have to make room: nobody whom this batch speaks of.
        idle = [(person.seen_s, person.number, name) for name, person in self.people.items() if person.is_idle]
        self.idle = [name for _, _, name in sorted(idle) if name not in mentioned]

    def end(self) -> None:
        for name in self.touched & self.people.keys():
            person = self.people[name]
            person.seen_s = int(self.now_s)
            has_chosen = person.choices != NONE_CHOSEN
            person.is_idle = not (self.has_place(name) or person.configured or person.changes or has_chosen)

    def apply(self, events: list[Event], now_s: float) -> None:
        self.begin(now_s, {event.subscriber for event in events if isinstance(event, Assign | Change)})
        for event in events:
            if isinstance(event, Assign):
                self.assign(event)
            elif isinstance(event, Release):
                self.release(event)
            elif isinstance(event, Restart):
                self.restart(event)
            else:
                self.change(event)
        self.end()

    def expire(self, now_s: float) -> None:
        self.begin(now_s, set())
        for session, talk in list(self.talks.items()):
            if talk.expires_s is not None and talk.expires_s <= int(now_s):
                for place in self.places_of(session):
                    self.take_away(place)
        for person in self.people.values():
            until, at = person.changes.get("paused_until_s", (0, 0))
            if until and until <= now_s:
                person.changes["paused_until_s"] = 0, at
        self.end()
        old = int(now_s) - self.forget_days * DAY_S
        forgotten = [(p.seen_s, p.number, name) for name, p in self.people.items() if p.is_idle and p.seen_s <= old]
        for _, _, name in sorted(forgotten):
            self.freed.append(self.forget(name))

    # ---- events -------------------------------------------------------------------------------------------------------
    def report(self, kind: str, name: str, other: str = "") -> None:
        self.reports[kind, name, other] += 1

    def remembers_release(self, session: Session, at: float) -> bool:
        said, until = self.released.get(session, (-1, 0))
        return until > int(self.now_s) and at <= said

    def assign(self, event: Assign) -> None:
        session, nas, name = (event.source, event.session), (event.source, event.nas), event.subscriber
        talk = self.talks.get(session)
        if event.at_s < self.restarts.get(nas, 0) or self.remembers_release(session, event.at_s):
            return self.report("out_of_order", name)
        if talk and event.at_s < talk.whole:
            return self.report("out_of_order", name)
        if talk and event.at_s < talk.at and event.at_s < self.restarts.get(talk.nas, 0):
            return self.report("out_of_order", name)
        if talk and talk.person != name and event.at_s < talk.at:
            return self.report("out_of_order", name)
        if name not in self.people and not self.make(name):
            return self.report("full", name, "subscribers")
        person = self.people[name]
        if event.profile and event.at_s >= person.profile_at:
            if event.profile != person.profile and event.profile not in self.profiles:
                self.report("unknown_profile", name, event.profile)
            person.profile, person.profile_at = event.profile, event.at_s
        if talk and talk.person != name:
            for place in self.places_of(session):
                if place in event.places:
                    self.report("conflict", name, talk.person)
                self.take_away(place)
            talk = None
        if talk is None:
            talk = Talk(name, nas, event.at_s, 0, None)
        if event.at_s >= talk.at:
            talk.nas, talk.at = nas, event.at_s
            talk.expires_s = None if event.expires_s in (None, inf) else ceil(event.expires_s)
        self.talks[session] = talk
        if event.adds:
            for place in self.places_of(session):
                self.rows[place].at = max(self.rows[place].at, event.at_s)
        else:
            talk.whole = event.at_s
            for place in self.places_of(session):
                if place not in event.places and self.rows[place].at <= event.at_s:
                    self.take_away(place)
            self.talks[session] = talk
        for place in dict.fromkeys(event.places):
            self.say(name, session, place, event.at_s)
        self.tidy(session)

    def say(self, name: str, session: Session, place: Place, at: float) -> None:
        row = self.rows.get(place)
        if row and row.session == session:
            row.at = max(row.at, at)
            return
        said, until = self.gone.get((session, place), (-1, 0))
        if until > int(self.now_s) and at <= said:
            return self.report("out_of_order", name)
        self.win(name, session, place, at)

    def win(self, name: str, session: Session | None, place: Place, at: float) -> bool:
        row = self.rows.get(place)
        if row:
            if at < row.at:
                self.report("out_of_order", name)
                return False
            if row.person != name:
                self.report("conflict", name, row.person)
                self.lose(row.person)
        elif len(self.rows) >= self.addresses:
            self.report("full", name, "addresses")
            return False
        elif len(self.shapes(place)) > SHAPES:
            self.report("full", name, "prefix lengths")
            return False
        self.rows[place] = Row(name, session, at)
        if row and row.session:
            self.tidy(row.session)
        if self.people[name].is_idle:
            self.touched.add(name)
        return True

    def shapes(self, another: Place) -> set[tuple[int, int]]:
        used = {(place.bits, place.port_bits) for place in [another, *self.rows]}
        return used | ({(128, 0)} if any(port_bits for _, port_bits in used) else set())

    def release(self, event: Release) -> None:
        session, until = (event.source, event.session), int(self.now_s) + TOMBSTONE_S
        talk, stays = self.talks.get(session), False
        if not event.places and self.released.get(session, (0, 0))[1] <= int(self.now_s):
            self.released.pop(session, None)
        for place in dict.fromkeys(event.places) or self.places_of(session):
            row = self.rows.get(place)
            own = row is not None and row.session == session
            if own and row.at > event.at_s:
                stays = True
                continue
            if own:
                self.take_away(place)
            if event.places:
                said, held = self.gone.get((session, place), (-1, 0))
                self.gone[session, place] = max(event.at_s, said if held > int(self.now_s) else -1), until
        if not event.places:
            self.released[session] = max(event.at_s, self.released.get(session, (-1, 0))[0]), until
        if stays and talk:
            self.report("out_of_order", talk.person)

    def restart(self, event: Restart) -> None:
        nas = event.source, event.nas
        self.restarts[nas] = max(self.restarts.get(nas, 0), event.at_s)
        for session, talk in list(self.talks.items()):
            if talk.nas == nas:
                for place in self.places_of(session):
                    if self.rows[place].at < self.restarts[nas]:
                        self.take_away(place)

    def change(self, event: Change) -> None:
        name = event.subscriber
        if name not in self.people and not self.make(name):
            return self.report("full", name, "subscribers")
        person = self.people[name]
        if event.profile is not None and event.profile not in self.profiles:
            self.report("unknown_profile", name, event.profile)
        for key in ("profile", "fail", "packets_per_s", "paused_until_s"):
            value = getattr(event, key)
            if value is None:
                continue
            if event.at_s < person.changes.get(key, (None, 0))[1]:
                self.report("out_of_order", name)
                continue
            if key == "paused_until_s" and value <= self.now_s:
                value = 0
            person.changes[key] = value, event.at_s
        if event.choices is not None and event.at_s < person.chosen_at:
            self.report("out_of_order", name)
        elif event.choices is not None:
            person.choices, person.chosen_at = event.choices, event.at_s
        self.touched.add(name)

    # ---- places and people --------------------------------------------------------------------------------------------
    def places_of(self, session: Session) -> list[Place]:
        return [place for place, row in self.rows.items() if row.session == session]

    def lose(self, name: str) -> None:
        self.lost.add(self.people[name].number)
        self.touched.add(name)

    def take_away(self, place: Place) -> None:
        row = self.rows.pop(place)
        self.lose(row.person)
        if place in self.claims:
            name, at = self.claims[place]
            self.rows[place] = Row(name, None, at)
        if row.session:
            self.tidy(row.session)

    def tidy(self, session: Session) -> None:
        if session in self.talks and not self.places_of(session):
            del self.talks[session]

    def make(self, name: str) -> bool:
        if self.highest < self.capacity - 2:
            self.highest += 1
            number = self.highest
        elif self.freed:
            number = self.freed.pop(0)
        elif self.idle:
            number = self.forget(self.idle[0])
        else:
            return False
        self.people[name] = Person(number, 0)
        self.touched.add(name)
        return True

    def forget(self, name: str) -> int:
        if name in self.idle:
            self.idle.remove(name)
        number = self.people.pop(name).number
        self.lost.add(number)
        return number

    # ---- the configuration --------------------------------------------------------------------------------------------
    def synchronise(self, configuration: Configuration, now_s: float) -> None:
        entries = {entry.id: entry for entry in configuration.subscribers}
        self.begin(now_s, set(entries))
        self.profiles = dict(configuration.profiles)
        self.shares = {name: service.share for name, service in configuration.services.items()}
        self.zone = configuration.subscriber_register.zone
        self.default_profile = configuration.subscriber_register.default_profile
        self.packets_per_s = configuration.limits.packets_per_s
        for name in entries:
            if name not in self.people and not self.make(name):
                self.report("full", name, "subscribers")
        for name, person in self.people.items():
            entry = entries.get(name)
            wanted = (entry.profile, entry.fail == "closed", entry.packets_per_s) if entry else None
            if wanted != person.configured:
                person.configured = wanted
                self.touched.add(name)
        named = {
            make_place(prefix, entry.scope): name
            for name, entry in entries.items()
            for prefix in entry.prefixes
            if name in self.people
        }
        for place, (name, _) in list(self.claims.items()):
            if named.get(place) != name:
                del self.claims[place]
                if place in self.rows and self.rows[place].session is None:
                    self.take_away(place)
        for place, name in named.items():
            is_new = place not in self.claims
            _, at = self.claims.setdefault(place, (name, now_s))
            if is_new or place not in self.rows:
                self.win(name, None, place, at)
        self.end()

"""What holds for a subscriber: the latest call by field, else the configuration's entry, else what a source names, else the
default; of a device its own word, else its owner's.

`Terms` is what the configuration says of everybody; the store keeps it for those who read without a configuration.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from penstock.control.configuration import Configuration, Profile
from penstock.control.subscribers.effective import Effective, Layer, find_effective, is_in_trial
from penstock.control.subscribers.holding import Holding
from penstock.control.subscribers.updates import Line, Switches
from penstock.control.subscribers.words import FAILS_CLOSED, PACKETS_PER_S, PAUSED, PROFILE, Words


class Person(NamedTuple):
    """Somebody of whom something was said."""

    id: str
    assigned: int | None
    """The profile that a source named."""
    words: Words


class Terms(NamedTuple):
    """What holds unless somebody says something else."""

    profiles: Mapping[str, Profile] = {}
    """Those that the configuration has. Another one is as none: the default holds."""
    default_profile: str | None = None
    packets_per_s: int | None = None
    shares: Mapping[str, float] = {}
    """The services that the configuration has, each with the share of subscribers for whom it is in force."""
    zone: str = "UTC"

    @classmethod
    def of(cls, configuration: Configuration) -> "Terms":
        """Those of a configuration."""
        settings = configuration.subscriber_register
        shares = {name: getattr(service, "share", 1.0) for name, service in configuration.services.items()}
        limit = configuration.limits.packets_per_s
        return cls(configuration.profiles, settings.default_profile, limit, shares, settings.zone)

    @classmethod
    def read(cls, text: str | None) -> "Terms":
        """As `write` wrote them; without a text those of an empty configuration."""
        if text is None:
            return cls()
        said: Any = json.loads(text)
        if isinstance(said, list):  # the version before: names of profiles alone
            return cls({name: Profile() for name in said[0]}, *said[1:])
        profiles = {name: Profile.model_validate(content) for name, content in said.pop("profiles").items()}
        return cls(profiles=profiles, **said)

    def write(self) -> str:
        """As text."""
        profiles = {name: one.model_dump(mode="json", exclude_defaults=True) for name, one in self.profiles.items()}
        return json.dumps(self._asdict() | {"profiles": profiles})

    @property
    def nobody(self) -> Line:
        """The line of a number that belongs to nobody."""
        return Line(None, False, self.packets_per_s, False)

    @property
    def trials(self) -> list[str]:
        """The services that are in force for some of those who have them."""
        return [name for name, share in self.shares.items() if share < 1]

    def judge(self, people: Sequence[Person], names: Mapping[int, str], now_s: float) -> Holding:
        """What holds for the last of `people`, whose owners stand before him. `names`: profiles by their numbers."""
        fails_closed, rate, paused = 0, None, 0
        layers: list[Layer] = []
        own = [self._find_own(person, names) for person in people]
        profile, own[0] = self._find_nearest(own), own[0] or self.default_profile
        for (_, _, words), name in zip(people, own, strict=True):
            fails_closed = _find_word(words, FAILS_CLOSED, 1, fails_closed)
            rate = _find_word(words, PACKETS_PER_S, 2, rate)
            paused = max(paused, words.changes.get(PAUSED, (0, 0))[0])
            layers.append(Layer(self._find(name), words.choices))
        found = find_effective(layers, now_s, self.zone)
        line = self._make_line(people[0].id, profile, fails_closed, rate, paused, found)
        return Holding(line, found)

    def find_profile(self, people: Sequence[Person], names: Mapping[int, str]) -> str | None:
        """The profile by which the last of `people` is known."""
        return self._find_nearest([self._find_own(person, names) for person in people])

    def _find_own(self, person: Person, names: Mapping[int, str]) -> str | None:
        """The profile that was said of himself, if the configuration has it."""
        said = _find_profile(person.assigned, person.words)
        return names[said] if said is not None and names[said] in self.profiles else None

    def _find_nearest(self, own: Sequence[str | None]) -> str | None:
        return next((name for name in reversed(own) if name), self.default_profile)

    def choose(self, profile: str | None) -> str | None:
        """The profile that holds where this one was chosen."""
        return profile if profile in self.profiles else self.default_profile

    def make_line(
        self, name: str, profile: str | None, fails_closed: int, packets_per_s: int | None, paused: int
    ) -> Line:
        """The line of somebody who chose nothing and is nobody's device; None, and a budget of 0, is no choice. `name`
        counts where there are `trials`."""
        chosen = self.choose(profile)
        found = find_effective([Layer(self._find(chosen))], 0)
        return self._make_line(name, chosen, fails_closed, packets_per_s, paused, found)

    def _find(self, profile: str | None) -> Profile | None:
        return self.profiles.get(profile) if profile is not None else None

    def _make_line(
        self, name: str, profile: str | None, fails_closed: int, rate: int | None, paused: int, found: Effective
    ) -> Line:
        services = frozenset(
            service
            for service in found.services
            if (share := self.shares.get(service, 0)) and (share >= 1 or is_in_trial(service, name, share))
        )
        switches = Switches(found.safe_search, found.youtube, found.ech, found.unresolved)
        is_paused, budget = bool(paused) or found.is_paused, rate or self.packets_per_s
        return Line(profile, bool(fails_closed), budget, is_paused, services, switches, bool(found.names))


def _find_profile(assigned: int | None, words: Words) -> int | None:
    if PROFILE in words.changes:
        return words.changes[PROFILE][0]
    return words.configured[0] if words.configured is not None else assigned


def _find_word(words: Words, field: int, column: int, otherwise: Any) -> Any:
    """What calls say, else the configuration."""
    if field in words.changes:
        return words.changes[field][0]
    said = words.configured[column] if words.configured is not None else None
    return otherwise if said is None else said

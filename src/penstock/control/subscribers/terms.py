"""What holds for a subscriber: the latest call by field, else the configuration's entry, else what a source names, else the
default.

`Terms` is what the configuration says of everybody; the store keeps it for those who read without a configuration.
"""

import json
from collections.abc import Mapping
from typing import NamedTuple

from penstock.control.configuration import Configuration
from penstock.control.subscribers.rows import FAILS_CLOSED, PACKETS_PER_S, PAUSED, PROFILE, Words
from penstock.control.subscribers.updates import Line


class Terms(NamedTuple):
    """What holds unless somebody says something else."""

    profiles: frozenset[str] = frozenset()
    """Those that the configuration has. Another one is as none: the default holds."""
    default_profile: str | None = None
    packets_per_s: int | None = None

    @classmethod
    def of(cls, configuration: Configuration) -> "Terms":
        """Those of a configuration."""
        default = configuration.subscriber_register.default_profile
        return cls(frozenset(configuration.profiles), default, configuration.limits.packets_per_s)

    @classmethod
    def read(cls, text: str | None) -> "Terms":
        """As `write` wrote them; without a text those of an empty configuration."""
        if text is None:
            return cls()
        profiles, default_profile, packets_per_s = json.loads(text)
        return cls(frozenset(profiles), default_profile, packets_per_s)

    def write(self) -> str:
        """As text."""
        return json.dumps([sorted(self.profiles), self.default_profile, self.packets_per_s])

    @property
    def nobody(self) -> Line:
        """The line of a number that belongs to nobody."""
        return Line(None, False, self.packets_per_s, False)

    def judge(self, assigned: int | None, words: Words, names: Mapping[int, str]) -> Line:
        """What holds for a subscriber whom sources gave the profile `assigned`. `names`: profiles by their numbers."""
        configured, changes = words
        profile, fails_closed, rate = assigned, 0, None
        if configured is not None:
            profile, fails_closed, rate = configured
        if PROFILE in changes:
            profile = changes[PROFILE][0]
        if FAILS_CLOSED in changes:
            fails_closed = changes[FAILS_CLOSED][0]
        if PACKETS_PER_S in changes:
            rate = changes[PACKETS_PER_S][0]
        paused = changes[PAUSED][0] if PAUSED in changes else 0
        return self.make_line(None if profile is None else names[profile], fails_closed, rate, paused)

    def choose(self, profile: str | None) -> str | None:
        """The profile that holds where this one was chosen."""
        return profile if profile in self.profiles else self.default_profile

    def make_line(self, profile: str | None, fails_closed: int, packets_per_s: int | None, paused: int) -> Line:
        """The line of these choices; None, and a budget of 0, is no choice."""
        return Line(self.choose(profile), bool(fails_closed), packets_per_s or self.packets_per_s, bool(paused))

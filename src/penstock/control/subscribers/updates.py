"""What became of a batch of events: what the kernel's tables are to be told, and what people are.

It does not know who reads it. A place appears once, with what holds for it behind the batch.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from penstock.control.subscribers.effective import Ech, Level, NameAction, Unresolved
from penstock.control.subscribers.model import Place
from penstock.control.subscribers.place_key import unpack_place, unpack_places

Kind = Literal["conflict", "out_of_order", "unknown_profile", "full", "malformed"]


class Switches(NamedTuple):
    """What holds for a subscriber's names beside his services."""

    safe_search: Level = "off"
    youtube: Level = "off"
    ech: Ech = "keep"
    unresolved: Unresolved = "ignore"


class Line(NamedTuple):
    """What holds for a subscriber."""

    profile: str | None
    """By whose name hooks know what he has; None: no profile."""
    fails_closed: bool
    packets_per_s: int | None
    """None: no limit."""
    is_paused: bool
    services: frozenset[str] = frozenset()
    """Those that are on."""
    switches: Switches = Switches()
    has_names: bool = False
    """Has he names of his own, allowed or denied?"""


class NamesChange(NamedTuple):
    """What became of a subscriber's own names."""

    gone: frozenset[str]
    """Those that may be there and are no more."""
    names: Mapping[str, NameAction]
    """All of them from now on."""


class Report(NamedTuple):
    """Something that a person may want to know."""

    kind: Kind
    subscriber: str
    other: str = ""
    """The subscriber who lost a place by a conflict; a profile's name; what was full or malformed."""
    place: Place | None = None


@dataclass(slots=True)
class Updates:
    """The outcome of one transaction: it is in the store when you see this."""

    places: dict[bytes, int] = field(default_factory=dict)
    """By key: whose the place is now; 0: nobody's any more."""
    lines: dict[int, Line] = field(default_factory=dict)
    """What holds from now on for these numbers. A number that was forgotten gets a line of nobody."""
    names: dict[int, NamesChange] = field(default_factory=dict)
    """Own names of these numbers that are otherwise from now on."""
    look_again: set[int] = field(default_factory=set)
    """Numbers whose open flows are to be judged anew: paused or not any more, other services or names, a place lost."""
    stricter: set[int] = field(default_factory=set)
    """Of these those to whom more is refused than before: what is open, and was judged by its name once, ends."""
    reports: list[Report] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    """Events by kind and outcome; reports by kind. Every occurrence, reported or not."""
    are_all_lines_new: bool = False
    """What holds for everybody may have changed: take `Register.load_lines` instead of `lines`."""
    is_more: bool = False
    """There is more to expire: call `expire` again, soon."""

    def put(self) -> Iterator[tuple[Place, int]]:
        """The places that somebody has now."""
        return ((unpack_place(key), number) for key, number in self.places.items() if number)

    def taken_away(self) -> Iterator[Place]:
        """The places that nobody has any more."""
        return (unpack_place(key) for key, number in self.places.items() if not number)

    def put_arrays(self) -> tuple[NDArray[Any], NDArray[np.uint32]]:
        """As `put`: rows of PLACE_DTYPE and their numbers."""
        found = [(key, number) for key, number in self.places.items() if number]
        return unpack_places([key for key, _ in found]), np.array([number for _, number in found], np.uint32)

    def taken_away_array(self) -> NDArray[Any]:
        """As `taken_away`: rows of PLACE_DTYPE."""
        return unpack_places([key for key, number in self.places.items() if not number])

    def report(self, kind: Kind, subscriber: str, other: str = "", place: Place | None = None) -> None:
        """Count something, and say it."""
        self.counts[kind] += 1
        self.reports.append(Report(kind, subscriber, other, place))

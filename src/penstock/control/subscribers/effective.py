"""What choices come to at a moment: services, SafeSearch, names, pause, and until when that holds.

    owner's profile ──► owner's choices ──► device's profile ──► device's choices ──► schedules of both

Each adds to what stands before it, and a choice is the last word on what it names. A function of what it is given: it
reads no clock and no store, and does not know which services there are.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Literal, NamedTuple

from penstock.control.configuration import Profile
from penstock.control.subscribers.choices import NONE_CHOSEN, Choices, Schedule
from penstock.control.subscribers.schedules import find_state

NameAction = Literal["allow", "deny"]
Level = Literal["off", "moderate", "strict"]
Ech = Literal["keep", "remove", "refuse"]
Unresolved = Literal["ignore", "report", "block"]
_LEVELS: tuple[Level, ...] = ("off", "moderate", "strict")
_ECH: tuple[Ech, ...] = ("keep", "remove", "refuse")
_UNRESOLVED: tuple[Unresolved, ...] = ("ignore", "report", "block")


class Layer(NamedTuple):
    """What holds for a subscriber, or for the one whose device he is."""

    profile: Profile | None
    choices: Choices = NONE_CHOSEN


@dataclass(frozen=True, slots=True)
class Effective:
    """What holds, until `next_change_s` comes or somebody says something else."""

    services: frozenset[str]
    safe_search: Level
    youtube: Level
    ech: Ech
    unresolved: Unresolved
    is_paused: bool
    """By a schedule."""
    names: Mapping[str, NameAction]
    """Own names: the nearest one decides."""
    schedules: tuple[str, ...]
    """Those that are in force."""
    next_change_s: int | None
    """The first instant at which a schedule begins or ends, or an override ends; None: never."""


def find_effective(layers: Sequence[Layer], now_s: float, zone: str = "UTC") -> Effective:
    """What layers come to, the owner's first. `zone`: of those who chose none."""
    if len(layers) == 1 and layers[0].choices is NONE_CHOSEN:
        return _find_plain(layers[0].profile)
    return _find_chosen(layers, now_s, zone)


@lru_cache(maxsize=1024)
def _find_plain(profile: Profile | None) -> Effective:
    """What a profile alone comes to: for almost everybody."""
    return _find_chosen([Layer(profile)], 0, "UTC")


def _find_chosen(layers: Sequence[Layer], now_s: float, zone: str) -> Effective:
    services: set[str] = set()
    safe_search, youtube, ech, unresolved = 0, 0, 0, 0
    names: dict[str, NameAction] = {}
    for profile, choices in layers:
        if profile is not None:
            services |= set(profile.services)
            safe_search = max(safe_search, _LEVELS.index(profile.safe_search))
            youtube = max(youtube, _LEVELS.index(profile.youtube))
            ech = max(ech, _ECH.index(profile.ech))
            unresolved = max(unresolved, _UNRESOLVED.index(profile.unresolved))
        safe_search = safe_search if choices.safe_search is None else _LEVELS.index(choices.safe_search)
        youtube = youtube if choices.youtube is None else _LEVELS.index(choices.youtube)
        services |= {name for name, is_on in choices.services.items() if is_on}
        services -= {name for name, is_on in choices.services.items() if not is_on}
        names |= _find_names(choices, now_s)
    states = [(schedule, *find_state(schedule, zone, now_s)) for schedule, zone in _list_schedules(layers, zone)]
    active = [schedule for schedule, is_on, _ in states if is_on]
    changes = [change_s for _, _, change_s in states]
    changes += [int(one.until_s) for _, choices in layers for one in choices.overrides if one.until_s > now_s]
    return Effective(
        frozenset(services.union(*(schedule.services for schedule in active))),
        _LEVELS[safe_search],
        _LEVELS[youtube],
        _ECH[ech],
        _UNRESOLVED[unresolved],
        any(schedule.pause for schedule in active),
        names,
        tuple(schedule.name for schedule in active),
        min((change_s for change_s in changes if change_s is not None), default=None),
    )


def _find_names(choices: Choices, now_s: float) -> dict[str, NameAction]:
    names: dict[str, NameAction] = dict.fromkeys(choices.deny, "deny")
    allowed = [*choices.allow, *(one.name for one in choices.overrides if one.until_s > now_s)]
    return names | dict.fromkeys(allowed, "allow")


def _list_schedules(layers: Sequence[Layer], zone: str) -> Iterator[tuple[Schedule, str]]:
    """Each schedule and whose clock it means: a device without a zone is where its owner is."""
    for _, choices in layers:
        zone = choices.zone or zone
        yield from ((schedule, zone) for schedule in choices.schedules)


def is_in_trial(service: str, subscriber: str, share: float) -> bool:
    """Is this subscriber among the `share` of those who have a service for whom it is in force? Always the same ones, and
    a larger share has all of a smaller one."""
    word = blake2b(f"{service}\0{subscriber}".encode(), digest_size=8).digest()
    return int.from_bytes(word) < share * 2**64

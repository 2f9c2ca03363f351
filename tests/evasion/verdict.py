"""What came of each strategy: a play through the box beside the same play through a cable, for two names.

    blocked   bypass      a server acted on the blocked name through the box
              stopped     none did, and without the box it did
              unlanded    it did not without the box either: no success, and not counted as one
    allowed   works       the server acted on the allowed name as often as without the box
              late        the same, after the client had to repeat what it had not to repeat without the box
              refused     it did not, and the catalogue says why that is right
              collateral  it did not
    harmless  passes      what mentions the blocked name arrived as without the box          harmed    it did not

Knows what servers' logs showed. Refuses to know packets.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.evasion.ground import Ground
from tests.evasion.recipe import ALLOWED, BLOCKED, Strategy
from tests.evasion.stage import Part, Seen, play_all

HOSTS = (BLOCKED, ALLOWED)
BAD_OUTCOMES = ("bypass", "collateral", "harmed")
TRIES = 2
Tell = Callable[[int], None]


@dataclass(frozen=True)
class Key:
    """A strategy against one server, over one protocol and net."""

    id: str
    over: str
    server: str
    net: str


@dataclass
class Result:
    """The outcome for each of the two names, in a word, and what was seen without the box and through it."""

    key: Key
    strategy: Strategy
    outcomes: dict[str, str] = field(default_factory=dict)
    seen: dict[str, tuple[Seen, Seen]] = field(default_factory=dict)

    @property
    def is_bad(self) -> bool:
        return any(outcome in BAD_OUTCOMES for outcome in self.outcomes.values())


def judge_part(part: Part, without: Seen, through: Seen) -> str:
    """The outcome of one play through the box, beside the one without."""
    strategy = part.strategy
    if strategy.harmless:
        lands, comes = sum(without.hosts.values()), sum(through.hosts.values())
        if not lands and not without.taken:
            return "unlanded"
        return "passes" if comes >= lands and through.taken == without.taken else "harmed"
    lands, comes = without.count(part.host), through.count(part.host)
    if part.host == BLOCKED:
        return "bypass" if comes else "stopped" if lands else "unlanded"
    if not lands:
        return "unlanded"
    if comes < lands:
        return "refused" if strategy.ambiguous else "collateral"
    return "late" if through.repeats > without.repeats else "works"


def play_without(ground: Ground, parts: Sequence[Part], tell: Tell = lambda count: None) -> dict[Part, Seen]:
    """Play on a ground without the box. What did not land is played once more: a busy machine loses packets."""
    seen = play_all(ground, parts, tell)
    again = [part for part in parts if not part.strategy.harmless and not seen[part].count(part.host)]
    return _keep_better(seen, play_all(ground, again))


def play_through(
    ground: Ground, parts: Sequence[Part], without: dict[Part, Seen], tell: Tell = lambda count: None
) -> dict[Part, Seen]:
    """Play on a ground with the box. What was harmed or late is played twice more, by itself; a bypass stays one."""
    seen = play_all(ground, parts, tell)
    for _ in range(TRIES):
        again = [part for part in parts if _is_doubted(part, judge_part(part, without[part], seen[part]))]
        seen = _keep_better(seen, play_all(ground, again))
    return seen


def judge_all(parts: Sequence[Part], without: dict[Part, Seen], through: dict[Part, Seen]) -> list[Result]:
    """The results, the two names of each in one."""
    results: dict[Key, Result] = {}
    for part in parts:
        key = Key(part.strategy.id, part.over, part.server, part.net)
        result = results.setdefault(key, Result(key, part.strategy))
        result.seen[part.host] = without[part], through[part]
        result.outcomes[part.host] = judge_part(part, without[part], through[part])
    return list(results.values())


def _is_doubted(part: Part, outcome: str) -> bool:
    """Is it something that a busy machine does too?"""
    return outcome in ("collateral", "harmed") or (outcome == "late" and not part.strategy.ambiguous)


def _keep_better(seen: dict[Part, Seen], found: dict[Part, Seen]) -> dict[Part, Seen]:
    return seen | {part: one for part, one in found.items() if _rank(part, one) > _rank(part, seen[part])}


def _rank(part: Part, seen: Seen) -> tuple[int, int]:
    if part.strategy.harmless:
        return sum(seen.hosts.values()) + len(seen.taken), 0
    return seen.count(part.host), -seen.repeats

"""What came of each strategy: a play through the box beside the same play through a cable, for the blocked and an allowed name.

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

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from tests.evasion.ground import Ground
from tests.evasion.recipe import ALLOWED, BLOCKED
from tests.evasion.stage import Part, Seen, parts_of, play_all

HOSTS = (BLOCKED, ALLOWED)
BAD_OUTCOMES = ("bypass", "collateral", "harmed")
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
    """The outcome for each of the two names, in a word, and what was seen on both grounds."""

    key: Key
    part: Part
    outcomes: dict[str, str] = field(default_factory=dict)
    seen: dict[tuple[str, str], Seen] = field(default_factory=dict)

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


def run_all(
    strategies: Sequence[object], nets: Sequence[str], play: Callable[[bool, Sequence[str], Callable[[Ground], None]], None],
    tell: Callable[[str, int, int], None],
) -> list[Result]:  # fmt: skip
    """Play strategies on both grounds for each group of nets; `play` builds a ground and hands it over."""
    results: dict[Key, Result] = {}
    for group in (tuple(net for net in nets if net != "VLAN"), tuple(net for net in nets if net == "VLAN")):
        parts = parts_of(strategies, group, HOSTS)  # type: ignore[arg-type]
        if not parts:
            continue
        seen: dict[str, dict[Part, Seen]] = {}
        for place, is_judged in (("without", False), ("through", True)):

            def fill(ground: Ground, place: str = place, parts: list[Part] = parts) -> None:
                seen[place] = _play(ground, parts, place, tell)
                if place == "without":
                    again = [part for part in parts if not part.strategy.harmless and not seen[place][part].count(part.host)]
                else:
                    again = [part for part in parts if judge_part(part, seen["without"][part], seen[place][part]) in ("collateral", "harmed", "late")]
                for _ in range(2 if again else 0):  # a busy machine loses packets: what fails must fail alone, and again
                    found = play_all(ground, again)
                    seen[place] |= {part: one for part, one in found.items() if _is_better(part, one, seen[place][part])}

            play(is_judged, group, fill)
        for part in parts:
            key = Key(part.strategy.id, part.over, part.server, part.net)
            result = results.setdefault(key, Result(key, part))
            without, through = seen["without"][part], seen["through"][part]
            result.seen["without", part.host], result.seen["through", part.host] = without, through
            result.outcomes[part.host] = judge_part(part, without, through)
    return list(results.values())


def _play(ground: Ground, parts: Sequence[Part], place: str, tell: Callable[[str, int, int], None]) -> dict[Part, Seen]:
    done = 0

    def count(number: int) -> None:
        nonlocal done
        done += number
        tell(place, done, len(parts))

    return play_all(ground, parts, count)


def _is_better(part: Part, found: Seen, before: Seen) -> bool:
    if part.strategy.harmless:
        return sum(found.hosts.values()) + len(found.taken) > sum(before.hosts.values()) + len(before.taken)
    return (found.count(part.host), -found.repeats) > (before.count(part.host), -before.repeats)


def bad_ones(results: Iterable[Result]) -> list[Result]:
    return [result for result in results if result.is_bad]

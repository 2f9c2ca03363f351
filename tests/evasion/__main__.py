"""Run the catalogue, whole or by strategies' ids (or the beginnings of ids), and say what came of it.

python -m tests.evasion                              everything; writes docs/evasion.md
python -m tests.evasion split.in-name decoy.          these, each play shown
"""

import argparse
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from penstock.demo.demo import find_obstacle
from tests.evasion.catalogue import CATALOGUE
from tests.evasion.ground import build_ground
from tests.evasion.improvised import build_improvised
from tests.evasion.recipe import Strategy
from tests.evasion.scorecard import write_scorecard
from tests.evasion.stage import parts_of
from tests.evasion.verdict import BAD_OUTCOMES, HOSTS, Result, judge_all, play_through, play_without

NETS = ("IPv4", "IPv6", "VLAN")
TAG = (100,)
REPORT = Path(__file__).parents[2] / "docs" / "evasion.md"


def run(strategies: Sequence[Strategy], nets: Sequence[str], tell: Callable[[str, int, int], None]) -> list[Result]:
    """Play these strategies over these nets, on a cable and through Penstock."""
    results = []
    with tempfile.TemporaryDirectory(prefix="penstock-evasion-") as name:
        here = Path(name)
        here.chmod(0o755)
        for vlan in ((), TAG):
            parts = parts_of(strategies, [net for net in nets if (net == "VLAN") == bool(vlan)], HOSTS)
            if not parts:
                continue
            with build_ground(here / f"cable{len(vlan)}", is_judged=False, vlan=vlan) as ground:
                without = play_without(ground, parts, counter("without", len(parts), tell))
            with build_ground(here / f"box{len(vlan)}", is_judged=True, vlan=vlan) as ground:
                through = play_through(ground, parts, without, counter("through", len(parts), tell))
            results += judge_all(parts, without, through)
    return results


def counter(place: str, of: int, tell: Callable[[str, int, int], None]) -> Callable[[int], None]:
    """Tells how many of the plays are done, as they are."""
    done = 0

    def count(number: int) -> None:
        nonlocal done
        done += number
        if done <= of:
            tell(place, done, of)

    return count


def show_plays(console: Console, results: Sequence[Result]) -> None:
    """Each play: what each server did, without the box and through it, and what the client got."""
    for result in results:
        console.print(f"{result.key.id} {result.key.over} {result.key.server} {result.key.net}")
        for host, outcome in result.outcomes.items():
            console.print(f"  {host}: {outcome}")
            for place, seen in zip(("without", "through"), result.seen[host], strict=True):
                acted = seen.hosts or (f"{len(seen.taken)} bytes" if seen.taken else "nothing")
                console.print(f"    {place} the box: acted on {acted}; the client got {seen.came[:40]!r} {seen.end}")


def show_bad(console: Console, results: Sequence[Result]) -> int:
    """A line for each strategy with a bypass or with collateral, and how to repeat it; how many there are."""
    bad: dict[str, list[str]] = {}
    for result in results:
        if result.is_bad:
            words = sorted({outcome for outcome in result.outcomes.values() if outcome in BAD_OUTCOMES})
            where = f"{result.key.over} {result.key.server} {result.key.net}: {', '.join(words)}"
            bad.setdefault(result.key.id, []).append(where)
    for name, where in bad.items():
        console.print(f"{name}: {'; '.join(where)}. Repeat: python -m tests.evasion {name}")
    return len(bad)


def choose(given: argparse.Namespace) -> list[Strategy]:
    """The strategies that the command line names."""
    if given.improvise is not None:
        return build_improvised(given.improvise, given.count)
    known = {word: build_improvised(*_read_improvised(word)) for word in given.ids if word.startswith("improvised.")}
    improvised = [found[-1] for found in known.values()]
    words = tuple(word for word in given.ids if word not in known)
    return [one for one in CATALOGUE if not given.ids or (words and one.id.startswith(words))] + improvised


def _read_improvised(word: str) -> tuple[int, int]:
    seed, _, number = word.partition(".")[2].partition("-")
    return int(seed), int(number) + 1


def read_words() -> argparse.Namespace:
    """The command line."""
    words = argparse.ArgumentParser(prog="python -m tests.evasion", description="The evasion catalogue.")
    words.add_argument("ids", nargs="*", help="strategies, or the beginnings of their ids; none: all, and a report")
    words.add_argument("--net", action="append", choices=NETS, help="only this net (may be given again)")
    words.add_argument("--improvise", type=int, metavar="SEED", help="strategies of random steps instead")
    words.add_argument("--count", type=int, default=300, help="how many of these (default: 300)")
    return words.parse_args()


def main() -> int:
    """0: no bypass and no collateral. 1: some. 2: cannot run here."""
    given = read_words()
    console = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    if obstacle := find_obstacle():
        console.print(obstacle)
        return 2
    logging.getLogger("quic").setLevel(logging.ERROR)  # a version that is refused is no news here
    chosen, begin_s = choose(given), time.monotonic()

    def tell(place: str, done: int, of: int) -> None:
        console.print(f"{place} the box: {done} of {of} plays")

    results = run(chosen, given.net or NETS, tell)
    took_s = time.monotonic() - begin_s
    if given.ids:
        show_plays(Console(markup=False, highlight=False, soft_wrap=True), results)
    bad = show_bad(console, results)
    plays = 2 * len(results)
    console.print(f"{len(chosen)} strategies, {plays} plays with and without the box, {took_s:.0f} s: {bad} bad")
    if not (given.ids or given.net or given.improvise is not None):
        write_scorecard(REPORT, CATALOGUE, results)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

"""Run the catalogue, whole or by strategies' ids (or the beginnings of ids), and say what came of it.

python -m tests.evasion                              everything; writes docs/evasion.md
python -m tests.evasion split.in-name decoy.          these, each play shown
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from penstock.demo.demo import find_obstacle
from tests.evasion.catalogue import CATALOGUE
from tests.evasion.ground import build_ground
from tests.evasion.recipe import Strategy
from tests.evasion.scorecard import write_scorecard
from tests.evasion.stage import parts_of
from tests.evasion.verdict import HOSTS, Result, judge_all, play_through, play_without

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


def main() -> int:
    """0: no bypass and no collateral. 1: some. 2: cannot run here."""
    words = argparse.ArgumentParser(prog="python -m tests.evasion", description="The evasion catalogue.")
    words.add_argument(
        "ids", nargs="*", help="strategies, or the beginnings of their ids; none: all, and the report is written"
    )
    words.add_argument("--net", action="append", choices=NETS, help="only this net (may be given again)")
    given = words.parse_args()
    console = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    if obstacle := find_obstacle():
        console.print(obstacle)
        return 2
    chosen = [
        one
        for one in CATALOGUE
        if not given.ids or any(one.id == word or one.id.startswith(word) for word in given.ids)
    ]
    begin_s = time.monotonic()
    results = run(
        chosen, given.net or NETS, lambda place, done, of: console.print(f"{place} the box: {done} of {of} plays")
    )
    took_s = time.monotonic() - begin_s
    if given.ids:
        show_plays(Console(markup=False, highlight=False, soft_wrap=True), results)
    bad = [result for result in results if result.is_bad]
    for result in bad:
        console.print(
            f"{result.key} {result.outcomes}  repeat: python -m tests.evasion {result.key.id} --net {result.key.net}"
        )
    console.print(f"{len(chosen)} strategies, {2 * len(results)} plays on each ground, {took_s:.0f} s: {len(bad)} bad")
    if not given.ids and not given.net:
        write_scorecard(REPORT, CATALOGUE, results)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

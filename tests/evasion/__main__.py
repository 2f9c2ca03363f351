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
from tests.evasion.ground import Ground, build_ground
from tests.evasion.recipe import Strategy
from tests.evasion.scorecard import write_scorecard
from tests.evasion.verdict import Result, bad_ones, run_all

NETS = ("IPv4", "IPv6", "VLAN")
TAG = (100,)
REPORT = Path(__file__).parents[2] / "docs" / "evasion.md"


def run(strategies: Sequence[Strategy], nets: Sequence[str], tell: Callable[[str, int, int], None]) -> list[Result]:
    """Play these strategies over these nets, on a cable and through Penstock."""
    with tempfile.TemporaryDirectory(prefix="penstock-evasion-") as name:
        Path(name).chmod(0o755)

        def play(is_judged: bool, group: Sequence[str], fill: Callable[[Ground], None]) -> None:
            here = Path(name) / f"{'-'.join(group)}-{'box' if is_judged else 'cable'}"
            with build_ground(here, is_judged=is_judged, vlan=TAG if "VLAN" in group else ()) as ground:
                fill(ground)

        return run_all(strategies, nets, play, tell)


def show_plays(console: Console, results: Sequence[Result]) -> None:
    """Each play: what each server did, without the box and through it, and what the client got."""
    for result in results:
        console.print(f"[bold]{result.key.id}[/] {result.key.over} {result.key.server} {result.key.net}")
        for host, outcome in result.outcomes.items():
            console.print(f"  {host}: {outcome}")
            for place in ("without", "through"):
                seen = result.seen[place, host]
                console.print(f"    {place:8} acted on {seen.hosts or 'nothing'}; the client got {seen.came[:40]!r} {seen.end}", markup=False, highlight=False)


def main() -> int:
    """0: no bypass and no collateral. 1: some. 2: cannot run here."""
    words = argparse.ArgumentParser(prog="python -m tests.evasion", description="The evasion catalogue.")
    words.add_argument("ids", nargs="*", help="strategies, or the beginnings of their ids; none: all, and the report is written")
    words.add_argument("--net", action="append", choices=NETS, help="only this net (may be given again)")
    given = words.parse_args()
    console = Console(stderr=True)
    if obstacle := find_obstacle():
        console.print(obstacle)
        return 2
    chosen = [one for one in CATALOGUE if not given.ids or any(one.id == word or one.id.startswith(word) for word in given.ids)]
    begin_s = time.monotonic()
    results = run(chosen, given.net or NETS, lambda place, done, of: console.print(f"{place} the box: {done} of {of} plays"))
    took_s = time.monotonic() - begin_s
    if given.ids:
        show_plays(Console(width=200), results)
    bad = bad_ones(results)
    for result in bad:
        console.print(f"{result.key} {result.outcomes}  repeat: python -m tests.evasion {result.key.id} --net {result.key.net}", markup=False)
    console.print(f"{len(chosen)} strategies, {2 * len(results)} plays on each ground, {took_s:.0f} s: {len(bad)} bad")
    if not given.ids and not given.net:
        write_scorecard(REPORT, CATALOGUE, results)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

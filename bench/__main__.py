"""`python -m bench`: Penstock beside a plain bridge and a direct cable, in a few minutes.

    python -m bench [--quick] [--blocks N] [--births N] [--names N] [--only http,tls,bulk,pace] [--results DIR]
                    [--before DIR]

Needs root, Linux 6.6, nginx, ab, wrk, curl and ethtool (scripts/packages.sh has them). Veth pairs on one machine: the
ratios travel, the absolute figures do not.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from bench.arms import BRIDGE, Arm, build_arms, describe_machine, read_offloads
from bench.loads import LoadError, Work, measure_bulk, measure_http, measure_pace, measure_tls
from bench.report import Results, print_table, print_times, write_files
from bench.rounds import interleave, pool
from bench.verdict import VerdictClock, VerdictTime
from penstock.demo.box import BoxError, run_penstock
from penstock.demo.namespaces import TopologyError
from penstock.demo.servers import ServerError

WHOLE = Work(connections=10_000, tls_s=1, transfers=2, paced=4_000)
QUICK = Work(connections=4_000, tls_s=1, transfers=1, paced=1_000)
LOADS = ("http", "tls", "bulk", "pace")
SHARE = 0.3  # of what the bridge carries, for the paced requests
FALLBACK_RATE = 3_000.0  # when `--only pace` leaves that unknown


def main() -> int:
    """Measure, print, write; the exit status."""
    words = argparse.ArgumentParser(prog="python -m bench", description=__doc__.splitlines()[0])
    words.add_argument("--quick", action="store_true", help="less work and 2 blocks: under a minute")
    words.add_argument("--blocks", type=int, help="interleaved blocks of each load (default 6, quick 2)")
    words.add_argument("--births", type=int, default=1, help="how often all is built anew; a figure is then a birth's")
    words.add_argument("--names", type=int, default=100_000, help="names on the blocked lists (default 100,000)")
    words.add_argument("--only", default=",".join(LOADS), help="which loads, by comma (default all)")
    words.add_argument("--results", type=Path, default=Path("results"), help="where the files go (default results)")
    words.add_argument("--before", type=Path, help="a checkout of another version, to be compared in the same run")
    given = words.parse_args()
    console = Console()
    loads = [load for load in LOADS if load in given.only.split(",")]
    blocks = given.blocks or (2 if given.quick else 6)
    try:
        with tempfile.TemporaryDirectory(prefix="penstock-bench-") as directory:
            births = [
                _measure(console, Path(directory) / f"birth-{n}", given, loads, blocks) for n in range(given.births)
            ]
    except (TopologyError, ServerError, BoxError, LoadError) as error:
        console.print(f"bench: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        return 130
    _, times, context = births[-1]
    results = births[0][0] if given.births == 1 else pool([results for results, _, _ in births])
    print_table(console, results)
    print_times(console, times)
    for path in write_files(given.results, results, times, context):
        console.print(f"written: {path}", highlight=False)
    return 0


def _measure(
    console: Console, directory: Path, given: argparse.Namespace, loads: list[str], blocks: int
) -> tuple[Results, dict[str, VerdictTime], dict[str, object]]:
    work = QUICK if given.quick else WHOLE
    directory.mkdir()
    for path in (directory, directory.parent):
        path.chmod(0o755)  # nginx's worker is another user
    with ExitStack() as stack:
        with console.status("Starting four topologies, their servers and Penstock"):
            arms, _ = stack.enter_context(build_arms(directory, names=given.names, before=given.before))
        offloads = read_offloads(arms)
        for switches, interfaces in offloads.items():
            console.print(f"offloads: {switches}: {', '.join(interfaces)}", highlight=False)
        results, times = _run_loads(arms, work, loads, blocks)
        status = run_penstock(arms[0].topology, ["status"]).stdout
    context: dict[str, object] = {
        "machine": describe_machine(),
        "offloads": offloads,
        "blocks": blocks,
        "births": given.births,
        "work": asdict(work),
        "names": given.names,
        "status": status.splitlines(),
    }
    return results, times, context


def _run_loads(arms: list[Arm], work: Work, loads: list[str], blocks: int) -> tuple[Results, dict[str, VerdictTime]]:
    named = {arm.name: arm for arm in arms}
    results: Results = {}
    clock, times = VerdictClock(arms[0].topology), {}
    with Progress(transient=True) as progress:
        for load in loads:
            task = progress.add_task(load, total=len(arms) * (2 * blocks + 1))
            measure, before = _choose(load, work, results), clock.read()
            results[load] = interleave(named, blocks, measure, partial(progress.advance, task))
            times[load] = clock.since(before)
    return results, times


def _choose(load: str, work: Work, results: Results) -> Callable[[Arm], dict[str, float]]:
    if load == "pace":
        http = results.get("http")
        rate = SHARE * statistics.median(http["connections"][BRIDGE]) if http else FALLBACK_RATE
        return lambda arm: measure_pace(arm, work, rate)
    measure = {"http": measure_http, "tls": measure_tls, "bulk": measure_bulk}[load]
    return lambda arm: measure(arm, work)


if __name__ == "__main__":
    sys.exit(main())

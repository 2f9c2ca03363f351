"""Overload: what is left to a bystander while another subscriber floods, through Penstock and through a plain bridge.

    python -m bench.flood [--quick] [--kinds syn,hello,dns,initial,ids,byte] [--rate PPS] [--blocks N] [--connections N]

For each kind of flood, and without one, the bystander opens new connections (`ab`) through each arm, in interleaved blocks,
while the same sender sends the same packets at the same rate into that arm. Both are protected and have every service on;
who floods has the default budget. Needs root, Linux 6.6, nginx, ab, curl, unbound and the Python packages of the tests.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bench.arms import BRIDGE, KINDS, PENSTOCK, PREFIX, describe_machine, start_nginx
from bench.flood_scene import (
    ASKED,
    FLOODS,
    FloodError,
    Sender,
    Told,
    Watched,
    ask_all,
    build_subscribers,
    find_processes,
    prepare_services,
    prepare_victim,
    read_rss_kb,
)
from bench.loads import LoadError
from bench.rounds import Estimate, Figures, compare, interleave
from penstock.demo.box import GOOD, BoxError, start_box, stop_box, write_configuration
from penstock.demo.namespaces import TopologyError
from penstock.demo.servers import Certificate, Server, ServerError, write_certificate
from penstock.demo.topology import OFFICE, SERVER_IPV4, Topology

CAPACITY = 1 << 18  # the default
RATE, BLOCKS, QUICK_BLOCKS = 20_000, 6, 2
CONNECTIONS, QUICK_CONNECTIONS, CLIENTS = 6_000, 2_000, 32
LEAD_S = 1.5  # in which what the budget allows at once is spent
PATIENCE_S = 60
AIM = 0.90
COUNTED = ("over_budget", "table_full", "stream_full", "connection_full", "ring_full", "expired", "stale_open")


@dataclass(frozen=True)
class Place:
    """An arm: its topology, the bystander's server."""

    name: str
    topology: Topology
    site: Server


@dataclass
class Scene:
    """Both arms, and what is known of the one with Penstock."""

    places: dict[str, Place]
    pair: Certificate
    watched: Watched
    pids: list[int]


@dataclass
class Outcome:
    """What one kind of flood did."""

    figures: dict[str, Figures]
    told: dict[str, list[Told]] = field(default_factory=dict)
    counted: dict[str, int] = field(default_factory=dict)
    difference: int = 0
    wrong: dict[str, str] = field(default_factory=dict)
    rss_kb: tuple[int, int] = (0, 0)

    def median(self, arm: str) -> float:
        """The bystander's connections a second through an arm."""
        return statistics.median(self.figures["connections"][arm])

    @property
    def ratio(self) -> Estimate:
        """The bystander's connections a second, Penstock / bridge."""
        return compare(self.figures["connections"], PENSTOCK, BRIDGE)

    def rate(self, arm: str) -> float:
        """The flood's packets a second, as reached."""
        return statistics.median(one.rate for one in self.told[arm]) if self.told.get(arm) else 0.0


def _tell_ratio(outcome: Outcome) -> str:
    ratio = outcome.ratio
    return f"{ratio.median:.2f} ({ratio.low:.2f} … {ratio.high:.2f})"


def _tell_failed(outcome: Outcome) -> str:
    return " / ".join(f"{2 * sum(outcome.figures['failed'][arm]):.0f}" for arm in (PENSTOCK, BRIDGE))


QUANTITIES: dict[str, Callable[[Outcome], str]] = {
    "flood, packets/s into Penstock": lambda outcome: f"{outcome.rate(PENSTOCK):,.0f}",
    "flood, packets/s into the bridge": lambda outcome: f"{outcome.rate(BRIDGE):,.0f}",
    "connections/s, Penstock": lambda outcome: f"{outcome.median(PENSTOCK):,.0f}",
    "connections/s, bridge": lambda outcome: f"{outcome.median(BRIDGE):,.0f}",
    f"Penstock / bridge (aim {AIM:.2f})": _tell_ratio,
    "failed connections, Penstock / bridge": _tell_failed,
    "wrong answers to the bystander": lambda outcome: ", ".join(outcome.wrong) or f"0 of {len(ASKED)}",
    "in memory before, behind, MB": lambda outcome: " → ".join(f"{one / 1024:.0f}" for one in outcome.rss_kb),
    "ledger's difference": lambda outcome: str(outcome.difference),
}


def main() -> int:
    """Measure, print, write; the exit status."""
    words = argparse.ArgumentParser(prog="python -m bench.flood", description=__doc__.splitlines()[0])
    words.add_argument("--quick", action="store_true", help=f"{QUICK_BLOCKS} blocks of fewer connections")
    words.add_argument("--kinds", default=",".join(FLOODS), help="which floods, by comma (default all)")
    words.add_argument("--rate", type=float, default=RATE, help=f"packets a second (default {RATE:,})")
    words.add_argument("--blocks", type=int, help=f"interleaved blocks of each kind (default {BLOCKS})")
    words.add_argument("--connections", type=int, help=f"of the bystander, a sample (default {CONNECTIONS:,})")
    words.add_argument("--results", type=Path, default=Path("results"), help="where the files go (default results)")
    given = words.parse_args()
    given.blocks = given.blocks or (QUICK_BLOCKS if given.quick else BLOCKS)
    given.connections = given.connections or (QUICK_CONNECTIONS if given.quick else CONNECTIONS)
    console = Console()
    try:
        with tempfile.TemporaryDirectory(prefix="penstock-bench-") as directory:
            Path(directory).chmod(0o755)  # nginx's worker is another user
            with build_scene(Path(directory)) as scene:
                outcomes = measure_all(scene, given)
    except (TopologyError, ServerError, BoxError, LoadError, FloodError) as error:
        console.print(f"bench.flood: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        return 130
    print_outcomes(console, outcomes)
    for path in write_files(given, outcomes):
        console.print(f"written: {path}", highlight=False)
    return 0


@contextmanager
def build_scene(directory: Path) -> Iterator[Scene]:
    """Both arms with their servers and victims, and Penstock in line in one, until the block ends."""
    pair = write_certificate(directory)
    (directory / "big").touch()
    with ExitStack() as stack:
        places = {}
        for name in (PENSTOCK, BRIDGE):
            topology = stack.enter_context(Topology(KINDS[name], prefix=PREFIX))
            topology.write_settings("client", {"ipv4/ip_local_port_range": "1024 65535", "ipv4/tcp_tw_reuse": 1})
            # Half-open connections of one sample are not to weigh on the next: a SYN-ACK is repeated once.
            server = {"ipv4/tcp_max_syn_backlog": 8192, "core/somaxconn": 8192, "ipv4/tcp_synack_retries": 1}
            topology.write_settings("server", server)
            places[name] = Place(name, topology, start_nginx(topology, directory / name, pair))
            prepare_victim(topology)
        line = places[PENSTOCK]
        prepare_services(line.topology, directory, line.site, pair)
        box = start_box(line.topology, _write_policy(directory))
        stack.callback(stop_box, line.topology, box)
        yield Scene(places, pair, Watched(line.topology), find_processes(box.program))


def measure_all(scene: Scene, given: argparse.Namespace) -> dict[str, Outcome]:
    """Every kind of flood, and before them none."""
    kinds = [kind for kind in FLOODS if kind in given.kinds.split(",")]
    outcomes = {}
    with Progress(transient=True) as progress:
        for kind in ("none", *kinds):
            task = progress.add_task(kind, total=2 * (2 * given.blocks + 1))
            outcomes[kind] = measure_kind(scene, kind, given, partial(progress.advance, task))
    return outcomes


def measure_kind(scene: Scene, kind: str, given: argparse.Namespace, on_sample: Callable[[], None]) -> Outcome:
    """The bystander's rate through both arms during floods of one kind, and what else it could do meanwhile."""
    senders: dict[str, Sender] = {}
    outcome, before, rss_kb = Outcome({}), scene.watched.settle(), read_rss_kb(scene.pids)
    line = scene.places[PENSTOCK]
    try:
        if kind != "none":
            for place in scene.places.values():
                senders[place.name] = Sender(place.topology, kind, given.rate)

        def measure(place: Place) -> dict[str, float]:
            with flooding(senders.get(place.name), outcome, place.name):
                return connect_many(place, given.connections)

        outcome.figures = interleave(scene.places, given.blocks, measure, on_sample)
        with flooding(senders.get(PENSTOCK), outcome, PENSTOCK):
            got = ask_all(line.topology, line.site, scene.pair)
    finally:
        for sender in senders.values():
            sender.close()
    after = scene.watched.settle()
    outcome.wrong = {question: answer for question, answer in got.items() if answer != ASKED[question]}
    outcome.counted = {name: after.reasons[name] - before.reasons[name] for name in COUNTED}
    outcome.difference = after.difference
    outcome.rss_kb = (rss_kb, read_rss_kb(scene.pids))
    return outcome


@contextmanager
def flooding(sender: Sender | None, outcome: Outcome, name: str) -> Iterator[None]:
    """The flood of an arm, if there is one, LEAD_S before the block and as long as it lasts."""
    if sender is None:
        yield
        return
    with sender.flooding() as told:
        time.sleep(LEAD_S)
        yield
    outcome.told.setdefault(name, []).extend(told)


def connect_many(place: Place, connections: int) -> dict[str, float]:
    """The bystander's new HTTP connections a second, one request each, and how many failed: all of them, at no rate, when
    ab gave up because one hung. Raises LoadError."""
    words = ["-q", "-r", "-n", connections, "-c", CLIENTS, "-B", OFFICE.ipv4, "-H", f"Host: {GOOD}"]
    try:
        done = place.topology.run("client", ["ab", *map(str, words), f"http://{SERVER_IPV4}/"], timeout_s=PATIENCE_S)
    except subprocess.TimeoutExpired:
        raise LoadError(f"{place.name}: ab was not done after {PATIENCE_S} s") from None
    rate = re.search(r"Requests per second:\s+([\d.]+)", done.stdout)
    failed = re.search(r"Failed requests:\s+(\d+)", done.stdout)
    if "timeout specified has expired" in done.stderr:
        return {"connections": 0.0, "failed": float(connections)}
    if rate is None or failed is None:
        raise LoadError(f"{place.name}: ab says {done.stderr.strip()[-200:]}")
    return {"connections": float(rate[1]), "failed": float(failed[1])}


def build_rows(outcomes: dict[str, Outcome]) -> list[list[str]]:
    """One row of text for each quantity, a column for each kind of flood."""
    rows = {title: [tell(outcome) for outcome in outcomes.values()] for title, tell in QUANTITIES.items()}
    rows |= {f"counted: {name}": [f"{outcome.counted[name]:,}" for outcome in outcomes.values()] for name in COUNTED}
    return [[title, *cells] for title, cells in rows.items()]


def print_outcomes(console: Console, outcomes: dict[str, Outcome]) -> None:
    """The rows as a rich table."""
    table = Table(title="A bystander's new connections during another's flood; medians, 95 % intervals")
    table.add_column("")
    for kind in outcomes:
        table.add_column(kind, justify="right")
    for row in build_rows(outcomes):
        table.add_row(*row)
    console.print(table)


def write_files(given: argparse.Namespace, outcomes: dict[str, Outcome]) -> tuple[Path, Path]:
    """Every figure as JSON, and the table as Markdown; both paths."""
    given.results.mkdir(parents=True, exist_ok=True)
    whole, table = given.results / "flood.json", given.results / "flood.md"
    settings = {"rate": given.rate, "blocks": given.blocks, "connections": given.connections, "load": os.getloadavg()}
    found = {kind: {**asdict(outcome), "ratio": asdict(outcome.ratio)} for kind, outcome in outcomes.items()}
    content = {"machine": describe_machine(), "settings": settings, "floods": found}
    whole.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    lines = ["| | " + " | ".join(outcomes) + " |", "|---|" + "---:|" * len(outcomes)]
    lines += ["| " + " | ".join(row) + " |" for row in build_rows(outcomes)]
    table.write_text("\n".join(lines) + "\n")
    return whole, table


def _write_policy(directory: Path) -> Path:
    return write_configuration(
        directory,
        subscribers=build_subscribers(),
        log={"all_requests": False, "path": "events.json"},
        flows={"capacity": CAPACITY},
    )


if __name__ == "__main__":
    sys.exit(main())

"""`python -m bench.portal`: what people who ask the API cost those whose packets are judged.

    python -m bench.portal [--blocks N] [--calls N] [--watchers N] [--rate N] [--results DIR]

One box, interleaved in one run: requests at a fixed rate on connections of their own, alone, and beside so many API calls a
second and so many who watch live: the client's times, and the verdict's own. A block is both, in turn; a figure is the
ratio of the two. Needs root, Linux 6.6, nginx.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bench.arms import PREFIX, Arm, describe_machine, start_nginx
from bench.loads import Work, measure_pace
from bench.verdict import VerdictClock
from penstock.demo.box import GOOD, run_penstock, start_box, stop_box, write_configuration
from penstock.demo.servers import write_certificate
from penstock.demo.topology import SERVER_IPV4, Topology

LISTEN = "127.0.0.1:8443"
WORK = Work(connections=1, tls_s=1, transfers=1, paced=2_000)
CALLER = Path(__file__).with_name("portal_calls.py")
PATIENCE_S = 60.0
FIGURES = ("request_p50", "request_p99", "whole_p50", "whole_p99", "verdict_p50", "verdict_p99")


def main() -> int:
    """Measure, print, write; the exit status."""
    words = argparse.ArgumentParser(prog="python -m bench.portal", description=__doc__.splitlines()[0])
    words.add_argument("--blocks", type=int, default=8, help="interleaved blocks (default 8)")
    words.add_argument("--calls", type=int, default=200, help="API calls a second (default 200)")
    words.add_argument("--watchers", type=int, default=3, help="who watch live (default 3)")
    words.add_argument("--rate", type=float, default=1_000.0, help="requests a second through the line (default 1000)")
    words.add_argument("--results", type=Path, default=Path("results"), help="where the file goes (default results)")
    given = words.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name, ExitStack() as stack:
        directory = Path(name)
        directory.chmod(0o755)
        rows = _measure(console, stack, directory, given)
    figures = {"calls_per_s": given.calls, "watchers": given.watchers, "blocks": rows}
    given.results.mkdir(parents=True, exist_ok=True)
    path = given.results / "portal.json"
    path.write_text(json.dumps({"machine": describe_machine(), **figures}, indent=1) + "\n")
    _print(console, rows)
    console.print(f"written: {path}", highlight=False)
    return 0


def _measure(console: Console, stack: ExitStack, directory: Path, given: argparse.Namespace) -> list[dict[str, Any]]:
    hosts = directory / "hosts"
    hosts.write_text(f"127.0.0.1 localhost\n{SERVER_IPV4} {GOOD}\n")
    api = {"listen": LISTEN, "database": "portal/portal.db", "journal": "portal/journal.db", "calls_per_s": 10_000}
    configuration = write_configuration(directory, api=api, log={"all_requests": False, "path": "events.json"})
    topology = stack.enter_context(Topology("penstock", prefix=PREFIX))
    topology.write_settings("client", {"ipv4/ip_local_port_range": "1024 65535", "ipv4/tcp_tw_reuse": 1})
    start_nginx(topology, directory / "nginx", write_certificate(directory))
    with console.status("Starting the box"):
        stack.callback(stop_box, topology, start_box(topology, configuration))
    words = ["token", "create", "--config", str(configuration), "--role", "operator"]
    token = run_penstock(topology, words).stdout.strip()
    arm, rows = Arm("penstock", topology, hosts), []
    clock = VerdictClock(topology)
    measure_pace(arm, WORK, given.rate)  # warm
    with Progress(transient=True) as progress:
        task = progress.add_task("requests", total=2 * given.blocks)
        for block in range(given.blocks):
            row: dict[str, Any] = {}
            for kind in ("alone", "asked") if block % 2 else ("asked", "alone"):
                caller = _start_caller(topology, token, given) if kind == "asked" else None
                before = clock.read()
                row[kind] = measure_pace(arm, WORK, given.rate)
                times = clock.since(before)
                row[kind] |= {"verdict_p50": times.p50_us, "verdict_p99": times.p99_us}
                if caller is not None:
                    row["calls"] = _end_caller(caller)
                progress.advance(task)
            rows.append(row)
    return rows


def _start_caller(topology: Topology, token: str, given: argparse.Namespace) -> "subprocess.Popen[str]":
    """Those who ask, as soon as they are answered."""
    argv = [sys.executable, str(CALLER), f"http://{LISTEN}", str(given.calls), str(given.watchers)]
    program = topology.spawn("box", argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert program.stdin is not None
    assert program.stdout is not None
    program.stdin.write(token + "\n")
    program.stdin.flush()
    program.stdout.readline()
    return program


def _end_caller(program: "subprocess.Popen[str]") -> dict[str, float]:
    stdout, _ = program.communicate("\n", timeout=PATIENCE_S)
    return dict(json.loads(stdout))


def _print(console: Console, rows: list[dict[str, Any]]) -> None:
    table = Table("microseconds", "alone", "asked", "asked / alone, median", "of blocks from .. to")
    for name in FIGURES:
        ratios = sorted(row["asked"][name] / row["alone"][name] for row in rows)
        medians = [statistics.median(row[kind][name] for row in rows) for kind in ("alone", "asked")]
        spread = f"{ratios[0]:.2f} .. {ratios[-1]:.2f}"
        table.add_row(name, *(f"{value:.0f}" for value in medians), f"{statistics.median(ratios):.2f}", spread)
    console.print(table)
    calls = [row["calls"] for row in rows]
    rate, half_ms, most_ms = (
        statistics.median(one[name] for one in calls) for name in ("calls_per_s", "p50_ms", "p99_ms")
    )
    refused = sum(one["refused"] for one in calls)
    within = f"half within {half_ms:.1f} ms, 99 % within {most_ms:.1f} ms"
    console.print(f"calls answered: {rate:.0f}/s, {within}; refused: {refused:.0f}")


if __name__ == "__main__":
    sys.exit(main())

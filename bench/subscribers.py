"""`python -m bench.subscribers`: a box that knows a million subscribers beside one that knows ten.

    python -m bench.subscribers [--subscribers N] [--blocks N] [--rate N] [--seconds N] [--results DIR]

    memory      what the processes of either box have for themselves, and the kernel for their tables
    start       until it judges, knowing nobody, and knowing all of them from its store
    connections new HTTP connections a second through both, in turn
    changes     RADIUS accounting at a fixed rate while 1,000 connections a second are made: replies, their times
    effect      from an Accounting-Request to the first request that it changes

Needs root, Linux 6.6, nginx and ab. Veth pairs on one machine: the ratios travel, the absolute figures do not.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bench.arms import PREFIX, Arm, describe_machine, start_nginx
from bench.loads import Work, measure_http, measure_pace
from bench.radius_load import START, STOP
from bench.rounds import compare, interleave
from penstock.control.configuration import load_configuration
from penstock.control.subscribers.model import Assign, Place
from penstock.control.subscribers.register import Register
from penstock.control.subscribers.store import Store
from penstock.demo.box import GOOD, Box, start_box, stop_box, write_configuration
from penstock.demo.servers import write_certificate
from penstock.demo.topology import HOME, SERVER_IPV4, Topology

SECRET = "testing123"
PORT = 1813
BATCH = 500
LEASE_S = 7 * 86_400
WORK = Work(connections=10_000, tls_s=1, transfers=1, paced=1_000)
TRAFFIC = 1_000.0  # requests a second on connections of their own, while sessions change
MEBI = 1 << 20
PATIENCE_S = 10.0
EFFECTS = 20


def main() -> int:
    """Measure, print, write; the exit status."""
    words = argparse.ArgumentParser(prog="python -m bench.subscribers", description=__doc__.splitlines()[0])
    words.add_argument("--subscribers", type=int, default=1_000_000, help="with two addresses each (default 1,000,000)")
    words.add_argument("--blocks", type=int, default=6, help="interleaved blocks of connections (default 6)")
    words.add_argument("--rate", type=int, default=5_000, help="session changes a second (default 5,000)")
    words.add_argument("--seconds", type=int, default=10, help="of session changes (default 10)")
    words.add_argument("--results", type=Path, default=Path("results"), help="where the file goes (default results)")
    given = words.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name, ExitStack() as stack:
        directory = Path(name)
        directory.chmod(0o755)
        figures = _measure(console, stack, directory, given)
    given.results.mkdir(parents=True, exist_ok=True)
    path = given.results / "subscribers.json"
    path.write_text(json.dumps({"machine": describe_machine(), **figures}, indent=1) + "\n")
    _print(console, figures)
    console.print(f"written: {path}", highlight=False)
    return 0


def _measure(console: Console, stack: ExitStack, directory: Path, given: argparse.Namespace) -> dict[str, Any]:
    figures: dict[str, Any] = {"subscribers": given.subscribers}
    hosts = directory / "hosts"
    hosts.write_text(f"127.0.0.1 localhost\n{SERVER_IPV4} {GOOD}\n")
    pair = write_certificate(directory)
    arms, boxes = {}, {}
    for kind, count in (("few", 10), ("many", given.subscribers)):
        here = directory / kind
        here.mkdir()
        configuration = _write_configuration(here, count)
        figures[f"filled_per_s_{kind}"] = _fill(configuration, count, f"Filling the store of {kind}")
        topology = stack.enter_context(Topology("penstock", prefix=PREFIX))
        topology.write_settings("client", {"ipv4/ip_local_port_range": "1024 65535", "ipv4/tcp_tw_reuse": 1})
        topology.write_settings("server", {"ipv4/tcp_max_syn_backlog": 8192, "core/somaxconn": 8192})
        start_nginx(topology, here / "nginx", pair)
        begun_s = time.monotonic()
        with console.status(f"Starting the box of {kind}"):
            boxes[kind] = start_box(topology, configuration)
        figures[f"start_s_{kind}"] = time.monotonic() - begun_s
        stack.callback(stop_box, topology, boxes[kind])
        figures[f"memory_{kind}"] = read_memory(boxes[kind])
        arms[kind] = Arm(kind, topology, hosts)
    with Progress(transient=True) as progress:
        task = progress.add_task("connections", total=2 * (2 * given.blocks + 1))
        work = partial(measure_http, work=WORK)
        http = interleave(arms, given.blocks, work, partial(progress.advance, task))
    figures["connections"] = http["connections"]
    figures["effect_ms"] = _measure_effects(arms["many"])
    figures["idle"] = statistics.median(measure_pace(arms["many"], WORK, TRAFFIC)["request_p50"] for _ in range(3))
    figures["changes"], figures["busy"] = _measure_changes(arms["many"], given)
    figures["memory_many_behind"] = read_memory(boxes["many"])
    return figures


def _write_configuration(here: Path, count: int) -> Path:
    size = max(1024, 1 << (count + 1).bit_length())
    return write_configuration(
        here,
        log={"all_requests": False, "path": "events.json"},
        flows={"capacity": 1 << 18},
        register={
            "database": "subscribers.db",
            "capacity": min(size, 1 << 20),
            "addresses": min(2 * size, 1 << 21),
            "default_profile": "everything",
        },
        radius={
            "listen": f"127.0.0.1:{PORT}",
            "clients": [{"prefix": "127.0.0.0/8", "secret": SECRET}],
            "identity": ["User-Name"],
            "profile": "Filter-Id",
        },
    )


def _fill(path: Path, count: int, what: str) -> float:
    """Put `count` sessions with two addresses each into the store; how many a second."""
    configuration = load_configuration(path)
    now_s = time.time()
    begun_s = time.perf_counter()
    store = Store(configuration.subscriber_register.database)
    register = Register(store, configuration.subscriber_register)
    register.sync_configuration(configuration, now_s)
    with Progress(transient=True) as progress:
        task = progress.add_task(what, total=count)
        for first in range(1, count + 1, BATCH):
            numbers = range(first, min(first + BATCH, count + 1))
            register.apply([_assign(number, now_s) for number in numbers], now_s)
            progress.advance(task, len(numbers))
    store.close()
    return count / (time.perf_counter() - begun_s)


def _assign(number: int, now_s: float) -> Assign:
    ipv4 = bytes(10) + b"\xff\xff" + ((100 << 24) + number).to_bytes(4, "big")
    ipv6 = b"\x20\x01\x0d\xb8" + (number << 8).to_bytes(4, "big")[:3] + bytes(9)
    places = (Place(0, ipv4, 128), Place(0, ipv6, 56))
    session = f"192.0.2.1 session-{number:07}"
    return Assign("radius", session, f"s{number:07}", places, now_s, None, now_s + LEASE_S, "192.0.2.1")


# ---- memory -----------------------------------------------------------------------------------------------------------
def read_memory(box: Box) -> dict[str, float]:
    """MiB: of each process of the box what is its own (PSS without what files back), and of the kernel's tables."""
    found: dict[str, float] = {}
    tables: dict[int, int] = {}
    for process in _family(box.program.pid):
        name = _name(process)
        rollup = (process / "smaps_rollup").read_text()
        own = {row.split(":")[0]: int(row.split()[1]) for row in rollup.splitlines()[1:]}
        found[name] = found.get(name, 0) + (own["Pss_Anon"] + own["Pss_Shmem"]) / 1024
        for info in (process / "fdinfo").iterdir():
            fields = dict(re.findall(r"^(\w+):\s+(\d+)$", info.read_text(), re.MULTILINE))
            if "memlock" in fields and "map_id" in fields:
                tables[int(fields["map_id"])] = int(fields["memlock"])
    found["kernel tables"] = sum(tables.values()) / MEBI
    found["all"] = sum(found.values())
    return found


def _family(pid: int) -> list[Path]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [Path(f"/proc/{pid}"), *(one for child in children for one in _family(int(child)))]


def _name(process: Path) -> str:
    words = (process / "cmdline").read_bytes().decode().split("\0")
    if "penstock.engine" in words:
        return "packet process"
    return "register" if any("subscribers" in word for word in words) else "control process"


# ---- changes ----------------------------------------------------------------------------------------------------------
def _measure_changes(arm: Arm, given: argparse.Namespace) -> tuple[dict[str, float], list[float]]:
    """Session changes at the rate, and the times of requests that were made meanwhile, in microseconds."""
    script = Path(__file__).with_name("radius_load.py")
    count = given.rate * given.seconds
    argv = [sys.executable, str(script), "127.0.0.1", str(PORT), SECRET, str(given.rate), str(count), "1"]
    program = arm.topology.spawn("box", [*argv, str(given.subscribers)], stdout=subprocess.PIPE, text=True)
    rates = []
    while program.poll() is None:
        rates.append(measure_pace(arm, WORK, TRAFFIC)["request_p50"])
    text = program.stdout.read()
    program.stdout.close()
    return json.loads(text), rates


def _measure_effects(arm: Arm) -> dict[str, float]:
    """Milliseconds from a Start that gives the client's address to somebody without services, and from the Stop that gives
    it back, to the first request that shows it: median and longest."""
    times: dict[str, list[float]] = {"start": [], "stop": []}
    script = [sys.executable, str(Path(__file__).with_name("radius_call.py")), "127.0.0.1", str(PORT), SECRET]
    for turn in range(EFFECTS):
        for name, status, expected in (("start", START, False), ("stop", STOP, True)):
            identifier = 2 * turn + (status == STOP)
            done = arm.topology.run("box", [*script, str(status), str(identifier), HOME.ipv4, "nothing"])
            if done.returncode:
                raise RuntimeError(f"{name}: no reply: {done.stderr.strip()[-200:]}")
            sent_s = float(done.stdout)
            while _is_judged(arm) is not expected:
                if time.monotonic() - sent_s > PATIENCE_S:
                    raise RuntimeError(f"{name}: nothing changed within {PATIENCE_S:.0f} s")
            times[name].append((time.monotonic() - sent_s) * 1e3)
            time.sleep(1.1)  # times of sessions are seconds here
    medians = {name: statistics.median(values) for name, values in times.items()}
    return medians | {f"{name}_longest": max(values) for name, values in times.items()}


def _is_judged(arm: Arm) -> bool:
    """Is a request for a blocked host refused now?"""
    argv = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-m", "2", "-H", "Host: bad.example.test"]
    done = arm.topology.run("client", [*argv, f"http://{SERVER_IPV4}/"])
    return done.stdout.strip() == "403"


def _print(console: Console, figures: dict[str, Any]) -> None:
    table = Table("", "ten", f"{figures['subscribers']:,}", "ratio, or what is asked")
    few, many = figures["memory_few"], figures["memory_many"]
    for name in many:
        table.add_row(
            f"memory: {name}, MiB",
            f"{few.get(name, 0):.1f}",
            f"{many[name]:.1f}",
            f"+{many[name] - few.get(name, 0):.1f}",
        )
    http = figures["connections"]
    found = compare(http, "many", "few")
    medians = [f"{statistics.median(http[arm]):,.0f}" for arm in ("few", "many")]
    table.add_row("new HTTP connections, 1/s", *medians, f"{found.median:.2f} ({found.low:.2f} … {found.high:.2f})")
    table.add_row("start, s", f"{figures['start_s_few']:.1f}", f"{figures['start_s_many']:.1f}", "")
    changes = figures["changes"]
    table.add_row(
        "session changes, 1/s",
        "",
        f"{changes['rate']:,.0f}",
        f"answered {changes['answered']:,} of {changes['sent']:,}",
    )
    table.add_row("reply, p50 and p99, ms", "", f"{changes['reply_p50_ms']:.1f}, {changes['reply_p99_ms']:.1f}", "")
    table.add_row(
        "a request meanwhile, p50, µs",
        f"{figures['idle']:,.0f} without",
        f"{statistics.median(figures['busy']):,.0f}",
        "",
    )
    effect = figures["effect_ms"]
    table.add_row(
        "effect of a Start, ms", "", f"{effect['start']:.0f}", f"longest {effect['start_longest']:.0f} (1,000)"
    )
    table.add_row("effect of a Stop, ms", "", f"{effect['stop']:.0f}", f"longest {effect['stop_longest']:.0f} (1,000)")
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())

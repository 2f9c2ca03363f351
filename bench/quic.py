"""What QUIC costs: Initials judged a second on one core, and how soon a browser asks over TCP when one is blocked.

    python -m bench.quic [--initials 4096] [--names 100000] [--rounds 15] [--visits 5] [--only step,visit]

The first part takes ring records through the whole of `step`, as `steer` made them, every Initial under a connection ID of
its own: read, judged, released or closed. One child for each back end of the cipher, all on one core, in turns; before each
round the connections are forgotten. Processor time; what would be sent goes to memory, so system calls are not in it.

The second part lets Chromium ask for a blocked host through a running Penstock, and, in turns, for an allowed one whose
server is silent. It needs root, Linux 6.6 and Chromium.
"""

import argparse
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from socket import AF_INET, SOCK_DGRAM, socket

import numpy as np
import yaml
from tests.live.line import build_line
from tests.live.quic import visit
from tests.quic import crypto, datagram, hello, initial
from tests.vocabulary import TO_SERVER, Flow

from bench.initial import ask, find_choices
from penstock.cipher import features
from penstock.compile.memory import put64, shared
from penstock.compile.native import kernel
from penstock.control.configuration import load_configuration
from penstock.control.events import EventReader
from penstock.control.lists.build import build_names
from penstock.control.snapshot import build_snapshot
from penstock.control.subscribers.fixed import FixedOwners
from penstock.demo.box import BLOCKED, GOOD, run_penstock
from penstock.demo.servers import write_certificate
from penstock.flow.connection import CONNECTION_COUNT, RETAIN_MS
from penstock.flow.stream import POOL_NOW_MS
from penstock.kernel import reasons as r
from penstock.kernel import tables as t
from penstock.line.native import NativePath
from penstock.path import layout
from penstock.path.step import step
from penstock.policy.snapshot import Snapshot

KINDS = ("allowed", "blocked", "hello in two")
AIMS = {True: 500_000, False: 100_000}  # with the processor's AES instructions, and without
HELLO_BYTES = {"allowed": 600, "blocked": 600, "hello in two": 1800}  # as curl's; as Chromium's, post-quantum
FIRST_PIECE = 1000
CID_BYTES = 8
STRIDE = t.UP_HEAD + t.UP_SMALL
START_NS = 1 << 40
MS_SHIFT = 20
SETTINGS = {
    "database": "names.db",
    "lists": [{"category": "phishing", "path": "names.txt"}],
    "services": {"web": {"categories": {"phishing": "block"}}},
    "profiles": {"all": {"services": ["web"]}},
    "subscribers": [{"id": "home", "prefixes": ["10.0.0.0/8"], "profile": "all"}],
}


@shared
def step_all(w, records, count, capture, first, last):  # type: ignore[no-untyped-def]
    """Take each record to its end. Returns how many of an even number ended as `first`, and of an odd one as `last`."""
    done = 0
    for number in range(count):
        put64(capture, 0)
        if step(w, records + number * STRIDE) == (last if number & 1 else first):
            done += 1
    return done


def build_policy(directory: Path, count: int) -> tuple[Snapshot, FixedOwners]:
    """A snapshot whose one list has `count` names and `bad.test`."""
    names = "".join(f"name-{number}.example.net\n" for number in range(count))
    (directory / "names.txt").write_text(f"bad.test\n{names}")
    path = directory / "penstock.yaml"
    path.write_text(yaml.safe_dump(SETTINGS))
    configuration = load_configuration(path)
    build_names(configuration)
    snapshot = Snapshot.open(build_snapshot(configuration, configuration.database, 1, directory))
    return snapshot, FixedOwners(configuration)


def build_initials(chance: random.Random, kind: str, count: int) -> Iterator[bytes]:
    """The datagrams of `count` Initials, each connection of another client."""
    pieces = 2 if kind == "hello in two" else 1
    name = "www.bad.test" if kind == "blocked" else "www.good.test"
    for number in range(count // pieces):
        flow = Flow(client=f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", client_port=40000, server_port=443)
        dcid, scid, whole = chance.randbytes(CID_BYTES), chance.randbytes(CID_BYTES), hello(name, HELLO_BYTES[kind])
        starts = (0, FIRST_PIECE, None) if pieces == 2 else (0, None)
        for place, (start, end) in enumerate(pairwise(starts)):
            frames = crypto(start or 0, whole[start:end])
            yield datagram(flow, initial(dcid, frames, scid=scid, number=place))


class Worker:
    """A path in memory, and the ring records of each kind."""

    def __init__(self, snapshot: Snapshot, owners: FixedOwners, count: int) -> None:
        self.path = NativePath(4 * CONNECTION_COUNT)
        self.path.set_snapshot(snapshot.address, snapshot.names_address)
        owners.fill(self.path.directory)
        self.events = EventReader(self.path.shared)
        self.count, self.now_ns, self.run = count, START_NS, kernel(step_all)
        self.path.set_pulse(START_NS)
        chance = random.Random(4)
        self.records = {kind: self._steer_all(build_initials(chance, kind, count)) for kind in KINDS}

    def _steer_all(self, frames: Iterator[bytes]) -> np.ndarray:
        records = np.zeros(self.count * STRIDE, np.uint8)
        for number, frame in enumerate(frames):
            self.path.ring[:8] = 0
            self.path.steer(frame, TO_SERVER, START_NS)
            if self.path.ring[0] == 0:
                raise RuntimeError("an Initial that does not go up")
            records[number * STRIDE : (number + 1) * STRIDE] = self.path.ring[16 : 16 + STRIDE]
        return records

    def measure(self, kind: str) -> float:
        """Nanoseconds an Initial; the connections of the round before are too old to be found."""
        self.now_ns += 2 * RETAIN_MS << MS_SHIFT
        worker = self.path.worker
        worker.set(layout.W_NOW_NS, self.now_ns)
        worker.set(layout.W_POOL + POOL_NOW_MS, self.now_ns >> MS_SHIFT)
        for _ in self.events.read():
            pass
        first, last = {"blocked": (r.BLOCKED, r.BLOCKED), "hello in two": (layout.HELD, r.ALLOWED)}.get(
            kind, (r.ALLOWED, r.ALLOWED)
        )
        capture, records = int(self.path.capture.ctypes.data), int(self.records[kind].ctypes.data)
        began_ns = time.thread_time_ns()  # of the processor: others may use it too
        done = self.run(worker.address, records, self.count, capture, first, last)
        spent_ns = time.thread_time_ns() - began_ns
        if done != self.count:
            raise RuntimeError(f"{kind}: {done} of {self.count} Initials as expected")
        return spent_ns / self.count


def serve(count: int, names: int) -> None:
    """A child: a kind a line in, nanoseconds a line out."""
    with tempfile.TemporaryDirectory() as directory:
        snapshot, owners = build_policy(Path(directory), names)
        worker = Worker(snapshot, owners, count)
        for _ in range(-(-CONNECTION_COUNT // count)):  # until all of its memory was used once
            for kind in KINDS:
                worker.measure(kind)
        print("ready", flush=True)
        for line in sys.stdin:
            print(worker.measure(line.strip()), flush=True)
        snapshot.close()


@contextmanager
def start_children(options: argparse.Namespace) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """A child for each back end of the cipher, ready."""
    words = ["--child", "--initials", str(options.initials), "--names", str(options.names)]
    children: dict[str, subprocess.Popen[str]] = {}
    try:
        for name, forced in find_choices().items():
            children[name] = child = subprocess.Popen(
                [sys.executable, "-m", "bench.quic", *words],
                env={**os.environ, features.VARIABLE: forced},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            if child.stdout is None or child.stdout.readline() != "ready\n":
                raise RuntimeError(f"{name}: the child did not start")
        yield children
    finally:
        for child in children.values():
            child.communicate()


def measure_steps(options: argparse.Namespace) -> None:
    """Print Initials a second."""
    with start_children(options) as children:
        times: dict[tuple[str, str], list[float]] = {(name, kind): [] for kind in KINDS for name in children}
        for _ in range(options.rounds):
            for name, kind in times:
                times[name, kind].append(ask(children[name], kind))
    print(f"{options.rounds} rounds of {options.initials:,} Initials, {options.names:,} names; load {describe_load()}")
    print(f"{'ns an Initial':40}{'minimum':>8}{'median':>8}{'a second, by the median':>25}{'aim':>10}")
    for (name, kind), values in times.items():
        median, aim = statistics.median(values), AIMS[not name.startswith(features.PORTABLE)]
        print(f"{kind:14}{name:26}{min(values):8.0f}{median:8.0f}{1e9 / median:25,.0f}{aim:10,}")


def describe_load() -> str:
    """The machine's load averages."""
    return " ".join(f"{value:.1f}" for value in os.getloadavg())


def measure_visits(rounds: int) -> None:
    """Print the time from Chromium's first datagram to its TCP attempt: blocked, and without any answer."""
    asked = {"blocked": BLOCKED["phishing"], "no answer": GOOD}
    times: dict[str, list[float]] = {name: [] for name in asked}
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as directory:
        here = Path(directory)
        here.chmod(0o755)
        pair = write_certificate(here)
        with build_line(here, pair) as line:
            with line.topology.inside("server"):
                silent = socket(AF_INET, SOCK_DGRAM)
            with silent:
                silent.bind(("", 443))
                for _ in range(rounds):
                    for name, host in asked.items():
                        seen = visit(line.topology, pair, host, here / "profile", force=False)
                        if seen.fallback_s is not None and seen.fallback_s > 0:  # below zero TCP came first, by itself
                            times[name].append(seen.fallback_s * 1000)
            status = run_penstock(line.topology, ["status"]).stdout
    print(
        f"{rounds} visits each; load {describe_load()}; without an answer Chromium waits for 1.5 s, as `visit` has it"
    )
    print(f"{'QUIC to TCP, ms':20}{'visits':>8}{'minimum':>10}{'median':>10}{'maximum':>10}")
    for name, values in times.items():
        if values:
            print(f"{name:20}{len(values):8}{min(values):10.1f}{statistics.median(values):10.1f}{max(values):10.1f}")
    late = re.search(r"\d+ stale_open", status.replace("\n", " "))
    print(f"packets that passed because the box was late: {late[0] if late else 0}")


def main() -> None:
    """Print two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--initials", type=int, default=4096)
    parser.add_argument("--names", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--visits", type=int, default=5)
    parser.add_argument("--only", default="step,visit")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        serve(options.initials, options.names)
        return
    if "step" in options.only:
        measure_steps(options)
    if "visit" in options.only:
        measure_visits(options.visits)


if __name__ == "__main__":
    main()

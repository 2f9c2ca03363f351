"""What a DNS query costs: its reader and judge on one core, the whole of the path, and queries a second in line.

    python -m bench.dns [--queries 20000] [--names 1000000] [--rounds 15] [--blocks 4] [--only parts,step,live]

Queries are as stubs send them: one question, an OPT with a cookie in every second. Half of the names are in the list or
below one of its names. `parts`: read, judge and answer by themselves, in turns; `step`: see `bench.dns_step`; `live`: see
`bench.dns_live`, which needs root, Linux 6.6, unbound, dnsdist and dnsperf.
"""

import argparse
import os
import random
import statistics
import struct
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml

from bench.dns_live import measure_live
from bench.dns_step import measure_steps
from penstock.answer.dns import ADDRESS4, ADDRESS6, EDE_CODE, PLAN_BYTES, RCODE, TTL_S, write_answer
from penstock.compile.memory import shared, u64
from penstock.compile.native import Kernel, kernel
from penstock.control.configuration import load_configuration
from penstock.control.lists.build import build_names
from penstock.control.snapshot import build_snapshot
from penstock.control.subscribers.fixed import FixedOwners
from penstock.policy.actions import REPORT
from penstock.policy.judge import OUT_BYTES, judge
from penstock.policy.snapshot import Snapshot
from penstock.request.dns import HOST_BYTES, QUESTIONS, STATE_BYTES, TEXT_BYTES, read_query
from penstock.request.status import COMPLETE

ROOM_BYTES = 1232
BLOCKED, NULL_TTL_S = 15, 10
SETTINGS = {
    "database": "names.db",
    "lists": [{"category": "phishing", "path": "names.txt"}],
    "services": {"web": {"categories": {"phishing": "block"}}},
    "profiles": {"all": {"services": ["web"]}},
    "subscribers": [{"id": "home", "prefixes": ["10.1.0.0/16"], "profile": "all"}],
}


@shared
def read_all(places, count, state, text):  # type: ignore[no-untyped-def]
    """Read each query. Returns how many were whole."""
    done = 0
    for number in range(count):
        if read_query(u64(places + 8 * number), u64(places + 8 * number + 8), state, text) == COMPLETE:
            done += 1
    return done


@shared
def judge_all(places, count, state, text, snapshot, names, judged):  # type: ignore[no-untyped-def]
    """Read and judge each query. Returns how many were blocked."""
    done = 0
    for number in range(count):
        if read_query(u64(places + 8 * number), u64(places + 8 * number + 8), state, text) == COMPLETE:
            if judge(snapshot, names, 0, text, u64(state + QUESTIONS + HOST_BYTES), judged) > REPORT:
                done += 1
    return done


@shared
def answer_all(places, count, state, text, snapshot, names, judged, plan, out):  # type: ignore[no-untyped-def]
    """Read, judge and answer each query. Returns how many were blocked."""
    done = 0
    for number in range(count):
        p = u64(places + 8 * number)
        if read_query(p, u64(places + 8 * number + 8), state, text) == COMPLETE:
            if judge(snapshot, names, 0, text, u64(state + QUESTIONS + HOST_BYTES), judged) > REPORT:
                if write_answer(out, ROOM_BYTES, p, state, plan) > 0:
                    done += 1
    return done


def build_query(chance: random.Random, name: str, number: int) -> bytes:
    """A stub's query."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    cookie = struct.pack(">HH", 10, 8) + chance.randbytes(8) if number & 1 else b""
    opt = b"\0" + struct.pack(">HHIH", 41, 1232, 0, len(cookie)) + cookie
    head = struct.pack(">6H", chance.randrange(1 << 16), 0x0100, 1, 0, 0, 1)
    return head + labels + b"\0" + struct.pack(">HH", chance.choice((1, 28)), 1) + opt


def build_name(chance: random.Random) -> str:
    """A name of two or three labels, about as long as those of the lists."""
    labels = [f"{chance.getrandbits(chance.choice((24, 40, 64))):x}" for _ in range(chance.choice((1, 1, 2)))]
    return ".".join([*labels, chance.choice(("com", "net", "example", "top"))])


class Queries:
    """Queries behind each other in memory, and what the steps need to run over them."""

    def __init__(self, queries: list[bytes], snapshot: Snapshot) -> None:
        self.count = len(queries)
        self.content = np.frombuffer(b"".join(queries), np.uint8).copy()
        starts = np.cumsum([0, *map(len, queries)])
        self.places = starts.astype(np.int64) + self.content.ctypes.data
        self.rooms = [np.zeros(size, np.uint8) for size in (STATE_BYTES, TEXT_BYTES, OUT_BYTES, ROOM_BYTES)]
        self.plan, self.nothing = np.zeros(PLAN_BYTES // 8, np.int64), np.zeros(16, np.uint8)
        self.plan[EDE_CODE // 8], self.plan[TTL_S // 8], self.plan[RCODE // 8] = BLOCKED, NULL_TTL_S, 0
        self.plan[ADDRESS4 // 8] = self.plan[ADDRESS6 // 8] = self.nothing.ctypes.data
        state, text, judged, out = (int(room.ctypes.data) for room in self.rooms)
        read = (int(self.places.ctypes.data), self.count, state, text)
        judging = (*read, snapshot.address, snapshot.names_address, judged)
        self.args = {"read": read, "judge": judging, "answer": (*judging, int(self.plan.ctypes.data), out)}


def build_world(directory: Path, count: int, chance: random.Random) -> tuple[Snapshot, FixedOwners, list[str]]:
    """A snapshot whose one list has `count` names, and those names."""
    names = sorted({build_name(chance) for _ in range(count)})
    (directory / "names.txt").write_text("".join(f"{name}\n" for name in names))
    path = directory / "penstock.yaml"
    path.write_text(yaml.safe_dump(SETTINGS))
    configuration = load_configuration(path)
    build_names(configuration)
    snapshot = Snapshot.open(build_snapshot(configuration, configuration.database, 1, directory))
    return snapshot, FixedOwners(configuration), names


def measure(run: Kernel, args: tuple[int, ...], count: int, expected: int) -> float:
    """Nanoseconds a query. Raises RuntimeError when it did something else than expected."""
    began_ns = time.perf_counter_ns()
    done = run(*args)
    spent_ns = time.perf_counter_ns() - began_ns
    if done != expected:
        raise RuntimeError(f"{done} of {expected} queries")
    return spent_ns / count


def measure_parts(snapshot: Snapshot, queries: dict[str, list[bytes]], rounds: int) -> None:
    """Print what reading, judging and answering take by themselves."""
    arms = {kind: Queries(found, snapshot) for kind, found in queries.items()}
    steps = {"read": kernel(read_all), "judge": kernel(judge_all), "answer": kernel(answer_all)}
    times: dict[tuple[str, str], list[float]] = {(kind, step): [] for kind in arms for step in steps}
    for number in range(rounds + 1):
        for kind, step in times:
            arm = arms[kind]
            expected = arm.count if step == "read" or kind == "blocked" else 0
            spent_ns = measure(steps[step], arm.args[step], arm.count, expected)
            if number > 0:
                times[kind, step].append(spent_ns)
    count = min(map(len, queries.values()))
    print(f"{rounds} rounds of {count:,} queries, {snapshot.name_count:,} names; load {describe_load()}")
    print(f"{'ns a query':24}{'minimum':>8}{'median':>8}{'a second, by the median':>25}")
    for (kind, step), values in times.items():
        median = statistics.median(values)
        print(f"{kind + ', ' + step:24}{min(values):8.0f}{median:8.0f}{1e9 / median:25,.0f}")


def measure_core(options: argparse.Namespace, chance: random.Random) -> None:
    """What needs no network: the parts, and the whole of the path."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as directory:
        snapshot, owners, listed = build_world(Path(directory), options.names, chance)
        blocked = [chance.choice(("", "www.", "a.b.")) + name for name in chance.sample(listed, options.queries)]
        allowed = [f"{build_name(chance)}.allowed" for _ in range(options.queries)]
        queries = {
            kind: [build_query(chance, name, number) for number, name in enumerate(names)]
            for kind, names in (("allowed", allowed), ("blocked", blocked))
        }
        if "parts" in options.only:
            measure_parts(snapshot, queries, options.rounds)
        if "step" in options.only:
            measure_steps(snapshot, owners, queries, options.rounds, describe_load)
        snapshot.close()


def describe_load() -> str:
    """The machine's load averages."""
    return " ".join(f"{value:.1f}" for value in os.getloadavg())


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=20_000)
    parser.add_argument("--names", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--only", default="parts,step,live")
    options = parser.parse_args()
    if "live" in options.only:
        measure_live(options.blocks, describe_load)
    if "parts" in options.only or "step" in options.only:
        measure_core(options, random.Random(5))


if __name__ == "__main__":
    main()

"""What a hook costs a request: from asking the pool to its answer, and processor time of either side.

    python -m bench.hooks [--requests 5000] [--workers 2]

One at a time shows the delay, many at once the rate. `empty` has no opinion; `verdict` blocks; `score` is
examples/policies/name_score.py; `unwanted` is what no filter wants, which never leaves the process.
Delays are of the pool alone: the rings add up to a millisecond, as they are looked at that often.
"""

import argparse
import os
import select
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from penstock.control.hooks.pool import HookPool
from penstock.control.hooks.settings import PolicySettings
from penstock.control.hooks.sources import Sources
from penstock.control.hooks.trial import load_pool
from penstock.hooks import Request

SCORE = Path(__file__).parents[1] / "examples" / "policies" / "name_score.py"
EMPTY = "from penstock.hooks import Verdict, on_request\n@on_request(hosts='example')\ndef f(request): {}\n"
CASES = {"empty": EMPTY.format("pass"), "verdict": EMPTY.format("return Verdict.block('new', 'No.')"), "score": ""}
BATCH = 256  # asked at once for the rate
ASKERS = 64


class Cost(NamedTuple):
    """Of one request."""

    p50_us: float
    p99_us: float
    rate: float
    """A second, many at once."""
    pool_us: float
    """Processor time of the pool's process."""
    worker_us: float


def make_requests(host: str, count: int) -> list[Request]:
    """Requests of some subscribers."""
    now = datetime.now(UTC)
    client = ip_address("10.0.0.1")
    return [
        Request("tls", f"{number:x}.{host}", 443, now, client, f"subscriber {number % ASKERS}")
        for number in range(count)
    ]


def await_answers(pool: HookPool, count: int) -> None:
    """Drive the pool until so many answers came."""
    while count := count - len(pool.answers(time.monotonic())):
        select.select(pool.fds(), [], [], 0.001)


def read_workers_s(pool: HookPool) -> float:
    """Processor time of all workers."""
    total = 0
    for crew in pool._crews():
        for worker in crew.workers:
            fields = Path(f"/proc/{worker.program.pid}/schedstat").read_text().split()
            total += int(fields[0])
    return total / 1e9


def measure(pool: HookPool, requests: list[Request]) -> Cost:
    """One at a time, then many at once."""
    delays = []
    begin_s, workers_s = time.process_time(), read_workers_s(pool)
    for number, request in enumerate(requests):
        asked_s = time.perf_counter()
        pool.ask(request, number, time.monotonic())
        await_answers(pool, 1)
        delays.append(time.perf_counter() - asked_s)
    pool_us = (time.process_time() - begin_s) / len(requests) * 1e6
    worker_us = (read_workers_s(pool) - workers_s) / len(requests) * 1e6
    begin_s = time.perf_counter()
    for start in range(0, len(requests), BATCH):
        batch = requests[start : start + BATCH]
        for number, request in enumerate(batch):
            pool.ask(request, number, time.monotonic())
        await_answers(pool, len(batch))
    rate = len(requests) / (time.perf_counter() - begin_s)
    quantiles = statistics.quantiles(delays, n=100)
    return Cost(quantiles[49] * 1e6, quantiles[98] * 1e6, rate, pool_us, worker_us)


@contextmanager
def start_pool(name: str, workers: int) -> Iterator[HookPool]:
    """A pool over one of CASES, loaded."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as directory:
        path = SCORE if name == "score" else Path(directory) / "bench_policy.py"
        if name != "score":
            path.write_text(CASES[name])
        settings = PolicySettings(project=path, workers=workers).model_copy(update={"budget_ms": 1000})
        with load_pool(settings, Sources.read(path), lambda event, **fields: None) as pool:
            yield pool


def main() -> None:
    """Measure and print."""
    words = argparse.ArgumentParser(prog="python -m bench.hooks", description=__doc__.splitlines()[0])
    words.add_argument("--requests", type=int, default=5000, help="of each case (default 5,000)")
    words.add_argument("--workers", type=int, default=2, help="that answer at one time (default 2)")
    given = words.parse_args()
    table = Table("hook", "p50", "p99", "requests/s", "pool", "worker", box=None)
    for name in CASES:
        with start_pool(name, given.workers) as pool:
            rows = [(name, measure(pool, make_requests("example", given.requests)))]
            if name == "empty":
                rows.append(("unwanted", measure(pool, make_requests("elsewhere.test", given.requests))))
        for label, cost in rows:
            times = (f"{value:,.0f} µs" for value in (cost.p50_us, cost.p99_us, cost.pool_us, cost.worker_us))
            p50, p99, pool_us, worker_us = times
            table.add_row(label, p50, p99, f"{cost.rate:,.0f}", pool_us, worker_us)
    Console().print(table)
    Console().print(f"{os.cpu_count()} processors, load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()

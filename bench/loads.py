"""The loads: each runs in one arm and gives one sample.

    http     `ab`: a fixed number of new connections with one request each
    tls      `wrk`: new TLS 1.3 connections with one request each, sessions resumed, for a fixed time (`ab` speaks
             TLS 1.2, resumes nothing, and then the handshakes' arithmetic is all that is measured)
    bulk     `curl`: one response of a fixed size
    pace     `bench.pace`: requests at a fixed rate, each timed

Knows the programs and how to read what they print. Refuses to know what is in line.
"""

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.arms import BIG_BYTES, Arm
from penstock.demo.box import GOOD
from penstock.demo.topology import SERVER_IPV4

CLIENTS = 32
PATIENCE_S = 30  # a sample takes two seconds
TICK_S = 0.01  # USER_HZ of /proc/stat
IDLE_FIELDS = (3, 4)  # idle, iowait
STEAL_FIELD = 7


class LoadError(Exception):
    """A load did not do its work: one line."""


@dataclass(frozen=True)
class Work:
    """How much each sample is: the work of the default run or of a quick one."""

    connections: int
    tls_s: int
    transfers: int
    paced: int


def measure_http(arm: Arm, work: Work) -> dict[str, float]:
    """New HTTP connections a second, and the machine's CPU time for each."""
    before_s = read_busy_s()
    argv = ["ab", "-q", "-r", "-n", str(work.connections), "-c", str(CLIENTS), f"http://{GOOD}/"]
    text = _run(arm, arm.named(argv))
    busy_s = read_busy_s() - before_s
    if _read_figure(text, r"Failed requests:\s+(\d+)") > 0:
        raise LoadError(f"{arm.name}: ab counts failed requests")
    return {
        "connections": _read_figure(text, r"Requests per second:\s+([\d.]+)"),
        "cpu_us": busy_s / work.connections * 1e6,
    }


def measure_tls(arm: Arm, work: Work) -> dict[str, float]:
    """New TLS connections a second, and the machine's CPU time for each."""
    before_s = read_busy_s()
    words = [f"-d{work.tls_s}s", f"-c{CLIENTS}", "-t1", "-H", "Connection: close", f"https://{GOOD}/"]
    text = _run(arm, arm.named(["wrk", *words]))
    busy_s = read_busy_s() - before_s
    if "Socket errors" in text or "Non-2xx" in text:
        raise LoadError(f"{arm.name}: wrk counts errors: {text.strip().splitlines()[-3]}")
    return {
        "connections": _read_figure(text, r"Requests/sec:\s+([\d.]+)"),
        "cpu_us": busy_s / _read_figure(text, r"(\d+) requests in") * 1e6,
    }


def measure_bulk(arm: Arm, work: Work) -> dict[str, float]:
    """Gbit/s of responses of BIG_BYTES, one after the other on one connection."""
    urls = [word for _ in range(work.transfers) for word in ("-o", "/dev/null", f"http://{SERVER_IPV4}/big")]
    argv = ["curl", "-q", "-sS", "--fail", "-H", f"Host: {GOOD}", "-w", "%{size_download} %{time_total}\n", *urls]
    rows = [line.split() for line in _run(arm, argv).splitlines()]
    if any(int(size) != BIG_BYTES for size, _ in rows):
        raise LoadError(f"{arm.name}: a transfer came short")
    return {"gbit_s": BIG_BYTES * len(rows) * 8 / 1e9 / sum(float(time_s) for _, time_s in rows)}


def measure_pace(arm: Arm, work: Work, rate: float) -> dict[str, float]:
    """The time of a small request at `rate` requests a second, in microseconds: see bench.pace."""
    words = [SERVER_IPV4, "80", GOOD, f"{rate:.0f}", str(work.paced)]
    argv = [sys.executable, str(Path(__file__).with_name("pace.py")), *words]
    figures: dict[str, float] = json.loads(_run(arm, argv))
    return figures


def read_busy_s() -> float:
    """Seconds that all processors of the machine have been busy, other than for another guest."""
    fields = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle = (*IDLE_FIELDS, STEAL_FIELD)
    return sum(ticks for place, ticks in enumerate(fields) if place not in idle) * TICK_S


def _run(arm: Arm, argv: list[str]) -> str:
    try:
        done = arm.topology.run("client", argv, timeout_s=PATIENCE_S)
    except subprocess.TimeoutExpired:
        raise LoadError(f"{arm.name}: {argv[0]} was not done after {PATIENCE_S} s: connections hang") from None
    if done.returncode:
        raise LoadError(f"{arm.name}: {argv[0]} ended with status {done.returncode}: {done.stderr.strip()[-200:]}")
    text: str = done.stdout
    return text


def _read_figure(text: str, pattern: str) -> float:
    found = re.search(pattern, text)
    if found is None:
        raise LoadError(f"no figure for {pattern!r} in: {text.strip()[:200]}")
    return float(found[1])

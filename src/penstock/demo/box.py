"""Penstock in line in a topology's box: its configuration, its start, its end.

Knows the commands an operator would type. Refuses to know how they work: it is a separate program, started by
`python -m penstock` with the same interpreter and path, and judged from outside.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from penstock.demo.topology import EGRESS, HOME, INGRESS, OFFICE, Topology
from penstock.errors import PenstockError

PENSTOCK = (sys.executable, "-m", "penstock")
STOP_S = 20.0  # it waits for processes of its own, each for some seconds
READY_S = 300.0  # the first start compiles everything; two busy cores take their time
GOOD = "good.example.test"
BLOCKED = {"phishing": "bad.example.test", "gambling": "casino.example.test", "advertising": "ads.example.test"}
SERVICES: dict[str, dict[str, str]] = {
    "web-protection": {"phishing": "block"},
    "parental-control": {"gambling": "block"},
    "ad-blocking": {"advertising": "empty"},
}


LOAD_PACKETS_PER_S = 1_000_000  # one client here stands for a whole network's


class BoxError(PenstockError):
    """Penstock did not start: one line, the last that it said."""


@dataclass(frozen=True)
class Box:
    """One running Penstock: its program, the file with its output, the file with its events."""

    program: subprocess.Popen[Any]
    output: Path
    events: Path


def write_configuration(directory: Path, **settings: object) -> Path:
    """Two subscribers, home with every service and office with none; further top-level settings as given."""
    for category, host in BLOCKED.items():
        (directory / f"{category}.txt").write_text(f"# {category}, for the demo\n{host}\n")
    configuration: dict[str, object] = {
        "services": {name: {"categories": categories} for name, categories in SERVICES.items()},
        "lists": [{"category": category, "path": f"{category}.txt"} for category in BLOCKED],
        "profiles": {"everything": {"services": list(SERVICES)}, "nothing": {"services": []}},
        "subscribers": [
            {"id": one.name, "prefixes": [f"{one.ipv4}/32", f"{one.ipv6}/128"], "profile": profile}
            for one, profile in ((HOME, "everything"), (OFFICE, "nothing"))
        ],
        "database": "names.db",
        "register": {"database": "subscribers.db"},
        "log": {"all_requests": True, "path": "events.json"},
        "metrics": {"listen": None},
        "flows": {"capacity": 65536},
        "limits": {"packets_per_s": LOAD_PACKETS_PER_S},
    }
    path = directory / "penstock.yaml"
    path.write_text(yaml.safe_dump(configuration | settings, sort_keys=False))
    return path


def start_box(
    topology: Topology,
    configuration: Path,
    on_wait: Callable[[], None] = lambda: None,
    before: Sequence[str] = (),
    *,
    penstock: Sequence[str | Path] = PENSTOCK,
    more: Sequence[str] = (),
) -> Box:
    """Start `penstock run` and return once it judges; `on_wait` is called 20 times a second. Raises BoxError.

    `before`: the words of a program that runs it, such as setpriv; `penstock`: the command, of another version if need be;
    `more`: further words of it.
    """
    directory = configuration.parent
    ready, output = directory / "ready", directory / "penstock.output"
    ready.unlink(missing_ok=True)
    words: list[str | Path] = ["run", *_between(), "--config", configuration, "--ready-file", ready, *more]
    with output.open("a") as sink:
        program = topology.spawn("box", [*before, *penstock, *words], stdout=sink, stderr=sink)
    end_s = time.monotonic() + READY_S
    while not ready.exists():
        if program.poll() is not None:
            raise BoxError(f"penstock run ended with status {program.returncode}: {_last_line(output)}")
        if time.monotonic() > end_s:
            raise BoxError(f"penstock run was not ready after {READY_S:.0f} s: {_last_line(output)}")
        on_wait()
        time.sleep(0.05)
    return Box(program, output, directory / "events.json")


def stop_box(topology: Topology, box: Box) -> int:
    """End Penstock in order, then take the cable down: nothing stays pinned. The exit status of `run`."""
    status = topology.end(box.program, STOP_S)
    with suppress(OSError, subprocess.TimeoutExpired):
        run_penstock(topology, ["cable", "down", *_between()])
    return status


def lay_cable(topology: Topology) -> None:
    """`penstock cable up` between the box's interfaces. Raises BoxError."""
    done = run_penstock(topology, ["cable", "up", *_between()])
    if done.returncode:
        raise BoxError(f"penstock cable up: {(done.stderr or done.stdout).strip()}")


def run_penstock(topology: Topology, words: Sequence[str | Path]) -> subprocess.CompletedProcess[Any]:
    """Run a Penstock command in the box to its end."""
    return topology.run("box", [*PENSTOCK, *words])


def _between() -> list[str]:
    return ["--ingress", INGRESS, "--egress", EGRESS]


def _last_line(output: Path) -> str:
    lines = [line.strip() for line in output.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"

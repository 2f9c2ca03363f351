"""One line for tests: three namespaces, real servers, `penstock run` in line with two subscribers.

home has every service switched on, office none. `bad.example.test` is phishing, `good.example.test` is on no list.
"""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from penstock.demo.box import BLOCKED, Box, start_box, stop_box, write_configuration
from penstock.demo.demo import find_obstacle
from penstock.demo.servers import Certificate, Server, start_site
from penstock.demo.topology import HOME, Subscriber, Topology, server_address
from tests.live.clients import Conversation, connect

BAD = BLOCKED["phishing"]
EVENT_S = 3.0  # how long an event may take to the log


@dataclass
class Line:
    """Penstock in line. `topology` is where, `site` is CPython's server on ports 80 and 443."""

    topology: Topology
    here: Path
    pair: Certificate
    site: Server
    configuration: Path
    box: Box
    servers: dict[str, Server] = field(default_factory=dict)

    def connect(self, who: Subscriber, port: int = 80, family: int = 4) -> AbstractContextManager[Conversation]:
        """A connection of `who` to the server, as a context that gives a Conversation."""
        return connect(self.topology, who, port, family)

    def curl(self, url: str, who: Subscriber = HOME, family: int = 4, *words: str) -> subprocess.CompletedProcess[Any]:
        """curl, as `who`; every name leads to the server."""
        address = server_address(family)
        there = f"[{address}]" if family == 6 else address
        argv = [
            "curl",
            "-q",
            "-sS",
            "--max-time",
            "20",
            "--interface",
            who.address(family),
            "--connect-to",
            f"::{there}:",
        ]
        return self.topology.run("client", [*argv, "--cacert", self.pair.certificate, *words, url])

    def restart(self) -> float:
        """Start Penstock again where it runs no more; the seconds until it judged."""
        begin_s = time.monotonic()
        self.box = start_box(self.topology, self.configuration)
        return time.monotonic() - begin_s

    def events(self, **wanted: object) -> list[dict[str, Any]]:
        """The logged events that have these fields; waits until there is one, or EVENT_S."""
        end_s = time.monotonic() + EVENT_S
        while True:
            found = [event for event in _read_events(self.box.events) if wanted.items() <= event.items()]
            if found or time.monotonic() > end_s:
                return found
            time.sleep(0.05)


@contextmanager
def build_line(here: Path, pair: Certificate, vlan: tuple[int, ...] = (), **settings: object) -> Iterator[Line]:
    """A line with CPython's site, and further settings of the configuration; ends with the block."""
    with Topology("penstock", vlan=vlan, prefix="penstock-live") as topology:
        site = start_site(topology, here, pair)
        configuration = write_configuration(here, **settings)
        box = start_box(topology, configuration)
        line = Line(topology, here, pair, site, configuration, box, {"CPython": site})
        try:
            yield line
        finally:
            stop_box(topology, line.box)


def live(*programs: str, alone: bool = False) -> list[pytest.MarkDecorator]:
    """The marks of a live module; skipped with a reason without root, a recent kernel, or these programs. `alone`: it
    measures times, or looks for what is left of all, so nothing else runs beside it."""
    missing = [program for program in programs if shutil.which(program) is None]
    reason = find_obstacle() or (f"not installed: {', '.join(missing)}" if missing else "")
    marks = [pytest.mark.live, pytest.mark.skipif(bool(reason), reason=reason)]
    return [*marks, pytest.mark.alone] if alone else marks


def _read_events(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(row) for row in path.read_text().split("\n")[:-1] if row]

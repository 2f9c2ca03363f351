"""What a hook costs a request in line: the time to its answer, when a hook is asked, beside the same without a project.

    python -m bench.hooks_line [--rounds 3] [--requests 500]

Each round has the box without a project, then with one: requests that no filter wants, and requests that a hook is asked
about and has no opinion on, turn by turn. One request at a time over a kept connection, HTTP, veth pairs. As root.
"""

import argparse
import os
import signal
import socket
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from penstock.demo.box import Box, start_box, stop_box, write_configuration
from penstock.demo.servers import start_site, write_certificate
from penstock.demo.topology import HOME, Topology, server_address

PROJECT = "from penstock.hooks import on_request\n@on_request(hosts='asked.test')\ndef think(request): return None\n"
ASKED, OTHER = "www.asked.test", "www.other.test"
WITHOUT, UNWANTED, WITH = "without a project", "with one, not wanted", "asked about"
WAIT_S = 60.0


def take_time(channel: socket.socket, host: str) -> float:
    """A request, and the seconds to its answer."""
    begin_s = time.perf_counter()
    channel.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    head, size = b"", 0
    while b"\r\n\r\n" not in head or len(head.partition(b"\r\n\r\n")[2]) < size:
        part = channel.recv(65_536)
        if not part:
            raise ConnectionError(host)
        head += part
        for line in head.partition(b"\r\n\r\n")[0].lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                size = int(line.partition(b":")[2])
    return time.perf_counter() - begin_s


class Bench:
    """A line, and the box in it."""

    def __init__(self, topology: Topology, here: Path, box: Box) -> None:
        self.topology, self.here, self.box = topology, here, box
        self.project = here / "bench_policy.py"
        self.project.write_text(PROJECT)

    def switch(self, has_project: bool) -> None:
        """Have the box run with the project, or without."""
        said = "hooks are asked" if has_project else "filters=0"
        before = self.box.output.read_text().count(said)
        write_configuration(self.here, policy={"project": str(self.project)} if has_project else {})
        os.kill(self.box.program.pid, signal.SIGHUP)
        end_s = time.monotonic() + WAIT_S
        while self.box.output.read_text().count(said) == before:
            if time.monotonic() > end_s:
                raise TimeoutError(said)
            time.sleep(0.05)

    @contextmanager
    def connect(self) -> Iterator[socket.socket]:
        """A connection of home's."""
        with self.topology.inside("client"):
            channel = socket.create_connection((server_address(4), 80), 20, (HOME.address(4), 0))
        with channel:
            channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield channel

    def run_round(self, requests: int, times: dict[str, list[float]], is_first: bool) -> None:
        """One round of all three."""
        if not is_first:
            self.switch(False)
        with self.connect() as channel:
            times[WITHOUT] += [take_time(channel, ASKED) for _ in range(requests)]
        self.switch(True)
        with self.connect() as channel:
            for _ in range(requests):
                times[UNWANTED].append(take_time(channel, OTHER))
                times[WITH].append(take_time(channel, ASKED))


def measure(rounds: int, requests: int) -> dict[str, list[float]]:
    """The seconds of all requests, by what was done."""
    times: dict[str, list[float]] = {WITHOUT: [], UNWANTED: [], WITH: []}
    with (
        tempfile.TemporaryDirectory(prefix="penstock-bench-") as name,
        Topology("penstock", prefix="penstock-bench") as topology,
    ):
        here = Path(name)
        start_site(topology, here, write_certificate(here))
        box = start_box(topology, write_configuration(here))
        try:
            bench = Bench(topology, here, box)
            for number in range(rounds):
                bench.run_round(requests, times, number == 0)
        finally:
            stop_box(topology, box)
    return times


def main() -> None:
    """Measure and print."""
    words = argparse.ArgumentParser(prog="python -m bench.hooks_line", description=__doc__.splitlines()[0])
    words.add_argument("--rounds", type=int, default=3, help="(default 3)")
    words.add_argument("--requests", type=int, default=500, help="of each kind and round (default 500)")
    given = words.parse_args()
    table = Table("requests", "p50", "p99", "p50 more", box=None)
    times = measure(given.rounds, given.requests)
    base = statistics.median(times[WITHOUT])
    for name, found in times.items():
        quantiles = statistics.quantiles(found, n=100)
        words_of = (f"{value * 1e6:,.0f} µs" for value in (quantiles[49], quantiles[98], quantiles[49] - base))
        table.add_row(name, *words_of)
    Console().print(table)
    Console().print(f"{os.cpu_count()} processors, load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()

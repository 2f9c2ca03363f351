"""Where a flood takes place: a topology with a crowd to flood from, a victim, and the servers that a bystander asks.

    client                                    box                          server
    crowd 10.78.0.0/16, no kernel's ─┐   Penstock, or a bridge   ┌─ 198.51.100.11 the victim, who says nothing
    office 10.77.0.3, the bystander ─┴──────────────────────────┴─ 198.51.100.10 nginx (or another), unbound, aioquic

Knows who is there, how a flood is told to begin, and what the bystander should get. Refuses to know what is measured.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.flood_packets import CROWD_PREFIX, VICTIM_IPV4
from penstock.control.ledger import Ledger, read_counters, read_ledger
from penstock.demo.box import BLOCKED, GOOD, LOAD_PACKETS_PER_S
from penstock.demo.namespaces import configure_links
from penstock.demo.resolver import start_resolver
from penstock.demo.servers import Certificate, Server, start_quic
from penstock.demo.topology import HOME, OFFICE, SERVER_INTERFACE, SERVER_IPV4, Topology
from penstock.kernel import bpf, tables
from penstock.kernel.declared import Map
from penstock.line.pins import find_pairs, find_root, open_own_table

ROOT = Path(__file__).parents[1]
FLOODS = ("syn", "hello", "dns", "initial", "ids", "byte")
BAD = BLOCKED["phishing"]
BUDGET = 4_000  # packets a second: the default, said here because the bystander has another
LIMIT_S = 30.0  # no flood goes on for longer, whoever forgets it
ASKED = {  # the bystander asks; this is what it should get, whatever others do
    "HTTP, allowed": "200",
    "HTTP, blocked": "403",
    "HTTPS, allowed": "200",
    "HTTPS, blocked": "alert",
    "DNS, allowed": SERVER_IPV4,
    "DNS, blocked": "NXDOMAIN",
    "QUIC, allowed": "site",
    "QUIC, blocked": "refused",
}


class FloodError(Exception):
    """A flood did not run: one line."""


@dataclass(frozen=True)
class Told:
    """What the sender says of one flood."""

    sent: int
    elapsed_s: float
    missed: int
    cpu_s: float

    @property
    def rate(self) -> float:
        """Packets a second, as reached."""
        return self.sent / self.elapsed_s


class Sender:
    """The sender of one kind of flood in one topology, ready to be told."""

    def __init__(self, topology: Topology, kind: str, rate: float) -> None:
        station = read_station(topology)
        argv = [sys.executable, "-m", "bench.flood_sender", kind, f"{rate:.0f}", station]
        self.topology, self.kind = topology, kind
        self.program = topology.spawn(
            "client", argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        self._expect("ready")

    @contextmanager
    def flooding(self) -> Iterator[list[Told]]:
        """The flood goes on for the time of the block (LIMIT_S at most); what came of it is in the list then."""
        told: list[Told] = []
        self._say(f"go {LIMIT_S}")
        self._expect("begun")
        try:
            yield told
        finally:
            self._say("stop")
            told.append(Told(**json.loads(self._read())))

    def close(self) -> None:
        """End the process."""
        if self.program.stdin is not None:
            self.program.stdin.close()
        self.topology.end(self.program)

    def _say(self, line: str) -> None:
        print(line, file=self.program.stdin, flush=True)

    def _read(self) -> str:
        line = self.program.stdout.readline() if self.program.stdout else ""
        if not line:
            raise FloodError(f"{self.kind}: the sender ended with status {self.program.wait()}")
        return str(line).strip()

    def _expect(self, wanted: str) -> None:
        if (found := self._read()) != wanted:
            raise FloodError(f"{self.kind}: the sender says {found!r}, not {wanted!r}")


class Watched:
    """The ledger of the one box in a topology."""

    def __init__(self, topology: Topology) -> None:
        with topology.inside("box"):
            (pair,) = find_pairs(find_root())
        self._memories = [_map_table(pair, table) for table in (tables.counters, tables.path_counters)]

    def read(self) -> Ledger:
        """The ledger as it is now."""
        kernel, path = (read_counters(memory) for memory in self._memories)
        return read_ledger(kernel, path)

    def settle(self, patience_s: float = 5.0) -> Ledger:
        """The ledger once nothing moves any more."""
        before, end_s = self.read(), time.monotonic() + patience_s
        while True:
            time.sleep(0.2)
            now = self.read()
            if now.seen == before.seen or time.monotonic() > end_s:
                return now
            before = now


def build_subscribers() -> list[dict[str, Any]]:
    """The crowd, one subscriber with the default budget; the bystander, who stands for many; both fully protected."""
    one = {"id": OFFICE.name, "prefixes": [f"{OFFICE.ipv4}/32", f"{OFFICE.ipv6}/128"], "profile": "everything"}
    crowd = {"id": "crowd", "prefixes": [CROWD_PREFIX], "profile": "everything", "packets_per_s": BUDGET}
    return [one | {"packets_per_s": LOAD_PACKETS_PER_S}, crowd]


def prepare_victim(topology: Topology) -> None:
    """The way back to the crowd, which no kernel is, and the victim, listening. Raises FloodError."""
    configure_links(topology.names["server"], [
        f"address add {VICTIM_IPV4}/24 dev {SERVER_INTERFACE}",
        f"route add {CROWD_PREFIX} via {HOME.ipv4} dev {SERVER_INTERFACE}",
    ])  # fmt: skip
    argv = [sys.executable, "-m", "bench.flood_victim"]
    victim = topology.spawn("server", argv, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    if victim.stdout is None or victim.stdout.readline() != "ready\n":
        raise FloodError("the victim did not start")


def prepare_services(topology: Topology, here: Path, site: Server, pair: Certificate) -> None:
    """What the bystander asks beside HTTP: a resolver, and QUIC beside `site`."""
    start_quic(topology, site, pair)
    start_resolver(topology, "server", here, [SERVER_IPV4], {name: [SERVER_IPV4] for name in (GOOD, BAD)})


def ask_all(topology: Topology, site: Server, pair: Certificate) -> dict[str, str]:
    """The bystander asks for an allowed and for a blocked host in every way; what it got, as in ASKED."""
    got = {}
    for word, host in (("allowed", GOOD), ("blocked", BAD)):
        for scheme, port in (("http", site.http_port), ("https", site.https_port)):
            got[f"{scheme.upper()}, {word}"] = _ask_web(topology, pair, f"{scheme}://{host}:{port}/")
    hosts = {"allowed": GOOD, "blocked": BAD}
    lookups = [
        {"name": host, "kind": "A", "transport": "UDP", "source": OFFICE.ipv4, "server": SERVER_IPV4}
        for host in hosts.values()
    ]
    asked = [{"host": host, "source": OFFICE.ipv4, "server": SERVER_IPV4} for host in hosts.values()]
    words = ["ask", "--port", str(site.https_port), "--certificate", str(pair.certificate)]
    for name, module, more, questions in (
        ("DNS", "lookups", [], lookups),
        ("QUIC", "quic", words, asked),
    ):
        for word, answer in zip(hosts, _ask_module(topology, module, more, questions), strict=True):
            got[f"{name}, {word}"] = answer
    return got


def read_station(topology: Topology) -> str:
    """The hardware address of the server's interface, as hex digits."""
    (link,) = json.loads(topology.run("server", ["ip", "-j", "link", "show", SERVER_INTERFACE]).stdout)
    return str(link["address"]).replace(":", "")


def read_rss_kb(pids: Sequence[int]) -> int:
    """What these processes have in memory, together."""
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    return pages * 4


def find_processes(program: subprocess.Popen[Any]) -> list[int]:
    """Penstock's: `run`, its packet process, its register."""
    children = Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text().split()
    return [program.pid, *map(int, children)]


def _ask_web(topology: Topology, pair: Certificate, url: str) -> str:
    words = ["--interface", OFFICE.ipv4, "--connect-to", f"::{SERVER_IPV4}:", "--cacert", str(pair.certificate)]
    argv = ["curl", "-q", "-sS", "--max-time", "20", *words, "-o", "/dev/null", "-w", "%{http_code}", url]
    done = topology.run("client", argv)
    if done.returncode == 0:
        return str(done.stdout)
    return "alert" if "unrecognized name" in done.stderr else str(done.stderr).strip()


def _ask_module(topology: Topology, module: str, words: list[str], questions: list[dict[str, str]]) -> list[str]:
    argv = [sys.executable, "-m", f"penstock.demo.{module}", *words]
    lines = "".join(json.dumps(question) + "\n" for question in questions)
    done = topology.run("client", argv, stdin=None, input=lines)
    if done.returncode:
        raise FloodError(f"{module}: {done.stderr.strip()[-200:]}")
    return [json.loads(line)["got"] for line in done.stdout.splitlines()]


def _map_table(pair: Path, table: Map) -> memoryview:
    table.fd = open_own_table(pair, table.name)
    return memoryview(bpf.map_memory(table))

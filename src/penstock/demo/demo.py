"""`penstock demo`: real clients and real servers, with Penstock in line between them.

    1  two topologies: one for Penstock, one with the kernel's bridge to compare with; the same site in both
    2  `penstock run` with two subscribers: home has every service, office has none
    3  dnspython asks unbound for names over UDP and TCP; the resolver's log must agree
    4  curl asks for each site: 2 subscribers x IPv4, IPv6 x HTTP, HTTPS, and aioquic by QUIC; the site's log must agree
    5  a bulk transfer through each, in turns

Knows what must come of each request and says so in one line when it does not. Refuses to know how Penstock does it.
"""

import json
import os
import platform
import shutil
import signal
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.table import Table

from penstock.demo.box import BLOCKED, GOOD, BoxError, start_box, stop_box, write_configuration
from penstock.demo.names import SETTINGS, show_names, start_resolvers
from penstock.demo.namespaces import TopologyError
from penstock.demo.servers import (
    Certificate,
    Server,
    ServerError,
    read_log,
    start_quic,
    start_site,
    write_certificate,
)
from penstock.demo.topology import HOME, OFFICE, Subscriber, Topology, server_address
from penstock.demo.visits import REPORT, word_response

OLDEST_KERNEL = (6, 6)  # tcx
PROGRAMS = {"ip": "iproute2", "curl": "curl", "openssl": "openssl", "unbound": "unbound"}
TURNS = 3  # bulk transfers through each topology
TURN_S = 0.7
ASK_S = 10
QUIC_LIBRARY = "aioquic"  # Debian's curl has no HTTP/3
NO_QUIC = f"No QUIC here: `pip install 'penstock[demo]'` brings {QUIC_LIBRARY}, its client and its server."


@dataclass(frozen=True)
class Ask:
    """One request of the demo."""

    host: str
    scheme: str
    subscriber: Subscriber
    family: int

    @property
    def expected(self) -> str:
        """What the client must get."""
        if self.host == GOOD or self.subscriber is OFFICE:
            return "site"
        if self.scheme != "http":
            return "refused"
        return "empty" if self.host == BLOCKED["advertising"] else "page"


def run_demo(console: Console) -> int:
    """Run it all; the exit status: 0 when everything came as expected, 1 with one line when not, 130 after Ctrl-C."""
    cure = find_obstacle()
    if cure:
        complain(console, cure)
        return 1
    try:
        with tempfile.TemporaryDirectory(prefix="penstock-demo-") as directory:
            complaint = _run(console, Path(directory))
    except (TopologyError, ServerError, BoxError) as error:
        complaint = str(error)
    except KeyboardInterrupt:
        console.print("Interrupted: everything is taken down.")
        return 128 + signal.SIGINT
    if complaint:
        complain(console, complaint)
        return 1
    return 0


def complain(console: Console, complaint: str) -> None:
    """Say in one line what was not as it should be."""
    console.print(f"penstock demo: {complaint}", style="red", markup=False, highlight=False, soft_wrap=True)


def find_obstacle() -> str:
    """Why the demo cannot run on this machine, and the cure, in one line; empty when it can."""
    if os.geteuid() != 0:
        return "network namespaces and eBPF need root: run it with sudo"
    release = platform.release()
    version = tuple(int(part) for part in release.split("-")[0].split(".")[:2])
    if version < OLDEST_KERNEL:
        return f"Linux {release} is too old: tcx needs 6.6 or later (on Debian 12 the kernel of bookworm-backports)"
    missing = [package for program, package in PROGRAMS.items() if shutil.which(program) is None]
    return f"a program is missing: apt-get install {' '.join(missing)}" if missing else ""


def _run(console: Console, directory: Path) -> str:
    pair = write_certificate(directory)
    places = {kind: directory / kind for kind in ("penstock", "bridge")}
    for place in places.values():
        place.mkdir()
    with Topology("penstock") as line, Topology("bridge") as bridge:
        with console.status("Starting the internet: one site with every name, HTTP, HTTPS and QUIC, and a resolver"):
            resolver = start_resolvers(line, places["penstock"])
            site = start_site(line, places["penstock"], pair)
            if has_quic():
                start_quic(line, site, pair)
            start_site(bridge, places["bridge"], pair)
        configuration = write_configuration(places["penstock"], **SETTINGS)
        with console.status("Starting Penstock in line (the first start compiles it)"):
            box = start_box(line, configuration)
        try:
            complaint = show_names(console, line, resolver) or _show_requests(console, line, site, pair)
            return complaint or _show_throughput(console, line, bridge)
        finally:
            stop_box(line, box)


def has_quic() -> bool:
    """Is there a client and a server for QUIC?"""
    return find_spec(QUIC_LIBRARY) is not None


def _show_requests(console: Console, line: Topology, site: Server, pair: Certificate) -> str:
    columns = [(one, family) for one in (HOME, OFFICE) for family in (4, 6)]
    table = Table(title="What each client got")
    table.add_column("site", no_wrap=True)
    for one, family in columns:
        table.add_column(f"{one.name}\nIPv{family}")
    schemes = ("http", "https", "quic") if has_quic() else ("http", "https")
    rows = [
        [Ask(host, scheme, one, family) for one, family in columns]
        for host in (GOOD, *BLOCKED.values())
        for scheme in schemes
    ]
    got = dict(send_requests(line, [ask for row in rows for ask in row], pair))
    wrong: list[str] = []
    for row in rows:
        cells = [_show_ask(ask, got[ask], _reached(site, ask), wrong) for ask in row]
        table.add_row(f"{row[0].scheme}://{row[0].host}", *cells)
    console.print(table)
    console.print(f"{HOME.name} switched every service and SafeSearch on, {OFFICE.name} nothing.")
    if not has_quic():
        console.print(NO_QUIC, markup=False)
    if not wrong:
        console.print("The site's own log names the requests that got `site`, and no other.")
    return wrong[0] if wrong else ""


def _show_ask(ask: Ask, got: str, reached: bool, wrong: list[str]) -> str:
    if got == ask.expected and reached == (ask.expected == "site"):
        return f"[{'green' if reached else 'yellow'}]{got}[/]"
    served = "names" if reached else "does not name"
    wrong.append(
        f"{ask.subscriber.name} over IPv{ask.family} asked for {ask.scheme}://{ask.host} and got {got} "
        f"(the site's log {served} it) where {ask.expected} was expected"
    )
    return f"[red]{got}, {'' if reached else 'not '}served[/]"


def send_requests(line: Topology, asks: list[Ask], pair: Certificate) -> Iterator[tuple[Ask, str]]:
    """Ask everything: by curl one after the other, by QUIC all at once in one program. Each with what was got."""
    yield from ((ask, send_request(line, ask, pair)) for ask in asks if ask.scheme != "quic")
    by_quic = [ask for ask in asks if ask.scheme == "quic"]
    if by_quic:
        yield from zip(by_quic, send_by_quic(line, by_quic, pair), strict=True)


def send_by_quic(line: Topology, asks: list[Ask], pair: Certificate) -> list[str]:
    """Ask by `penstock.demo.quic`: for each `site`, `refused`, or what happened. Raises ServerError."""
    questions = [
        {"host": ask.host, "source": ask.subscriber.address(ask.family), "server": server_address(ask.family)}
        for ask in asks
    ]
    argv = [sys.executable, "-m", "penstock.demo.quic", "ask", "--port", "443", f"--certificate={pair.certificate}"]
    done = line.run("client", argv, stdin=None, input="".join(json.dumps(each) + "\n" for each in questions))
    if done.returncode:
        raise ServerError(f"the QUIC client: {done.stderr.strip()[-400:]}")
    return [json.loads(row)["got"] for row in done.stdout.splitlines()]


def send_request(line: Topology, ask: Ask, pair: Certificate) -> str:
    """Ask by curl: `site`, `page` (the block page), `empty` (an answer without a body), `refused` (a TLS alert), or
    what curl said."""
    address = server_address(ask.family)
    where = f"[{address}]" if ask.family == 6 else address
    source = ["--interface", ask.subscriber.address(ask.family)]
    names = ["--connect-to", f"{ask.host}::{where}:", "--cacert", str(pair.certificate)]
    report = ["--write-out", REPORT, "--max-time", str(ASK_S)]
    return word_response(
        line.run("client", ["curl", "-q", "-sS", *source, *names, *report, f"{ask.scheme}://{ask.host}/"]).stdout
    )


def _reached(site: Server, ask: Ask) -> bool:
    source = ask.subscriber.address(ask.family)
    wanted = {"kind": "request", "scheme": ask.scheme, "host": ask.host, "client": source}
    return any(wanted.items() <= entry.items() for entry in read_log(site))


def _show_throughput(console: Console, line: Topology, bridge: Topology) -> str:
    speeds: dict[str, list[float]] = {"Penstock": [], "plain bridge": []}
    with console.status("Bulk transfers, in turns"):
        for _ in range(TURNS):
            for name, topology in (("Penstock", line), ("plain bridge", bridge)):
                speeds[name].append(measure_bulk(topology))
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    table = Table(title=f"Bulk transfer over HTTP, subscriber {HOME.name}, median of {TURNS} turns of {TURN_S} s")
    for title in ("through", "Gbit/s", "beside the bridge"):
        table.add_column(title)
    for name, median in medians.items():
        table.add_row(name, f"{median:.1f}", f"{median / max(medians['plain bridge'], 1e-9):.2f}")
    console.print(table)
    slow = [name for name, median in medians.items() if median <= 0]
    return f"the bulk transfer through {slow[0]} carried nothing" if slow else ""


def measure_bulk(topology: Topology, duration_s: float = TURN_S) -> float:
    """Gbit/s of one bulk transfer to the subscriber home; 0 when it broke."""
    url = f"http://{GOOD}/bulk?s={duration_s}"
    words = ["--interface", HOME.ipv4, "--connect-to", f"{GOOD}::{server_address(4)}:", "--max-time", str(ASK_S)]
    argv = ["curl", "-q", "-sS", *words, "--output", "/dev/null", "--write-out", "%{speed_download}", url]
    done = topology.run("client", argv)
    return float(done.stdout) * 8 / 1e9 if done.returncode == 0 else 0.0

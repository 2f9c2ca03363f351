"""DNS in line: queries a second through Penstock, a plain bridge and a direct cable, with two servers that answer.

    client: dnsperf ──► Penstock │ bridge │ direct ──► server: unbound (…10) and dnsdist (…11), each with one thread

Every name below `test` has an address at both servers, so that without Penstock a blocked name is answered like any other.
dnsperf keeps a fixed number of queries on their way for a fixed time; one arm at a time carries load, in interleaved
blocks (`bench.rounds`). A query that is lost is counted by dnsperf after its time-out and is no part of the rate.
"""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.rounds import compare, interleave
from penstock.demo.box import run_penstock, start_box, stop_box, write_configuration
from penstock.demo.namespaces import configure_links
from penstock.demo.resolver import copy_unbound
from penstock.demo.topology import SERVER_INTERFACE, SERVER_IPV4, Kind, Topology

KINDS: dict[str, Kind] = {"Penstock": "penstock", "bridge": "bridge", "direct": "direct"}
DNSDIST_IPV4 = "198.51.100.11"
SERVERS = {"unbound": SERVER_IPV4, "dnsdist": DNSDIST_IPV4}
NAMES, QUERIES = 100_000, 20_000
SAMPLE_S = 2
ON_THEIR_WAY = 100
PATIENCE_S = 10.0
UNBOUND = f"""server:
  chroot: ""
  username: ""
  pidfile: ""
  do-daemonize: no
  use-syslog: no
  module-config: "iterator"
  num-threads: 1
  interface: {SERVER_IPV4}
  access-control: 0.0.0.0/0 allow
  local-zone: "test." redirect
  local-data: "test. A 192.0.2.1"
remote-control:
  control-enable: no
"""
DNSDIST = f"""setLocal("{DNSDIST_IPV4}:53")
setACL({{"0.0.0.0/0"}})
setSecurityPollSuffix("")
addAction(AllRule(), SpoofAction({{"192.0.2.1"}}))
"""


@dataclass(frozen=True)
class Arm:
    """One of the compared, and the files of queries, by kind."""

    name: str
    topology: Topology
    queries: dict[str, Path]


def measure_live(blocks: int, load: Callable[[], str]) -> None:
    """Print queries a second of each arm, and Penstock's share of the others."""
    with TemporaryDirectory(prefix="penstock-bench-") as directory:
        Path(directory).chmod(0o755)
        with build_arms(Path(directory)) as (arms, line):
            named = {arm.name: arm for arm in arms}
            print(
                f"{blocks} blocks of two samples of {SAMPLE_S} s, {ON_THEIR_WAY} queries on their way, {NAMES:,} names"
            )
            print(
                f"{'queries a second':20}{''.join(f'{name:>12}' for name in named)}{'Penstock / bridge':>28}{'lost':>20}"
            )
            for server in SERVERS:
                for kind in ("allowed", "blocked"):
                    found = interleave(named, blocks, partial(measure, server, kind), lambda: None)
                    rates, lost = found["rate"], found["lost"]
                    shown = "".join(f"{sorted(rates[name])[len(rates[name]) // 2]:12,.0f}" for name in named)
                    ratio = compare(rates, "Penstock", "bridge")
                    words = f"{ratio.median:.2f} ({ratio.low:.2f} … {ratio.high:.2f})"
                    gone = " / ".join(f"{2 * sum(lost[name]):.0f}" for name in named)
                    print(f"{server + ', ' + kind:20}{shown}{words:>28}{gone:>20}", flush=True)
            status = run_penstock(line, ["status"]).stdout
        late = re.search(r"\d+ stale_open", status.replace("\n", " "))
        print(f"load {load()}; packets that passed because the box was late: {late[0] if late else 0}")


def measure(server: str, kind: str, arm: Arm) -> dict[str, float]:
    """One sample: queries answered a second, and queries lost. Raises RuntimeError when it was told something else."""
    words = ["-s", SERVERS[server], "-d", arm.queries[kind], "-l", SAMPLE_S, "-q", ON_THEIR_WAY, "-t", 1, "-e"]
    done = arm.topology.run("client", ["dnsperf", *map(str, words)])
    found = re.search(r"Queries per second:\s+([\d.]+)", done.stdout)
    lost = re.search(r"Queries lost:\s+(\d+)", done.stdout)
    codes = re.search(r"Response codes:\s+(.*)", done.stdout)
    expected = "NXDOMAIN" if kind == "blocked" and arm.name == "Penstock" else "NOERROR"
    if not found or not lost or not codes or not re.fullmatch(rf"{expected} \d+ \(100\.00%\)", codes[1].strip()):
        raise RuntimeError(f"{arm.name}, {server}, {kind}: {done.stdout[-600:]}{done.stderr[-200:]}")
    return {"rate": float(found[1]), "lost": float(lost[1])}


@contextmanager
def build_arms(directory: Path) -> Iterator[tuple[list[Arm], Topology]]:
    """The arms, and Penstock's topology, until the block ends."""
    queries = {kind: directory / f"{kind}.queries" for kind in ("allowed", "blocked")}
    for kind, path in queries.items():
        path.write_text("".join(f"www.name-{number}.{kind}.test A\n" for number in range(QUERIES)))
    with ExitStack() as stack:
        arms = []
        for name, kind in KINDS.items():
            topology = stack.enter_context(Topology(kind, prefix="penstock-bench"))
            here = directory / name
            here.mkdir()
            start_servers(topology, here)
            arms.append(Arm(name, topology, queries))
        line = arms[0].topology
        configuration = write_configuration(directory, log={"all_requests": False, "path": "events.json"})
        with (directory / "phishing.txt").open("a") as phishing:
            phishing.writelines(f"name-{number}.blocked.test\n" for number in range(NAMES))
        box = start_box(line, configuration)
        stack.callback(stop_box, line, box)
        yield arms, line


def start_servers(topology: Topology, directory: Path) -> None:
    """unbound and dnsdist in the server's namespace, each on an address of its own. Raises RuntimeError."""
    configure_links(topology.names["server"], [f"address add {DNSDIST_IPV4}/24 dev {SERVER_INTERFACE}"])
    unbound, dnsdist = directory / "unbound.conf", directory / "dnsdist.conf"
    unbound.write_text(UNBOUND)
    dnsdist.write_text(DNSDIST)
    with (directory / "servers.log").open("w") as sink:
        for argv in ([copy_unbound(directory), "-d", "-c", unbound], ["dnsdist", "--supervised", "-C", dnsdist]):
            topology.spawn("server", argv, stdout=sink, stderr=sink)
    end_s = time.monotonic() + PATIENCE_S
    while len(topology.run("server", ["ss", "-Hlun", "sport", "=", ":53"]).stdout.splitlines()) < len(SERVERS):
        if time.monotonic() > end_s:
            raise RuntimeError(f"the servers do not answer: {(directory / 'servers.log').read_text()[-400:]}")
        time.sleep(0.05)

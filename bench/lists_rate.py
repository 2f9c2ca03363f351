"""New connections a second through a box with ten million names, beside one with few: each for another of many hosts.

    python -m bench.lists_rate [--names 10000000] [--small 1000] [--hosts 20000] [--blocks 6] [--seconds 2]

Two boxes, each with its own server, take turns. Half of the hosts lie deep, none is listed, and none is asked for twice in
a row, so that look-ups find little of the database in the processor's caches. Needs root, Linux 6.6, nginx and wrk. Veth
pairs on one machine: the ratio travels, the absolute figures do not.
"""

import argparse
import random
import re
import statistics
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from bench.arms import PREFIX, Arm, describe_machine, read_offloads, start_nginx
from bench.lists import make_names, write_list
from bench.loads import CLIENTS, LoadError, read_busy_s
from bench.rounds import compare, interleave
from penstock.demo.box import start_box, stop_box, write_configuration
from penstock.demo.servers import write_certificate
from penstock.demo.topology import SERVER_IPV4, Topology

LUA = """local hosts = {}
for line in io.lines("%s") do hosts[#hosts + 1] = line end
local turn = math.random(#hosts)
request = function()
  turn = turn %% #hosts + 1
  return wrk.format("GET", "/", {["Host"] = hosts[turn], ["Connection"] = "close"})
end
"""


def write_hosts(path: Path, count: int) -> None:
    """Hosts that no list has, in random order."""
    chance = random.Random(11)
    hosts = [f"{chance.choice(('', 'www.', 'a.b.', 'cdn.x.y.'))}{name}.other" for name in make_names(count, 12)]
    path.write_text("\n".join(hosts) + "\n")


def measure(arm: Arm, script: Path, seconds: int) -> dict[str, float]:
    """New connections a second, and the machine's CPU time for each."""
    before_s = read_busy_s()
    argv = ["wrk", f"-d{seconds}s", f"-c{CLIENTS}", "-t1", "-s", str(script), f"http://{SERVER_IPV4}/"]
    done = arm.topology.run("client", argv, timeout_s=seconds + 30)
    busy_s = read_busy_s() - before_s
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    count = re.search(r"(\d+) requests in", done.stdout)
    if rate is None or count is None or "Socket errors" in done.stdout or "Non-2xx" in done.stdout:
        raise LoadError(f"{arm.name}: {(done.stdout + done.stderr).strip()[-300:]}")
    return {"connections": float(rate[1]), "cpu_us": busy_s / float(count[1]) * 1e6}


def main() -> None:
    """Print the figures."""
    words = argparse.ArgumentParser(prog="python -m bench.lists_rate", description=__doc__)
    words.add_argument("--names", type=int, default=10_000_000)
    words.add_argument("--small", type=int, default=1_000)
    words.add_argument("--hosts", type=int, default=20_000)
    words.add_argument("--blocks", type=int, default=6)
    words.add_argument("--seconds", type=int, default=2)
    given = words.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name, ExitStack() as stack:
        here = Path(name)
        here.chmod(0o755)
        pair = write_certificate(here)
        write_hosts(here / "hosts.txt", given.hosts)
        script = here / "hosts.lua"
        script.write_text(LUA % (here / "hosts.txt"))
        arms = {}
        for kind, count in (("few", given.small), ("many", given.names)):
            place = here / kind
            place.mkdir()
            with console.status(f"{count:,} names: the list, the database, the box"):
                write_list(place / "names.txt", count, 1)
                topology = stack.enter_context(Topology("penstock", prefix=PREFIX))
                topology.write_settings("client", {"ipv4/ip_local_port_range": "1024 65535", "ipv4/tcp_tw_reuse": 1})
                topology.write_settings("server", {"ipv4/tcp_max_syn_backlog": 8192, "core/somaxconn": 8192})
                start_nginx(topology, place / "nginx", pair)
                configuration = write_configuration(
                    place,
                    lists=[{"category": "phishing", "path": "names.txt"}],
                    services={"web-protection": {"categories": {"phishing": "block"}}},
                    profiles={"everything": {"services": ["web-protection"]}, "nothing": {}},
                    log={"all_requests": False, "path": "events.json"},
                    flows={"capacity": 1 << 18},
                )
                box = start_box(topology, configuration)
            stack.callback(stop_box, topology, box)
            arms[kind] = Arm(kind, topology, here / "hosts.txt")
        with Progress(transient=True) as progress:
            task = progress.add_task("connections", total=2 * (2 * given.blocks + 1))
            work = partial(measure, script=script, seconds=given.seconds)
            figures = interleave(arms, given.blocks, work, partial(progress.advance, task))
        offloads = read_offloads(list(arms.values()))
    for quantity, of in figures.items():
        found = compare(of, "many", "few")
        medians = ", ".join(f"{arm} {statistics.median(of[arm]):,.1f}" for arm in of)
        print(f"{quantity}: {medians}; many/few {found.median:.3f} ({found.low:.3f} ... {found.high:.3f})")
    print(
        f"names {given.names:,} and {given.small:,}; {given.blocks} blocks; {describe_machine()}; offloads {offloads}"
    )


if __name__ == "__main__":
    main()

"""What is compared: topologies that exist at once, of which one at a time carries load.

    penstock     Penstock in line, the subscriber has every service on     bridge         the kernel's bridge
    direct       one pair of interfaces, nothing between                   bridge again   a second bridge: A against A
    penstock before   another version of Penstock, from its own sources, when one is named

Knows how to build them, each with an nginx of its own. Refuses to know what is measured.
"""

import platform
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from penstock.demo.box import GOOD, Box, start_box, stop_box, write_configuration
from penstock.demo.servers import Certificate, Server, start_program, write_certificate
from penstock.demo.topology import (
    CLIENT_INTERFACE,
    EGRESS,
    INGRESS,
    SERVER_INTERFACE,
    SERVER_IPV4,
    Kind,
    Place,
    Topology,
)

PENSTOCK, BRIDGE, DIRECT, AGAIN, BEFORE = "penstock", "bridge", "direct", "bridge again", "penstock before"
KINDS: dict[str, Kind] = {PENSTOCK: "penstock", BRIDGE: "bridge", DIRECT: "direct", AGAIN: "bridge", BEFORE: "penstock"}
PREFIX = "penstock-bench"
BIG_BYTES = 1 << 30
FLOWS = 1 << 20  # more than all connections of a run: what is measured is not a full table
NGINX = """daemon off; pid {here}/nginx.pid; worker_processes 1; error_log stderr; worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
    access_log off; sendfile on; tcp_nodelay on; keepalive_requests 100000000;
    client_body_temp_path {here}/temp; proxy_temp_path {here}/temp; fastcgi_temp_path {here}/temp;
    uwsgi_temp_path {here}/temp;
    scgi_temp_path {here}/temp;
    server {{
        listen [::]:80 ipv6only=off backlog=4096; listen [::]:443 ssl ipv6only=off backlog=4096;
        ssl_certificate {pair.certificate}; ssl_certificate_key {pair.key}; ssl_protocols TLSv1.3;
        root {here};
        location = / {{ return 200 "ok\\n"; }}
    }}
}}
"""


@dataclass(frozen=True)
class Arm:
    """One of the compared: its name, its topology, and a hosts file in which GOOD is the server."""

    name: str
    topology: Topology
    hosts: Path

    def named(self, argv: list[str]) -> list[str]:
        """`argv` such that it resolves GOOD: with a mount namespace whose /etc/hosts is ours."""
        return ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(self.hosts), *argv]


@contextmanager
def build_arms(directory: Path, *, names: int, before: Path | None = None) -> Iterator[tuple[list[Arm], Box]]:
    """The arms, and Penstock with `names` further names on its lists, until the block ends. `before`: the directory of
    another version's sources, which gets an arm of its own."""
    pair = write_certificate(directory)
    hosts = directory / "hosts"
    hosts.write_text(f"127.0.0.1 localhost\n{SERVER_IPV4} {GOOD}\n")
    with (directory / "big").open("wb") as big:
        big.truncate(BIG_BYTES)
    with ExitStack() as stack:
        arms = []
        for name, kind in KINDS.items():
            if name == BEFORE and before is None:
                continue
            topology = stack.enter_context(Topology(kind, prefix=PREFIX))
            # Every connection is a new one and 20,000 a second are made: all ports, and those that wait are used again.
            topology.write_settings("client", {"ipv4/ip_local_port_range": "1024 65535", "ipv4/tcp_tw_reuse": 1})
            topology.write_settings("server", {"ipv4/tcp_max_syn_backlog": 8192, "core/somaxconn": 8192})
            start_nginx(topology, directory / name.replace(" ", "-"), pair)
            arms.append(Arm(name, topology, hosts))
        line = arms[0].topology
        box = start_box(line, _write_policy(directory, names))
        stack.callback(stop_box, line, box)
        if before is not None:
            (directory / "before").mkdir()
            policy = _forget_settings(_write_policy(directory / "before", names), before)
            other = start_box(arms[-1].topology, policy, before=["env", f"PYTHONPATH={before / 'src'}"])
            stack.callback(stop_box, arms[-1].topology, other)
        yield arms, box


def read_offloads(arms: list[Arm]) -> dict[str, list[str]]:
    """The offloads in use, in words, and which interfaces of which arms have them so."""
    found: dict[str, list[str]] = {}
    for arm in arms:
        ends: list[tuple[Place, str]] = [("client", CLIENT_INTERFACE), ("server", SERVER_INTERFACE)]
        if "box" in arm.topology.places:
            ends += [("box", INGRESS), ("box", EGRESS)]
        for place, interface in ends:
            switches = arm.topology.read_offloads(place, interface)
            words = ", ".join(f"{name} {'on' if on else 'off'}" for name, on in switches.items())
            found.setdefault(words, []).append(f"{arm.name} {interface}")
    return found


def describe_machine() -> dict[str, str]:
    """What the figures were measured on."""
    rows = Path("/proc/cpuinfo").read_text().splitlines()
    models = [row.partition(":")[2].strip() for row in rows if row.startswith("model name")]
    return {
        "processor": models[0] if models else platform.machine(),
        "processors": str(sum(row.startswith("processor") for row in rows)),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def _write_policy(directory: Path, names: int) -> Path:
    configuration = write_configuration(
        directory,
        log={"all_requests": False, "path": "events.json"},
        flows={"capacity": FLOWS},
    )
    with (directory / "phishing.txt").open("a") as phishing:
        phishing.writelines(f"name-{number}.example.net\n" for number in range(names))
    return configuration


def _forget_settings(configuration: Path, before: Path) -> Path:
    """Leave out what another version does not know: its example names every key that it does."""
    known = yaml.safe_load((before / "examples" / "inline.yaml").read_text())
    settings = yaml.safe_load(configuration.read_text())
    configuration.write_text(yaml.safe_dump({key: settings[key] for key in settings if key in known}))
    return configuration


def start_nginx(topology: Topology, here: Path, pair: Certificate) -> Server:
    """Start an nginx with one worker, in a directory of its own. Raises ServerError."""
    here.mkdir()
    (here / "big").symlink_to(here.parent / "big")
    (here / "nginx.conf").write_text(NGINX.format(here=here, pair=pair))
    server = Server("nginx", 80, 443, here / "nginx.log")
    return start_program(topology, server, ["nginx", "-c", here / "nginx.conf", "-p", here, "-e", "stderr"])

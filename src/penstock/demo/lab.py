"""The network of the whole demonstration, with an operator's machines in it.

      client                          box                                     server
    lan0, VLAN 100              ingress ── egress                       wan0, VLAN 100
    10.77.0.3, .11 to .15       lo: 192.0.2.5   RADIUS, API, metrics    198.51.100.10  site, resolver
    fd77::3, ::11 to ::15           192.0.2.53  resolver                203.0.113.80   the operator's page
                                    192.0.2.1   the BNG
                                    127.0.0.1   server of lists

Knows how each program is started, and that it must answer. Refuses to know what people do.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from penstock.demo.box import BoxError, run_penstock, start_box, stop_box
from penstock.demo.names import SAFE, SAFE_ENGINE
from penstock.demo.namespaces import configure_links
from penstock.demo.operator import (
    LISTED,
    LISTS_PORT,
    MANAGEMENT,
    MISTAKEN,
    NAS,
    PAGE_ADDRESS,
    VLAN,
    write_lists,
    write_operator,
)
from penstock.demo.people import CHAT, FREE, GAMES, Person
from penstock.demo.resolver import start_resolver
from penstock.demo.servers import Server, ServerError, start_program, start_site, write_certificate
from penstock.demo.topology import CLIENT_INTERFACE, SERVER_INTERFACE, SERVER_IPV4, SERVER_IPV6, Topology

YOUTUBE = "restrictmoderate.youtube.com"


@dataclass(frozen=True)
class Lab:
    """What runs: where, the configuration, the certificate of the site."""

    topology: Topology
    configuration: Path
    certificate: Path

    def make_token(self, role: str, name: str, *words: str) -> str:
        """`penstock token create`. Raises BoxError."""
        given: list[str | Path] = [
            "--role",
            role,
            "--name",
            name,
            "--days",
            "1",
            "--config",
            self.configuration,
            *words,
        ]
        return _run(self.topology, ["token", "create", *given]).strip()


@contextmanager
def build_lab(directory: Path, people: Sequence[Person]) -> Iterator[Lab]:
    """All of it, judging; gone behind the block. Raises TopologyError, ServerError, BoxError, ExampleError."""
    pair = write_certificate(directory)
    with Topology("penstock", vlan=(VLAN,)) as topology:
        _add_addresses(topology, people)
        _start_internet(topology, directory)
        start_site(topology, directory, pair)
        configuration = write_operator(directory)
        start_lists(topology, directory)
        _run(topology, ["lists", "fetch", "--config", configuration])
        box = start_box(topology, configuration)
        try:
            yield Lab(topology, configuration, pair.certificate)
        finally:
            stop_box(topology, box)


def start_sessions(lab: Lab, people: Sequence[Person]) -> None:
    """Have the BNG say who has come. Raises ServerError."""
    argv = [sys.executable, "-m", "penstock.demo.accounting"]
    argv += ["--server", MANAGEMENT["box"], "--source", MANAGEMENT["bng"], "--nas", NAS]
    argv += ["--secret", str(lab.configuration.parent / "radius.secret")]
    sessions = [
        {"subscriber": one.id, "profile": one.profile, "ipv4": one.ipv4, "ipv6": one.ipv6}
        for one in people
        if one.by_radius
    ]
    done = lab.topology.run("box", argv, stdin=None, input="".join(json.dumps(one) + "\n" for one in sessions))
    if done.returncode:
        raise ServerError(f"the BNG: {done.stderr.strip()[-400:]}")
    for row in map(json.loads, done.stdout.splitlines()):
        if not row["answered"]:
            raise ServerError(f"RADIUS: nobody answers the session of {row['subscriber']}")


def start_lists(topology: Topology, directory: Path) -> None:
    """CPython's file server with the lists; it knows If-Modified-Since. Raises ServerError."""
    served = directory / "served"
    write_lists(served)
    argv = [sys.executable, "-m", "http.server", str(LISTS_PORT), "--bind", "127.0.0.1", "--directory", str(served)]
    server = Server("the server of lists", LISTS_PORT, LISTS_PORT, directory / "lists.log")
    start_program(topology, server, argv, "box")


def _add_addresses(topology: Topology, people: Sequence[Person]) -> None:
    homes = [(one.ipv4, one.ipv6) for one in people if one.by_radius]  # the topology has the others
    lines = [f"address add {ipv4}/24 dev {CLIENT_INTERFACE}" for ipv4, _ in homes]
    lines += [f"address add {ipv6}/64 dev {CLIENT_INTERFACE} nodad" for _, ipv6 in homes]
    configure_links(topology.names["client"], [*lines, f"route add {PAGE_ADDRESS}/32 dev {CLIENT_INTERFACE}"])
    configure_links(topology.names["box"], [f"address add {one}/32 dev lo" for one in MANAGEMENT.values()])
    configure_links(topology.names["server"], [f"address add {PAGE_ADDRESS}/32 dev {SERVER_INTERFACE}"])


def _start_internet(topology: Topology, directory: Path) -> None:
    site = (SERVER_IPV4, SERVER_IPV6)
    known = dict.fromkeys((*FREE, *LISTED.values(), MISTAKEN, CHAT, GAMES), site)
    safe = tuple(SAFE_ENGINE.values())
    start_resolver(topology, "box", directory, [MANAGEMENT["resolver"]], {SAFE: safe, YOUTUBE: safe})
    start_resolver(topology, "server", directory, site, known)


def _run(topology: Topology, words: Sequence[str | Path]) -> str:
    try:
        done = run_penstock(topology, words)
    except subprocess.TimeoutExpired:
        raise BoxError(f"penstock {words[0]} {words[1]} did not end") from None
    if done.returncode:
        raise BoxError(f"penstock {words[0]} {words[1]}: {(done.stderr or done.stdout).strip()[-400:]}")
    return str(done.stdout)

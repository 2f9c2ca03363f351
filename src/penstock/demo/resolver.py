"""Resolvers of the demo: unbound, answering from its own configuration, so that no look-up leaves the machine.

    server namespace: what the subscribers ask       box namespace, on loopback: where SafeSearch's names lead

Knows unbound's configuration and its log of queries. Refuses to know who asks, and what stands between.
"""

import re
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from penstock.demo.servers import ServerError
from penstock.demo.topology import Place, Topology

START_S = 10.0
CONFIGURATION = """server:
  directory: "{directory}"
  chroot: ""
  username: ""
  pidfile: ""
  do-daemonize: no
  use-syslog: no
  log-queries: yes
  module-config: "iterator"
  num-threads: 1
  access-control: 0.0.0.0/0 allow
  access-control: ::0/0 allow
{interfaces}
  local-zone: "." static
{records}
remote-control:
  control-enable: no
"""


@dataclass(frozen=True)
class Resolver:
    """A running unbound, by the log of its queries."""

    log: Path

    def read_asked(self) -> set[tuple[str, str]]:
        """Every query that it heard: the client's address, and the name without the dot at its end."""
        text = self.log.read_text(errors="replace")
        return {
            (client, name.rstrip(".").lower()) for client, name in re.findall(r"info: (\S+) (\S+) \S+ IN$", text, re.M)
        }


def start_resolver(
    topology: Topology, place: Place, directory: Path, addresses: Sequence[str], names: Mapping[str, Sequence[str]]
) -> Resolver:
    """Start unbound on port 53 of `addresses`; `names` and their addresses are all that it knows. Raises ServerError."""
    content = build_configuration(directory, addresses, names)
    configuration, log = directory / f"resolver-{place}.conf", directory / f"resolver-{place}.log"
    configuration.write_text(content)
    with log.open("w") as sink:
        program = topology.spawn(place, [copy_unbound(directory), "-d", "-c", configuration], stdout=sink, stderr=sink)
    end_s = time.monotonic() + START_S
    while "start of service" not in log.read_text():
        if program.poll() is not None or time.monotonic() > end_s:
            raise ServerError(f"unbound does not answer: {log.read_text(errors='replace').strip()[-400:]}")
        time.sleep(0.02)
    return Resolver(log)


def copy_unbound(directory: Path) -> Path:
    """A copy of unbound to run: Debian's AppArmor profile goes by the program's path, and lets the installed one read no
    configuration outside of its own directory. Raises ServerError."""
    installed, copy = shutil.which("unbound"), directory / "unbound"
    if installed is None:
        raise ServerError("the program `unbound` is missing: apt-get install unbound")
    if not copy.exists():
        shutil.copy(installed, copy)
    return copy


def build_configuration(directory: Path, addresses: Sequence[str], names: Mapping[str, Sequence[str]]) -> str:
    """unbound's configuration."""
    records = [
        f'  local-data: "{name}. {"AAAA" if ":" in address else "A"} {address}"'
        for name, found in names.items()
        for address in found
    ]
    interfaces = "\n".join(f"  interface: {address}" for address in addresses)
    return CONFIGURATION.format(directory=directory, interfaces=interfaces, records="\n".join(records))

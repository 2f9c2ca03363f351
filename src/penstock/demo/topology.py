"""Three network namespaces in a row: subscribers, the box in line, the internet.

       client                     box                      server
    lan0 10.77.0.2 home     ingress ── egress        wan0 198.51.100.10
         10.77.0.3 office   (no addresses)                2001:db8:77::10
         fd77::2, fd77::3

Kinds: `penstock` leaves ingress and egress for a box to connect, `bridge` joins them by the kernel's bridge, `direct`
has no box: one pair of interfaces joins client and server. The ends route to each other on-link, so a
subscriber's prefix never holds a server. With `vlan`, both ends tag what they send and untag what they receive.

Knows links, addresses, and what was started in them. Refuses to know what the box does.
"""

import itertools
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Literal, Self

from penstock.demo import tags
from penstock.demo.namespaces import (
    END_S,
    TopologyError,
    configure_links,
    end_programs,
    enter_namespace,
    remove_namespace,
    sweep,
)

Kind = Literal["penstock", "bridge", "direct"]
Place = Literal["client", "box", "server"]

PLACES: tuple[Place, ...] = ("client", "box", "server")
ENDS: tuple[Place, ...] = ("client", "server")
CLIENT_INTERFACE = "lan0"
SERVER_INTERFACE = "wan0"
INGRESS = "ingress"
EGRESS = "egress"
SERVER_IPV4 = "198.51.100.10"
SERVER_IPV6 = "2001:db8:77::10"
_serials = itertools.count()


@dataclass(frozen=True)
class Subscriber:
    """One who pays: an address of each family, both in the client namespace."""

    name: str
    ipv4: str
    ipv6: str

    def address(self, family: int) -> str:
        """The address of family 4 or 6."""
        return self.ipv4 if family == 4 else self.ipv6


HOME = Subscriber("home", "10.77.0.2", "fd77::2")
OFFICE = Subscriber("office", "10.77.0.3", "fd77::3")


def server_address(family: int) -> str:
    """The server's address of family 4 or 6."""
    return SERVER_IPV4 if family == 4 else SERVER_IPV6


class Topology:
    """The three namespaces as a context: built on entry, gone on exit, also after an exception, Ctrl-C or SIGTERM."""

    def __init__(
        self, kind: Kind = "penstock", *, vlan: Sequence[int] = (), mtu: int = 1500, prefix: str = "penstock"
    ) -> None:
        self.kind = kind
        self.vlan = tuple(vlan)
        self.mtu = mtu
        self.prefix = prefix
        self.places: tuple[Place, ...] = ENDS if kind == "direct" else PLACES
        stem = f"{prefix}-{os.getpid()}-{next(_serials)}"
        self.names: dict[Place, str] = {place: f"{stem}-{place}" for place in self.places}
        self._programs: list[subprocess.Popen[Any]] = []
        self._links: list[int] = []
        self._sigterm: Any = None

    def __enter__(self) -> Self:
        if os.geteuid() != 0:
            raise TopologyError("network namespaces need root: run it with sudo")
        sweep(self.prefix)
        if threading.current_thread() is threading.main_thread():
            self._sigterm = signal.signal(signal.SIGTERM, _exit_on_signal)
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every program in the namespaces and remove them. May be called twice; a second Ctrl-C waits for it."""
        with _ignore_signals():
            end_programs(self._programs)
            self._programs.clear()
            while self._links:
                os.close(self._links.pop())
            for name in self.names.values():
                remove_namespace(name)
        if self._sigterm is not None:
            signal.signal(signal.SIGTERM, self._sigterm)
            self._sigterm = None

    def inside(self, place: Place) -> AbstractContextManager[None]:
        """The calling thread is in `place` for the time of the block; sockets and children made there stay there."""
        return enter_namespace(self.names[place])

    def spawn(self, place: Place, argv: Sequence[str | Path], **options: Any) -> subprocess.Popen[Any]:
        """Start a program in `place`; it is ended with the topology. In a session of its own: Ctrl-C is ours alone."""
        options.setdefault("stdin", subprocess.DEVNULL)
        with self.inside(place):
            program = subprocess.Popen([str(word) for word in argv], start_new_session=True, **options)
        self._programs.append(program)
        return program

    def run(
        self, place: Place, argv: Sequence[str | Path], *, timeout_s: float = 60, **options: Any
    ) -> subprocess.CompletedProcess[Any]:
        """Run a program in `place` to its end, its output captured as text. Raises TimeoutExpired only."""
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("text", True)
        with self.inside(place):
            return subprocess.run([str(word) for word in argv], capture_output=True, timeout=timeout_s, **options)

    def end(self, program: subprocess.Popen[Any], patience_s: float = END_S) -> int:
        """End one program that `spawn` started, in order if it takes no longer; its exit status."""
        end_programs([program], patience_s)
        return program.returncode

    def write_settings(self, place: Place, settings: Mapping[str, object]) -> None:
        """Write sysctls of `place`: names with slashes below /proc/sys/net; what this kernel lacks is left out."""
        with self.inside(place):
            for name, value in settings.items():
                with suppress(FileNotFoundError):
                    (Path("/proc/sys/net") / name).write_text(str(value))

    def read_counters(self, place: Place) -> dict[str, int]:
        """The TCP and IP counters of `place` (netstat and snmp), by name, such as TCPOFOQueue."""
        counters: dict[str, int] = {}
        with self.inside(place):
            for table in ("netstat", "snmp"):
                rows = (Path("/proc/thread-self/net") / table).read_text().splitlines()
                for names, values in zip(rows[::2], rows[1::2], strict=True):
                    counters.update(zip(names.split()[1:], map(int, values.split()[1:]), strict=True))
        return counters

    def set_offloads(self, place: Place, interface: str, **switches: bool) -> None:
        """Switch offloads of an interface by their ethtool names: tso, gso, gro, tx, rx."""
        words = [word for name, on in switches.items() for word in (name, "on" if on else "off")]
        done = self.run(place, ["ethtool", "-K", interface, *words])
        if done.returncode:
            raise TopologyError(f"ethtool -K {interface} {' '.join(words)}: {done.stderr.strip()}")

    def read_offloads(self, place: Place, interface: str) -> dict[str, bool]:
        """The offloads of an interface that matter to a box in line, by their ethtool long names."""
        text = self.run(place, ["ethtool", "-k", interface]).stdout
        wanted = r"^(tcp-segmentation-offload|generic-(?:segmentation|receive)-offload|tx-checksumming): (on|off)"
        return {name: state == "on" for name, state in re.findall(wanted, text, re.MULTILINE)}

    def _build(self) -> None:
        configure_links(None, [f"netns add {name}" for name in self.names.values()])
        self._link_places()
        self._configure_ends()
        if "box" in self.places:
            self._configure_box()
        if self.vlan:
            for place, interface in zip(ENDS, (CLIENT_INTERFACE, SERVER_INTERFACE), strict=True):
                with self.inside(place):
                    self._links += tags.attach_tags(interface, self.vlan)

    def _link_places(self) -> None:
        client, server, size = self.names["client"], self.names["server"], f"mtu {self.mtu}"
        pairs = [(client, CLIENT_INTERFACE, server, SERVER_INTERFACE)]
        if "box" in self.places:
            box = self.names["box"]
            pairs = [(client, CLIENT_INTERFACE, box, INGRESS), (box, EGRESS, server, SERVER_INTERFACE)]
        lines = [f"link add {a} {size} netns {at} type veth peer name {b} {size} netns {to}" for at, a, to, b in pairs]
        configure_links(None, lines)

    def _configure_ends(self) -> None:
        still = [f"ipv6/conf/{scope}/{name}" for scope in ("all", "default") for name in ("accept_ra", "accept_dad")]
        for place in ENDS:  # before the links come up, else each asks for routers
            self.write_settings(place, dict.fromkeys(still, 0))
        addresses = [word for one in (HOME, OFFICE) for word in (f"{one.ipv4}/24", f"{one.ipv6}/64")]
        routes = ["198.51.100.0/24", "2001:db8:77::/64"]
        _configure_end(self.names["client"], CLIENT_INTERFACE, addresses, routes)
        addresses = [f"{SERVER_IPV4}/24", f"{SERVER_IPV6}/64"]
        _configure_end(self.names["server"], SERVER_INTERFACE, addresses, ["10.77.0.0/24", "fd77::/64"])

    def _configure_box(self) -> None:
        quiet = {f"ipv6/conf/{scope}/disable_ipv6": 1 for scope in ("all", "default")}
        # The bridge is to be compared at its best: no detour through netfilter, which is the default where built in.
        plain = {f"bridge/bridge-nf-call-{family}tables": 0 for family in ("ip", "ip6", "arp")}
        self.write_settings("box", quiet | plain)
        lines = [f"link set {interface} promisc on up" for interface in (INGRESS, EGRESS)]
        if self.kind == "bridge":
            lines.append(f"link add br0 mtu {self.mtu} type bridge mcast_snooping 0 stp_state 0")
            lines += [f"link set {interface} master br0" for interface in (INGRESS, EGRESS)]
            lines.append("link set br0 up")
        configure_links(self.names["box"], [*lines, "link set lo up"])


def _configure_end(name: str, interface: str, addresses: list[str], routes: list[str]) -> None:
    lines = [f"address add {address} dev {interface}{' nodad' * (':' in address)}" for address in addresses]
    lines += ["link set lo up", f"link set {interface} up"]
    lines += [f"route add {route} dev {interface}" for route in routes]
    configure_links(name, lines)


def _exit_on_signal(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


@contextmanager
def _ignore_signals() -> Iterator[None]:
    """No Ctrl-C or SIGTERM for the time of the block; only the main thread can have it so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

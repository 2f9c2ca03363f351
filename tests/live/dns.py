"""DNS for the live tests: resolvers to ask, stubs and clients that ask them, and what each was told.

    client                             box                        server
    home office child teen   ──────►   Penstock           ──────► unbound: every name there is (a root zone of its own)
    dig kdig delv                      unbound on 127.0.0.1:      site:    all its addresses
    glibc systemd-resolved Chromium    where SafeSearch leads

`child` has SafeSearch and YouTube strict and ECH removed, `teen` has them moderate and ECH refused. Programs that cannot
choose their source are `home`, or `child` when they ask CHILD_RESOLVER.

Knows zones, resolvers and the output of their clients. Refuses to know what Penstock answers: the tests judge it.
"""

import base64
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dns.dnssec
import dns.dnssectypes
import dns.message
import dns.zone
from cryptography.hazmat.primitives.asymmetric import ec

from penstock.demo.box import BLOCKED, GOOD, SERVICES, start_box, stop_box, write_configuration
from penstock.demo.namespaces import configure_links
from penstock.demo.resolver import copy_unbound
from penstock.demo.servers import Certificate, start_site
from penstock.demo.topology import (
    CLIENT_INTERFACE,
    HOME,
    OFFICE,
    SERVER_INTERFACE,
    SERVER_IPV4,
    Place,
    Subscriber,
    Topology,
    server_address,
)
from tests.hellos import vector8, vector16
from tests.live.line import Line
from tests.live.quic import Carry, carry_datagrams

CHILD = Subscriber("child", "10.77.0.4", "fd77::4")
TEEN = Subscriber("teen", "10.77.0.5", "fd77::5")
CHILD_RESOLVER = "198.51.100.54"
ODD = "odd.example.test"  # on no list
ALIAS, LARGE, SIGNED = "alias.example.test", "large.example.test", "www.signed.test"
QUIET, LATER, LISTED = "quiet.example.test", "later.example.test", "listed.example.test"
SECRET, COVER, OPEN = "secret.example.test", "cover.example.test", "open.example.test"  # COVER is SECRET's public name
LARGE_BYTES = 3_000  # of TXT: two fragments and more
START_S = 10.0
RELOAD_S = 60.0  # a reload reads every list, on a busy machine
SERVICE_PATH = "/usr/lib/systemd:/lib/systemd"

PLACES = {GOOD: 10, ODD: 10, COVER: 10, OPEN: 10, QUIET: 21, LATER: 22, LISTED: 23, SECRET: 31} | dict.fromkeys(
    BLOCKED.values(), 10
)
"""Names and the last part of their addresses, IPv4 and IPv6 alike."""

CANARIES = ("use-application-dns.net", "mask.icloud.com", "mask-h2.icloud.com")
UNSAFE = 99
ENGINES = ("www.google.com", "www.google.co.uk", "www.bing.com", "duckduckgo.com", "www.youtube.com", "m.youtube.com")
TARGETS = {
    "forcesafesearch.google.com": 41,
    "strict.bing.com": 42,
    "safe.duckduckgo.com": 43,
    "restrict.youtube.com": 44,
    "restrictmoderate.youtube.com": 45,
}

UNBOUND = """
server:
  directory: "{here}"
  chroot: ""
  username: ""
  pidfile: ""
  do-daemonize: no
  use-syslog: no
  log-queries: yes
  module-config: "iterator"
  {interfaces}
  {tls}
  access-control: 0.0.0.0/0 allow
  access-control: ::0/0 allow
  max-udp-size: 4096
  incoming-num-tcp: 250
  rrset-roundrobin: no
  local-zone: "test." nodefault
remote-control:
  control-enable: no
{zones}
"""
ZONE = 'auth-zone:\n  name: "{name}"\n  zonefile: "{path}"\n  for-upstream: no\n'
HEAD = "$TTL 300\n@ SOA ns.test. nobody.test. 1 3600 600 86400 60\n@ NS ns.test.\n"

STUB_MOUNTS = """mount --bind "$1" /etc/resolv.conf && mount --bind "$2" /etc/nsswitch.conf && shift 2 && exec "$@" """
RESOLVED_MOUNTS = """mount -t tmpfs none /run && mkdir -p /run/systemd/resolved.conf.d &&
    cp "$1" /run/systemd/resolved.conf.d/test.conf && exec "$2" """
RESOLVED = """[Resolve]
DNS={server}
Domains=~.
DNSSEC=no
DNSOverTLS={over_tls}
LLMNR=no
MulticastDNS=no
Cache=no
"""

PROFILES = {
    "everything": {"services": list(SERVICES)},
    "nothing": {"services": []},
    "child": {"services": list(SERVICES), "safe_search": "strict", "youtube": "strict", "ech": "remove"},
    "teen": {"services": list(SERVICES), "safe_search": "moderate", "youtube": "moderate", "ech": "refuse"},
}
SUBSCRIBERS = [
    {"id": one.name, "prefixes": [f"{one.ipv4}/32", f"{one.ipv6}/128"], "profile": profile}
    for one, profile in ((HOME, "everything"), (OFFICE, "nothing"), (CHILD, "child"), (TEEN, "teen"))
]

SETTINGS: dict[str, Any] = {"profiles": PROFILES, "subscribers": SUBSCRIBERS, "dns": {"resolvers": ["127.0.0.1"]}}


def place_address(number: int, family: int = 4) -> str:
    """An address of the server by its last part."""
    return f"198.51.100.{number}" if family == 4 else f"2001:db8:77::{number}"


def ech_list(public: str = COVER) -> bytes:
    """An ECHConfigList of one X25519 key (RFC 9849, 4)."""
    content = b"\7" + b"\0\x20" + vector16(bytes(range(32))) + vector16(b"\0\1\0\1") + b"\0"
    return vector16(b"\xfe\x0d" + vector16(content + vector8(public.encode()) + vector16(b"")))


ECH = base64.b64encode(ech_list()).decode()


@dataclass(frozen=True)
class Asked:
    """One query that a resolver heard; the name in lower case, without the dot at its end."""

    client: str
    name: str
    kind: str


@dataclass(frozen=True)
class Resolver:
    """unbound, and the log of what it was asked."""

    log: Path

    def read(self) -> list[Asked]:
        """Every query so far."""
        found = re.findall(r"info: (\S+) (\S+) (\S+) IN$", self.log.read_text(errors="replace"), re.MULTILINE)
        return [Asked(client, name.rstrip(".").lower(), kind) for client, name, kind in found]


@dataclass(frozen=True)
class Told:
    """What dig or kdig printed of one answer."""

    text: str
    took_s: float = 0.0

    def _find(self, pattern: str) -> str:
        found = re.search(pattern, self.text)
        return found[1] if found else ""

    @property
    def status(self) -> str:
        """NOERROR, NXDOMAIN, ...; empty without an answer."""
        return self._find(r"status: (\w+)")

    @property
    def flags(self) -> set[str]:
        """qr, aa, rd, ra, ad, tc, ..."""
        return set(self._find(r"(?i);; flags: ([a-z ]*);").split())

    @property
    def error(self) -> str:
        """The Extended DNS Error as it is shown, with its number."""
        return self._find(r"EDE: (.*)")

    @property
    def time_ms(self) -> float:
        """What the client measured."""
        return float(self._find(r"Query time: (\d+) msec|$") or self._find(r" in ([\d.]+) ms"))

    def section(self, name: str = "ANSWER") -> list[list[str]]:
        """The records of a section as owner, TTL, class, type, data."""
        lines = self._find(rf";; {name} SECTION:\n((?:[^;\n].*\n)*)").splitlines()
        return [re.sub(r"\s+", " ", line).split(" ", 4) for line in lines]

    def values(self, kind: str) -> list[str]:
        """The data of the answer's records of a type, names without the dot at the end."""
        return [record[4].rstrip(".") for record in self.section() if record[3] == kind]


@dataclass(frozen=True)
class Sender:
    """A socket of the client namespace, as the carriers of datagrams want it."""

    topology: Topology
    channel: socket.socket


@dataclass
class DnsLine(Line):
    """A line with resolvers on both sides of it."""

    resolver: Resolver = field(kw_only=True)
    settings: dict[str, Any] = field(kw_only=True)

    def dig(self, who: Subscriber, *words: str, family: int = 4, program: str = "dig", server: str = "") -> Told:
        """Let dig, or kdig, ask the resolver once as `who`."""
        once = ["+tries=1", "+time=2"] if program == "dig" else ["+retry=0", "+timeout=2"]
        where = [f"@{server or server_address(family)}", "-b", who.address(family)]
        begin_s = time.monotonic()
        done = self.topology.run("client", [program, *where, *once, *words])
        return Told(done.stdout + done.stderr, time.monotonic() - begin_s)

    def ask(
        self, who: Subscriber, *datagrams: bytes, family: int = 4, carry: Carry = carry_datagrams, wait_s: float = 0.5
    ) -> list[bytes]:
        """Send datagrams to the resolver from one port of `who`; the answers, at most as many, that came in time."""
        with self.topology.inside("client"):
            channel = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
        with channel:
            channel.bind((who.address(family), 0))
            channel.connect((server_address(family), 53))
            channel.settimeout(wait_s)
            carry(Sender(self.topology, channel), list(datagrams))
            answers: list[bytes] = []
            try:
                while len(answers) < len(datagrams):
                    answers.append(channel.recv(1 << 16))
            except TimeoutError:
                pass
            return answers

    def call(self, who: Subscriber, number: int, port: int = 443, family: int = 4) -> socket.socket:
        """A connection of `who` to one of the server's addresses, by its last part."""
        with self.topology.inside("client"):
            return socket.create_connection(
                (place_address(number, family), port), timeout=2, source_address=(who.address(family), 0)
            )

    def ask_beside(self, datagram: bytes) -> bytes:
        """The resolver's answer where no box is between."""
        with self.topology.inside("server"), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
            channel.settimeout(1)
            channel.sendto(datagram, (SERVER_IPV4, 53))
            return channel.recv(1 << 16)

    def heard(self, name: str, who: Subscriber | None = None, since: int = 0) -> list[Asked]:
        """What the resolver was asked about this name and below it, once all that was sent before has arrived."""
        assert self.ask(HOME, query("marker.test")), "the resolver does not answer"
        mine = {who.ipv4, who.ipv6} if who else set()
        return [
            asked
            for asked in self.resolver.read()[since:]
            if f".{asked.name}".endswith(f".{name}") and (who is None or asked.client in mine)
        ]

    def count_heard(self) -> int:
        """How many queries the resolver has heard by now."""
        return len(self.resolver.read())

    def reload(self) -> None:
        """SIGHUP, and wait until configuration and lists are in force."""
        before = self.box.output.read_text().count("reloaded")
        os.kill(self.box.program.pid, signal.SIGHUP)
        end_s = time.monotonic() + RELOAD_S
        while self.box.output.read_text().count("reloaded") == before:
            assert time.monotonic() < end_s, self.box.output.read_text()[-400:]
            time.sleep(0.02)

    @contextmanager
    def configured(self, **settings: object) -> Iterator[None]:
        """These settings are in force for the time of the block."""
        write_configuration(self.here, **merge_settings(self.settings, settings))
        self.reload()
        try:
            yield
        finally:
            write_configuration(self.here, **self.settings)
            self.reload()

    @contextmanager
    def listed(self, *names: str) -> Iterator[None]:
        """These names are phishing for the time of the block."""
        path = self.here / "phishing.txt"
        before = path.read_text()
        path.write_text(before + "".join(f"{name}\n" for name in names))
        self.reload()
        try:
            yield
        finally:
            path.write_text(before)
            self.reload()

    def run_stub(
        self, argv: Sequence[str | Path], options: str = "", server: str = SERVER_IPV4
    ) -> tuple[subprocess.CompletedProcess[Any], float]:
        """Run a program that asks by /etc/resolv.conf; what it printed, and the seconds it took."""
        resolv, switch = self.here / "resolv.conf", self.here / "nsswitch.conf"
        resolv.write_text(f"nameserver {server}\noptions timeout:2 attempts:2 {options}\n")
        switch.write_text("hosts: files dns\n")
        words = ["unshare", "--mount", "sh", "-c", STUB_MOUNTS, "sh", resolv, switch, *argv]
        begin_s = time.monotonic()
        done = self.topology.run("client", words)
        return done, time.monotonic() - begin_s

    @contextmanager
    def resolved(self, over_tls: str = "no", server: str = SERVER_IPV4) -> Iterator[str]:
        """systemd-resolved in the client namespace, with a /run of its own and so without a bus; its address."""
        content, log = self.here / "resolved.conf", self.here / "resolved.log"
        content.write_text(RESOLVED.format(server=server, over_tls=over_tls))
        words = ["unshare", "--mount", "sh", "-c", RESOLVED_MOUNTS, "sh", content, find_resolved()]
        with log.open("w") as sink:
            program = self.topology.spawn("client", words, stdout=sink, stderr=sink)
        try:
            end_s = time.monotonic() + START_S
            while not self.topology.run("client", ["ss", "-Hlun", "src", "127.0.0.53"]).stdout:
                assert program.poll() is None, log.read_text()
                assert time.monotonic() < end_s, log.read_text()
                time.sleep(0.02)
            yield "127.0.0.53"
        finally:
            self.topology.end(program)


def find_resolved() -> str:
    """systemd-resolved's program, which is on no PATH; empty where it is not installed."""
    return shutil.which("systemd-resolved", path=SERVICE_PATH) or ""


def query(name: str, kind: str = "A", **more: Any) -> bytes:
    """A query in wire format."""
    return dns.message.make_query(name, kind, **more).to_wire()


def framed(*messages: bytes) -> bytes:
    """Messages as a stream has them (RFC 7766, 8)."""
    return b"".join(vector16(message) for message in messages)


def read_answers(channel: socket.socket, count: int = 1) -> list[bytes]:
    """The next messages of a stream, in wire format."""
    with channel.makefile("rb") as stream:
        return [stream.read(int.from_bytes(stream.read(2))) for _ in range(count)]


def read_stream(stream: bytes) -> list[dns.message.Message]:
    """The messages of a stream, which ends with a whole one."""
    found = []
    while stream:
        size = 2 + int.from_bytes(stream[:2])
        assert len(stream) >= size, stream
        found.append(dns.message.from_wire(stream[2:size]))
        stream = stream[size:]
    return found


def merge_settings(ours: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Further settings of a configuration, those of `dns` each for itself."""
    return ours | more | {"dns": ours["dns"] | more.get("dns", {})}


@contextmanager
def build_dns_line(here: Path, pair: Certificate, vlan: tuple[int, ...] = (), **settings: Any) -> Iterator[DnsLine]:
    """A line with resolvers and four subscribers; `settings` as in the configuration, those of `dns` put to ours."""
    with Topology("penstock", vlan=vlan, prefix="penstock-live") as topology:
        _add_addresses(topology)
        places = sorted({10, 54, *PLACES.values()})
        addresses = [place_address(number, family) for number in places for family in (4, 6)]
        internet = start_unbound(topology, "server", here, addresses, write_zones(here), pair)
        start_unbound(topology, "box", here, ["127.0.0.1"], {".": write_zone(here / "safe.zone", TARGETS)})
        site = start_site(topology, here, pair)
        merged = merge_settings(SETTINGS, settings)
        configuration = write_configuration(here, **merged)
        box = start_box(topology, configuration)
        known = {"CPython": site}
        line = DnsLine(topology, here, pair, site, configuration, box, known, resolver=internet, settings=merged)
        try:
            yield line
        finally:
            stop_box(topology, line.box)


def _add_addresses(topology: Topology) -> None:
    places = [number for number in sorted({54, *PLACES.values()}) if number != 10]
    there = [f"{place_address(number)}/24" for number in places]
    there += [f"{place_address(number, 6)}/64 nodad" for number in places]
    lines = [f"address add {address} dev {SERVER_INTERFACE}" for address in there]
    configure_links(topology.names["server"], lines)
    here = [f"{one.ipv4}/24" for one in (CHILD, TEEN)] + [f"{one.ipv6}/64 nodad" for one in (CHILD, TEEN)]
    lines = [f"address add {address} dev {CLIENT_INTERFACE}" for address in here]
    lines += [f"route replace 198.51.100.0/24 dev {CLIENT_INTERFACE} src {HOME.ipv4}"]
    lines += [f"route replace 2001:db8:77::/64 dev {CLIENT_INTERFACE} src {HOME.ipv6}"]
    lines += [f"route add {CHILD_RESOLVER} dev {CLIENT_INTERFACE} src {CHILD.ipv4}"]
    configure_links(topology.names["client"], lines)


def start_unbound(
    topology: Topology,
    place: Place,
    here: Path,
    addresses: list[str],
    zones: dict[str, Path],
    pair: Certificate | None = None,
) -> Resolver:
    """unbound with these zones; with a certificate it also speaks DNS over TLS. Returns once it answers."""
    ports = (53, 853) if pair else (53,)
    interfaces = [f"interface: {address}@{port}" for address in addresses for port in ports]
    tls = ["tls-port: 853", f'tls-service-key: "{pair.key}"', f'tls-service-pem: "{pair.certificate}"'] if pair else []
    content = UNBOUND.format(
        here=here,
        interfaces="\n  ".join(interfaces),
        tls="\n  ".join(tls),
        zones="".join(ZONE.format(name=name, path=path) for name, path in zones.items()),
    )
    configuration, log = here / f"unbound-{place}.conf", here / f"unbound-{place}.log"
    configuration.write_text(content)
    with log.open("w") as sink:
        program = topology.spawn(place, [copy_unbound(here), "-d", "-c", configuration], stdout=sink, stderr=sink)
    end_s = time.monotonic() + START_S
    while "start of service" not in log.read_text():
        assert program.poll() is None, log.read_text()
        assert time.monotonic() < end_s, log.read_text()
        time.sleep(0.02)
    return Resolver(log)


def write_zone(path: Path, places: dict[str, int], *lines: str) -> Path:
    """A root zone with addresses for these names, and further lines."""
    records = [
        f"{name}. {kind} {place_address(number, family)}"
        for name, number in places.items()
        for family, kind in ((4, "A"), (6, "AAAA"))
    ]
    path.write_text(HEAD + "\n".join([*records, *lines, ""]))
    return path


def write_zones(here: Path) -> dict[str, Path]:
    """The whole internet: a root zone, and a signed one below it."""
    service = f'1 . alpn="h2,http/1.1" port=443 ipv4hint={place_address(31)} ech={ECH} ipv6hint={place_address(31, 6)}'
    text = " ".join(f'"{number:03}{"x" * 200}"' for number in range(LARGE_BYTES // 200))
    root = write_zone(
        here / "root.zone",
        PLACES | dict.fromkeys(ENGINES + CANARIES, UNSAFE) | TARGETS,
        f"{ALIAS}. CNAME {GOOD}.",
        f"{LARGE}. TXT {text}",
        f"{SECRET}. HTTPS {service}",
        f"{SECRET}. HTTPS 2 {OPEN}. ech={ECH}",
        f"_8443._https.{SECRET}. SVCB {service}",
        f"{OPEN}. HTTPS 1 . alpn=h2",
        "_dns.resolver.arpa. SVCB 1 dot.example.test. alpn=dot",
    )
    return {".": root, "signed.test.": _write_signed_zone(here, service)}


def _write_signed_zone(here: Path, service: str) -> Path:
    names = "".join(f"{name} A {SERVER_IPV4}\n" for name in ("ns", "www", "bad"))
    zone = dns.zone.from_text(HEAD + names + f"www HTTPS {service}\n", origin="signed.test.", relativize=False)
    secret = ec.generate_private_key(ec.SECP256R1())
    key = dns.dnssec.make_dnskey(secret.public_key(), dns.dnssectypes.Algorithm.ECDSAP256SHA256, flags=257)
    dns.dnssec.sign_zone(zone, keys=[(secret, key)], add_dnskey=True, lifetime=86_400)
    path = here / "signed.zone"
    zone.to_file(str(path), relativize=False)
    public = base64.b64encode(key.key).decode()
    anchor = f'"signed.test." static-key {key.flags} {key.protocol} {int(key.algorithm)} "{public}"'
    (here / "anchor.conf").write_text(f"trust-anchors {{ {anchor}; }};\n")
    return path

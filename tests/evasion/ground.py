"""Where strategies are played: a line with Penstock in it, or a plain cable, and one router before the servers.

    client                    box                    server            internet
     raw frames of  lan0 ── ingress  egress ── wan0  a router  hop0 ── net0   .10  nginx, unbound
     10.78.0.0/16            (or a cable)            TTL − 1                  .11  CPython, dnspython, aioquic
     fd78::/64                                                                .12  Node

The servers are in 203.0.113.0/24 and 2001:db8:99::/64.

No kernel owns the raw client's addresses, so nobody resets its connections; each play has an address of its own, by which
the servers' logs tell who asked. Its subscriber fails closed: a busy machine then delays a play and lets none pass unread.

Knows the namespaces and the servers. Refuses to know strategies.
"""

import fcntl
import itertools
import json
import re
import socket
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.demo.box import start_box, stop_box, write_configuration
from penstock.demo.namespaces import configure_links
from penstock.demo.resolver import build_configuration, copy_unbound
from penstock.demo.servers import Certificate, write_certificate
from penstock.demo.topology import CLIENT_INTERFACE, HOME, OFFICE, SERVER_INTERFACE, Kind, Place, Topology
from tests.evasion.recipe import ALLOWED, BLOCKED, COVER

HOSTS = {"nginx": 10, "unbound": 10, "Node": 12, "CPython": 11, "dnspython": 11, "aioquic": 11}
SIOCGIFHWADDR = 0x8927
START_S = 20.0
NGINX = """daemon off; pid {here}/nginx.pid; worker_processes 1; user root;
events {{ worker_connections 8192; }}
error_log {here}/nginx.debug debug_http debug_event;
http {{
    log_format hosts escape=json
        '{{"server":"nginx","kind":"request","client":"$remote_addr","host":["$http_host","$host"],"line":"$request",'
        '"status":$status}}';
    access_log {here}/nginx.log hosts;
    client_max_body_size 0; client_body_temp_path {here}/temp; proxy_temp_path {here}/temp; fastcgi_temp_path {here}/temp;
    uwsgi_temp_path {here}/temp; scgi_temp_path {here}/temp;
    large_client_header_buffers 16 16k; keepalive_requests 1000000; client_header_timeout 8s; client_body_timeout 8s;
    server {{
        {listen}
        ssl_certificate {pair.certificate}; ssl_certificate_key {pair.key}; ssl_protocols TLSv1.2 TLSv1.3;
        location / {{ default_type text/plain; return 200 "This is $host.\\n"; }}
    }}
}}
"""


NODE = """
const fs = require('fs'), http = require('http');
const [, , log, ...addresses] = process.argv;
for (const address of addresses) {
  const server = http.createServer((request, response) => {
    const hosts = request.rawHeaders.filter((_, place) => place % 2 && /^host$/i.test(request.rawHeaders[place - 1]));
    const line = `${request.method} ${request.url} HTTP/${request.httpVersion}`;
    const entry = {server: 'Node', kind: 'request', client: request.socket.peer || '', host: hosts, line};
    fs.appendFileSync(log, JSON.stringify(entry) + '\\n');
    request.resume();
    request.on('end', () => response.end('This is Node.\\n'));
  });
  server.on('connection', socket => { socket.peer = socket.remoteAddress; });
  server.on('clientError', (error, socket) => socket.destroy());
  server.listen(80, address);
}
"""


def server_address(server: str, version: int) -> str:
    """Where a server listens."""
    number = HOSTS[server]
    return f"203.0.113.{number}" if version == 4 else f"2001:db8:99::{number}"


class Road(Topology):
    """The topology with a router in the place of its server, and the servers one hop behind it."""

    def __init__(self, kind: Kind, vlan: Sequence[int] = ()) -> None:
        super().__init__(kind, vlan=vlan, prefix="penstock-evasion")
        there: Any = self.names
        there["internet"] = self.names["server"].removesuffix("server") + "internet"

    def _build(self) -> None:
        super()._build()
        router, internet = self.names["server"], self.names["internet"]  # type: ignore[index]
        self.write_settings("server", {"ipv4/ip_forward": 1, "ipv6/conf/all/forwarding": 1})
        quiet = {f"ipv6/conf/{scope}/accept_dad": 0 for scope in ("all", "default")}
        self.write_settings("internet", quiet)  # type: ignore[arg-type]
        configure_links(None, [f"link add hop0 netns {router} type veth peer name net0 netns {internet}"])
        configure_links(router, [
            "address add 203.0.113.1/24 dev hop0", "address add 2001:db8:99::1/64 dev hop0 nodad", "link set hop0 up",
            f"route add 10.78.0.0/16 via {HOME.ipv4} dev {SERVER_INTERFACE}",
            f"route add fd78::/64 via {HOME.ipv6} dev {SERVER_INTERFACE}",
        ])  # fmt: skip
        lines = [f"address add {one} dev net0" for one in (
            *(f"203.0.113.{number}/24" for number in (10, 11, 12)),
            *(f"2001:db8:99::{number}/64 nodad" for number in (10, 11, 12)),
        )]  # fmt: skip
        configure_links(internet, [
            *lines, "link set lo up", "link set net0 up", "route add default via 203.0.113.1",
            "route add default via 2001:db8:99::1",
        ])  # fmt: skip

    def read_mac(self, place: Place, interface: str) -> bytes:
        """The hardware address of an interface."""
        with self.inside(place), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
            return fcntl.ioctl(channel, SIOCGIFHWADDR, struct.pack("256s", interface.encode()))[18:24]


@dataclass
class Ground:
    """A road with its servers. `is_judged`: Penstock is in line."""

    road: Road
    here: Path
    is_judged: bool
    macs: tuple[bytes, bytes]
    serial: Iterator[int]
    marks: dict[Path, int]
    nginx_clients: dict[str, str]

    def next_client(self, version: int) -> str:
        """An address that no play has had."""
        number = next(self.serial)
        return f"10.78.{number >> 8}.{number & 255}" if version == 4 else f"fd78::{number:x}"

    def read_news(self) -> list[dict[str, Any]]:
        """What the servers noted since the last time: each with server, kind, client, host."""
        found = [json.loads(line) for name in ("site.log", "nginx.log", "node.log") for line in self._read_lines(name)]
        for line in self._read_lines("unbound.log"):
            if told := re.search(r"info: (\S+) (\S+) \S+ \S+ (?:NOERROR|NXDOMAIN) ", line):
                found.append(
                    {"server": "unbound", "kind": "question", "client": told[1], "host": told[2].rstrip(".").lower()}
                )
        for line in self._read_lines("nginx.debug"):
            if told := re.search(r'\*(\d+) (?:accept: \[?([0-9a-f.:]+?)\]?:\d+ fd|SSL server name: "(.*)")', line):
                number, client, host = told.groups()
                if client:
                    self.nginx_clients[number] = client
                elif number in self.nginx_clients:
                    found.append(
                        {"server": "nginx", "kind": "hello", "client": self.nginx_clients[number], "host": host}
                    )
        return found

    def _read_lines(self, name: str) -> list[str]:
        path = self.here / name
        with path.open("rb") as log:
            log.seek(self.marks.get(path, 0))
            content = log.read()
        whole = content[: content.rfind(b"\n") + 1]
        self.marks[path] = self.marks.get(path, 0) + len(whole)
        return whole.decode(errors="replace").split("\n")[:-1]  # and at no other line end: clients send many


@contextmanager
def build_ground(here: Path, *, is_judged: bool, vlan: Sequence[int] = ()) -> Iterator[Ground]:
    """A ground for the time of the block."""
    here.mkdir(parents=True, exist_ok=True)
    here.chmod(0o755)
    pair = write_certificate(here)
    with Road("penstock" if is_judged else "direct", vlan) as road:
        _start_servers(road, here, pair)
        macs = road.read_mac("client", CLIENT_INTERFACE), road.read_mac("server", SERVER_INTERFACE)
        ground = Ground(road, here, is_judged, macs, itertools.count(2), {}, {})
        if not is_judged:
            yield ground
            return
        box = start_box(road, _write_configuration(here))
        try:
            yield ground
        finally:
            stop_box(road, box)


def _write_configuration(here: Path) -> Path:
    mine = {
        "id": "raw",
        "prefixes": ["10.78.0.0/16", "fd78::/64"],
        "profile": "everything",
        "fail": "closed",
        "packets_per_s": 1_000_000,
    }
    kernel = [
        {"id": one.name, "prefixes": [f"{one.ipv4}/32", f"{one.ipv6}/128"], "profile": "nothing"}
        for one in (HOME, OFFICE)
    ]
    return write_configuration(here, subscribers=[mine, *kernel])


def _start_servers(road: Road, here: Path, pair: Certificate) -> None:
    place: Any = "internet"
    listen = " ".join(f"listen {one}:80; listen {one}:443 ssl;" for one in ("203.0.113.10", "[2001:db8:99::10]"))
    (here / "nginx.conf").write_text(NGINX.format(here=here, pair=pair, listen=listen))
    for name in ("nginx.log", "nginx.debug", "site.log", "node.log", "unbound.log"):
        (here / name).touch()
    with (here / "errors").open("w") as errors:
        road.spawn(
            place, ["nginx", "-c", here / "nginx.conf", "-p", here, "-e", "stderr"], stdout=errors, stderr=errors
        )
        words: list[str | Path] = [sys.executable, "-m", "tests.evasion.site", "--addresses"]
        words += [server_address("CPython", version) for version in (4, 6)]
        words += ["--certificate", pair.certificate, "--key", pair.key, "--log", here / "site.log"]
        site = road.spawn(place, words, stdout=-1, stderr=errors, text=True)
        program = here / "node.cjs"
        program.write_text(NODE)
        addresses = [server_address("Node", version) for version in (4, 6)]
        road.spawn(place, ["node", program, here / "node.log", *addresses], stdout=errors, stderr=errors)
    names = {name: [server_address("nginx", version) for version in (4, 6)] for name in (BLOCKED, ALLOWED, COVER)}
    unbound = here / "unbound.conf"
    text = build_configuration(here, [server_address("unbound", version) for version in (4, 6)], names)
    unbound.write_text(text.replace("log-queries", "log-replies"))  # a query that it will not answer is none
    with (here / "unbound.log").open("w") as log:
        road.spawn(place, [copy_unbound(here), "-d", "-c", unbound], stdout=log, stderr=log)
    assert site.stdout is not None
    is_ready = site.stdout.readline() == "ready\n"
    ports = {"nginx": 443, "CPython": 443, "Node": 80, "unbound": 53}
    if not is_ready or not all(_listens(road, server_address(name, 6), port) for name, port in ports.items()):
        raise RuntimeError(f"the servers did not start: {(here / 'errors').read_text(errors='replace')[-600:]}")


def _listens(road: Road, address: str, port: int) -> bool:
    place: Any = "internet"
    end_s = time.monotonic() + START_S
    while time.monotonic() < end_s:
        with road.inside(place), socket.socket(socket.AF_INET6) as probe:
            if probe.connect_ex((address, port)) == 0:
                return True
        time.sleep(0.02)
    return False

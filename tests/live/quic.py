"""QUIC for the live tests: a server that notes what it hears, clients whose first flight is ours to shape, and what
an interface saw of both.

    Site       aioquic's HTTP/3 server in a thread; answers any name; with or without Retry
    Plan       how a first flight is made, shaped and carried        fetch() plays it and tells the Outcome
    Flight     the first flight, opened: the hello's bytes, and `seal` for Initials under the same keys
    Watch      the frames of an interface with the kernel's times    find_fallback() tells QUIC-to-TCP from them
    visit()    headless Chromium, made to use QUIC, and how soon it fell back

Knows aioquic, and Chromium as Debian has it. Refuses to know what Penstock answers: an outcome is told, and the tests
judge it. RFC 9000, RFC 9001, RFC 9114, RFC 9369.
"""

import asyncio
import base64
import hashlib
import json
import shutil
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, Self

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import QuicServer
from aioquic.buffer import Buffer, encode_uint_var
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection, QuicConnectionState
from aioquic.quic.crypto import CryptoError, CryptoPair
from aioquic.quic.events import HandshakeCompleted, ProtocolNegotiated, QuicEvent
from aioquic.quic.packet import (
    QuicFrameType,
    QuicPacketType,
    QuicProtocolVersion,
    encode_long_header_first_byte,
    pull_quic_header,
)
from aioquic.tls import Alert, SessionTicket, pull_client_hello
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import load_pem_x509_certificate
from scapy.layers.inet import IP, TCP, UDP, fragment
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment, fragment6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from penstock.demo.servers import Certificate, plain_host
from penstock.demo.topology import (
    CLIENT_INTERFACE,
    HOME,
    SERVER_INTERFACE,
    SERVER_IPV4,
    Place,
    Subscriber,
    Topology,
    server_address,
)
from tests.live.packets import Tap

V1, V2 = QuicProtocolVersion.VERSION_1, QuicProtocolVersion.VERSION_2
INITIAL_BYTES = 1200  # the smallest datagram that may carry a client's Initial (RFC 9000, 14.1)
PATIENCE_S = 3.0
NUMBERS_KEPT = 100  # packet numbers that a shaped flight may use
UDP_SEGMENT = 103  # linux/udp.h: the socket option that makes one super-packet of several datagrams
IPV6_HDRINCL = 36  # linux/in6.h
SO_TIMESTAMPNS = 35
STAMPING_S = 0.02  # the kernel begins to stamp a moment after it was asked; before, a frame has the time of its reading


class Site:
    """aioquic's HTTP/3 server in the server namespace. `hosts` it was asked for, and `heard`: who sent it datagrams."""

    def __init__(self, topology: Topology, pair: Certificate, port: int = 443, *, retry: bool = False) -> None:
        self.port = port
        self.retry = retry
        self.hosts: list[str] = []
        self.heard: list[tuple[str, int]] = []
        self.configuration = QuicConfiguration(is_client=False, alpn_protocols=["h3"], max_datagram_size=1350)
        self.configuration.load_cert_chain(pair.certificate, pair.key)
        self.tickets: dict[bytes, SessionTicket] = {}
        with topology.inside("server"):
            self.channel = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            self.channel.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            self.channel.bind(("::", port))
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    def _serve(self) -> None:
        transport, _ = self.loop.run_until_complete(
            self.loop.create_datagram_endpoint(partial(_Listener, self), sock=self.channel)
        )
        self.loop.run_forever()
        transport.abort()
        self.loop.run_until_complete(asyncio.sleep(0))


class _Listener(QuicServer):
    def __init__(self, site: Site) -> None:
        super().__init__(
            configuration=site.configuration,
            create_protocol=partial(_Served, site),
            session_ticket_fetcher=site.tickets.get,
            session_ticket_handler=lambda ticket: site.tickets.update({ticket.ticket: ticket}),
            retry=site.retry,
        )
        self.site = site

    def datagram_received(self, data: bytes | str, addr: Any) -> None:
        self.site.heard.append((addr[0].removeprefix("::ffff:"), addr[1]))
        super().datagram_received(data, addr)


class _Served(QuicConnectionProtocol):
    def __init__(self, site: Site, quic: QuicConnection, **words: Any) -> None:
        super().__init__(quic, **words)
        self.site = site
        self.http: H3Connection | None = None

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, ProtocolNegotiated):
            self.http = H3Connection(self._quic)
        for one in self.http.handle_event(event) if self.http is not None else []:
            if isinstance(one, HeadersReceived):
                host = plain_host(dict(one.headers)[b":authority"].decode())
                self.site.hosts.append(host)
                self.http.send_headers(one.stream_id, [(b":status", b"200"), (b"content-type", b"text/plain")])
                self.http.send_data(one.stream_id, f"This is {host}.\n".encode(), end_stream=True)


@dataclass(frozen=True)
class Flight:
    """A client's first flight as it would send it, and what further Initials under the same keys need."""

    datagrams: list[bytes]
    version: int
    server_id: bytes
    client_id: bytes
    hello: bytes

    def seal(self, frames: bytes, number: int = 0, size: int = INITIAL_BYTES, server_id: bytes | None = None) -> bytes:
        """An Initial packet of `size` bytes, or as many as the frames need; with the keys of `server_id` if given."""
        there = self.server_id if server_id is None else server_id
        names = bytes([len(there)]) + there + bytes([len(self.client_id)]) + self.client_id
        pair = CryptoPair()
        pair.setup_initial(cid=there, is_client=True, version=self.version)
        first = encode_long_header_first_byte(self.version, QuicPacketType.INITIAL, 1)
        head = struct.pack("!BI", first, self.version) + names + b"\x00"
        frames = frames.ljust(size - len(head) - 4 - pair.aead_tag_size, b"\x00")
        length = 2 + len(frames) + pair.aead_tag_size
        head += struct.pack("!HH", 0x4000 | length, number)
        sealed: bytes = pair.encrypt_packet(head, frames, number)
        return sealed

    def piece(self, start: int, end: int | None = None, hello: bytes | None = None) -> bytes:
        """One CRYPTO frame with a range of the hello, or of another one."""
        part = (self.hello if hello is None else hello)[start:end]
        return encode_uint_var(QuicFrameType.CRYPTO) + encode_uint_var(start) + encode_uint_var(len(part)) + part


def open_initials(datagrams: Iterable[bytes]) -> Iterator[tuple[Any, bytes]]:
    """The header and the frames of each client Initial that opens under its own Destination Connection ID."""
    for datagram in datagrams:
        buffer = Buffer(data=datagram)
        while not buffer.eof():
            start = buffer.tell()
            try:
                header = pull_quic_header(buffer, host_cid_length=8)
            except ValueError:
                break
            offset, end = buffer.tell() - start, start + header.packet_length
            buffer.seek(end)
            if header.packet_type == QuicPacketType.INITIAL:
                pair = CryptoPair()
                pair.setup_initial(cid=header.destination_cid, is_client=False, version=header.version)
                with suppress(CryptoError):
                    yield header, pair.decrypt_packet(datagram[start:end], offset, 0)[1]


def join_crypto(frames: Iterable[bytes]) -> bytes:
    """The CRYPTO stream without a gap from its start; a client's first frames are PADDING, PING and CRYPTO only."""
    parts = {}
    for content in frames:
        buffer = Buffer(data=content)
        while not buffer.eof():
            kind = buffer.pull_uint_var()
            if kind == QuicFrameType.CRYPTO:
                offset = buffer.pull_uint_var()
                parts[offset] = buffer.pull_bytes(buffer.pull_uint_var())
            elif kind not in (QuicFrameType.PADDING, QuicFrameType.PING):
                break
    found = b""
    for offset, part in sorted(parts.items()):
        if offset <= len(found):
            found += part[len(found) - offset :]
    return found


Shape = Callable[[Flight], list[bytes]]
Carry = Callable[["Caller", list[bytes]], None]


def carry_datagrams(caller: "Caller", datagrams: list[bytes]) -> None:
    """Each datagram as a packet of its own."""
    for datagram in datagrams:
        caller.channel.send(datagram)


def carry_super_packet(caller: "Caller", datagrams: list[bytes]) -> None:
    """All datagrams, which are equally long but for the last, in one super-packet (UDP_SEGMENT)."""
    size = struct.pack("H", len(datagrams[0]))
    caller.channel.sendmsg([b"".join(datagrams)], [(socket.IPPROTO_UDP, UDP_SEGMENT, size)])


def carry_fragments(
    caller: "Caller", datagrams: list[bytes], size: int = 600, order: Callable[[list[Packet]], list[Packet]] = list
) -> None:
    """Each datagram as IP fragments of at most `size` bytes, in this order."""
    (here, port, *_), (there, to, *_) = caller.channel.getsockname(), caller.channel.getpeername()
    with caller.topology.inside("client"):
        raw = socket.socket(caller.channel.family, socket.SOCK_RAW, socket.IPPROTO_RAW)
    with raw:
        for number, datagram in enumerate(datagrams):
            end = UDP(sport=port, dport=to) / Raw(datagram)
            mark = port << 8 | number
            if caller.channel.family == socket.AF_INET:
                packets = fragment(IP(src=here, dst=there, id=mark & 0xFFFF) / end, size)
            else:
                raw.setsockopt(socket.IPPROTO_IPV6, IPV6_HDRINCL, 1)
                packets = fragment6(IPv6(src=here, dst=there) / IPv6ExtHdrFragment(id=mark) / end, size)
            for packet in order(packets):
                raw.sendto(bytes(packet), (there, 0))


@dataclass(frozen=True)
class Plan:
    """A first flight: which version it has, how long its hello is, how its datagrams are shaped and carried."""

    shape: Shape = lambda flight: flight.datagrams
    carry: Carry = carry_datagrams
    version: int = V1
    upgrade: int | None = None  # the version that is offered beside and liked more (RFC 9368)
    hello_bytes: int = 0  # at least; a browser's has some 1,800
    later_host: str | None = None  # the name in the hello after a Retry


@dataclass
class Outcome:
    """What came of it. `answer` is the page's body; `error` is what the client was told, "" when nobody said anything."""

    port: int | None = None  # the client's, where it is known
    answer: bytes | None = None
    error: str = ""
    after_s: float = inf  # since the last datagram that the client sent before it
    sent_bytes: int = 0  # of UDP payload, up to the outcome
    received_bytes: int = 0
    version: int | None = None
    early: bool = False  # the server took the request as 0-RTT
    ticket: SessionTicket | None = field(default=None, repr=False)


class Caller:
    """One connection of aioquic's client, driven over a socket of the client namespace."""

    def __init__(
        self, topology: Topology, who: Subscriber, server: tuple[str, int], configuration: QuicConfiguration
    ) -> None:
        self.topology = topology
        self.server = server
        family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
        with topology.inside("client"):
            self.channel = socket.socket(family, socket.SOCK_DGRAM)
        self.channel.bind((who.address(6 if family == socket.AF_INET6 else 4), 0))
        self.channel.connect(server)
        self.outcome = Outcome(port=self.channel.getsockname()[1])
        self.quic = QuicConnection(configuration=configuration, session_ticket_handler=self._keep_ticket)
        self.last_s = time.monotonic()

    def call(self, host: str, plan: Plan) -> None:
        """Send the first flight by its plan, with the request behind it where early data is allowed."""
        self.quic.connect(self.server, now=time.monotonic())
        self.http = H3Connection(self.quic)
        asked = {b":method": b"GET", b":scheme": b"https", b":authority": host.encode(), b":path": b"/"}
        self.http.send_headers(self.quic.get_next_available_stream_id(), list(asked.items()), end_stream=True)
        datagrams = [datagram for datagram, _ in self.quic.datagrams_to_send(now=time.monotonic())]
        opened = list(open_initials(datagrams))
        header, hello = opened[0][0], join_crypto(frames for _, frames in opened)
        flight = Flight(datagrams, header.version, header.destination_cid, header.source_cid, hello)
        if plan.later_host is not None:
            self.quic.configuration.server_name = plan.later_host
        shaped = plan.shape(flight)
        self.quic._packet_number += NUMBERS_KEPT  # further Initials must not repeat the numbers of shaped ones
        plan.carry(self, shaped)
        self._count(sum(map(len, shaped)))

    def wait(self, patience_s: float) -> Outcome:
        """Go on until there is an answer, an error, or no more patience."""
        end_s = time.monotonic() + patience_s
        while self.outcome.answer is None and not self.outcome.error and time.monotonic() < end_s:
            self._turn(end_s)
        self.outcome.version = self.quic._version
        self.quic.close()
        carry_datagrams(self, [datagram for datagram, _ in self.quic.datagrams_to_send(now=time.monotonic())])
        self.channel.close()
        return self.outcome

    def _turn(self, end_s: float) -> None:
        for datagram, _ in self.quic.datagrams_to_send(now=time.monotonic()):
            self.channel.send(datagram)
            self._count(len(datagram))
        timer_s = min(end_s, self.quic.get_timer() or end_s)
        self.channel.settimeout(max(0.001, timer_s - time.monotonic()))
        try:
            datagram = self.channel.recv(1 << 16)
            self.outcome.received_bytes += len(datagram)
            self.quic.receive_datagram(datagram, self.server, now=time.monotonic())
        except TimeoutError:
            self.quic.handle_timer(now=time.monotonic())
        while event := self.quic.next_event():
            self._take(event)
        if self.quic._state == QuicConnectionState.DRAINING:  # told by the peer; the event comes when that is over
            told = self.quic._close_event
            self.outcome.error = f"CONNECTION_CLOSE {told.error_code:#x} {told.reason_phrase}"
            self.outcome.after_s = time.monotonic() - self.last_s

    def _take(self, event: QuicEvent) -> None:
        if isinstance(event, HandshakeCompleted):
            self.outcome.early = event.early_data_accepted
        for one in self.http.handle_event(event):
            if isinstance(one, DataReceived) and one.data:
                self.outcome.answer = one.data
                self.outcome.after_s = time.monotonic() - self.last_s

    def _count(self, size: int) -> None:
        self.outcome.sent_bytes += size
        self.last_s = time.monotonic()

    def _keep_ticket(self, ticket: SessionTicket) -> None:
        self.outcome.ticket = ticket


def fetch(
    topology: Topology,
    pair: Certificate,
    who: Subscriber,
    host: str,
    plan: Plan = Plan(),
    *,
    port: int = 443,
    family: int = 4,
    ticket: SessionTicket | None = None,
    patience_s: float = PATIENCE_S,
) -> Outcome:
    """Ask for https://host/ with aioquic's client; with a ticket the request goes as 0-RTT."""
    protocols = ["h3", *(f"{number:0200}" for number in range(-(-plan.hello_bytes // 201)))]
    versions = [version for version in (plan.upgrade, plan.version) if version is not None]
    configuration = QuicConfiguration(
        alpn_protocols=protocols,
        server_name=host,
        session_ticket=ticket,
        supported_versions=versions,
        original_version=plan.version,
    )
    configuration.load_verify_locations(str(pair.certificate))
    caller = Caller(topology, who, (server_address(family), port), configuration)
    caller.call(host, plan)
    return caller.wait(patience_s)


@dataclass(frozen=True)
class Frame:
    """One frame that passed an interface."""

    time_s: float  # the kernel's
    outgoing: bool
    packet: Packet


class Watch(Tap):
    """The frames of an interface since the block began. `read` may be called again and again."""

    def __init__(self, topology: Topology, place: Place = "server", interface: str = SERVER_INTERFACE) -> None:
        super().__init__(topology, place, interface)
        self.frames: list[Frame] = []
        self.channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self.channel.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.channel.setblocking(False)
        time.sleep(STAMPING_S)

    def read(self) -> list[Frame]:
        """Every frame so far."""
        while True:
            try:
                content, notes, _, place = self.channel.recvmsg(1 << 16, 64)
            except BlockingIOError:
                return self.frames
            seconds, nanoseconds = struct.unpack("qq", notes[0][2])
            outgoing = place[2] == socket.PACKET_OUTGOING
            self.frames.append(Frame(seconds + nanoseconds / 1e9, outgoing, Ether(content)))

    def read_datagrams(self, source: str, port: int | None = None) -> list[bytes]:
        """The UDP payload of each packet from this address, and port if given; of a further fragment, what it holds."""
        found = []
        for frame in self.read():
            ip = frame.packet.getlayer(IP) or frame.packet.getlayer(IPv6)
            if frame.outgoing or ip is None or ip.src != source:
                continue
            if UDP in ip and port in (None, ip[UDP].sport):
                found.append(bytes(ip[UDP].payload))
            elif UDP not in ip and (IPv6ExtHdrFragment in ip or (IP in ip and ip.proto == socket.IPPROTO_UDP)):
                found.append(bytes(ip.payload))
        return found


def read_names(datagrams: Iterable[bytes]) -> set[str]:
    """The names in the hellos that whole client datagrams show."""
    opened: dict[bytes, list[bytes]] = {}
    for header, frames in open_initials(datagrams):
        opened.setdefault(header.destination_cid, []).append(frames)
    names = set()
    for frames in opened.values():
        with suppress(ValueError, Alert):
            names.add(pull_client_hello(Buffer(data=join_crypto(frames))).server_name or "")
    return names


def find_fallback(frames: list[Frame], port: int = 443) -> float | None:
    """Seconds from the client's first datagram to this port to its first TCP SYN to it; None where one is missing.

    Below zero, TCP came first: then nothing was fallen back from.
    """
    first: dict[type[Packet], float] = {}
    for layer in (UDP, TCP):
        for frame in frames:
            if frame.outgoing and layer in frame.packet and frame.packet[layer].dport == port:
                if layer is UDP or frame.packet[TCP].flags == "S":
                    first.setdefault(layer, frame.time_s)
    return first[TCP] - first[UDP] if len(first) == 2 else None


@dataclass(frozen=True)
class Visit:
    """A page in headless Chromium: its text, how long the program ran, when it fell back to TCP (see find_fallback)."""

    text: str
    took_s: float
    fallback_s: float | None


def visit(topology: Topology, pair: Certificate, host: str, profile: Path, *, force: bool, port: int = 443) -> Visit:
    """Let headless Chromium ask for https://host/ by QUIC: because it must (`force`), or as it remembers the site's Alt-Svc
    from an earlier visit, which is when it falls back to TCP."""
    shutil.rmtree(profile, ignore_errors=True)
    if not force:
        _remember_quic(profile, host, port)
    key = load_pem_x509_certificate(pair.certificate.read_bytes()).public_key()
    spki = hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    argv = [
        *("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--dump-dom"),
        *("--no-first-run", "--disable-background-networking", f"--user-data-dir={profile}"),
        "--disable-features=PartitionConnectionsByNetworkIsolationKey",  # its memory below is of no partition
        f"--host-resolver-rules=MAP {host} {SERVER_IPV4}, MAP * ~NOTFOUND",
        f"--ignore-certificate-errors-spki-list={base64.b64encode(spki).decode()}",
        *([f"--origin-to-force-quic-on={host}:{port}"] if force else []),
    ]
    begin_s = time.monotonic()
    with Watch(topology, "client", CLIENT_INTERFACE) as watch:
        done = topology.run("client", [*argv, f"https://{host}:{port}/"], timeout_s=60)
        return Visit(done.stdout, time.monotonic() - begin_s, find_fallback(watch.read(), port))


def _remember_quic(profile: Path, host: str, port: int) -> None:
    """Write what Chromium keeps of `Alt-Svc: h3=":port"` where QUIC has worked; in microseconds, the expiry since 1601.

    It then gives QUIC 1.5 round trips before it tries TCP beside it: at a second each, what comes sooner is a fallback.
    """
    expires = int((time.time() + 11_644_473_600 + 86_400) * 1e6)
    service = {"advertised_alpns": ["h3"], "expiration": str(expires), "port": port, "protocol_str": "quic"}
    known = {"alternative_service": [service], "anonymization": [], "network_stats": {"srtt": 1_000_000}}
    known["server"] = f"https://{host}:{port}"
    worked = {"address": HOME.ipv4, "used_quic": True}
    content = {"net": {"http_server_properties": {"servers": [known], "supports_quic": worked, "version": 5}}}
    (profile / "Default").mkdir(parents=True)
    (profile / "Default" / "Network Persistent State").write_text(json.dumps(content))

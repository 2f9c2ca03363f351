"""Datagrams of the raw client: DNS queries as a recipe has them, and aioquic's client with a first flight of our shaping.

Knows aioquic's client. Refuses to judge what comes of it. RFC 768, RFC 9000.
"""

import asyncio
import random
import ssl
import time

from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection, QuicConnectionState

from tests.evasion.frames import UDP, Ends, build_frames, build_udp
from tests.evasion.recipe import Datagram, Datagrams, Quic, Wait
from tests.evasion.wire import Arrival, Wire
from tests.live.quic import NUMBERS_KEPT, Flight, join_crypto, open_initials

ANSWER_S = 0.5
QUIC_S = 2.0


class Sender:
    """Sends datagrams between two ends, and keeps what comes."""

    def __init__(self, wire: Wire, ends: Ends) -> None:
        self.wire, self.ends = wire, ends
        self.port = random.randrange(20_000, 60_000)
        self.identity = random.getrandbits(16)
        self.came: list[bytes] = []
        self.news = asyncio.Event()

    def take(self, arrival: Arrival) -> None:
        """A packet for our address."""
        if arrival.protocol == UDP:
            self.came.append(arrival.content[8:])
            self.news.set()

    def send(self, content: bytes, like: Datagram) -> None:
        """One datagram, carried as `like` says."""
        ports = self.port + like.source_port, like.port
        for _ in range(like.times):
            self.identity += 1
            datagram = build_udp(self.ends, ports, content, like.checksum, like.length)
            for frame in build_frames(
                self.ends, UDP, datagram, ttl=like.ttl or 64, identity=self.identity, ip_options=like.ip_options,
                extensions=like.extensions, pieces=like.pieces,
            ):  # fmt: skip
                self.wire.send(frame)

    async def wait(self, patience_s: float) -> None:
        """Until something comes."""
        self.news.clear()
        try:
            async with asyncio.timeout(max(patience_s, 0.001)):
                await self.news.wait()
        except TimeoutError:
            return


async def play_datagrams(sender: Sender, play: Datagrams, host: str) -> None:
    """Send each datagram, and wait for an answer, or for half a second."""
    for step in play.steps:
        if isinstance(step, Wait):
            await asyncio.sleep(step.seconds)
        else:
            sender.send(step.content(host), step)
    if not sender.came:
        await sender.wait(ANSWER_S)


class Caller:
    """One QUIC connection that asks for a page."""

    def __init__(self, sender: Sender, play: Quic, host: str) -> None:
        self.sender, self.play, self.host = sender, play, host
        protocols = ["h3", *(f"{number:0200}" for number in range(-(-play.hello_bytes // 201)))]
        configuration = QuicConfiguration(
            alpn_protocols=protocols, server_name=host, supported_versions=[play.version], original_version=play.version,
            verify_mode=ssl.CERT_NONE,
        )  # fmt: skip
        self.quic = QuicConnection(configuration=configuration)
        self.page = b""

    async def call(self) -> None:
        """The first flight as the recipe shapes it, then whatever aioquic does."""
        self.quic.connect((self.sender.ends.server, 443), now=time.monotonic())
        http = H3Connection(self.quic)
        asked = {b":method": b"GET", b":scheme": b"https", b":authority": self.host.encode(), b":path": b"/"}
        http.send_headers(self.quic.get_next_available_stream_id(), list(asked.items()), end_stream=True)
        datagrams = [content for content, _ in self.quic.datagrams_to_send(now=time.monotonic())]
        for one in self._shape(datagrams):
            if isinstance(one, Wait):
                await asyncio.sleep(one.seconds)
            else:
                like = one if isinstance(one, Datagram) else Datagram(lambda host: b"", port=443)
                self.sender.send(like.content(self.host) if isinstance(one, Datagram) else one, like)
        await self._go_on(http)

    def _shape(self, datagrams: list[bytes]) -> list[object]:
        if self.play.shape is None:
            return list(datagrams)
        opened = list(open_initials(datagrams))
        header, hello = opened[0][0], join_crypto(frames for _, frames in opened)
        shaped = self.play.shape(Flight(datagrams, header.version, header.destination_cid, header.source_cid, hello))
        self.quic._packet_number += NUMBERS_KEPT  # further Initials must not repeat the numbers of shaped ones
        return shaped

    async def _go_on(self, http: H3Connection) -> None:
        end_s = time.monotonic() + QUIC_S
        while not self.page and time.monotonic() < end_s:
            for content, _ in self.quic.datagrams_to_send(now=time.monotonic()):
                self.sender.send(content, Datagram(lambda host: b"", port=443))
            if not self.sender.came:
                await self.sender.wait(min(end_s, self.quic.get_timer() or end_s) - time.monotonic())
            came, self.sender.came = self.sender.came, []
            for content in came:
                self.quic.receive_datagram(content, (self.sender.ends.server, 443), now=time.monotonic())
            if not came:
                self.quic.handle_timer(now=time.monotonic())
            while event := self.quic.next_event():
                for one in http.handle_event(event):
                    self.page += one.data if isinstance(one, DataReceived) else b""
            if self.quic._state in (QuicConnectionState.DRAINING, QuicConnectionState.TERMINATED):
                return

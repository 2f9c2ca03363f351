"""HTTP/3 for the soak, by aioquic: a server that gives and takes bytes of a seed, and the client's exchange.

    python -m tests.soak.http3 --port 443 --certificate FILE --key FILE --log FILE      says `ready` when it listens

Paths and log are those of `site.py`. Refuses to know Penstock. RFC 9000, RFC 9114.
"""

import argparse
import asyncio
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import serve
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, H3Event, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, ProtocolNegotiated, QuicEvent

from tests.soak.payload import build_payload, compare, word_receipt
from tests.soak.session import PATIENCE_S, Broken, Refused, Session
from tests.soak.site import Log

PORT = 443
DATAGRAM_BYTES = 1350
UNRECOGNIZED_NAME = 0x100 + 112  # CRYPTO_ERROR and the alert


class Served(QuicConnectionProtocol):
    """A connection of the server."""

    def __init__(self, log: Log, *words: Any, **more: Any) -> None:
        super().__init__(*words, **more)
        self.log = log
        self.http: H3Connection | None = None
        self.asked: dict[int, tuple[str, bytearray]] = {}

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, ProtocolNegotiated):
            self.http = H3Connection(self._quic)
        for one in self.http.handle_event(event) if self.http is not None else []:
            self._take(one)

    def _take(self, event: H3Event) -> None:
        if isinstance(event, HeadersReceived):
            headers = dict(event.headers)
            if event.stream_id == 0:  # a connection that began in a gap goes on, whatever it asks for
                self.log.note_listed("quic", headers[b":authority"].decode().partition(":")[0])
            self.asked[event.stream_id] = (headers[b":path"].decode(), bytearray())
        if isinstance(event, DataReceived):
            self.asked[event.stream_id][1].extend(event.data)
        if getattr(event, "stream_ended", False):
            self._answer(event.stream_id)

    def _answer(self, stream: int) -> None:
        path, content = self.asked.pop(stream)
        if path == "/take":
            found = word_receipt(bytes(content))
        else:
            _, seed, size = path.strip("/").split("/")
            found = build_payload(int(seed), int(size))
        assert self.http is not None
        self.http.send_headers(stream, [(b":status", b"200")])
        self.http.send_data(stream, found, end_stream=True)
        self.transmit()


class Asking(QuicConnectionProtocol):
    """A connection of the client; one request at a time."""

    def __init__(self, quic: QuicConnection) -> None:
        super().__init__(quic)
        self.http: H3Connection | None = None
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.found = bytearray()

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, ProtocolNegotiated):
            self.http = H3Connection(self._quic)
            self.ready.set_result(None)
        if isinstance(event, ConnectionTerminated):
            words = f"closed with {event.error_code:#x} {event.reason_phrase}"
            error = Refused(words) if event.error_code == UNRECOGNIZED_NAME else Broken(words)
            for waits in (self.ready, self.answer):
                if not waits.done():
                    waits.set_exception(error)
                    waits.exception()  # read here: only one of both is awaited
        for one in self.http.handle_event(event) if self.http is not None else []:
            if isinstance(one, DataReceived):
                self.found.extend(one.data)
                if one.stream_ended:
                    self.answer.set_result(bytes(self.found))

    async def exchange(self, session: Session, path: str, content: bytes, expected: bytes) -> None:
        """One request and its answer, compared."""
        assert self.http is not None
        self.answer, self.found = asyncio.get_running_loop().create_future(), bytearray()
        method, begin_s, stream = (
            b"POST" if content else b"GET",
            time.monotonic(),
            self._quic.get_next_available_stream_id(),
        )
        asked = {
            b":method": method,
            b":scheme": b"https",
            b":authority": session.host.encode(),
            b":path": path.encode(),
        }
        self.http.send_headers(stream, list(asked.items()), end_stream=not content)
        if content:
            self.http.send_data(stream, content, end_stream=True)
        self.transmit()
        async with asyncio.timeout(PATIENCE_S):
            found = await self.answer
        session.note_wait(begin_s)
        session.sent_bytes += len(content)
        session.received_bytes += len(found)
        if difference := compare(expected, found):
            raise Broken(f"QUIC: {difference}")


async def quic(session: Session) -> None:
    """A QUIC connection with some requests, up or down, and pauses between them."""
    configuration = QuicConfiguration(alpn_protocols=["h3"], server_name=session.host, idle_timeout=PATIENCE_S)
    configuration.verify_mode = False
    make = partial(Asking, QuicConnection(configuration=configuration))
    begin_s, loop = time.monotonic(), asyncio.get_running_loop()
    transport, asking = await loop.create_datagram_endpoint(make, local_addr=(session.source, session.draw_port()))
    session.ports.append(transport.get_extra_info("sockname")[1])
    try:
        asking.connect((session.server, PORT, 0, 0) if ":" in session.server else (session.server, PORT))
        async with asyncio.timeout(PATIENCE_S):
            await asking.ready
        session.note_wait(begin_s)
        for _ in range(session.chance.randrange(1, 4)):
            content = build_payload(session.chance.getrandbits(40), session.chance.randrange(1, 15_000))
            if session.chance.random() < 0.4:
                await asking.exchange(session, "/take", content, word_receipt(content))
            else:
                seed = session.chance.getrandbits(40)
                await asking.exchange(session, f"/bytes/{seed}/{len(content)}", b"", build_payload(seed, len(content)))
            await asyncio.sleep(session.remains_s(session.chance.uniform(0, 1.5)))
    finally:
        asking.close()
        await asyncio.sleep(0)
        transport.close()


async def listen(port: int, certificate: Path, key: Path, log: Path) -> None:
    """Serve until the program is ended."""
    configuration = QuicConfiguration(is_client=False, alpn_protocols=["h3"], max_datagram_size=DATAGRAM_BYTES)
    configuration.load_cert_chain(certificate, key)
    await serve("::", port, configuration=configuration, create_protocol=partial(Served, Log(log)))
    print("ready", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """Serve what the arguments say."""
    words = argparse.ArgumentParser(description="A site over HTTP/3 whose bytes follow from a seed.")
    for name, kind in (("port", int), ("certificate", Path), ("key", Path), ("log", Path)):
        words.add_argument(f"--{name}", type=kind, required=True)
    with suppress(KeyboardInterrupt):
        asyncio.run(listen(**vars(words.parse_args())))


if __name__ == "__main__":
    main()

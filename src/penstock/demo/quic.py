"""HTTP/3 for the demo, by aioquic: the site's QUIC side, and a client that asks for many hosts at once.

    python -m penstock.demo.quic serve --port 443 --certificate FILE --key FILE --log FILE
    python -m penstock.demo.quic ask --port 443 --certificate FILE           questions on standard input

The server says `ready` when it listens, and appends to the site's log as `penstock.demo.site` does. A question is a JSON
line `{"host", "source", "server"}`; each comes back with `got`: `site`, `refused` (the connection was closed with the TLS
alert unrecognized_name, at once), or what happened instead.

aioquic is no dependency of Penstock: it comes with `penstock[demo]`. Only a child process imports this module.
Refuses to know Penstock. RFC 9000 10.2 (closing), RFC 9001 4.8 (alerts), RFC 9114.
"""

import argparse
import asyncio
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import serve
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, H3Event, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, ProtocolNegotiated, QuicEvent

from penstock.demo.servers import plain_host

UNRECOGNIZED_NAME = 0x100 + 112  # CRYPTO_ERROR and the alert
AT_ONCE_S = 1.0  # a hundred round trips here; a client that hears nothing gives up much later
PATIENCE_S = 8.0
DATAGRAM_BYTES = 1350


class Served(QuicConnectionProtocol):
    """A connection of the server: names the host that was asked for, in the answer and in the log."""

    def __init__(self, log: TextIO, *words: Any, **more: Any) -> None:
        super().__init__(*words, **more)
        self.log = log
        self.client = ""
        self.http: H3Connection | None = None

    def datagram_received(self, data: bytes | str, addr: Any) -> None:
        self.client = addr[0].removeprefix("::ffff:")
        super().datagram_received(data, addr)

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, ProtocolNegotiated):
            self.http = H3Connection(self._quic)
        for one in self.http.handle_event(event) if self.http is not None else []:
            if isinstance(one, HeadersReceived):
                self._answer(self.http, one.stream_id, dict(one.headers)[b":authority"].decode())

    def _answer(self, http: H3Connection, stream: int, host: str) -> None:
        entry = {"kind": "request", "scheme": "quic", "host": host, "client": self.client}
        self.log.write(json.dumps(entry) + "\n")
        http.send_headers(stream, [(b":status", b"200"), (b"content-type", b"text/plain")])
        http.send_data(stream, f"This is {plain_host(host)}.\n".encode(), end_stream=True)
        self.transmit()


class Asking(QuicConnectionProtocol):
    """A connection of the client with one request; `got` is done when it is over."""

    def __init__(self, host: str, quic: QuicConnection) -> None:
        super().__init__(quic)
        self.host = host
        self.got: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.begin_s = self.last_s = asyncio.get_running_loop().time()
        self.http: H3Connection | None = None

    def datagram_received(self, data: bytes | str, addr: Any) -> None:
        self.last_s = asyncio.get_running_loop().time()
        super().datagram_received(data, addr)

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, ProtocolNegotiated):
            self.http = H3Connection(self._quic)
            asked = {b":method": b"GET", b":scheme": b"https", b":authority": self.host.encode(), b":path": b"/"}
            self.http.send_headers(self._quic.get_next_available_stream_id(), list(asked.items()), end_stream=True)
            self.transmit()
        if isinstance(event, ConnectionTerminated):
            self._tell(self._word_end(event))
        for one in self.http.handle_event(event) if self.http is not None else []:
            self._take(one)

    def _take(self, event: H3Event) -> None:
        if isinstance(event, DataReceived) and event.data:
            self._tell("site" if event.data.startswith(b"This is ") else "another page")

    def _word_end(self, event: ConnectionTerminated) -> str:
        after_s = self.last_s - self.begin_s  # the event itself comes later: a closed connection drains first
        if event.error_code == UNRECOGNIZED_NAME and after_s < AT_ONCE_S:
            return "refused"
        return f"closed with {event.error_code:#x} {event.reason_phrase} after {after_s:.1f} s"

    def _tell(self, got: str) -> None:
        if not self.got.done():
            self.got.set_result(got)


async def listen(port: int, certificate: Path, key: Path, log: Path) -> None:
    """Serve until the program is ended."""
    configuration = QuicConfiguration(is_client=False, alpn_protocols=["h3"], max_datagram_size=DATAGRAM_BYTES)
    configuration.load_cert_chain(certificate, key)
    with log.open("a", buffering=1) as entries:
        server = await serve("::", port, configuration=configuration, create_protocol=partial(Served, entries))
        print("ready", flush=True)
        try:
            await asyncio.Event().wait()
        finally:
            server.close()


async def ask(host: str, source: str, server: str, port: int, certificate: Path) -> str:
    """Ask one server, from one address, for https://host/ by HTTP/3; what came of it."""
    configuration = QuicConfiguration(alpn_protocols=["h3"], server_name=host, idle_timeout=PATIENCE_S)
    configuration.load_verify_locations(str(certificate))
    make = partial(Asking, host, QuicConnection(configuration=configuration))
    loop = asyncio.get_running_loop()
    transport, asking = await loop.create_datagram_endpoint(make, local_addr=(source, 0))
    try:
        asking.connect((server, port, 0, 0) if ":" in server else (server, port))
        return await asyncio.wait_for(asking.got, PATIENCE_S)
    except TimeoutError:
        return "nothing"
    finally:
        asking.close()
        transport.close()


async def ask_all(questions: list[dict[str, str]], port: int, certificate: Path) -> list[str]:
    """Ask every question at the same time."""
    return await asyncio.gather(*(ask(port=port, certificate=certificate, **question) for question in questions))


def main() -> None:
    """One of the two, until it is ended or every answer is there."""
    words = argparse.ArgumentParser(description="HTTP/3 for the demo.")
    words.add_argument("part", choices=["serve", "ask"])
    words.add_argument("--port", type=int, required=True)
    for name in ("certificate", "key", "log"):
        words.add_argument(f"--{name}", type=Path)
    given = words.parse_args()
    if given.part == "serve":
        asyncio.run(listen(given.port, given.certificate, given.key, given.log))
        return
    questions = [json.loads(line) for line in sys.stdin]
    for question, got in zip(questions, asyncio.run(ask_all(questions, given.port, given.certificate)), strict=True):
        print(json.dumps({**question, "got": got}))


if __name__ == "__main__":
    main()

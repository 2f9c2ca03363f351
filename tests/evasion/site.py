"""The lenient servers, in one program: CPython's HTTP and HTTPS server, a sink for other protocols, dnspython over UDP and
TCP, aioquic's HTTP/3. Each notes who made its application do what.

    python -m tests.evasion.site --addresses A A --certificate FILE --key FILE --log FILE

Ports: 80, 443, 9000 (the sink), 53, 443 of UDP.

Log: one JSON line for each `{"server", "kind", "client", "host", ...}`: a request whose handler ran, the name in a hello, a
question in a DNS message, the bytes that a sink got.

Knows these libraries. Refuses to know Penstock, and what a client wanted.
"""

import argparse
import asyncio
import json
import socket
import socketserver
import ssl
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import aioquic.tls
import dns.exception
import dns.flags
import dns.message
import dns.opcode
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import serve
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ProtocolNegotiated, QuicEvent

SINK_PORT = 9000
IDLE_S = 5.0


class Log:
    """Lines of JSON from many threads."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("a", buffering=1)
        self.lock = threading.Lock()

    def note(self, server: str, kind: str, client: str, host: object, **more: object) -> None:
        entry = {"server": server, "kind": kind, "client": client.removeprefix("::ffff:"), "host": host, **more}
        with self.lock:
            self.file.write(json.dumps(entry) + "\n")


class Listener(ThreadingHTTPServer):
    """A threading server on one address; with a TLS context each connection shakes hands in its own thread."""

    request_queue_size = 1024
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: str, port: int, handler: Any, log: Log, context: ssl.SSLContext | None = None) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.log, self.context = log, context
        super().__init__((address, port), handler)

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # without the look-up of the host's name

    def finish_request(self, request: Any, client_address: Any) -> None:
        request.settimeout(IDLE_S)
        if self.context is None:
            super().finish_request(request, client_address)
            return
        channel = self.context.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
        with channel:
            channel.do_handshake()
            super().finish_request(channel, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no error."""


def make_context(pair: tuple[Path, Path], log: Log) -> ssl.SSLContext:
    """A context that notes the name of each hello."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(*pair)

    def note_hello(channel: ssl.SSLSocket, host: str | None, _: ssl.SSLContext) -> None:
        log.note("CPython", "hello", channel.getpeername()[0], host)

    context.sni_callback = note_hello
    return context


class Page(BaseHTTPRequestHandler):
    """Answers every method that it knows by name."""

    server: Listener
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = IDLE_S

    def _answer(self) -> None:
        hosts = self.headers.get_all("Host") or []
        self.server.log.note("CPython", "request", self.client_address[0], hosts, line=self.requestline)
        left = self.headers.get("Content-Length", "0")
        if self.command in ("POST", "PUT", "PATCH") and left.replace("_", "").isdecimal():  # int() takes 1_0
            self.rfile.read(int(left))
        body = f"This is {hosts}.\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_FROB = _answer

    def log_message(self, format: str, *args: object) -> None:
        """The log is JSON."""


class Sink(socketserver.BaseRequestHandler):
    """Takes whatever comes, and answers each piece with a line that is no HTTP."""

    server: Listener

    def handle(self) -> None:
        taken = b""
        try:
            while piece := self.request.recv(1 << 16):
                taken += piece
                self.request.sendall(b"250 ok\r\n")
        except OSError:
            pass
        finally:
            self.server.log.note("CPython", "sink", self.client_address[0], None, taken=taken.hex())


class Questions(socketserver.BaseRequestHandler):
    """DNS in a stream: each message's questions noted, and answered."""

    server: Listener

    def handle(self) -> None:
        stream = self.request.makefile("rb")
        while len(size := stream.read(2)) == 2:
            message = stream.read(int.from_bytes(size))
            if answer := note_questions(self.server.log, self.client_address[0], message):
                self.request.sendall(len(answer).to_bytes(2) + answer)


def note_questions(log: Log, client: str, content: bytes) -> bytes:
    """Every question that dnspython finds, also in what is damaged behind it; the answer, if one can be made.

    What is no query (another opcode, a response) is left alone, as every server does."""
    try:
        message = dns.message.from_wire(content, continue_on_error=True, ignore_trailing=True, question_only=True)
    except (dns.exception.DNSException, ValueError):
        return b""
    if message.opcode() != dns.opcode.QUERY or message.flags & dns.flags.QR:
        return b""
    for question in message.question:
        log.note("dnspython", "question", client, question.name.to_text(omit_final_dot=True).lower())
    try:
        return dns.message.make_response(message).to_wire()
    except (dns.exception.DNSException, ValueError):
        return b""


def serve_datagrams(address: str, log: Log) -> None:
    """DNS over UDP."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.bind((address, 53))
        while True:
            content, client = channel.recvfrom(1 << 16)
            if answer := note_questions(log, client[0], content):
                channel.sendto(answer, client)


class Served(QuicConnectionProtocol):
    """A QUIC connection: the name in the hello is noted as aioquic reads it, and each request."""

    client = ""

    def __init__(self, log: Log, *words: Any, **more: Any) -> None:
        super().__init__(*words, **more)
        self.log = log
        self.http: H3Connection | None = None

    def datagram_received(self, data: bytes | str, addr: Any) -> None:
        Served.client = addr[0]
        super().datagram_received(data, addr)

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, ProtocolNegotiated):
            self.http = H3Connection(self._quic)
        for one in self.http.handle_event(event) if self.http is not None else []:
            if isinstance(one, HeadersReceived):
                host = dict(one.headers)[b":authority"].decode()
                self.log.note("aioquic", "request", Served.client, [host])
                self.http.send_headers(one.stream_id, [(b":status", b"200")])
                self.http.send_data(one.stream_id, f"This is {host}.\n".encode(), end_stream=True)
                self.transmit()


async def serve_quic(addresses: list[str], pair: tuple[Path, Path], log: Log) -> None:
    """HTTP/3 on each address, until the program ends."""
    read = aioquic.tls.pull_client_hello

    def read_and_note(buffer: Any) -> Any:
        hello = read(buffer)
        log.note("aioquic", "hello", Served.client, hello.server_name)
        return hello

    aioquic.tls.pull_client_hello = read_and_note
    configuration = QuicConfiguration(is_client=False, alpn_protocols=["h3"], max_datagram_size=1350)
    configuration.load_cert_chain(*pair)
    for address in addresses:
        await serve(address, 443, configuration=configuration, create_protocol=partial(Served, log))
    print("ready", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """Serve until ended by a signal."""
    words = argparse.ArgumentParser(description="Servers that note what their applications were asked.")
    words.add_argument("--addresses", nargs="+", required=True)
    for name in ("certificate", "key", "log"):
        words.add_argument(f"--{name}", type=Path, required=True)
    given = words.parse_args()
    log, pair = Log(given.log), (given.certificate, given.key)
    for address in given.addresses:
        listeners = [
            Listener(address, 80, Page, log),
            Listener(address, 443, Page, log, make_context(pair, log)),
            Listener(address, SINK_PORT, Sink, log),
            Listener(address, 53, Questions, log),
        ]
        for listener in listeners:
            threading.Thread(target=listener.serve_forever, daemon=True).start()
        threading.Thread(target=serve_datagrams, args=(address, log), daemon=True).start()
    asyncio.run(serve_quic(given.addresses, pair, log))


if __name__ == "__main__":
    main()

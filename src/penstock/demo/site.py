"""The internet's side: one program that serves every name over HTTP and HTTPS, IPv4 and IPv6, and logs what it served.

    python -m penstock.demo.site --http 80 --https 443 --certificate FILE --key FILE --log FILE

Log: one JSON line for each request a handler ran for, and one for each ClientHello that arrived, before the answer:
`{"kind": "request", "scheme", "host", "method", "path", "client"}` and `{"kind": "hello", "host"}`.

    GET /            one line of text that names the host         POST /       the body's length and SHA-256
    GET /bulk?s=2    bytes as fast as they go, for two seconds    GET /big?n=1 exactly n bytes, all of value 0x62

Knows CPython's own server. Refuses to know Penstock: the log is what a block is judged by.
"""

import argparse
import hashlib
import json
import socket
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

PIECE = bytes(1 << 20)
BIG = b"b" * (1 << 20)


class Site(ThreadingHTTPServer):
    """A dual-stack server; with a TLS context each connection shakes hands in its own thread."""

    address_family = socket.AF_INET6
    request_queue_size = 1024
    daemon_threads = True

    def __init__(self, port: int, log: Path, context: ssl.SSLContext | None) -> None:
        self.context = context
        self.log = log.open("a", buffering=1)
        self.lock = threading.Lock()
        if context is not None:
            context.sni_callback = self._note_hello
        super().__init__(("::", port), Page)

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self.context is None:
            super().finish_request(request, client_address)
            return
        with self.context.wrap_socket(request, server_side=True) as channel:
            super().finish_request(channel, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no error of the site."""

    def note(self, **fields: object) -> None:
        """Append one line to the log."""
        with self.lock:
            self.log.write(json.dumps(fields) + "\n")

    def _note_hello(self, channel: ssl.SSLObject, host: str | None, context: ssl.SSLContext) -> None:
        self.note(kind="hello", host=host)


class Page(BaseHTTPRequestHandler):
    """The handler of every name and path."""

    server: Site
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._note()
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        match urlsplit(self.path).path:
            case "/bulk":
                self._send_for(float(query.get("s", "1")))
            case "/big":
                self._send_big(int(query.get("n", "1")))
            case _:
                self._send(f"This is {self.headers.get('Host')}.\n".encode())

    def do_POST(self) -> None:
        self._note()
        digest, left = hashlib.sha256(), int(self.headers.get("Content-Length", "0"))
        total = left
        while left > 0 and (piece := self.rfile.read(min(left, len(PIECE)))):
            digest.update(piece)
            left -= len(piece)
        self._send(f"{total - left} {digest.hexdigest()}\n".encode())

    do_PUT = do_PATCH = do_POST

    def log_message(self, format: str, *args: object) -> None:
        """The log is JSON, written by `_note`."""

    def _note(self) -> None:
        client = self.client_address[0].removeprefix("::ffff:")
        scheme = "http" if self.server.context is None else "https"
        host = self.headers.get("Host")
        self.server.note(kind="request", scheme=scheme, host=host, method=self.command, path=self.path, client=client)

    def _send(self, body: bytes) -> None:
        self._send_head(len(body))
        self.wfile.write(body)

    def _send_big(self, size: int) -> None:
        self._send_head(size)
        for start in range(0, size, len(BIG)):
            self.wfile.write(BIG[: size - start])

    def _send_for(self, duration_s: float) -> None:
        self._send_head(None)
        end_s = time.monotonic() + duration_s
        while time.monotonic() < end_s:
            self.wfile.write(PIECE)

    def _send_head(self, size: int | None) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        if size is None:
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(size))
        self.end_headers()


def main() -> None:
    """Serve until ended by a signal."""
    words = argparse.ArgumentParser(description="A site that answers to every name.")
    for name, kind in (("http", int), ("https", int), ("certificate", Path), ("key", Path), ("log", Path)):
        words.add_argument(f"--{name}", type=kind, required=True)
    given = words.parse_args()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(given.certificate, given.key)
    for port, tls in ((given.http, None), (given.https, context)):
        threading.Thread(target=Site(port, given.log, tls).serve_forever, daemon=True).start()
    threading.Event().wait()


if __name__ == "__main__":
    main()

"""A web server for feeds: each path answers as a test says, and remembers what was asked."""

import gzip
import hashlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

Answer = Callable[["Request"], None]
"""Answers a request, whatever way it likes."""


class Request(BaseHTTPRequestHandler):
    """One request, and the words to answer it."""

    protocol_version = "HTTP/1.1"
    site: ClassVar["Site"]

    def do_GET(self) -> None:
        """Answer as the site says."""
        self.close_connection = True
        self.site.asked.append((self.path, dict(self.headers)))
        answer = self.site.answers.get(self.path)
        if answer is None:
            self.say(404)
        else:
            answer(self)

    do_CONNECT = do_GET

    def say(self, status: int, body: bytes = b"", **headers: str) -> None:
        """A whole response. Underscores of headers are hyphens."""
        self.begin(status, **{"Content_Length": str(len(body))} | headers)
        self.wfile.write(body)

    def begin(self, status: int, **headers: str) -> None:
        """Its head."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@dataclass
class Site:
    """What it answers, path by path, and what it was asked: path, headers."""

    url: str
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def serve(self, path: str, body: bytes, **headers: str) -> str:
        """Have a list at a path, with an ETag. Returns its address."""
        tag = f'"{hashlib.sha256(body).hexdigest()[:8]}"'

        def answer(request: Request) -> None:
            if request.headers["If-None-Match"] == tag:
                request.say(304, ETag=tag)
            else:
                request.say(200, body, ETag=tag, **headers)

        self.answers[path] = answer
        return self.url + path

    def answer(self, path: str, answer: Answer) -> str:
        """Have a path answered so. Returns its address."""
        self.answers[path] = answer
        return self.url + path

    def count(self, path: str) -> int:
        """How often it was asked for."""
        return sum(asked == path for asked, _ in self.asked)


@contextmanager
def start_site(certificate: Path | None = None, key: Path | None = None, address: str = "127.0.0.1") -> Iterator[Site]:
    """A site on a free port, over TLS with a certificate."""
    server = ThreadingHTTPServer((address, 0), Request, bind_and_activate=True)
    server.daemon_threads = True
    scheme = "http"
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "https"
    site = Site(f"{scheme}://{address}:{server.server_address[1]}")
    server.RequestHandlerClass = type("OfSite", (Request,), {"site": site})
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def make_bomb(size_bytes: int) -> bytes:
    """A gzip file that unpacks to so many bytes."""
    return gzip.compress(b"0" * size_bytes, 9)


def closed_port() -> int:
    """A port of loopback on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_pair(directory: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, signed by itself, and its key."""
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30", "-subj", "/CN=feeds"]
    files = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", "req", "-x509", *kind, *files], check=True, capture_output=True)
    return certificate, key

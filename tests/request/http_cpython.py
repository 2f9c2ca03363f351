"""CPython's own server as an oracle: which hosts does it hand to a handler when it is fed these bytes?"""

import re
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from typing import Any

BODY_METHODS = ("POST", "PUT", "PATCH")


class Served(BaseHTTPRequestHandler):
    """Serves every method that is a visible word; reads the body of POST, PUT and PATCH as applications do."""

    protocol_version = "HTTP/1.1"

    def __init__(self, stream: bytes) -> None:
        self.rfile, self.wfile = BytesIO(stream), BytesIO()
        self.client_address, self.server = ("", 0), None  # type: ignore[assignment]
        self.seen: list[tuple[str, list[str]]] = []
        self.handle()

    def __getattr__(self, name: str) -> Any:
        if re.fullmatch(r"do_[!-~\x80-\xff]{1,60}", name):
            return self.serve
        raise AttributeError(name)

    def serve(self) -> None:
        self.seen.append((self.path, self.headers.get_all("Host", [])))
        if self.command in BODY_METHODS:
            try:
                length_bytes = int(self.headers.get("Content-Length", "0"))
            except ValueError:
                self.close_connection = True
                return
            self.rfile.read(min(max(length_bytes, 0), 1 << 20))

    def log_message(self, *_: Any) -> None:
        pass


def bare(host: str) -> bytes:
    """A host as one would compare it: lower-case, without white space, port and trailing dot."""
    text = host.strip(" \t").lower()
    text = re.sub(r":[0-9]*\Z", "", text)
    return text.rstrip(".").encode("latin-1")


def hosts_served(stream: bytes) -> list[bytes]:
    """Every host for which a handler ran: of absolute targets and of Host fields."""
    hosts = []
    for path, names in Served(stream).seen:
        absolute = re.match(r"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)", path)
        hosts += [bare(absolute[1])] if absolute else []
        hosts += [bare(name) for name in names]
    return [host for host in hosts if host]

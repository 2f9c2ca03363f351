"""Clients that say exactly what a test wants said: a conversation over one TCP connection, byte for byte."""

import re
import socket
import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from penstock.demo.topology import Subscriber, Topology, server_address
from tests.live.packets import read_record_kinds

PATIENCE_S = 10
REFERENCE = re.compile(rb"Reference.*?([0-9a-f]{16})", re.DOTALL)
RESET = "reset"
CLOSED = "closed"


@dataclass(frozen=True)
class Response:
    """One HTTP response as it arrived."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def is_page(self) -> bool:
        """Whether it is a block page (or the page for a request of two readings) with its reference number."""
        return self.status in (403, 400) and REFERENCE.search(self.body) is not None

    @property
    def reference(self) -> str:
        """The page's reference number."""
        found = REFERENCE.search(self.body)
        assert found is not None, self.body
        return found[1].decode()


class Conversation:
    """One connection. What is read comes back as a Response, or as RESET or CLOSED."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        self.kept = b""

    def send(self, *pieces: bytes, pause_s: float = 0.0) -> None:
        """Each piece in a segment of its own (Nagle is off); the peer's reset while sending is for `read` to see."""
        for piece in pieces:
            try:
                self.channel.sendall(piece)
            except (BrokenPipeError, ConnectionResetError):
                return
            if pause_s:
                time.sleep(pause_s)

    def finish(self) -> None:
        """Send FIN."""
        self.channel.shutdown(socket.SHUT_WR)

    def read(self) -> Response | str:
        """The next response."""
        try:
            return self._read_response()
        except ConnectionResetError:
            return RESET
        except EOFError:
            return CLOSED

    def read_all(self, quiet_s: float) -> tuple[bytes, str]:
        """Everything that arrives until it is quiet for that long, and how it stands: open, RESET or CLOSED."""
        self.channel.settimeout(quiet_s)
        found, self.kept = self.kept, b""
        try:
            while piece := self.channel.recv(1 << 20):
                found += piece
        except TimeoutError:
            return found, "open"
        except ConnectionResetError:
            return found, RESET
        return found, CLOSED

    def _read_response(self) -> Response:
        head = self._read_head()
        first, *rest = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
        if "content-length" in headers:
            body = self._take(int(headers["content-length"]))
        elif headers.get("transfer-encoding") == "chunked":
            body = b"".join(self._read_chunks())
        else:
            body = b""
        return Response(int(first.split()[1]), headers, body)

    def _read_head(self) -> bytes:
        while b"\r\n\r\n" not in self.kept:
            self._receive()
        head, _, self.kept = self.kept.partition(b"\r\n\r\n")
        return head

    def _read_chunks(self) -> Iterator[bytes]:
        while True:
            while b"\r\n" not in self.kept:
                self._receive()
            size, _, self.kept = self.kept.partition(b"\r\n")
            yield self._take(int(size, 16))
            self._take(2)
            if int(size, 16) == 0:
                return

    def _take(self, size: int) -> bytes:
        pieces, missing = [self.kept], size - len(self.kept)
        while missing > 0:
            piece = self.channel.recv(1 << 20)
            if not piece:
                raise EOFError
            pieces.append(piece)
            missing -= len(piece)
        whole = b"".join(pieces)
        self.kept = whole[size:]
        return whole[:size]

    def _receive(self) -> None:
        piece = self.channel.recv(1 << 16)
        if not piece:
            raise EOFError
        self.kept += piece


def ask(host: str, path: str = "/", *headers: str, method: str = "GET") -> bytes:
    """A request in the form that everybody sends."""
    return "\r\n".join((f"{method} {path} HTTP/1.1", f"Host: {host}", *headers, "", "")).encode()


@contextmanager
def connect(topology: Topology, who: Subscriber, port: int, family: int = 4) -> Iterator[Conversation]:
    """A connection of a subscriber to the server."""
    with topology.inside("client"):
        channel = socket.create_connection(
            (server_address(family), port), timeout=PATIENCE_S, source_address=(who.address(family), 0)
        )
    with channel:
        channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield Conversation(channel)


class Handshake:
    """A TLS client whose records are ours to cut and to change; `conversation` carries them."""

    def __init__(self, conversation: Conversation, host: str) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self.conversation = conversation
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.engine = context.wrap_bio(self.incoming, self.outgoing, server_hostname=host)

    def next_flight(self) -> bytes:
        """What OpenSSL wants to send now, as records; empty once the handshake is complete and everything is sent."""
        with suppress(ssl.SSLWantReadError):
            self.engine.do_handshake()
        return self.outgoing.read()

    def hear(self) -> list[int]:
        """Take in what the peer sent; the kinds of its records: 22 handshake, 21 alert, 20 and 23; [] when it closed."""
        try:
            heard = self.conversation.channel.recv(1 << 16)
        except ConnectionResetError:
            return []
        self.incoming.write(heard)
        return read_record_kinds(heard)

    def complete(self) -> None:
        """Go on until the handshake is done. Raises ssl.SSLError on an alert, EOFError when the peer closes."""
        while True:
            try:
                self.engine.do_handshake()
                self.conversation.send(self.outgoing.read())
                return
            except ssl.SSLWantReadError:
                self.conversation.send(self.outgoing.read())
                if not self.hear():
                    raise EOFError("the peer closed during the handshake") from None

    def fetch(self, request: bytes) -> bytes:
        """Send a request inside; the first piece of the answer."""
        self.engine.write(request)
        self.conversation.send(self.outgoing.read())
        while True:
            try:
                return self.engine.read(1 << 16)
            except ssl.SSLWantReadError:
                if not self.hear():
                    return b""


def cut_records(flight: bytes, size: int) -> bytes:
    """The same handshake bytes in records of at most `size` bytes each (RFC 8446, 5.1)."""
    whole = b"".join(flight[start:end] for start, end in _spans(flight))
    pieces = (whole[start : start + size] for start in range(0, len(whole), size))
    return b"".join(flight[:3] + len(piece).to_bytes(2) + piece for piece in pieces)


def _spans(flight: bytes) -> Iterable[tuple[int, int]]:
    start = 0
    while start < len(flight):
        size = int.from_bytes(flight[start + 3 : start + 5])
        yield start + 5, start + 5 + size
        start += 5 + size

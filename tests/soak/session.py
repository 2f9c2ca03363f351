"""One exchange of the soak's clients: who speaks to whom, a connection, and what came of it.

    Session     a client, a server, a seed; counts bytes, notes the longest wait
    Channel     one TCP connection of a session: sends, reads responses, compares
    Broken      what a client must never see, in a few words

Knows HTTP/1.1 as a client does. Refuses to know what Penstock does to it; `Refused` is what a client can tell of that.
"""

import asyncio
import random
import ssl
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Self

from tests.soak.payload import build_payload, compare, word_receipt

PATIENCE_S = 30.0  # a client that fails closed waits through a gap and then for a retransmission
SILENT = "broken: nothing came"  # how the outcome of one who waited in vain begins
REFUSALS = (400, 403)


class Broken(Exception):
    """A connection or its bytes were harmed; the text says how."""


class Refused(Exception):
    """Penstock answered in the server's place; the text says how."""


@dataclass
class Session:
    """One exchange. Times are of the monotonic clock; `longest_s` is the longest wait for an answer."""

    kind: str
    who: str
    source: str
    server: str
    host: str
    listed: str  # the name on a list that it may ask for
    seed: int
    context: ssl.SSLContext
    end_s: float  # of the whole run: whoever can end earlier does
    fresh_ports: Iterator[int] | None = None  # of this source, each given out once; else the system chooses
    sent_bytes: int = 0
    received_bytes: int = 0
    longest_s: float = 0.0
    ports: list[int] = field(default_factory=list)
    chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    def remains_s(self, at_most_s: float) -> float:
        """A duration, cut to what is left of the run."""
        return max(0.0, min(at_most_s, self.end_s - time.monotonic()))

    def draw_port(self) -> int:
        """A port for a connection of this source; 0 leaves it to the system."""
        return next(self.fresh_ports) if self.fresh_ports else 0

    def note_wait(self, since_s: float) -> None:
        """An answer has come."""
        self.longest_s = max(self.longest_s, time.monotonic() - since_s)

    def connect(self, port: int, tls: bool = False) -> "Channel":
        """A connection to a port of the server, as a context."""
        return Channel(self, port, tls)


class Channel:
    """One TCP connection, with or without TLS."""

    def __init__(self, session: Session, port: int, tls: bool) -> None:
        self.session, self.port, self.tls = session, port, tls

    async def __aenter__(self) -> Self:
        session = self.session
        names = {"ssl": session.context, "server_hostname": session.host} if self.tls else {}
        begin_s = time.monotonic()
        async with asyncio.timeout(PATIENCE_S):
            self.reader, self.writer = await asyncio.open_connection(
                session.server, self.port, local_addr=(session.source, session.draw_port()), **names
            )
        session.note_wait(begin_s)
        session.ports.append(self.writer.get_extra_info("sockname")[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    async def send(self, content: bytes) -> None:
        """Send bytes; returns when the kernel has most of them."""
        self.session.sent_bytes += len(content)
        self.writer.write(content)
        async with asyncio.timeout(PATIENCE_S):
            await self.writer.drain()

    async def ask(self, target: str, *headers: str, method: str = "GET", host: str = "", body: bytes = b"") -> None:
        """Send a request in one piece."""
        lines = (f"{method} {target} HTTP/1.1", f"Host: {host or self.session.host}", *headers, "", "")
        await self.send("\r\n".join(lines).encode() + body)

    async def read_head(self) -> tuple[int, dict[str, str]]:
        """The status and the headers of the next response. Raises Refused for a page of Penstock."""
        begin_s = time.monotonic()
        async with asyncio.timeout(PATIENCE_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        self.session.note_wait(begin_s)
        first, *rest = head.split("\r\n")
        status = int(first.split(" ")[1])
        if status in REFUSALS:
            raise Refused(f"page, status {status}")
        return status, {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}

    async def read_body(self, headers: dict[str, str]) -> bytes:
        """The body behind this head."""
        async with asyncio.timeout(PATIENCE_S + self.session.remains_s(120)):
            if headers.get("transfer-encoding") == "chunked":
                return b"".join(await self._read_chunks())
            return await self.reader.readexactly(int(headers["content-length"]))

    async def _read_chunks(self) -> list[bytes]:
        pieces = []
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            pieces.append((await self.reader.readexactly(size + 2))[:-2])
        await self.reader.readexactly(2)
        return pieces

    async def take(self, expected: bytes) -> None:
        """Read a response with this body. Raises Broken."""
        status, headers = await self.read_head()
        found = await self.read_body(headers)
        self.session.received_bytes += len(found)
        if difference := compare(expected, found):
            raise Broken(f"status {status}, {difference}")

    async def fetch(self, size: int, how: str = "bytes", *headers: str) -> None:
        """Ask the site for bytes and compare them."""
        seed = self.session.chance.getrandbits(40)
        await self.ask(f"/{how}/{seed}/{size}", *headers)
        await self.take(build_payload(seed, size))

    async def give(self, content: bytes, pieces: Iterable[bytes], *, chunked: bool = False, pause_s: float = 0) -> None:
        """Give the site bytes, piece by piece, and compare its receipt."""
        length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(content)}"
        await self.ask("/take", length, method="POST")
        for piece in pieces:
            await self.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            if pause_s:
                await asyncio.sleep(pause_s)
        if chunked:
            await self.send(b"0\r\n\r\n")
        await self.take(word_receipt(content))

    async def expect_end(self) -> None:
        """The server ends the connection in order."""
        async with asyncio.timeout(PATIENCE_S):
            if await self.reader.read(1):
                raise Broken("bytes behind the last response")

"""The soak's server: gives and takes bytes that follow from a seed, over HTTP and HTTPS, IPv4 and IPv6.

    python -m tests.soak.site --http 8000 --https 8443 --certificate FILE --key FILE --log FILE

    GET /bytes/SEED/SIZE    with Content-Length        GET /chunks/SEED/SIZE   chunked
    GET /paced/SEED/SIZE    at PACE_BYTES_S            POST /take              says length and hash of the body
    GET /echo + Upgrade     101, then every byte comes back

Log: a JSON line `{"at_s", "kind", "host", "what"}` for each request and hello with a listed name, and for each connection
that ended within a request's body (`kind` cut). Times are of the monotonic clock, which is one on the whole machine.

Knows HTTP/1.1 as far as the soak's clients speak it. Refuses to know Penstock.
"""

import argparse
import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from penstock.demo.box import BLOCKED
from tests.soak.payload import build_payload, cut_pieces, word_receipt

LISTED = frozenset(BLOCKED.values())
PACE_BYTES_S = 200_000
PACE_S = 0.1
CHUNK_COUNT = 9
HEAD_BYTES = 1 << 16


class Log:
    """Notes with their time."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("a", buffering=1)

    def note(self, kind: str, host: str, what: str = "") -> None:
        self.file.write(json.dumps({"at_s": time.monotonic(), "kind": kind, "host": host, "what": what}) + "\n")

    def note_listed(self, kind: str, host: str | None, what: str = "") -> None:
        """Note it if its host is on a list."""
        if host in LISTED:
            self.note(kind, str(host), what)


class Connection:
    """One connection of the server."""

    def __init__(self, log: Log, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.log, self.reader, self.writer = log, reader, writer
        self.client = writer.get_extra_info("peername")[0].removeprefix("::ffff:")

    async def serve(self) -> None:
        """Answer request after request."""
        try:
            while head := await self._read_head():
                if not await self._answer(head):
                    return
        except (OSError, EOFError):
            return  # the client knows best whether it got what it asked for
        finally:
            self.writer.close()

    async def _read_head(self) -> list[str]:
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return []
        return head.decode("latin-1").split("\r\n")[:-2]

    @staticmethod
    def _host(head: list[str]) -> str:
        return _headers(head).get("host", "").partition(":")[0]

    async def _answer(self, head: list[str]) -> bool:
        """Answer one request. Returns: is the connection still open?"""
        headers, (method, target, _) = _headers(head), head[0].split(" ")
        self.log.note_listed("request", self._host(head), self.client)
        if "upgrade" in headers:
            await self._echo()
            return False
        try:
            content = b"".join([piece async for piece in self._read_body(headers)])
        except (OSError, EOFError) as error:
            self.log.note("cut", self._host(head), f"{self.client}: {head[0]}: {error or type(error).__name__}")
            raise
        if method == "POST":
            await self._send_whole(word_receipt(content), headers)
        else:
            await self._give(target, headers)
        return headers.get("connection") != "close"

    async def _read_body(self, headers: dict[str, str]) -> AsyncIterator[bytes]:
        if headers.get("transfer-encoding") == "chunked":
            while size := int(await self.reader.readuntil(b"\r\n"), 16):
                yield (await self.reader.readexactly(size + 2))[:-2]
            await self.reader.readexactly(2)
        elif length := int(headers.get("content-length", "0")):
            yield await self.reader.readexactly(length)

    async def _give(self, target: str, headers: dict[str, str]) -> None:
        how, seed, size = target.strip("/").split("/")
        content = build_payload(int(seed), int(size))
        if how == "chunks":
            await self._send_chunks(int(seed), content, headers)
        elif how == "paced":
            self._send_head(headers, f"Content-Length: {len(content)}")
            step = int(PACE_BYTES_S * PACE_S)
            for start in range(0, len(content), step):
                self.writer.write(content[start : start + step])
                await self.writer.drain()
                await asyncio.sleep(PACE_S)
        else:
            await self._send_whole(content, headers)

    def _send_head(self, headers: dict[str, str], *more: str) -> None:
        lines = ("HTTP/1.1 200 OK", f"Connection: {headers.get('connection', 'keep-alive')}", *more, "", "")
        self.writer.write("\r\n".join(lines).encode())

    async def _send_whole(self, content: bytes, headers: dict[str, str]) -> None:
        self._send_head(headers, f"Content-Length: {len(content)}")
        self.writer.write(content)
        await self.writer.drain()

    async def _send_chunks(self, seed: int, content: bytes, headers: dict[str, str]) -> None:
        self._send_head(headers, "Transfer-Encoding: chunked")
        for piece in cut_pieces(seed, content, CHUNK_COUNT):
            self.writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await self.writer.drain()
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()

    async def _echo(self) -> None:
        self.writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        while piece := await self.reader.read(HEAD_BYTES):
            self.writer.write(piece)
            await self.writer.drain()


def _headers(head: list[str]) -> dict[str, str]:
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}


async def listen(given: argparse.Namespace) -> None:
    """Serve until the program is ended."""
    log = Log(given.log)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(given.certificate, given.key)
    context.sni_callback = lambda channel, host, whose: log.note_listed("hello", host)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await Connection(log, reader, writer).serve()

    words: dict[str, Any] = {"host": ["0.0.0.0", "::"], "limit": HEAD_BYTES, "backlog": 1024}
    plain = await asyncio.start_server(serve, port=given.http, **words)
    secure = await asyncio.start_server(serve, port=given.https, ssl=context, **words)
    async with plain, secure:
        await asyncio.Event().wait()


def main() -> None:
    """Serve what the arguments say."""
    words = argparse.ArgumentParser(description="A site whose bytes follow from a seed.")
    for name, kind in (("http", int), ("https", int), ("certificate", Path), ("key", Path), ("log", Path)):
        words.add_argument(f"--{name}", type=kind, required=True)
    asyncio.run(listen(words.parse_args()))


if __name__ == "__main__":
    main()

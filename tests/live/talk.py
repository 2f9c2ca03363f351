"""Connections that go on: an echo and a film over TLS, an echo over QUIC. A program, both sides of it.

    python -m tests.live.talk serve CERTIFICATE KEY PORT
    python -m tests.live.talk (echo | film | quic) SOURCE SERVER PORT SECONDS

A client says a line of JSON at its end: when (CLOCK_MONOTONIC) the first and the last thing came back, how many did, and
what ended it: `time`, or the error's name.
"""

import asyncio
import json
import ssl
import sys
import time
from typing import Any

from aioquic.asyncio import QuicConnectionProtocol, serve
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, StreamDataReceived

STEP_S = 0.05
NAME = "talk.example.test"


class Echo(QuicConnectionProtocol):
    """Sends back what comes."""

    def quic_event_received(self, event: Any) -> None:
        if isinstance(event, StreamDataReceived):
            self._quic.send_stream_data(event.stream_id, event.data)
            self.transmit()


class Asking(QuicConnectionProtocol):
    """Notes when something comes back."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.times: list[float] = []
        self.end = ""

    def quic_event_received(self, event: Any) -> None:
        if isinstance(event, StreamDataReceived):
            self.times.append(time.monotonic())
        elif isinstance(event, ConnectionTerminated):
            self.end = f"closed {event.error_code}"


async def serve_all(certificate: str, key: str, port: int) -> None:
    """Serve until we are ended."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                if line == b"film\n":
                    while True:
                        writer.write(bytes(1000) + b"\n")
                        await writer.drain()
                        await asyncio.sleep(STEP_S)
                writer.write(line)
                await writer.drain()
        except OSError:
            pass

    await asyncio.start_server(take, "0.0.0.0", port, ssl=context)
    configuration = QuicConfiguration(is_client=False, alpn_protocols=["talk"])
    configuration.load_cert_chain(certificate, key)
    await serve("0.0.0.0", port, configuration=configuration, create_protocol=Echo)
    print("ready", flush=True)
    await asyncio.Event().wait()


async def talk_tls(kind: str, source: str, server: str, port: int, end_s: float) -> tuple[list[float], str]:
    """An echo every STEP_S, or a film of which nothing is answered."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    times: list[float] = []
    try:
        reader, writer = await asyncio.open_connection(
            server, port, ssl=context, server_hostname=NAME, local_addr=(source, 0)
        )
        if kind == "film":
            writer.write(b"film\n")
        while time.monotonic() < end_s:
            if kind == "echo":
                writer.write(b"hello\n")
                await asyncio.sleep(STEP_S)
            if not await asyncio.wait_for(reader.readline(), max(end_s - time.monotonic(), 0.01)):
                return times, "closed"
            times.append(time.monotonic())
    except (TimeoutError, OSError) as error:
        return times, "time" if isinstance(error, asyncio.TimeoutError) else type(error).__name__
    return times, "time"


async def talk_quic(source: str, server: str, port: int, end_s: float) -> tuple[list[float], str]:
    """An echo every STEP_S."""
    configuration = QuicConfiguration(alpn_protocols=["talk"], server_name=NAME, verify_mode=ssl.CERT_NONE)
    loop = asyncio.get_running_loop()
    transport, client = await loop.create_datagram_endpoint(
        lambda: Asking(QuicConnection(configuration=configuration)), local_addr=(source, 0)
    )
    client.connect((server, port))
    try:
        await client.wait_connected()
    except ConnectionError as error:
        return [], type(error).__name__
    stream = client._quic.get_next_available_stream_id()
    while time.monotonic() < end_s and not client.end:
        client._quic.send_stream_data(stream, b"hello\n")
        client.transmit()
        await asyncio.sleep(STEP_S)
    client.close()
    transport.close()
    return client.times, client.end or "time"


def main() -> None:
    """Be what the first word says."""
    kind, *words = sys.argv[1:]
    if kind == "serve":
        asyncio.run(serve_all(words[0], words[1], int(words[2])))
    source, server, port, seconds = words
    end_s = time.monotonic() + float(seconds)
    if kind == "quic":
        times, end = asyncio.run(talk_quic(source, server, int(port), end_s))
    else:
        times, end = asyncio.run(talk_tls(kind, source, server, int(port), end_s))
    first, last = (times[0], times[-1]) if times else (0.0, 0.0)
    print(json.dumps({"first_s": first, "last_s": last, "count": len(times), "end": end}))


if __name__ == "__main__":
    main()

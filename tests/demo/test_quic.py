"""The demo's QUIC server and client, with each other on this machine: no box between them."""

import asyncio
import json
from contextlib import suppress
from pathlib import Path
from shutil import which
from socket import AF_INET6, SOCK_DGRAM, socket

import pytest
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import serve
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import HandshakeCompleted, QuicEvent

from penstock.demo.box import BLOCKED, GOOD
from penstock.demo.quic import UNRECOGNIZED_NAME, ask, ask_all, listen
from penstock.demo.servers import Certificate, write_certificate

pytestmark = pytest.mark.skipif(which("openssl") is None, reason="not installed: openssl")
LOOPBACKS = (("127.0.0.1", "127.0.0.1"), ("::1", "::1"))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return write_certificate(tmp_path_factory.mktemp("pair"))


@pytest.fixture
def port() -> int:
    """A UDP port that is free a moment before."""
    with socket(AF_INET6, SOCK_DGRAM) as probe:
        probe.bind(("::", 0))
        number = int(probe.getsockname()[1])
    return number


class Closing(QuicConnectionProtocol):
    """A server that closes each connection."""

    code = 0

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, HandshakeCompleted):
            self.close(self.code, reason_phrase="no")


def test_every_question_gets_the_site_and_the_log_says_who_asked(pair: Certificate, port: int, tmp_path: Path) -> None:
    hosts = [GOOD, *BLOCKED.values()]
    questions = [{"host": host, "source": a, "server": b} for a, b in LOOPBACKS for host in hosts]

    async def play() -> list[str]:
        serving = asyncio.create_task(listen(port, pair.certificate, pair.key, tmp_path / "log"))
        await asyncio.sleep(0.1)
        got = await ask_all(questions, port, pair.certificate)
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving
        return got

    assert asyncio.run(play()) == ["site"] * len(questions)
    entries = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert {(entry["host"], entry["client"]) for entry in entries} == {
        (each["host"], each["source"]) for each in questions
    }
    assert {entry["scheme"] for entry in entries} == {"quic"}


@pytest.mark.parametrize("code", [0, UNRECOGNIZED_NAME])
def test_only_the_alert_is_a_refusal(pair: Certificate, port: int, code: int) -> None:
    configuration = QuicConfiguration(is_client=False, alpn_protocols=["h3"])
    configuration.load_cert_chain(pair.certificate, pair.key)
    kind = type("Closing", (Closing,), {"code": code})

    async def play() -> str:
        server = await serve("::", port, configuration=configuration, create_protocol=kind)
        try:
            return await ask(GOOD, "127.0.0.1", "127.0.0.1", port, pair.certificate)
        finally:
            server.close()

    got = asyncio.run(play())
    assert (got == "refused") == (code == UNRECOGNIZED_NAME)
    assert got == "refused" or got.startswith("closed with 0x0 no")


def test_another_certificate_is_no_refusal(pair: Certificate, port: int, tmp_path: Path) -> None:
    other = write_certificate(tmp_path)

    async def play() -> str:
        serving = asyncio.create_task(listen(port, other.certificate, other.key, tmp_path / "log"))
        await asyncio.sleep(0.1)
        got = await ask(GOOD, "127.0.0.1", "127.0.0.1", port, pair.certificate)
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving
        return got

    assert asyncio.run(play()).startswith("closed with 0x")

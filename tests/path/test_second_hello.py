"""What stands between a first and a second ClientHello: whatever OpenSSL's server skips must not hide the second from us.

The server asks for another key share (HelloRetryRequest); the client names another host in its second hello, and the
server completes the handshake for that one (its SNI callback is asked again).
"""

import ssl
import subprocess
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest

from tests.hellos import ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, record
from tests.path.boxes import Box, Conversation, name_of
from tests.vocabulary import Flow

NAME, REFUSED_NAME = b"xx.okay.test", b"www.bad.test"
COMMAND = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test"]
CANCELLED = b"\1\x5a"  # a warning that TLS 1.3 tells its reader to skip (RFC 8446 6.1)


@cache
def server_context() -> ssl.SSLContext:
    """A server that wants a group for which no client offers a share at once."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with TemporaryDirectory() as place:
        key, certificate = Path(place, "key.pem"), Path(place, "certificate.pem")
        subprocess.run(
            [*COMMAND, "-keyout", key, "-out", certificate],
            check=True, capture_output=True,
        )  # fmt: skip
        context.load_cert_chain(certificate, key)
    context.set_ecdh_curve("secp521r1")
    return context


class Server:
    """OpenSSL's end of a handshake, which remembers every name that it was asked for."""

    def __init__(self) -> None:
        self.names: list[str] = []
        context = server_context()
        context.sni_callback = lambda connection, name, _: self.names.append(name)
        self.input, self.output = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.end = context.wrap_bio(self.input, self.output, server_side=True)

    def feed(self, content: bytes) -> bytes:
        """What it answers."""
        self.input.write(content)
        with suppress(ssl.SSLError):
            self.end.do_handshake()
        return self.output.read()


class Flights(NamedTuple):
    """A client's two hellos, and what the server said between them."""

    first: bytes
    retry: bytes
    second: bytes


@cache
def flights() -> Flights:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(into, out, server_hostname=NAME.decode())
    server = Server()
    said = []
    for answer in (None, server):
        if answer:
            into.write(server.feed(said[0]))
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        said.append(out.read())
    second = said[1].removeprefix(record(b"\1", CHANGE_CIPHER_SPEC, 0x0303))
    return Flights(said[0], Server().feed(said[0]), second.replace(NAME, REFUSED_NAME))


ALERTS = [
    record(CANCELLED, ALERT),
    record(CANCELLED, ALERT, 0x0303),
    record(b"\2\x5a", ALERT),
    record(CANCELLED, ALERT) * 3,
    record(CANCELLED, ALERT, 0x03FF),
]
OTHERS = [
    b"",
    record(b"\1", CHANGE_CIPHER_SPEC) + record(CANCELLED, ALERT),
    record(b"\1", CHANGE_CIPHER_SPEC, 0x0303),
    record(b"\1", CHANGE_CIPHER_SPEC) * 3,
    record(b""),
    record(b"", ALERT),
    record(b"", CHANGE_CIPHER_SPEC),
    record(b"\2", CHANGE_CIPHER_SPEC),
    record(b"", APPLICATION_DATA),
    record(b"x" * 40, APPLICATION_DATA),
    record(b"\1\0\0", 24),
    record(CANCELLED * 2, ALERT),
    record(b"\1\0", ALERT),
    record(b"\0\0\0\0"),
    b"GET / HTTP/1.1\r\n",
]


@pytest.fixture(scope="module")
def box() -> Box:
    return Box()


@pytest.mark.skipif(ssl.OPENSSL_VERSION_INFO < (3,), reason="the server under comparison is OpenSSL 3")
@pytest.mark.parametrize("between", ALERTS + OTHERS)
@pytest.mark.parametrize("together", [False, True])
def test_the_server_reads_no_second_hello_that_we_do_not(box: Box, between: bytes, together: bool) -> None:
    wire, server = flights(), Server()
    number = (ALERTS + OTHERS).index(between)
    talk = Conversation(box, Flow(client_port=45000 + 2 * number + together, server_port=443)).open()
    server.feed(wire.first)
    assert name_of(talk.client(wire.first)) == "allowed"
    talk.server(wire.retry)
    parts = [between + wire.second] if together else [part for part in (between, wire.second) if part]
    last = ""
    for part in parts:
        server.feed(part)
        last = name_of(talk.client(part))
        talk.server()
    assert server.names[0] == NAME.decode()
    if REFUSED_NAME.decode() in server.names:
        assert last == "blocked"

"""The inside of a ClientHello: OpenSSL's server never sees another name than we do, and contradictions are refused."""

import ssl
import sys

import pytest
from hypothesis import given, settings

from penstock.request import hello as inside
from penstock.request import tls
from penstock.request.status import BAD, COMPLETE
from tests.corpus import CORPUS
from tests.hellos import (
    advance,
    alpn,
    extension,
    groups_and_signatures,
    hello,
    key_share,
    message,
    odd_streams,
    openssl_flights,
    plain_hello,
    records,
    server_name,
    supported_versions,
)
from tests.request.tls_reader import Read, read

NAME = b"www.example.test"


class RawNames(ssl.SSLContext):
    """A context that hands the name on as it is; the one of the standard library decodes IDNA first."""

    def _encode_hostname(self, hostname: str) -> str:
        return hostname


class NameSeen:
    """What OpenSSL's server takes for the name: `name` is None without SNI; `called` says that it got so far."""

    context = RawNames(ssl.PROTOCOL_TLS_SERVER)

    def __init__(self, stream: bytes) -> None:
        self.called, self.name = False, None
        type(self).context.sni_callback = self.note
        hook, sys.unraisablehook = sys.unraisablehook, self.note_undecodable
        try:
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            incoming.write(stream)
            advance(type(self).context.wrap_bio(incoming, outgoing, server_side=True), outgoing)
        finally:
            sys.unraisablehook = hook

    def note(self, _: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
        self.called, self.name = True, None if name is None else name.encode()

    def note_undecodable(self, unraisable: "sys.UnraisableHookArgs") -> None:
        assert isinstance(unraisable.object, bytes), unraisable
        self.called, self.name = True, unraisable.object


def test_the_oracle_sees_names() -> None:
    assert NameSeen(records(plain_hello(b"a\xff.test"))).name == b"a\xff.test"
    assert NameSeen(records(plain_hello(b"A.test."), [3])).name == b"A.test."
    nameless = NameSeen(records(hello(supported_versions(0x0304), groups_and_signatures(), key_share())))
    assert (nameless.called, nameless.name) == (True, None)


@settings(deadline=None, max_examples=300)
@given(odd_streams())
def test_openssl_sees_no_other_name(stream: bytes) -> None:
    """Where OpenSSL's server gets as far as the name, we have read the same one, or refuse."""
    server = NameSeen(stream)
    ours = read(stream)
    if server.called and ours.status != BAD:
        assert (ours.status, ours.host) == (COMPLETE, (server.name or b"").removesuffix(b"."))


@pytest.mark.parametrize("name", [None, "www.example.test", "WWW.Example.test.", "10.1.2.3", "a" * 63 + ".test"])
@pytest.mark.parametrize("maximum", [ssl.TLSVersion.TLSv1_2, None])
def test_hellos_of_openssl(name: str | None, maximum: ssl.TLSVersion | None) -> None:
    (flight,) = openssl_flights(name, ["h2", "http/1.1"], maximum=maximum)
    result = read(flight)
    expected = (name or "").removesuffix(".").encode() if name != "10.1.2.3" else b""  # a client must not send that one
    assert (result.status, result.host, result.hello_end) == (COMPLETE, expected, len(flight))
    assert result.alpn == b"\2h2\x08http/1.1"
    assert bool(result.versions & tls.VERSION_1_3) == (maximum is None)
    assert result.versions & tls.VERSION_1_2


@pytest.mark.parametrize(
    ("message_", "host"),
    [
        pytest.param(hello(block=False), b"", id="no extensions at all"),
        pytest.param(hello(), b"", id="an empty list of extensions"),
        pytest.param(hello(server_name(b"192.0.2.1")), b"192.0.2.1", id="an address as a name"),
        pytest.param(hello(server_name(b"WwW.Test.")), b"WwW.Test", id="trailing dot and case"),
        pytest.param(hello(server_name(b"www.test:443")), b"www.test", id="a port"),
        pytest.param(hello(server_name(b"www.test.:443:x")), b"www.test", id="a dot, a port and more"),
        pytest.param(hello(server_name(b"www.test:")), b"www.test", id="a colon"),
        pytest.param(hello(server_name(b"2001:db8::1")), b"2001:db8::1", id="an IPv6 address"),
        pytest.param(
            hello(server_name(b"::ffff:192.0.2.1")), b"::ffff:192.0.2.1", id="an IPv6 address that ends as IPv4"
        ),
        pytest.param(hello(server_name(NAME), session=bytes(255)), NAME, id="a long session identifier"),
        pytest.param(hello(server_name(NAME), ciphers=b"\0", compression=b""), NAME, id="odd lists"),
        pytest.param(hello(server_name(b"a" * 255)), b"a" * 255, id="the longest name"),
    ],
)
def test_tolerated(message_: bytes, host: bytes) -> None:
    for cuts in ([], range(len(message_))):
        result = read(records(message_, cuts))
        assert (result.status, result.host) == (COMPLETE, host)


@pytest.mark.parametrize(
    ("detail", "message_"),
    [
        pytest.param(inside.BAD_STRUCTURE, message(b""), id="empty"),
        pytest.param(inside.BAD_STRUCTURE, message(bytes(34)), id="ends behind the random"),
        pytest.param(inside.BAD_STRUCTURE, message(plain_hello()[4:] + b"\0"), id="a byte behind the extensions"),
        pytest.param(inside.BAD_STRUCTURE, message(plain_hello()[4:-1]), id="extensions a byte short"),
        pytest.param(inside.BAD_STRUCTURE, hello(b"\0\0\0"), id="half an extension"),
        pytest.param(inside.BAD_STRUCTURE, hello(b"\0\1\0\1"), id="an extension without its content"),
        pytest.param(inside.BAD_STRUCTURE, hello(extension(16)), id="ALPN without content"),
        pytest.param(inside.BAD_STRUCTURE, hello(alpn()), id="ALPN without a protocol"),
        pytest.param(inside.BAD_STRUCTURE, hello(alpn(b"")), id="ALPN with an empty protocol"),
        pytest.param(inside.BAD_STRUCTURE, hello(extension(16, b"\0\3\5h2")), id="ALPN longer than it is"),
        pytest.param(inside.BAD_STRUCTURE, hello(extension(16, b"\0\3\3h2")), id="ALPN longer by a byte"),
        pytest.param(inside.BAD_STRUCTURE, hello(extension(43)), id="supported_versions without content"),
        pytest.param(inside.BAD_STRUCTURE, hello(supported_versions()), id="supported_versions without a version"),
        pytest.param(inside.BAD_STRUCTURE, hello(extension(43, b"\3\3\4\3")), id="supported_versions of odd length"),
        pytest.param(inside.BAD_DUPLICATE, hello(server_name(NAME), server_name(NAME)), id="two server_name"),
        pytest.param(inside.BAD_DUPLICATE, hello(alpn(b"h2"), alpn(b"h2")), id="two ALPN"),
        pytest.param(
            inside.BAD_DUPLICATE,
            hello(supported_versions(0x0304), supported_versions(0x0303)),
            id="two supported_versions",
        ),
        pytest.param(inside.BAD_NAME_LIST, hello(server_name(NAME, b"other.test")), id="two names"),
        pytest.param(inside.BAD_NAME_LIST, hello(server_name(NAME, kind=1)), id="another type of name"),
        pytest.param(inside.BAD_NAME_LIST, hello(server_name()), id="no name"),
        pytest.param(inside.BAD_NAME_LIST, hello(extension(0)), id="no list of names"),
        pytest.param(inside.BAD_NAME_LIST, hello(extension(0, b"\0\5\0\0\3ab")), id="a name longer than it is"),
        pytest.param(inside.BAD_NAME, hello(server_name(b"")), id="empty name"),
        pytest.param(inside.BAD_NAME, hello(server_name(b".")), id="a dot"),
        pytest.param(inside.BAD_NAME, hello(server_name(b"a..")), id="two trailing dots"),
        pytest.param(inside.BAD_NAME, hello(server_name(b"..:443")), id="two dots and a port"),
        pytest.param(inside.BAD_NAME, hello(server_name(b".:443")), id="a dot and a port"),
        pytest.param(inside.BAD_NAME, hello(server_name(b"a\0.test")), id="NUL in the name"),
        pytest.param(inside.BAD_NAME, hello(server_name(b"a b")), id="space in the name"),
        pytest.param(inside.BAD_NAME, hello(server_name(b"a\x7f")), id="DEL in the name"),
        pytest.param(inside.BAD_NAME, hello(server_name(b"a" * 256)), id="256 bytes of name"),
    ],
)
def test_refused(detail: int, message_: bytes) -> None:
    for cuts in ([], range(len(message_))):
        assert read(records(message_, cuts)) == Read(BAD, detail)


@pytest.mark.parametrize(
    ("version", "versions"), [(0x0300, 0), (0x0301, 1), (0x0302, 3), (0x0303, 7), (0x0304, 7), (0x7F00, 7)]
)
def test_versions_without_the_extension(version: int, versions: int) -> None:
    assert read(records(hello(server_name(NAME), version=version))).versions == versions


def test_flags() -> None:
    assert read(records(hello(extension(42), extension(41, bytes(60))))).flags == tls.EARLY_DATA | tls.PSK
    assert (
        read(records(hello(supported_versions(0x0301, 0x9A9A, 0x0304)))).versions == tls.VERSION_1_0 | tls.VERSION_1_3
    )


@pytest.mark.skipif(CORPUS is None, reason="the corpus is not there")
@pytest.mark.parametrize(
    ("file", "host", "protocols", "flags"),
    [
        ("", b"", b"", 0),
        ("_with_sni", b"cloudflare-quic.com", b"", tls.HAS_SNI),
        ("_with_alpn", b"cloudflare-quic.com", b"\5h3-19", tls.HAS_SNI | tls.HAS_ALPN),
        ("_with_psk", b"test.privateoctopus.com", b"", tls.HAS_SNI | tls.PSK | tls.EARLY_DATA),
    ],
)
def test_messages_of_the_corpus(file: str, host: bytes, protocols: bytes, flags: int) -> None:
    assert CORPUS is not None
    result = read(records((CORPUS / f"tls/tls_client_hello{file}.bin").read_bytes()))
    assert result[:5] == (COMPLETE, 0, host, protocols, tls.VERSION_1_3)
    assert result.flags == flags | tls.HAS_VERSIONS

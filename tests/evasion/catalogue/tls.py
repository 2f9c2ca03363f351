"""Hellos: in odd records, behind other records, with odd extensions.

Cutting OpenSSL's own hello leaves the handshake whole, so that the client goes on; one that is written here ends where the
server answers it, and its name is what the server's application was told.
"""

from collections.abc import Callable

from tests.evasion.recipe import COVER, Segment, Step, Strategy, Stream, Tcp, Wait
from tests.hellos import (
    CHANGE_CIPHER_SPEC,
    alpn,
    extension,
    groups_and_signatures,
    hello,
    key_share,
    message,
    name_entry,
    plain_hello,
    record,
    records,
    server_name,
    supported_versions,
    vector16,
)

READINGS = "one TLS library takes the hello and its name, another refuses it"
CUT = (Segment(0, "mid"), Segment("mid"))
C = COVER.encode()
Change = Callable[[bytes], bytes]


def _body(flight: bytes) -> bytes:
    """The handshake message of a flight of one record."""
    return flight[5:]


def _name_at(flight: bytes, more: int = 8) -> int:
    """Where in the message the name is: its middle."""
    return flight.index(b".test") - 5 - 11 + more


def cut_at(*where: Callable[[bytes], int] | int, version: int = 0x0301) -> Change:
    """The hello's record cut at these places of the message."""

    def change(flight: bytes) -> bytes:
        return records(_body(flight), [place if isinstance(place, int) else place(flight) for place in where], version)

    return change


def cut_every(size: int) -> Change:
    return lambda flight: records(_body(flight), range(size, len(flight), size))


def behind(first: bytes) -> Change:
    return lambda flight: first + flight


def between(other: bytes) -> Change:
    """Another record between two of the hello."""

    def change(flight: bytes) -> bytes:
        whole = cut_at(_name_at)(flight)
        first = 5 + int.from_bytes(whole[3:5])
        return whole[:first] + other + whole[first:]

    return change


RECORDS: tuple[tuple[str, str, str, Change, tuple[Step, ...], str], ...] = (
    ("in-name", "byedpi --tlsrec; zapret tlsrec midsld", "two records, cut in the name", cut_at(_name_at),
     (Segment(),), ""),
    ("first-byte", "byedpi --tlsrec 1", "the message's first byte in a record of its own", cut_at(1), (Segment(),), ""),
    ("in-head", "zapret tlsrec", "cut in the message's length", cut_at(3), (Segment(),), ""),
    ("before-name", "zapret tlsrec sniext", "cut before the name", cut_at(lambda flight: _name_at(flight, 0)),
     (Segment(),), ""),
    ("three", "byedpi, several --tlsrec", "three records around the name",
     cut_at(4, _name_at, lambda f: _name_at(f, 16)), (Segment(),), ""),
    ("bytes", "Geneva, record fragmentation", "every byte in a record of its own", cut_every(1), (Segment(),), ""),
    ("sixteens", "Geneva, record fragmentation", "sixteen bytes a record", cut_every(16), (Segment(),), ""),
    ("and-segments", "byedpi --tlsrec with --split", "two records, each in a segment", cut_at(_name_at), CUT, ""),
    ("and-disorder", "byedpi --tlsrec with --disorder", "two records, the second half's segment first",
     cut_at(_name_at), CUT[::-1], ""),
    ("and-decoy", "zapret tlsrec with fake", "two records, and a decoy that dies at the router", cut_at(_name_at),
     (Segment(fill="cover", ttl=1), Segment()), ""),
    ("bytes-slow", "Geneva, record fragmentation with sleep", "a record a byte, the second half later", cut_every(1),
     (Segment(0, "half"), Wait(0.3), Segment("half")), ""),
    ("segments-in-heads", "Geneva, both", "a record for sixteen bytes, segments that cut their heads", cut_every(16),
     (Segment(0, 3), Segment(3, 24), Segment(24, 47), Segment(47)), ""),
    ("version-3-0", "Geneva, tamper record version", "records of SSL 3.0", lambda f: b"\x16\3\0" + f[3:], CUT,
     READINGS),
    ("version-3-4", "Geneva, tamper record version", "records of TLS 1.3", lambda f: b"\x16\3\4" + f[3:], CUT,
     READINGS),
    ("version-odd", "Geneva, tamper record version", "records of version 5.9", lambda f: b"\x16\5\x09" + f[3:], CUT,
     READINGS),
    ("versions-mixed", "Geneva, tamper record version", "two records of different versions",
     lambda f: (lambda whole: whole[:2] + b"\3" + whole[3:])(cut_at(_name_at)(f)), CUT, READINGS),
    ("alert-between", "SymTCP, protocol confusion", "a warning alert between two records of the hello",
     between(record(b"\1\0", 21)), CUT, READINGS),
    ("cipher-spec-between", "RFC 8446 5", "a change_cipher_spec between them",
     between(record(b"\1", CHANGE_CIPHER_SPEC)), CUT, READINGS),
    ("empty-between", "RFC 8446 5.1", "an empty handshake record between them", between(b"\x16\3\1\0\0"), CUT,
     READINGS),
    ("data-between", "INTANG, decoy record", "application data between them", between(record(b"x" * 9, 23)), CUT,
     READINGS),
    ("heartbeat-between", "RFC 6520", "a heartbeat between them", between(record(b"\1\0\1x" + bytes(16), 24)), CUT,
     READINGS),
    ("odd-between", "SymTCP, protocol confusion", "a record of an unknown type between them",
     between(record(b"x" * 9, 99)), CUT, READINGS),
    ("empty-first", "RFC 8446 5.1", "an empty handshake record before", behind(b"\x16\3\1\0\0"), CUT, READINGS),
    ("cipher-spec-first", "RFC 8446 5", "a change_cipher_spec before", behind(record(b"\1", CHANGE_CIPHER_SPEC)), CUT,
     READINGS),
    ("alert-first", "SymTCP, protocol confusion", "a warning alert before", behind(record(b"\1\0", 21)), CUT, READINGS),
    ("data-first", "INTANG, decoy record", "application data before", behind(record(b"x" * 9, 23)), CUT, READINGS),
    ("heartbeat-first", "RFC 6520", "a heartbeat before", behind(record(b"\1\0\1x" + bytes(16), 24)), CUT, READINGS),
    ("http-first", "SymTCP, protocol confusion", "an HTTP request before",
     behind(b"GET / HTTP/1.1\r\nHost: " + C + b"\r\n\r\n"), CUT, READINGS),
    ("request-first", "RFC 5246 7.4.1.1", "a hello_request before", behind(record(message(b"", 0))), CUT, READINGS),
    ("same-record-behind", "RFC 8446 5.1", "more handshake bytes in the hello's record",
     lambda f: record(_body(f) + message(b"abcd", 16)), CUT, READINGS),
    ("cover-hello-first", "zapret fake, delivered", "an allowed hello before the real one",
     lambda f: record(plain_hello(C)) + f, CUT, READINGS),
)  # fmt: skip


def _hello(name: bytes, *more: bytes, names: bytes | None = None, versions: bytes | None = None) -> bytes:
    sni = server_name(name) if names is None else names
    return hello(sni, versions or supported_versions(0x0304, 0x0303), groups_and_signatures(), key_share(), *more)


def _large(name: bytes) -> bytes:
    groups = extension(10, vector16(b"\x11\xec\0\x1d\0\x17")) + extension(13, vector16(b"\4\3\x08\4\4\1"))
    shares = extension(51, vector16(b"\x11\xec" + vector16(bytes(1216)) + b"\0\x1d" + vector16(bytes(range(32)))))
    return hello(
        extension(0x3A3A),
        shares,
        server_name(name),
        alpn(b"h2", b"http/1.1"),
        supported_versions(0x3A3A, 0x0304),
        groups,
    )


def stream(make: Callable[[bytes], bytes], cuts: tuple[int, ...] = ()) -> Stream:
    return lambda host: records(make(host.encode()), cuts)


HELLOS: tuple[tuple[str, str, str, Stream, str], ...] = (
    ("short", "Geneva, tamper hello", "the shortest hello of TLS 1.3", stream(plain_hello), ""),
    ("post-quantum", "browsers", "a browser's hello of 1.8 KB", stream(_large), ""),
    ("upper", "zapret domcase", "the name in upper case", stream(lambda name: _hello(name.upper())), ""),
    ("mixed", "zapret domcase", "the name in mixed case", stream(lambda name: _hello(name.title())), ""),
    ("dot", "zapret hostdot", "a dot behind the name", stream(lambda name: _hello(name + b".")), READINGS),
    ("two-names", "RFC 6066 3", "two names in one extension, the allowed first",
     stream(lambda name: _hello(b"", names=server_name(C, name))), READINGS),
    ("two-names-turned", "RFC 6066 3", "the real one first",
     stream(lambda name: _hello(b"", names=server_name(name, C))), READINGS),
    ("two-extensions", "Geneva, duplicate extension", "two extensions, the allowed first",
     stream(lambda name: _hello(b"", server_name(name), names=server_name(C))), READINGS),
    ("two-extensions-turned", "Geneva, duplicate extension", "the real one first",
     stream(lambda name: _hello(name, server_name(C))), READINGS),
    ("other-kind", "RFC 6066 3", "a name of another kind before",
     stream(lambda name: _hello(b"", names=extension(0, vector16(name_entry(C, 1) + name_entry(name))))), READINGS),
    ("null", "Geneva, corrupt name", "a null byte and an allowed name behind it",
     stream(lambda name: _hello(name + b"\0." + C)), READINGS),
    ("null-before", "Geneva, corrupt name", "an allowed name and a null byte before it",
     stream(lambda name: _hello(C + b"\0" + name)), READINGS),
    ("list-longer", "Geneva, corrupt length", "a list that says it is longer",
     stream(lambda name: _hello(b"", names=extension(0, (len(name) + 9).to_bytes(2) + name_entry(name)))), READINGS),
    ("list-trailing", "Geneva, corrupt length", "a byte behind the list",
     stream(lambda name: _hello(b"", names=extension(0, vector16(name_entry(name)) + b"\0"))), READINGS),
    ("last", "zapret, order of extensions", "the name in the last extension",
     stream(lambda name: hello(supported_versions(0x0304), groups_and_signatures(), key_share(), server_name(name))),
     ""),
    ("far", "byedpi; zapret padencap", "the name behind 4,000 bytes of padding",
     stream(lambda name: hello(extension(21, bytes(4000)), supported_versions(0x0304), groups_and_signatures(),
     key_share(), server_name(name))), ""),
    ("very-far", "zapret padencap", "the name behind 15,000 bytes of padding",
     stream(lambda name: hello(extension(21, bytes(15_000)), supported_versions(0x0304), groups_and_signatures(),
     key_share(), server_name(name))), ""),
    ("two-records-long", "RFC 8446 5.1", "40,000 bytes of hello in three records",
     stream(lambda name: hello(extension(0x4141, bytes(40_000)), supported_versions(0x0304), groups_and_signatures(),
     key_share(), server_name(name))), READINGS),
    ("beyond-64-kb", "RFC 8446 5.1", "70,000 bytes of hello",
     stream(lambda name: hello(extension(0x4141, bytes(64_900)), server_name(name), extension(0x4142, bytes(300)))),
     "hellos of more than 64 KB are refused, a limit that is stated"),
    ("grease", "RFC 8701", "reserved extensions around the name",
     stream(lambda name: hello(extension(0x0A0A), server_name(name), extension(0x1A1A, b"\0"),
     supported_versions(0x0A0A, 0x0304), groups_and_signatures(), key_share())), ""),
    ("tls-1-2", "GoodbyeDPI, older clients", "no supported_versions: TLS 1.2",
     stream(lambda name: hello(server_name(name), groups_and_signatures(), extension(23))), ""),
    ("tls-1-0", "Geneva, tamper version", "version 3.1 in the hello",
     stream(lambda name: hello(server_name(name), groups_and_signatures(), version=0x0301)), READINGS),
    ("no-session", "RFC 8446", "an empty session ID", stream(lambda name: hello(server_name(name),
     supported_versions(0x0304), groups_and_signatures(), key_share(), session=b"")), ""),
    ("decoy-ech", "RFC 9849, GREASE", "a decoy of Encrypted ClientHello",
     stream(lambda name: _hello(name, extension(0xFE0D, b"\0" + bytes(200)))), READINGS),
    ("alpn", "browsers", "h2 offered", stream(lambda name: _hello(name, alpn(b"h2", b"http/1.1"))), ""),
    ("alpn-name", "SymTCP, confusion", "an allowed name as a protocol before the real name",
     stream(lambda name: hello(alpn(C, b"http/1.1"), server_name(name), supported_versions(0x0304),
     groups_and_signatures(), key_share())), READINGS),
    ("ticket-name", "SymTCP, confusion", "an allowed server_name inside another extension",
     stream(lambda name: hello(extension(0x4142, server_name(C)), server_name(name), supported_versions(0x0304),
     groups_and_signatures(), key_share())), ""),
    ("port", "RFC 6066 3; nginx cuts it off", "a port behind the name",
     stream(lambda name: _hello(name + b":443")), ""),
    ("dot-and-port", "zapret hostdot", "a dot and a port", stream(lambda name: _hello(name + b".:443")), ""),
    ("space", "parser confusion", "a space behind the name", stream(lambda name: _hello(name + b" ")), READINGS),
    ("early-data", "RFC 8446 4.2.10", "early data offered, and none there",
     stream(lambda name: _hello(name, extension(42))), ""),
    ("padding", "RFC 7685", "300 bytes of padding behind the name",
     stream(lambda name: _hello(name, extension(21, bytes(300)))), ""),
    ("grease-many", "RFC 8701", "sixty reserved extensions before the name",
     stream(lambda name: hello(*(extension(0x4000 + n, b"x" * 9) for n in range(60)), server_name(name),
     supported_versions(0x0304), groups_and_signatures(), key_share())), ""),
    ("below", "list evasion", "a name below the blocked one", stream(lambda name: _hello(b"www.a." + name)), ""),
    ("no-block", "RFC 5246", "bytes behind the extensions", stream(lambda name: message(_hello(name)[4:] + b"\0")),
     READINGS),
    ("compression", "Geneva, tamper hello", "a compression that nobody speaks beside none",
     stream(lambda name: hello(server_name(name), supported_versions(0x0304), groups_and_signatures(), key_share(),
     compression=b"\1\0")), READINGS),
)  # fmt: skip


STRATEGIES = [
    *(
        Strategy(
            f"tls-record.{name}", "tls-record", source, what, Tcp(steps, change=change), over=("tls",), ambiguous=doubt
        )
        for name, source, what, change, steps, doubt in RECORDS
    ),
    *(
        Strategy(f"tls-hello.{name}", "tls-hello", source, what, Tcp(CUT, made), over=("tls",), ambiguous=doubt)
        for name, source, what, made, doubt in HELLOS
    ),
]

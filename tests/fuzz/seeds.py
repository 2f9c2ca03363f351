"""What fuzzing begins with: inputs that the tests' own words make, for each reader. They may be kept (see `captured`)."""

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import dns.edns
import dns.message
import dns.rrset

from tests import hellos, quic, vocabulary
from tests.fuzz import names as lookups
from tests.fuzz.streams import STRETCH_BYTES, build_input
from tests.request.http_grammar import random_stream

ROOT = Path(__file__).parents[2]
HOST = b"www.example.test"
CID = bytes(range(8))
ECH = hellos.vector16(b"\xfe\x0d" + hellos.vector16(bytes(20)) + b"\xfe\x0e" + hellos.vector16(bytes(3)))


FIELDS = (
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", b"Upgrade: h2c",
    b"Content-Length: 5", b"Content-Length: 5\r\nX", b"Content-Length: 5\nX: y", b"Content-Length: 5\r\nUpgrade: x",
    b"Host: a\r\nHost: b\r\nHost: c\r\nHost: d\r\nHost: e", b"Host: " + b"a" * 300, b"Host: [::1]:80", b"Host: a\r\n b",
)  # fmt: skip
LINES = (
    b"GET / HTTP/1.1",
    b"POST http://a.test:80/ HTTP/1.0",
    b"CONNECT a.test:443 HTTP/1.1",
    b"GET / HTTP/1.10",
    b"GET  /",
)


def make_http() -> Iterator[bytes]:
    for line in LINES:
        yield build_input(line, 1)
        for one in FIELDS:
            yield build_input(line + b"\r\n" + one + b"\r\n\r\n", 0, 200)
    for seed in range(150):
        yield build_input(random_stream(seed), seed & 1, seed * 37 & 255)


def make_chunks() -> Iterator[bytes]:
    for stream in (
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"0\r\nX: y\r\n\r\n",
        b"a;x=y\r\n",
        b"1F\r\n",
        b"0\r\nHost: a\r\n\r\n",
    ):
        yield build_input(stream, 1)
        yield build_input(b"\r\n" + stream, 0)


def make_responses() -> Iterator[bytes]:
    for first in (
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 100 Continue",
        b"HTTP/1.0 304 ",
        b"HTTP/1.1 101 Switching",
        b"RTSP/1.0 200 OK",
    ):
        for fields in (b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b""):
            yield build_input(first + b"\r\n" + fields + b"\r\n", len(fields) & 1)
    yield build_input(b"HTTP/1.1 200 OK\nContent-length:\t12 \nX: y\n\n", 0)


def make_messages() -> list[bytes]:
    """Hellos, as messages."""
    extensions = [
        hellos.alpn(b"h2", b"http/1.1"), hellos.extension(42), hellos.extension(41, bytes(40)),
        hellos.extension(0xFE0D, bytes(40)), hellos.supported_versions(0x0302), hellos.extension(0),
    ]  # fmt: skip
    made = [hellos.plain_hello(HOST, one) for one in extensions]
    made += [hellos.hello(hellos.server_name(*those)) for those in ((HOST + b".",), (HOST, b"a.test"), (), (b"",))]
    made += [hellos.hello(version=version, block=block) for version in (0x0301, 0x0303) for block in (True, False)]
    return [*made, hellos.plain_hello(HOST), hellos.post_quantum_hello(HOST)]


def make_tls() -> Iterator[bytes]:
    for message in make_messages():
        yield build_input(hellos.records(message))
        yield build_input(hellos.records(message, (1, 3, 40, 90), 0x0303), 0, 77)
    for before in (b"\1\x5a", b"\1\0"):
        yield build_input(hellos.record(before, hellos.ALERT) * 40)
        yield build_input(hellos.record(before, hellos.ALERT) * 2 + hellos.records(hellos.plain_hello(HOST)))
    yield build_input(
        hellos.record(b"\1", hellos.CHANGE_CIPHER_SPEC) + hellos.record(bytes(50), hellos.APPLICATION_DATA)
    )


def make_limits() -> Iterator[bytes]:
    lines = (
        b"GET / HTTP/1.1\r\nX: a",
        b"GET / HTTP/1.1\r\nHost: a",
        b"GET /a",
        b"GET",
        b"G(T /",
        b"GET / HTTP/1.1\r\na",
    )
    for stream in lines:
        yield build_input(stream, 0x80, 255)
        yield build_input(stream + b"\r\n\r\n", 0x81, 200)
    for stream in (b"5;x", b"0\r\nX: y", b"0\r\nX: y\r\n\r\n"):
        yield build_input(stream, 0x42, 255)
    for size in (STRETCH_BYTES, 60_000):  # a hello that is too long, and one that ends before the record does
        yield build_input(b"\x16\3\1\x40\0\1" + size.to_bytes(3) + b"\3\3" + bytes(20), 0, 255)
    yield build_input(hellos.record(b"\1\0", hellos.ALERT) + b"\x15", 0, 255)


def make_hellos() -> Iterator[bytes]:
    for message in make_messages():
        yield message[4:]


def make_queries() -> Iterator[bytes]:
    for kind in ("A", "AAAA", "HTTPS", "ANY", "TXT"):
        for edns in (-1, 0):
            message = dns.message.make_query("www.example.test.", kind, use_edns=edns, want_dnssec=kind == "A", id=7)
            yield message.to_wire()
    asked = dns.message.make_query("a.test.", "A", id=9)
    cookie = dns.edns.CookieOption(bytes(8), b"")
    asked.use_edns(
        0,
        options=[
            cookie,
            *(dns.edns.GenericOption(dns.edns.OptionType(code), data) for code, data in ((26, b""), (15, b"\0\0"))),
        ],
    )
    yield asked.to_wire()
    yield bytes.fromhex("000901000002000000000000016104746573740000010001c00c00010001")
    yield bytes.fromhex("00090100000100000000000000000100010102")
    yield bytes.fromhex("00092000000100000000000003612e62000001000100")


def make_answers() -> Iterator[bytes]:
    rows = [
        ("A", "192.0.2.1"), ("AAAA", "2001:db8::1"), ("CNAME", "b.example.test."), ("MX", "10 m.example.test."),
        ("SOA", "a.test. b.test. 1 2 3 4 5"), ("SRV", "1 2 3 s.example.test."), ("NS", "n.example.test."),
        ("TXT", '"a"'), ("HTTPS", "1 . alpn=h2"),
    ]  # fmt: skip
    ech = hellos.extension(5, ECH)
    for parameters in (ech, b"\0\0\0\4\0\1\0\5\0\1\0\3\2h2" + ech, b"\0\0\0\2\0\5" + ech, b"\0\3\0\2\1\xbb"):
        data = b"\0\1\0" + parameters
        message = dns.message.make_response(dns.message.make_query("www.example.test.", "HTTPS", id=5))
        https = dns.rrset.from_text("www.example.test.", 60, "IN", "HTTPS", rf"\# {len(data)} {data.hex()}")
        message.answer.append(https)
        for kind, text in rows:
            message.additional.append(dns.rrset.from_text("www.example.test.", 60, "IN", kind, text))
        yield message.to_wire()
    for kind, text in rows:
        message = dns.message.make_response(dns.message.make_query("www.example.test.", kind, id=5))
        message.answer.append(dns.rrset.from_text("www.example.test.", 60, "IN", kind, text))
        yield message.to_wire()


def make_datagrams() -> Iterator[bytes]:
    for version in (quic.V1, quic.V2, 0xFF00001D, 0):
        for kind in (quic.INITIAL, quic.ZERO_RTT, quic.HANDSHAKE, quic.RETRY):
            first = quic.long_packet(kind, CID, bytes(40), scid=b"s", version=version, token=b"t" * (kind == 0))
            yield first
            yield first + quic.long_packet(quic.HANDSHAKE, CID, bytes(20), version=version) + b"\x40" + bytes(20)
    yield quic.initial(CID, quic.crypto(0, hellos.plain_hello(HOST)))
    yield quic.long_packet(quic.INITIAL, CID, bytes(1200), scid=b"s", version=0x51303530)


def make_frames() -> Iterator[bytes]:
    hello = hellos.plain_hello(HOST)
    yield quic.crypto(0, hello) + bytes(20)
    yield quic.PING + quic.crypto(60, hello[60:]) + quic.crypto(0, hello[:60]) + quic.CLOSE
    yield quic.ACK_FRAME + quic.crypto(0, hello[:30]) + quic.crypto(20, hello[20:])
    yield quic.crypto(0, b"ab") + quic.crypto(1, b"bc") + quic.crypto(1, b"x")
    yield b"\3\1\2\0\3\1\1\1" + b"\x40\6" + quic.varint(5, 4) + quic.varint(2, 2) + b"ab" + b"\x1c\1\2\3abc"


def make_crypto() -> Iterator[bytes]:
    random = Random(7)
    for _ in range(20):
        yield random.randbytes(40)


def make_initials() -> Iterator[bytes]:
    for flags in range(0, 32, 3):
        yield bytes([flags, 8, 5 * flags]) + CID + quic.crypto(0, b"hello") + bytes(8 * flags)


def make_packets() -> Iterator[bytes]:
    flow_kinds = (vocabulary.FLOW4, vocabulary.FLOW6, vocabulary.FLOW4._replace(tags=((0x8100, 7), (0x88A8, 9))))
    for flow in flow_kinds:
        for to_server in (True, False):
            side = b"\xff" if to_server else b"\0"
            yield side + vocabulary.frame(flow, to_server, seq=1, data=b"GET / HTTP/1.1\r\n")
            yield side + quic.datagram(flow, bytes(20), to_server)
    ends = vocabulary.packed(vocabulary.FLOW6.client), vocabulary.packed(vocabulary.FLOW6.server)
    for following, more in ((0, b"\x3c\0\1\4\0\0\0\0\x11\0\1\4\0\0\0\0"),
                            (44, b"\x11\0\0\0\0\0\0\1"), (44, b"\6\0\0\1\0\0\0\1"),
                            (51, b"\x11\4" + bytes(22)), (43, b"\x06\0\2\0\0\0\0\0")):  # fmt: skip
        content = more + quic.udp(*ends, 4000, 443, b"hello")
        yield b"\xff" + vocabulary.ethernet(True, True) + vocabulary.ipv6(*ends, following, len(content)) + content
    yield b"\xff" + vocabulary.ethernet(True, False, ((0x8100, 0),) * 3) + bytes(60)


def make_options() -> Iterator[bytes]:
    some = (vocabulary.MSS, vocabulary.MPTCP_CAPABLE, vocabulary.FAST_OPEN, vocabulary.FAST_OPEN_EXPERIMENT,
            vocabulary.MD5 + b"\1\1", vocabulary.timestamps(1, 2),
            b"\2\4\5\xb4\4\2\x08\x0a" + bytes(8) + b"\1\3\3\7")  # fmt: skip
    yield from some
    yield b"".join(some[:4])
    yield b"\1" + vocabulary.MPTCP_CAPABLE + b"\0\0\0" + vocabulary.FAST_OPEN


def make_hosts() -> Iterator[bytes]:
    for name in (entry.name for _, entry in lookups.NAMES):
        yield name
        yield b"www." + name.upper() + b".."
    yield b"a." * 140 + b"bad.example"


def make_captures() -> Iterator[bytes]:
    frame = vocabulary.frame(vocabulary.FLOW4, True, seq=1, data=b"GET /")
    for order, magic in (("<", 0xA1B2C3D4), (">", 0xA1B23C4D)):
        yield struct.pack(order + "IHH4I4I", magic, 2, 4, 0, 0, 65535, 1, 1, 2, len(frame), len(frame)) + frame

    def block(kind: int, body: bytes) -> bytes:
        size = (12 + len(body)).to_bytes(4, "little")
        return kind.to_bytes(4, "little") + size + body + size

    padded = frame.ljust(-(-len(frame) // 4) * 4, b"\0")
    sizes = len(frame).to_bytes(4, "little") * 2
    yield (
        block(0x0A0D0D0A, b"\x4d\x3c\x2b\x1a\1\0\0\0" + b"\xff" * 8)
        + block(1, b"\1\0\0\0\0\0\4\0" + b"\x09\0\1\0\x09\0\0\0" + b"\x0e\0\x08\0" + bytes(8) + bytes(4))
        + block(6, bytes(4) + b"\1\0\0\0\2\0\0\0" + sizes + padded)
        + block(3, len(frame).to_bytes(4, "little") + padded)
        + block(2, bytes(4) + b"\1\0\0\0\2\0\0\0" + sizes + padded)
    )


def make_configurations() -> Iterator[bytes]:
    whole = (ROOT / "examples" / "inline.yaml").read_text()
    bare = [line for line in whole.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    yield "\n".join(bare).encode()
    starts = [at for at, line in enumerate(bare) if line[0] not in " -"]
    for start, end in zip(starts, [*starts[1:], len(bare)], strict=True):
        yield "\n".join(bare[start:end]).encode()
    yield b"a: &x {b: 1}\nc: {<<: *x, b: 2}\n? [q]\n: 1\n"
    yield b"ports: [80, 8000-8100]\nworkers: !!int x\nflows: {capacity: 3000}\n"


def make_lists() -> Iterator[bytes]:
    yield b"# comment\nbad.example\n*.test\n.a.example\nBAD.example.\n0.0.0.0 a.example b.example # x\n::1 localhost\n"
    yield "bücher.example\n||a.example^\n[2001:db8::1]\n127.0.0.1\n1.2.3.4 a.b\n".encode()
    yield b"@@||a.example^\n||*.b.example^$important\n://c.example^\n||d.example/p/*\nhttp://e.example/\nf\\.example\n"
    yield b"\xef\xbb\xbfa.example\r\nx_y.example\n-a.example\n!c\n" + b"a" * 70 + b".b\n"


def make_urls() -> Iterator[bytes]:
    for host in (b"bad.example", b"www.bad.example.", b"16909060", b"0x1.2.03.4", b"b%61d.example", b"bad.example xy"):
        for target in (b"/a/b?c", b"/good/x", b"/?x", b"//a/../%2561#f", b"http://h/a", b"*", b"/%zz%2"):
            yield host + b"\n" + target


MAKERS: dict[str, Callable[[], Iterator[bytes]]] = {
    "http": make_http, "chunked": make_chunks, "response": make_responses, "tls": make_tls, "hello": make_hellos,
    "limits": make_limits,
    "dns": make_queries, "dns_answer": make_answers, "quic": make_datagrams, "frames": make_frames,
    "crypto": make_crypto, "initial": make_initials, "headers": make_packets, "options": make_options,
    "names": make_hosts, "urls": make_urls,
    "pcap": make_captures, "configuration": make_configurations, "lists": make_lists,
}  # fmt: skip

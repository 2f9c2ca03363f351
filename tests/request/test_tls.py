"""The TLS reader: any cut of a hello gives the same name, whatever the records; nothing else is taken for one."""

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from shutil import which
from subprocess import run
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import NoPayload, Raw

from penstock.compile.memory import CHECKED
from penstock.compile.native import kernel
from penstock.line.pcap import read_frames, to_ethernet
from penstock.request import hello as inside
from penstock.request import tls
from penstock.request.status import BAD, COMPLETE, NEED_MORE, NOT_MINE
from tests.corpus import CORPUS
from tests.hellos import (
    ALERT,
    APPLICATION_DATA,
    CHANGE_CIPHER_SPEC,
    alpn,
    extension,
    hello,
    message,
    names,
    odd_streams,
    openssl_flights,
    places,
    plain_hello,
    post_quantum_hello,
    record,
    records,
    server_name,
)
from tests.request.tls_reader import Read, Reader, lent, read

read_flight = kernel(tls.read_flight)
compiled = settings(deadline=None)  # the first example pays for the compilation

NAME = b"www.example.test"


@kernel
def feed_bytes(p, end, state, scratch):  # type: ignore[no-untyped-def]
    """The stream byte by byte, without Python between the calls."""
    status, at = NEED_MORE, p
    while at < end and status == NEED_MORE:
        at += 1
        status = tls.read_hello(p, at, state, scratch)
    return status


# ---- any cut gives the same name -------------------------------------------------------------------------------------
@compiled
@given(
    name=names, record_places=places, segment_places=places, version=st.sampled_from([0x0301, 0x0303, 0x0300, 0x03FF])
)
def test_any_cut_into_records_and_segments(
    name: bytes, record_places: list[int], segment_places: list[int], version: int
) -> None:
    stream = records(plain_hello(name, alpn(b"h2")), record_places, version)
    result = read(stream, segment_places)
    flags = tls.HAS_SNI | tls.HAS_ALPN | tls.HAS_VERSIONS
    versions = tls.VERSION_1_2 | tls.VERSION_1_3
    assert result == Read(COMPLETE, 0, name, b"\2h2", versions, flags, version, len(stream))


@pytest.mark.parametrize("message_", [plain_hello(NAME), post_quantum_hello(NAME)], ids=["plain", "post-quantum"])
def test_one_byte_per_record_and_per_segment(message_: bytes) -> None:
    stream = records(message_, range(len(message_)))
    assert len(stream) == 6 * len(message_)
    assert read(stream, range(len(stream))).host == NAME


def test_every_cut_into_two_segments_and_two_records() -> None:
    whole = post_quantum_hello(NAME)
    expected = read(records(whole))
    assert expected.flags == tls.HAS_SNI | tls.HAS_ECH | tls.HAS_ALPN | tls.HAS_VERSIONS
    for place in range(1, len(whole)):
        assert read(records(whole), [place]) == expected
        assert read(records(whole, [place]))[:6] == expected[:6]


def test_no_prefix_of_a_hello_says_anything() -> None:
    stream = records(plain_hello(), [1, 3, 60])
    for size in range(len(stream)):
        assert read(stream[:size]).status == NEED_MORE


@compiled
@given(st.data())
def test_any_bytes_in_any_cut(data: st.DataObject) -> None:
    """Whatever the bytes are: no access outside, and the same answer in one piece and in many."""
    stream = data.draw(odd_streams() | st.binary(max_size=80).map(lambda tail: b"\x16\x03\x01" + tail) | st.binary())
    whole, pieces = read(stream), read(stream, data.draw(places))
    assert whole.status in (NEED_MORE, COMPLETE, NOT_MINE, BAD)
    assert (pieces.status, pieces.host, pieces.hello_end) == (whole.status, whole.host, whole.hello_end)


# ---- what is read, refused and left alone ----------------------------------------------------------------------------
@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(records(plain_hello(), version=0x0300), id="SSL 3.0 in the record"),
        pytest.param(records(plain_hello(), version=0x0F00), id="a version that Go takes"),
        pytest.param(records(plain_hello(), [5], version=0xFFFF), id="a version that Java takes"),
        pytest.param(record(b"\1\x5a", ALERT) + records(plain_hello()), id="a warning first"),
        pytest.param(record(b"\1", CHANGE_CIPHER_SPEC) * 2 + records(plain_hello()), id="change_cipher_spec first"),
        pytest.param(records(plain_hello()) + record(b"x", APPLICATION_DATA), id="early data behind it"),
    ],
)
def test_tolerated(stream: bytes) -> None:
    for segments in ([], range(len(stream))):
        result = read(stream, segments)
        assert (result.status, result.host) == (COMPLETE, NAME)


@pytest.mark.parametrize(
    ("detail", "stream"),
    [
        pytest.param(inside.BAD_RECORD_LENGTH, record(b""), id="empty record"),
        pytest.param(inside.BAD_RECORD_LENGTH, b"\x16\x03\x01\x41\x01\x01", id="too long a record"),
        pytest.param(inside.BAD_RECORD_LENGTH, b"\x16\x03\x01\xff\xff\x01", id="the longest record"),
        pytest.param(inside.BAD_RECORD_LENGTH, records(plain_hello()[:50]) + record(b""), id="empty record inside"),
        pytest.param(inside.BAD_RECORD_TYPE, records(plain_hello()[:50]) + record(b"\1\x5a", ALERT), id="alert inside"),
        pytest.param(
            inside.BAD_RECORD_TYPE,
            records(plain_hello()[:1]) + record(b"\1", CHANGE_CIPHER_SPEC),
            id="change_cipher_spec inside",
        ),
        pytest.param(inside.BAD_HELLO_LENGTH, records(message(bytes(65_537))), id="65,537 bytes"),
        pytest.param(
            inside.BAD_HELLO_LENGTH,
            records(message(bytes(65_537))[:100], [1, 2, 3]),
            id="65,537 bytes, the length in pieces",
        ),
        pytest.param(inside.BAD_COALESCED, record(plain_hello() + b"\x0b"), id="a byte behind the hello"),
        pytest.param(
            inside.BAD_COALESCED,
            records(plain_hello()[:9]) + record(plain_hello()[9:] * 2),
            id="half a hello behind the hello",
        ),
        pytest.param(inside.BAD_LEADING, record(b"\1\x5a", ALERT) * 33, id="33 alerts first"),
    ],
)
def test_refused(detail: int, stream: bytes) -> None:
    for segments in ([], range(len(stream))) if len(stream) < 2000 else ([],):
        assert read(stream, segments) == Read(BAD, detail)


@pytest.mark.parametrize(
    ("stream", "certain_after"),
    [
        (b"GET / HTTP/1.1\r\n", 1),
        (b"SSH-2.0-OpenSSH\r\n", 1),
        (b"\x80\x2e\1\3\1\0\x15\0\0\0\x10", 1),  # an SSLv2-format hello
        (b"\x17\3\3\0\x20" + bytes(32), 1),
        (b"\x16\3\1\0\x04\x02\0\0\0", 6),
        (b"\x16\3\1\0\x04\x10\0\0\0", 6),
        (b"\x16\3\x7f\xd1\xc4\x77\0\0\0", 6),  # random bytes in mid-stream
        (b"\x16\xfe\xff\0\0\0\0\0\0\0\0", 5),  # DTLS
        (b"\x16\0\0\0\2\1", 9),
        (b"\x16\0\0\0\x21\1\xff\0\0", 9),
        (b"\x15\0\0\0\x21", 5),
        (b"\x15\3\1\0\2\1\0GET /", 8),
        (b"\x14\3\3\0\1\1\x16\3\3\0\x28\0\0\0\0", 12),
    ],
)
def test_left_alone_as_early_as_certain(stream: bytes, certain_after: int) -> None:
    for size in range(len(stream) + 1):
        expected = NOT_MINE if size >= certain_after else NEED_MORE
        assert read(stream[:size]).status == expected


# ---- bounds ----------------------------------------------------------------------------------------------------------
def padded_hello(body_bytes: int) -> bytes:
    """A hello whose body has this length."""
    short = hello(server_name(NAME), extension(21))
    return hello(server_name(NAME), extension(21, bytes(body_bytes - len(short) + 4)))


@pytest.mark.parametrize("piece_bytes", [1, 7, 16_384])
def test_the_longest_hello(piece_bytes: int) -> None:
    whole = padded_hello(tls.HELLO_LIMIT)
    assert len(whole) == tls.SCRATCH_BYTES
    assert read(records(whole, range(0, len(whole), piece_bytes))).host == NAME


def test_work_is_linear() -> None:
    """393,240 bytes in as many calls, a hello byte per record: minutes if each call began anew."""
    stream = np.frombuffer(records(padded_hello(tls.HELLO_LIMIT), range(tls.SCRATCH_BYTES)), np.uint8).copy()
    reader = Reader()
    p, state, scratch = stream.ctypes.data, reader.state.ctypes.data, reader.scratch.ctypes.data
    with lent(stream, reader.state, reader.scratch):
        assert feed_bytes(p, p, state, scratch) == NEED_MORE  # compiles
        start = time.perf_counter()
        assert feed_bytes(p, p + len(stream), state, scratch) == COMPLETE
    assert time.perf_counter() - start < (30 if CHECKED else 1)


def test_asking_again_gives_the_same() -> None:
    for stream in (records(plain_hello()), records(plain_hello(), [50])):
        reader = Reader()
        first = reader.see(stream)
        assert reader.see(stream + b"more") == first
        assert reader.see(stream[:-1]).status == NEED_MORE
    reader = Reader()
    assert reader.see(record(b"")) == reader.see(records(plain_hello())) == Read(BAD, inside.BAD_RECORD_LENGTH)


def test_bytes_that_change_under_the_reader() -> None:
    stream = records(plain_hello(), [50, 100])
    reader = Reader()
    assert reader.see(stream[:-1]).status == NEED_MORE
    assert reader.see(b"\x16\3\1\x40\0" + stream[5:]) == Read(BAD, inside.BAD_CHANGED)


# ---- the second flight -----------------------------------------------------------------------------------------------
class Flight(NamedTuple):
    status: int
    kind: int = 0
    end: int = 0
    is_hello: bool = False


def see_flight(stream: bytes) -> Flight:
    room, state = np.frombuffer(stream + b"\xaa", np.uint8).copy()[:-1], np.zeros(tls.STATE_BYTES // 8, np.int64)
    with lent(room, state):
        status = read_flight(room.ctypes.data, room.ctypes.data + len(stream), state.ctypes.data)
    kind, end, flags = (int(state[offset // 8]) for offset in (tls.RECORD_TYPE, tls.RECORD_END, tls.FLAGS))
    assert (int(state[tls.STATUS_DETAIL // 8]) != 0) == (status == BAD)
    return Flight(status, kind, end, bool(flags & tls.IS_HELLO))


def test_second_hello_after_a_retry_request() -> None:
    first, second = openssl_flights("www.example.test", retry=True)
    assert read(first).host == NAME
    assert see_flight(second) == Flight(COMPLETE, CHANGE_CIPHER_SPEC, 6)
    assert see_flight(second[6:]) == Flight(COMPLETE, 22, len(second) - 6, True)
    assert read(second[6:]).host == NAME
    assert read(second).host == NAME


@pytest.mark.parametrize(
    ("stream", "needed_bytes", "expected"),
    [
        pytest.param(records(plain_hello()), 9, Flight(COMPLETE, 22, 192, True), id="hello in one record"),
        pytest.param(records(plain_hello(), [1]), 6, Flight(COMPLETE, 22, 6, True), id="hello in records of a byte"),
        pytest.param(record(b"\x10\0\0\x21" + bytes(33)), 6, Flight(COMPLETE, 22, 42), id="ClientKeyExchange"),
        pytest.param(record(b"\1\x9d\x33\xf0" + bytes(36)), 9, Flight(COMPLETE, 22, 45), id="encrypted Finished"),
        pytest.param(record(b"\1\0\0\3" + bytes(36)), 9, Flight(COMPLETE, 22, 45), id="too short for a hello"),
        pytest.param(record(b"\1", CHANGE_CIPHER_SPEC), 5, Flight(COMPLETE, 20, 6), id="change_cipher_spec"),
        pytest.param(record(bytes(18_432), APPLICATION_DATA), 5, Flight(COMPLETE, 23, 18_437), id="longest record"),
        pytest.param(record(b"", APPLICATION_DATA), 5, Flight(COMPLETE, 23, 5), id="empty record"),
        pytest.param(record(bytes(18_433), APPLICATION_DATA), 5, Flight(BAD), id="longer than the longest"),
        pytest.param(record(b""), 5, Flight(BAD), id="empty handshake record"),
        pytest.param(record(b"x", 20, 0x0203), 5, Flight(BAD), id="another major version"),
        pytest.param(b"GET / HTTP/1.1", 1, Flight(BAD), id="no TLS"),
        pytest.param(b"\x19\3\3\0\1\0", 1, Flight(BAD), id="unknown type"),
    ],
)
def test_flight(stream: bytes, needed_bytes: int, expected: Flight) -> None:
    for size in [*range(min(len(stream), 12)), len(stream)]:
        assert see_flight(stream[:size]) == (expected if size >= needed_bytes else Flight(NEED_MORE))


@compiled
@given(st.binary(max_size=12) | st.binary(max_size=9).map(lambda tail: b"\x16\x03\x03" + tail))
def test_flight_of_any_bytes(stream: bytes) -> None:
    assert see_flight(stream).status in (NEED_MORE, COMPLETE, BAD)


# ---- the corpus ------------------------------------------------------------------------------------------------------
corpus = pytest.mark.skipif(CORPUS is None, reason="the corpus is not there")
FAKES = {
    "gosuslugi_ru": "bot.gosuslugi.ru",
    "iana_org": "iana.org",
    "rutracker_org_kyber": "rutracker.org",
    "sberbank_ru": "online.sberbank.ru",
    "vk_com": "vk.com",
    "vk_com_kyber": "vk.com",
    "www_google_com": "www.google.com",
}


@corpus
@pytest.mark.parametrize(("file", "name"), FAKES.items())
def test_decoys_of_the_corpus(file: str, name: str) -> None:
    stream = (CORPUS / f"zapret-fakes/tls_clienthello_{file}.bin").read_bytes()
    expected = read(stream)
    assert (expected.status, expected.host.decode()) == (COMPLETE, name)
    for place in range(1, len(stream)):
        assert read(stream, [place]) == expected
    one_byte_each = records(stream[5:], range(len(stream)))
    assert read(one_byte_each, range(0, len(one_byte_each), 100)).host.decode() == name


@corpus
def test_other_files_of_the_corpus() -> None:
    for path in sorted((CORPUS / "zapret-fakes").glob("*.bin")):
        if "tls_clienthello" not in path.name:
            assert read(path.read_bytes()).status == NOT_MINE, path.name
    for path in sorted((CORPUS / "tls").glob("*.bin")):
        content = path.read_bytes()
        expected = COMPLETE if content[0] == 1 else NOT_MINE
        assert read(records(content, [7, 100])).status == expected, path.name


def read_client_streams(path: Path) -> Iterator[bytes]:
    """What the clients of a capture sent, of connections whose SYN is there; up to the first gap."""
    streams: dict[tuple[str, int, str, int], tuple[int, dict[int, bytes]]] = {}
    for frame in read_frames(path):
        ethernet = to_ethernet(frame)
        packet = Ether(ethernet) if ethernet else NoPayload()
        address = packet.getlayer(IP) or packet.getlayer(IPv6)
        if address is None or (segment := packet.getlayer(TCP)) is None:
            continue
        key = address.src, segment.sport, address.dst, segment.dport
        if segment.flags.S and not segment.flags.A:
            streams[key] = segment.seq + 1, {}
        elif key in streams and isinstance(segment.payload, Raw):
            first, parts = streams[key]
            parts.setdefault((segment.seq - first) % 2**32, bytes(segment.payload))
    for _, parts in streams.values():
        stream = bytearray()
        while len(stream) in parts:
            stream += parts[len(stream)]
        yield bytes(stream)


@corpus
@pytest.mark.skipif(None in (which("tshark"), which("mergecap")), reason="tshark and mergecap are not installed")
def test_captures_of_the_corpus_against_tshark() -> None:
    """TShark sees no name that we do not see; we see one more, on a port that it takes for HTTP."""
    assert CORPUS is not None
    paths = sorted((CORPUS / "zeek/tls").glob("*.pcap"))
    streams = (stream for path in paths for stream in read_client_streams(path))
    ours = Counter(result.host.decode() for stream in streams if (result := read(stream)).host)
    merged = run(["mergecap", "-a", "-w", "-", *paths], capture_output=True, check=True).stdout
    command = ["tshark", "-n", "-r", "-", "-Y", "tcp && tls.handshake.extensions_server_name", "-T", "fields"]
    output = run([*command, "-e", "tls.handshake.extensions_server_name"], input=merged, capture_output=True).stdout
    theirs = Counter(output.decode().split())
    assert theirs - ours == Counter()
    assert ours - theirs <= Counter({"vk.com": 1})
    assert theirs.total() >= 20

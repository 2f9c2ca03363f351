"""Captures: what was written is read, whatever the form; what is damaged says where; who is the client."""

import gzip
import re
from collections.abc import Callable
from pathlib import Path
from shutil import which
from struct import pack
from subprocess import run

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.line import pcap
from penstock.line.pcap import CaptureError, Directions, Frame, read_frames, to_ethernet
from tests.corpus import CORPUS

frames = st.lists(
    st.builds(
        Frame,
        time_ns=st.integers(0, 2**32 * 10**9 - 1).map(lambda time_ns: time_ns // 1000 * 1000),
        link=st.just(1),
        wire_bytes=st.integers(0, 2**32 - 1),
        bytes=st.binary(max_size=60),
    ),
    max_size=5,
)
FRAME = Frame(1_700_000_000_123_456_000, 1, 60, b"some frame")


def pcap_file(content: list[Frame], order: str = "<", unit_ns: int = 1000, link: int = 1) -> bytes:
    file = pack(order + "IHHiIII", 0xA1B2C3D4 if unit_ns == 1000 else 0xA1B23C4D, 2, 4, 0, 0, 65_535, link)
    for frame in content:
        seconds, rest_ns = divmod(frame.time_ns, 10**9)
        file += pack(order + "IIII", seconds, rest_ns // unit_ns, len(frame.bytes), frame.wire_bytes) + frame.bytes
    return file


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    size = 12 + len(body) + -len(body) % 4
    return pack(order + "II", kind, size) + body + bytes(-len(body) % 4) + pack(order + "I", size)


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(order: str = "<", link: int = 1, snap_bytes: int = 0, options: bytes = b"") -> bytes:
    return block(1, pack(order + "HHI", link, 0, snap_bytes) + options, order)


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def packet(frame: Frame, order: str = "<", number: int = 0, ticks: int | None = None) -> bytes:
    ticks = frame.time_ns // 1000 if ticks is None else ticks
    fixed = pack(order + "IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(frame.bytes), frame.wire_bytes)
    return block(6, fixed + frame.bytes, order)


def pcapng_file(content: list[Frame], order: str = "<") -> bytes:
    return section(order) + interface(order) + b"".join(packet(frame, order) for frame in content)


Forms = dict[str, Callable[[list[Frame]], bytes]]
FORMS: Forms = {
    "pcap": pcap_file,
    "pcap of the other byte order": lambda content: pcap_file(content, ">"),
    "pcap in nanoseconds": lambda content: pcap_file(content, unit_ns=1),
    "pcap in nanoseconds of the other byte order": lambda content: pcap_file(content, ">", 1),
    "pcapng": pcapng_file,
    "pcapng of the other byte order": lambda content: pcapng_file(content, ">"),
}


def read_bytes(content: bytes, directory: Path) -> tuple[list[Frame], str]:
    """The frames, and what the error says, without the file's name."""
    path = directory / "file"
    path.write_bytes(content)
    found, message = [], ""
    try:
        for frame in read_frames(path):
            found.append(frame)
    except CaptureError as error:
        message = str(error)
    assert not message or message.startswith(f"{path}: ")
    return found, message.removeprefix(f"{path}: ")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("captures")


# ---- reading -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@settings(max_examples=25)
@given(content=frames, compressed=st.booleans())
def test_what_was_written_is_read(
    form: Callable[[list[Frame]], bytes], content: list[Frame], compressed: bool, place: Path
) -> None:
    file = form(content)
    assert read_bytes(gzip.compress(file, mtime=0) if compressed else file, place) == (content, "")


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_file_cut_at_any_byte_gives_the_frames_before(form: Callable[[list[Frame]], bytes], place: Path) -> None:
    file, ends = form([FRAME, FRAME]), [len(form([FRAME] * count)) for count in range(3)]
    for size in range(len(file)):
        found, error = read_bytes(file[:size], place)
        assert found == [FRAME] * sum(size >= end for end in ends[1:])
        assert bool(error) == (size not in ends and not (size == len(section()) and file[0] == 0x0A)), size


@given(st.binary(max_size=300), st.sampled_from(sorted(FORMS)), st.integers(0, 200))
def test_any_damage_is_a_capture_error(place: Path, damage: bytes, form: str, at: int) -> None:
    file = FORMS[form]([FRAME, FRAME])
    read_bytes(file[:at] + damage + file[at + len(damage) :], place)


def test_gzip_that_breaks_off_or_is_damaged(place: Path) -> None:
    file = pcap_file([Frame(0, 1, index, index.to_bytes(4) * 10) for index in range(5000)])
    packed = gzip.compress(file, mtime=0)
    assert len(read_bytes(packed, place)[0]) == 5000
    found, error = read_bytes(packed[: len(packed) // 2], place)
    assert 1000 < len(found) < 5000
    assert error.endswith("the gzip data breaks off")
    found, error = read_bytes(packed[:-4], place)
    assert (len(found), error) == (5000, f"byte {len(file)}: the gzip data breaks off")
    found, error = read_bytes(packed[:-8] + bytes(8), place)
    assert 5000 - pcap.CHUNK_BYTES // len(pcap_file([found[0]])[24:]) <= len(found) <= 5000
    assert "the gzip data is damaged" in error
    found, error = read_bytes(packed + b"tail", place)
    assert len(found) == 5000
    assert "damaged" in error or "breaks off" in error


def test_gzip_of_several_members_and_filled_with_zeros(place: Path) -> None:
    file = pcap_file([FRAME, FRAME])
    packed = gzip.compress(file[:50], mtime=0) + gzip.compress(file[50:]) + bytes(512)
    assert read_bytes(packed, place) == ([FRAME, FRAME], "")


def test_a_gzip_file_that_expands_a_thousandfold_is_read_in_pieces(place: Path) -> None:
    (place / "zeros").write_bytes(gzip.compress(bytes(30_000_000), mtime=0))
    with (place / "zeros").open("rb") as file:
        content = pcap.Content("", file)
        for _ in range(100):
            assert len(content.read(100_000)) == 100_000
            assert len(content._have) <= 2 * pcap.CHUNK_BYTES


def test_interfaces_with_clocks_and_links_of_their_own(place: Path) -> None:
    options = {
        "milliseconds": option(9, b"\3"),
        "binary": option(9, bytes([0x80 | 10])),
        "late": option(2, b"eth0") + option(9, b"\x09") + option(14, pack("<q", 100)) + option(0, b""),
    }
    file = section() + b"".join(interface(link=link, options=each) for link, each in enumerate(options.values()))
    file += packet(FRAME, number=0, ticks=1500) + packet(FRAME, number=1, ticks=1536) + packet(FRAME, number=2, ticks=7)
    found, error = read_bytes(file, place)
    assert error == ""
    assert [(frame.link, frame.time_ns) for frame in found] == [
        (0, 1_500_000_000),
        (1, 1_500_000_000),
        (2, 100 * 10**9 + 7),
    ]


def test_blocks_of_other_kinds_and_a_second_section(place: Path) -> None:
    old = pack(">HHIIII", 0, 0xFFFF, FRAME.time_ns // 1000 >> 32, FRAME.time_ns // 1000 & 0xFFFFFFFF, 10, 60)
    file = section() + interface(snap_bytes=4) + block(5, b"statistics!!") + packet(FRAME)
    file += block(3, pack("<I", 10) + FRAME.bytes[:4])  # a simple packet, cut at the interface's limit
    file += section(">") + interface(">", link=101) + block(2, old + FRAME.bytes, ">") + block(0x0BAD, b"", ">")
    assert read_bytes(file, place) == ([FRAME, Frame(FRAME.time_ns, 1, 10, b"some"), FRAME._replace(link=101)], "")


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", "byte 0: neither pcap nor pcapng"),
        (b"GIF89a", "byte 0: neither pcap nor pcapng"),
        (gzip.compress(b"no capture", mtime=0), "byte 0: neither pcap nor pcapng"),
        (b"\x1f\x8b\x08\x00rest of nothing", "byte 0: the gzip data is damaged"),
        (pcap_file([])[:10], "byte 4: the file ends inside the file header"),
        (pcap_file([FRAME]) + b"x", "byte 50: the file ends inside a record header"),
        (pcap_file([FRAME])[:-1], "byte 40: the file ends inside a record"),
        (pcap_file([]) + pack("<IIII", 0, 0, 262_145, 0), "byte 24: a record of 262145 bytes"),
        (pcapng_file([FRAME])[:-1], "byte 56: the file ends inside a block"),
        (section()[:8] + b"none" + section()[12:], "byte 0: a section without a byte order"),
        (section() + pack("<II", 6, 11), "byte 28: a block of 11 bytes"),
        (section() + pack("<II", 6, 2**31), "byte 28: a block of 2147483648 bytes"),
        (section() + block(6, bytes(20))[:-1] + b"x", "byte 28: the two lengths of a block differ"),
        (section() + block(1, b"\1\0\0\0"), "byte 28: an interface block without content"),
        (section() + packet(FRAME), "byte 28: a packet block that contradicts itself"),
        (section() + block(3, b"\0\0\0\0"), "byte 28: a packet block that contradicts itself"),
        (section() + interface() + block(6, bytes(16)), "byte 48: a packet block that contradicts itself"),
        (section() + interface() + block(6, pack("<IIIII", 0, 0, 0, 9, 9)), "byte 48: a packet block that contra"),
    ],
)
def test_errors_say_where_and_what(content: bytes, error: str, place: Path) -> None:
    found, message = read_bytes(content, place)
    assert message.startswith(error)
    assert len(found) <= 1


def test_a_file_that_cannot_be_opened(place: Path) -> None:
    with pytest.raises(CaptureError, match=re.escape(f"{place / 'absent'}: No such file")):
        next(read_frames(place / "absent"))
    with pytest.raises(CaptureError, match="Is a directory"):
        next(read_frames(str(place)))


# ---- Ethernet ----------------------------------------------------------------------------------------------------------
IPV4, IPV6 = b"\x45" + bytes(19), b"\x60" + bytes(39)
TAG = b"\x00\x07\x08\x00"
AS_IPV4, AS_IPV6 = bytes(12) + b"\x08\x00" + IPV4, bytes(12) + b"\x86\xdd" + IPV6


@pytest.mark.parametrize(
    ("link", "content", "ethernet"),
    [
        (1, b"as it is", b"as it is"),
        (101, IPV4, AS_IPV4),
        (101, IPV6, AS_IPV6),
        (12, IPV4, AS_IPV4),
        (14, IPV6, AS_IPV6),
        (228, IPV4, AS_IPV4),
        (229, IPV6, AS_IPV6),
        (101, b"\x00\x00", None),
        (101, b"", None),
        (0, b"\2\0\0\0" + IPV4, AS_IPV4),
        (0, b"\0\0\0\2" + IPV4, AS_IPV4),
        (0, b"\x1e\0\0\0" + IPV6, AS_IPV6),
        (108, b"\0\0\0\x18" + IPV6, AS_IPV6),
        (0, b"\7\0\0\0" + IPV4, None),
        (0, b"\2\0", None),
        (113, b"\0\0\0\1" + bytes(10) + b"\x08\0" + IPV4, AS_IPV4),
        (113, b"\0\0\0\1" + bytes(10) + b"\x81\0" + TAG + IPV4, bytes(12) + b"\x81\0" + TAG + IPV4),
        (113, b"\0\0\3\x38" + bytes(10) + b"\x08\0" + IPV4, None),
        (113, b"\0\0\0\1" + bytes(10) + b"\0\4" + IPV4, None),
        (113, b"\0\0\0\1", None),
        (276, b"\x86\xdd" + bytes(6) + b"\0\1" + bytes(10) + IPV6, AS_IPV6),
        (9, b"\xff\x03\0\x21" + IPV4, AS_IPV4),
        (9, b"\0\x57" + IPV6, AS_IPV6),
        (9, b"\x21" + IPV4, AS_IPV4),
        (9, b"\xff\x03\xc0\x21\1\1\0\4", None),
        (9, b"\xff\x03", None),
        (9, b"", None),
        (127, b"radio", None),
    ],
)
def test_ethernet(link: int, content: bytes, ethernet: bytes | None) -> None:
    assert to_ethernet(Frame(0, link, len(content), content)) == ethernet


@given(st.sampled_from([0, 1, 9, 12, 101, 108, 113, 228, 276, 239]), st.binary(max_size=30))
def test_ethernet_of_any_bytes(link: int, content: bytes) -> None:
    ethernet = to_ethernet(Frame(0, link, len(content), content))
    assert ethernet is None or link == 1 or len(ethernet) >= 14


# ---- directions --------------------------------------------------------------------------------------------------------
A, B = (b"\x0a\0\0\1", 40_000), (b"\x0a\0\0\2", 443)
SYN, ACK = 0x02, 0x10


@pytest.mark.parametrize(
    ("source", "destination", "flags", "payload", "from_client"),
    [
        pytest.param(B, A, SYN, b"", True, id="SYN from the lower port"),
        pytest.param(A, B, SYN | ACK, b"", False, id="SYN-ACK from the higher port"),
        pytest.param(B, A, ACK, b"GET / HTTP/1.1\r\n", True, id="request"),
        pytest.param(B, A, ACK, b"PROPFIND /a HTTP/1.1\r\n", True, id="request of another method"),
        pytest.param(A, B, ACK, b"HTTP/1.1 200 OK\r\n", False, id="response"),
        pytest.param(B, A, ACK, b"\x16\x03\x01\n\n\x01", True, id="ClientHello"),
        pytest.param(A, B, ACK, b"\x16\x03\x03\0\x50\x02", False, id="ServerHello"),
        pytest.param(A, B, ACK, b"220 mail.example ESMTP\r\n", True, id="higher port"),
        pytest.param(B, A, ACK, b"", False, id="lower port"),
    ],
)
def test_who_sent_the_first_segment(
    source: tuple[bytes, int], destination: tuple[bytes, int], flags: int, payload: bytes, from_client: bool
) -> None:
    directions = Directions()
    assert directions.is_from_client(*source, *destination, flags, payload) == from_client
    if flags & SYN or payload[:3] not in (b"", b"220"):
        assert directions.is_from_client(*destination, *source, ACK, b"") != from_client
        assert directions.is_from_client(*source, *destination, ACK, b"") == from_client


def test_a_guess_is_not_remembered() -> None:
    directions = Directions()
    assert directions.is_from_client(*A, *B, ACK, b"")
    assert directions.is_from_client(*B, *A, ACK, b"GET / HTTP/1.1\r\n")
    assert not directions.is_from_client(*A, *B, ACK, b"")


def test_a_syn_begins_anew() -> None:
    directions = Directions()
    assert directions.is_from_client(*A, *B, SYN, b"")
    assert directions.is_from_client(*B, *A, SYN, b"")
    assert not directions.is_from_client(*A, *B, ACK, b"GET / HTTP/1.1\r\n")


def test_memory_is_bounded_and_keeps_what_is_in_use() -> None:
    directions = Directions(capacity=10)
    directions.is_from_client(*B, *A, SYN, b"")
    for port in range(1000):
        directions.is_from_client(b"\x0a\0\0\3", port, *B, SYN, b"")
        assert directions.is_from_client(*B, *A, ACK, b"")
        assert len(directions._young) + len(directions._old) <= 10


# ---- the corpus --------------------------------------------------------------------------------------------------------
@pytest.mark.skipif(CORPUS is None, reason="the corpus is not there")
@pytest.mark.skipif(which("capinfos") is None, reason="capinfos is not installed")
def test_captures_of_the_corpus_against_capinfos() -> None:
    """As many frames as capinfos counts, in every capture."""
    assert CORPUS is not None
    paths = [path for path in sorted(CORPUS.rglob("*")) if re.search(r"\.(pcap|pcapng|trace|cap)(\.gz)?$", path.name)]
    command = ["capinfos", "-c", "-M", "-T", "-r", "-m", "-Q", *map(str, paths)]
    lines = run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    expected = {name: int(count) for name, count in (line.replace('"', "").rsplit(",", 1) for line in lines)}
    assert len(expected) == len(paths) > 400
    assert {str(path): sum(1 for _ in read_frames(path)) for path in paths} == expected

"""Every capture of the corpus with DNS in it through the path: as many queries as `docs/dns-captures.md` says, of the names
that dnspython reads; and its answers, as dnspython reads them."""

import re
import struct
import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import dns.exception
import dns.flags
import dns.message
import dns.opcode
import pytest

from penstock.control.configuration import Configuration
from penstock.control.events import QTYPES
from penstock.control.lists.build import build_names
from penstock.control.snapshot import build_snapshot
from penstock.control.subscribers.fixed import FixedOwners
from penstock.kernel.reasons import PATH_FIRST, REASONS
from penstock.line.pcap import read_frames, to_ethernet
from penstock.policy.snapshot import Snapshot
from penstock.replay import Replay
from tests.corpus import CORPUS
from tests.request.test_dns import text_of
from tests.request.test_dns_answer import walk

PAGE = Path(__file__).parents[1] / "docs" / "dns-captures.md"
PORT = 53
STEERED = {reason.name for reason in REASONS if reason.number < PATH_FIRST}
UNREADABLE = (dns.exception.DNSException, ValueError, struct.error)

pytestmark = pytest.mark.skipif(CORPUS is None, reason="the corpus of captures is not there")


class Row(NamedTuple):
    """What each reader finds in a capture: queries, and answers."""

    queries: int
    queries_dnspython: int
    answers: int
    answers_dnspython: int


@cache
def read_page() -> dict[str, tuple[Row, bool]]:
    """The table of the page: capture → its figures, and whether the last column explains a difference."""
    rows = re.findall(r"^\| `(\S+)` \|(.*)\|$", PAGE.read_text("utf-8"), re.MULTILINE)
    found = {}
    for capture, cells in rows:
        *figures, note = (cell.strip() for cell in cells.split("|"))
        found[capture] = (Row(*map(int, figures)), bool(note))
    return found


class Packet(NamedTuple):
    """A UDP datagram, or (with a sequence number) a TCP segment, to or from the port of DNS."""

    ports: tuple[int, int]
    sequence: int | None
    content: bytes


def read_packet(frame: bytes) -> Packet | None:
    """The packet of an Ethernet frame, no tunnel opened; None for what has nothing to do with DNS, or is cut."""
    at, kind = 14, int.from_bytes(frame[12:14])
    while kind in (0x8100, 0x88A8):
        at, kind = at + 4, int.from_bytes(frame[at + 2 : at + 4])
    if kind == 0x0800 and len(frame) > at + 20:
        end, protocol = at + int.from_bytes(frame[at + 2 : at + 4]), frame[at + 9]
        if int.from_bytes(frame[at + 6 : at + 8]) & 0x1FFF:
            return None
        at += 4 * (frame[at] & 15)
    elif kind == 0x86DD and len(frame) > at + 40:
        end, protocol, at = at + 40 + int.from_bytes(frame[at + 4 : at + 6]), frame[at + 6], at + 40
        while protocol in (0, 43, 44, 60) and at + 8 <= len(frame):
            if protocol == 44 and int.from_bytes(frame[at + 2 : at + 4]) & 0xFFF8:
                return None
            size = 8 if protocol == 44 else 8 * (1 + frame[at + 1])
            protocol, at = frame[at], at + size
    else:
        return None
    if protocol not in (6, 17) or at + 8 > len(frame):
        return None
    ports = int.from_bytes(frame[at : at + 2]), int.from_bytes(frame[at + 2 : at + 4])
    if PORT not in ports:
        return None
    if protocol == 17:
        return Packet(ports, None, frame[at + 8 : min(end, at + int.from_bytes(frame[at + 4 : at + 6]))])
    return Packet(ports, int.from_bytes(frame[at + 4 : at + 8]), frame[at + 4 * (frame[at + 12] >> 4) : end])


def read_packets(capture: str) -> list[Packet]:
    assert CORPUS is not None
    frames = (to_ethernet(frame) for frame in read_frames(CORPUS / capture))
    return [packet for frame in frames if frame is not None and (packet := read_packet(frame)) is not None]


def read_messages(packets: list[Packet]) -> Iterator[bytes]:
    """Every DNS message: the content of datagrams, and what streams hold, put together by sequence numbers."""
    streams: dict[tuple[int, int], dict[int, bytes]] = {}
    for ports, sequence, content in packets:
        if sequence is None:
            yield content
        elif content:
            streams.setdefault(ports, {}).setdefault(sequence, content)
    for segments in streams.values():
        stream = b"".join(segments[at] for at in sorted(segments))
        while len(stream) > 2:
            size = 2 + int.from_bytes(stream[:2])
            yield stream[2:size]
            stream = stream[size:]


def read_questions(message: bytes) -> list[tuple[str, str]]:
    """The questions that dnspython reads in a query: names and types as events have them."""
    try:
        found = dns.message.from_wire(message, question_only=True)
    except UNREADABLE:
        return []
    if found.flags & dns.flags.QR or found.opcode() != dns.opcode.QUERY:
        return []
    return [
        (
            text_of(one.name).decode("ascii", "backslashreplace").lower(),
            QTYPES.get(int(one.rdtype), f"TYPE{one.rdtype:d}"),
        )
        for one in found.question
    ]


def is_answer(message: bytes) -> bool:
    """Does dnspython read all of it, as a response to a query?"""
    try:
        found = dns.message.from_wire(message, ignore_trailing=True, keyring=dict[dns.name.Name, bytes]())
    except UNREADABLE:
        return False
    return bool(found.flags & dns.flags.QR) and found.opcode() == dns.opcode.QUERY


@cache
def find_captures() -> list[str]:
    """The captures with packets to or from the port of DNS."""
    if CORPUS is None:
        return []
    places = [*(CORPUS / "zeek").rglob("*.pcap*"), *(CORPUS / "tcpdump").rglob("*.pcap*")]
    names = (str(place.relative_to(CORPUS)) for place in places)
    return sorted(name for name in names if any(packet.content for packet in read_packets(name)))


@pytest.fixture(scope="module")
def snapshot() -> Iterator[Snapshot]:
    with tempfile.TemporaryDirectory() as name:
        configuration = Configuration(database=Path(name) / "names.db")
        build_names(configuration)
        found = Snapshot.open(build_snapshot(configuration, configuration.database, 1, Path(name)))
        yield found
        found.close()


def replay_queries(snapshot: Snapshot, capture: str) -> Counter[tuple[str, str]]:
    """The names and types of the queries that the path read; its ledger closes."""
    assert CORPUS is not None
    replay, asked, count = (
        Replay(snapshot, FixedOwners(Configuration()), verify_checksums=False),
        Counter[tuple[str, str]](),
        0,
    )
    for frame in read_frames(CORPUS / capture):
        count += 1
        asked.update((event["host"] or "", event["qtype"]) for event in replay.take(frame) if "qtype" in event)
    counted = sum(number for reason, number in replay.reasons.items() if reason in STEERED)
    assert counted + replay.reasons["link_type"] == count
    return asked


def test_the_page_has_every_capture() -> None:
    assert sorted(read_page()) == find_captures()


@pytest.mark.parametrize("capture", sorted(read_page()) if CORPUS and PAGE.exists() else [])
def test_a_capture_is_read_as_the_page_says(snapshot: Snapshot, capture: str) -> None:
    row, is_explained = read_page()[capture]
    messages = list(read_messages(read_packets(capture)))
    ours, theirs = replay_queries(snapshot, capture), Counter(one for each in messages for one in read_questions(each))
    answers = sum(walk(message) is not None for message in messages if len(message) > 3 and message[2] & 0xF8 == 0x80)
    assert Row(ours.total(), theirs.total(), answers, sum(map(is_answer, messages))) == row
    assert is_explained or (ours == theirs and answers == row.answers_dnspython)

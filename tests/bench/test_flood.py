"""A flood's packets are what they say, its sender keeps its rate, and the report tells what was seen."""

import socket
from collections.abc import Callable
from typing import Any

import bench.flood_sender as sender
import numpy as np
import pytest
from bench.arms import BRIDGE, PENSTOCK
from bench.flood import COUNTED, Outcome, build_rows
from bench.flood_packets import (
    ACK,
    HELLO_PIECES,
    SYN,
    VICTIM_IPV4,
    Frames,
    Stations,
    build_hello_pieces,
    build_initials,
    build_queries,
    build_segments,
    build_syns,
    build_tcp,
    client_of,
)
from bench.flood_scene import Told
from bench.flood_wire import Replies

from penstock.flow.stream import STREAM_INLINE
from tests.quic import CLIENT, crypto, hello, open_initial, read_datagram
from tests.vocabulary import RIGHT, Segment, read_frame

STATIONS = Stations(b"\2\0\0\0\0\1", b"\2\0\0\0\0\2")
COUNT = 6


def read_rows(frames: Frames, count: int | None = None) -> list[Segment]:
    return [read_frame(row.tobytes()) for row in frames.bytes[:count]]


@pytest.mark.parametrize("build", [build_queries, build_initials])
def test_every_datagram_has_a_client_and_a_content_of_its_own(build: Callable[..., Frames]) -> None:
    frames, clients, contents = build(STATIONS, COUNT), set(), set()
    for turn in range(3):
        frames.address(*client_of(np.arange(turn * COUNT, (turn + 1) * COUNT)))
        for row in frames.bytes:
            found = read_datagram(row.tobytes())
            assert found.checksum == RIGHT
            clients.add((row[26:30].tobytes(), found.source_port))
            contents.add(found.data)
    assert len(clients) == 3 * COUNT
    assert len(contents) == COUNT
    assert {host[:2] for host, _ in clients} == {socket.inet_aton("10.78.0.0")[:2]}


def test_every_initial_is_opened_by_its_own_keys_and_half_of_a_hello() -> None:
    for row in build_initials(STATIONS, COUNT).bytes:
        data = row.tobytes()[42:]
        opened = open_initial(data, data[6:14], CLIENT)
        assert opened is not None
        assert opened.frames.startswith(crypto(0, hello("www.example.net", 1800)[:900]))


def test_clients_do_not_come_again_soon() -> None:
    hosts, ports = client_of(np.arange(400_000))
    assert len(set(zip(hosts.tolist(), ports.tolist(), strict=True))) == 400_000
    assert (hosts.min(), hosts.max()) == (1, 65_534)
    assert (ports.min(), ports.max()) == (1024, 65_023)


def test_segments_carry_the_numbers_they_are_given() -> None:
    frames = Frames(STATIONS, socket.IPPROTO_TCP, [build_tcp(ACK, b"odd"), build_tcp(ACK, b"\xff\xff\xff")])
    for seq in (0, 0xFFFF, 0x12345678, 0xFFFFFFFF):
        frames.address(np.array([1, 65_534]), np.array([1024, 65_000]), np.array([seq, seq + 1]), np.array([7, seq]))
        first, second = read_rows(frames)
        assert (first.source, first.target, first.seq, first.ack) == ("10.78.0.1", VICTIM_IPV4, seq, 7)
        assert (second.source, second.seq, second.ack) == ("10.78.255.254", (seq + 1) & 0xFFFFFFFF, seq)
        assert first.checksum == second.checksum == RIGHT


class Played:
    """A wire on which a server answers as it is told."""

    def __init__(self) -> None:
        self.sent: list[Segment] = []
        self.replies: list[tuple[int, int, int, int, int]] = []

    def send(self, frames: Frames, first: int, count: int) -> int:
        self.sent += [read_frame(row.tobytes()) for row in frames.bytes[first : first + count]]
        return count

    def receive(self) -> Replies:
        rows = np.array(self.replies, np.int64).reshape(-1, 5)
        self.replies = []
        return Replies(*rows.T)


class Answering(Played):
    """... and each SYN gets a SYN-ACK at once."""

    def send(self, frames: Frames, first: int, count: int) -> int:
        done = super().send(frames, first, count)
        for one in self.sent[-count:]:
            if one.flags == SYN:
                host = int.from_bytes(socket.inet_aton(one.source)[2:])
                self.replies.append((host, one.source_port, 1000, (one.seq + 1) & 0xFFFFFFFF, SYN | ACK))
        return done


def test_who_gets_a_syn_ack_begins_a_hello_and_no_more() -> None:
    wire: Any = Answering()
    kind = sender.Halves(build_syns(STATIONS, 16), pieces=build_hello_pieces(STATIONS, 16))
    assert kind.send(wire, 2) == 2
    syns = wire.sent[:]
    assert kind.send(wire, 4) == 6  # three for each; SYNs only where there is room
    asked, firsts, lasts = wire.sent[2:4], wire.sent[4:6], wire.sent[6:8]
    for syn, one, first, last in zip(syns, asked, firsts, lasts, strict=True):
        start = (syn.seq + 1) & 0xFFFFFFFF
        assert {one.checksum, first.checksum, last.checksum} == {RIGHT}
        assert one.source == first.source == last.source == syn.source
        assert (one.seq, one.ack, one.data) == (start, 1001, b"")
        assert (first.seq, last.seq) == (start, start + len(first.data))
        hello_bytes = first.data + last.data
        assert STREAM_INLINE < len(hello_bytes) < 5 + int.from_bytes(hello_bytes[3:5])
    assert HELLO_PIECES[-1][1] == len(hello_bytes)
    assert kind.send(wire, 1) == 1
    assert wire.sent[-1].flags == SYN


def test_bytes_come_one_by_one_and_again_where_none_is_acknowledged() -> None:
    wire: Any = Answering()
    segments = [build_segments(STATIONS, ACK, data, 2) for data in (b"GET /", b"a", b"")]
    kind = sender.Bytes(build_syns(STATIONS, 2), *segments)
    kind.begin(wire)
    syns, firsts = wire.sent[:2], wire.sent[2:]
    assert [(one.seq, one.data) for one in firsts] == [((syn.seq + 1) & 0xFFFFFFFF, b"GET /") for syn in syns]
    base = firsts[0].seq + 5
    wire.sent.clear()
    while len(wire.sent) < 2 * sender.WINDOW + 4:
        kind.send(wire, 2)
    ours = [one.seq - base for one in wire.sent if one.source == firsts[0].source]
    assert ours == [*range(sender.WINDOW), 0, 1]
    host, port = int(firsts[0].source.rpartition(".")[2]), firsts[0].source_port
    wire.replies.append((host, port, 1001, base + 20, ACK))
    wire.sent.clear()
    for _ in range(sender.WINDOW):
        kind.send(wire, 2)
    ours = [one.seq - base for one in wire.sent if one.source == firsts[0].source]
    assert ours == [*range(2, sender.WINDOW + 2)]
    kind.send(wire, 2)
    kind.send(wire, 2)
    assert {one.data for one in wire.sent} == {b"a"}


@pytest.mark.parametrize(("stall_s", "is_missed"), [(0.0, False), (0.04, False), (0.5, True)])
def test_the_rate_is_kept_and_what_is_missed_is_said(
    stall_s: float, is_missed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = [100.0]

    class Counting:
        most = 0

        def send(self, wire: Any, count: int) -> int:
            self.most = max(self.most, count)
            return count

    def sleep(seconds: float) -> None:
        now_s[0] += seconds + (stall_s if 100.5 < now_s[0] <= 100.5 + 1.5 * seconds else 0)

    monkeypatch.setattr(sender.time, "monotonic", lambda: now_s[0])
    monkeypatch.setattr(sender.time, "sleep", sleep)
    kind: Any = Counting()
    told = sender.run_flood(kind, Any, 20_000, 2.0, lambda: False)
    assert (told["missed"] > 0) == is_missed
    assert told["sent"] + told["missed"] == pytest.approx(20_000 * 2.0, rel=0.01)
    assert kind.most <= sender.BATCH
    assert sender.run_flood(kind, Any, 20_000, 2.0, lambda: True)["sent"] == 0


def test_the_report_names_what_went_wrong() -> None:
    figures = {
        "connections": {PENSTOCK: [900.0, 950.0], BRIDGE: [1000.0, 1000.0]},
        "failed": {PENSTOCK: [0.5, 0.0], BRIDGE: [0.0, 0.0]},
    }
    told = {PENSTOCK: [Told(2000, 2.0, 0, 0.1)], BRIDGE: [Told(4000, 2.0, 0, 0.1)]}
    outcome = Outcome(figures, told, dict.fromkeys(COUNTED, 3), 1, {"DNS, blocked": "192.0.2.1"}, (1024, 2048))
    rows = {row[0]: row[1] for row in build_rows({"syn": outcome})}
    assert rows["flood, packets/s into Penstock"] == "1,000"
    assert rows["flood, packets/s into the bridge"] == "2,000"
    assert rows["Penstock / bridge (aim 0.90)"] == "0.93 (0.90 … 0.95)"
    assert rows["failed connections, Penstock / bridge"] == "1 / 0"
    assert rows["wrong answers to the bystander"] == "DNS, blocked"
    assert rows["in memory before, behind, MB"] == "1 → 2"
    assert rows["ledger's difference"] == "1"
    assert rows["counted: over_budget"] == "3"

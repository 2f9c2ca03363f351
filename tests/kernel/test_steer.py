"""Rows: what comes, on which flow, and the reason that it gets; then what a rewritten packet looks like."""

from functools import cache
from typing import Any

import pytest

from penstock.kernel import tables as t
from penstock.kernel.reasons import NAMES, UP_GAP
from tests.path.boxes import Box, Conversation, find_record, name_of, request
from tests.quic import datagram
from tests.vocabulary import (
    ACK,
    FAST_OPEN,
    FAST_OPEN_EXPERIMENT,
    FIN,
    FLOW4,
    FLOW6,
    MD5,
    MPTCP_CAPABLE,
    MSS,
    NOP,
    RIGHT,
    RST,
    SYN,
    TO_CLIENT,
    TO_SERVER,
    WRONG,
    Flow,
    ethernet,
    frame,
    ipv4,
    ipv6,
    packed,
    read_frame,
    timestamps,
)

BARE_FLOW = Flow("10.9.0.1")  # a subscriber without services
NOBODY = Flow("172.16.0.1")
LONELY6 = FLOW6._replace(client_port=9)
HOP, DESTINATION, AUTHENTICATION = (0, b"\0" + bytes(6)), (60, b"\0" + bytes(6)), (51, b"\1" + bytes(10))
ATOMIC, FRAGMENT = (44, b"\0\0\0" + bytes(4)), (44, b"\0\0\1" + bytes(4))
GET = request("good.test")


def tagged(count: int) -> Flow:
    return FLOW4._replace(tags=((0x88A8, 5), (0x8100, 6), (0x8100, 7))[:count])


def client(flow: Flow = FLOW4, **more: Any) -> tuple[bytes, bool]:
    return frame(flow, TO_SERVER, **{"seq": 5, "ack": 6, **more}), TO_SERVER


def server(flow: Flow = FLOW4, **more: Any) -> tuple[bytes, bool]:
    return frame(flow, TO_CLIENT, **{"seq": 5, "ack": 6, **more}), TO_CLIENT


def headed(head: bytes, is_ipv6: bool = False) -> tuple[bytes, bool]:
    return ethernet(TO_SERVER, is_ipv6) + head, TO_SERVER


A4, B4, A6, B6 = (packed(a) for a in ("10.1.0.1", "192.0.2.80", "fd00::1", "2001:db8::80"))
WHOLE = client(data=GET)[0]

ROWS = [
    ("ARP", (ethernet(True, False)[:12] + b"\x08\x06" + bytes(46), TO_SERVER), "not_ip"),
    ("UDP", (datagram(FLOW4, b"hello"), TO_SERVER), "not_a_request"),
    ("UDP of nobody", (datagram(NOBODY, b"hello"), TO_SERVER), "unprotected"),
    ("UDP of the server", (datagram(FLOW4, b"hello", TO_CLIENT), TO_CLIENT), "datagram_server"),
    ("UDP without a length", headed(ipv4(A4, B4, 17, 8) + bytes(8)), "malformed"),
    ("UDP longer than its packet", headed(ipv4(A4, B4, 17, 8) + bytes([0, 1, 0, 2, 0, 9, 0, 0])), "malformed"),
    ("UDP without a length over IPv6", headed(ipv6(A6, B6, 17, 9) + bytes(9), True), "bad_checksum"),
    ("UDP with bytes behind it", headed(ipv4(A4, B4, 17, 9) + bytes([0, 1, 0, 2, 0, 8, 0, 0, 9])), "not_a_request"),
    ("ICMPv6", headed(ipv6(A6, B6, 58, 8) + bytes(8), True), "not_tcp"),
    ("a SYN of the client", client(flags=SYN), "handshake"),
    ("a SYN of the server", server(flags=SYN), "handshake"),
    ("a SYN with data", client(flags=SYN, data=b"x"), "syn_data"),
    ("a SYN with data of a subscriber without services", client(BARE_FLOW, flags=SYN, data=b"x"), "handshake"),
    ("a SYN-ACK", server(flags=SYN | ACK), "handshake"),
    ("an ACK without a record", client(flags=ACK), "no_flow"),
    ("data of the server without a record", server(data=b"x"), "no_flow"),
    ("data without a record", client(FLOW4._replace(client_port=9), data=GET), "on_sight"),
    ("data of a subscriber without services", client(BARE_FLOW, data=GET), "unprotected"),
    ("data of nobody", client(NOBODY, data=GET), "unprotected"),
    ("one tag", client(tagged(1)._replace(client_port=9), data=GET), "on_sight"),
    ("two tags", client(tagged(2)._replace(client_port=9), data=GET), "on_sight"),
    ("three tags", client(tagged(3), data=GET), "not_ip"),
    ("IPv4 options", client(FLOW4._replace(client_port=9), data=GET, ip_options=NOP * 40), "on_sight"),
    ("extension headers", client(LONELY6, data=GET, extensions=[HOP, DESTINATION, AUTHENTICATION]), "on_sight"),
    ("seven extension headers", client(LONELY6, data=GET, extensions=[HOP, *[DESTINATION] * 6]), "on_sight"),
    ("nine extension headers", client(FLOW6, data=GET, extensions=[DESTINATION] * 9), "malformed"),
    ("hop-by-hop options that do not stand first", client(FLOW6, data=GET, extensions=[DESTINATION, HOP]), "malformed"),
    ("a fragment header around a whole packet", client(LONELY6, data=GET, extensions=[ATOMIC]), "on_sight"),
    ("an IPv6 fragment", client(FLOW6, data=bytes(28), extensions=[FRAGMENT]), "held"),
    ("an IPv6 fragment of the server", server(FLOW6, extensions=[FRAGMENT]), "fragment_server"),
    ("an IPv4 fragment", headed(ipv4(A4, B4, 6, 48, fragment=0x2000) + WHOLE[34:82]), "held"),
    ("a tiny first fragment", headed(ipv4(A4, B4, 6, 16, fragment=0x2000, identity=3) + WHOLE[34:50]), "fragment_bad"),
    ("a fragment of UDP", headed(ipv4(A4, B4, 17, 48, fragment=0x2000, identity=9) + bytes(48)), "held"),
    ("a fragment of ICMP", headed(ipv4(A4, B4, 1, 48, fragment=0x2000) + bytes(48)), "not_tcp"),
    ("a fragment of nobody", headed(ipv4(packed("172.16.0.1"), B4, 6, 48, fragment=0x2000) + bytes(48)), "unprotected"),
    ("a TCP header cut short", (WHOLE[:45], TO_SERVER), "malformed"),
    ("the same from the server", (server(data=b"x")[0][:45], TO_CLIENT), "truncated"),
    ("fewer bytes than the IP header says", (WHOLE[:-3], TO_SERVER), "malformed"),
    ("more bytes than it says", (client(FLOW4._replace(client_port=9), data=GET)[0] + bytes(6), TO_SERVER), "on_sight"),
    ("IPv4 of version 5", headed(b"\x55" + WHOLE[15:]), "truncated"),
    ("an IPv4 header of 16 bytes", headed(b"\x44" + WHOLE[15:]), "truncated"),
    ("a TCP header of 16 bytes", (WHOLE[:46] + b"\x40" + WHOLE[47:], TO_SERVER), "malformed"),
    ("a TCP header longer than the packet", (client()[0][:46] + b"\xf0" + client()[0][47:], TO_SERVER), "malformed"),
    ("an IPv6 payload length of 0", (client(FLOW6)[0][:18] + b"\0\0" + client(FLOW6)[0][20:], TO_SERVER), "malformed"),
]  # fmt: skip


@cache
def row_box() -> Box:
    return Box(capacity=64, stream_count=8, large_count=1)


@pytest.mark.parametrize(("packet", "reason"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_row(packet: tuple[bytes, bool], reason: str) -> None:
    box = row_box()
    box.path.flows[:] = 0
    assert name_of(box.take_raw(*packet)) == reason
    box.counts()


@pytest.fixture(scope="module")
def box() -> Box:
    return Box()


ports = iter(range(30_000, 40_000))


def begin(box: Box, base: Flow = FLOW4, **choices: Any) -> Conversation:
    port = next(ports)
    return Conversation(box, base._replace(client_port=port), 1_000 * port, 77 * port, **choices)


# ---- what steer rewrites ---------------------------------------------------------------------------------------------
ERASED = [
    (MPTCP_CAPABLE, NOP * 4),
    (MSS + FAST_OPEN, MSS + NOP * 4),
    (FAST_OPEN_EXPERIMENT, NOP * 4),
    (NOP + bytes([30, 12]) + bytes(10) + NOP * 3 + MSS, NOP * 16 + MSS),
    (MSS + bytes([34, 2]) + NOP * 2, MSS + NOP * 4),
    (timestamps(5, 0) + MPTCP_CAPABLE + MSS, timestamps(5, 0) + NOP * 4 + MSS),
]
LEFT = [MSS, timestamps(1, 2), MD5, b"\0" + MPTCP_CAPABLE, b"\2\0\x1e\4", b""]


@pytest.mark.parametrize("flow", [FLOW4, FLOW6])
@pytest.mark.parametrize("checksum", [RIGHT, WRONG])
@pytest.mark.parametrize(("options", "left"), ERASED)
def test_options_of_a_syn_become_nops(box: Box, flow: Flow, checksum: str, options: bytes, left: bytes) -> None:
    """A right checksum stays right, a wrong one wrong. (That a partial one is partial, only the kernel knows.)"""
    content = frame(flow, TO_SERVER, seq=9, flags=SYN, options=options, checksum=checksum)
    assert name_of(box.take(content, TO_SERVER)) == "handshake"
    after = read_frame(box.path.frame[: len(content)].tobytes())
    assert after.options.rstrip(b"\0") == left.rstrip(b"\0")
    assert after.checksum == checksum
    assert after._replace(options=b"") == read_frame(content)._replace(options=b"")


@pytest.mark.parametrize("options", LEFT)
def test_other_options_stay(box: Box, options: bytes) -> None:
    content = frame(FLOW4, TO_SERVER, seq=9, flags=SYN, options=options)
    box.take(content, TO_SERVER)
    assert box.path.frame[: len(content)].tobytes() == content


def test_the_unprotected_keep_their_options(box: Box) -> None:
    content = frame(NOBODY, TO_SERVER, seq=9, flags=SYN, options=MPTCP_CAPABLE)
    box.take(content, TO_SERVER)
    assert box.path.frame[: len(content)].tobytes() == content


# ---- the life of a record --------------------------------------------------------------------------------------------
def test_only_the_syn_ack_makes_a_record(box: Box) -> None:
    talk = begin(box)
    talk.syn()
    assert talk.record() is None
    talk.client(flags=ACK)
    talk.server(b"x")
    assert talk.record() is None
    talk.syn_ack()
    assert talk.word() == (0, 0, 0)


def test_the_syn_ack_again_changes_nothing(box: Box) -> None:
    talk = begin(box).open()
    talk.client(GET)
    before = talk.word()
    talk.syn_ack()
    assert talk.word() == before


def test_another_syn_alone_changes_nothing(box: Box) -> None:
    talk = begin(box).open()
    talk.client(GET)
    before = talk.word()
    Conversation(box, talk.flow, 5_000_000).syn()
    assert talk.word() == before
    assert name_of(talk.client(request("bad.test"))) == "blocked"


def test_a_syn_ack_that_answers_no_syn_changes_nothing(box: Box) -> None:
    """A forged one, for an open flow."""
    talk = begin(box).open()
    talk.client(GET)
    before = talk.word()
    Conversation(box, talk.flow, 5_000_000, 7).syn_ack()
    assert talk.word() == before


def test_ports_used_again_make_a_new_record(box: Box) -> None:
    talk = begin(box).open()
    talk.client(GET)
    talk.server(b"x")
    again = Conversation(box, talk.flow, 5_000_000, 6_000_000).open()
    assert again.word() == (0, 0, 0)
    assert name_of(again.client(GET)) == "allowed"


def test_a_verdict_that_is_on_its_way_does_not_fall_on_the_next_connection_of_the_same_ports(box: Box) -> None:
    """A packet of the old one is with the worker when the new one is answered."""
    talk = begin(box).open()
    talk.client(GET)
    talk.server(b"x")
    old = find_record(box.path, talk.flow)
    again = Conversation(box, talk.flow, 5_000_000, 6_000_000)
    again.syn()
    assert steer_late(talk, talk.client_frame(GET), 0) == "up_unjudged"
    ring = box.path.ring.copy()  # the ring has one place, and `again` looks for a record in it at every step
    box.path.ring[:8] = 0
    assert name_of(again.syn_ack()) == "handshake"
    made = find_record(box.path, talk.flow)
    assert made.ctypes.data != old.ctypes.data
    before = made.copy()
    box.path.ring[:] = ring
    box.path.step()
    assert (made == before).all()
    assert name_of(again.client(GET)) == "allowed"
    assert name_of(again.client(request("bad.test"))) == "blocked"


def test_a_record_that_was_left_is_not_used_at_once() -> None:
    """Six ways are taken; a connection goes from the seventh to the eighth, and then there is none for a while."""
    box = Box(capacity=8, stream_count=32, large_count=1)
    for _ in range(6):
        begin(box).open().client(GET[:10])
    last = begin(box).open()
    for times, expected in enumerate(("handshake", "table_full")):
        again = Conversation(box, last.flow, 5_000_000 * (times + 1), 6_000_000 * (times + 1))
        again.syn()
        assert steer_late(last, last.client_frame(GET), 0) == "up_unjudged"
        box.path.ring[:8] = 0
        assert name_of(again.syn_ack()) == expected
        last = again
    box.now_ns += 2_200_000_000
    assert name_of(last.syn_ack()) == "handshake"


def test_nobody_is_free(box: Box) -> None:
    for flow in (NOBODY, BARE_FLOW):
        talk = begin(box, flow).open()
        assert talk.word()[0] == 1
        assert name_of(talk.client(request("bad.test"))) == "free"


def test_an_ack_of_what_was_never_sent_moves_nothing(box: Box) -> None:
    talk = begin(box).open()
    talk.client(GET[:10])
    talk.server(ack=5000)
    assert name_of(talk.client(request("bad.test")[10:], 10)) == "blocked"


def test_a_table_that_is_full_makes_the_handshake_wait() -> None:
    box = Box(capacity=8, stream_count=16, large_count=1)
    talks = [begin(box).open() for _ in range(8)]
    for talk in talks:
        talk.client(GET[:10])
    last = begin(box)
    last.syn()
    assert name_of(last.syn_ack()) == "table_full"
    free = begin(box, NOBODY)
    free.syn()
    assert name_of(free.syn_ack()) == "table_full_open"
    assert all(name_of(talk.client(request("bad.test")[10:], 10)) == "blocked" for talk in talks)


def test_an_idle_record_is_used_again() -> None:
    box = Box(capacity=8, stream_count=16, large_count=1)
    for _ in range(8):
        begin(box).open().client(GET[:10])
    box.now_ns += 700 * 10**9
    assert name_of(begin(box).open().client(GET)) == "allowed"


def test_a_record_that_another_cpu_saw_a_moment_later_is_not_idle() -> None:
    """Its time is ahead of this CPU's: its age is 0, not 2^32 ms, and it stays."""
    box = Box(capacity=8, stream_count=16, large_count=1)
    talks = [begin(box).open() for _ in range(8)]
    for talk in talks:
        talk.client(GET[:10])
        seen = talk.record()[t.FLOW_SEEN : t.FLOW_SEEN + 4].view("uint32")
        seen += 50
    last = begin(box)
    last.syn()
    assert name_of(last.syn_ack()) == "table_full"
    assert all(name_of(talk.client(request("bad.test")[10:], 10)) == "blocked" for talk in talks)


# ---- ring, pulse, switch ---------------------------------------------------------------------------------------------
def steer_late(talk: Conversation, content: bytes, late_ns: int) -> str:
    """The kernel's half alone, the worker's pulse being so old."""
    path, box = talk.box.path, talk.box
    path.set_pulse(box.now_ns - late_ns)
    before = path.counters[: t.COUNTER_BYTES].copy()
    path.steer(content, TO_SERVER, box.now_ns)
    box.seen += 1
    changed = (path.counters[:1016] != before[:1016]).nonzero()[0]
    return NAMES[int(changed[0]) // 8]


def test_a_late_worker_fails_open_or_closed(box: Box) -> None:
    opened, closed = begin(box).open(), begin(box, Flow("10.2.0.1")).open()
    for talk, reason in ((opened, "stale_open"), (closed, "stale_closed")):
        assert steer_late(talk, talk.client_frame(GET), 101_000_000) == reason
    assert steer_late(opened, opened.client_frame(GET), 99_000_000) != "stale_open"
    opened.box.path.step()


def test_what_passed_unread_is_a_gap(box: Box) -> None:
    talk = begin(box).open()
    steer_late(talk, talk.client_frame(GET[:12]), 200_000_000)
    outcome = talk.client(GET[12:], 12)
    assert outcome.reason == UP_GAP
    assert name_of(outcome) in ("on_sight", "incomplete")


def test_a_waiting_packet_keeps_the_others_behind_it(box: Box) -> None:
    """And a ring without room drops: the sender repeats."""
    talk = begin(box).open()
    assert steer_late(talk, talk.client_frame(GET[:12]), 0) == "up_unjudged"
    assert steer_late(talk, talk.client_frame(GET[12:], 12), 0) == "ring_full"
    box.path.step()
    assert name_of(talk.client(GET[12:], 12)) == "allowed"


def test_the_switch(box: Box) -> None:
    talk = begin(box).open()
    epoch = int.from_bytes(box.path.control[:8].tobytes(), "little")
    box.path.set_epoch(epoch + 1)
    assert name_of(box.take(talk.client_frame(request("bad.test")), TO_SERVER)) == "off"
    box.path.set_epoch(epoch + 2)
    outcome = talk.client(request("bad.test"), 40)
    assert outcome.reason == UP_GAP
    assert name_of(outcome) == "blocked"


def test_too_far_ahead_is_dropped(box: Box) -> None:
    talk = begin(box).open()
    assert name_of(talk.client(b"x", 65_537)) == "beyond"
    assert name_of(talk.client(b"x", 65_536)) in ("incomplete", "out_of_window")


def test_a_fin_behind_nothing_unjudged_is_the_kernels(box: Box) -> None:
    talk = begin(box).open()
    talk.client(GET)
    assert name_of(talk.client(flags=FIN | ACK)) == "finished"
    assert name_of(talk.client(flags=RST)) == "empty"


def test_ports_that_are_not_judged(box: Box) -> None:
    flow = FLOW4._replace(client_port=next(ports), server_port=25)
    box.path.control[t.CONTROL_PORTS + 3] &= ~2 & 0xFF
    talk = Conversation(box, flow).open()
    box.path.control[t.CONTROL_PORTS + 3] |= 2
    assert talk.word()[0] == 1
    assert find_record(box.path, flow) is not None

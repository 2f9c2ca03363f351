"""The exception table, row by row, in memory: what each policy does to a packet, and what it does to the flow."""

import struct

import pytest

from penstock.control.exceptions import CAUSES, POLICIES
from penstock.flow.record import FREED, OPEN
from penstock.kernel import reasons as r
from penstock.kernel import tables as t
from tests.path.boxes import Box, Conversation, find_record, name_of, request
from tests.vocabulary import ACK, FIN, FLOW4, PSH, SYN, TO_CLIENT, TO_SERVER, Flow, ethernet, frame

BAD, GOOD = request("bad.test"), request("good.test")
CLOSED = Flow("10.2.0.9")
PLACES = {cause.name: cause.place for cause in CAUSES}


def box_with(**policies: str) -> Box:
    box = Box(stream_count=4, large_count=1)
    word = sum(POLICIES[policy] << int(PLACES[name] or 0) for name, policy in policies.items())
    struct.pack_into("<Q", box.path.control, t.CONTROL_EXCEPTIONS, word)
    return box


def segment(data: bytes, flow: Flow = FLOW4, seq: int = 1001) -> bytes:
    return frame(flow, TO_SERVER, seq=seq, ack=77_001, flags=ACK | PSH, data=data)


# ---- midstream: no handshake was seen ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("policy", "good", "bad"),
    [
        ("judge", ("up_midstream", "on_sight"), ("up_midstream", "blocked")),
        ("forward", ("midstream_open", None), ("midstream_open", None)),
        ("refuse", ("up_midstream", "midstream_refused"), ("up_midstream", "midstream_refused")),
    ],
)
def test_midstream(policy: str, good: tuple[str, str | None], bad: tuple[str, str | None]) -> None:
    box = box_with(midstream=policy)
    for data, (steered, after) in ((GOOD, good), (BAD, bad), (GOOD, good)):
        outcome = box.take(segment(data), TO_SERVER)
        assert name_of(outcome) == (after or steered)
    if after == "midstream_refused":
        assert len(outcome.sent) == 2, "both sides are reset"


# ---- asymmetric: the SYN was seen, its answer was not -----------------------------------------------------------------
def asked(box: Box, flow: Flow = FLOW4) -> None:
    box.take(frame(flow, TO_SERVER, seq=1000, flags=SYN), TO_SERVER)


def test_asymmetric_is_judged_once_then_free() -> None:
    box = box_with()
    asked(box)
    assert name_of(box.take(segment(GOOD[:10]), TO_SERVER)) == "incomplete"
    assert name_of(box.take(segment(GOOD[10:], seq=1011), TO_SERVER)) == "allowed"
    assert box.counts()["up_asymmetric"] == 2, "what was no whole request set nothing free"
    assert name_of(box.take(segment(b"anything", seq=2000), TO_SERVER)) == "asymmetric"
    assert name_of(box.take(segment(b"anything", FLOW4._replace(client_port=9)), TO_SERVER)) == "on_sight"
    assert box.counts()["up_midstream"] == 1


@pytest.mark.parametrize("cut", range(1, len(BAD), 7))
def test_asymmetric_and_blocked_however_it_is_cut(cut: int) -> None:
    box = box_with()
    asked(box)
    assert name_of(box.take(segment(BAD[:cut]), TO_SERVER)) in {"incomplete", "blocked"}
    assert name_of(box.take(segment(BAD[cut:], seq=1001 + cut), TO_SERVER)) in {"blocked", "refused_client"}
    assert box.path_counts()["blocked"] == 1


def test_asymmetric_gets_its_page() -> None:
    box = box_with()
    asked(box)
    outcome = box.take(segment(BAD), TO_SERVER)
    assert name_of(outcome) == "blocked"
    assert any(b"HTTP/1.1 403" in sent for to_server, sent in outcome.sent if not to_server)


def test_asymmetric_uploads_are_the_kernel_s() -> None:
    box = box_with()
    asked(box)
    head = b"POST / HTTP/1.1\r\nHost: good.test\r\nContent-Length: 400000\r\n\r\n"
    assert name_of(box.take(segment(head), TO_SERVER)) == "allowed"
    for at in range(0, 400_000, 1400):
        assert name_of(box.take(segment(b"x" * 1400, seq=1001 + len(head) + at), TO_SERVER)) == "asymmetric"


def test_a_client_that_acknowledges_what_nobody_saw_is_no_decoy() -> None:
    """A server that speaks first: its banner went another way."""
    box = box_with()
    asked(box)
    seq, names = 1001, []
    for ack, line in ((77_900, b"EHLO me\r\n"), (79_000, b"MAIL FROM:<a@b>\r\n"), (79_100, b"RCPT TO:<c@d>\r\n")):
        content = frame(FLOW4, TO_SERVER, seq=seq, ack=ack, flags=ACK | PSH, data=line)
        names.append(name_of(box.take(content, TO_SERVER)))
        seq += len(line)
    assert set(names[:2]) <= {"incomplete", "not_a_request"}
    assert names[2] == "asymmetric"


@pytest.mark.parametrize(("policy", "name"), [("forward", "asymmetric_open"), ("refuse", "asymmetric_refused")])
def test_asymmetric_by_policy(policy: str, name: str) -> None:
    box = box_with(asymmetric=policy)
    asked(box)
    assert name_of(box.take(segment(GOOD), TO_SERVER)) == name


def test_the_server_s_answer_ends_the_asymmetry() -> None:
    box = box_with()
    talk = Conversation(box, FLOW4)
    talk.syn()
    box.take(segment(GOOD), TO_SERVER)
    assert talk.word()[0] == FREED
    talk.syn_ack()
    assert talk.word() == (OPEN, 0, 0)
    assert name_of(talk.client(BAD)) == "blocked"


def test_a_server_that_is_seen_after_all_ends_the_asymmetry() -> None:
    """The SYN-ACK alone was missed: nothing is free for that."""
    box = box_with()
    talk = Conversation(box, FLOW4)
    talk.syn()
    assert name_of(talk.client(GOOD)) == "allowed"
    assert talk.word()[0] == FREED
    assert talk.server(b"HTTP/1.1 204 No Content\r\n\r\n").is_forwarded
    assert name_of(talk.client(BAD)) == "blocked"


# ---- gap: bytes passed unread -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("policy", "good", "bad"), [("judge", "allowed", "blocked"), ("forward", "gap_open", "gap_open")]
)
def test_gap(policy: str, good: str, bad: str) -> None:
    for data, name in ((GOOD, good), (BAD, bad)):
        box = box_with(gap=policy)
        talk = Conversation(box, FLOW4).open()
        box.path.set_epoch(3)
        assert name_of(talk.client(data)) == name


def test_gap_refused() -> None:
    box = box_with(gap="refuse")
    talk = Conversation(box, FLOW4).open()
    box.path.set_epoch(3)
    outcome = talk.client(GOOD)
    assert name_of(outcome) == "gap_refused"
    assert len(outcome.sent) == 2
    assert name_of(talk.client(GOOD)) == "refused_client", "refused is a state"


@pytest.mark.parametrize("isn", [5, 900, 3_000_000, 0x7FFF_FFFF, 0xFFFF_FF00])
@pytest.mark.parametrize("before", ["ended", "refused", "free"])
def test_ports_used_again_while_nobody_read(before: str, isn: int) -> None:
    """What the record remembers is another connection's: wherever the new one's numbers lie, it is judged as itself."""
    box = box_with()
    old = Conversation(box, FLOW4, 1_000_000, 2_000_000).open()
    old.client({"ended": GOOD, "refused": BAD, "free": b"SSH-2.0-none\r\n"}[before])
    if before != "refused":
        old.server(b"answer")
        old.client(flags=ACK | FIN)
        old.server(flags=ACK | FIN)
        old.client(flags=ACK)
    box.path.set_epoch(3)  # its handshake went by meanwhile
    new = Conversation(box, FLOW4, isn, isn ^ 0x5555_5555)
    assert name_of(new.client(GOOD)) == "allowed"
    assert new.server(b"HTTP/1.1 204 No Content\r\n\r\n").is_forwarded
    assert name_of(new.client(BAD)) == "blocked"


# ---- memory -----------------------------------------------------------------------------------------------------------
def fill_streams(box: Box, closed: bool = False) -> Conversation:
    """Two unfinished requests are as many as one subscriber may have here; a third conversation is open."""
    first = CLOSED if closed else FLOW4
    talks = [Conversation(box, first._replace(client_port=5000 + number)).open() for number in range(3)]
    for talk in talks[:2]:
        assert name_of(talk.client(GOOD[:10])) == "incomplete"
    return talks[2]


@pytest.mark.parametrize(
    ("policy", "name"),
    [("drop", "stream_full"), ("forward", "stream_full_open"), ("refuse", "stream_full_refused")],
)
def test_reassembly_full(policy: str, name: str) -> None:
    box = box_with(reassembly_full=policy)
    last = fill_streams(box)
    assert name_of(last.client(GOOD[:10])) == name
    record = find_record(box.path, last.flow)
    assert (record[t.FLOW_EPOCH] == 0) == (policy == "forward"), "bytes that passed unread make a gap"


def test_what_fails_closed_is_not_forwarded_unread() -> None:
    box = box_with(reassembly_full="forward")
    assert name_of(fill_streams(box, closed=True).client(GOOD[:10])) == "stream_full"


@pytest.mark.parametrize(("policy", "name"), [("drop", "table_full"), ("forward", "table_full_passed")])
def test_table_full(policy: str, name: str) -> None:
    box = Box(capacity=8, stream_count=32, large_count=1)
    struct.pack_into("<Q", box.path.control, t.CONTROL_EXCEPTIONS, POLICIES[policy] << int(PLACES["table_full"] or 0))
    for number in range(8):
        Conversation(box, FLOW4._replace(client_port=6000 + number)).open().client(GOOD[:10])
    talk = Conversation(box, FLOW4)
    talk.syn()
    assert name_of(talk.syn_ack()) == name


@pytest.mark.parametrize(("policy", "name"), [("drop", "malformed"), ("forward", "malformed_open")])
def test_malformed(policy: str, name: str) -> None:
    box = box_with(malformed=policy)
    whole = segment(GOOD)
    head = len(ethernet(TO_SERVER, False))
    short = whole[: head + 12] + whole[head + 12 : head + 24]  # an IP header, and not even the ports
    assert name_of(box.take(short, TO_SERVER)) == name


@pytest.mark.parametrize(("policy", "name"), [("drop", "ring_full"), ("forward", "ring_full_open")])
def test_ring_full(policy: str, name: str) -> None:
    box = box_with(ring_full=policy)
    talk = Conversation(box, FLOW4).open()
    box.path.ring[:8] = 1  # the one place of the native ring is taken
    box.path.set_pulse(box.now_ns)
    verdict = box.path.steer(talk.client_frame(GOOD), True, box.now_ns)
    counters = box.path.counters[: t.COUNTER_BYTES].view("int64")
    assert counters[getattr(r, name.upper())] == 1
    assert (verdict == 2) == (policy == "drop")
    assert (find_record(box.path, talk.flow)[t.FLOW_EPOCH] == 0) == (policy == "forward")


def test_the_server_s_segments_are_not_the_table_s_business() -> None:
    box = box_with(midstream="refuse", gap="refuse")
    assert name_of(box.take(frame(FLOW4, TO_CLIENT, seq=1, ack=2, flags=ACK, data=b"x"), TO_CLIENT)) == "no_flow"

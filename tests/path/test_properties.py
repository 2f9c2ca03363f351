"""What holds whatever comes: cuts change no verdict, no input faults, the ledger closes, what is refused is never whole."""

from collections.abc import Sequence
from functools import cache

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from penstock.kernel import reasons as r
from penstock.path.fragments import HELD
from tests.hellos import cut, plain_hello, post_quantum_hello, record
from tests.path.boxes import Box, Conversation, name_of, passed, request, response, sent_to
from tests.vocabulary import (
    ACK,
    FIN,
    FLOW4,
    FLOW6,
    PSH,
    RST,
    SYN,
    TO_CLIENT,
    TO_SERVER,
    Flow,
    ethernet,
    frame,
    ipv4,
    packed,
    read_frame,
)

TAGGED = Flow("10.1.0.3", tags=((0x88A8, 5), (0x8100, 7)))
flows = st.sampled_from([FLOW4, FLOW6, TAGGED])
REQUESTS = {
    b"GOOD": (request("good.test", "GET", "/" + "x" * 40), "allowed"),
    b"BAD": (request("www.bad.test", "GET", "/" + "x" * 40), "blocked"),
    b"ABSOLUTE": (b"GET http://BAD.test:80/ HTTP/1.1\r\nHost: x\r\n\r\n", "blocked"),
    b"REPORTED": (request("odd.test"), "reported"),
    b"TWICE": (request("good.test", "POST", "/", "Content-Length: 1", "Content-Length: 2"), "ambiguous"),
    b"HELLO": (record(plain_hello(b"good.test")), "allowed"),
    b"BAD HELLO": (record(plain_hello(b"www.bad.test")), "blocked"),
    b"LONG HELLO": (record(post_quantum_hello(b"bad.test")), "blocked"),
    b"RECORDS": (b"".join(record(part) for part in cut(plain_hello(b"bad.test"), range(1, 40))), "blocked"),
}
WAITING = ("incomplete", "acknowledged", "repeated")


@cache
def box() -> Box:
    return Box(capacity=512, stream_count=32, large_count=8)


counter = {"isn": 0}


def begin(flow: Flow) -> Conversation:
    """A new connection on the same ports: a new SYN, other numbers; sometimes they wrap."""
    counter["isn"] += 1
    box().now_ns += 20_000_000_000
    return Conversation(box(), flow, (0xFFFFFF00 + 1_000_003 * counter["isn"]) % (1 << 32), 77 * counter["isn"]).open()


def replay(talk: Conversation, whole: bytes, pieces: Sequence[tuple[int, bytes]]) -> tuple[list[str], dict[int, int]]:
    """Send pieces at their places. Returns the names of the outcomes, and the bytes that reached the server."""
    outcomes, reached = [], {}
    for at, data in pieces:
        content = talk.client_frame(data, at)
        outcome = box().take(content, TO_SERVER)
        outcomes.append(name_of(outcome))
        for sent in passed(content, TO_SERVER, outcome):
            segment = read_frame(sent)
            reached.update(enumerate(segment.data, (segment.seq - talk.client_first) % (1 << 32)))
    return outcomes, reached


@settings(max_examples=250, deadline=None)
@given(flows, st.sampled_from(sorted(REQUESTS)), st.data())
def test_any_cut_in_any_order_has_one_verdict(flow: Flow, name: bytes, data: st.DataObject) -> None:
    whole, verdict = REQUESTS[name]
    places = data.draw(st.sets(st.integers(1, len(whole) - 1), max_size=10))
    pieces, at = [], 0
    for piece in cut(whole, places):
        pieces.append((at, piece))
        at += len(piece)
    order = data.draw(st.permutations(pieces)) + data.draw(st.lists(st.sampled_from(pieces), max_size=3))
    again = data.draw(st.lists(st.integers(0, len(order)), max_size=3))
    for place in sorted(again, reverse=True):
        order.insert(place, data.draw(st.sampled_from(pieces)))
    talk = begin(flow)
    outcomes, reached = replay(talk, whole, order)
    decided = [outcome for outcome in outcomes if outcome not in WAITING and outcome != "refused_client"]
    assert decided
    assert decided[0] == verdict
    if verdict in ("blocked", "ambiguous"):
        assert len(reached) < len(whole)
        assert talk.word()[0] == 2
    else:
        assert bytes(reached[at] for at in range(len(whole))) == whole
        assert talk.word()[0] != 2


@settings(max_examples=100, deadline=None)
@given(flows, st.integers(0, 60), st.integers(1, 60))
def test_what_is_sent_again_with_other_bytes_passes_never(flow: Flow, start: int, size: int) -> None:
    whole, _ = REQUESTS[b"GOOD"]
    start = min(start, len(whole) - 2)
    talk = begin(flow)
    first = whole[start : start + size]
    assert name_of(talk.client(first, start)) in ("incomplete", "allowed")
    changed = bytes([first[0] ^ 1]) + first[1:]
    content = talk.client_frame(changed, start)
    assert not passed(content, TO_SERVER, box().take(content, TO_SERVER))


# ---- no input raises, faults, or leaves the ledger open ------------------------------------------------------------------
VALID = [
    frame(FLOW4, True, seq=1, flags=SYN),
    frame(FLOW4, True, seq=2, ack=2, data=request("bad.test")),
    frame(
        FLOW6, True, seq=2, ack=2, data=request("good.test"), extensions=[(0, b"\0" + bytes(6)), (60, b"\0" + bytes(6))]
    ),
    frame(FLOW6, True, seq=2, ack=2, data=request("good.test"), extensions=[(44, b"\0\0\1\0\0\0\1")]),
    frame(FLOW6, True, seq=2, ack=2, data=request("good.test"), extensions=[(44, b"\0\0\0\0\0\0\1")]),
    frame(TAGGED, True, seq=2, ack=2, flags=ACK | FIN, data=record(plain_hello(b"bad.test"))),
    frame(FLOW4, True, seq=2, ack=2, ip_options=b"\1" * 8, data=b"GET"),
    frame(FLOW4, False, seq=2, ack=2, data=response()),
    frame(FLOW4, False, seq=2, ack=2, flags=RST),
    ethernet(True, False) + ipv4(packed("10.1.0.1"), packed("192.0.2.80"), 6, 48, fragment=0x2000) + bytes(48),
    ethernet(True, False) + ipv4(packed("10.1.0.1"), packed("192.0.2.80"), 6, 8, fragment=6) + bytes(8),
    ethernet(True, False) + ipv4(packed("10.1.0.1"), packed("192.0.2.80"), 17, 8) + bytes(8),
]


@st.composite
def mutants(draw: st.DrawFn) -> bytes:
    """A valid frame with some bytes changed, cut short, or followed by others."""
    content = bytearray(draw(st.sampled_from(VALID)))
    for _ in range(draw(st.integers(0, 4))):
        content[draw(st.integers(12, min(len(content) - 1, 100)))] = draw(st.integers(0, 255))
    if draw(st.booleans()):
        del content[draw(st.integers(0, len(content))) :]
    return bytes(content + draw(st.binary(max_size=20)))


@settings(max_examples=600, deadline=None)
@given(st.lists(st.tuples(st.one_of(mutants(), mutants(), st.binary(max_size=200)), st.booleans()), max_size=8))
def test_no_frame_faults_and_the_ledger_closes(frames: list[tuple[bytes, bool]]) -> None:
    for content, to_server in frames:
        box().path.set_pulse(box().now_ns)
        box().take_raw(content, to_server)
    counts = box().counts()
    went_up = sum(count for name, count in counts.items() if name.startswith("up_"))
    assert went_up == sum(box().path_counts().values()) - box().peeks + box().held()


contents = [b"", b"GET / HTTP/1.1\r\n", request("good.test"), request("bad.test"), record(plain_hello())]
segments = st.tuples(
    st.integers(-70_000, 70_000), st.sampled_from([0, ACK, ACK | PSH, ACK | FIN, FIN, ACK | RST, SYN, SYN | ACK, ACK | 32]),
    st.one_of(st.sampled_from(contents), st.binary(max_size=90)),
    st.booleans(), st.sampled_from(["right", "right", "bare", "wrong"]),
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(flows, st.lists(segments, max_size=14), st.booleans())
def test_no_conversation_faults(flow: Flow, steps: list, starts_near: bool) -> None:
    """Any segments, near and far, on an open connection: verdicts and wire agree (`Box.check_verdict`)."""
    talk = begin(flow)
    for at, flags, data, to_server, checksum in steps:
        place = at // 1000 if starts_near else at
        if to_server:
            content = frame(
                flow,
                True,
                seq=talk.client_first + place,
                ack=talk.server_first,
                flags=flags,
                data=data,
                checksum=checksum,
            )
        else:
            content = frame(
                flow, False, seq=talk.server_first + place, ack=talk.client_first + place, flags=flags, data=data
            )
        box().take(content, to_server)
    box().counts()


@settings(max_examples=60, deadline=None)
@given(flows, st.integers(1, 64), st.integers(0, 65535))
def test_super_packets_are_judged_whole(flow: Flow, blocks: int, seed: int) -> None:
    talk = begin(flow)
    padding = "p" * (blocks * 900)
    bad = request("bad.test", "GET", "/" + padding)
    assume(len(bad) < 64_000)
    outcome = talk.client(bad, gso_size=1448, checksum="bare")
    assert name_of(outcome) == "blocked"
    assert not any(segment.data for segment in sent_to(outcome, TO_SERVER))


def test_every_path_reason_belongs_to_its_range() -> None:
    assert HELD not in r.NAMES
    for reason in r.REASONS:
        assert (reason.number >= r.PATH_FIRST) == (reason.verdict >= r.Verdict.RELEASED)


@pytest.mark.parametrize("size", [0, 1, 13, 14, 33, 34, 53])
def test_short_frames(size: int) -> None:
    whole = frame(FLOW4, True, seq=1, data=b"x")
    assert name_of(box().take(whole[:size], TO_SERVER)) in ("malformed", "truncated")
    assert name_of(box().take(frame(FLOW4, False, seq=1)[:size], TO_CLIENT)) in (
        "truncated",
        "not_ip",
        "server",
        "no_flow",
    )

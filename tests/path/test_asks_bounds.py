"""Requests that wait for hooks, at their bounds: ends, floods, an other side that was taken over, whatever comes."""

import struct
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.control.hooks.rings import READ, WRITTEN, hook_tag, pack_answer
from penstock.flow.record import REFUSED
from penstock.hooks import Verdict
from penstock.kernel import tables as t
from penstock.path import asks as a
from penstock.path.ask_rings import ANSWER_ACTION, ANSWER_BYTES, ANSWER_COUNT, ANSWER_URL_BYTES, ASK_COUNT
from penstock.path.replays import end_asks
from penstock.path.said import SAID_NS
from penstock.path.slots import LARGE_COUNT, MIDDLE_COUNT
from tests.path.asking import (
    ASKED,
    BAD,
    BUDGET_MS,
    GOOD,
    HELLO,
    HOOK,
    ROOM,
    Ask,
    AskingBox,
    answered,
    fragment,
    ports,
    reached,
    share_box,
    talk_in,
)
from tests.path.boxes import Conversation, name_of, policy, request, sent_to
from tests.policy.worlds import compiled
from tests.quic import crypto, datagram, hello, initial, open_initial, read_datagram
from tests.vocabulary import (
    ACK,
    FLOW4,
    PSH,
    RST,
    TO_CLIENT,
    TO_SERVER,
    Flow,
    Segment,
    packed,
    read_frame,
    tcp,
)


@pytest.fixture
def box() -> Iterator[AskingBox]:
    found = AskingBox(**ROOM)
    yield found
    found.check_ledger()
    assert (found.waiting(), found.lines()) == (0, 0), "something waits for ever"


# ---- ends -------------------------------------------------------------------------------------------------------------
def test_a_reset_meanwhile(box: AskingBox) -> None:
    talk = talk_in(box)
    talk.client(ASKED)
    assert name_of(talk.client(flags=RST | ACK, at=len(ASKED))) == "empty"
    assert reached(box.answer(box.ask(), Verdict.allow())) == [ASKED]


def test_a_new_connection_of_the_same_ports_meanwhile(box: AskingBox) -> None:
    flow = FLOW4._replace(client_port=next(ports))
    talk = Conversation(box, flow).open()
    talk.client(ASKED)
    old = box.ask()
    talk.server(flags=RST)
    new = Conversation(box, flow, 900_000, 5_000_000).open()
    assert name_of(new.client(GOOD)) == "allowed"
    box.answer(old, Verdict.block())
    assert new.word()[:2] == (0, len(GOOD)), "an old verdict does not fall on it"
    assert name_of(new.client(request("good.test"))) == "allowed"


def test_bytes_that_passed_unread_meanwhile(box: AskingBox) -> None:
    talk = talk_in(box)
    talk.client(ASKED)
    talk.client(GOOD)
    box.path.set_epoch(3)
    assert box.answer(box.ask(), Verdict.allow()) == []
    assert box.path_counts()["ask_left"] == 2
    assert name_of(talk.client(ASKED, at=0)) == "held", "its sender repeats it, and it is asked about"
    assert reached(box.answer(box.ask(), Verdict.allow())) == [ASKED]


def test_other_lists_meanwhile(box: AskingBox) -> None:
    talk = talk_in(box)
    talk.client(BAD)
    box.use(policy().snapshot)
    assert answered(box.answer(box.ask(), Verdict.allow())).startswith(b"HTTP/1.1 403 ")


def test_a_refusal_is_repeated_as_long_as_it_is_known(box: AskingBox) -> None:
    talk = talk_in(box)
    talk.client(ASKED)
    page = answered(box.answer(box.ask(), Verdict.block(text="Once more.")))
    again = talk.client(ASKED, at=0)
    assert name_of(again) == "refused_client"
    assert b"".join(segment.data for segment in sent_to(again, TO_CLIENT)) == page
    box.now_ns += SAID_NS
    (late,) = sent_to(talk.client(ASKED, at=0), TO_CLIENT)
    assert late.is_reset
    talk = talk_in(box)
    talk.client(ASKED)
    box.answer(box.ask(), Verdict.block(text="Forgotten."))
    for _ in range(a.SAID_COUNT):
        talk_in(box).client(ASKED)
        box.answer(box.ask(), Verdict.block(text="Another."))
    (late,) = sent_to(talk.client(ASKED, at=0), TO_CLIENT)
    assert late.is_reset


def test_the_server_of_a_refused_request(box: AskingBox) -> None:
    talk = talk_in(box)
    talk.client(ASKED)
    box.answer(box.ask(), Verdict.block())
    (reset,) = sent_to(talk.server(b"late", ack=0), TO_SERVER)
    assert reset.is_reset


def test_a_worker_that_ends_leaves_it_to_the_tables(box: AskingBox) -> None:
    post = [
        request("asked.test", "POST", "/", "Content-Length: 3000"),
        *[letter * 1000 for letter in (b"a", b"b", b"c")],
    ]
    contents = [[ASKED, request("2.asked.test"), GOOD], post, [ASKED, BAD]]
    talks = [talk_in(box) for _ in contents]
    for talk, packets in zip(talks, contents, strict=True):
        assert [name_of(talk.client(packet)) for packet in packets] == ["held"] * len(packets)
    compiled(end_asks)(box.path.worker.address)
    assert (box.path_counts().get("ask_left"), box.waiting(), box.lines()) == (None, 0, 0)
    for talk, packets in zip(talks[:2], contents, strict=False):
        assert talk.word()[2] == sum(map(len, packets)), "all of it went on"
    assert talks[2].word()[0] == REFUSED
    box.check_ledger()
    assert len(box.asked()) == 3, "nobody is asked at the end"
    talks[1].server()
    assert name_of(talks[1].client(request("good.test"))) == "allowed", "and what follows is read as ever"


# ---- bounds -----------------------------------------------------------------------------------------------------------
def test_a_flow_has_a_bound(box: AskingBox) -> None:
    talk = talk_in(box)
    pieces = [ASKED] + [b"GET / HTTP/1.1\r\n"] * a.CHAIN_LIMIT
    outcomes = [name_of(talk.client(piece)) for piece in pieces]
    assert outcomes == ["held"] * a.CHAIN_LIMIT + ["ask_full"]
    assert len(reached(box.answer(box.ask(), Verdict.allow()))) == a.CHAIN_LIMIT
    record_ = talk.record()
    sent_up, handled = (int(record_[at : at + 4].view("uint32")[0]) for at in (t.FLOW_SENT_UP, t.FLOW_HANDLED))
    assert sent_up == handled, "nothing waits, as the kernel sees it"


def test_nobody_takes_all_the_room(box: AskingBox) -> None:
    many = Flow("10.1.0.9")
    outcomes = []
    for _ in range(700):
        outcomes.append(name_of(talk_in(box, many).client(ASKED)))
    held = outcomes.count("held")
    assert held < 600
    assert set(outcomes[:held]) == {"held"}
    assert set(outcomes[held:]) == {"allowed"}, "the tables decide on what has no room"
    assert box.unasked() == 700 - held
    assert name_of(talk_in(box, Flow("10.2.0.10")).client(ASKED)) == "held"
    box.turn(BUDGET_MS + 1)
    assert box.path_counts()["allowed"] == 701
    box.asked()


def test_nobody_takes_all_the_room_for_long_packets(box: AskingBox) -> None:
    def ask(client: str, path_bytes: int) -> str:
        long = request("asked.test", "GET", "/" + "p" * path_bytes)
        return name_of(talk_in(box, Flow(client)).client(long, gso_size=1448, checksum="bare"))

    for path_bytes, count in ((40_000, LARGE_COUNT), (2_000, MIDDLE_COUNT)):
        half = count // 2
        outcomes = [ask("10.1.0.9", path_bytes) for _ in range(count)]
        assert outcomes == ["held"] * half + ["allowed"] * half
        assert ask("10.2.0.10", path_bytes) == "held", "there is room for others"
        box.check_ledger()
    box.turn(BUDGET_MS + 1)
    box.asked()


def test_a_ring_that_nobody_reads(box: AskingBox) -> None:
    for number in range(ASK_COUNT // 16):
        for _ in range(16):
            name_of(talk_in(box, Flow(f"10.1.1.{number}")).client(ASKED))
        box.turn(BUDGET_MS + 1)
    assert name_of(talk_in(box).client(ASKED)) == "allowed"
    assert (box.asks.lost, box.unasked(), box.waiting()) == (1, 1, 0)
    assert len(box.asked()) == ASK_COUNT
    assert name_of(talk_in(box).client(ASKED)) == "held"
    box.turn(BUDGET_MS + 1)


def test_a_segment_in_fragments_waits_as_one(box: AskingBox) -> None:
    talk = talk_in(box)
    ends = packed(talk.flow.client), packed(talk.flow.server)

    def send(content: bytes, at: int) -> list[str]:
        numbers = talk.flow.client_port, 80, talk.client_first + at, talk.server_first
        segment = tcp(*ends, *numbers, ACK | PSH, content)
        return [name_of(box.take(part, TO_SERVER)) for part in fragment(talk.flow, segment, 48)]

    long = request("asked.test", "GET", "/" + "p" * 100)
    assert set(send(long, 0)) == {"held"}
    went_up = box.counts()["up_fragment"]
    talk.client_at = len(long)
    assert set(send(GOOD, len(long))) == {"held"}, "and what follows behind it"
    assert name_of(talk.client(GOOD, at=len(long) + len(GOOD))) == "held"
    assert send(long, 0)[-1] == "ask_repeated"
    assert reached(box.answer(box.ask(), Verdict.allow())) == [long, GOOD, GOOD]
    counts = box.path_counts()
    assert counts["ask_repeated"] == went_up
    assert sum(counts.values()) == box.counts()["up_fragment"] + 1
    record_ = talk.record()
    sent_up, handled = (int(record_[at : at + 4].view("uint32")[0]) for at in (t.FLOW_SENT_UP, t.FLOW_HANDLED))
    assert sent_up == handled


def test_a_hello_over_quic_is_closed_so_that_its_client_asks_over_tcp(box: AskingBox) -> None:
    flow, dcid = FLOW4._replace(client_port=next(ports), server_port=443), bytes(range(8))
    outcome = box.take_raw(datagram(flow, initial(dcid, crypto(0, hello("www.asked.test")))), TO_SERVER)
    assert name_of(outcome) == "asked_by_tcp"
    ((side, content),) = outcome.sent
    assert side == TO_CLIENT
    assert open_initial(read_datagram(content).data, dcid) is not None
    (event,) = box.events()
    assert (event["reason"], event["answer"], event["host"]) == ("asked_by_tcp", "close", "www.asked.test")
    assert box.asked() == []
    flow = flow._replace(client_port=next(ports))
    other = box.take_raw(datagram(flow, initial(dcid[::-1], crypto(0, hello("www.good.test")))), TO_SERVER)
    assert name_of(other) == "allowed"


def test_super_packets_wait_as_one(box: AskingBox) -> None:
    talk = talk_in(box)
    long = request("asked.test", "GET", "/" + "p" * 40_000)
    assert name_of(talk.client(long, gso_size=1448, checksum="bare")) == "held"
    assert box.ask().request.path == "/" + "p" * 1535
    assert reached(box.turn(BUDGET_MS + 1)) == [long]


# ---- the other side was taken over ------------------------------------------------------------------------------------
def test_answers_that_mean_nothing(box: AskingBox) -> None:
    for change in (
        lambda raw: struct.pack_into("<q", raw, ANSWER_ACTION, 99),
        lambda raw: struct.pack_into("<q", raw, ANSWER_ACTION, -5),
        lambda raw: None,
    ):
        talk = talk_in(box)
        talk.client(ASKED)
        raw = bytearray(pack_answer(box.ask().identity, None, [], hook_tag(HOOK)).ljust(ANSWER_BYTES, b"\xff"))
        change(raw)
        assert box.answers.write(bytes(raw))
        assert reached(box.turn()) == [ASKED]


@pytest.mark.parametrize("url", [b"http://x.test/\r\nSet-Cookie: a=b", b"http://x.test/ y", b"\xffhttp", b""])
def test_addresses_that_no_field_may_have(box: AskingBox, url: bytes) -> None:
    talk = talk_in(box)
    talk.client(ASKED)
    raw = bytearray(
        pack_answer(box.ask().identity, Verdict.redirect("http://x.test/"), [], 1).ljust(ANSWER_BYTES, b"\0")
    )
    raw[64 : 64 + len(url)] = url
    struct.pack_into("<q", raw, ANSWER_URL_BYTES, len(url))
    assert box.answers.write(bytes(raw))
    sent = box.turn()
    assert b"Location" not in answered(sent)
    assert reached(sent) == []


def test_the_ring_says_what_cannot_be(box: AskingBox) -> None:
    for written in (-1, 1 << 40, ANSWER_COUNT + 1, -(1 << 63)):
        talk = talk_in(box)
        talk.client(ASKED)
        ask = box.ask()
        box.answers._words[WRITTEN] = written
        box.turn()
        assert box.answers._words[READ] == written
        assert reached(box.answer(ask, Verdict.allow())) == [ASKED]


actions = st.sampled_from([-1, 0, 1, 2, 3, 4, 5, 6, 255, -(1 << 63), (1 << 63) - 1])
words = st.one_of(st.integers(-3, 70), st.integers(-(1 << 63), (1 << 63) - 1))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([ASKED, BAD, HELLO]), actions, st.lists(words, min_size=4, max_size=4), st.binary(max_size=300))
def test_any_answer_ends_in_one_verdict(content: bytes, action: int, more: list[int], rest: bytes) -> None:
    box = share_box()
    talk = talk_in(box)
    assert name_of(talk.client(content)) == "held"
    raw = struct.pack("<6q", box.ask().identity, action, *more).ljust(64, b"\0") + rest
    box.answers.write(raw)
    sent = box.turn()
    assert sent or box.waiting() == 0
    assert reached(sent) in ([], [content])
    for _, segment in sent:
        assert segment.checksum == "right"
    box.check_ledger()
    assert box.waiting() == 0
    page = answered(sent)
    if page.startswith(b"HTTP"):
        head, _, body = page.partition(b"\r\n\r\n")
        assert b"Set-" not in head
        assert b"<script" not in body


# ---- whatever comes ---------------------------------------------------------------------------------------------------
steps = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(0, 3), st.integers(0, 200), st.integers(1, 120)),
        st.tuples(st.just("answer"), st.integers(0, 4), st.just(0), st.just(0)),
        st.tuples(st.just("turn"), st.integers(0, 70), st.just(0), st.just(0)),
    ),
    max_size=24,
)
VERDICTS = (None, Verdict.allow(), Verdict.block(text="x"), Verdict.redirect("http://x.test/"), Verdict.report())
UNITS = [ASKED, GOOD, request("2.asked.test"), GOOD, request("3.asked.test")]
STREAM = b"".join(UNITS)
PLACES = {unit: set(range(STREAM.index(unit), STREAM.index(unit) + len(unit))) for unit in UNITS if unit != GOOD}


@settings(max_examples=200, deadline=None)
@given(steps)
def test_any_cut_and_order_of_a_stream_with_any_answers(script: list[tuple[str, int, int, int]]) -> None:
    """Of one connection: pieces in any cut and order, answers and turns in between. The ledger closes after each step, what
    reaches the server is the client's stream, and never the whole of a request that a hook refused."""
    box = share_box()
    talk = talk_in(box)
    asks: list[Ask] = []
    got: dict[int, int] = {}
    refused: list[set[int]] = []

    def take(sent: list[tuple[bool, Segment]]) -> None:
        for segment in (segment for to_server, segment in sent if to_server and not segment.is_reset):
            for at, byte in enumerate(segment.data, talk.client_place(segment)):
                assert got.setdefault(at, byte) == byte == STREAM[at]

    for kind, first, at, size in script:
        if kind == "send":
            outcome = talk.client(STREAM[at : at + size], at=at)
            take([(side, read_frame(content)) for side, content in outcome.sent])
        elif kind == "turn":
            take(box.turn(first))
            asks = asks if box.waiting() else []
        elif asks:
            ask, verdict = asks.pop(), VERDICTS[first]
            if verdict and verdict.action in ("block", "redirect"):
                refused.append(PLACES[request(ask.request.host)])
            take(box.answer(ask, verdict))
        asks += box.asked()
        box.check_ledger()
        assert not any(places <= set(got) for places in refused)
    for _ in UNITS:
        take(box.turn(BUDGET_MS + 1))
    box.asked()
    box.check_ledger()
    assert box.waiting() == 0
    assert not any(places <= set(got) for places in refused)

"""Requests that wait for hooks, as scripts: nothing overtakes, nothing is lost, and where no hook decides the tables do."""

import struct
from collections.abc import Iterator
from itertools import count

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.control.hooks.rings import READ, WRITTEN, hook_tag, pack_answer
from penstock.hooks import Verdict
from penstock.kernel import tables as t
from penstock.path import asks as a
from penstock.path.ask_rings import ANSWER_ACTION, ANSWER_BYTES, ANSWER_COUNT, ANSWER_URL_BYTES, ASK_COUNT
from penstock.path.replays import drop_asks
from penstock.path.said import SAID_NS
from penstock.policy.judge import OWN_ALLOW, OWN_DENY
from tests.hellos import plain_hello, record
from tests.path.asking import BUDGET_MS, HOOK, Ask, AskingBox, answered, asking, reached
from tests.path.boxes import Conversation, name_of, policy, request, response, sent_to
from tests.policy.worlds import compiled
from tests.quic import crypto, datagram, hello, initial, open_initial, read_datagram
from tests.vocabulary import (
    ACK,
    FIN,
    FLOW4,
    FLOW6,
    PSH,
    RST,
    TO_CLIENT,
    TO_SERVER,
    Flow,
    Segment,
    ethernet,
    ipv4,
    packed,
    read_frame,
    tcp,
)

ASKED, GOOD, BAD, CASINO = (request(f"www.{name}.test") for name in ("asked", "good", "bad", "casino"))
HELLO = record(plain_hello(b"www.asked.test"))
ports = count(20_000)


ROOM = {"capacity": 1 << 14, "stream_count": 1 << 13, "large_count": 64}
shared: dict[str, AskingBox] = {}


@pytest.fixture
def box() -> Iterator[AskingBox]:
    found = AskingBox(**ROOM)
    yield found
    found.check_ledger()
    assert (found.waiting(), found.lines()) == (0, 0), "something waits for ever"


def share_box() -> AskingBox:
    """One box for all examples of a property, until its streams are used up."""
    if "box" not in shared or next(ports) % 5_000 < 10:
        shared["box"] = AskingBox(**ROOM)
    return shared["box"]


def fragment(flow: Flow, segment: bytes, size: int) -> list[bytes]:
    """A segment of the client in IPv4 fragments of `size` bytes."""
    ends, found = (packed(flow.client), packed(flow.server)), []
    for at in range(0, len(segment), size):
        part = segment[at : at + size]
        field = at // 8 | (0x2000 if at + size < len(segment) else 0)
        found.append(ethernet(TO_SERVER, False) + ipv4(*ends, 6, len(part), fragment=field, identity=7) + part)
    return found


def talk_in(box: AskingBox, flow: Flow = FLOW4) -> Conversation:
    return Conversation(box, flow._replace(client_port=next(ports))).open()


# ---- one request ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("flow", [FLOW4, FLOW6])
@pytest.mark.parametrize("content", [ASKED, HELLO], ids=["http", "tls"])
def test_allowed(box: AskingBox, flow: Flow, content: bytes) -> None:
    talk = talk_in(box, flow)
    assert name_of(talk.client(content)) == "held"
    ask = box.ask()
    assert (ask.request.host, ask.request.default, ask.request.profile) == ("www.asked.test", "forward", "all")
    assert ask.request.path == ("/" if content is ASKED else None)
    assert box.turn() == []
    assert reached(box.answer(ask, Verdict.allow())) == [content]
    (event,) = box.events()
    assert (event["hook"], event["action"], event["reason"]) == (HOOK, "forward", "allowed")
    assert talk.word()[1:] == (len(content), len(content))
    assert name_of(talk.server(response())) == "server"


def test_no_opinion_is_as_if_nobody_had_been_asked(box: AskingBox) -> None:
    for content, reason in ((ASKED, "allowed"), (BAD, "blocked")):
        talk = talk_in(box)
        talk.client(content)
        sent = box.answer(box.ask())
        assert (reached(sent) == [content]) == (reason == "allowed")
        assert box.path_counts()[reason] == 1
    assert [event.get("hook") for event in box.events()] == [None]


def test_a_refusal_has_its_text(box: AskingBox) -> None:
    talk = talk_in(box)
    talk.client(ASKED)
    sent = box.answer(box.ask(), Verdict.block("gambling", "Not <b>now</b> & “später”"))
    page = answered(sent)
    assert page.startswith(b"HTTP/1.1 403 ")
    assert "Not &#60;b&#62;now&#60;/b&#62; &#38; “später”  ".encode() in page
    assert b"<dd>gambling</dd>" in page
    (event,) = box.events()
    assert (event["hook"], event["action"], event["reason"]) == (HOOK, "block", "blocked")
    assert (event["category"], event["service"]) == ("gambling", None)
    assert event["id"].encode() in page
    (reset,) = [segment for to_server, segment in sent if to_server]
    assert (reset.is_reset, talk.client_place(reset)) == (True, 0), "the server has nothing of it"
    length = int(page.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
    assert len(page.partition(b"\r\n\r\n")[2]) == length


def test_a_refusal_of_a_hello_is_an_alert(box: AskingBox) -> None:
    for verdict in (Verdict.block(), Verdict.redirect("https://elsewhere.test/")):
        talk = talk_in(box)
        talk.client(HELLO)
        sent = box.answer(box.ask(), verdict)
        assert answered(sent)[:1] == b"\x15"
        assert reached(sent) == []
        (event,) = box.events()
        assert (event["action"], event["answer"], event["hook"]) == ("block", "alert", HOOK)


def test_led_elsewhere(box: AskingBox) -> None:
    talk = talk_in(box)
    talk.client(ASKED)
    url = "https://elsewhere.test/" + "x" * 1000
    head = answered(box.answer(box.ask(), Verdict.redirect(url))).decode()
    assert head.startswith("HTTP/1.1 302 ")
    location = next(line for line in head.split("\r\n") if line.startswith("Location: "))
    assert location.removeprefix("Location: ").rstrip(" ") == url
    assert box.events()[0]["answer"] == "redirect"


def test_reported(box: AskingBox) -> None:
    talk = talk_in(box)
    talk.client(ASKED)
    assert reached(box.answer(box.ask(), Verdict.report("strange"))) == [ASKED]
    (event,) = box.events()
    assert (event["action"], event["reason"], event["category"], event["hook"]) == (
        "report", "reported", "strange", HOOK,
    )  # fmt: skip


def test_a_hook_allows_what_a_list_refuses(box: AskingBox) -> None:
    for content, category in ((BAD, "phishing"), (CASINO, "gambling")):
        talk = talk_in(box)
        talk.client(content)
        ask = box.ask()
        assert ask.request.categories == (category,)
        assert ask.request.default == ("block" if content is BAD else "redirect")
        assert reached(box.answer(ask, Verdict.allow())) == [content]
        assert box.events()[0]["action"] == "forward"


def test_what_no_filter_wants_is_not_asked_about(box: AskingBox) -> None:
    outcomes = [talk_in(box).client(GOOD), talk_in(box, FLOW4._replace(server_port=8443)).client(ASKED)]
    assert [name_of(outcome) for outcome in outcomes] == ["allowed", "allowed"]
    assert box.asked() == []


def test_what_a_court_or_the_subscriber_forbids_is_not_for_hooks(box: AskingBox) -> None:
    box.use(asking("gambling"))
    line = np.frombuffer(box.path.subscribers, np.uint8)[t.SUBSCRIBER_BYTES :][: t.SUBSCRIBER_BYTES]
    line[t.SUBSCRIBER_FLAGS] |= t.SUBSCRIBER_NAMES
    box.path.own_names.put(1, "own.asked.test", OWN_DENY)
    box.path.own_names.put(1, "free.bad.test", OWN_ALLOW)
    for name, reason in (("casino.test", "court_order"), ("www.own.asked.test", "own_list")):
        for content in (request(name), record(plain_hello(name.encode()))):
            assert name_of(talk_in(box).client(content)) == reason
    assert box.asked() == []
    assert name_of(talk_in(box).client(request("free.bad.test"))) == "held", "what he allows is"
    assert box.ask().request.default == "forward"
    box.turn(BUDGET_MS + 1)


def test_a_box_without_hooks_asks_nobody(box: AskingBox) -> None:
    box.use(policy().snapshot)
    assert name_of(talk_in(box).client(ASKED)) == "allowed"
    assert box.asked() == []


# ---- time -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("content", "reason"), [(ASKED, "allowed"), (BAD, "blocked"), (HELLO, "allowed")])
def test_the_budget_is_over(box: AskingBox, content: bytes, reason: str) -> None:
    talk = talk_in(box)
    talk.client(content)
    ask = box.ask()
    assert box.turn(BUDGET_MS - 2) == []
    assert (reached(box.turn(3)) == [content]) == (reason == "allowed")
    assert box.path_counts()[reason] == 1
    assert box.answer(ask, Verdict.block()) == [], "nobody waits for it any more"
    later = talk_in(box)
    assert name_of(later.client(ASKED)) == "held"
    assert box.answer(ask, Verdict.block()) == [], "nor is it an answer to another"
    box.turn(BUDGET_MS)


def test_a_late_answer_is_none_to_the_next_request_of_its_connection(box: AskingBox) -> None:
    talk = talk_in(box)
    talk.client(ASKED)
    late = box.ask()
    box.turn(BUDGET_MS + 1)
    assert name_of(talk.client(ASKED)) == "held"
    assert box.answer(late, Verdict.block()) == []
    assert reached(box.answer(box.ask(), Verdict.allow())) == [ASKED]


def test_budgets_end_in_their_order(box: AskingBox) -> None:
    talks = []
    for number in range(5):
        talks.append(talk_in(box))
        talks[-1].client(request(f"{number}.asked.test"))
        box.turn(5)
    first, *_, last = box.asked()
    box.answer(first, Verdict.allow())
    sent = reached(box.turn(BUDGET_MS - 14))
    assert sent
    assert all(data != request("4.asked.test") for data in sent)
    assert reached(box.answer(last, Verdict.allow()))[-1] == request("4.asked.test")
    box.turn(BUDGET_MS)


# ---- what comes meanwhile ---------------------------------------------------------------------------------------------
def test_what_follows_stays_behind(box: AskingBox) -> None:
    talk = talk_in(box)
    post = request("asked.test", "POST", "/", "Content-Length: 3000")
    pieces = [post, b"a" * 1000, b"b" * 1000, b"c" * 1000]
    assert [name_of(talk.client(piece)) for piece in pieces] == ["held"] * 4
    assert name_of(talk.client(flags=ACK)) == "empty", "an acknowledgement moves nothing"
    assert name_of(talk.client(flags=FIN | ACK)) == "held"
    assert reached(box.answer(box.ask(), Verdict.allow())) == [*pieces, b""]
    assert talk.word()[0] == 0
    talk.server(response(), flags=ACK | PSH | FIN)


def test_out_of_order_and_repeated(box: AskingBox) -> None:
    talk = talk_in(box)
    head, tail = ASKED[:20], ASKED[20:]
    assert name_of(talk.client(tail, at=20)) == "incomplete"  # the server has it, and cannot read it yet
    assert name_of(talk.client(head, at=0)) == "held"
    ask = box.ask()
    assert name_of(talk.client(head, at=0)) == "ask_repeated"
    assert name_of(talk.client(head[:7], at=0)) == "ask_repeated"
    assert name_of(talk.client(head[7:], at=7)) == "ask_repeated"
    assert name_of(talk.client(ASKED, at=0)) == "held"  # says more than what waits
    sent = box.answer(ask, Verdict.allow())
    assert reached(sent) == [head, ASKED]
    assert box.path_counts()["repeated"] == 1


def test_a_repetition_with_another_cut_behind_what_was_released(box: AskingBox) -> None:
    talk = talk_in(box)
    assert name_of(talk.client(ASKED[:10])) == "incomplete"
    assert name_of(talk.client(ASKED[10:])) == "held"
    assert name_of(talk.client(ASKED, at=0)) == "held"  # the first part may be lost on the way
    assert reached(box.answer(box.ask(), Verdict.allow())) == [ASKED[10:], ASKED]


def test_other_bytes_at_the_place_of_what_waits(box: AskingBox) -> None:
    talk = talk_in(box)
    talk.client(ASKED)
    other = ASKED.replace(b"asked", b"other") + b"x"
    assert name_of(talk.client(other, at=0)) == "held"
    assert reached(box.answer(box.ask(), Verdict.allow())) == [ASKED]
    assert box.path_counts()["conflict"] == 1


@pytest.mark.parametrize("verdict", [Verdict.allow(), Verdict.block(), None])
def test_pipelined_requests(box: AskingBox, verdict: Verdict | None) -> None:
    talk = talk_in(box)
    talk.client(GOOD + ASKED + request("2.asked.test") + GOOD)
    box.answer(box.ask(), Verdict.allow())
    second = box.ask()
    assert second.request.host == "2.asked.test"
    assert box.waiting() == 1
    sent = box.answer(second, verdict)
    assert len(reached(sent)) == (0 if verdict and verdict.action == "block" else 1)
    if verdict and verdict.action == "block":
        assert all(segment.is_reset for _, segment in sent), "the server may be answering the first"


def test_each_of_two_packets_is_asked_about_in_its_turn(box: AskingBox) -> None:
    talk = talk_in(box)
    contents = [ASKED, request("2.asked.test"), GOOD]
    assert [name_of(talk.client(content)) for content in contents] == ["held"] * 3
    assert reached(box.answer(box.ask(), Verdict.allow())) == [ASKED]
    ask = box.ask()
    assert ask.request.host == "2.asked.test"
    assert reached(box.answer(ask, Verdict.allow())) == contents[1:]


def test_a_second_packet_has_a_budget_of_its_own(box: AskingBox) -> None:
    talk = talk_in(box)
    talk.client(ASKED)
    talk.client(request("2.asked.test"))
    assert reached(box.turn(BUDGET_MS + 1)) == [ASKED]
    assert box.turn(BUDGET_MS - 2) == []
    assert reached(box.turn(3)) == [request("2.asked.test")]


def test_several_hosts_are_asked_about_one_by_one(box: AskingBox) -> None:
    content = b"GET http://1.asked.test/ HTTP/1.1\r\nHost: 2.asked.test\r\n\r\n"
    for second, passes in ((Verdict.allow(), True), (None, True), (Verdict.block(), False)):
        talk = talk_in(box)
        talk.client(content)
        first = box.ask()
        assert (first.request.host, box.answer(first, Verdict.allow())) == ("1.asked.test", [])
        ask = box.ask()
        assert ask.request.host == "2.asked.test"
        assert (reached(box.answer(ask, second)) == [content]) == passes
    talk = talk_in(box)
    talk.client(content.replace(b"2.asked", b"casino"))
    box.answer(box.ask(), Verdict.allow())
    assert reached(box.answer(box.ask(), None)) == [], "a word about one host is none about another"
    talk_in(box).client(content.replace(b"2.asked", b"good"))
    assert len(reached(box.answer(box.ask(), Verdict.allow()))) == 1


@pytest.mark.parametrize("size", [1, 7, 25, 40])
def test_a_refused_host_in_an_unfinished_head_waits_for_its_end(box: AskingBox, size: int) -> None:
    talk = talk_in(box)
    pieces = [BAD[at : at + size] for at in range(0, len(BAD), size)]
    outcomes = [name_of(talk.client(piece)) for piece in pieces]
    assert outcomes[:-1] == ["incomplete"] * (len(pieces) - 1)
    assert outcomes[-1] == "held"
    assert reached(box.answer(box.ask(), Verdict.allow())) == [pieces[-1]]


def test_a_second_hello_is_asked_about_too(box: AskingBox) -> None:
    talk = talk_in(box)
    talk.client(HELLO)
    box.answer(box.ask(), Verdict.allow())
    talk.server(b"\x16\x03\x03\x00\x04\x02\x00\x00\x00")
    second = record(plain_hello(b"2.asked.test"))
    assert name_of(talk.client(second)) == "held"
    ask = box.ask()
    assert ask.request.host == "2.asked.test"
    assert reached(box.answer(ask, Verdict.allow())) == [second]


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


def test_a_worker_that_ends_drops_what_waits() -> None:
    box = AskingBox(**ROOM)
    talks = [talk_in(box) for _ in range(3)]
    for talk in talks:
        talk.client(ASKED)
        talk.client(GOOD)
    compiled(drop_asks)(box.path.worker.address)
    assert (box.path_counts()["ask_left"], box.waiting(), box.lines()) == (6, 0, 0)
    box.check_ledger()
    box.asked()
    assert name_of(talks[0].client(ASKED, at=0)) == "held", "its sender repeats it"
    assert reached(box.answer(box.ask(), Verdict.allow())) == [ASKED]


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

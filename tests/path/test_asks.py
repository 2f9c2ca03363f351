"""Requests that wait for hooks, as scripts: nothing overtakes, nothing is lost, and where no hook decides the tables do."""

from collections.abc import Iterator

import numpy as np
import pytest

from penstock.hooks import Verdict
from penstock.kernel import tables as t
from penstock.policy.judge import OWN_ALLOW, OWN_DENY
from tests.hellos import plain_hello, record
from tests.path.asking import (
    ASKED,
    BAD,
    BUDGET_MS,
    CASINO,
    GOOD,
    HELLO,
    HOOK,
    ROOM,
    AskingBox,
    answered,
    asking,
    reached,
    talk_in,
)
from tests.path.boxes import name_of, policy, request, response
from tests.vocabulary import (
    ACK,
    FIN,
    FLOW4,
    FLOW6,
    PSH,
    Flow,
)


@pytest.fixture
def box() -> Iterator[AskingBox]:
    found = AskingBox(**ROOM)
    yield found
    found.check_ledger()
    assert (found.waiting(), found.lines()) == (0, 0), "something waits for ever"


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

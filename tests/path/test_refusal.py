"""What a refused flow gets, as scripts: who is sent what, with which numbers."""

import pytest

from tests.hellos import plain_hello, record
from tests.path.boxes import Box, Conversation, name_of, request, response, sent_to
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
    Segment,
    ahead,
    frame,
    timestamps,
)

BAD, GOOD = request("bad.test"), request("good.test")
TAGGED = Flow("10.1.0.7", tags=((0x8100, 0x2007),))
QINQ = Flow("fd00::7", "2001:db8::80", tags=((0x88A8, 100), (0x8100, 3 << 13 | 7)))
WRAPPING = 0xFFFFFFF0
PLACES = [FLOW4, FLOW6, TAGGED, QINQ]


@pytest.fixture(scope="module")
def box() -> Box:
    return Box()


@pytest.fixture(params=PLACES, ids=["v4", "v6", "tagged", "qinq"])
def flow(request: pytest.FixtureRequest) -> Flow:
    ports["next"] += 1
    return request.param._replace(client_port=ports["next"])


ports = {"next": 20000}


def next_flow(base: Flow = FLOW4) -> Flow:
    ports["next"] += 1
    return base._replace(client_port=ports["next"])


def read_page(talk: Conversation, segments: list[Segment], at: int, ack: int) -> bytes:
    """The page in a run of segments: contiguous from `at` on, ended by FIN, all acknowledging `ack`."""
    page = b""
    for segment in segments:
        assert segment.seq == (talk.server_first + at + len(page)) % (1 << 32)
        assert segment.ack == (talk.client_first + ack) % (1 << 32)
        assert segment.flags & ACK
        assert not segment.flags & (RST | SYN)
        assert (segment.source, segment.target) == (talk.flow.server, talk.flow.client)
        assert (segment.source_port, segment.target_port) == (talk.flow.server_port, talk.flow.client_port)
        page += segment.data
    assert [segment.flags & FIN != 0 for segment in segments] == [False] * (len(segments) - 1) + [True]
    return page


@pytest.mark.parametrize("first", [1000, WRAPPING], ids=["plain", "wrapping"])
def test_a_page_then_fin_and_a_reset_for_the_server(box: Box, flow: Flow, first: int) -> None:
    talk = Conversation(box, flow, first, first + 5).open()
    outcome = talk.client(BAD)
    assert name_of(outcome) == "blocked"
    page = read_page(talk, sent_to(outcome, TO_CLIENT), 0, len(BAD))
    assert page.startswith(b"HTTP/1.1 403 ")
    assert b"Connection: close" in page
    head, _, body = page.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    (reset,) = sent_to(outcome, TO_SERVER)
    assert reset.is_reset
    assert reset.seq == talk.client_first % (1 << 32)  # nothing of the request reached the server
    assert (reset.source, reset.target) == (flow.client, flow.server)
    assert reset.tags == flow.tags


def test_each_action_has_an_answer_of_its_own(box: Box) -> None:
    for host, status in (
        ("casino.test", b"HTTP/1.1 302 "),
        ("ads.test", b"HTTP/1.1 20"),
        ("bad.test", b"HTTP/1.1 403 "),
    ):
        talk = Conversation(box, next_flow()).open()
        outcome = talk.client(request(host))
        page = read_page(talk, sent_to(outcome, TO_CLIENT), 0, talk.client_at)
        assert page.startswith(status), page[:40]


def test_what_is_only_reported_passes(box: Box) -> None:
    talk = Conversation(box, next_flow()).open()
    assert name_of(talk.client(request("odd.test"))) == "reported"
    assert talk.word()[0] == 0


def test_the_server_has_a_part_of_the_request(box: Box) -> None:
    """The reset's number is the first byte that the server lacks."""
    talk = Conversation(box, next_flow()).open()
    assert name_of(talk.client(BAD[:20])) == "incomplete"
    outcome = talk.client(BAD[20:])
    (reset,) = sent_to(outcome, TO_SERVER)
    assert reset.seq == talk.client_first + 20
    read_page(talk, sent_to(outcome, TO_CLIENT), 0, len(BAD))


def test_a_repeated_request_gets_the_same_page_again(box: Box, flow: Flow) -> None:
    talk = Conversation(box, flow).open()
    first = read_page(talk, sent_to(talk.client(BAD), TO_CLIENT), 0, len(BAD))
    for _ in range(3):
        outcome = talk.client(BAD, 0)
        assert name_of(outcome) == "refused_client"
        assert read_page(talk, sent_to(outcome, TO_CLIENT), 0, len(BAD)) == first
    partly = talk.client(ack=10, flags=ACK)
    assert read_page(talk, sent_to(partly, TO_CLIENT), 0, len(BAD)) == first


def test_the_clients_fin_is_acknowledged(box: Box, flow: Flow) -> None:
    talk = Conversation(box, flow).open()
    page = read_page(talk, sent_to(talk.client(BAD), TO_CLIENT), 0, len(BAD))
    end = len(page) + 1
    acknowledgement = talk.client(ack=end, flags=ACK)
    assert not acknowledgement.sent
    (answer,) = sent_to(talk.client(ack=end, flags=FIN | ACK), TO_CLIENT)
    assert answer.flags == ACK
    assert (answer.seq, answer.ack) == (talk.server_first + end, talk.client_first + len(BAD) + 1)
    (again,) = sent_to(talk.client(at=len(BAD), ack=end, flags=FIN | ACK), TO_CLIENT)
    assert again == answer


def test_later_bytes_of_the_client_are_acknowledged_and_lost(box: Box) -> None:
    talk = Conversation(box, next_flow()).open()
    page = read_page(talk, sent_to(talk.client(BAD), TO_CLIENT), 0, len(BAD))
    outcome = talk.client(b"more", ack=len(page) + 1)
    assert not sent_to(outcome, TO_SERVER)
    (answer,) = sent_to(outcome, TO_CLIENT)
    assert answer.ack == talk.client_first + len(BAD) + 4


def test_late_bytes_of_the_server_are_reset_at_its_own_number(box: Box, flow: Flow) -> None:
    talk = Conversation(box, flow).open()
    talk.client(BAD)
    for data, seen in ((b"", 0), (b"late", 0), (b"more", len(BAD))):
        outcome = talk.server(data, ack=seen)
        assert name_of(outcome) == "refused_server"
        assert not sent_to(outcome, TO_CLIENT)
        (reset,) = sent_to(outcome, TO_SERVER)
        assert reset.is_reset
        assert reset.seq == talk.client_first + seen
        assert (reset.source, reset.source_port) == (flow.client, flow.client_port)
    assert not talk.server(flags=RST | ACK).sent


def test_the_third_request_of_a_connection(box: Box, flow: Flow) -> None:
    """Responses with a length have been seen whole: the page stands in the place of the next one."""
    talk = Conversation(box, flow).open()
    for _ in range(2):
        assert name_of(talk.client(GOOD)) == "allowed"
        talk.server(response(b"x" * 100)[:50])
        talk.server((response(b"x" * 100) + b"")[50:])
        talk.client(flags=ACK)
    at = talk.client_at
    outcome = talk.client(BAD)
    page = read_page(talk, sent_to(outcome, TO_CLIENT), talk.server_at, at + len(BAD))
    assert page.startswith(b"HTTP/1.1 403")
    (reset,) = sent_to(outcome, TO_SERVER)
    assert reset.seq == talk.client_first + at


@pytest.mark.parametrize(
    "kind", ["unanswered", "half", "not taken", "without length", "chunked", "pipelined", "interim"]
)
def test_never_a_page_inside_a_response(box: Box, kind: str) -> None:
    talk = Conversation(box, next_flow()).open()
    if kind == "pipelined":
        talk.client(GOOD + GOOD)
        talk.server(response() + response())
    else:
        talk.client(GOOD)
    if kind == "half":
        talk.server(response(bytes(1000))[:500])
    if kind == "without length":
        talk.server(b"HTTP/1.1 200 OK\r\n\r\nhello")
    if kind == "chunked":
        talk.server(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
    if kind == "not taken":
        talk.server(response())
        talk.server_at = 0
    if kind == "interim":
        talk.server(b"HTTP/1.1 100 Continue\r\n\r\n")
    at = talk.client_at
    outcome = talk.client(BAD)
    assert name_of(outcome) == "blocked"
    (to_client,), (to_server,) = sent_to(outcome, TO_CLIENT), sent_to(outcome, TO_SERVER)
    assert to_client.is_reset
    assert to_server.is_reset
    assert not to_client.data
    assert (to_client.seq, to_client.ack) == (talk.server_first + talk.server_at, talk.client_first + at + len(BAD))
    assert to_server.seq == talk.client_first + at
    more = talk.client(b"x", ack=talk.server_at + 7)
    (again,) = sent_to(more, TO_CLIENT)
    assert again.is_reset
    assert again.seq == talk.server_first + talk.server_at + 7


def test_a_request_pipelined_in_the_same_segment_is_reset(box: Box) -> None:
    """The allowed request in front has no response yet, and its bytes never pass alone."""
    talk = Conversation(box, next_flow()).open()
    outcome = talk.client(GOOD + BAD)
    assert name_of(outcome) == "blocked"
    (to_client,), (to_server,) = sent_to(outcome, TO_CLIENT), sent_to(outcome, TO_SERVER)
    assert to_client.is_reset
    assert to_server.is_reset
    assert to_server.seq == talk.client_first


def test_after_an_interim_response_the_page_waits_for_the_last(box: Box) -> None:
    talk = Conversation(box, next_flow()).open()
    talk.client(request("good.test", "POST", "/", "Content-Length: 3", "Expect: 100-continue"))
    talk.server(b"HTTP/1.1 100 Continue\r\n\r\n")
    talk.client(b"abc")
    talk.server(response())
    at = talk.client_at
    outcome = talk.client(BAD)
    read_page(talk, sent_to(outcome, TO_CLIENT), talk.server_at, at + len(BAD))


def test_a_head_request_has_no_body(box: Box) -> None:
    talk = Conversation(box, next_flow()).open()
    talk.client(request("good.test", "HEAD"))
    talk.server(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
    at = talk.client_at
    read_page(talk, sent_to(talk.client(BAD), TO_CLIENT), talk.server_at, at + len(BAD))


@pytest.mark.parametrize("version", [0x0301, 0x0303])
def test_a_hello_gets_an_alert(box: Box, flow: Flow, version: int) -> None:
    talk = Conversation(box, flow._replace(server_port=443)).open()
    hello = record(plain_hello(b"www.bad.test"), version=version)
    outcome = talk.client(hello)
    assert name_of(outcome) == "blocked"
    (answer,) = sent_to(outcome, TO_CLIENT)
    assert answer.data[0] == 21
    assert answer.data[3:6] == b"\0\2\2"
    assert answer.flags & FIN
    assert (answer.seq, answer.ack) == (talk.server_first, talk.client_first + len(hello))
    (reset,) = sent_to(outcome, TO_SERVER)
    assert (reset.seq, reset.is_reset) == (talk.client_first, True)
    (again,) = sent_to(talk.client(hello, 0), TO_CLIENT)
    assert again == answer


def test_a_second_hello_is_reset(box: Box) -> None:
    """The server has spoken: an alert in the clear would stand inside its handshake."""
    talk = Conversation(box, next_flow(Flow(server_port=443))).open()
    talk.client(record(plain_hello(b"good.test")))
    talk.server(b"\x16\3\3\0\4\2\0\0\0")
    outcome = talk.client(record(plain_hello(b"bad.test")))
    assert name_of(outcome) == "blocked"
    (to_client,) = sent_to(outcome, TO_CLIENT)
    assert to_client.is_reset
    assert sent_to(outcome, TO_SERVER)[0].is_reset


def test_answers_carry_timestamps_where_the_connection_does(box: Box) -> None:
    talk = Conversation(box, next_flow()).open(timestamps(500, 0), timestamps(9000, 500))
    for segment in sent_to(talk.client(BAD, options=timestamps(600, 9001)), TO_CLIENT):
        assert segment.options == timestamps(9001, 600)


def test_an_ambiguous_request_is_answered_like_a_refused_one(box: Box) -> None:
    talk = Conversation(box, next_flow()).open()
    twice = request("good.test", "POST", "/", "Content-Length: 3", "Content-Length: 4")
    outcome = talk.client(twice)
    assert name_of(outcome) == "ambiguous"
    assert read_page(talk, sent_to(outcome, TO_CLIENT), 0, len(twice)).startswith(b"HTTP/1.1 4")


def test_answers_end_after_thirty_two_times(box: Box) -> None:
    """A client that takes none of them is reset: the path is no amplifier without end."""
    talk = Conversation(box, next_flow()).open()
    outcomes = [talk.client(BAD, 0) for _ in range(40)]
    assert sent_to(outcomes[20], TO_CLIENT)[0].data
    (last,) = sent_to(outcomes[-1], TO_CLIENT)
    assert last.is_reset
    assert not talk.client(flags=RST).sent


def test_a_new_connection_on_the_same_ports_is_judged_afresh(box: Box) -> None:
    talk = Conversation(box, next_flow()).open()
    talk.client(BAD)
    again = Conversation(box, talk.flow, 9_000_000, 5_000_000)
    assert again.syn().is_forwarded
    assert again.syn_ack().is_forwarded
    assert name_of(again.client(GOOD)) == "allowed"
    assert name_of(again.client(BAD)) == "blocked"


def test_the_syn_ack_again_changes_nothing(box: Box) -> None:
    talk = Conversation(box, next_flow()).open()
    talk.client(BAD)
    talk.syn_ack()
    assert name_of(talk.client(GOOD)) == "refused_client"


def test_a_reset_of_the_client_ends_nothing(box: Box) -> None:
    """Only a packet that the server confirms changes what we know: a forged RST must not open the flow."""
    talk = Conversation(box, next_flow()).open()
    talk.client(GOOD[:26])
    assert talk.client(flags=RST, at=5).is_forwarded
    assert name_of(talk.client(BAD, 0)) == "conflict"


def test_two_sides_agree_about_the_end(box: Box) -> None:
    """The ACK of the page covers a FIN that came with the refused request."""
    talk = Conversation(box, next_flow()).open()
    outcome = talk.client(BAD, flags=ACK | PSH | FIN)
    segments = sent_to(outcome, TO_CLIENT)
    assert all(ahead(segment.ack, talk.client_first) == len(BAD) + 1 for segment in segments)


def test_frames_without_a_flow_are_not_answered(box: Box) -> None:
    lonely = frame(next_flow(), TO_SERVER, seq=5, ack=9, flags=ACK)
    assert name_of(box.take(lonely, TO_SERVER)) == "no_flow"


def test_a_request_without_a_record_is_reset(box: Box) -> None:
    flow = next_flow()
    outcome = box.take(frame(flow, TO_SERVER, seq=5, ack=9, data=BAD), TO_SERVER)
    assert name_of(outcome) == "blocked"
    (to_client,), (to_server,) = sent_to(outcome, TO_CLIENT), sent_to(outcome, TO_SERVER)
    assert (to_client.seq, to_client.ack, to_client.is_reset) == (9, 5 + len(BAD), True)
    assert (to_server.seq, to_server.is_reset) == (5, True)

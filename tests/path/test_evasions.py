"""Scripts of single tricks: what an evader sends, and that no server reads a request for a refused host from it."""

import pytest

from penstock.flow.record import OPEN, SETTLING
from penstock.line.native import Outcome
from tests.hellos import APPLICATION_DATA, plain_hello, record
from tests.path.boxes import Box, Conversation, name_of, passed, request, response
from tests.vocabulary import (
    ACK,
    FIN,
    FLOW6,
    MD5,
    PSH,
    RST,
    SYN,
    TO_CLIENT,
    TO_SERVER,
    URG,
    WRONG,
    Flow,
    ethernet,
    frame,
    ipv4,
    packed,
    read_frame,
    tcp,
    timestamps,
)

BAD, GOOD = request("bad.test"), request("good.test")


@pytest.fixture(scope="module")
def box() -> Box:
    return Box()


def test_a_handshake_of_the_client_frees_nothing(box: Box) -> None:
    """The client's own SYN-ACK, whatever it acknowledges, must not make its flow an inbound one."""
    talk = Conversation(box, Flow(client_port=50001)).open()
    forged = frame(talk.flow, TO_SERVER, seq=5, ack=talk.client_first, flags=SYN | ACK)
    box.take(forged, TO_SERVER)
    assert talk.word()[0] == OPEN
    assert name_of(talk.client(BAD)) == "blocked"


def test_a_handshake_of_the_client_carries_no_bytes(box: Box) -> None:
    talk = Conversation(box, Flow(client_port=50002)).open()
    forged = frame(talk.flow, TO_SERVER, seq=talk.client_first - 1, ack=talk.server_first, flags=SYN | ACK, data=BAD)
    assert not passed(forged, TO_SERVER, box.take(forged, TO_SERVER))


def test_an_inbound_connection_is_not_judged(box: Box) -> None:
    flow = Flow(client_port=22, server_port=60001)
    box.take(frame(flow, TO_CLIENT, seq=1, flags=SYN), TO_CLIENT)
    box.take(frame(flow, TO_SERVER, seq=9, ack=2, flags=SYN | ACK), TO_SERVER)
    box.take(frame(flow, TO_CLIENT, seq=2, ack=10, flags=ACK), TO_CLIENT)
    assert name_of(box.take(frame(flow, TO_SERVER, seq=10, ack=2, data=BAD), TO_SERVER)) == "free"


@pytest.mark.parametrize("place", ["third", "later", "old", "finish"])
def test_no_urgent_pointer_reaches_the_server(box: Box, place: str) -> None:
    """Linux takes the pointer from any segment, also an empty or an old one, and its reader then skips the byte that it
    names: `baXd.test` is read as `bad.test`."""
    number = ["third", "later", "old", "finish"].index(place)
    talk = Conversation(box, Flow(client_port=50010 + number)).open(third=place != "third")
    if place == "old":
        talk.client(GOOD)
        talk.server()
    at = 0 if place == "old" else talk.client_at
    data = GOOD if place == "old" else b""
    flags = ACK | URG | (FIN if place == "finish" else 0)
    content = talk.client_frame(data, at, flags=flags, urgent=len(data) + 21)
    for sent in passed(content, TO_SERVER, box.take(content, TO_SERVER)):
        assert not read_frame(sent).flags & URG


def test_an_urgent_pointer_of_unjudged_bytes_is_cleared(box: Box) -> None:
    talk = Conversation(box, Flow(client_port=50020)).open()
    content = talk.client_frame(GOOD, flags=ACK | PSH | URG, urgent=21)
    (sent,) = passed(content, TO_SERVER, box.take(content, TO_SERVER))
    segment = read_frame(sent)
    assert (segment.flags, segment.urgent, segment.checksum, segment.data) == (ACK | PSH, 0, "right", GOOD)


BODIES = [b"\0\0\0", b"\0\0\0\r\n", b"\x17\x03\x03", b"\x80\x01", b"abc", b"{}", b"\xff" * 9]


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("whole", [True, False])
def test_an_upgrade_with_a_body_hides_no_request(box: Box, body: bytes, method: str, whole: bool) -> None:
    """A server that ignores `Upgrade` reads the body by its length, and then the next request."""
    port = 50100 + BODIES.index(body) * 4 + (method == "GET") * 2 + whole
    talk = Conversation(box, Flow(client_port=port)).open()
    head = request("good.test", method, "/", "Upgrade: x", "Connection: upgrade", f"Content-Length: {len(body)}")
    parts = [head + body + BAD] if whole else [head, body + BAD]
    delivered = b""
    for part in parts:
        content = talk.client_frame(part)
        delivered += b"".join(read_frame(sent).data for sent in passed(content, TO_SERVER, talk.client(part)))
    assert b"bad.test" not in delivered


def test_fragments_hide_no_request(box: Box) -> None:
    talk = Conversation(box, Flow(client_port=50200)).open()
    ends = packed(talk.flow.client), packed(talk.flow.server)
    segment = tcp(*ends, talk.flow.client_port, 80, talk.client_first, talk.server_first, ACK | PSH, BAD)
    outcomes = []
    for offset, part, more in ((0, segment[:40], 0x2000), (5, segment[40:], 0)):
        head = ipv4(*ends, 6, len(part), fragment=more | offset)
        outcomes.append(box.take(ethernet(TO_SERVER, False) + head + part, TO_SERVER))
    assert not (outcomes[0].sent and outcomes[1].sent), [name_of(outcome) for outcome in outcomes]


def test_a_second_handshake_answered_by_cookies_opens_nothing(box: Box) -> None:
    """A server that answers with SYN cookies remembers nothing: the client may complete the first of two handshakes."""
    flow = Flow(client_port=50300)
    first = Conversation(box, flow, client_isn=1000).open(third=False)
    second = Conversation(box, flow, client_isn=1_001_000, server_isn=99)
    second.syn()
    second.syn_ack()
    assert name_of(first.client(BAD)) == "out_of_window"
    assert name_of(second.client(BAD)) == "blocked"


NOT_TAKEN = {
    "ack": 100_000
}  # acknowledges what the server never sent: a careful stack drops the segment (RFC 9293 3.10.7.4)


@pytest.mark.parametrize("first", [b"SSH-2.0-x\r\n", b"\0"])
def test_bytes_that_the_server_does_not_take_free_nothing(box: Box, first: bytes) -> None:
    talk = Conversation(box, Flow(client_port=50600 + len(first) + first[0])).open()
    assert name_of(talk.client(first, 0, **NOT_TAKEN)) == "out_of_window"
    assert name_of(talk.client(BAD, 0)) == "blocked"


def test_an_early_end_that_the_server_does_not_take_frees_nothing(box: Box) -> None:
    talk = Conversation(box, Flow(client_port=50700)).open()
    assert name_of(talk.client(BAD[:1], 0, flags=FIN | ACK, **NOT_TAKEN)) == "out_of_window"
    assert name_of(talk.client(BAD, 0)) == "blocked"


@pytest.mark.parametrize("decoy", [record(b"x" * 20, APPLICATION_DATA), record(b"\x10\0\0\4abcd")])
def test_records_that_the_server_does_not_take_free_nothing(box: Box, decoy: bytes) -> None:
    """After a HelloRetryRequest the second hello stands where the decoy stood."""
    talk = Conversation(box, Flow(client_port=50800 + len(decoy), server_port=443)).open()
    talk.client(record(plain_hello(b"good.test")))
    talk.server(b"\x16\3\3\0\4\2\0\0\0")
    at = talk.client_at
    talk.client(decoy, at, **NOT_TAKEN)
    content = talk.client_frame(record(plain_hello(b"bad.test")), at)
    assert not passed(content, TO_SERVER, box.take(content, TO_SERVER))


# ---- tricks that already fail ------------------------------------------------------------------------------------------
DECOYS = {
    "checksum": ("bad_checksum", {"checksum": WRONG}),
    "no ack": ("no_ack_flag", {"flags": PSH}),
    "md5": ("md5_option", {"options": MD5}),
    "ttl": ("low_ttl", {"ttl": 3}),
    "timestamp": ("old_timestamp", {"options": timestamps(99, 5)}),
}


@pytest.mark.parametrize("name", DECOYS)
@pytest.mark.parametrize("flow", [Flow(client_port=50400), FLOW6])
def test_a_decoy_leaves_no_trace(box: Box, name: str, flow: Flow) -> None:
    """The subscriber's allowed site works behind it, and the refused one does not."""
    reason, trick = DECOYS[name]
    for number, (real, result) in enumerate([(GOOD, "allowed"), (BAD, "blocked")]):
        port = 50400 + 2 * list(DECOYS).index(name) + number
        stamped = {"options": timestamps(1000, 5)} if name == "timestamp" else {}
        talk = Conversation(box, flow._replace(client_port=port))
        talk.open(timestamps(500, 0), timestamps(5, 500))
        decoy = b"GET / HTTP/1.1\r\nHost: ok.test\r\n\r\n"
        assert name_of(talk.client(decoy[: len(real)], 0, **trick)) == reason
        assert name_of(talk.client(real, 0, **stamped)) == result


def test_a_released_byte_is_fixed_until_it_is_acknowledged(box: Box) -> None:
    talk = Conversation(box, Flow(client_port=50500)).open()
    assert name_of(talk.client(b"GET / HTTP/1.1\r\nHost: goo")) == "incomplete"
    assert name_of(talk.client(b"GET / HTTP/1.1\r\nHost: bad.test\r\n\r\n", 0)) == "conflict"
    assert name_of(talk.client(b"GET / HTTP/1.1\r\nHost: good.test\r\n\r\n", 0)) == "allowed"
    assert name_of(talk.client(BAD, 0)) == "conflict"


@pytest.mark.parametrize("cut", range(1, len(BAD)))
def test_two_segments_in_either_order(box: Box, cut: int) -> None:
    for order, port in ((1, 51000), (-1, 52000)):
        talk = Conversation(box, Flow(client_port=port + cut)).open()
        pieces = [(BAD[:cut], 0), (BAD[cut:], cut)][::order]
        delivered = {}
        for data, at in pieces:
            content = talk.client_frame(data, at)
            for sent in passed(content, TO_SERVER, box.take(content, TO_SERVER)):
                delivered[at] = read_frame(sent).data
        assert b"".join(delivered[at] for at in sorted(delivered)) != BAD
        assert talk.word()[0] == 2


def test_a_fin_completes_a_request(box: Box) -> None:
    talk = Conversation(box, Flow(client_port=53001)).open()
    assert name_of(talk.client(b"GET / HTTP/1.1\r\nHost: bad.test")) == "incomplete"
    assert name_of(talk.client(flags=FIN | ACK)) == "blocked"


def test_a_flow_that_is_neither_is_free(box: Box) -> None:
    talk = Conversation(box, Flow(client_port=53002, server_port=22)).open()
    assert name_of(talk.client(b"SSH-2.0-x\r\n")) == "not_a_request"
    assert talk.word()[0] == SETTLING
    assert name_of(talk.server(b"SSH-2.0-y\r\n")) == "server"
    assert name_of(talk.client(b"\0\0\1\2")) == "free"


def test_a_body_of_a_million_bytes_is_the_kernels(box: Box) -> None:
    talk = Conversation(box, Flow(client_port=53003)).open()
    head = request("good.test", "POST", "/", "Content-Length: 1000000")
    assert name_of(talk.client(head + bytes(400))) == "allowed"
    assert name_of(talk.client(b"")) == "empty"
    talk.server()
    for _ in range(999):
        assert name_of(talk.client(bytes(1000))) == "body"
        talk.server()
    assert name_of(talk.client(bytes(600) + GOOD)) == "allowed"
    talk.server(response())
    assert name_of(talk.client(BAD)) == "blocked"


# ---- a handshake that only the client tells of -------------------------------------------------------------------------
def delivered(content: bytes, outcome: Outcome) -> bytes:
    """The payload that reaches the server (a reset is none)."""
    return b"".join(read_frame(sent).data for sent in passed(content, TO_SERVER, outcome))


@pytest.mark.parametrize("silence_s", [3, 70, 700])
@pytest.mark.parametrize("resets", [0, 2])
def test_a_forged_handshake_frees_nothing_however_long_it_waits(box: Box, silence_s: int, resets: int) -> None:
    """Wrong ACKs draw resets from a server that keeps its half-open connection; then silence; then a forged SYN-ACK."""
    talk = Conversation(box, Flow(client_port=54000 + silence_s * 4 + resets))
    talk.syn()
    talk.syn_ack()
    for _ in range(resets):
        talk.client(ack=talk.server_first + 100, flags=ACK)
        box.take(frame(talk.flow, TO_CLIENT, seq=talk.server_first + 100, flags=RST), TO_CLIENT)
    box.now_ns += silence_s * 1_000_000_000
    box.take(frame(talk.flow, TO_SERVER, seq=5, ack=9, flags=SYN | ACK), TO_SERVER)
    talk.client(flags=ACK)
    content = talk.client_frame(BAD)
    assert not delivered(content, box.take(content, TO_SERVER))


def test_a_forged_handshake_without_a_flow_makes_none(box: Box) -> None:
    flow = Flow(client_port=57001)
    box.take(frame(flow, TO_SERVER, seq=5, ack=9, flags=SYN | ACK), TO_SERVER)
    content = frame(flow, TO_SERVER, seq=6, ack=9, flags=ACK | PSH, data=BAD)
    assert not delivered(content, box.take(content, TO_SERVER))


@pytest.mark.parametrize("lines", [b"\r\n", b"\n", b"\r\n\r\n"])
def test_empty_lines_behind_the_last_request_are_no_harm(box: Box, lines: bytes) -> None:
    talk = Conversation(box, Flow(client_port=57100 + len(lines) * 8 + lines[0])).open()
    assert name_of(talk.client(GOOD + lines)) == "allowed"
    assert name_of(talk.client(flags=FIN | ACK)) != "ambiguous"
    assert talk.word()[0] == OPEN


def test_thousands_of_small_chunks_in_one_packet_are_no_harm(box: Box) -> None:
    talk = Conversation(box, Flow(client_port=57200)).open()
    assert name_of(talk.client(request("good.test", "POST", "/", "Transfer-Encoding: chunked"))) == "allowed"
    talk.server()
    assert name_of(talk.client(b"6\r\nabcde\n\r\n" * 5000, gso_size=1448)) == "body_read"


def test_an_unfinished_request_is_given_up_in_time_and_never_completed() -> None:
    """One stream for all: a silent flow gives its stream to another, and what it says later is reset."""
    small = Box(capacity=64, stream_count=1, large_count=1)
    slow = Conversation(small, Flow(client_port=57301)).open()
    assert name_of(slow.client(BAD[:-6])) == "incomplete"
    other = Conversation(small, Flow(client_port=57302)).open()
    assert name_of(other.client(GOOD)) == "stream_full"
    small.now_ns += 11_000_000_000
    assert name_of(other.client(GOOD, 0)) == "allowed"
    content = slow.client_frame(BAD[-6:])
    outcome = small.take(content, TO_SERVER)
    assert not delivered(content, outcome)
    assert name_of(outcome) == "refused_client"


@pytest.mark.parametrize(
    ("first", "answer", "later"),
    [
        (b"GET /VRS HTTP/1.0\r\nUser-Agent: NTRIP x\r\n\r\n", b"ICY 200 OK\r\n\r\n", b"$GPGGA,1,2\r\n"),
        (
            b"OPTIONS rtsp://good.test/a RTSP/1.0\r\nCSeq: 1\r\n\r\n",
            b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n",
            b"ANNOUNCE rtsp://good.test/a RTSP/1.0\r\nCSeq: 2\r\nContent-Length: 5\r\n\r\nv=0\r\n",
        ),
    ],
)
def test_a_server_that_speaks_no_http_is_left_alone(box: Box, first: bytes, answer: bytes, later: bytes) -> None:
    talk = Conversation(box, Flow(client_port=57400 + len(later))).open()
    assert name_of(talk.client(first)) == "allowed"
    talk.server(answer)
    assert name_of(talk.client(later)) == "free"


@pytest.mark.parametrize("in_flight", [60_000, 400_000, 1_000_000])
def test_a_chunked_upload_is_not_slowed_by_what_is_in_flight(box: Box, in_flight: int) -> None:
    talk = Conversation(box, Flow(client_port=57500 + in_flight // 100_000)).open()
    talk.client(request("good.test", "POST", "/", "Transfer-Encoding: chunked"))
    talk.server()
    body = b"".join(b"%x\r\n" % 65_000 + b"x" * 65_000 + b"\r\n" for _ in range(30))
    first, names = talk.client_at, set()
    for at in range(0, len(body), 1448):
        names.add(name_of(talk.client(body[at : at + 1448])))
        acked = max(at - in_flight, min(at, 2000))
        box.take(
            frame(talk.flow, TO_CLIENT, seq=talk.server_first, ack=talk.client_first + first + acked, flags=ACK),
            TO_CLIENT,
        )
    assert names <= {"body_read", "body", "incomplete"}


def test_a_chunk_header_stays_fixed_until_it_is_acknowledged(box: Box) -> None:
    """Its chunk is not kept, but the header is: another length at the same place would hide a request in the body."""
    talk = Conversation(box, Flow(client_port=57600)).open()
    talk.client(request("good.test", "POST", "/", "Transfer-Encoding: chunked"))
    talk.server()
    at = talk.client_at
    for _ in range(3):
        header = talk.client_at
        talk.client(b"1000\r\n" if header == at else b"\r\n1000\r\n")
        talk.client(b"x" * 4096)
    assert name_of(talk.client(b"\r\n0008\r\n", header)) == "conflict"
    assert name_of(talk.client(b"\r\n1000\r\n", header)) != "conflict"
    assert name_of(talk.client(b"1\r\n", at + 3)) == "conflict"


def test_a_fragment_that_comes_twice_is_no_harm(box: Box) -> None:
    talk = Conversation(box, Flow(client_port=57700)).open()
    ends = packed(talk.flow.client), packed(talk.flow.server)
    segment = tcp(*ends, talk.flow.client_port, 80, talk.client_first, talk.server_first, ACK | PSH, GOOD + b" " * 40)
    pieces = [(0, segment[:48], 0x2000), (6, segment[48:], 0)]
    frames = [
        ethernet(TO_SERVER, False) + ipv4(*ends, 6, len(part), fragment=more | offset) + part
        for offset, part, more in pieces
    ]
    outcomes = [box.take(content, TO_SERVER) for content in (frames[0], frames[0], frames[1])]
    assert name_of(outcomes[1]) == "fragment_bad"
    ((_, whole),) = outcomes[2].sent
    assert read_frame(whole).data == GOOD + b" " * 40


def test_what_proved_a_body_to_be_no_request_stays_fixed(box: Box) -> None:
    """The body of a GET, which some servers ignore: bytes ahead of their turn that the server gives up again (it may: SACK
    is no promise) must not be replaced by a request."""
    talk = Conversation(box, Flow(client_port=57800)).open()
    head = request("good.test", "GET", "/", f"Content-Length: {len(BAD)}")
    assert name_of(talk.client(b"\x16\3\1\0\x08abcdefgh", len(head))) == "incomplete"
    talk.client(head, 0)
    content = talk.client_frame(BAD, len(head))
    assert not delivered(content, box.take(content, TO_SERVER))


def test_a_body_glued_to_the_next_method_makes_its_body_a_request(box: Box) -> None:
    """A server that ignores the body of a GET reads `abcPOST`, a method of which it knows no body: what follows is read."""
    talk = Conversation(box, Flow(client_port=50950)).open()
    hidden = request("bad.test")
    talk.client(request("good.test", "GET", "/", "Content-Length: 3", body=b"abc"))
    talk.server(response())
    carrier = request("good.test", "POST", "/", f"Content-Length: {len(hidden)}", body=hidden)
    outcome = talk.client(carrier)
    assert name_of(outcome) == "ambiguous"
    assert not passed(b"", TO_SERVER, outcome) or all(
        read_frame(sent).is_reset for sent in passed(b"", TO_SERVER, outcome)
    )


def test_bodies_behind_the_body_of_a_get_pass(box: Box) -> None:
    talk = Conversation(box, Flow(client_port=50951)).open()
    query = b'{"query": {"match_all": {}}}'
    for method in ("GET", "POST", "POST", "GET"):
        outcome = talk.client(request("good.test", method, "/", f"Content-Length: {len(query)}", body=query))
        assert name_of(outcome) in ("allowed", "body_read")
        talk.server(response())


def test_a_command_that_looks_like_a_request_line_frees_its_flow_when_the_server_answers(box: Box) -> None:
    """FTP: `USER x` and a password that comes minutes later; meanwhile nothing of the flow is unfinished."""
    talk = Conversation(box, Flow(client_port=50960, server_port=21)).open()
    talk.server(b"220 ready\r\n")
    assert name_of(talk.client(b"USER x\r\n")) == "incomplete"
    talk.server(b"331 password?\r\n")
    assert name_of(talk.client(b"PASS y\r\n")) == "free"


# ---- headers for which routers and servers drop a packet --------------------------------------------------------------
LOOSE_ROUTE, BROKEN_OPTION = b"\x83\x07\x04\xc0\x00\x02\x01\x00", b"\x44\x0c\x05\x00"
HOP_BY_HOP = (0, b"\0" + bytes(6))
TRICKS = ["sum", "route", "broken", "hop-by-hop", "discard", "report", "overlong", "routing"]


def with_bad_ip_sum(content: bytes) -> bytes:
    changed = bytearray(content)
    changed[len(ethernet(TO_SERVER, False)) + 10] ^= 0x55
    return bytes(changed)


@pytest.mark.parametrize(
    ("trick", "reason"),
    [
        ("sum", "bad_checksum"),
        ("route", "bad_option"),
        ("broken", "bad_option"),
        ("hop-by-hop", "malformed"),
        ("discard", "bad_option"),
        ("report", "bad_option"),
        ("overlong", "bad_option"),
        ("routing", "bad_option"),
    ],
)
def test_a_decoy_with_such_a_header_leaves_no_trace(box: Box, trick: str, reason: str) -> None:
    flow = (Flow if trick in {"sum", "route", "broken"} else FLOW6._replace)(client_port=4000 + TRICKS.index(trick))
    talk = Conversation(box, flow).open()
    more = {
        "sum": {}, "route": {"ip_options": LOOSE_ROUTE}, "broken": {"ip_options": BROKEN_OPTION},
        "hop-by-hop": {"extensions": (HOP_BY_HOP, HOP_BY_HOP)},
        "discard": {"extensions": ((0, b"\0\x7e\0" + b"\1\2" + bytes(2)),)},
        "report": {"extensions": ((60, b"\0\xbe\0" + b"\1\2" + bytes(2)),)},
        "overlong": {"extensions": ((60, b"\0\x1e\x09" + bytes(4)),)},
        "routing": {"extensions": ((43, b"\0\xfd\1" + bytes(4)),)},
    }[trick]  # fmt: skip
    decoy = talk.client_frame(b"X" * len(GOOD), 0, **more)
    if trick == "sum":
        decoy = with_bad_ip_sum(decoy)
    assert name_of(box.take(decoy, TO_SERVER)) == reason
    assert name_of(talk.client(GOOD)) == "allowed"


def test_an_option_that_routers_take_is_no_decoy(box: Box) -> None:
    talk = Conversation(box, Flow(client_port=4100)).open()
    record_route = b"\x07\x07\x04" + bytes(4) + b"\0"
    assert name_of(talk.client(BAD, ip_options=record_route)) == "blocked"

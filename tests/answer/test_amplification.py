"""No answer is of use to somebody who speaks in another's name: its size is bounded, it goes back where the packet came
from, and nowhere where it would reach many.

Everybody is protected here (0.0.0.0/0, ::/0), so that every source address comes to the judge.
"""

import itertools
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import dns.edns
import dns.message
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.control.subscribers.fixed import FixedOwners
from penstock.line.native import Outcome
from penstock.path.queries import DATAGRAM_FACTOR
from penstock.path.refusal import TIMES_LIMIT
from tests.hellos import plain_hello, record
from tests.path.boxes import Box, Conversation, name_of, request, sent_to
from tests.policy.worlds import world
from tests.quic import INITIAL, PING, crypto, datagram, hello, initial, long_packet, read_datagram
from tests.vocabulary import ACK, FIN, PSH, SYN, TO_CLIENT, TO_SERVER, Flow, frame, packed, read_frame

SETTINGS: dict[str, Any] = {
    "services": {"web": {"categories": {"phishing": "block"}}},
    "profiles": {"all": {"services": ["web"], "safe_search": "strict", "youtube": "moderate"}},
    "subscribers": [{"id": "everybody", "prefixes": ["0.0.0.0/0", "::/0"], "profile": "all"}],
    "dns": {"text": "t" * 200, "resolvers": ["192.0.2.53"]},
    "page": {"operator": "o" * 100, "contact": "c" * 200},
}
ADDRESSES = {"dns": SETTINGS["dns"] | {"answer": "address", "addresses": ["192.0.2.1", "2001:db8::1"]}}
LISTS = {"phishing": "bad.test\nx.y\n"}
NAMES = ("x.y", "bad.test", "www.bad.test", f"{'a' * 63}.{'c' * 63}.{'d' * 63}.bad.test")
REWRITTEN = ("bing.com", "www.google.com", "www.youtube.com", "mask.icloud.com")
QUIC_FACTOR = 3  # RFC 9000 8.1
LEAST_QUIC = 1200
ONE_HOST = ("10.1.0.1", "192.0.2.80"), ("fd00::1", "2001:db8::80")
NO_HOST = (
    "0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.251", "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "::", "::1", "ff02::1", "ff0e::fb",
)  # fmt: skip

ports = itertools.cycle(range(20000, 60000))
bounded = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module", params=[{}, ADDRESSES], ids=["nxdomain", "address"])
def box(request: pytest.FixtureRequest) -> Iterator[Box]:
    with ExitStack() as stack:
        made = stack.enter_context(world(SETTINGS | request.param, LISTS))
        box = Box()
        box.path.set_snapshot(made.snapshot.address, made.snapshot.names_address)
        FixedOwners(made.configuration).fill(box.path.directory)
        yield box


def flow(port: int, client: str = "10.1.0.1", server: str = "192.0.2.80", **more: Any) -> Flow:
    return Flow(client, server, next(ports), port, **more)


def check_way(content: bytes, outcome: Outcome) -> None:
    """What goes to the client goes to the address that asked, from the one that was asked, in the same tags."""
    for to_server, answer in outcome.sent:
        if to_server:
            assert answer[:12] == content[:12]
            continue
        assert answer[:12] == content[6:12] + content[:6]
        assert ends_of(answer) == ends_of(content)[::-1]


def ends_of(content: bytes) -> tuple[bytes, bytes]:
    """Source and target of a frame: tags, addresses, ports."""
    at = 12
    while content[at : at + 2] in (b"\x81\0", b"\x88\xa8"):
        at += 4
    is_ipv6, ip = content[at : at + 2] == b"\x86\xdd", content[at + 2 :]
    start, size, l4 = (8, 16, 40) if is_ipv6 else (12, 4, (ip[0] & 15) * 4)
    source, target = ip[start : start + size], ip[start + size : start + 2 * size]
    tags = content[12:at]
    return tags + source + ip[l4 : l4 + 2], tags + target + ip[l4 + 2 : l4 + 4]


def payloads(outcome: Outcome) -> list[bytes]:
    """The datagrams that the client gets."""
    assert all(side == TO_CLIENT for side, _ in outcome.sent)
    return [read_datagram(content).data for _, content in outcome.sent]


# ---- datagrams: nobody knows who sent them ------------------------------------------------------------------------
options = st.lists(
    st.sampled_from([(10, 8), (10, 24), (12, 0), (12, 100), (15, 2), (26, 0)]), unique_by=lambda one: one[0], max_size=3
)
queries = st.builds(
    lambda name, kind, edns, payload, some, dnssec: dns.message.make_query(
        name,
        kind,
        use_edns=0 if edns else False,
        payload=payload,
        want_dnssec=edns and dnssec,
        options=[dns.edns.GenericOption(number, bytes(size)) for number, size in some] if edns else None,
    ).to_wire(),
    st.sampled_from(NAMES + REWRITTEN),
    st.sampled_from(["A", "AAAA", "ANY", "HTTPS", "TXT"]),
    st.booleans(),
    st.sampled_from([0, 512, 1232, 65535]),
    options,
    st.booleans(),
)


@bounded
@given(queries, st.sampled_from(ONE_HOST), st.booleans())
def test_a_dns_answer_is_at_most_four_times_its_query(
    box: Box, query: bytes, hosts: tuple[str, str], is_tagged: bool
) -> None:
    content = datagram(flow(53, *hosts, tags=((0x8100, 7),) if is_tagged else ()), query)
    outcome = box.take_raw(content, TO_SERVER)
    assert name_of(outcome) in ("blocked", "rewritten")
    (answer,) = payloads(outcome)
    assert len(answer) <= DATAGRAM_FACTOR * len(query) <= 4 * len(query)
    assert len(answer) <= 1232
    assert dns.message.from_wire(query).is_response(dns.message.from_wire(answer))
    check_way(content, outcome)


def test_compressed_questions_do_not_grow_beyond_that(box: Box) -> None:
    name = dns.name.from_text(NAMES[-1]).to_wire()
    again = b"\xc0\x0c\0\1\0\1"
    query = (
        struct.pack(">6H", 7, 0x100, 0, 4, 0, 0)[:4] + struct.pack(">4H", 4, 0, 0, 0) + name + b"\0\1\0\1" + 3 * again
    )
    (answer,) = payloads(box.take_raw(datagram(flow(53), query), TO_SERVER))
    assert len(answer) <= DATAGRAM_FACTOR * len(query)


def test_each_datagram_of_a_super_packet_has_its_own_bound(box: Box) -> None:
    query = dns.message.make_query("bad.test", "A", use_edns=0).to_wire()
    answers = payloads(box.take_raw(datagram(flow(53), query * 5), TO_SERVER, len(query)))
    assert len(answers) == 5
    assert all(len(answer) <= DATAGRAM_FACTOR * len(query) for answer in answers)


@bounded
@given(st.integers(0, 20), st.integers(8, 20), st.integers(1, 12), st.sampled_from(ONE_HOST), st.integers(0, 1))
def test_all_closes_for_one_datagram_are_at_most_three_times_as_long(
    box: Box, scid_bytes: int, dcid_bytes: int, count: int, hosts: tuple[str, str], padding: int
) -> None:
    """Several Initials in one datagram, each refused; then the shortest ones that repeat them."""
    there = flow(443, *hosts)
    for frames in (crypto(0, hello("bad.test")), PING):
        packets = [
            initial(bytes([number]) * dcid_bytes, frames, scid=bytes(scid_bytes), number=frames == PING, size=0)
            for number in range(1, count + 1)
        ]
        data = b"".join(packets) + bytes(padding * 200)
        content = datagram(there, data)
        outcome = box.take_raw(content, TO_SERVER)
        answers = payloads(outcome)
        assert answers, name_of(outcome)
        assert sum(map(len, answers)) <= QUIC_FACTOR * len(data)
        check_way(content, outcome)


@bounded
@given(st.integers(0, 20), st.integers(8, 20), st.integers(LEAST_QUIC - 5, 1400), st.sampled_from(ONE_HOST))
def test_version_negotiation_is_shorter_than_what_it_answers(
    box: Box, scid_bytes: int, dcid_bytes: int, size: int, hosts: tuple[str, str]
) -> None:
    packet = long_packet(INITIAL, bytes(dcid_bytes), b"", scid=bytes(scid_bytes), version=0xFACEB002)
    data = packet.ljust(size, b"\0")
    content = datagram(flow(443, *hosts), data)
    outcome = box.take_raw(content, TO_SERVER)
    answers = payloads(outcome) if name_of(outcome) == "unread_version" else []
    assert len(answers) == (size >= LEAST_QUIC)
    assert sum(map(len, answers)) < len(data)
    check_way(content, outcome)


# ---- TCP: a page only for who has shown that he hears the server ----------------------------------------------------
@pytest.mark.parametrize("hosts", ONE_HOST)
@pytest.mark.parametrize("data", [request("bad.test"), record(plain_hello(b"bad.test"))], ids=["http", "tls"])
def test_a_segment_out_of_nowhere_gets_one_reset_on_each_side(box: Box, hosts: tuple[str, str], data: bytes) -> None:
    content = frame(flow(80, *hosts), TO_SERVER, seq=1000, ack=2000, data=data)
    outcome = box.take_raw(content, TO_SERVER)
    assert [side for side, _ in outcome.sent] == [TO_SERVER, TO_CLIENT]
    for _, answer in outcome.sent:
        assert read_frame(answer).is_reset
        assert len(answer) <= len(content)
    check_way(content, outcome)


def test_who_does_not_hear_the_server_gets_nothing(box: Box) -> None:
    """A spoofed SYN, the server's SYN-ACK that went elsewhere, and a request with a guessed number."""
    talk = Conversation(box, flow(80)).open(third=False)
    for ack in (12345, -1, 1 << 31):
        outcome = box.take_raw(talk.client_frame(request("bad.test"), ack=ack), TO_SERVER)
        assert (name_of(outcome), outcome.sent) == ("out_of_window", [])


def test_who_speaks_into_anothers_connection_gets_a_reset_there(box: Box) -> None:
    talk = Conversation(box, flow(80)).open()
    talk.client(request("good.test"))
    talk.server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    content = talk.client_frame(request("bad.test"), ack=7)
    outcome = box.take_raw(content, TO_SERVER)
    assert name_of(outcome) == "blocked"
    (reset,) = sent_to(outcome, TO_CLIENT)
    assert reset.is_reset
    assert not reset.data
    assert all(len(answer) <= len(content) for _, answer in outcome.sent)
    check_way(content, outcome)


def test_a_page_is_repeated_a_bounded_number_of_times(box: Box) -> None:
    talk = Conversation(box, flow(80)).open()
    page = sum(len(segment.data) for segment in sent_to(talk.client(request("bad.test")), TO_CLIENT))
    assert page > 200
    sizes = []
    for _ in range(2 * TIMES_LIMIT):
        outcome = box.take_raw(talk.client_frame(flags=ACK, ack=0), TO_SERVER)
        sizes.append(sum(len(segment.data) for segment in sent_to(outcome, TO_CLIENT)))
    assert sum(sizes) <= 32 * page
    assert set(sizes[TIMES_LIMIT:]) == {0}


# ---- addresses that are not one host's ------------------------------------------------------------------------------
def askings(client: str, server: str) -> list[bytes]:
    """One frame for each kind of answer that needs no connection."""
    first = datagram(flow(53, client, server), dns.message.make_query("bad.test", "A").to_wire())
    quic = datagram(flow(443, client, server), initial(b"12345678", crypto(0, hello("bad.test"))))
    foreign = long_packet(INITIAL, b"12345678", b"", version=0xFACEB002).ljust(LEAST_QUIC, b"\0")
    return [
        first,
        quic,
        datagram(flow(443, client, server), foreign),
        frame(flow(80, client, server), TO_SERVER, seq=1000, ack=2000, data=request("bad.test")),
    ]


def other(address: str) -> str:
    return ONE_HOST[":" in address][1]


@pytest.mark.parametrize("address", NO_HOST)
def test_nobody_is_answered_who_is_not_one_host(box: Box, address: str) -> None:
    for content in askings(address, other(address)) + askings(ONE_HOST[":" in address][0], address):
        outcome = box.take_raw(content, TO_SERVER)
        assert name_of(outcome) in ("blocked", "unread_version")
        assert outcome.sent == []


@pytest.mark.parametrize("address", ["192.0.2.80", "2001:db8::80"])
def test_no_answer_goes_in_a_circle(box: Box, address: str) -> None:
    for content in askings(address, address):
        assert box.take_raw(content, TO_SERVER).sent == []


@pytest.mark.parametrize(
    "hosts", [*ONE_HOST, ("126.255.255.255", "1.0.0.1"), ("223.255.255.255", "128.0.0.1"), ("fe80::1", "2::")]
)
def test_everybody_else_is_answered(box: Box, hosts: tuple[str, str]) -> None:
    assert [len(box.take_raw(content, TO_SERVER).sent) for content in askings(*hosts)] == [1, 1, 1, 2]


# ---- and nothing else is ever said ----------------------------------------------------------------------------------
def icmp(source: str, target: str) -> bytes:
    body = b"\x08\0\0\0\0\1\0\1" + bytes(56)
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 1, 1, 0) + packed(source) + packed(target)
    return bytes(12) + b"\x08\0" + head + body


SILENT = {
    "icmp": icmp("10.1.0.1", "192.0.2.80"),
    "ttl 0": frame(flow(80), TO_SERVER, seq=1, ack=1, data=request("bad.test"), ttl=0)[:40],
    "syn": frame(flow(80), TO_SERVER, seq=1, flags=SYN),
    "fin": frame(flow(80), TO_SERVER, seq=1, ack=1, flags=FIN | ACK),
    "wrong checksum": frame(flow(80), TO_SERVER, seq=1, ack=1, data=request("bad.test"), checksum="wrong"),
    "closed port": datagram(flow(9), b"anybody?"),
    "half a query": datagram(flow(53), dns.message.make_query("bad.test", "A").to_wire()[:-3]),
    "a response": datagram(flow(53), dns.message.make_response(dns.message.make_query("bad.test", "A")).to_wire()),
    "allowed": datagram(flow(53), dns.message.make_query("good.test", "A").to_wire()),
}


@pytest.mark.parametrize("kind", SILENT)
def test_nothing_is_said_to_the_client(box: Box, kind: str) -> None:
    outcome = box.take_raw(SILENT[kind], TO_SERVER)
    assert [side for side, _ in outcome.sent if side == TO_CLIENT] == []


@pytest.mark.parametrize("flags", [ACK, ACK | PSH, ACK | FIN])
def test_a_refused_server_gets_one_reset_no_longer_than_its_segment(box: Box, flags: int) -> None:
    talk = Conversation(box, flow(80)).open()
    talk.client(request("bad.test"))
    content = frame(talk.flow, TO_CLIENT, seq=talk.server_first, ack=talk.client_first, flags=flags)
    outcome = box.take_raw(content, TO_CLIENT)
    ((side, answer),) = outcome.sent
    assert side == TO_SERVER
    assert read_frame(answer).is_reset
    assert len(answer) <= len(content)
    assert ends_of(answer) == ends_of(content)[::-1]

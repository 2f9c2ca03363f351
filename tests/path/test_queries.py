"""DNS through the box: allowed queries pass unchanged, refused ones are answered here, over UDP and in a stream."""

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from penstock.line.native import Outcome
from tests.path.boxes import Box, Conversation, name_of, sent_to
from tests.quic import crypto, datagram, hello, initial, read_datagram
from tests.vocabulary import FIN, RST, TO_CLIENT, TO_SERVER, Flow


@pytest.fixture(scope="module")
def box() -> Box:
    return Box()


ports = iter(range(20000, 60000))


def flow(**more: object) -> Flow:
    return Flow(client_port=next(ports), server_port=53, **more)  # type: ignore[arg-type]


def query(name: str, kind: str = "A", **more: object) -> bytes:
    return dns.message.make_query(name, kind, **more).to_wire()  # type: ignore[arg-type]


def ask(box: Box, content: bytes, gso_size: int = 0, **more: object) -> Outcome:
    return box.take_raw(datagram(flow(**more), content), TO_SERVER, gso_size)


def answer_to(outcome: Outcome, content: bytes) -> dns.message.Message:
    ((side, frame),) = outcome.sent
    assert side == TO_CLIENT
    told = read_datagram(frame)
    assert told.checksum == "right"
    answer = dns.message.from_wire(told.data)
    assert dns.message.from_wire(content).is_response(answer)
    return answer


@pytest.mark.parametrize("where", [{}, {"client": "fd00::7", "server": "2001:db8::1"}, {"tags": ((0x8100, 7),)}])
def test_a_query_is_judged(box: Box, where: dict[str, object]) -> None:
    good = query("good.test", use_edns=0)
    outcome = ask(box, good, **where)
    assert name_of(outcome) == "allowed"
    assert [read_datagram(frame).data for _, frame in outcome.sent] == [good]
    bad = query("wWw.bAd.test", "AAAA", use_edns=0)
    outcome = ask(box, bad, **where)
    assert name_of(outcome) == "blocked"
    answer = answer_to(outcome, bad)
    assert answer.rcode() == dns.rcode.NXDOMAIN
    (option,) = answer.options
    assert isinstance(option, dns.edns.EDEOption)
    assert (option.code, option.text) == (15, "refused by your network operator")
    assert answer.question[0].name.to_text() == "wWw.bAd.test."


def test_who_checks_signatures_is_told_honestly(box: Box) -> None:
    bad = query("bad.test", want_dnssec=True)
    answer = answer_to(ask(box, bad), bad)
    assert answer.rcode() == dns.rcode.REFUSED
    assert answer.ednsflags & dns.flags.DO


def test_a_canary_does_not_resolve(box: Box) -> None:
    for name, kind in (("use-application-dns.net", "A"), ("mask.icloud.com", "HTTPS"), ("_dns.resolver.arpa", "SVCB")):
        asked = query(name, kind)
        outcome = ask(box, asked)
        assert name_of(outcome) == "rewritten"
        assert answer_to(outcome, asked).rcode() == dns.rcode.NXDOMAIN


def test_a_subscriber_without_services_asks_whom_he_likes(box: Box) -> None:
    content = datagram(flow(client="10.9.0.1"), query("bad.test"))
    assert name_of(box.take_raw(content, TO_SERVER)) == "unprotected"


def test_every_query_of_a_super_packet_is_judged(box: Box) -> None:
    good, bad = query("good.test"), query("bad.test") + b"\0"
    assert len(good) == len(bad)
    assert name_of(ask(box, good * 2 + bad, gso_size=len(good))) == "blocked"
    assert name_of(ask(box, good * 3, gso_size=len(good))) == "allowed"


def test_what_is_no_dns_on_its_port(box: Box) -> None:
    assert name_of(ask(box, b"\0" * 5)) == "not_a_request"
    assert name_of(ask(box, query("good.test")[:-6])) == "ambiguous"
    assert name_of(ask(box, initial(b"over-dns", crypto(0, hello("bad.test"))))) == "blocked"


def framed(content: bytes) -> bytes:
    return len(content).to_bytes(2) + content


def test_a_stream_of_queries(box: Box) -> None:
    talk = Conversation(box, flow()).open()
    for name in ("good.test", "fine.test"):
        assert name_of(talk.client(framed(query(name)))) == "allowed"
        talk.server(framed(bytes(20)))
    whole = framed(query("good.test"))
    for at in range(len(whole)):
        outcome = talk.client(whole[at : at + 1])
    assert name_of(outcome) == "allowed"
    outcome = talk.client(framed(query("bad.test")))
    assert name_of(outcome) == "blocked"
    assert all(segment.is_reset for segment in sent_to(outcome, TO_CLIENT))


def test_a_refused_query_is_answered_in_its_stream(box: Box) -> None:
    talk, bad = Conversation(box, flow()).open(), query("bad.test", use_edns=0)
    whole = framed(bad)
    assert name_of(talk.client(whole[:9])) == "incomplete"
    outcome = talk.client(whole[9:])
    assert name_of(outcome) == "blocked"
    (reset,) = sent_to(outcome, TO_SERVER)
    assert reset.flags & RST
    told = b"".join(segment.data for segment in sent_to(outcome, TO_CLIENT))
    answer = dns.message.from_wire(told[2:])
    assert int.from_bytes(told[:2]) == len(told) - 2
    assert dns.message.from_wire(bad).is_response(answer)
    assert answer.rcode() == dns.rcode.NXDOMAIN
    assert sent_to(outcome, TO_CLIENT)[-1].flags & FIN
    assert all(segment.is_reset for segment in sent_to(talk.client(whole, 0), TO_CLIENT))


def test_http_on_the_port_of_dns(box: Box) -> None:
    talk = Conversation(box, flow()).open()
    assert name_of(talk.client(b"GET / HTTP/1.1\r\nHost: bad.test\r\n\r\n")) == "blocked"

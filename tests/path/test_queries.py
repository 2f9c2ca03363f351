"""DNS through the box: allowed queries pass unchanged, refused ones are answered here, over UDP and in a stream."""

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from penstock.control.events import EventReader, decode_event
from penstock.line.native import Outcome
from tests.hellos import extension, groups_and_signatures, key_share, plain_hello, record, supported_versions
from tests.hellos import hello as hello_message
from tests.path.boxes import Box, Conversation, name_of, owners, policy, sent_to
from tests.quic import HANDSHAKE, crypto, datagram, hello, initial, long_packet, read_datagram
from tests.vocabulary import FIN, RST, TO_CLIENT, TO_SERVER, Flow, frame, read_frame


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


def test_a_query_with_two_readings_is_told_of(box: Box) -> None:
    box.take_raw(datagram(flow(), query("good.test")[:-6]), TO_SERVER)
    events = [raw for raw in EventReader(box.path.shared).read()]
    told = decode_event(events[-1], policy().snapshot, owners(), 0)
    assert (told["proto"], told["reason"], told["host"]) == ("dns", "ambiguous", None)
    assert told["answer"] == "none"
    assert "qtype" not in told


def test_every_query_of_a_super_packet_is_judged(box: Box) -> None:
    good, bad = query("good.test"), query("bad.test") + b"\0"
    assert len(good) == len(bad)
    assert name_of(ask(box, good * 2 + bad, gso_size=len(good))) == "blocked"
    assert name_of(ask(box, good * 3, gso_size=len(good))) == "allowed"


def test_what_is_no_dns_on_its_port(box: Box) -> None:
    assert name_of(ask(box, b"\0" * 5)) == "not_a_request"
    assert name_of(ask(box, query("good.test")[:-6])) == "ambiguous"
    assert name_of(ask(box, initial(b"over-dns", crypto(0, hello("bad.test"))))) in ("blocked", "ambiguous")


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
    outcome = talk.client(framed(query("bad.test")), ack=3)  # it has not all of what the server sent
    assert name_of(outcome) == "blocked"
    assert all(segment.is_reset for segment in sent_to(outcome, TO_CLIENT))


def read_stream(outcome: Outcome) -> list[dns.message.Message]:
    """The messages that the client gets in its stream."""
    told, found = b"".join(segment.data for segment in sent_to(outcome, TO_CLIENT)), []
    while told:
        size = int.from_bytes(told[:2])
        found.append(dns.message.from_wire(told[2 : 2 + size]))
        told = told[2 + size :]
    return found


def test_refused_queries_in_one_segment_are_answered_together(box: Box) -> None:
    """glibc with `options use-vc` asks for both families at once."""
    talk = Conversation(box, flow()).open()
    talk.client(framed(query("good.test")))
    talk.server(framed(bytes(20)))
    both = [query("bad.test", kind) for kind in ("A", "AAAA")]
    outcome = talk.client(b"".join(map(framed, both)) + framed(query("good.test")))
    answers = read_stream(outcome)
    assert [dns.message.from_wire(asked).is_response(told) for asked, told in zip(both, answers, strict=True)] == [
        True
    ] * 2
    assert sent_to(outcome, TO_CLIENT)[-1].flags & FIN


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


def answer(content: bytes, *records: tuple[str, str]) -> bytes:
    """The server's answer: records of the question's own name, as type and text."""
    asked = dns.message.from_wire(content)
    told = dns.message.make_response(asked)
    told.ednsflags |= asked.ednsflags & dns.flags.DO  # as RFC 3225 wants it
    for kind, text in records:
        told.answer.append(dns.rrset.from_text(asked.question[0].name, 60, "IN", kind, text))
    return told.to_wire()


def give(box: Box, where: Flow, content: bytes) -> Outcome:
    """The server's answer, behind a query of the same flow."""
    box.take_raw(datagram(where, query("asked.test")), TO_SERVER)
    return box.take_raw(datagram(where, content, TO_CLIENT), TO_CLIENT)


def test_an_answer_passes(box: Box) -> None:
    where, told = flow(), answer(query("good.test"), ("A", "192.0.2.9"))
    outcome = give(box, where, told)
    assert name_of(outcome) == "answer_passed"
    assert [(side, read_datagram(frame).data) for side, frame in outcome.sent] == [(TO_CLIENT, told)]
    assert name_of(give(box, where, b"no DNS at all")) == "answer_passed"
    assert name_of(give(box, where._replace(client="10.9.0.1"), told)) == "datagram_server"


ADDRESS = "192.0.2.77"


def resolve(box: Box, client: str, name: str, kind: str = "A", text: str = ADDRESS, **more: object) -> Outcome:
    """The server's answer to a query of this client passes the box."""
    where = Flow(client=client, server="192.0.2.53", client_port=next(ports), server_port=53)
    return give(box, where, answer(query(name, kind, **more), (kind, text)))


def nameless() -> bytes:
    return record(plain_hello_without_name())


def plain_hello_without_name() -> bytes:
    return hello_message(supported_versions(0x0304), groups_and_signatures(), key_share())


def test_a_flow_without_a_name_is_judged_by_what_was_resolved(box: Box) -> None:
    resolve(box, "10.1.4.1", "deep.bad.test")
    bad = Conversation(box, Flow("10.1.4.1", ADDRESS, next(ports), 443)).open()
    assert name_of(bad.client(nameless())) == "blocked"
    raw = Conversation(box, Flow("10.1.4.1", ADDRESS, next(ports), 2222)).open()
    assert name_of(raw.client(b"\1\2\3\4 a protocol of its own")) == "blocked"
    datagrams = Flow("10.1.4.1", ADDRESS, next(ports), 5000)
    assert name_of(box.take_raw(datagram(datagrams, b"a game"), TO_SERVER)) == "blocked"
    assert name_of(box.take_raw(datagram(datagrams, b"a game"), TO_SERVER)) == "refused_client"
    other = Conversation(box, Flow("10.1.4.2", ADDRESS, next(ports), 443)).open()
    assert name_of(other.client(nameless())) == "allowed"
    box.now_ns += 400_000_000_000
    late = Conversation(box, Flow("10.1.4.1", ADDRESS, next(ports), 443)).open()
    assert name_of(late.client(nameless())) == "allowed"


def test_dns_that_hides_its_names_is_refused(box: Box) -> None:
    dot = Conversation(box, Flow(client_port=next(ports), server_port=853)).open()
    assert name_of(dot.client(record(plain_hello(b"dns.test")))) == "encrypted_dns"
    doq = initial(b"doq-doq-", crypto(0, hello("dns.test")))
    assert (
        name_of(box.take_raw(datagram(Flow(client_port=next(ports), server_port=853), doq), TO_SERVER))
        == "encrypted_dns"
    )


ECH = "1 . alpn=h2 ech=AEn+DQBFKwAgACABWIHUGj4u+PIggYXcR5JF0gYk3dCRioBW8uJq9H4mKAAIAAEAAQABAANAEnB1YmxpYy50bHMtZWNoLmRldgAA"


def test_ech_is_kept_unless_the_profile_says_otherwise(box: Box) -> None:
    asked = answer(query("good.test", "HTTPS"), ("HTTPS", ECH))
    outcome = give(box, flow(), asked)
    assert name_of(outcome) == "answer_passed"
    assert read_datagram(outcome.sent[0][1]).data == asked
    outcome = give(box, flow(client="10.3.0.1"), asked)
    assert name_of(outcome) == "answer_changed"
    told = dns.message.from_wire(read_datagram(outcome.sent[0][1]).data)
    assert "ech" not in told.answer[0].to_text()
    assert "h2" in told.answer[0].to_text()
    signed = answer(query("good.test", "HTTPS", want_dnssec=True), ("HTTPS", ECH))
    assert name_of(give(box, flow(client="10.3.0.1"), signed)) == "answer_passed"


def test_a_hello_that_hides_its_name_is_refused(box: Box) -> None:
    client = "10.3.0.9"
    resolve(box, client, "site.test", "HTTPS", ECH)
    resolve(box, client, "site.test")
    shown = Conversation(box, Flow(client, ADDRESS, next(ports), 443)).open()
    assert name_of(shown.client(record(plain_hello(b"site.test", extension(0xFE0D, bytes(40)))))) == "allowed"
    hidden = Conversation(box, Flow(client, ADDRESS, next(ports), 443)).open()
    front = record(plain_hello(b"front.test", extension(0xFE0D, bytes(40))))
    assert name_of(hidden.client(front)) == "encrypted_hello"


def test_a_name_that_was_never_resolved(box: Box) -> None:
    client = "10.3.0.10"

    def ask_for(name: bytes) -> str:
        talk = Conversation(box, Flow(client, ADDRESS, next(ports), 443)).open()
        return name_of(talk.client(record(plain_hello(name))))

    assert ask_for(b"front.test") == "allowed"  # a client that resolves elsewhere
    resolve(box, client, "Site.test")
    assert ask_for(b"front.test") == "unresolved"
    assert ask_for(b"site.TEST") == "allowed"


# ---- what a fourth round of breaking found ------------------------------------------------------------------------------
def padded_query(name: str, size: int, identity: int) -> bytes:
    asked = dns.message.make_query(name, "A", use_edns=0, payload=8192)
    asked.id = identity
    asked.use_edns(0, 0, 8192, options=[dns.edns.GenericOption(65001, bytes(size - len(asked.to_wire()) - 4))])
    return asked.to_wire()


@pytest.mark.parametrize(("size", "identity"), [(0x1603, 0x013F), (0x0B41, 0x202F)], ids=["TLS", "HTTP"])
def test_a_query_that_begins_like_another_protocol(box: Box, size: int, identity: int) -> None:
    talk, whole = Conversation(box, flow()).open(), framed(padded_query("bad.test", size, identity))
    reached = b""
    for at in range(0, len(whole), 1400):
        for side, content in talk.client(whole[at : at + 1400], at).sent:
            reached += read_frame(content).data if side == TO_SERVER else b""
    assert len(reached) < len(whole)


def test_no_company_saves_a_query(box: Box) -> None:
    bad = padded_query("bad.test", 200, 7)
    for short in (long_packet(HANDSHAKE, b"server-1", bytes(170)), query("good.test")[:-6]):
        other = short.ljust(200, b"\0")
        outcome = ask(box, bad + other, gso_size=200)
        assert not any(side == TO_SERVER for side, _ in outcome.sent)


def test_a_query_without_a_record_is_judged(box: Box) -> None:
    where = flow()
    content = frame(where, TO_SERVER, seq=5, ack=6, data=framed(query("bad.test")))
    outcome = box.take(content, TO_SERVER)
    assert name_of(outcome) == "blocked"
    good = frame(where, TO_SERVER, seq=5, ack=6, data=framed(query("good.test")))
    assert name_of(box.take(good, TO_SERVER)) == "on_sight"


def test_an_answer_that_nobody_asked_for_is_not_read(box: Box) -> None:
    where = Flow("10.1.4.9", "192.0.2.53", next(ports), 53)
    told = answer(query("deep.bad.test"), ("A", ADDRESS))
    assert name_of(box.take_raw(datagram(where, told, TO_CLIENT), TO_CLIENT)) == "datagram_server"
    box.take_raw(datagram(where, query("asked.test")), TO_SERVER)
    box.now_ns += 11_000_000_000
    assert name_of(box.take_raw(datagram(where, told, TO_CLIENT), TO_CLIENT)) == "datagram_server"
    raw = Conversation(box, Flow("10.1.4.9", ADDRESS, next(ports), 2222)).open()
    assert name_of(raw.client(b"\1\2\3\4 a protocol of its own")) == "not_a_request"


def test_a_request_without_a_host_is_judged_by_its_server(box: Box) -> None:
    resolve(box, "10.1.4.8", "deep.bad.test")
    talk = Conversation(box, Flow("10.1.4.8", ADDRESS, next(ports), 80)).open()
    assert name_of(talk.client(b"GET / HTTP/1.0\r\n\r\n")) == "blocked"


@pytest.mark.parametrize("first", [b"\x9f\x52\0\1", b"\xc3Q046", b"\xff\xff\0\0\x1d"])
def test_other_protocols_are_no_foreign_version_of_quic(box: Box, first: bytes) -> None:
    """IPsec, games, tunnels: bytes that only look like a version."""
    where = Flow(client_port=next(ports), server_port=4500)
    for size in (100, 1100, 1300):
        content = datagram(where, first.ljust(size, b"\xee"))
        assert name_of(box.take_raw(content, TO_SERVER)) in ("not_a_request", "free")

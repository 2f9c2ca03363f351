"""DNS: real clients ask a real resolver through the box; what is refused is answered at once and never heard."""

import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import pytest
from scapy.layers.inet import TCP

from penstock.demo.box import GOOD
from penstock.demo.servers import Certificate
from penstock.demo.topology import HOME, OFFICE, Subscriber, server_address
from tests.live.clients import CLOSED, RESET, Conversation
from tests.live.dns import (
    ALIAS,
    CHILD,
    LARGE,
    LARGE_BYTES,
    ODD,
    OPEN,
    SECRET,
    SIGNED,
    TARGETS,
    TEEN,
    UNSAFE,
    DnsLine,
    Told,
    build_dns_line,
    framed,
    place_address,
    query,
    read_answers,
    read_stream,
)
from tests.live.dns_fixtures import AT_ONCE_MS, CLIENTS, FAMILIES, RETRY_S, TRIES
from tests.live.line import BAD, live
from tests.live.quic import Carry, Watch, carry_fragments, carry_super_packet

pytestmark = live("openssl", "unbound", "dig", "kdig", "delv", alone=True)

EDNS_PADDING = 12
NOERROR, NXDOMAIN = dns.rcode.NOERROR, dns.rcode.NXDOMAIN
DO = {"use_edns": 0, "want_dnssec": True}

TRANSPORTS = pytest.mark.parametrize("transport", ["+notcp", "+tcp"], ids=["udp", "tcp"])


@pytest.fixture(scope="module")
def line(here: Path, pair: Certificate) -> Iterator[DnsLine]:
    with build_dns_line(here, pair) as found:
        yield found


def ask_at_once(line: DnsLine, who: Subscriber, *words: str, family: int = 4, program: str = "dig") -> Told:
    """The quickest of some answers, which is quick."""
    told = [line.dig(who, *words, "+edns", family=family, program=program) for _ in range(TRIES)]
    best = min(told, key=lambda one: one.time_ms)
    assert best.time_ms < AT_ONCE_MS, best.text
    return best


def find_port(conversation: Conversation) -> int:
    port: int = conversation.channel.getsockname()[1]
    return port


def was_reset(watch: Watch, port: int) -> bool:
    """Whether the resolver's side saw the connection from this port reset."""
    packets = [frame.packet for frame in watch.read() if not frame.outgoing and TCP in frame.packet]
    return any(packet[TCP].sport == port and packet[TCP].flags.R for packet in packets)


# ---- refused names ------------------------------------------------------------------------------------------------


@FAMILIES
@TRANSPORTS
@CLIENTS
def test_a_blocked_name(line: DnsLine, program: str, transport: str, family: int) -> None:
    for kind in ("A", "AAAA", "HTTPS"):
        told = ask_at_once(line, HOME, BAD, kind, transport, family=family, program=program)
        assert told.status == "NXDOMAIN", told.text
        assert told.error.startswith("15 (Blocked)"), told.text
        assert "refused by your network operator" in told.error
        assert "WARNING" not in told.text
        assert not told.section()
        assert told.section("AUTHORITY")[0][3] == "SOA"
    assert not line.heard(BAD, HOME)
    wanted = {"proto": "dns", "host": BAD, "src_ip": HOME.address(family), "action": "block", "answer": "dns"}
    assert all(line.events(**wanted, qtype=kind) for kind in ("A", "AAAA", "HTTPS"))


@FAMILIES
@CLIENTS
def test_other_subscribers_are_told_what_is_there(line: DnsLine, program: str, family: int) -> None:
    told = line.dig(OFFICE, BAD, "AAAA", family=family, program=program)
    assert told.values("AAAA") == [place_address(10, 6)], told.text
    assert line.heard(BAD, OFFICE)


ASKED = {
    "plain": query(GOOD),
    "another case": query("GoOd.eXample.tEst"),
    "edns": query(GOOD, "AAAA", use_edns=0, payload=4096),
    "dnssec": query(SIGNED, **DO),
    "alias": query(ALIAS),
    "like a blocked one": query(f"not{BAD}"),
    "no such name": query("nothing.example.test"),
    "large": query(LARGE, "TXT", use_edns=0, payload=4096),
    "too large": query(LARGE, "TXT"),
    "ech": query(SECRET, "HTTPS"),
    "odd opcode": dns.message.make_query(GOOD, "SOA", flags=dns.flags.RD).to_wire().replace(b"\1\0", b"\x21\0", 1),
}


@FAMILIES
@pytest.mark.parametrize("who", [HOME, OFFICE], ids=["home", "office"])
@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
def test_an_allowed_answer_is_the_resolvers_own(line: DnsLine, asked: bytes, who: Subscriber, family: int) -> None:
    expected = line.ask_beside(asked)
    assert line.ask(who, asked, family=family) == [expected]
    with line.connect(who, 53, family) as conversation:
        conversation.send(framed(asked))
        (answer,) = read_answers(conversation.channel)
    if expected[2] & 0x02:  # TC: the stream has the rest
        assert len(answer) > LARGE_BYTES
    else:
        assert answer == expected


@CLIENTS
def test_a_truncated_answer_is_asked_for_again_over_tcp(line: DnsLine, program: str) -> None:
    told = line.dig(HOME, LARGE, "TXT", "+bufsize=1232", "+edns", program=program)
    assert "(TCP)" in told.text
    assert len(told.values("TXT")[0]) > LARGE_BYTES


@FAMILIES
def test_a_signed_answer_is_valid(line: DnsLine, family: int) -> None:
    words = ["+root=signed.test.", SIGNED, "HTTPS"]
    for who in (HOME, CHILD):  # of whom one wants ECH removed: not from what is signed
        where = [f"@{server_address(family)}", "-b", who.address(family)]
        done = line.topology.run("client", ["delv", *where, "-a", line.here / "anchor.conf", *words])
        assert "; fully validated" in done.stdout, done
        assert "ech=" in done.stdout


@FAMILIES
@CLIENTS
def test_who_checks_signatures_is_refused_honestly(line: DnsLine, program: str, family: int) -> None:
    told = ask_at_once(line, HOME, BAD, "+dnssec", family=family, program=program)
    assert told.status == "REFUSED", told.text
    assert told.error.startswith("15 (Blocked)"), told.text
    assert not told.flags & {"ad", "aa"}
    assert not line.heard(BAD, HOME)


@TRANSPORTS
def test_the_case_of_a_question_comes_back(line: DnsLine, transport: str) -> None:
    told = line.dig(HOME, "bAD.exaMPle.tEST", transport)
    assert "\n;bAD.exaMPle.tEST." in told.text
    assert told.status == "NXDOMAIN"


@pytest.mark.parametrize("words", [["+noedns"], ["+bufsize=512"], ["+nsid", "+subnet=192.0.2.0/24"], ["+padding=128"]])
def test_options_of_a_blocked_query(line: DnsLine, words: list[str]) -> None:
    told = line.dig(HOME, BAD, *words)
    assert told.status == "NXDOMAIN"
    assert ("EDNS" in told.text) == (words != ["+noedns"])
    assert "WARNING" not in told.text
    assert "Warning" not in told.text


def ask_twice(first: str, second: bytes) -> bytes:
    """A query with a second question, which is in wire format."""
    whole = query(first)
    return whole[:4] + b"\0\2" + whole[6:] + second + b"\0\1\0\1"


POINTER = b"\3bad\xc0" + bytes([12 + len(b"\4good")])  # to `example.test` of the first question
ODD_QUERIES = {
    "two questions": ask_twice(GOOD, dns.message.make_query(BAD, "A").question[0].name.to_wire()),
    "a pointer": ask_twice(GOOD, POINTER),
    "bytes behind it": query(BAD) + b"\0" * 40,
    "not recursive": dns.message.make_query(BAD, "A", flags=0).to_wire(),
    "any type": query(BAD, "ANY"),
    "class any": query(BAD, "A", rdclass="ANY"),
    "long labels": query(f"{'a' * 63}.{'b' * 63}.{'c' * 63}.{BAD}"),
    "a byte that is no text": query(rf"\000\.\255.{BAD}"),
}


@FAMILIES
@pytest.mark.parametrize("asked", ODD_QUERIES.values(), ids=ODD_QUERIES)
def test_odd_queries_for_a_blocked_name(line: DnsLine, asked: bytes, family: int) -> None:
    since = line.count_heard()
    answers = line.ask(HOME, asked, family=family, wait_s=0.2)
    for content in answers:
        answer = dns.message.from_wire(content, ignore_trailing=True)
        assert content[:2] == asked[:2]
        assert not answer.answer
    assert answers, "nobody told the client"
    assert not line.heard("example.test", HOME, since)


# ---- fragments, super-packets, tags -------------------------------------------------------------------------------


def padded(name: str, size: int = 1_200) -> bytes:
    """A query with so much padding."""
    return query(name, use_edns=0, payload=4096, options=[dns.edns.GenericOption(EDNS_PADDING, bytes(size))])


CARRIERS = {
    "fragments": (padded, carry_fragments),
    "fragments reversed": (padded, partial(carry_fragments, order=lambda packets: packets[::-1])),
    "small fragments": (query, partial(carry_fragments, size=48)),
}
CARRIED = pytest.mark.parametrize(("make", "carry"), CARRIERS.values(), ids=CARRIERS)


@FAMILIES
@CARRIED
def test_fragments(line: DnsLine, make: Callable[[str], bytes], carry: Carry, family: int) -> None:
    for who, name, code in ((HOME, ODD, NOERROR), (HOME, BAD, NXDOMAIN), (OFFICE, BAD, NOERROR)):
        since = line.count_heard()
        (answer,) = line.ask(who, make(name), family=family, carry=carry)
        assert dns.message.from_wire(answer).rcode() == code
        assert bool(line.heard(name, who, since)) == (code == NOERROR)


@FAMILIES
def test_fragments_of_the_kernel(line: DnsLine, family: int) -> None:
    """A query longer than a frame, which no resolver needs to take: refused like any other when its name is blocked."""
    (answer,) = line.ask(HOME, padded(BAD, 1_600), family=family)
    assert dns.message.from_wire(answer).rcode() == NXDOMAIN
    assert not line.heard(BAD, HOME)


@FAMILIES
def test_a_super_packet(line: DnsLine, family: int) -> None:
    for who, names in ((HOME, [ODD, ODD, ODD]), (OFFICE, [ODD, BAD, ODD])):
        answers = line.ask(who, *map(query, names), family=family, carry=carry_super_packet)
        assert [dns.message.from_wire(answer).rcode() for answer in answers] == [NOERROR] * 3
    answers = line.ask(HOME, *map(query, [ODD, BAD, ODD]), family=family, carry=carry_super_packet, wait_s=0.2)
    told = {answer.question[0].name.to_text(True): answer.rcode() for answer in map(dns.message.from_wire, answers)}
    assert told[BAD] == NXDOMAIN
    assert not line.heard(BAD, HOME)


# ---- streams ------------------------------------------------------------------------------------------------------


def slice_stream(content: bytes) -> list[bytes]:
    return [content[at : at + 1] for at in range(len(content))]


Cut = Callable[[bytes], list[bytes]]
CUTS: dict[str, Cut] = {
    "whole": lambda content: [content],
    "length alone": lambda content: [content[:2], content[2:]],
    "length cut": lambda content: [content[:1], content[1:]],
    "single bytes": slice_stream,
}
CUT = pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)


@FAMILIES
@CUT
def test_pipelined_queries(line: DnsLine, cut: Cut, family: int) -> None:
    names = [GOOD, ODD, ALIAS, "nothing.example.test", OPEN]
    with line.connect(HOME, 53, family) as conversation:
        conversation.send(*cut(framed(*map(query, names))), pause_s=0.001)
        answers = [dns.message.from_wire(answer) for answer in read_answers(conversation.channel, len(names))]
    assert {answer.question[0].name.to_text(True) for answer in answers} == set(names)
    assert all(answer.flags & dns.flags.AA for answer in answers)


@FAMILIES
@CUT
@pytest.mark.parametrize("answered", [0, 1, 2])
def test_a_blocked_query_of_a_stream(line: DnsLine, cut: Cut, answered: int, family: int) -> None:
    """The answer in the stream, then FIN, however many were answered before; the resolver's connection is reset."""
    with Watch(line.topology) as watch, line.connect(HOME, 53, family) as conversation:
        for _ in range(answered):
            conversation.send(framed(query(GOOD)))
            (before,) = read_answers(conversation.channel)
            assert dns.message.from_wire(before).rcode() == NOERROR
        asked = dns.message.make_query(BAD, "A", use_edns=0)
        conversation.send(*cut(framed(asked.to_wire())), pause_s=0.001)
        begin_s = time.monotonic()
        whole, state = conversation.read_all(2)
        took_s = time.monotonic() - begin_s
        assert state == CLOSED
        assert took_s < RETRY_S
        (answer,) = read_stream(whole)
        assert asked.is_response(answer)
        assert answer.rcode() == NXDOMAIN
        assert [option.code for option in answer.options] == [15]
        time.sleep(0.05)
        assert was_reset(watch, find_port(conversation))
    assert not line.heard(BAD, HOME)


@pytest.mark.parametrize("names", [(BAD, GOOD, ODD), (GOOD, BAD, ODD), (GOOD, ODD, BAD)], ids=["1st", "2nd", "3rd"])
@pytest.mark.parametrize("apart", [False, True], ids=["one segment", "a segment each"])
def test_a_blocked_query_among_others(line: DnsLine, names: tuple[str, ...], apart: bool) -> None:
    """Who pipelines gets what could be answered, and the end; what was answered is right, and BAD reaches nobody."""
    since = line.count_heard()
    messages = [framed(query(name)) for name in names]
    with line.connect(HOME, 53) as conversation:
        conversation.send(*(messages if apart else [b"".join(messages)]))
        whole, state = conversation.read_all(2)
    assert state in (CLOSED, RESET)
    answers = read_stream(whole)
    for answer in answers:
        assert (answer.rcode() == NXDOMAIN) == (BAD in answer.question[0].to_text())
    if names[0] == BAD:
        assert state == CLOSED
        assert [answer.rcode() for answer in answers] == [NXDOMAIN]
    assert not line.heard(BAD, HOME, since)


@pytest.mark.parametrize("names", [(BAD, GOOD), (GOOD, BAD, ODD)], ids=["first", "between"])
def test_a_client_goes_on_after_the_end(line: DnsLine, names: tuple[str, ...]) -> None:
    """Names asked one after the other over one connection: dig asks for those behind the blocked one over a new one."""
    words = [word for name in names for word in (name, "A")]
    told = line.dig(HOME, "+tcp", "+keepopen", "+tries=3", *words)
    assert re.findall(r"status: (\w+)", told.text) == ["NXDOMAIN" if name == BAD else "NOERROR" for name in names]
    assert told.took_s < RETRY_S


# ---- answers by configuration, tags -------------------------------------------------------------------------------

TAGGED = {
    "one tag, null": ((100,), {"answer": "null", "error": "filtered", "ttl_s": 7, "text": "Not here."}),
    "two tags, address": (
        (200, 100),
        {"answer": "address", "addresses": [place_address(80), place_address(80, 6)], "error": "censored"},
    ),
}
INSTEAD = {"null": {"A": "0.0.0.0", "AAAA": "::"}, "address": {"A": place_address(80), "AAAA": place_address(80, 6)}}


@pytest.fixture(scope="module", params=TAGGED.values(), ids=TAGGED)
def tagged(request: pytest.FixtureRequest, here: Path, pair: Certificate) -> Iterator[DnsLine]:
    tags, settings = request.param
    place = here / "-".join(map(str, tags))
    place.mkdir()
    with build_dns_line(place, pair, vlan=tags, dns=settings) as found:
        yield found


@FAMILIES
@TRANSPORTS
@CLIENTS
def test_a_blocked_name_with_tags(tagged: DnsLine, program: str, transport: str, family: int) -> None:
    settings = tagged.settings["dns"]
    for kind, address in INSTEAD[settings["answer"]].items():
        told = ask_at_once(tagged, HOME, BAD, kind, transport, family=family, program=program)
        assert told.values(kind) == [address], told.text
        assert told.section()[0][1] == str(settings.get("ttl_s", 60))
        assert told.error.startswith("17 (Filtered)" if settings["error"] == "filtered" else "16 (Censored)")
        assert settings.get("text", "refused by your network operator") in told.error
    told = tagged.dig(HOME, BAD, "MX", transport, family=family, program=program)
    assert (told.status, told.section()) == ("NOERROR", [])
    assert told.section("AUTHORITY")[0][3] == "SOA"
    assert tagged.dig(HOME, BAD, "+dnssec", transport, family=family).status == "REFUSED"
    assert not tagged.heard(BAD, HOME)


@FAMILIES
@TRANSPORTS
def test_others_with_tags(tagged: DnsLine, transport: str, family: int) -> None:
    for who, name in ((HOME, GOOD), (OFFICE, BAD)):
        told = tagged.dig(who, name, transport, family=family)
        assert told.values("A") == [place_address(10)], told.text


@FAMILIES
@TRANSPORTS
def test_ech_with_tags(tagged: DnsLine, transport: str, family: int) -> None:
    assert "ech=" in tagged.dig(HOME, SECRET, "HTTPS", transport, family=family).text
    assert "ech=" not in tagged.dig(CHILD, SECRET, "HTTPS", transport, family=family).text


@FAMILIES
def test_fragments_with_tags(tagged: DnsLine, family: int) -> None:
    since = tagged.count_heard()
    for who, name, address in ((HOME, GOOD, place_address(10)), (OFFICE, BAD, place_address(10)), (HOME, BAD, "")):
        (answer,) = tagged.ask(who, padded(name), family=family, carry=carry_fragments)
        expected = address or INSTEAD[tagged.settings["dns"]["answer"]]["A"]
        assert dns.message.from_wire(answer).answer[0][0].to_text() == expected
    assert not tagged.heard(BAD, HOME, since)


# ---- names that are rewritten -------------------------------------------------------------------------------------

SAFE = {
    "google": ("www.google.com", "forcesafesearch.google.com", "forcesafesearch.google.com"),
    "google.co.uk": ("www.google.co.uk", "forcesafesearch.google.com", "forcesafesearch.google.com"),
    "bing": ("www.bing.com", "strict.bing.com", "strict.bing.com"),
    "duckduckgo": ("duckduckgo.com", "safe.duckduckgo.com", "safe.duckduckgo.com"),
    "youtube": ("www.youtube.com", "restrict.youtube.com", "restrictmoderate.youtube.com"),
    "youtube on phones": ("m.youtube.com", "restrict.youtube.com", "restrictmoderate.youtube.com"),
}


@FAMILIES
@TRANSPORTS
@pytest.mark.parametrize(("name", "strict", "moderate"), SAFE.values(), ids=SAFE)
def test_safe_answers(line: DnsLine, name: str, strict: str, moderate: str, transport: str, family: int) -> None:
    since = line.count_heard()
    for who, target in ((CHILD, strict), (TEEN, moderate)):
        for kind, of in (("A", 4), ("AAAA", 6)):
            told = line.dig(who, name, kind, transport, family=family)
            assert told.values("CNAME") == [target], told.text
            assert told.values(kind) == [place_address(TARGETS[target], of)], told.text
            assert told.time_ms < AT_ONCE_MS * TRIES
        assert not line.dig(who, name, "HTTPS", transport, family=family).values("HTTPS")
    assert not line.heard(name, CHILD, since)
    assert not line.heard(name, TEEN, since)
    for who in (HOME, OFFICE):
        assert line.dig(who, name, transport, family=family).values("A") == [place_address(UNSAFE)]


CANARIES = {
    "Firefox": ("use-application-dns.net", "A"),
    "Private Relay": ("mask.icloud.com", "A"),
    "Private Relay, HTTPS": ("mask.icloud.com", "HTTPS"),
    "Private Relay, HTTP/2": ("mask-h2.icloud.com", "AAAA"),
    "designated resolvers": ("_dns.resolver.arpa", "SVCB"),
}


@FAMILIES
@TRANSPORTS
@pytest.mark.parametrize(("name", "kind"), CANARIES.values(), ids=CANARIES)
def test_canaries(line: DnsLine, name: str, kind: str, transport: str, family: int) -> None:
    told = ask_at_once(line, HOME, name, kind, transport, family=family)
    assert (told.status, told.section()) == ("NXDOMAIN", []), told.text
    assert not line.heard(name, HOME)
    line.dig(OFFICE, name, kind, transport, family=family)
    assert line.heard(name, OFFICE)

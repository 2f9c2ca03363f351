"""DNS on the path: real stubs ask a real resolver through the box; what is refused is answered at once and never heard."""

import io
import re
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from math import inf
from pathlib import Path

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from curl_cffi import Curl, CurlError, CurlOpt
from dns.rdtypes.svcbbase import ParamKey
from scapy.layers.inet import TCP, UDP

from penstock.demo.box import GOOD
from penstock.demo.servers import Certificate, read_log
from penstock.demo.topology import CLIENT_INTERFACE, HOME, OFFICE, SERVER_IPV4, Subscriber, server_address
from tests.hellos import plain_hello, record
from tests.live.clients import CLOSED, RESET, Conversation
from tests.live.dns import (
    ALIAS,
    CHILD,
    CHILD_RESOLVER,
    COVER,
    ECH,
    LARGE,
    LARGE_BYTES,
    LATER,
    LISTED,
    ODD,
    OPEN,
    PLACES,
    QUIET,
    SECRET,
    SIGNED,
    TARGETS,
    TEEN,
    UNSAFE,
    DnsLine,
    Told,
    build_dns_line,
    find_resolved,
    framed,
    place_address,
    query,
    read_answers,
    read_stream,
)
from tests.live.line import BAD, live
from tests.live.packets import read_record_kinds
from tests.live.quic import Carry, Watch, carry_fragments, carry_super_packet, fetch

pytestmark = live("openssl", "unbound", "dig", "kdig", "delv", "chromium", "unshare")

AT_ONCE_MS = 50.0
TRIES = 3  # of which the quickest counts: two cores carry all of this
RETRY_S = 1.0  # stubs ask again after 1 s at least
ALERT = 21
EDNS_PADDING = 12
NOERROR, NXDOMAIN = dns.rcode.NOERROR, dns.rcode.NXDOMAIN
DO = {"use_edns": 0, "want_dnssec": True}

FAMILIES = pytest.mark.parametrize("family", [4, 6])
CLIENTS = pytest.mark.parametrize("program", ["dig", "kdig"])
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


# ---- DNS that hides its names -------------------------------------------------------------------------------------


@FAMILIES
def test_dot_is_refused_at_once(line: DnsLine, family: int) -> None:
    since = line.count_heard()
    with Watch(line.topology) as watch, line.connect(HOME, 853, family) as conversation:
        begin_s = time.monotonic()
        conversation.send(record(plain_hello(b"dot.example.test")))
        whole, state = conversation.read_all(1)
        took_s = time.monotonic() - begin_s
        assert read_record_kinds(whole) == [ALERT], whole
        assert state == CLOSED
        assert took_s * 1000 < AT_ONCE_MS
        assert not any(bytes(frame.packet[TCP].payload) for frame in watch.read() if TCP in frame.packet)
    told = line.dig(HOME, GOOD, "+tls", family=family, program="kdig")
    assert told.status == ""
    assert "alert" in told.text
    assert told.took_s < RETRY_S
    assert not line.heard(GOOD, HOME, since)
    assert line.events(reason="encrypted_dns", dest_port=853, src_ip=HOME.address(family), action="block")
    told = line.dig(OFFICE, BAD, "+tls", family=family, program="kdig")
    assert told.values("A") == [place_address(10)], told.text


@FAMILIES
def test_doq_is_refused_at_once(line: DnsLine, pair: Certificate, family: int) -> None:
    with Watch(line.topology) as watch:
        outcome = fetch(line.topology, pair, HOME, GOOD, port=853, family=family, patience_s=1)
        assert outcome.error.startswith("CONNECTION_CLOSE"), outcome
        assert outcome.after_s * 1000 < AT_ONCE_MS * TRIES, outcome
        assert not watch.read_datagrams(HOME.address(family))
        fetch(line.topology, pair, OFFICE, GOOD, port=853, family=family, patience_s=0.1)
        assert watch.read_datagrams(OFFICE.address(family))
    assert line.events(reason="encrypted_dns", dest_port=853, src_ip=HOME.address(family), proto="quic")


def test_dot_passes_where_it_is_said_so(line: DnsLine) -> None:
    with line.configured(dns={"dot": "forward"}):
        told = line.dig(HOME, BAD, "+tls", program="kdig")
        assert told.values("A") == [place_address(10)], told.text


# ---- ECH ----------------------------------------------------------------------------------------------------------


def strip_ech(content: bytes) -> dns.message.Message:
    """The same answer without the parameter."""
    answer = dns.message.from_wire(content)
    for place, found in enumerate(answer.answer):
        kept = [
            one.replace(params={key: one.params[key] for key in one.params if key != ParamKey.ECH}) for one in found
        ]
        answer.answer[place] = dns.rrset.from_rdata_list(found.name, found.ttl, kept)
    return answer


OFFERS = {"HTTPS": (SECRET, "HTTPS"), "SVCB": (f"_8443._https.{SECRET}", "SVCB")}
OFFERED = pytest.mark.parametrize(("name", "kind"), OFFERS.values(), ids=OFFERS)


@FAMILIES
@OFFERED
def test_ech_is_removed(line: DnsLine, name: str, kind: str, family: int) -> None:
    for more in ({}, {"use_edns": 0, "payload": 4096}):
        asked = query(name, kind, **more)
        expected = line.ask_beside(asked)
        for who in (CHILD, TEEN):
            (content,) = line.ask(who, asked, family=family)
            answer = dns.message.from_wire(content)
            assert answer == strip_ech(expected)
            assert answer.answer == strip_ech(expected).answer
            assert answer.flags == dns.message.from_wire(expected).flags
        assert line.ask(HOME, asked, family=family) == [expected]


@FAMILIES
@OFFERED
def test_in_a_stream_there_is_no_answer_that_could_offer_ech(line: DnsLine, name: str, kind: str, family: int) -> None:
    asked = query(name, kind)
    with line.connect(CHILD, 53, family) as conversation:
        conversation.send(framed(asked))
        (content,) = read_answers(conversation.channel)
    answer = dns.message.from_wire(content)
    assert dns.message.from_wire(asked).is_response(answer)
    assert (answer.rcode(), answer.answer) == (dns.rcode.NOERROR, [])


@CLIENTS
def test_clients_understand_what_is_left(line: DnsLine, program: str) -> None:
    told = line.dig(CHILD, SECRET, "HTTPS", program=program)
    assert "ech" not in told.text.partition("ANSWER SECTION")[2].replace(SECRET, "")
    assert len(told.values("HTTPS")) == 2
    assert "alpn" in told.values("HTTPS")[0] + told.values("HTTPS")[1]
    assert "Warning" not in told.text
    assert "WARNING" not in told.text
    assert "ech=" in line.dig(HOME, SECRET, "HTTPS", program=program).text
    assert "ech=" in line.dig(OFFICE, SECRET, "HTTPS", program=program).text


def fetch_by_ech(line: DnsLine, who: Subscriber, name: str, ech: str, family: int) -> str:
    """Let curl (BoringSSL) ask with ECH for the page of a name whose address it has: the page, or what went wrong."""
    body, curl = io.BytesIO(), Curl()
    curl.setopt(CurlOpt.URL, f"https://{name}/")
    curl.setopt(CurlOpt.RESOLVE, [f"{name}:443:{place_address(PLACES[name], family)}"])
    curl.setopt(CurlOpt.INTERFACE, who.address(family))
    curl.setopt(CurlOpt.CAINFO, str(line.pair.certificate))
    curl.setopt(CurlOpt.ECH, ech)
    curl.setopt(CurlOpt.TIMEOUT_MS, 3000)
    curl.setopt(CurlOpt.WRITEDATA, body)
    try:
        with line.topology.inside("client"):
            curl.perform()
        return body.getvalue().decode()
    except CurlError as error:
        return str(error)
    finally:
        curl.close()


@FAMILIES
def test_a_hello_with_ech_is_refused(line: DnsLine, family: int) -> None:
    """To where a name led whose answers offered ECH; of who wants it refused, and of nobody else."""
    ech = f"ecl:{ECH}"
    for who in (TEEN, CHILD, HOME, OFFICE):
        for kind in ("A", "AAAA", "HTTPS"):
            line.ask(who, query(SECRET, kind), family=family)
        told = fetch_by_ech(line, who, SECRET, ech, family)
        assert ("ECH: rejected" in told) == (who is not TEEN), (who, told)  # the site has no keys, and says so
    assert "alert" in fetch_by_ech(line, TEEN, SECRET, ech, family).lower()
    assert line.events(proto="tls", action="block", reason="encrypted_hello", src_ip=TEEN.address(family))


@FAMILIES
@pytest.mark.parametrize("name", [OPEN, SECRET])
def test_what_only_looks_like_ech_passes(line: DnsLine, name: str, family: int) -> None:
    """Browsers send the extension to everybody (RFC 9849, 6.2), also to a site whose keys they were not told."""
    for kind in ("A", "AAAA", "HTTPS"):
        line.ask(TEEN, query(name, kind), family=family)
    assert f"This is {name}." in fetch_by_ech(line, TEEN, name, "grease", family)


# ---- flows without a name -----------------------------------------------------------------------------------------


def knock(line: DnsLine, who: Subscriber, name: str, family: int = 4) -> bool:
    """Let openssl shake hands with the address of a name without saying any; whether the server answered."""
    where, source = (
        f"[{one}]" if family == 6 else one for one in (place_address(PLACES[name], family), who.address(family))
    )
    words = ["-noservername", "-connect", f"{where}:443", "-bind", f"{source}:0", "-brief"]
    begin_s = time.monotonic()
    done = line.topology.run("client", ["openssl", "s_client", *words])
    assert time.monotonic() - begin_s < RETRY_S, done.stderr
    if "CONNECTION ESTABLISHED" in done.stderr:
        return True
    assert "alert" in done.stderr, done.stderr
    return False


@FAMILIES
def test_a_flow_without_a_name_is_judged_by_the_name_resolved_before(line: DnsLine, family: int) -> None:
    kind = "A" if family == 4 else "AAAA"
    for who in (HOME, OFFICE):
        assert line.dig(who, LATER, kind, family=family).values(kind)
    assert knock(line, HOME, LATER, family)
    with line.listed(LATER):  # the subscriber's programs have its address already
        assert not knock(line, HOME, LATER, family)
        assert line.events(proto="tls", host=LATER, action="block", category="phishing", src_ip=HOME.address(family))
        assert knock(line, OFFICE, LATER, family)
        assert knock(line, TEEN, LATER, family), "he never resolved it"
        assert knock(line, HOME, QUIET, family), "another address"
    assert knock(line, HOME, LATER, family)


@FAMILIES
def test_a_flow_without_a_name_is_judged_by_its_address(line: DnsLine, family: int) -> None:
    assert knock(line, HOME, LISTED, family)
    with line.listed(place_address(PLACES[LISTED]), f"[{place_address(PLACES[LISTED], 6)}]"):
        assert not knock(line, HOME, LISTED, family)
        assert line.events(
            proto="tls", action="block", category="phishing", dest_ip=place_address(PLACES[LISTED], family)
        )
        assert knock(line, OFFICE, LISTED, family)


# ---- stubs --------------------------------------------------------------------------------------------------------

RESOLV_OPTIONS = ["", "edns0 trust-ad", "use-vc", "single-request", "no-aaaa"]


LOOKUP = "import socket, sys; print(*{row[4][0] for row in socket.getaddrinfo(sys.argv[1], 80)})"


@pytest.mark.parametrize("options", RESOLV_OPTIONS)
def test_glibc(line: DnsLine, options: str) -> None:
    done, _ = line.run_stub([sys.executable, "-c", LOOKUP, GOOD], options)
    assert place_address(10) in done.stdout.split(), done.stderr
    since = line.count_heard()
    done, took_s = line.run_stub(["getent", "ahosts", BAD], options)
    assert (done.returncode, done.stdout) == (2, "")
    assert took_s < RETRY_S
    done, _ = line.run_stub([sys.executable, "-c", LOOKUP, BAD], options)
    assert f"[Errno {socket.EAI_NONAME}]" in done.stderr, done.stderr[-80:]
    assert not line.heard(BAD, HOME, since)


@pytest.mark.parametrize("options", RESOLV_OPTIONS)
def test_glibc_is_led_to_safe_answers(line: DnsLine, options: str) -> None:
    done, took_s = line.run_stub(["getent", "ahosts", "www.google.com"], options, CHILD_RESOLVER)
    assert place_address(TARGETS[SAFE["google"][1]]) in done.stdout, done
    assert SAFE["google"][1] in done.stdout
    assert took_s < RETRY_S


@pytest.mark.skipif(not find_resolved(), reason="not installed: systemd-resolved")
@pytest.mark.parametrize("over_tls", ["no", "opportunistic"])
def test_systemd_resolved(line: DnsLine, over_tls: str) -> None:
    """Also where it tries DNS over TLS first, which is refused so that it goes on at once."""
    with line.resolved(over_tls) as stub:
        begin_s, since = time.monotonic(), line.count_heard()
        for transport in ("+notcp", "+tcp"):
            told = dig_stub(line, stub, GOOD, transport)
            assert told.values("A") == [place_address(10)], told.text
            told = dig_stub(line, stub, BAD, transport)
            assert told.status == "NXDOMAIN", told.text
        assert time.monotonic() - begin_s < RETRY_S
        assert not line.heard(BAD, HOME, since)
        assert len(dig_stub(line, stub, LARGE, "TXT", "+bufsize=4096").text) > LARGE_BYTES


def dig_stub(line: DnsLine, stub: str, *words: str) -> Told:
    done = line.topology.run("client", ["dig", f"@{stub}", "+tries=1", "+time=5", *words])
    return Told(done.stdout)


@pytest.mark.skipif(not find_resolved(), reason="not installed: systemd-resolved")
def test_systemd_resolved_is_led_to_safe_answers(line: DnsLine) -> None:
    with line.resolved(server=CHILD_RESOLVER) as stub:
        told = dig_stub(line, stub, "www.google.com")
        assert told.values("A") == [place_address(TARGETS["forcesafesearch.google.com"])], told.text


# ---- Chromium -----------------------------------------------------------------------------------------------------


def browse(line: DnsLine, url: str, profile: Path, server: str = SERVER_IPV4) -> str:
    """Let headless Chromium load a page by the addresses that its resolver finds; what it prints."""
    shutil.rmtree(profile, ignore_errors=True)
    quiet = ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    argv = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", *quiet]
    words = [f"--user-data-dir={profile}", "--ignore-certificate-errors", "--dump-dom", url]
    done, _ = line.run_stub([*argv, *words], server=server)
    return f"{done.stdout}{done.stderr}"


def find_answer_times(watch: Watch, name: str) -> list[float]:
    """Seconds from each query for a name to its answer; inf for one without."""
    asked: dict[tuple[int, bytes], float] = {}
    took: dict[tuple[int, bytes], float] = {}
    for frame in watch.read():
        if UDP not in frame.packet or 53 not in (frame.packet[UDP].sport, frame.packet[UDP].dport):
            continue
        content = bytes(frame.packet[UDP].payload)
        if dns.message.from_wire(content).question[0].name.to_text(True) == name:
            key = (frame.packet[UDP].sport if frame.outgoing else frame.packet[UDP].dport, content[:2])
            if frame.outgoing:
                asked.setdefault(key, frame.time_s)
            else:
                took.setdefault(key, frame.time_s - asked[key])
    return [took.get(key, inf) for key in asked]


def test_chromium(line: DnsLine, tmp_path: Path) -> None:
    assert f"This is {GOOD}." in browse(line, f"http://{GOOD}/", tmp_path / "p")
    since = line.count_heard()
    with Watch(line.topology, "client", CLIENT_INTERFACE) as watch:
        text = browse(line, f"https://{BAD}/", tmp_path / "p")
        times = find_answer_times(watch, BAD)
    assert "ERR_NAME_NOT_RESOLVED" in text
    assert times
    assert max(times) * 1000 < AT_ONCE_MS, times
    assert not line.heard(BAD, HOME, since)


def test_chromium_uses_ech_unless_it_is_removed(line: DnsLine, tmp_path: Path) -> None:
    for server, host in ((SERVER_IPV4, COVER), (CHILD_RESOLVER, SECRET)):
        before = len(read_log(line.site))
        assert f"This is {SECRET}." in browse(line, f"https://{SECRET}/", tmp_path / "p", server)
        hellos = [entry["host"] for entry in read_log(line.site)[before:] if entry["kind"] == "hello"]
        assert hellos[0] == host
        assert (COVER in hellos) == (host == COVER)  # the site has no keys: then Chromium goes on without ECH

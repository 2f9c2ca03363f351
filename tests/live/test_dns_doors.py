"""Doors beside plain DNS, and who goes through them: hidden queries, ECH, flows without a name, stubs and browsers."""

import io
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from math import inf
from pathlib import Path

import dns.message
import dns.rcode
import dns.rrset
import pytest
from curl_cffi import Curl, CurlError, CurlOpt
from dns.rdtypes.svcbbase import ParamKey
from scapy.layers.inet import TCP, UDP

from penstock.demo.box import GOOD
from penstock.demo.servers import Certificate, read_log
from penstock.demo.topology import CLIENT_INTERFACE, HOME, OFFICE, SERVER_IPV4, Subscriber
from tests.hellos import plain_hello, record
from tests.live.clients import CLOSED
from tests.live.dns import (
    CHILD,
    CHILD_RESOLVER,
    COVER,
    ECH,
    LARGE,
    LARGE_BYTES,
    LATER,
    LISTED,
    OPEN,
    PLACES,
    QUIET,
    SECRET,
    TARGETS,
    TEEN,
    DnsLine,
    Told,
    build_dns_line,
    find_resolved,
    framed,
    place_address,
    query,
    read_answers,
)
from tests.live.dns_fixtures import AT_ONCE_MS, CLIENTS, FAMILIES, RETRY_S, TRIES
from tests.live.line import BAD, live
from tests.live.packets import read_record_kinds
from tests.live.quic import Watch, fetch

pytestmark = live("openssl", "unbound", "dig", "kdig", "chromium", "unshare")

ALERT = 21
SAFE_GOOGLE = "forcesafesearch.google.com"


@pytest.fixture(scope="module")
def line(here: Path, pair: Certificate) -> Iterator[DnsLine]:
    with build_dns_line(here, pair) as found:
        yield found


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
    assert place_address(TARGETS[SAFE_GOOGLE]) in done.stdout, done
    assert SAFE_GOOGLE in done.stdout
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
        assert told.values("A") == [place_address(TARGETS[SAFE_GOOGLE])], told.text


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

"""QUIC: however a first flight is cut, ordered, repeated or carried, its name is judged before the server hears of it."""

import io
import random
import socket
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from aioquic.buffer import Buffer
from aioquic.quic.packet import QuicFrameType, pull_quic_header
from curl_cffi import Curl, CurlError, CurlHttpVersion, CurlOpt

from penstock.demo.box import GOOD
from penstock.demo.servers import Certificate, Server, hosts_seen, start_program
from penstock.demo.topology import CLIENT_INTERFACE, HOME, OFFICE, Subscriber, Topology, server_address
from tests.live.line import BAD, Line, build_line, live
from tests.live.quic import (
    INITIAL_BYTES,
    PATIENCE_S,
    V1,
    V2,
    Flight,
    Outcome,
    Plan,
    Shape,
    Site,
    Watch,
    carry_fragments,
    carry_super_packet,
    fetch,
    find_fallback,
    open_initials,
    read_names,
    visit,
)

pytestmark = live("openssl", "caddy", "chromium", alone=True)

ODD = "odd.example.test"  # as long as BAD, and on no list
REFUSED_S = 0.3  # after this a client's own timers speak, not we
HELD_S = 0.15  # nothing is held longer than 100 ms
CURL_WAITS_S = 0.05  # after 100 ms curl tries TCP beside QUIC, whatever it hears
FALLBACK_S = 0.1  # after 1.5 s Chromium tries it, as `visit` has it
LARGE, LARGEST = 2_500, 8_500  # a hello in three datagrams, in eight
RETRY_PORT, CADDY_PORT, CURVE_PORT = 4433, 4434, 4435
OTHER_ID = b"otherkey"
FIRST_NUMBER = 50  # of our own packets: an ACK of them must not count for what aioquic believes to have sent
PING = bytes([QuicFrameType.PING])

CADDY = """{{
    admin off
    auto_https off
    skip_install_trust
}}
https://:{port} {{
    tls {pair.certificate} {pair.key} {{
        curves {curve}
    }}
    respond "This is {{host}}."
    log {{
        output file {log}
    }}
}}
"""


def start_caddy(topology: Topology, here: Path, pair: Certificate, *, port: int, curve: str = "x25519") -> Server:
    """Caddy (quic-go); with a `curve` that the client's first key share lacks, it sends a HelloRetryRequest."""
    server = Server("Caddy", port, port, here / f"caddy-{port}.log")
    configuration = here / f"caddy-{port}.conf"
    configuration.write_text(CADDY.format(port=port, pair=pair, log=server.log, curve=curve))
    argv = ["caddy", "run", "--adapter", "caddyfile", "--config", configuration]
    homes = dict.fromkeys(("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"), str(here))
    return start_program(topology, server, argv, env={"PATH": "/usr/bin:/bin", **homes})


def fetch_by_curl(
    topology: Topology,
    pair: Certificate,
    who: Subscriber,
    host: str,
    *,
    port: int = 443,
    family: int = 4,
    fall_back: bool = False,
) -> Outcome:
    """The same with curl over ngtcp2, with a browser's key share; with `fall_back` it may turn to TCP."""
    body = io.BytesIO()
    curl = Curl()
    curl.setopt(CurlOpt.URL, f"https://{host}:{port}/")
    curl.setopt(CurlOpt.HTTP_VERSION, CurlHttpVersion.V3 if fall_back else CurlHttpVersion.V3ONLY)
    curl.setopt(CurlOpt.RESOLVE, [f"{host}:{port}:{server_address(family)}"])
    curl.setopt(CurlOpt.SSL_EC_CURVES, "X25519MLKEM768:X25519:P-384")
    curl.setopt(CurlOpt.INTERFACE, who.address(family))
    curl.setopt(CurlOpt.CAINFO, str(pair.certificate))
    curl.setopt(CurlOpt.TIMEOUT_MS, int(PATIENCE_S * 1000))
    curl.setopt(CurlOpt.WRITEDATA, body)
    begin_s = time.monotonic()
    outcome = Outcome()
    try:
        with topology.inside("client"):
            curl.perform()
        outcome.answer = body.getvalue()
    except CurlError as error:
        outcome.error = str(error)
    finally:
        curl.close()
    outcome.after_s = time.monotonic() - begin_s
    return outcome


def swap(flight: Flight) -> bytes:
    """The hello with the other name: a decoy."""
    names = (ODD.encode(), BAD.encode())
    there, other = names if names[0] in flight.hello else names[::-1]
    return flight.hello.replace(there, other)


def pack(flight: Flight, *contents: bytes, first: int = FIRST_NUMBER) -> list[bytes]:
    """A datagram for each of these frames."""
    return [flight.seal(frames, number) for number, frames in enumerate(contents, first)]


def shuffle_pieces(flight: Flight, size: int = 31, count: int = 4) -> list[bytes]:
    """The hello in frames of a few bytes in no order, over some datagrams."""
    pieces = [flight.piece(start, start + size) for start in range(0, len(flight.hello), size)]
    random.Random(77).shuffle(pieces)
    return pack(flight, *(b"".join(pieces[start::count]) for start in range(count)))


def cut_name(flight: Flight, overlap: int = 0) -> list[bytes]:
    """Two datagrams that share the name, the second half first."""
    middle = flight.hello.index(b".example")
    return pack(flight, flight.piece(middle - overlap), flight.piece(0, middle + overlap))


def hide_behind_ping(flight: Flight) -> list[bytes]:
    """Two Initials in one datagram, the hello in the second."""
    return [flight.seal(PING, FIRST_NUMBER, 100) + flight.seal(flight.piece(0), FIRST_NUMBER + 1, INITIAL_BYTES - 100)]


def spoil(datagram: bytes) -> bytes:
    """The same with a tag that is wrong."""
    return datagram[:-1] + bytes([datagram[-1] ^ 1])


def decoy(flight: Flight, size: int = INITIAL_BYTES) -> bytes:
    """An Initial of another connection, with the other name."""
    return flight.seal(flight.piece(0, hello=swap(flight)), 0, size, OTHER_ID)


def share_datagram(flight: Flight) -> list[bytes]:
    """The hello and a decoy behind it in one datagram."""
    return [flight.seal(flight.piece(0), 0, INITIAL_BYTES // 2) + decoy(flight, INITIAL_BYTES // 2)]


def contradict(flight: Flight) -> list[bytes]:
    """Other bytes at the same offsets, and then the hello."""
    return pack(flight, flight.piece(0, hello=swap(flight)), flight.piece(0))


def cut_early_data(flight: Flight) -> list[bytes]:
    """What is coalesced behind the hello in datagrams of their own, before it."""
    hellos, others = [], []
    for datagram in flight.datagrams:
        size = pull_quic_header(Buffer(data=datagram)).packet_length
        hellos.append(datagram[:size].ljust(INITIAL_BYTES, b"\x00"))
        behind = datagram[size:]
        if behind[:1] > b"\x7f":  # else it is padding
            others.append(behind[: pull_quic_header(Buffer(data=behind)).packet_length])
    assert others, "no early data"
    return others + hellos


PLANS = {
    "version 1": Plan(),
    "version 2": Plan(version=V2),
    "upgrade to version 2": Plan(upgrade=V2),
    "three datagrams": Plan(hello_bytes=LARGE),
    "eight datagrams": Plan(hello_bytes=LARGEST),
    "first lost": Plan(lambda flight: flight.datagrams[1:], hello_bytes=LARGE),
    "only one lost": Plan(lambda flight: []),
    "last first": Plan(lambda flight: flight.datagrams[::-1], hello_bytes=LARGE),
    "each twice": Plan(lambda flight: [each for each in flight.datagrams for _ in "12"], hello_bytes=LARGE),
    "super-packet": Plan(carry=carry_super_packet, hello_bytes=LARGE),
    "fragments": Plan(carry=partial(carry_fragments, order=list)),
    "fragments, last first": Plan(carry=partial(carry_fragments, order=lambda packets: packets[::-1])),
    "fragments of three datagrams": Plan(carry=carry_fragments, hello_bytes=LARGE),
    "pieces": Plan(shuffle_pieces),
    "pieces of version 2": Plan(shuffle_pieces, version=V2),
    "many pieces": Plan(partial(shuffle_pieces, size=7, count=8), hello_bytes=LARGE),
    "cut in the name": Plan(cut_name),
    "overlap in the name": Plan(partial(cut_name, overlap=5)),
    "numbers from 30000": Plan(lambda flight: pack(flight, flight.piece(0), first=30_000)),
    "bytes behind it": Plan(lambda flight: [flight.seal(flight.piece(0)) + b"\xff" * 99]),
    "damaged one first": Plan(lambda flight: [spoil(flight.seal(flight.piece(0))), *flight.datagrams]),
    "other keys first": Plan(lambda flight: [flight.seal(flight.piece(0), server_id=OTHER_ID), *flight.datagrams]),
}
CADDY_PLANS = {  # which aioquic's server does not take: its first packet must have a CRYPTO frame
    "version 1": Plan(),
    "three datagrams": Plan(hello_bytes=LARGE),
    "ping first": Plan(lambda flight: pack(flight, PING, flight.piece(0))),
    "second in its datagram": Plan(hide_behind_ping),
}
EVASIONS = {  # each shows both names
    "decoy before": lambda flight: [decoy(flight), *flight.datagrams],
    "decoy behind": lambda flight: [*flight.datagrams, decoy(flight)],
    "decoy in the datagram": share_datagram,
    "contradiction": contradict,
}


@pytest.fixture(scope="module")
def site(line: Line) -> Iterator[Site]:
    with Site(line.topology, line.pair) as found:
        yield found


@pytest.fixture(scope="module")
def retrying(line: Line) -> Iterator[Site]:
    with Site(line.topology, line.pair, RETRY_PORT, retry=True) as found:
        yield found


@pytest.fixture(scope="module")
def caddy(line: Line) -> Server:
    return start_caddy(line.topology, line.here, line.pair, port=CADDY_PORT)


@pytest.fixture(scope="module")
def curving(line: Line) -> Server:
    """Caddy that answers every first hello with a HelloRetryRequest."""
    return start_caddy(line.topology, line.here, line.pair, port=CURVE_PORT, curve="secp384r1")


@pytest.fixture
def arrivals(line: Line) -> Iterator[Watch]:
    """What reaches the server's interface during the test."""
    with Watch(line.topology) as watch:
        yield watch


def is_answered(outcome: Outcome, host: str = ODD) -> bool:
    """Whether the site's page came, whole."""
    return outcome.answer is not None and outcome.answer.rstrip() == f"This is {host}.".encode()


def assert_refused(line: Line, arrivals: Watch, outcome: Outcome, family: int) -> None:
    """The client was told at once and by little; the server heard nothing, now and later; the log says it once."""
    assert outcome.error, outcome
    assert outcome.after_s < REFUSED_S, outcome
    time.sleep(HELD_S)
    came = arrivals.read_datagrams(HOME.address(family), outcome.port)
    # In the first minute an Initial passes that no key opens: it may be of a connection that began before the box.
    assert not any(open_initials(came)), came
    if outcome.port is not None:  # aioquic's client, which tells more than curl's
        assert outcome.error.startswith("CONNECTION_CLOSE"), outcome
        assert outcome.received_bytes <= 3 * outcome.sent_bytes, outcome
        found = line.events(proto="quic", host=BAD, src_ip=HOME.address(family), src_port=outcome.port)
        assert [event["action"] for event in found] == ["block"], found
    else:
        assert line.events(proto="quic", action="block", host=BAD, src_ip=HOME.address(family))


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_allowed(line: Line, site: Site, plan: Plan, family: int) -> None:
    outcome = fetch(line.topology, line.pair, HOME, ODD, plan, family=family)
    assert is_answered(outcome), outcome
    assert outcome.version == (plan.upgrade or plan.version)


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_blocked(line: Line, site: Site, arrivals: Watch, plan: Plan, family: int) -> None:
    heard = len(site.heard)
    outcome = fetch(line.topology, line.pair, HOME, BAD, plan, family=family)
    assert_refused(line, arrivals, outcome, family)
    if plan is not PLANS["damaged one first"]:
        assert (HOME.address(family), outcome.port) not in site.heard[heard:]


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("plan", ["version 1", "version 2", "three datagrams", "fragments", "super-packet"])
def test_unprotected(line: Line, site: Site, plan: str, family: int) -> None:
    assert is_answered(fetch(line.topology, line.pair, OFFICE, BAD, PLANS[plan], family=family), BAD)


def test_an_allowed_request_is_in_the_log(line: Line, site: Site) -> None:
    outcome = fetch(line.topology, line.pair, HOME, GOOD)
    assert is_answered(outcome, GOOD)
    found = line.events(proto="quic", host=GOOD, subscriber="home", src_port=outcome.port)
    assert [event["action"] for event in found] == ["forward"], found


@pytest.mark.parametrize("plan", CADDY_PLANS.values(), ids=CADDY_PLANS)
def test_another_server(line: Line, caddy: Server, arrivals: Watch, plan: Plan) -> None:
    assert_refused(line, arrivals, fetch(line.topology, line.pair, HOME, BAD, plan, port=CADDY_PORT), 4)
    assert is_answered(fetch(line.topology, line.pair, HOME, ODD, plan, port=CADDY_PORT))


@pytest.mark.parametrize("plan", CADDY_PLANS.values(), ids=CADDY_PLANS)
def test_another_server_unprotected(line: Line, caddy: Server, plan: Plan) -> None:
    assert is_answered(fetch(line.topology, line.pair, OFFICE, BAD, plan, port=CADDY_PORT), BAD)


@pytest.fixture(params=["site", "retrying", "caddy", "curving"], ids=["aioquic", "Retry", "Caddy", "HelloRetry"])
def port(request: pytest.FixtureRequest) -> int:
    """The port of each server in turn."""
    server: Site | Server = request.getfixturevalue(request.param)
    return server.port if isinstance(server, Site) else server.https_port


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize(("who", "host"), [(HOME, ODD), (OFFICE, BAD)], ids=["allowed", "unprotected"])
def test_curl_gets_its_page(line: Line, port: int, who: Subscriber, host: str, family: int) -> None:
    assert is_answered(fetch_by_curl(line.topology, line.pair, who, host, port=port, family=family), host)


@pytest.mark.parametrize("family", [4, 6])
def test_curl_is_blocked(line: Line, port: int, arrivals: Watch, family: int) -> None:
    outcome = fetch_by_curl(line.topology, line.pair, HOME, BAD, port=port, family=family)
    assert_refused(line, arrivals, outcome, family)


def test_curl_falls_back_to_tcp(line: Line, site: Site) -> None:
    with Watch(line.topology, "client", CLIENT_INTERFACE) as watch:
        outcome = fetch_by_curl(line.topology, line.pair, HOME, BAD, fall_back=True)
        delay_s = find_fallback(watch.read())
    assert outcome.answer is None
    assert delay_s is not None
    print(f"curl: from a blocked hello to its TCP attempt {delay_s * 1000:.1f} ms")
    assert 0 < delay_s < CURL_WAITS_S
    assert line.events(host=BAD, proto="tls", action="block", subscriber="home")


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("version", [V1, V2], ids=["version 1", "version 2"])
def test_retry(line: Line, retrying: Site, arrivals: Watch, version: int, family: int) -> None:
    plan = Plan(version=version)
    outcome = fetch(line.topology, line.pair, HOME, BAD, plan, port=RETRY_PORT, family=family)
    assert_refused(line, arrivals, outcome, family)
    assert is_answered(fetch(line.topology, line.pair, HOME, ODD, plan, port=RETRY_PORT, family=family))


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("version", [V1, V2], ids=["version 1", "version 2"])
def test_retry_unprotected(line: Line, retrying: Site, version: int, family: int) -> None:
    plan = Plan(version=version, later_host=BAD)
    outcome = fetch(line.topology, line.pair, OFFICE, ODD, plan, port=RETRY_PORT, family=family)
    assert outcome.answer, "the server does not take another name after its Retry"


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("version", [V1, V2], ids=["version 1", "version 2"])
def test_another_name_after_a_retry(line: Line, retrying: Site, arrivals: Watch, version: int, family: int) -> None:
    plan = Plan(version=version, later_host=BAD)
    outcome = fetch(line.topology, line.pair, HOME, ODD, plan, port=RETRY_PORT, family=family)
    assert outcome.error.startswith("CONNECTION_CLOSE"), outcome
    assert outcome.after_s < REFUSED_S, outcome
    assert read_names(arrivals.read_datagrams(HOME.address(family))) == {ODD}
    assert line.events(proto="quic", action="block", host=BAD, src_port=outcome.port)


EARLY = pytest.mark.parametrize(
    "shape", [lambda flight: flight.datagrams, cut_early_data], ids=["with the hello", "before the hello"]
)


@EARLY
def test_allowed_early_data(line: Line, site: Site, shape: Shape) -> None:
    ticket = fetch(line.topology, line.pair, HOME, ODD).ticket
    outcome = fetch(line.topology, line.pair, HOME, ODD, Plan(shape), ticket=ticket)
    assert is_answered(outcome), outcome
    assert outcome.early


@EARLY
def test_blocked_early_data(line: Line, site: Site, arrivals: Watch, shape: Shape) -> None:
    ticket = fetch(line.topology, line.pair, OFFICE, BAD).ticket
    assert ticket is not None
    outcome = fetch(line.topology, line.pair, HOME, BAD, Plan(shape), ticket=ticket)
    assert_refused(line, arrivals, outcome, 4)


@pytest.mark.parametrize("host", [ODD, BAD])
@pytest.mark.parametrize("shape", EVASIONS.values(), ids=EVASIONS)
def test_every_connection_is_judged_for_itself(
    line: Line, site: Site, arrivals: Watch, shape: Shape, host: str
) -> None:
    """A decoy beside it neither saves a connection nor ruins it; two versions of one hello ruin it."""
    outcome = fetch(line.topology, line.pair, HOME, host, Plan(shape), patience_s=1)
    assert BAD not in read_names(arrivals.read_datagrams(HOME.ipv4))
    if shape is contradict:
        assert outcome.answer is None
    elif host == ODD:
        assert is_answered(outcome), outcome
    else:
        assert outcome.error.startswith("CONNECTION_CLOSE"), outcome


def test_the_evasions_are_real(line: Line, site: Site) -> None:
    for shape in EVASIONS.values():
        outcome = fetch(line.topology, line.pair, OFFICE, BAD, Plan(shape), patience_s=0.2)
        assert outcome.received_bytes > INITIAL_BYTES, "no handshake came back"


@pytest.mark.parametrize(("who", "passes"), [(HOME, False), (OFFICE, True)], ids=["home", "office"])
def test_an_unknown_version(line: Line, site: Site, arrivals: Watch, who: Subscriber, passes: bool) -> None:
    content = bytes.fromhex("c0 5a5a5a5a 08 0102030405060708 08 1112131415161718 00 4480")
    with send_alone(line, who, content.ljust(INITIAL_BYTES, b"\x55")) as channel:
        time.sleep(HELD_S)
        assert bool(arrivals.read_datagrams(who.ipv4)) == passes
        if passes:
            assert channel.recv(1 << 11)[1:5] == bytes(4), "no Version Negotiation"


@pytest.mark.parametrize("content", [b"\x40" + bytes(range(60)), b"hello"], ids=["short header", "no QUIC"])
def test_what_opens_nothing_passes(line: Line, arrivals: Watch, content: bytes) -> None:
    with send_alone(line, HOME, content):
        time.sleep(HELD_S)
        assert arrivals.read_datagrams(HOME.ipv4) == [content]


def send_alone(line: Line, who: Subscriber, content: bytes) -> socket.socket:
    """Send one datagram to the site from a port of its own."""
    with line.topology.inside("client"):
        channel = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    channel.bind((who.ipv4, 0))
    channel.settimeout(1)
    channel.sendto(content, (server_address(4), 443))
    return channel


@pytest.fixture(scope="module", params=[(100,), (200, 100)], ids=["one-tag", "two-tags"])
def tagged(request: pytest.FixtureRequest, here: Path, pair: Certificate) -> Iterator[Line]:
    place = here / "-".join(map(str, request.param))
    place.mkdir()
    with build_line(place, pair, vlan=request.param) as found, Site(found.topology, pair):
        yield found


TAGGED = pytest.mark.parametrize("plan", ["version 1", "three datagrams", "first lost", "fragments"])


@pytest.mark.parametrize("family", [4, 6])
@TAGGED
def test_allowed_with_tags(tagged: Line, plan: str, family: int) -> None:
    for who, host in ((HOME, ODD), (OFFICE, BAD)):
        assert is_answered(fetch(tagged.topology, tagged.pair, who, host, PLANS[plan], family=family), host)


@pytest.mark.parametrize("family", [4, 6])
@TAGGED
def test_blocked_with_tags(tagged: Line, plan: str, family: int) -> None:
    with Watch(tagged.topology) as arrivals:
        outcome = fetch(tagged.topology, tagged.pair, HOME, BAD, PLANS[plan], family=family)
        assert_refused(tagged, arrivals, outcome, family)


def test_chromium_gets_an_allowed_page_by_quic(line: Line, site: Site, arrivals: Watch, tmp_path: Path) -> None:
    seen = visit(line.topology, line.pair, GOOD, tmp_path / "profile", force=True)
    assert f"This is {GOOD}." in seen.text
    assert GOOD in read_names(arrivals.read_datagrams(HOME.ipv4))
    assert seen.fallback_s is None


def test_chromium_falls_back_to_tcp_at_once(line: Line, site: Site, arrivals: Watch, tmp_path: Path) -> None:
    seen = visit(line.topology, line.pair, BAD, tmp_path / "profile", force=False)
    assert seen.fallback_s is not None
    print(f"Chromium: from a blocked hello to its TCP attempt {seen.fallback_s * 1000:.1f} ms")
    assert 0 < seen.fallback_s < FALLBACK_S
    assert "This is" not in seen.text
    assert arrivals.read_datagrams(HOME.ipv4) == []
    assert line.events(host=BAD, proto="quic", action="block", subscriber="home")
    assert line.events(host=BAD, proto="tls", action="block", subscriber="home")
    assert BAD not in hosts_seen(line.site)

"""Warned, and gone on all the same: by the right token, for the right host, for a while, and nobody else."""

import re
from collections.abc import Iterator
from itertools import count

import dns.message
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.control.subscribers.fixed import FixedOwners
from penstock.flow.bindings import HOST_ROOM
from penstock.path.layout import D_BYTES, D_CUTS, D_HOST, D_MAPPED
from penstock.path.overrides import OVERRIDE_MS, TOKEN_BYTES, WARNED_MS
from penstock.request.dns_answer import CUTS_BYTES
from tests.hellos import plain_hello, record
from tests.path.boxes import SETTINGS, Box, Conversation, name_of, request, sent_to
from tests.policy.worlds import World, world
from tests.quic import datagram, read_datagram
from tests.vocabulary import FLOW4, TO_CLIENT, TO_SERVER

LISTS = {"phishing": "bad.test\n", "warned": "risky.test\nother.test\n"}
PORTS = count(10_000)
OTHER_SUBSCRIBER = "10.2.0.9"
MS = 1 << 20  # of the path's clock


def build(report_only: bool = False, **dns_settings: object) -> dict:
    services = {"web": {"categories": {"phishing": "block", "warned": "warn"}, "report_only": report_only}}
    profiles = {"all": {"services": ["web"]}, "none": {}, "hidden": {}}
    return SETTINGS | {"services": services, "profiles": profiles, "dns": dns_settings}


@pytest.fixture
def box() -> Iterator[Box]:
    with world(build(), LISTS) as made:
        yield build_box(made)


def build_box(made: World) -> Box:
    found = Box()
    found.path.set_snapshot(made.snapshot.address, made.snapshot.names_address)
    FixedOwners(made.configuration).fill(found.path.directory)
    return found


def ask(box: Box, host: str, path: str = "/", **flow: object) -> tuple[str, bytes]:
    """What becomes of a request on a connection of its own, and what the client gets."""
    talk = Conversation(box, FLOW4._replace(client_port=next(PORTS), **flow)).open()
    outcome = talk.client(request(host, "GET", path))
    return name_of(outcome), b"".join(segment.data for segment in sent_to(outcome, TO_CLIENT))


def warn(box: Box, host: str = "risky.test", path: str = "/", **flow: object) -> str:
    """The link of the page for a warned subscriber."""
    said, page = ask(box, host, path, **flow)
    assert said == "blocked"
    assert page.startswith(b"HTTP/1.1 403 ")
    (link,) = re.findall(rb'href="(\?penstock-continue=[0-9a-f]+)"', page)
    return link.decode()


def test_the_link_leads_on_and_what_follows_is_allowed(box: Box) -> None:
    link = warn(box, path="/deep/page?x=1")
    said, answer = ask(box, "risky.test", "/deep/page" + link)
    assert said == "continued"
    assert answer.startswith(b"HTTP/1.1 302 Found\r\nLocation: ?\r\n")
    for host in ("risky.test", "RISKY.test", "www.risky.test", "a.b.risky.test"):
        assert ask(box, host)[0] == "reported"
    assert ask(box, "other.test")[0] == "blocked"
    assert ask(box, "bad.test")[0] == "blocked", "nobody is asked about what is refused"


def test_no_page_of_others_shows_the_link_in_a_frame(box: Box) -> None:
    head = ask(box, "risky.test")[1].partition(b"\r\n\r\n")[0]
    assert re.search(rb"(?m)^Content-Security-Policy: .*; frame-ancestors 'none'\r$", head)


def test_it_holds_for_hellos_too(box: Box) -> None:
    def hello() -> str:
        talk = Conversation(box, FLOW4._replace(client_port=next(PORTS))).open()
        return name_of(talk.client(record(plain_hello(b"risky.test"))))

    assert hello() == "blocked"
    ask(box, "risky.test", "/" + warn(box))
    assert hello() == "reported"


def test_a_token_is_one_subscribers_for_one_host(box: Box) -> None:
    link = warn(box)
    assert ask(box, "risky.test", "/" + link, client=OTHER_SUBSCRIBER)[0] == "blocked"
    assert ask(box, "other.test", "/" + link)[0] == "blocked"
    assert ask(box, "www.risky.test", "/" + link)[0] == "blocked", "the page was not for this host"
    assert ask(box, "risky.test", client=OTHER_SUBSCRIBER)[0] == "blocked"
    assert ask(box, "risky.test", "/" + link)[0] == "continued"
    assert ask(box, "risky.test", client=OTHER_SUBSCRIBER)[0] == "blocked", "nobody went on for him"


def test_tokens_and_overrides_end(box: Box) -> None:
    link = warn(box)
    box.now_ns += (WARNED_MS + 1) * MS
    assert ask(box, "risky.test", "/" + link)[0] == "blocked"
    assert ask(box, "risky.test", "/" + warn(box))[0] == "continued"
    box.now_ns += (OVERRIDE_MS - 1000) * MS
    assert ask(box, "risky.test")[0] == "reported"
    box.now_ns += 1001 * MS
    assert ask(box, "risky.test")[0] == "blocked"


def test_a_binding_has_room_wherever_it_is_read() -> None:
    """Whoever reads one while another worker writes it gets as many bytes as either has."""
    assert min(D_HOST - D_MAPPED, D_CUTS - D_HOST) >= HOST_ROOM
    assert D_BYTES - D_CUTS >= CUTS_BYTES


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_no_other_token_is_right(data: st.DataObject) -> None:
    with world(build(), LISTS) as made:
        box = build_box(made)
        link = warn(box)
        at = data.draw(st.integers(len(link) - TOKEN_BYTES, len(link) - 1))
        digit = data.draw(st.sampled_from("0123456789abcdefABCDEFgz%/").filter(lambda found: found != link[at]))
        assert ask(box, "risky.test", "/" + link[:at] + digit + link[at + 1 :])[0] == "blocked"
        for broken in (link[:-1], link + "0", link.replace("?", "&"), link.upper(), "", link[-TOKEN_BYTES:]):
            assert ask(box, "risky.test", "/" + broken)[0] == "blocked"
        assert ask(box, "risky.test", "/" + link)[0] == "continued"


def test_a_page_that_is_sent_again_has_the_same_token(box: Box) -> None:
    talk = Conversation(box, FLOW4._replace(client_port=next(PORTS))).open()
    first = sent_to(talk.client(request("risky.test")), TO_CLIENT)
    again = sent_to(talk.client(request("risky.test"), at=0), TO_CLIENT)
    assert [segment.data for segment in again] == [segment.data for segment in first]
    assert b"?penstock-continue=" in b"".join(segment.data for segment in first)


def ask_dns(box: Box, host: str) -> list[str]:
    """The answers to a query of the packet process's own; [] where the query goes on."""
    query = dns.message.make_query(host, "A").to_wire()
    outcome = box.take_raw(datagram(FLOW4._replace(client_port=next(PORTS), server_port=53), query), TO_SERVER)
    answers = [dns.message.from_wire(read_datagram(frame).data) for to_server, frame in outcome.sent if not to_server]
    return [str(record) for answer in answers for found in answer.answer for record in found]


def test_dns_leads_the_warned_to_where_he_is_warned(box: Box) -> None:
    assert ask_dns(box, "risky.test") == []
    with world(build(answer="address", addresses=["192.0.2.80"]), LISTS) as made:
        paged = build_box(made)
        assert ask_dns(paged, "risky.test") == ["192.0.2.80"]
        talk = Conversation(paged, FLOW4._replace(client_port=next(PORTS), server="192.0.2.80")).open()
        assert name_of(talk.client(record(plain_hello(b"risky.test")))) == "allowed", "the operator's page is there"
        talk = Conversation(paged, FLOW4._replace(client_port=next(PORTS), server="192.0.2.80")).open()
        assert name_of(talk.client(record(plain_hello(b"bad.test")))) == "blocked"
        ask(paged, "risky.test", "/" + warn(paged))
        assert ask_dns(paged, "risky.test") == []


def test_nobody_is_warned_of_what_is_refused_anyway() -> None:
    services = {
        "doubts": {"categories": {"warned": "warn"}},
        "web": {"categories": {"phishing": "block"}},
    }
    chosen = build() | {"services": services}
    chosen["profiles"] = chosen["profiles"] | {"all": {"services": list(services)}}
    lists = {"phishing": "login.risky.test\n", "warned": LISTS["warned"]}
    with world(chosen, lists) as made:
        box = build_box(made)
        _, page = ask(box, "login.risky.test")
        assert b"penstock-continue" not in page
        assert ask(box, "risky.test", "/" + warn(box))[0] == "continued"
        assert ask(box, "www.risky.test")[0] == "reported"
        assert ask(box, "login.risky.test")[0] == "blocked", "who goes on opens nothing that another service refuses"


def test_a_service_that_only_reports_warns_nobody() -> None:
    with world(build(report_only=True), LISTS) as made:
        box = build_box(made)
        assert ask(box, "risky.test")[0] == "reported"
        assert ask(box, "bad.test")[0] == "reported"

"""However a request or hello is cut, it is read; what completes it is judged."""

import os
import ssl
import time
from collections.abc import Callable

import pytest

from penstock.demo.box import GOOD
from penstock.demo.servers import Server, hosts_seen, read_log, start_site
from penstock.demo.topology import HOME, OFFICE, Subscriber
from tests.live.clients import CLOSED, RESET, Handshake, Response, ask, cut_records
from tests.live.line import BAD, Line, live
from tests.live.servers import start_nginx

pytestmark = live("openssl", "nginx")

ODD = "odd.example.test"  # as long as BAD, and on no list
HEADERS_BYTES = 65_536
TURNS = 200  # hops between processors
ALERT, HANDSHAKE = 21, 22

Cut = Callable[[bytes], list[bytes]]
CUTS: dict[str, Cut] = {
    "whole": lambda flight: [flight],
    "bytes": lambda flight: [flight[place : place + 1] for place in range(len(flight))],
    "in the name": lambda flight: list(flight.partition(b".example")),
    "last byte": lambda flight: [flight[:-1], flight[-1:]],
}


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
def test_request_in_pieces(line: Line, cut: Cut, family: int) -> None:
    with line.connect(HOME, family=family) as conversation:
        conversation.send(*cut(ask(GOOD)))
        answer = conversation.read()
        assert isinstance(answer, Response)
        assert answer.body == f"This is {GOOD}.\n".encode()
    with line.connect(HOME, family=family) as conversation:
        conversation.send(*cut(ask(BAD)))
        answer = conversation.read()
        assert isinstance(answer, Response)
        assert answer.is_page
    assert BAD not in hosts_seen(line.site)


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
@pytest.mark.parametrize("record_bytes", [1, 7, 16_384])
def test_hello_in_pieces(line: Line, record_bytes: int, cut: Cut, family: int) -> None:
    with line.connect(HOME, 443, family) as conversation:
        handshake = Handshake(conversation, GOOD)
        conversation.send(*cut(cut_records(handshake.next_flight(), record_bytes)))
        assert HANDSHAKE in handshake.hear()
        handshake.complete()
        assert handshake.fetch(ask(GOOD)).startswith(b"HTTP/1.1 200")
    with line.connect(HOME, 443, family) as conversation:
        handshake = Handshake(conversation, BAD)
        conversation.send(*cut(cut_records(handshake.next_flight(), record_bytes)))
        assert handshake.hear() == [ALERT]
    assert BAD not in hosts_seen(line.site)


@pytest.fixture(scope="module")
def retrying(line: Line) -> Server:
    """nginx that answers every first hello with a HelloRetryRequest."""
    return start_nginx(line.topology, line.here, line.pair, http=85, https=448, curve="secp521r1")


def test_hello_retry_of_an_allowed_name(line: Line, retrying: Server) -> None:
    with line.connect(HOME, retrying.https_port) as conversation:
        handshake = Handshake(conversation, GOOD)
        conversation.send(handshake.next_flight())
        handshake.hear()
        second = handshake.next_flight()
        assert GOOD.encode() in second, "no second hello: no HelloRetryRequest came"
        conversation.send(second)
        handshake.complete()
        assert handshake.fetch(ask(GOOD)).startswith(b"HTTP/1.1 200")


def test_hello_retry_with_another_name_in_the_second_hello(line: Line, retrying: Server) -> None:
    with line.connect(HOME, retrying.https_port) as conversation:
        handshake = Handshake(conversation, ODD)
        conversation.send(handshake.next_flight())
        assert HANDSHAKE in handshake.hear()
        second = handshake.next_flight()
        assert ODD.encode() in second
        conversation.send(second.replace(ODD.encode(), BAD.encode()))
        answer = handshake.hear()
        assert HANDSHAKE not in answer, "the server took the second hello"
    assert line.events(host=BAD, proto="tls", action="block", subscriber="home")


def test_hello_retry_reaches_the_server_unprotected(line: Line, retrying: Server) -> None:
    with line.connect(OFFICE, retrying.https_port) as conversation:
        handshake = Handshake(conversation, ODD)
        conversation.send(handshake.next_flight())
        handshake.hear()
        conversation.send(handshake.next_flight().replace(ODD.encode(), BAD.encode()))
        assert HANDSHAKE in handshake.hear()


@pytest.fixture(scope="module")
def own_site(line: Line) -> Server:
    """A CPython site that office may ask for anything: its log is apart."""
    return start_site(line.topology, line.here, line.pair, http_port=90, https_port=490)


@pytest.mark.parametrize(("who", "served"), [(HOME, False), (OFFICE, True)], ids=["home", "office"])
def test_a_fin_completes_a_request(line: Line, own_site: Server, who: Subscriber, served: bool) -> None:
    # CPython's server takes the end of the stream for the end of the headers.
    mark = f"/fin-{who.name}"
    with line.connect(who, own_site.http_port) as conversation:
        conversation.send(f"GET {mark} HTTP/1.0\r\nHost: {BAD}\r\n".encode())
        time.sleep(0.05)
        conversation.finish()
        conversation.read_all(0.5)
    assert any(entry.get("path") == mark for entry in read_log(own_site)) == served


@pytest.mark.parametrize("host", [GOOD, BAD])
def test_64_kb_of_headers(line: Line, retrying: Server, host: str) -> None:
    head, tail = b"GET / HTTP/1.1\r\n", f"Host: {host}\r\n\r\n".encode()
    room, line_bytes = HEADERS_BYTES - len(head) - len(tail), 1024
    sizes = [line_bytes] * (room // line_bytes - 1) + [line_bytes + room % line_bytes]
    padding = b"".join(b"X-%03d: " % number + b"a" * (size - 9) + b"\r\n" for number, size in enumerate(sizes))
    request = head + padding + tail
    assert len(request) == HEADERS_BYTES
    with line.connect(HOME, retrying.http_port) as conversation:
        conversation.send(request)
        answer = conversation.read()
    if host == GOOD:
        assert isinstance(answer, Response)
        assert answer.status == 200
    else:
        assert answer in (RESET, CLOSED) or (isinstance(answer, Response) and answer.is_page)
        assert BAD not in hosts_seen(retrying)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor: nowhere to hop")
def test_a_client_that_hops_processors_between_two_halves(line: Line) -> None:
    every = sorted(os.sched_getaffinity(0))
    try:
        for turn in range(TURNS):
            with line.connect(HOME, 443) as conversation:
                handshake = Handshake(conversation, BAD if turn % 2 else GOOD)
                flight = handshake.next_flight()
                half = len(flight) // 2
                os.sched_setaffinity(0, {every[turn % len(every)]})
                conversation.send(flight[:half])
                os.sched_setaffinity(0, {every[(turn + 1) % len(every)]})
                conversation.send(flight[half:])
                if turn % 2:
                    assert handshake.hear() == [ALERT]
                    with pytest.raises(ssl.SSLError):
                        handshake.complete()
                else:
                    handshake.complete()
    finally:
        os.sched_setaffinity(0, set(every))
    assert BAD not in hosts_seen(line.site)

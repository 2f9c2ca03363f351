"""Every request of a connection is judged, and what was allowed before it stays byte-exact."""

import hashlib
import random

import pytest

from penstock.demo.box import GOOD
from penstock.demo.servers import Server, hosts_seen, read_log
from penstock.demo.topology import HOME, OFFICE
from tests.live.clients import CLOSED, RESET, Conversation, Response, ask
from tests.live.line import BAD, Line, live

pytestmark = live("openssl", "nginx", "apache2", "node")

POST_BYTES = 100_000_000
CHUNKED_BYTES = 5_000_000
RESPONSE_BYTES = 10_000_000


def is_refused(answer: Response | str) -> bool:
    """Whether the client got a page, a reset or an end, but no answer of the server."""
    return answer in (RESET, CLOSED) or (isinstance(answer, Response) and answer.is_page)


def read_site(conversation: Conversation, host: str = GOOD) -> None:
    answer = conversation.read()
    assert isinstance(answer, Response), answer
    assert answer.body == f"This is {host}.\n".encode()


@pytest.mark.parametrize("family", [4, 6])
def test_second_request_of_a_connection(line: Line, family: int) -> None:
    with line.connect(HOME, family=family) as conversation:
        for _ in range(3):
            conversation.send(ask(GOOD))
            read_site(conversation)
        conversation.send(ask(BAD, "/second"))
        answer = conversation.read()
        assert isinstance(answer, Response)
        assert answer.is_page  # the server is quiet: a page can be authored
    assert not any(entry.get("path") == "/second" for entry in read_log(line.site))


def test_second_request_of_an_unprotected_connection(line: Line) -> None:
    with line.connect(OFFICE) as conversation:
        conversation.send(ask("plain.example.test"))
        read_site(conversation, "plain.example.test")
        conversation.send(ask(BAD, "/office"))
        read_site(conversation, BAD)
    assert any(entry.get("path") == "/office" for entry in read_log(line.site))


@pytest.mark.parametrize("apart", [False, True], ids=["one-segment", "two-segments"])
def test_pipelined_requests(line: Line, apart: bool) -> None:
    with line.connect(HOME) as conversation:
        conversation.send(*([ask(GOOD), ask(GOOD)] if apart else [ask(GOOD) + ask(GOOD)]))
        read_site(conversation)
        read_site(conversation)
    with line.connect(HOME) as conversation:
        conversation.send(*([ask(GOOD), ask(BAD, "/piped")] if apart else [ask(GOOD) + ask(BAD, "/piped")]))
        answers = [conversation.read(), conversation.read()]
    assert is_refused(answers[0]) or is_refused(answers[1]), answers
    assert not any(entry.get("path") == "/piped" for entry in read_log(line.site))


def test_post_of_100_mb_before_a_blocked_request(line: Line) -> None:
    body = random.Random(1).randbytes(POST_BYTES)
    with line.connect(HOME) as conversation:
        conversation.send(ask(GOOD, "/post", f"Content-Length: {POST_BYTES}", method="POST"))
        conversation.send(body)
        answer = conversation.read()
        assert isinstance(answer, Response), answer
        assert answer.body.decode().split() == [str(POST_BYTES), hashlib.sha256(body).hexdigest()]
        conversation.send(ask(GOOD))
        read_site(conversation)
        conversation.send(ask(BAD, "/after-post"))
        answer = conversation.read()
        assert isinstance(answer, Response)
        assert answer.is_page
    assert not any(entry.get("path") == "/after-post" for entry in read_log(line.site))


def test_chunked_post_before_a_blocked_request(line: Line, servers: dict[str, Server]) -> None:
    chance = random.Random(2)
    with line.connect(HOME, servers["Node"].http_port) as conversation:
        conversation.send(ask(GOOD, "/chunked", "Transfer-Encoding: chunked", method="POST"))
        left = CHUNKED_BYTES
        while left:
            size = min(left, chance.choice([1, 100, 1448, 70_000, 300_000]))
            conversation.send(b"%x\r\n" % size + bytes(size) + b"\r\n")
            left -= size
        conversation.send(b"0\r\n\r\n")
        answer = conversation.read()
        assert isinstance(answer, Response), answer
        assert f"{CHUNKED_BYTES} bytes" in answer.body.decode()
        conversation.send(ask(BAD, "/after-chunks"))
        assert is_refused(conversation.read())
    assert BAD not in hosts_seen(servers["Node"])


@pytest.mark.parametrize("family", [4, 6])
def test_blocked_request_behind_a_10_mb_response(line: Line, family: int) -> None:
    with line.connect(HOME, family=family) as conversation:
        conversation.send(ask(GOOD, f"/big?n={RESPONSE_BYTES}"))
        conversation.send(ask(BAD, "/behind"), pause_s=0.02)
        stream, _ = conversation.read_all(1.0)
    head, _, rest = stream.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200") or not head
    body, behind = rest[:RESPONSE_BYTES], rest[RESPONSE_BYTES:]
    assert body == b"b" * len(body), "something stands inside the response"
    assert not behind or behind.startswith(b"HTTP/1.1 403")
    assert not any(entry.get("path") == "/behind" for entry in read_log(line.site))


@pytest.mark.parametrize("name", ["CPython", "nginx", "Apache", "Node"])
@pytest.mark.parametrize("offer", ["websocket", "foo/2"])
def test_upgrade_that_the_server_ignores(line: Line, servers: dict[str, Server], name: str, offer: str) -> None:
    server = servers[name]
    with line.connect(HOME, server.http_port) as conversation:
        conversation.send(ask(GOOD, "/", f"Upgrade: {offer}", "Connection: Upgrade"))
        answer = conversation.read()
        assert isinstance(answer, Response), answer
        assert answer.status != 101
        conversation.send(ask(BAD, "/after-upgrade"))
        assert is_refused(conversation.read())
    assert "/after-upgrade" not in server.log.read_text()

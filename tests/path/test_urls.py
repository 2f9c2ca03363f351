"""Lists of web addresses, as HTTP requests through the path meet them. (The look-up itself: tests/policy/test_urls.py.)"""

from collections.abc import Iterator
from itertools import count

import pytest

from penstock.control.subscribers.fixed import FixedOwners
from tests.hellos import plain_hello, record
from tests.path.boxes import SETTINGS, Box, Conversation, name_of, request
from tests.policy.worlds import world
from tests.vocabulary import FLOW4

PORTS = count(20_000)
LISTS = {
    "phishing": "http://shared.test/~crook/\nwhole.test\nhttp://shared.test/one?id=7\n",
    "gambling": "",
    "strange": "http://shared.test/odd/\n",
    "advertising": "http://shared.test/ads/\n",
}


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with world(SETTINGS, LISTS) as made:
        found = Box()
        found.path.set_snapshot(made.snapshot.address, made.snapshot.names_address)
        FixedOwners(made.configuration).fill(found.path.directory)
        yield found


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/", "allowed"),
        ("/~crook", "allowed"),
        ("/~crook/", "blocked"),
        ("/~crook/login?next=/", "blocked"),
        ("/%7Ecrook/login", "blocked"),
        ("/x/../~crook/login", "blocked"),
        ("//~crook//login", "blocked"),
        ("http://shared.test/~crook/login", "blocked"),
        ("http://SHARED.test:80/%7ecrook/", "blocked"),
        ("/one?id=7", "blocked"),
        ("/one?id=8", "allowed"),
        ("/odd/x", "reported"),
        ("/ads/banner.gif", "blocked"),
    ],
)
def test_a_path_is_judged(box: Box, path: str, said: str) -> None:
    talk = Conversation(box, FLOW4._replace(client_port=next(PORTS))).open()
    assert name_of(talk.client(request("shared.test", "GET", path))) == said


def test_each_request_of_a_connection_by_its_own_path(box: Box) -> None:
    talk = Conversation(box, FLOW4._replace(client_port=31_000)).open()
    for path, said in (("/", "allowed"), ("/odd/", "reported"), ("/a", "allowed"), ("/~crook/", "blocked")):
        assert name_of(talk.client(request("shared.test", "GET", path))) == said
        talk.server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def test_a_path_says_nothing_of_a_hello_behind_it(box: Box) -> None:
    talk = Conversation(box, FLOW4._replace(client_port=31_001)).open()
    assert name_of(talk.client(request("shared.test", "GET", "/~crook/"))) == "blocked"
    hello = Conversation(box, FLOW4._replace(client_port=31_002, server_port=443)).open()
    assert name_of(hello.client(record(plain_hello(b"shared.test")))) == "allowed"
    assert (
        name_of(Conversation(box, FLOW4._replace(client_port=31_003)).open().client(request("whole.test"))) == "blocked"
    )

"""Who opens connections and says nothing, little by little, or reads nothing keeps nobody out."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from penstock.portal import connections
from penstock.portal.connections import Listener
from penstock.portal.live import MEDIA_TYPE
from penstock.portal.routing import PREFIX
from tests.portal.scene import Scene

REQUEST_S, UNREAD_S = 0.6, 0.6
PATIENCE_S = 20.0
LIMIT = 12


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "REQUEST_S", REQUEST_S, raising=True)
    monkeypatch.setattr(connections, "UNREAD_S", UNREAD_S, raising=True)
    monkeypatch.setattr(Listener, "limit", LIMIT, raising=True)


@pytest.fixture
def opened(scene: Scene) -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def dial(scene: Scene, opened: ExitStack, source: str = "127.0.0.2", window_bytes: int = 0) -> socket.socket:
    """A connection from an address of this machine."""
    found = opened.enter_context(socket.socket())
    if window_bytes:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window_bytes)
    found.settimeout(PATIENCE_S)
    found.bind((source, 0))
    url = httpx.URL(scene.url)
    found.connect((url.host, url.port))
    return found


def await_end(found: socket.socket) -> float:
    """Wait until the other end closes it: after how long."""
    begin_s = time.monotonic()
    try:
        while found.recv(4096):
            pass
    except ConnectionResetError:
        pass
    return time.monotonic() - begin_s


def send_until_cut_off(found: socket.socket, content: bytes, apart_s: float = 0.0) -> None:
    """Go on sending until nobody takes it any more, and be told so. Raises OSError."""
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        found.sendall(content)
        time.sleep(apart_s)


CUT_OFF = (BrokenPipeError, ConnectionResetError)
BEGINNINGS = {
    "nothing": b"",
    "half a line": b"GET /log",
    "half a head": b"GET /login HTTP/1.1\r\nHost: x\r\nX-A: ",
    "half a body": b"POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\ntok",
    "a body without an end": b"POST /api/v1/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n",
    "one request and half of the next": b"GET /login HTTP/1.1\r\nHost: x\r\n\r\nGET /log",
    "more than is taken": b"PUT /api/v1/switch HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n{",
}


@pytest.mark.parametrize("beginning", BEGINNINGS.values(), ids=BEGINNINGS.keys())
def test_who_does_not_go_on_is_cut_off(scene: Scene, opened: ExitStack, beginning: bytes) -> None:
    found = dial(scene, opened)
    found.sendall(beginning)
    assert await_end(found) < PATIENCE_S / 2


def test_who_goes_on_little_by_little_is_cut_off(scene: Scene, opened: ExitStack) -> None:
    found = dial(scene, opened)
    found.sendall(b"GET /login HTTP/1.1\r\nHost: x\r\nX-A: ")
    with pytest.raises(CUT_OFF):
        send_until_cut_off(found, b"a", 0.05)


def test_who_reads_nothing_is_cut_off(scene: Scene, opened: ExitStack) -> None:
    found = dial(scene, opened, window_bytes=4096)
    ask = f"GET {PREFIX}/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    with pytest.raises(CUT_OFF):
        send_until_cut_off(found, ask, 0.02)


def test_who_watches_may_go_on_for_longer(scene: Scene) -> None:
    headers = {"Authorization": f"Bearer {scene.tokens['operator']}"}
    begin_s = time.monotonic()
    with httpx.stream("GET", f"{scene.url}{PREFIX}/live", headers=headers, timeout=PATIENCE_S) as answer:
        assert answer.headers["content-type"].startswith(MEDIA_TYPE)
        for _ in answer.iter_lines():
            if time.monotonic() - begin_s > 3 * REQUEST_S:
                break


def test_a_connection_is_used_again(scene: Scene) -> None:
    with httpx.Client(base_url=scene.url, timeout=PATIENCE_S) as client:
        for _ in range(4):
            stream = client.get("/login").extensions["network_stream"]
            assert stream.get_extra_info("socket") is not None
            time.sleep(REQUEST_S / 2)


def test_whoever_opens_most_makes_room(scene: Scene, opened: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "REQUEST_S", 600.0)
    quiet = dial(scene, opened, "127.0.0.3")
    many = [dial(scene, opened, "127.0.0.2") for _ in range(3 * LIMIT)]
    for _ in range(3):
        assert scene.call("GET", "/login", None).status_code == 200
    for one in many[:LIMIT]:
        await_end(one)
    quiet.sendall(b"GET /login HTTP/1.1\r\nHost: x\r\n\r\n")
    assert quiet.recv(100).startswith(b"HTTP/1.1 200")


def test_a_header_that_never_ends(scene: Scene, opened: ExitStack) -> None:
    found = dial(scene, opened)
    with pytest.raises(CUT_OFF):
        send_until_cut_off(found, b"GET /" + b"a" * 65_536)

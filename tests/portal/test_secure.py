"""The API over TLS: who shakes no hands keeps nobody out, and a session's cookie is this very server's."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from penstock.demo.servers import write_certificate
from penstock.portal.connections import Listener
from penstock.portal.routing import PREFIX
from tests.portal.scene import Scene, serve_scene

LIMIT = 10


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    here = tmp_path_factory.mktemp("secure")
    pair = write_certificate(here)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Listener, "limit", LIMIT)
        with serve_scene(here, patch, tls={"certificate": str(pair.certificate), "key": str(pair.key)}) as served:
            yield served


@pytest.fixture
def browser(secure: Scene) -> Iterator[httpx.Client]:
    secure.portal.failures._buckets.clear()
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    with httpx.Client(base_url=secure.url, verify=trusting, timeout=20) as client:
        yield client


def test_who_shakes_no_hands_makes_room(secure: Scene, browser: httpx.Client) -> None:
    url = httpx.URL(secure.url)
    with ExitStack() as stack:
        for _ in range(3 * LIMIT):
            one = stack.enter_context(socket.socket())
            one.bind(("127.0.0.2", 0))
            one.connect((url.host, url.port))
        assert browser.get("/login").status_code == 200
    assert browser.get("/login").status_code == 200


def test_a_cookie_is_of_this_very_server(secure: Scene, browser: httpx.Client) -> None:
    """No other server of the same domain, and nobody on the way to port 80, can have set it: RFC 6265bis 4.1.3.2."""
    answer = browser.post(f"{PREFIX}/login", data={"token": secure.tokens["selfcare"]})
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-")
    for word in ("secure", "httponly", "samesite=strict", "path=/"):
        assert word in cookie.lower()
    assert "domain" not in cookie.lower()
    assert answer.headers["strict-transport-security"]
    told = browser.get(f"{PREFIX}/openapi.json").json()["components"]["securitySchemes"]["APIKeyCookie"]
    assert told["name"] == cookie.partition("=")[0]
    assert browser.get(f"{PREFIX}/me").json()["subscriber"] == "home"
    name, value = cookie.partition(";")[0].split("=", 1)
    browser.cookies.clear()
    tossed = {"Cookie": f"{name.removeprefix('__Host-')}={value}"}
    assert browser.get(f"{PREFIX}/me", headers=tossed).status_code == 401
    held = {"Cookie": f"{name}={value}", "X-Penstock": "1"}
    out = browser.post(f"{PREFIX}/logout", headers=held)
    assert out.status_code == 204
    assert out.headers["set-cookie"].startswith(name)
    assert browser.get(f"{PREFIX}/me", headers=held).status_code == 401

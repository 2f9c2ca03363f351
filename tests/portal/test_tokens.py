"""Tokens and sessions at rest and in use: only hashes on the disk, cookies for our own pages, limits, the audit."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from penstock.portal.limits import FAILURES_BURST, Limits, find_network
from penstock.portal.routing import PREFIX
from penstock.portal.schema import open_database
from penstock.portal.tokens import SESSION_LIMIT, SESSION_S, TokenError, Tokens
from tests.portal.scene import Scene, serve_scene

NOW_S = 1_000_000.0


@pytest.fixture
def tokens(tmp_path: Path) -> Iterator[Tokens]:
    with closing(open_database(tmp_path / "portal.db")) as database:
        yield Tokens(database)


def read_files(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(directory.iterdir()) if path.is_file())


def test_neither_tokens_nor_sessions_are_on_the_disk(tmp_path: Path, tokens: Tokens) -> None:
    text, token = tokens.create("x", "operator", None, None, NOW_S)
    session = tokens.open_session(token, NOW_S)
    content = read_files(tmp_path)
    assert b"operator" in content
    for secret in (text, session, text[:16], session[:16]):
        assert secret.encode() not in content
    assert (tmp_path / "portal.db").stat().st_mode & 0o777 == 0o600


def test_a_token_holds_until_it_is_over_or_revoked(tokens: Tokens) -> None:
    text, token = tokens.create("x", "support", None, NOW_S + 10, NOW_S)
    assert tokens.find(text, NOW_S + 9) is not None
    assert tokens.find(text, NOW_S + 10) is None
    session = tokens.open_session(token, NOW_S)
    assert tokens.find_session(session, NOW_S + 9) is not None
    assert tokens.find_session(session, NOW_S + 10) is None
    assert tokens.revoke(token.id)
    assert not tokens.revoke(token.id)
    assert tokens.find(text, NOW_S) is None
    assert tokens.find_session(session, NOW_S) is None


def test_sessions_end_with_time_and_are_bounded(tokens: Tokens) -> None:
    _, token = tokens.create("x", "operator", None, None, NOW_S)
    first = tokens.open_session(token, NOW_S)
    assert tokens.find_session(first, NOW_S + SESSION_S - 1) is not None
    assert tokens.find_session(first, NOW_S + SESSION_S) is None
    others = [tokens.open_session(token, NOW_S + 1 + number) for number in range(SESSION_LIMIT)]
    assert tokens.find_session(first, NOW_S + 1) is None
    assert all(tokens.find_session(one, NOW_S + 1) for one in others)


@pytest.mark.parametrize(("role", "subscriber"), [("selfcare", None), ("operator", "home"), ("support", "home")])
def test_a_subscriber_goes_with_self_care_alone(tokens: Tokens, role: str, subscriber: str | None) -> None:
    with pytest.raises(TokenError):
        tokens.create("x", role, subscriber, None, NOW_S)  # type: ignore[arg-type]


def test_when_it_was_used_is_kept_to_the_minute(tokens: Tokens) -> None:
    text, _ = tokens.create("x", "operator", None, None, NOW_S)
    for at_s in (NOW_S, NOW_S + 30, NOW_S + 61):
        tokens.find(text, at_s)
    assert tokens.list_all()[0].used_s == NOW_S + 61
    tokens.find(text, NOW_S + 62)
    assert tokens.list_all()[0].used_s == NOW_S + 61


def test_buckets() -> None:
    now_s = [0.0]
    limits = Limits(2.0, 4.0, lambda: now_s[0])
    assert [limits.wait_s("a") for _ in range(5)] == [0, 0, 0, 0, 0.5]
    assert limits.wait_s("b") == 0
    now_s[0] = 0.5
    assert limits.wait_s("a", 0) == 0
    assert limits.wait_s("a") == 0
    assert limits.wait_s("a", 0) == 0.5


def test_whose_tries_count_together() -> None:
    assert find_network("2001:db8::1") == find_network("2001:db8::ffff:1") != find_network("2001:db8:0:1::1")
    assert find_network("::ffff:192.0.2.1") == find_network("192.0.2.1") != find_network("192.0.2.2")
    assert find_network("fe80::1%eth0") == find_network("fe80::2")


# ---- over HTTP --------------------------------------------------------------------------------------------------------
def test_too_many_wrong_tokens_of_one_address(scene: Scene) -> None:
    scene.portal.failures._buckets.clear()
    answers = [scene.call("GET", f"{PREFIX}/me", f"wrong-{number}") for number in range(int(FAILURES_BURST) + 2)]
    assert [one.status_code for one in answers] == [401] * int(FAILURES_BURST) + [429] * 2
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert scene.call("GET", f"{PREFIX}/me").status_code == 429, "guessing must not be told from knowing"
    assert scene.call("POST", f"{PREFIX}/login", None, data={"token": "wrong"}).status_code == 429
    scene.portal.failures._buckets.clear()
    assert scene.call("GET", f"{PREFIX}/me").status_code == 200


def test_a_token_that_calls_too_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve_scene(tmp_path, monkeypatch, calls_per_s=1) as scene:
        statuses = [scene.call("GET", f"{PREFIX}/me").status_code for _ in range(4)]
        assert statuses[:2] == [200, 200]
        assert 429 in statuses
        assert scene.call("GET", f"{PREFIX}/me", "support").status_code == 200


@pytest.fixture
def page(scene: Scene) -> Iterator[httpx.Client]:
    """A browser that has logged in as the subscriber `home`."""
    scene.portal.failures._buckets.clear()
    with httpx.Client(base_url=scene.url, timeout=20) as client:
        answer = client.post(f"{PREFIX}/login", data={"token": scene.tokens["selfcare"]})
        assert answer.status_code == 200
        assert answer.json()["subscriber"] == "home"
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert scene.tokens["selfcare"] not in answer.headers["set-cookie"]
        yield client


def test_a_page_changes_something_from_our_own_site_alone(scene: Scene, page: httpx.Client) -> None:
    assert page.get(f"{PREFIX}/me").json()["role"] == "selfcare"
    path, body = f"{PREFIX}/subscribers/home/choices", {"deny": ["y.example"]}
    for headers, status in (
        ({}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": f"http://{page.base_url.host}:1"}, 403),
        ({"Origin": scene.url}, 200),
        ({"X-Penstock": "1"}, 200),
    ):
        assert page.patch(path, json=body, headers=headers).status_code == status, headers
    evil = {"Origin": "https://evil.example"}
    assert page.post(f"{PREFIX}/login", data={"token": scene.tokens["selfcare"]}, headers=evil).status_code == 403


def test_a_page_that_logged_out_is_nobody(page: httpx.Client) -> None:
    kept = dict(page.cookies)
    assert page.post(f"{PREFIX}/logout", headers={"X-Penstock": "1"}).status_code == 204
    page.cookies.update(kept)
    assert page.get(f"{PREFIX}/me").status_code == 401


def test_pages_that_are_left_open_lock_nobody_out(scene: Scene, page: httpx.Client) -> None:
    """A help desk behind one address, whose sessions end at the same time: a session that is over is no guess."""
    page.cookies.set("penstock_session", "over")
    for _ in range(2 * int(FAILURES_BURST)):
        assert page.get(f"{PREFIX}/me").status_code == 401
    assert scene.call("GET", f"{PREFIX}/me").status_code == 200


def test_headers_for_browsers(scene: Scene) -> None:
    for path in (f"{PREFIX}/me", "/nothing"):
        headers = scene.call("GET", path).headers
        assert headers["content-security-policy"].startswith("default-src 'self';")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
    assert scene.call("GET", f"{PREFIX}/me").headers["cache-control"] == "no-store"


# ---- the audit --------------------------------------------------------------------------------------------------------
def test_who_looked_and_who_changed(scene: Scene) -> None:
    scene.call("GET", f"{PREFIX}/subscribers/office", "support")
    scene.call("PATCH", f"{PREFIX}/subscribers/office", "support", json={"fail": "open"})
    scene.call("POST", f"{PREFIX}/subscribers/office/pause", "support", json={"minutes": 0})
    scene.call("GET", f"{PREFIX}/status", "support")
    entries = scene.call("GET", f"{PREFIX}/audit", params={"limit": 4}).json()["entries"]
    told = [(one["operation"], one["subscriber"], one["status"], one["token_name"]) for one in entries]
    assert told[0] == ("list_audit", None, None, "operator"), "it is written before it is done"
    assert told[1:] == [
        ("pause", "office", 422, "support"),
        ("change_subscriber", "office", 403, "support"),
        ("get_subscriber", "office", 200, "support"),
    ]
    of_office = scene.call("GET", f"{PREFIX}/audit", params={"subscriber": "office"}).json()["entries"]
    assert {one["subscriber"] for one in of_office} == {"office"}
    more = scene.call("GET", f"{PREFIX}/audit", params={"before": entries[-1]["id"], "limit": 1}).json()["entries"]
    assert more[0]["id"] < entries[-1]["id"]


def test_nothing_is_done_that_cannot_be_written_down(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    from penstock.portal.database import DatabaseError

    def fail(*_: object, **__: object) -> int:
        raise DatabaseError("no room on the disk")

    before = len(scene.said)
    monkeypatch.setattr(scene.portal.audit, "begin", fail)
    assert scene.call("PUT", f"{PREFIX}/switch", json={"on": False}).status_code == 503
    assert len(scene.said) == before


def test_what_is_old_is_forgotten(scene: Scene) -> None:
    audit, now_s = scene.portal.audit, time.time()
    fields = {"name": "x", "role": "operator", "address": "a", "operation": "old", "method": "GET", "path": "/"}
    audit.begin(now_s - 8 * 86_400, None, subscriber="old", **fields)
    audit.begin(now_s - 6 * 86_400, None, subscriber="old", **fields)
    assert len(audit.list_entries(None, 10, "old")) == 2
    audit.forget(now_s, 7)
    assert len(audit.list_entries(None, 10, "old")) == 1

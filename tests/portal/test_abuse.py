"""What people who mean harm try: nobody in particular, a subscriber with a token of his own, another site's page."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from penstock.control.subscribers.choices import TEXT_LIMIT
from penstock.line.handover import HandoverError
from penstock.portal import box as box_module
from penstock.portal import routes_choices
from penstock.portal.audit import Audit
from penstock.portal.control_link import LinkError
from penstock.portal.database import DatabaseError
from penstock.portal.limits import COSTLY_BURST
from penstock.portal.routing import PREFIX
from tests.portal.scene import Scene, serve_scene
from tests.portal.test_tokens import read_files

HOME = f"{PREFIX}/subscribers/home"


def clear_limits(scene: Scene) -> None:
    for limits in (scene.portal.failures, scene.portal.costly):
        limits._buckets.clear()


@pytest.fixture(autouse=True)
def limits(scene: Scene) -> None:
    clear_limits(scene)


# ---- another site's page ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("origin", ["http://[", "http://[::1]x", "//", "null", "http://\xff"])
def test_an_origin_that_is_none(scene: Scene, origin: str) -> None:
    headers = {"Origin": origin.encode("latin-1")}
    answer = scene.call("POST", f"{PREFIX}/login", None, data={"token": "x"}, headers=headers)
    assert answer.status_code == 403, answer.text


# ---- a disk that somebody fills ---------------------------------------------------------------------------------------
def test_a_row_of_the_audit_has_its_size_whatever_is_asked_for(scene: Scene) -> None:
    long = "x" * 50_000
    assert scene.call("GET", f"{PREFIX}/subscribers/{long}/choices", "selfcare").status_code == 403
    assert scene.call("GET", f"{PREFIX}/explain?host=a&subscriber={long}", "selfcare").status_code == 403
    entries = scene.portal.audit.list_entries(None, 2, None)
    assert [(one.operation, len(one.subscriber or ""), len(one.path)) for one in entries] == [
        ("explain", 253, 1000),
        ("get_choices", 253, 1000),
    ]


def test_who_logs_in_too_often_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve_scene(tmp_path, monkeypatch, calls_per_s=1) as scene:
        statuses = [
            scene.call("POST", f"{PREFIX}/login", None, data={"token": scene.tokens["selfcare"]}).status_code
            for _ in range(5)
        ]
        assert statuses[:2] == [200, 200]
        assert 429 in statuses


def test_whoever_fills_the_audit_loses_rows_of_his_own(scene: Scene) -> None:
    audit: Audit = scene.portal.audit
    fields = {"name": "x", "role": "selfcare", "address": "a", "operation": "x", "method": "GET", "path": "/"}
    now_s = time.time()
    kept = audit.begin(now_s, 1_000_001, subscriber="quiet", **fields)
    loud = [audit.begin(now_s, 1_000_002, subscriber="loud", **fields) for _ in range(300)]
    quiet = audit.begin(now_s, 1_000_001, subscriber="quiet", **fields)
    count = len(audit.list_entries(None, 100_000, None))
    while audit.forget(now_s, 7, count - 200):
        pass
    assert len(audit.list_entries(None, 100_000, None)) == count - 200
    assert [one.id for one in audit.list_entries(None, 10, "quiet")] == [quiet, kept]
    assert [one.id for one in audit.list_entries(None, 1000, "loud")] == loud[:199:-1]
    assert not audit.forget(now_s, 7, count)


def test_what_the_audit_forgets_is_gone_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve_scene(tmp_path, monkeypatch, audit_days=7) as scene:
        fields = {"name": "x", "role": "support", "address": "a", "operation": "x", "method": "GET"}
        for number in range(20):
            path = f"/explain?host=secret-{number}.example"
            scene.portal.audit.begin(time.time() - 8 * 86_400, None, subscriber="home", path=path, **fields)
        assert b"secret-7.example" in read_files(tmp_path / "portal")
        scene.portal.forget()
        assert b"secret-" not in read_files(tmp_path / "portal")


# ---- what costs others time -------------------------------------------------------------------------------------------
COSTLY: list[tuple[str, str, dict[str, Any]]] = [
    ("PATCH", f"{HOME}/choices", {"json": {"deny": ["x.example"]}}),
    ("PUT", f"{HOME}/choices", {"json": {}}),
    ("POST", f"{HOME}/pause", {"json": {"minutes": 1}}),
    ("DELETE", f"{HOME}/pause", {}),
    ("GET", f"{PREFIX}/explain?host=bad.example&subscriber=home", {}),
    ("GET", f"{HOME}/week", {}),
    ("GET", f"{HOME}/events?action=none", {}),
]


def test_a_subscriber_keeps_neither_register_nor_lists_busy(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scene.portal.costly, "per_s", 0.001)  # a machine may be slow
    other = scene.make_token("selfcare", "home")
    statuses = []
    for number in range(int(COSTLY_BURST) + 6):
        method, path, words = COSTLY[number % len(COSTLY)]
        statuses.append(scene.call(method, path, (other, "selfcare")[number % 2], **words).status_code)
    assert set(statuses[:20]) == {200}
    assert 429 in statuses[20:], "of all his tokens together"
    assert scene.call("GET", f"{HOME}/choices", "selfcare").status_code == 200
    assert scene.call("PATCH", f"{HOME}/choices", "support", json={"deny": []}).status_code == 200
    assert scene.call("DELETE", f"{HOME}/pause", "support").status_code == 200


def test_names_that_are_too_many_are_not_looked_at(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def look(_: object) -> None:
        raise AssertionError("that takes long")

    monkeypatch.setattr(routes_choices, "check_choices", look)
    names = [f"{number}.{'ä' * 60}.{'ä' * 60}.example" for number in range(TEXT_LIMIT // 120)]
    answer = scene.call("PATCH", f"{HOME}/choices", "selfcare", json={"deny": names})
    assert answer.status_code == 422
    assert f"{TEXT_LIMIT:,}" in answer.json()["detail"]


def test_of_many_errors_some_are_told(scene: Scene) -> None:
    body = {f"field-{number}": number for number in range(5000)}
    answer = scene.call("PATCH", f"{HOME}/choices", "selfcare", json=body)
    assert answer.status_code == 422
    assert len(answer.json()["errors"]) <= 20
    answer = scene.call("PATCH", f"{HOME}/choices", "selfcare", json={"x" * 100_000: 1})
    assert len(answer.content) < 5000


# ---- what is told, and what is written down ---------------------------------------------------------------------------
def test_whom_somebody_found_by_an_address_is_in_the_audit(scene: Scene) -> None:
    scene.call("GET", f"{PREFIX}/subscribers/by-address?address=10.0.0.9", "support")
    entries = scene.call("GET", f"{PREFIX}/audit", params={"subscriber": "home/tablet", "limit": 1}).json()["entries"]
    assert [(one["operation"], one["status"]) for one in entries] == [("find_subscriber", 200)]


def test_files_are_named_to_those_who_look_after_them_alone(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise DatabaseError("/var/lib/penstock/portal/journal.db: no room on the disk")

    monkeypatch.setattr(scene.portal.journal, "list_rows", fail)
    said = {role: scene.call("GET", f"{HOME}/events", role) for role in ("operator", "support", "selfcare")}
    assert {one.status_code for one in said.values()} == {503}
    assert "/var/lib" in said["operator"].json()["detail"]
    assert "/var/lib" in said["support"].json()["detail"]
    assert "/" not in said["selfcare"].json()["detail"]
    monkeypatch.setattr(scene.portal.tokens, "find", fail)
    answer = scene.call("GET", f"{PREFIX}/me")
    assert answer.status_code == 503
    assert "/var/lib" not in answer.text


def test_a_defect_has_the_headers_and_the_row_of_any_answer(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("/etc/secret")

    monkeypatch.setattr(scene.portal.journal, "list_rows", fail)
    answer = scene.call("GET", f"{HOME}/events", "selfcare")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret" not in answer.text
    assert answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    assert scene.portal.audit.list_entries(None, 1, "home")[0].status == 500


def test_nobody_is_led_where_a_header_says(scene: Scene) -> None:
    answer = scene.call("GET", f"{PREFIX}/me/", headers={"Host": "evil.example"})
    assert answer.status_code == 404
    assert "location" not in answer.headers


def test_two_tokens_of_one_name_are_two_in_the_audit(scene: Scene) -> None:
    made = [scene.call("POST", f"{PREFIX}/tokens", json={"name": "x", "role": "support"}).json() for _ in range(2)]
    for one in made:
        scene.call("GET", HOME, one["token"])
        scene.call("DELETE", f"{PREFIX}/tokens/{one['id']}")
    entries = scene.call("GET", f"{PREFIX}/audit", params={"limit": 10, "subscriber": "home"}).json()["entries"]
    assert [one["token"] for one in entries[:2]] == [made[1]["id"], made[0]["id"]]


def test_who_is_revoked_watches_no_more(scene: Scene) -> None:
    made = scene.call("POST", f"{PREFIX}/tokens", json={"name": "x", "role": "operator"}).json()
    headers = {"Authorization": f"Bearer {made['token']}"}
    with httpx.stream("GET", f"{scene.url}{PREFIX}/live", headers=headers, timeout=20) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "event: counters"
        assert scene.call("DELETE", f"{PREFIX}/tokens/{made['id']}").status_code == 204
        assert sum(line == "event: counters" for line in lines) <= 2


# ---- when parts of the box do not answer ------------------------------------------------------------------------------
def test_who_waits_for_a_silent_control_process_waits_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def ask(word: str) -> None:
        asked.append(word)
        time.sleep(0.5)
        raise LinkError("it does not answer")

    monkeypatch.setattr(scene.portal.box.link, "ask", ask)
    monkeypatch.setattr(scene.portal.box, "_told_s", float("-inf"))
    statuses = ask_at_once(scene, 12, "GET", f"{PREFIX}/counters", "operator")
    assert set(statuses) == {503}
    assert len(asked) < 6


def test_who_waits_for_a_silent_register_leaves_room_for_others(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on = threading.Event()

    class SilentCaller:
        def __init__(self, _: object) -> None:
            goes_on.wait(20)
            raise HandoverError("it does not answer")

    monkeypatch.setattr(box_module, "Caller", SilentCaller)
    done: list[int] = []
    asking = threading.Thread(
        target=lambda: done.extend(ask_at_once(scene, 40, "POST", f"{HOME}/pause", "operator", json={"minutes": 1}))
    )
    asking.start()
    try:
        begin_s = time.monotonic()
        time.sleep(1.0)
        assert scene.call("GET", f"{PREFIX}/me").status_code == 200
        assert time.monotonic() - begin_s < 15
    finally:
        goes_on.set()
        asking.join()
    assert set(done) == {503}


def ask_at_once(scene: Scene, count: int, *words: Any, **named: Any) -> list[int]:
    """The same call from many at one time: the statuses."""
    with ThreadPoolExecutor(count) as pool:
        return [one.status_code for one in pool.map(lambda _: scene.call(*words, **named), range(count))]


def test_what_is_old_goes_though_something_else_cannot(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> bool:
        raise DatabaseError("damaged")

    stray = scene.portal.captures.find_path(99_998)
    stray.write_bytes(b"x")
    monkeypatch.setattr(scene.portal.journal, "forget", fail)
    with pytest.raises(DatabaseError):
        scene.portal.forget()
    assert not stray.exists()

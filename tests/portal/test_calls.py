"""Every operation once, as an operator, over a real socket."""

import threading
import time
from typing import Any
from urllib.parse import quote

import pytest

from penstock.portal import box as module
from tests.portal.scene import SLASHED, Scene


def test_status_counters_and_policy(scene: Scene) -> None:
    status = scene.call("GET", "/api/v1/status").json()
    assert status["is_healthy"]
    assert status["version"] == "0.1.0"
    assert status["ledger_difference"] == 0
    counters = scene.call("GET", "/api/v1/counters").json()
    assert counters["reasons"]["blocked"] == 1
    assert {line["name"] for line in counters["lines"]} == {"lo"}
    profiles = scene.call("GET", "/api/v1/profiles").json()["profiles"]
    assert [one["name"] for one in profiles] == ["kids", "nothing"]
    services = scene.call("GET", "/api/v1/services").json()["services"]
    assert services[0] == {"name": "web", "categories": {"phishing": "block"}, "report_only": False, "share": 1.0}
    assert scene.call("GET", "/api/v1/categories").json()["categories"][1]["services"] == ["parental"]
    lists = scene.call("GET", "/api/v1/lists").json()["lists"]
    assert {one["category"] for one in lists} == {"phishing", "gambling"}
    assert all(one["error"] is None for one in lists)


def test_the_control_process_is_asked_for_the_switch_and_a_reload(scene: Scene) -> None:
    assert scene.call("PUT", "/api/v1/switch", json={"on": False}).json() == {"is_on": False, "changed": True}
    assert scene.call("POST", "/api/v1/reload").status_code == 202
    assert scene.said[-2:] == [{"say": "switch", "on": False, "by": "operator"}, {"say": "reload", "by": "operator"}]


def test_subscribers_are_listed_found_and_changed(scene: Scene) -> None:
    found = scene.call("GET", "/api/v1/subscribers", params={"prefix": "home", "limit": 2}).json()
    assert [one["id"] for one in found["subscribers"]] == ["home", "home/tablet"]
    assert found["next_after"] == "home/tablet"
    more = scene.call("GET", "/api/v1/subscribers", params={"prefix": "home", "after": found["next_after"]}).json()
    assert [one["id"] for one in more["subscribers"]] == ["homer"]
    assert more["next_after"] is None
    home = scene.call("GET", "/api/v1/subscribers/home").json()
    assert home["devices"] == ["home/tablet"]
    assert home["sessions"][0]["source"] == "configuration"
    assert home["effective"]["services"] == ["parental", "web"]
    path = "/api/v1/subscribers/by-address"
    assert scene.call("GET", path, params={"address": "10.0.0.9"}).json()["id"] == "home/tablet"
    assert scene.call("GET", path, params={"address": "10.9.0.9"}).status_code == 404
    assert scene.call("GET", path, params={"address": "ten"}).status_code == 422
    assert scene.call("GET", path, params={"address": "10.0.0.9", "scope": "north"}).status_code == 404
    changed = scene.call("PATCH", "/api/v1/subscribers/office", json={"fail": "closed"}).json()
    assert changed["fail"] == "closed"
    assert changed["profile"] == "nothing"
    fresh = scene.call("PATCH", "/api/v1/subscribers/new", json={"profile": "kids", "addresses": ["10.7.0.1"]}).json()
    assert fresh["places"] == ["10.7.0.1"]
    assert scene.call("PATCH", "/api/v1/subscribers/nobody", json={"profile": "kids"}).status_code == 404
    assert scene.call("PATCH", "/api/v1/subscribers/office", json={"profile": "none"}).status_code == 422


def test_an_id_of_any_characters_is_one_segment(scene: Scene) -> None:
    path = f"/api/v1/subscribers/{quote(SLASHED, safe='')}"
    assert scene.call("GET", path).json()["id"] == SLASHED
    answer = scene.call("PATCH", f"{path}/choices", json={"deny": ["x.example"]}).json()
    assert answer["subscriber"] == SLASHED
    assert answer["choices"]["deny"] == ["x.example"]
    assert scene.call("GET", "/api/v1/subscribers/home/tablet").status_code == 404
    assert scene.call("GET", "/api/v1/subscribers/home%2Ftablet").json()["id"] == "home/tablet"


def test_choices_are_replaced_and_changed(scene: Scene) -> None:
    path = "/api/v1/subscribers/office/choices"
    night = {"name": "night", "days": ["mon"], "begin": "21:00", "end": "07:00", "pause": True}
    first = scene.call("PUT", path, json={"allow": ["a.example"], "schedules": [night], "zone": "Europe/Madrid"}).json()
    assert first["choices"]["schedules"][0]["begin"] == "21:00"
    assert first["choices"]["allow"] == ["a.example"]
    second = scene.call("PATCH", path, json={"services": {"web": False}}).json()["choices"]
    assert second["allow"] == ["a.example"]
    assert second["services"] == {"web": False}
    third = scene.call("PUT", path, json={"deny": ["B.example."]}).json()["choices"]
    assert third["deny"] == ["b.example"]
    assert third["allow"] == []
    assert third["zone"] is None
    assert scene.call("GET", path).json()["choices"] == third


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"zone": "Mars/Olympus"}, "zone"),
        ({"deny": ["a b"]}, "deny"),
        ({"services": {"webb": True}}, "services"),
        ({"services": {"web": "yes"}}, "services"),
        ({"allow": ["a.example"], "deny": ["a.example"]}, "both"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_choices_that_make_no_sense(scene: Scene, body: dict[str, object], field: str) -> None:
    answer = scene.call("PATCH", "/api/v1/subscribers/office/choices", json=body)
    assert answer.status_code == 422
    assert field in answer.json()["detail"]
    assert answer.headers["content-type"] == "application/problem+json"


def test_pause_and_overrides(scene: Scene) -> None:
    base = "/api/v1/subscribers/homer"
    assert scene.call("POST", f"{base}/pause", json={"minutes": 30}).status_code == 200
    seen = scene.call("GET", base).json()
    assert seen["is_paused"]
    assert seen["paused_until"] is not None
    assert scene.call("DELETE", f"{base}/pause").status_code == 200
    assert not scene.call("GET", base).json()["is_paused"]
    assert scene.call("POST", f"{base}/pause", json={"until": "2030-01-01T00:00:00Z"}).status_code == 200
    assert scene.call("GET", base).json()["paused_until"] == "2030-01-01T00:00:00Z"
    scene.call("DELETE", f"{base}/pause")
    granted = scene.call("POST", f"{base}/overrides", json={"name": "Shop.example", "minutes": 5}).json()
    (one,) = granted["choices"]["overrides"]
    assert one["name"] == "shop.example"
    assert 280 < one["until_s"] - time.time() < 301
    assert scene.call("DELETE", f"{base}/overrides/shop.example").json()["choices"]["overrides"] == []
    assert scene.call("DELETE", f"{base}/overrides/shop.example").status_code == 404


def test_explain_says_why(scene: Scene) -> None:
    found = scene.call("GET", "/api/v1/explain", params={"host": "www.bad.example", "subscriber": "home"}).json()
    assert (found["action"], found["category"], found["service"]) == ("block", "phishing", "web")
    assert found["list"].endswith(":1")
    scene.call("PATCH", "/api/v1/subscribers/homer/choices", json={"allow": ["bad.example"]})
    found = scene.call("GET", "/api/v1/explain", params={"host": "www.bad.example", "subscriber": "homer"}).json()
    assert found["action"] == "forward"
    assert "own list" in found["reason"]
    path = {"host": "bad.example", "subscriber": "nobody"}
    assert scene.call("GET", "/api/v1/explain", params=path).status_code == 404
    assert scene.call("GET", "/api/v1/explain", params={"host": "a b", "subscriber": "home"}).status_code == 422


def test_who_am_i_and_tokens(scene: Scene) -> None:
    assert scene.call("GET", "/api/v1/me").json()["role"] == "operator"
    made = scene.call("POST", "/api/v1/tokens", json={"name": "x", "role": "selfcare", "subscriber": "home", "days": 1})
    assert made.status_code == 201
    assert scene.call("GET", "/api/v1/me", made.json()["token"]).json()["subscriber"] == "home"
    shown = scene.call("GET", "/api/v1/tokens").json()["tokens"]
    assert shown[-1]["name"] == "x"
    assert "token" not in shown[-1]
    assert shown[-1]["last_used"]
    assert scene.call("DELETE", f"/api/v1/tokens/{made.json()['id']}").status_code == 204
    assert scene.call("GET", "/api/v1/me", made.json()["token"]).status_code == 401
    assert scene.call("DELETE", f"/api/v1/tokens/{made.json()['id']}").status_code == 404
    assert scene.call("POST", "/api/v1/tokens", json={"name": "x", "role": "selfcare"}).status_code == 422
    assert (
        scene.call("POST", "/api/v1/tokens", json={"name": "x", "role": "support", "subscriber": "a"}).status_code
        == 422
    )


def test_who_explains_does_so_to_the_end_while_something_else_comes_into_force(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    box, closed, begun, goes_on = scene.portal.box, [], threading.Event(), threading.Event()
    old, answers = box._snapshot, []
    assert old is not None

    def explain(configuration: Any, snapshot: Any, *rest: Any) -> Any:
        begun.set()
        assert goes_on.wait(20)
        assert snapshot is old
        assert closed == []
        return real(configuration, snapshot, *rest)

    real = module.explain
    monkeypatch.setattr(module, "explain", explain)
    monkeypatch.setattr(type(old), "close", lambda self: closed.append(self))
    query = {"host": "bad.example", "subscriber": "home"}
    threads = [
        threading.Thread(target=lambda: answers.append(scene.call("GET", "/api/v1/explain", params=query).status_code))
        for _ in range(module.ASKING_LIMIT + 1)
    ]
    try:
        for thread in threads:
            thread.start()
        assert begun.wait(20)
        box.follow(box.configuration, None)
        assert closed == []
        end_s = time.monotonic() + 20
        while 503 not in answers:
            assert time.monotonic() < end_s, "too many wait"
            time.sleep(0.01)
        goes_on.set()
        for thread in threads:
            thread.join()
        assert closed == [old]
        assert answers.count(200) == 1
    finally:
        goes_on.set()
        box._retired.clear()
        box._snapshot = old


ODD = [
    ("POST", "/tokens", b'{"name": "\\ud800", "role": "support"}', 422),
    ("PATCH", "/subscribers/home/choices", b'{"deny": ["\\ud800"]}', 422),
    ("PATCH", "/subscribers/home/choices", b"[" * 100_000, 400),
    ("PATCH", "/subscribers/home/choices", b'{"deny": ["' + b"a" * 600_000 + b'"]}', 413),
    ("PATCH", "/subscribers/home/choices", b'{"overrides": [{"name": "a.b", "until_s": 1e999}]}', 422),
    ("POST", "/subscribers/home/pause", b'{"until": "0001-01-01T00:00:00"}', 422),
    ("POST", "/subscribers/home/pause", b'{"until": "0001-01-01T00:00:00Z"}', 200),
    ("POST", "/subscribers/home/pause", b'{"until": 1e30}', 422),
    ("GET", "/subscribers/a%00b", b"", 422),
    ("GET", "/subscribers/%ED%A0%80", b"", 404),
    ("GET", "/explain?host=http://%5B&subscriber=home", b"", 422),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), ODD)
def test_whatever_is_sent_has_an_answer(scene: Scene, method: str, path: str, body: bytes, status: int) -> None:
    headers = {"Content-Type": "application/json"}
    answer = scene.call(method, f"/api/v1{path}", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    if status >= 400:
        assert answer.headers["content-type"] == "application/problem+json"


def test_a_body_without_a_length_is_bounded_too(scene: Scene) -> None:
    parts = (b"x" * 10_000 for _ in range(100))
    headers = {"Content-Type": "application/json"}
    answer = scene.call("PATCH", "/api/v1/subscribers/home/choices", content=parts, headers=headers)
    assert answer.status_code in (400, 413)

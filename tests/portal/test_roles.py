"""Every operation with every role, and what a subscriber's own token can see of others."""

import base64
import time
from typing import Any, NamedTuple

import httpx
import pytest

from penstock.portal.app import PREFIX, list_operations
from penstock.portal.roles import RULES
from tests.portal.scene import Scene


class Sample(NamedTuple):
    """A call that makes sense, and the roles that may make it: o(perator), s(upport), x: self-care, about `home`."""

    roles: str
    method: str
    path: str
    words: dict[str, Any] = {}


HOME = "/subscribers/home"
SAMPLES = {
    "get_me": Sample("osx", "GET", "/me"),
    "logout": Sample("osx", "POST", "/logout"),
    "get_status": Sample("os", "GET", "/status"),
    "set_switch": Sample("o", "PUT", "/switch", {"json": {"on": True}}),
    "reload": Sample("o", "POST", "/reload"),
    "get_counters": Sample("o", "GET", "/counters"),
    "list_profiles": Sample("os", "GET", "/profiles"),
    "list_services": Sample("osx", "GET", "/services"),
    "list_categories": Sample("os", "GET", "/categories"),
    "list_lists": Sample("o", "GET", "/lists"),
    "list_subscribers": Sample("os", "GET", "/subscribers"),
    "find_subscriber": Sample("os", "GET", "/subscribers/by-address?address=10.0.0.1"),
    "get_subscriber": Sample("os", "GET", HOME),
    "change_subscriber": Sample("o", "PATCH", HOME, {"json": {"fail": "open"}}),
    "get_choices": Sample("osx", "GET", f"{HOME}/choices"),
    "replace_choices": Sample("osx", "PUT", f"{HOME}/choices", {"json": {"deny": ["x.example"]}}),
    "change_choices": Sample("osx", "PATCH", f"{HOME}/choices", {"json": {"deny": ["x.example"]}}),
    "pause": Sample("osx", "POST", f"{HOME}/pause", {"json": {"minutes": 1}}),
    "resume": Sample("osx", "DELETE", f"{HOME}/pause"),
    "grant_override": Sample("os", "POST", f"{HOME}/overrides", {"json": {"name": "x.example", "minutes": 1}}),
    "revoke_override": Sample("os", "DELETE", f"{HOME}/overrides/x.example"),
    "list_subscriber_events": Sample("osx", "GET", f"{HOME}/events"),
    "get_week": Sample("osx", "GET", f"{HOME}/week"),
    "explain": Sample("osx", "GET", "/explain?host=bad.example&subscriber=home"),
    "start_capture": Sample("os", "POST", f"{HOME}/captures", {"json": {"seconds": 1, "megabytes": 1}}),
    "list_captures": Sample("os", "GET", f"{HOME}/captures"),
    "get_capture": Sample("os", "GET", f"{HOME}/captures/1"),
    "delete_capture": Sample("os", "DELETE", f"{HOME}/captures/1"),
    "list_events": Sample("o", "GET", "/events"),
    "list_tokens": Sample("o", "GET", "/tokens"),
    "create_token": Sample("o", "POST", "/tokens", {"json": {"name": "x", "role": "support"}}),
    "revoke_token": Sample("o", "DELETE", "/tokens/999999"),
    "list_audit": Sample("o", "GET", "/audit"),
}
STREAMS = {"watch_live": "o"}
"""What never ends, and is asked for differently."""
OPEN = {"login"}
ROLES = {"o": "operator", "s": "support", "x": "selfcare"}


def test_every_operation_has_a_row_here() -> None:
    assert {route.operation_id for route in list_operations()} == {*SAMPLES, *STREAMS, *OPEN}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("operation", SAMPLES)
def test_every_operation_with_every_role(scene: Scene, operation: str, role: str) -> None:
    sample = SAMPLES[operation]
    answer = scene.call(sample.method, PREFIX + sample.path, ROLES[role], **sample.words)
    if role in sample.roles:
        assert answer.status_code not in (401, 403, 500, 503), answer.text
    else:
        assert answer.status_code == 403, answer.text
        assert answer.json()["detail"] == "this token is not for that"


@pytest.mark.parametrize("operation", SAMPLES)
@pytest.mark.parametrize("token", [None, "not-a-token"])
def test_no_operation_without_a_token(scene: Scene, operation: str, token: str | None) -> None:
    sample = SAMPLES[operation]
    scene.portal.failures._buckets.clear()
    answer = scene.call(sample.method, PREFIX + sample.path, token, **sample.words)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("role", ROLES)
def test_who_may_watch(scene: Scene, role: str) -> None:
    headers = {"Authorization": f"Bearer {scene.tokens[ROLES[role]]}"}
    with httpx.stream("GET", f"{scene.url}{PREFIX}/live", headers=headers, timeout=20) as answer:
        assert answer.status_code == (200 if role in STREAMS["watch_live"] else 403)
        if answer.status_code == 200:
            lines = answer.iter_lines()
            assert next(lines) == "event: counters"
            assert '"verdicts"' in next(lines)


OWN = [name for name, sample in SAMPLES.items() if "x" in sample.roles and RULES[name].of_one]


@pytest.mark.parametrize("operation", OWN)
def test_a_subscriber_sees_himself_and_his_devices_alone(scene: Scene, operation: str) -> None:
    sample = SAMPLES[operation]
    others = ("homer", "hom", "office", "nobody", "HOME", "home%252Ftablet", "%2Fhome")
    said = set()
    for other in others:
        path = sample.path.replace("/home", f"/{other}").replace("=home", f"={other}")
        answer = scene.call(sample.method, PREFIX + path, "selfcare", **sample.words)
        assert answer.status_code == 403, (other, answer.text)
        said.add(answer.text)
    assert len(said) == 1, "what is refused says whether it exists"
    path = sample.path.replace("/home", "/home%2Ftablet").replace("=home", "=home%2Ftablet")
    assert scene.call(sample.method, PREFIX + path, "selfcare", **sample.words).status_code < 300


def test_two_subscribers_in_one_question(scene: Scene) -> None:
    query = "host=bad.example&subscriber=home&subscriber=office"
    for turned in (query, query.replace("=home&", "=office&", 1).replace("=office", "=home", 2)):
        assert scene.call("GET", f"{PREFIX}/explain?{turned}", "selfcare").status_code in (403, 422)
    assert scene.call("GET", f"{PREFIX}/explain?host=bad.example", "selfcare").status_code == 403


def test_overrides_are_not_a_subscribers_to_grant(scene: Scene) -> None:
    path = f"{PREFIX}{HOME}"
    scene.call("POST", f"{path}/overrides", json={"name": "kept.example", "minutes": 5})
    mine = [{"name": "mine.example", "until_s": 4_000_000_000}]
    for method in ("PUT", "PATCH"):
        answer = scene.call(method, f"{path}/choices", "selfcare", json={"overrides": mine})
        assert answer.status_code == 403
        answer = scene.call(method, f"{path}/choices", "selfcare", json={"overrides": []})
        assert answer.status_code == 403
    kept = scene.call("PUT", f"{path}/choices", "selfcare", json={"deny": []}).json()["choices"]["overrides"]
    assert [one["name"] for one in kept] == ["kept.example"]
    scene.call("DELETE", f"{path}/overrides/kept.example")


def test_a_subscriber_is_not_told_where_lists_lie(scene: Scene) -> None:
    path = f"{PREFIX}/explain?host=bad.example&subscriber=home"
    assert scene.call("GET", path).json()["list"] is not None
    answer = scene.call("GET", path, "selfcare").json()
    assert answer["list"] is None
    assert answer["category"] == "phishing"


def test_a_token_ends_with_its_time_and_only_a_whole_one_holds(scene: Scene) -> None:
    scene.portal.failures._buckets.clear()
    over = scene.make_token("operator", expires_s=time.time() - 1)
    assert scene.call("GET", f"{PREFIX}/me", over).status_code == 401
    whole = scene.make_token("operator", expires_s=time.time() + 60)
    assert scene.call("GET", f"{PREFIX}/me", whole).status_code == 200
    assert scene.call("GET", f"{PREFIX}/me", whole[:-1]).status_code == 401
    basic = {"Authorization": "Basic " + base64.b64encode(f"x:{whole}".encode()).decode()}
    assert scene.call("GET", f"{PREFIX}/me", None, headers=basic).status_code == 401

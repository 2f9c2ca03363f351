"""The client's calls against a portal, with an id of any characters; over TLS, too."""

import ssl
from pathlib import Path

import pytest

from penstock.control.portal.settings import Tls
from penstock.demo.servers import write_certificate
from penstock.portal.client import ApiError, Client
from tests.portal.scene import SLASHED, Scene, serve_scene


def test_its_calls(scene: Scene) -> None:
    with Client(scene.url, scene.tokens["operator"]) as box:
        assert box.read_status()["is_on"]
        assert box.read_counters()["seen"] == 10
        assert box.turn(True)["is_on"]
        assert box.list_subscribers("home", limit=1)["next_after"] == "home"
        assert box.find_subscriber("10.0.0.9")["id"] == "home/tablet"
        assert box.read_subscriber(SLASHED)["id"] == SLASHED
        assert box.change_subscriber(SLASHED, fail="closed")["fail"] == "closed"
        assert box.change_choices(SLASHED, deny=["z.example"])["choices"]["deny"] == ["z.example"]
        assert box.read_choices(SLASHED)["effective"]["services"] == ["parental", "web"]
        assert box.pause(SLASHED, 5)["effective"]["paused"]
        assert not box.resume(SLASHED)["effective"]["paused"]
        assert box.grant_override(SLASHED, "bad.example", 5)["choices"]["overrides"]
        assert box.explain(SLASHED, "bad.example")["action"] == "forward"
        assert box.list_events(SLASHED)["events"] == []


def test_a_problem_is_an_exception(scene: Scene) -> None:
    with Client(scene.url, scene.tokens["support"]) as box:
        with pytest.raises(ApiError, match="404: there is no such subscriber"):
            box.read_subscriber("nobody")
        with pytest.raises(ApiError) as caught:
            box.turn(False)
        assert caught.value.status == 403


def test_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = write_certificate(tmp_path)
    tls = Tls(certificate=pair.certificate, key=pair.key)
    with serve_scene(tmp_path, monkeypatch, tls=tls) as scene:
        context = ssl.create_default_context(cafile=str(pair.certificate))
        context.check_hostname = False  # it is for names, and the scene is at an address
        with Client(scene.url.replace("http:", "https:"), scene.tokens["operator"], context) as box:
            assert box.read_status()["is_on"]
            answer = box._client.get("/me")
            assert answer.headers["strict-transport-security"]
            login = box._client.post("/login", data={"token": scene.tokens["operator"]})
            assert "secure" in login.headers["set-cookie"].lower()

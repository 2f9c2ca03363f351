"""A portal on a real store, a real snapshot and a real server, beside a register and a control process that answer.

The two that answer are here what is said at their sockets: the store behind the register is the real one.
"""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from select import select
from typing import Any

import httpx
import pytest
import uvicorn

from penstock.control.configuration import Configuration
from penstock.control.exceptions import CAUSES
from penstock.control.portal.settings import ApiSettings
from penstock.control.subscribers.calls import CallError, SetCall, build_events
from penstock.control.subscribers.known import KnownSubscribers
from penstock.control.subscribers.model import Change, Event
from penstock.control.subscribers.register import Register
from penstock.control.subscribers.store import Store
from penstock.kernel.reasons import REASONS, Verdict
from penstock.line import handover
from penstock.line.handover import Door
from penstock.policy.snapshot import Snapshot
from penstock.portal.box import Box
from penstock.portal.control_link import ControlLink
from penstock.portal.portal import Portal
from penstock.portal.process import bind_address, configure_server
from penstock.portal.tokens import Role
from tests.policy.worlds import world

SERVICES = {"web": {"categories": {"phishing": "block"}}, "parental": {"categories": {"gambling": "block"}}}
SLASHED = "00:11/tv 1%"
"""A device whose id has everything that a path gives a meaning."""
LISTS = {"phishing": "bad.example\n", "gambling": "casino.example\n"}


def tell_all() -> dict[str, Any]:
    """What a control process says of itself."""
    sides = {"client": 1, "server": 2}
    health = {
        "handshakes": 3,
        "completed": 2,
        **dict.fromkeys(("segments", "repeated", "resets"), sides),
        "median_ms": {"client": 0.5, "server": 1.5},
    }
    return {
        "at_s": time.time(),
        "version": "0.1.0",
        "layout": 4,
        "pid": 1,
        "is_on": True,
        "seen": 10,
        "waiting": 0,
        "difference": 0,
        "verdicts": {verdict.name.lower(): 1 for verdict in Verdict},
        "reasons": {reason.name: 1 for reason in REASONS},
        "lost_events": 0,
        "unwritten_events": 0,
        "exceptions": [{"cause": cause.name, "packets": 0, "active_s": None} for cause in CAUSES],
        "ring_to_wire_us": {"p50": 10.0, "p90": 20.0, "p99": None},
        "health": {"protected": health, "unprotected": health},
        "links": [
            {"side": side, "name": "lo", "is_up": True, "is_held": False, "mtu": 1500} for side in ("ingress", "egress")
        ],
        "guard": {"requests": 5, "refusals": 0, "is_held": False, "share": 0.0},
        "generation": 1,
        "names": 2,
        "built_s": 1_700_000_000.0,
        "is_reloading": False,
    }


@dataclass
class Scene:
    """One portal, served at `url`."""

    portal: Portal
    url: str
    said: list[dict[str, Any]]
    """What the control process was asked, `tell` aside; of a tap with the other end of its socket, as `wire`."""
    tokens: dict[str, str] = field(default_factory=dict)

    def make_token(self, role: Role, subscriber: str | None = None, expires_s: float | None = None) -> str:
        """A new token."""
        return self.portal.tokens.create(role, role, subscriber, expires_s, time.time())[0]

    def call(self, method: str, path: str, token: str | None = "operator", **words: Any) -> httpx.Response:
        """A call with the token of a role, with a token, or with none."""
        headers = words.pop("headers", {})
        if token is not None:
            headers = {"Authorization": f"Bearer {self.tokens.get(token, token)}"} | headers
        with httpx.Client(base_url=self.url, timeout=30) as client:
            return client.request(method, path, headers=headers, **words)


class FakeRegister(threading.Thread):
    """A register's door over the real store."""

    def __init__(self, door: Path, configuration: Configuration) -> None:
        super().__init__(daemon=True)
        self.door, self.configuration = Door(door), configuration
        self.begun, self.stops = threading.Event(), threading.Event()

    def run(self) -> None:
        with closing(Store(self.configuration.subscriber_register.database)) as store:
            self.register = Register(store, self.configuration.subscriber_register)
            self.register.sync_configuration(self.configuration, time.time())
            self.begun.set()
            self.serve()
        self.door.close()

    def serve(self) -> None:
        while not self.stops.is_set():
            for visitor, said in self.door.answer(select(self.door.sockets(), [], [], 0.02)[0]):
                if said is not None:
                    assert said.pop("say") == "set"
                    visitor.say(**self.set(**said))

    def set(self, subscriber: str, choices: dict[str, Any] | None = None, **words: Any) -> dict[str, Any]:
        if words.get("profile", "kids") not in self.configuration.profiles:
            return {"word": "no", "why": f"there is no profile `{words['profile']}`"}
        now_s = time.time()
        events: list[Event] = []
        if choices is not None:
            with KnownSubscribers(self.configuration.subscriber_register.database) as known:
                found = known.find_subscriber(subscriber)
            assert found is not None
            events.append(Change(subscriber, now_s, choices=found.choices.replace(choices)))
        if words:
            try:
                events += build_events(SetCall(subscriber=subscriber, **words), self.configuration.scopes, now_s)
            except (CallError, ValueError) as error:
                return {"word": "no", "why": str(error)}
        self.register.apply(events, now_s)
        return {"word": "done"}


def _answer(talk: socket.socket, said: list[dict[str, Any]]) -> None:
    while content := talk.recv(1 << 16):
        words = json.loads(content)
        number, word = words.pop("number"), words["say"]
        if word == "tap":
            words["wire"], tap = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            said.append(words)
            with tap:
                socket.send_fds(talk, [json.dumps({"number": number}).encode()], [tap.fileno()])
            continue
        if word != "tell":
            said.append(words)
        answer = tell_all() if word == "tell" else {"changed": True}
        talk.send(json.dumps({"number": number, **answer}).encode())


@contextmanager
def serve_scene(here: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Iterator[Scene]:
    """A portal that is served, with a token of each role, until the block ends."""
    monkeypatch.setattr(handover, "DOORS", here / "doors")
    described = {
        "services": SERVICES,
        "profiles": {"kids": {"services": ["web", "parental"]}, "nothing": {}},
        "register": {"database": str(here / "subscribers.db")},
        "scopes": {"north": {"number": 7}},
        "subscribers": [
            {"id": "home", "prefixes": ["10.0.0.0/24"], "profile": "kids"},
            {"id": "home/tablet", "prefixes": ["10.0.0.9"], "profile": "kids"},
            {"id": "homer", "prefixes": ["10.0.1.0/24"], "profile": "kids"},
            {"id": "office", "prefixes": ["192.0.2.0/24"], "profile": "nothing"},
            {"id": SLASHED, "prefixes": ["10.0.2.0/24"], "profile": "kids"},
        ],
    }
    api = ApiSettings(
        database=here / "portal" / "portal.db",
        journal=here / "portal" / "journal.db",
        **({"calls_per_s": 10_000} | settings),
    )
    with world(described, LISTS) as made:
        door = here / "doors" / "register-test"
        fake = FakeRegister(door, made.configuration)
        fake.start()
        assert fake.begun.wait(20)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        said: list[dict[str, Any]] = []
        threading.Thread(target=_answer, args=(theirs, said), daemon=True).start()
        link = ControlLink(ours)
        box = Box(link, door)
        box.follow(made.configuration, made.snapshot)
        threading.Thread(target=_hear, args=(link,), daemon=True).start()
        portal = Portal.open(box, api)
        try:
            with _serving(configure_server(portal, api)) as url:
                scene = Scene(portal, url, said)
                scene.tokens = {role: scene.make_token(role) for role in ("operator", "support")}
                scene.tokens["selfcare"] = scene.make_token("selfcare", "home")
                yield scene
        finally:
            for words in said:
                if "wire" in words:
                    words["wire"].close()
            fake.stops.set()
            fake.join()
            portal.close()
            ours.close()
            theirs.close()


def _hear(link: ControlLink) -> None:
    def follow(configuration: Configuration, snapshot: Snapshot | None) -> None:
        raise AssertionError("nothing is followed here")

    try:
        while link.hear(follow):
            pass
    except OSError:
        return


@contextmanager
def _serving(server: uvicorn.Server) -> Iterator[str]:
    listener = bind_address("127.0.0.1:0")
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    end_s = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < end_s, "the server does not start"
        time.sleep(0.01)
    try:
        scheme = "https" if server.config.is_ssl else "http"
        yield f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()

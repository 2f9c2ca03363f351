"""`penstock demo --full` as a user starts it: its pages answer each role, people visit, and nothing is left behind."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from penstock.demo.box import PENSTOCK
from penstock.demo.namespaces import NAMESPACES
from penstock.demo.people import ADA, BRUNO, KNOWN, LIBRARY
from tests.live.line import live
from tests.live.processes import hear_ctrl_c

pytestmark = [*live("curl", "openssl", "ip", "unbound"), pytest.mark.timeout(600)]

FOR_S = 5
PAGES = {"operator": "/operator", "support": "/support", f"the subscriber {ADA.id}": "/me"}
PINS, SOCKETS = Path("/sys/fs/bpf"), Path("/run/penstock")


@dataclass
class Told:
    """What the demonstration printed until its pages were up."""

    text: str
    url: str
    tokens: dict[str, str]

    def ask(self, whose: str, path: str, **words: object) -> httpx.Response:
        """Ask the API by somebody's token."""
        headers = {"Authorization": f"Bearer {self.tokens[whose]}"}
        return httpx.get(f"{self.url}/api/v1{path}", headers=headers, trust_env=False, timeout=20, **words)


def read_until_pages(program: "subprocess.Popen[str]") -> Told:
    assert program.stdout is not None
    text = ""
    for line in program.stdout:
        text += line
        if "People go on" in line:
            break
    url = re.search(r"Go in at (http://127\.0\.0\.1:\d+)/login", text)
    assert url, text
    found = re.findall(rf"^  {re.escape(url[1])}/\w+ +(.+?) +(\S{{20,}})$", text, re.MULTILINE)
    assert {whose for whose, _ in found} == set(PAGES), text
    return Told(text, url[1], dict(found))


def find_inodes(pid: int) -> set[int]:
    """The network namespaces of the demonstration."""
    return {path.stat().st_ino for path in NAMESPACES.glob(f"penstock-{pid}-*")}


def find_left(pid: int, inodes: set[int]) -> Iterator[str]:
    """What is still there of them."""
    yield from (path.name for path in NAMESPACES.glob(f"penstock-{pid}-*"))
    for directory in (PINS, SOCKETS):
        yield from (str(path) for path in directory.glob("*penstock*") if any(str(one) in path.name for one in inodes))
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "ns/net").stat().st_ino in inodes:
                yield (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()


@pytest.fixture
def browser(tmp_path: Path) -> Path:
    """A browser that writes down what it was to open."""
    path = tmp_path / "browser"
    path.write_text(f'#!/bin/sh\necho "$1" >>{tmp_path / "opened"}\n')
    path.chmod(0o755)
    return path


def test_its_pages_answer_and_nothing_is_left(tmp_path: Path, browser: Path) -> None:
    place = tmp_path / "temporary"
    place.mkdir()
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("SUDO_")}
    environment = surroundings | {"TMPDIR": str(place), "BROWSER": str(browser), "COLUMNS": "80"}
    argv = [*PENSTOCK, "demo", "--full", "--for", str(FOR_S)]
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(argv, env=environment, **output) as program:
        told = read_until_pages(program)
        inodes = find_inodes(program.pid)
        assert len(inodes) == 3
        check_pages(told)
        check_data(told)
        rest = program.communicate(timeout=120)[0]
    assert program.returncode == 0, told.text + rest
    assert "Everything is taken down" in rest
    assert re.search(r"In 5 s: \d+ site", rest), rest
    assert (tmp_path / "opened").read_text() == f"{told.url}/login?next=/operator\n"
    assert list(find_left(program.pid, inodes)) == []
    assert list(place.iterdir()) == []


def check_pages(told: Told) -> None:
    """Each page is there, and each token is for what it is for."""
    for path in ("/login", *PAGES.values()):
        answer = httpx.get(told.url + path, trust_env=False, timeout=20)
        assert answer.status_code == 200
        assert "<html" in answer.text
    for whose in PAGES:
        me = told.ask(whose, "/me").json()
        assert (me["role"], me["subscriber"]) == (
            (whose, None) if whose in ("operator", "support") else ("selfcare", ADA.id)
        )


def check_data(told: Told) -> None:
    """What pages show comes from the traffic: people with places and choices, refusals, lists, rates."""
    seen = told.ask("support", "/subscribers").json()["subscribers"]
    assert {one["id"] for one in seen} == {one.id for one in KNOWN}
    assert {one["id"] for one in seen if one["is_paused"]} == {"dora"}
    found = told.ask("support", "/subscribers/by-address", params={"address": BRUNO.ipv4, "scope": "north"}).json()
    assert found["id"] == BRUNO.id
    assert told.ask("operator", f"/subscribers/{quote(LIBRARY.id)}").json()["sessions"][0]["source"] == "configuration"
    own = told.ask(f"the subscriber {ADA.id}", f"/subscribers/{ADA.id}/choices").json()
    assert own["choices"]["deny"] == ["chat.example.test"]
    assert own["devices"] == ["ada/tablet"]
    assert told.ask(f"the subscriber {ADA.id}", f"/subscribers/{BRUNO.id}/choices").status_code == 403
    events = told.ask("operator", "/events", params={"limit": 500}).json()["events"]
    assert {"blocked", "court_order", "continued"} <= {event["reason"] for event in events}
    assert {"http", "tls", "dns"} <= {event["proto"] for event in events}
    lists = told.ask("operator", "/lists").json()["lists"]
    assert sum(one["is_feed"] for one in lists) >= 7
    assert not [one for one in lists if one["error"]]
    status = told.ask("operator", "/status").json()
    assert status["is_on"]
    assert status["ledger_difference"] == 0
    for kind in ("protected", "unprotected"):
        assert status["health"][kind]["completed"] > 10, kind


def test_ctrl_c_on_the_way_leaves_nothing(tmp_path: Path) -> None:
    environment = dict(os.environ) | {"TMPDIR": str(tmp_path)}
    argv = [*PENSTOCK, "demo", "--full"]
    unheard: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    program = subprocess.Popen(argv, env=environment, preexec_fn=hear_ctrl_c, **unheard)
    end_s = time.monotonic() + 60
    while len(find_inodes(program.pid)) < 3 and time.monotonic() < end_s:
        time.sleep(0.02)
    inodes = find_inodes(program.pid)
    program.send_signal(signal.SIGINT)
    assert program.wait(60) == 130
    assert len(inodes) == 3
    assert list(find_left(program.pid, inodes)) == []
    assert list(tmp_path.iterdir()) == []

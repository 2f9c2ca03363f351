"""A pause ends one subscriber's open TLS and QUIC connections within a second, and nobody else's."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.demo.box import GOOD, run_penstock
from penstock.demo.servers import Certificate
from penstock.demo.topology import HOME, OFFICE, SERVER_IPV4, Subscriber
from tests.live.line import Line, build_line, live

pytestmark = live("openssl", "curl")

PORT = 4430
PAUSE_S = 1.0  # what is asked
SECONDS = 9.0
KINDS = ("echo", "film", "quic")
SETTINGS = {
    "subscribers": [
        {"id": one.name, "prefixes": [f"{one.ipv4}/32"], "profile": "everything"} for one in (HOME, OFFICE)
    ],
}


@pytest.fixture(scope="module")
def line(here: Path, pair: Certificate) -> Iterator[Line]:
    with build_line(here, pair, **SETTINGS) as found:
        argv = [sys.executable, "-m", "tests.live.talk", "serve", str(pair.certificate), str(pair.key), str(PORT)]
        server = found.topology.spawn("server", argv, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
        assert server.stdout.readline() == "ready\n"
        server.stdout.close()
        yield found


def talk(line: Line, kind: str, who: Subscriber) -> "subprocess.Popen[Any]":
    argv = [sys.executable, "-m", "tests.live.talk", kind, who.ipv4, SERVER_IPV4, str(PORT), str(SECONDS)]
    return line.topology.spawn("client", argv, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])


def read(program: "subprocess.Popen[Any]") -> dict[str, Any]:
    with program.stdout:
        return dict(json.loads(program.stdout.read()))


def test_a_pause_ends_his_connections_and_nobody_elses(line: Line) -> None:
    programs = {(kind, who.name): talk(line, kind, who) for kind in KINDS for who in (HOME, OFFICE)}
    time.sleep(4.0)  # all of them talk by then
    paused_s = time.monotonic()
    done = run_penstock(line.topology, ["subscribers", "set", "home", "--pause", "10m"])
    assert done.returncode == 0, done.stderr
    said_s = time.monotonic()
    found = {key: read(program) for key, program in programs.items()}
    print(f"the command took {said_s - paused_s:.2f} s", found)
    for kind in KINDS:
        his, other = found[kind, "home"], found[kind, "office"]
        assert his["count"] > 10
        assert his["first_s"] < paused_s < said_s
        assert his["last_s"] - said_s < PAUSE_S, kind
        assert other["end"] == "time"
        assert other["last_s"] - said_s > 2 * PAUSE_S, kind
    assert {found[kind, "home"]["end"] for kind in ("echo", "film")} == {"ConnectionResetError"}
    assert line.curl(f"http://{GOOD}/").returncode != 0
    assert line.curl(f"http://{GOOD}/", OFFICE).returncode == 0
    assert line.events(reason="paused", subscriber="home")


def test_afterwards_he_is_served_again(line: Line) -> None:
    assert run_penstock(line.topology, ["subscribers", "set", "home", "--pause", "off"]).returncode == 0
    end_s = time.monotonic() + PAUSE_S
    while line.curl(f"http://{GOOD}/").returncode:
        assert time.monotonic() < end_s
    assert read(talk(line, "echo", HOME))["end"] == "time"

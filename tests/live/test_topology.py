"""The topology itself, without Penstock: it connects, tags, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from penstock.demo.demo import TURN_S, measure_bulk
from penstock.demo.namespaces import NAMESPACES, sweep
from penstock.demo.servers import Certificate, start_site
from penstock.demo.topology import HOME, INGRESS, OFFICE, Kind, Topology, server_address
from tests.live.clients import Response, ask, connect
from tests.live.line import live
from tests.live.packets import Tap

pytestmark = live("openssl", "curl")

PREFIX = "penstock-proof"
STAY = f"""
from penstock.demo.topology import Topology
import time
with Topology("bridge", prefix="{PREFIX}") as topology:
    topology.spawn("server", ["sleep", "60"])
    print("up", flush=True)
    time.sleep(60)
"""


def left_over(pid: int) -> list[str]:
    return [path.name for path in NAMESPACES.glob(f"{PREFIX}-{pid}-*")]


@pytest.mark.parametrize("kind", ["direct", "bridge"])
@pytest.mark.parametrize("vlan", [(), (100,), (200, 100)], ids=["plain", "one-tag", "two-tags"])
def test_both_subscribers_reach_the_site(here: Path, pair: Certificate, kind: Kind, vlan: tuple[int, ...]) -> None:
    with Topology(kind, vlan=vlan, prefix=PREFIX) as topology:
        place = here / f"{kind}-{len(vlan)}"
        place.mkdir()
        start_site(topology, place, pair)
        for family in (4, 6):
            for who in (HOME, OFFICE):
                with connect(topology, who, 80, family) as conversation:
                    conversation.send(ask("any.example.test"))
                    answer = conversation.read()
                    assert isinstance(answer, Response)
                    assert answer.body == b"This is any.example.test.\n"
        assert measure_bulk(topology, TURN_S / 3) > 1
    assert left_over(os.getpid()) == []


def test_two_tags_are_in_the_bytes_and_the_metadata(here: Path, pair: Certificate) -> None:
    with Topology("bridge", vlan=(200, 100), prefix=PREFIX) as topology, Tap(topology, "box", INGRESS) as tap:
        with topology.inside("client"):
            subprocess.run(["curl", "-s", "--max-time", "1", f"http://{server_address(4)}/"], check=False)
        frames = [tap.channel.recv(2048) for _ in range(3)]
    assert any(frame[12:16] == b"\x81\x00\x00\x64" for frame in frames), "no frame has the inner tag in its bytes"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_nothing_is_left_after_a_signal(number: signal.Signals) -> None:
    program = subprocess.Popen([sys.executable, "-c", STAY], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    with program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"up\n"
        assert len(left_over(program.pid)) == 3
        program.send_signal(number)
    if number == signal.SIGKILL:
        assert len(sweep(PREFIX)) == 3
    time.sleep(0.05)
    assert left_over(program.pid) == []

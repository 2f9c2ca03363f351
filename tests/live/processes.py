"""Penstock's processes as the tests that harm them see them, and a load that goes on meanwhile.

Knows /proc, signals and `load.py`. Refuses to know what must come of it.
"""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from penstock.demo.box import GOOD
from penstock.demo.servers import Server
from penstock.demo.topology import HOME, SERVER_IPV4, Subscriber
from tests.live.clients import Response, ask
from tests.live.line import BAD, Line

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0  # a reload, or a start, on a busy machine


@dataclass(frozen=True)
class Asked:
    """One request of the load. `connect_s`: of its `delay_s` the handshake's part."""

    start_s: float
    connect_s: float
    delay_s: float
    what: str


class Loaded:
    """A load that runs in the client namespace while the test does something to the box."""

    def __init__(self, line: Line, server: Server, rate: int, duration_s: float, kept: int = 0) -> None:
        words = [SERVER_IPV4, server.http_port, GOOD, rate, duration_s, HOME.ipv4, kept]
        argv = [sys.executable, "-m", "tests.live.load", *map(str, words)]
        self.program = line.topology.spawn("client", argv, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        self.begin_s = float(json.loads(self._read())["begin_s"])
        self.kept: list[Asked] = []

    def wait_until(self, into_s: float) -> None:
        """Sleep until so far into the load."""
        time.sleep(max(0.0, self.begin_s + into_s - time.monotonic()))

    def collect(self) -> list[Asked]:
        """Wait for the end; every request on a connection of its own. Those on kept connections are in `kept`."""
        told = json.loads(self._read())
        self.kept = [Asked(*row) for row in told["kept"]]
        return [Asked(*row) for row in told["asked"]]

    def _read(self) -> str:
        assert self.program.stdout is not None
        found: str = self.program.stdout.readline()
        return found


def broken(asked: list[Asked]) -> list[Asked]:
    """The requests that got no answer of the server."""
    return [one for one in asked if not one.what.startswith("HTTP/1.1 200")]


def kill(line: Line) -> float:
    """SIGKILL to the whole of Penstock (its session is its own), and when."""
    os.killpg(line.box.program.pid, signal.SIGKILL)
    moment_s = time.monotonic()
    line.box.program.wait()
    return moment_s


def hear_ctrl_c() -> None:
    """In a child, before its program: Ctrl-C is heard, though whoever started the tests may not hear it (a shell's
    background)."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def find_children(parent: int) -> list[int]:
    """The processes that a process has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it may have ended since
            if int(path.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(path.parent.name))
    return found


def await_child(line: Line, word: bytes, within_s: float = PATIENCE_S) -> int:
    """The process of Penstock's whose command line has this word, as soon as there is one."""
    end_s = time.monotonic() + within_s
    while True:
        for process in find_children(line.box.program.pid):
            with suppress(OSError):
                if word in Path(f"/proc/{process}/cmdline").read_bytes():
                    return process
        assert time.monotonic() < end_s, f"no process of {word!r}"
        time.sleep(0.02)


def find_packet_processes(parent: int) -> list[int]:
    """The packet process of a `penstock run`: one, or none while it is started again."""
    found = []
    for process in find_children(parent):
        with suppress(OSError):
            if b"penstock.engine" in Path(f"/proc/{process}/cmdline").read_bytes():
                found.append(process)
    return found


def wait_for_word(line: Line, word: str, times: int = 1) -> str:
    """Wait until Penstock has said this so many times since its first start; all that it said."""
    end_s = time.monotonic() + PATIENCE_S
    while (said := line.box.output.read_text()).count(word) < times:
        assert time.monotonic() < end_s, said[-800:]
        time.sleep(0.02)
    return said


def reload(line: Line, word: str = "reloaded  ") -> str:
    """SIGHUP, and wait until Penstock says this word once more; all that it said."""
    times = line.box.output.read_text().count(word)
    os.kill(line.box.program.pid, signal.SIGHUP)
    return wait_for_word(line, word, times + 1)


def hear_reload(line: Line, within_s: float) -> str:
    """SIGHUP; what Penstock said of it, taken or not."""
    before = len(line.box.output.read_text())
    os.kill(line.box.program.pid, signal.SIGHUP)
    end_s = time.monotonic() + within_s
    while "reloaded" not in (said := line.box.output.read_text()[before:]):
        assert time.monotonic() < end_s, said
        time.sleep(0.02)
    return said


def sees_page(line: Line, who: Subscriber, host: str = BAD) -> bool:
    """Whether a request for this host gets the page."""
    with line.connect(who) as conversation:
        conversation.send(ask(host))
        answer = conversation.read()
    assert isinstance(answer, Response), answer
    return answer.is_page


def is_blocked(line: Line, server: Server) -> bool:
    """Whether home gets the page for the blocked host."""
    with line.connect(HOME, server.http_port) as conversation:
        conversation.send(ask(BAD))
        answer = conversation.read()
    assert isinstance(answer, Response), answer
    return answer.is_page

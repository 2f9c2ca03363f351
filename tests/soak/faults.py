"""What happens to the box during a soak: one function for each kind of fault, and a deck of them in a random order.

Each does its fault and returns when Penstock judges again; `Fault` keeps from when to when nobody had to judge.
Knows processes, signals and commands as an operator has them. Refuses to know what the traffic makes of it.
"""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from penstock.demo.box import run_penstock, start_box
from tests.live.line import Line
from tests.live.processes import find_packet_processes, is_blocked, kill, reload

LATE = "late by itself"
JUDGES_S = 60.0  # after which a box that does not judge again counts as lost
POLL_S = 0.05


class Lost(Exception):
    """The box did not come back; the text says after what."""


@dataclass(frozen=True)
class Pace:
    """How hard the box is tried: the calm between faults, from and to; how long something stands still or is away."""

    calm_s: tuple[float, float]
    stop_s: float
    away_s: float

    def draw_away(self, chance: random.Random) -> None:
        """Wait while the box is away."""
        time.sleep(chance.uniform(0, self.away_s))


@dataclass(frozen=True)
class Fault:
    """One fault that was. `is_gap`: what is not judged may pass meanwhile."""

    kind: str
    begin_s: float
    end_s: float
    is_gap: bool


def wait_until_judging(line: Line, after: str) -> None:
    """Wait until home gets the page for a listed host. Raises Lost."""
    end_s = time.monotonic() + JUDGES_S
    while not is_blocked(line, line.site):
        if time.monotonic() > end_s:
            raise Lost(f"nobody judges {JUDGES_S:.0f} s after: {after}")
        time.sleep(POLL_S)


def kill_all(line: Line, pace: Pace, chance: random.Random) -> None:
    """kill -9 of everything, and a start some time later."""
    kill(line)
    pace.draw_away(chance)
    line.restart()


def kill_packets(line: Line, pace: Pace, chance: random.Random) -> None:
    """kill -9 of the packet process alone."""
    for process in find_packet_processes(line.box.program.pid):
        os.kill(process, signal.SIGKILL)


def crash_packets(line: Line, pace: Pace, chance: random.Random) -> None:
    """What a load from a wild address does to the packet process."""
    for process in find_packet_processes(line.box.program.pid):
        os.kill(process, signal.SIGSEGV)


def stop_packets(line: Line, pace: Pace, chance: random.Random) -> None:
    """The packet process stands still."""
    processes = find_packet_processes(line.box.program.pid)
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    time.sleep(pace.stop_s)
    for process in processes:
        os.kill(process, signal.SIGCONT)


def stop_control(line: Line, pace: Pace, chance: random.Random) -> None:
    """The control process stands still: the packets must not notice."""
    os.kill(line.box.program.pid, signal.SIGSTOP)
    time.sleep(pace.stop_s)
    os.kill(line.box.program.pid, signal.SIGCONT)


def end_and_start(line: Line, pace: Pace, chance: random.Random) -> None:
    """SIGTERM, and a start some time later."""
    line.topology.end(line.box.program)
    pace.draw_away(chance)
    line.restart()


def take_over(line: Line, pace: Pace, chance: random.Random) -> None:
    """A second `run` takes the line over, and the first one leaves: the packets must not notice."""
    before = line.box
    line.box = start_box(line.topology, line.configuration, more=["--take-over"])
    if before.program.wait(JUDGES_S):
        raise Lost("take-over: the run before ended with an error")


def reload_all(line: Line, pace: Pace, chance: random.Random) -> None:
    """SIGHUP: configuration and lists again."""
    reload(line)


def switch(line: Line, pace: Pace, chance: random.Random) -> None:
    """`penstock off`, and `on` some time later."""
    for word in ("off", "on"):
        done = run_penstock(line.topology, [word])
        if done.returncode:
            raise Lost(f"penstock {word}: {done.stderr}")
        if word == "off":
            pace.draw_away(chance)


KINDS: dict[str, tuple[bool, Callable[[Line, Pace, random.Random], None]]] = {
    "kill -9": (True, kill_all),
    "kill -9 of the packet process": (True, kill_packets),
    "SIGSEGV to the packet process": (True, crash_packets),
    "SIGSTOP of the packet process": (True, stop_packets),
    "SIGSTOP of the control process": (False, stop_control),
    "SIGTERM and a start": (True, end_and_start),
    "SIGHUP": (False, reload_all),
    "take-over": (False, take_over),
    "off and on": (True, switch),
}
"""Kinds of faults: may traffic pass unread meanwhile, and how it is done."""


def deal(chance: random.Random) -> Iterator[str]:
    """Kinds of faults without an end; each turn has all of them."""
    while True:
        turn = list(KINDS)
        chance.shuffle(turn)
        yield from turn


def do_fault(line: Line, kind: str, pace: Pace, chance: random.Random) -> Fault:
    """Do one, wait until Penstock judges again. Raises Lost."""
    is_gap, act = KINDS[kind]
    begin_s = time.monotonic()
    act(line, pace, chance)
    wait_until_judging(line, kind)
    return Fault(kind, begin_s, time.monotonic(), is_gap)

"""How many events a second the register takes, how large a store is, how fast it is read: `python -m bench.register`.

A million subscribers with an IPv4 address and an IPv6 /56 each, in batches, as they would come by RADIUS. Then sessions at
random are said again, stopped and started. Processor time of the one process; the disk is the one of --directory.
"""

import argparse
import os
import random
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from penstock.control.subscribers.batch import SHARE
from penstock.control.subscribers.model import Assign, Event, Place, Release
from penstock.control.subscribers.place_key import MAPPED, PLACE_DTYPE
from penstock.control.subscribers.register import Register
from penstock.control.subscribers.rules import TOMBSTONE_S
from penstock.control.subscribers.settings_register import ADDRESSES_LIMIT, CAPACITY_LIMIT, RegisterSettings
from penstock.control.subscribers.store import Store

AIM_EVENTS = 20_000  # a second
BATCH = 500
NASES = 200
START_S = 1_700_000_000.0
LEASE_S = 86_400.0


def places_of(number: int) -> tuple[Place, Place]:
    """Where a subscriber is."""
    ipv4 = MAPPED + (0x0A000000 + number).to_bytes(4)
    ipv6 = (0xFD00 << 48 | number << 8).to_bytes(8) + bytes(8)
    return Place(0, ipv4, 128), Place(0, ipv6, 56)


def assign(number: int, turn: int, now_s: float) -> Assign:
    """His Start or Interim-Update in his `turn`-th session."""
    nas = f"bng-{number % NASES}.example.net"
    session = f"{nas}/{turn:04x}{number:08x}"
    name = f"{number:012x}"
    return Assign("radius", session, name, places_of(number), now_s, None, now_s + LEASE_S, nas)


class Load:
    """A register and the sessions that are in it."""

    def __init__(self, directory: Path, subscribers: int) -> None:
        self.path = directory / "subscribers.db"
        self.chance = random.Random(7)
        settings = RegisterSettings(database=self.path, capacity=CAPACITY_LIMIT, addresses=ADDRESSES_LIMIT)
        self.store = Store(self.path)
        self.register = Register(self.store, settings)
        self.now_s = START_S
        self.subscribers = subscribers
        self.turns = np.zeros(subscribers, np.uint16)

    def fill(self) -> Iterator[list[Event]]:
        """Everybody's Start, in no order."""
        order = np.random.default_rng(7).permutation(self.subscribers)
        for start in range(0, self.subscribers, BATCH):
            self.now_s += 0.1
            yield [assign(int(number), 0, self.now_s) for number in order[start : start + BATCH]]

    def renew(self, batches: int) -> Iterator[list[Event]]:
        """Interim-Updates of some, at random."""
        for _ in range(batches):
            self.now_s += 0.1
            yield [assign(number, int(self.turns[number]), self.now_s) for number in self._choose()]

    def change(self, batches: int) -> Iterator[list[Event]]:
        """Stop and Start of another session, at random: two changes each."""
        for _ in range(batches):
            self.now_s += 0.1
            events: list[Event] = []
            for number in self._choose()[: BATCH // 2]:
                old = assign(number, int(self.turns[number]), self.now_s)
                self.turns[number] += 1
                events += [
                    Release("radius", old.session, self.now_s),
                    assign(number, int(self.turns[number]), self.now_s),
                ]
            yield events

    def _choose(self) -> list[int]:
        return [self.chance.randrange(self.subscribers) for _ in range(BATCH)]

    def measure(self, what: str, batches: Iterator[list[Event]]) -> None:
        """Print how fast these are taken. Making them is left out."""
        spent_s = passed_s = longest_s = 0.0
        count = 0
        for events in batches:
            began_s, began_cpu_s = time.perf_counter(), time.process_time()
            self.register.apply(events, self.now_s)
            took_s = time.perf_counter() - began_s
            spent_s, passed_s = spent_s + time.process_time() - began_cpu_s, passed_s + took_s
            longest_s, count = max(longest_s, took_s), count + len(events)
        each_us = spent_s / count * 1e6
        rates = f"{count / spent_s:10,.0f} a processor second{count / passed_s:10,.0f} a second"
        print(f"{what:28}{count:10,} events{each_us:8.1f} µs{rates}, longest batch {longest_s * 1e3:.0f} ms")


def timed(what: str, act: Callable[[], int]) -> None:
    """Print how long something takes."""
    began_s = time.perf_counter()
    count = act()
    print(f"{what:28}{count:10,} rows  {time.perf_counter() - began_s:8.2f} s")


def forget(load: Load) -> int:
    """What Releases left is taken away. Returns how many there were."""
    count, updates = 0, load.register.expire(load.now_s + TOMBSTONE_S + 1)
    while updates.is_more:
        updates, count = load.register.expire(load.now_s + TOMBSTONE_S + 1), count + 1
    return count * SHARE


def read_places(register: Register) -> int:
    """All of them into arrays of their own, as for the kernel's table."""
    count = register.place_count
    places, numbers = np.zeros(count, PLACE_DTYPE), np.zeros(count, np.uint32)
    at = 0
    for some, owners in register.load_places():
        places[at : at + len(some)], numbers[at : at + len(some)] = some, owners
        at += len(some)
    return at


def memory_mb() -> str:
    """Of this process: now, and at most."""
    now = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return f"{now / 1e6:.0f} MB, at most {most / 1e6:.0f} MB"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--subscribers", type=int, default=1_000_000)
    parser.add_argument("--batches", type=int, default=200, help=f"of {BATCH} events for each kind of change")
    parser.add_argument("--directory", type=Path, default=None)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        print(f"before: {memory_mb()}; load {os.getloadavg()[0]:.1f}; aim {AIM_EVENTS:,} events a processor second")
        load = Load(Path(directory), arguments.subscribers)
        load.measure("first Start", load.fill())
        size(load.path)
        load.measure("Interim-Update", load.renew(arguments.batches))
        load.measure("Stop and Start", load.change(arguments.batches))
        size(load.path)
        timed("words of Stops forgotten", lambda: forget(load))
        load.store.close()
        load.store = Store(load.path)
        load.register = Register(load.store, RegisterSettings(capacity=CAPACITY_LIMIT, addresses=ADDRESSES_LIMIT))
        timed("places into arrays", lambda: read_places(load.register))
        timed("lines into arrays", lambda: sum(len(numbers) for _, numbers in load.register.load_lines(time.time())))
        print(f"behind: {memory_mb()}")
        load.store.close()


def size(path: Path) -> None:
    """Print how large the file is."""
    log = path.with_name(path.name + "-wal")
    print(
        f"{'file':28}{path.stat().st_size / 1e6:10,.0f} MB, log {log.stat().st_size / 1e6:.0f} MB; process {memory_mb()}"
    )


if __name__ == "__main__":
    main()

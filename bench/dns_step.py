"""What a whole query costs one core: from the frame to the packet on its way, or the answer.

    frame ─► steer (compiled natively: headers, protection, copy into a ring) ─► step (checksum, questions, judge) ─► out

Each query has a client, a port and a name of its own. What would be sent goes to memory, so that system calls are not in
it, and the events of blocked queries into their ring. Processor time; the kinds and parts in turns.
"""

import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from tests.quic import datagram
from tests.vocabulary import TO_SERVER, Flow

from penstock.compile.memory import put32, put64, shared, u64
from penstock.compile.native import kernel
from penstock.control.events import EventReader
from penstock.control.subscribers.fixed import FixedOwners
from penstock.flow.stream import POOL_NOW_MS
from penstock.kernel import primitives as p
from penstock.kernel import reasons as r
from penstock.kernel import tables as t
from penstock.kernel.steer import steer
from penstock.line.native import NativePath
from penstock.path import layout
from penstock.path.events import EVENT_COUNT
from penstock.path.step import step
from penstock.policy.snapshot import Snapshot

AIM = 300_000
MOST_QUERIES = EVENT_COUNT // 2  # in a round: no event may find its ring full
STRIDE = t.UP_HEAD + t.UP_SMALL
START_NS, MS_SHIFT = 1 << 40, 20
REASONS = {"allowed": r.ALLOWED, "blocked": r.BLOCKED}
FLOWS = 1 << 16  # a record for each query's flow
PARTS = ("step", "steer and step")

_steer = shared(steer)


@shared
def step_all(w, records, count, capture, expected):  # type: ignore[no-untyped-def]
    """Take each ring record to its end. Returns how many ended as expected."""
    done = 0
    for number in range(count):
        put64(capture, 0)
        if step(w, records + number * STRIDE) == expected:
            done += 1
    return done


@shared
def walk_all(w, places, count, capture, expected, context, ring):  # type: ignore[no-untyped-def]
    """Steer each frame and take what goes up to its end. Returns how many ended as expected."""
    done = 0
    for number in range(count):
        start, end = u64(places + 8 * number), u64(places + 8 * number + 8)
        put64(capture, 0)
        put64(ring, 0)
        put32(context, end - start)
        put64(context + p.CONTEXT_DATA, start)
        put64(context + p.CONTEXT_END, end)
        _steer(context)
        if u64(ring) and step(w, ring + 16) == expected:
            done += 1
    return done


class Worker:
    """A path in memory, and the frames and ring records of each kind."""

    def __init__(self, snapshot: Snapshot, owners: FixedOwners, queries: dict[str, list[bytes]]) -> None:
        self.path = NativePath(FLOWS)
        self.path.set_snapshot(snapshot.address, snapshot.names_address)
        owners.fill(self.path.directory)
        self.path.set_pulse(START_NS)
        self.path.worker.set(layout.W_NOW_NS, START_NS)
        self.path.worker.set(layout.W_POOL + POOL_NOW_MS, START_NS >> MS_SHIFT)
        self.events = EventReader(self.path.shared)
        self.run: dict[str, Any] = {"step": kernel(step_all), "steer and step": kernel(walk_all)}
        chance = random.Random(6)
        frames = {kind: [build_frame(chance, query) for query in found] for kind, found in queries.items()}
        self.records = {kind: self._steer_all(found) for kind, found in frames.items()}
        self.content = {kind: np.frombuffer(b"".join(found), np.uint8).copy() for kind, found in frames.items()}
        self.places = {
            kind: np.cumsum([0, *map(len, found)]).astype(np.int64) + self.content[kind].ctypes.data
            for kind, found in frames.items()
        }

    def _steer_all(self, frames: list[bytes]) -> np.ndarray:
        records = np.zeros(len(frames) * STRIDE, np.uint8)
        for number, frame in enumerate(frames):
            self.path.ring[:8] = 0
            self.path.steer(frame, TO_SERVER, START_NS)
            if self.path.ring[0] == 0:
                raise RuntimeError("a query that does not go up")
            records[number * STRIDE : (number + 1) * STRIDE] = self.path.ring[16 : 16 + STRIDE]
        return records

    def measure(self, kind: str, part: str) -> float:
        """Nanoseconds a query. Raises RuntimeError when it did something else than expected."""
        for _ in self.events.read():
            pass
        path, count = self.path, len(self.places[kind]) - 1
        capture, address = int(path.capture.ctypes.data), path.worker.address
        records, places = int(self.records[kind].ctypes.data), int(self.places[kind].ctypes.data)
        arguments = [address, records, count, capture, REASONS[kind]]
        if part != "step":
            arguments[1] = places
            arguments += [int(path.context.ctypes.data), int(path.ring.ctypes.data)]
        began_ns = time.thread_time_ns()  # of the processor: others may use it too
        done = self.run[part](*arguments)
        spent_ns = time.thread_time_ns() - began_ns
        if done != count:
            raise RuntimeError(f"{kind}, {part}: {done} of {count} queries as expected")
        return spent_ns / count


def build_frame(chance: random.Random, query: bytes) -> bytes:
    """A query in a frame of its own client."""
    client = f"10.1.{chance.randrange(256)}.{chance.randrange(256)}"
    flow = Flow(client=client, server="192.0.2.53", client_port=chance.randrange(1024, 65536), server_port=53)
    return datagram(flow, query)


def measure_steps(
    snapshot: Snapshot, owners: FixedOwners, queries: dict[str, list[bytes]], rounds: int, load: Callable[[], str]
) -> None:
    """Print queries a second."""
    found = {kind: some[:MOST_QUERIES] for kind, some in queries.items()}
    worker = Worker(snapshot, owners, found)
    times: dict[tuple[str, str], list[float]] = {(kind, part): [] for kind in found for part in PARTS}
    for number in range(rounds + 1):
        for kind, part in times:
            spent_ns = worker.measure(kind, part)
            if number > 0:
                times[kind, part].append(spent_ns)
    count = min(map(len, found.values()))
    print(f"{rounds} rounds of {count:,} queries, {snapshot.name_count:,} names; load {load()}")
    print(f"{'ns a query':24}{'minimum':>8}{'median':>8}{'a second, by the median':>25}{'aim':>10}")
    for (kind, part), values in times.items():
        median = statistics.median(values)
        print(f"{kind + ', ' + part:24}{min(values):8.0f}{median:8.0f}{1e9 / median:25,.0f}{AIM:10,}")

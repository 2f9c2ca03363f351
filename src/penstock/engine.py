"""The packet process: maps the tables, compiles or loads `serve`, starts the workers, then only waits for orders.

Started by the control process with its standing in JSON as only argument and a socket as standard input, whose end means
stop. A message of it is an order; each is answered by a line on standard output:

    snapshot        map it: it brings the descriptors of a snapshot and its names database      taken N
    start           let the workers serve as soon as nobody else reads these rings              ready
    leave, drain    stop them for another process; `drain`: once the rings are empty            left

A ring has one reader: whose workers serve holds the lock of the tables' directory, and it goes with the process. So a
process that was told to start takes over at the moment in which the one before it leaves. The workers need neither the
interpreter nor its lock while they serve.

It starts with the rights of the control process, opens and compiles what it needs, and has given up all of them before it
maps the first snapshot: what reads packets can open no file and no socket, and belongs to nobody. It can start no thread
either, so that all of them are there from then on, and wait.
"""

import ctypes
import fcntl
import json
import os
import secrets
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from numba import int64

from penstock.compile.native import Kernel, kernel
from penstock.errors import PenstockError
from penstock.flow.bindings import BINDINGS_BYTES
from penstock.kernel import bpf, tables
from penstock.line.inline import RingMemory
from penstock.line.pins import Pins, Size
from penstock.line.privileges import give_up_everything
from penstock.line.system_calls import confine_process
from penstock.path import layout
from penstock.path.memory import AskMemory, SharedMemory, WorkerMemory
from penstock.path.worker import RING_PRODUCER, serve
from penstock.policy.snapshot import Snapshot

REFERENCE_SECRET = 0x2545F4914F6CDD1D  # keeps reference numbers apart from hashes of the same key
MAPPED = (
    tables.flows,
    tables.control,
    tables.pulse,
    tables.path_counters,
    tables.verdict_times,
)
READ = (tables.addresses, tables.subscribers, tables.own_names)  # who reads hostile packets writes nothing of these
STOP_S = 1.0  # for a worker to end its turn
DRAIN_S, DRAINED_S = 0.02, 1.0  # behind the last packet that went up; for rings to become empty
TAKE_S = 5.0  # a worker takes its orders once per batch; longer means that it is dead


class WorkerThread:
    """A thread that serves whenever it is told to, and waits otherwise."""

    def __init__(self, compiled: Kernel, memory: WorkerMemory) -> None:
        self._compiled, self._memory = compiled, memory
        self._may_go, self._is_idle = threading.Event(), threading.Event()
        self._is_idle.set()
        threading.Thread(target=self._run, daemon=True).start()

    def go(self) -> None:
        """Serve until the orders say stop."""
        self._is_idle.clear()
        self._may_go.set()

    def wait(self, limit_s: float | None) -> bool:
        """Wait until it serves no more."""
        return self._is_idle.wait(limit_s)

    def _run(self) -> None:
        while True:
            self._may_go.wait()
            self._may_go.clear()
            self._compiled(self._memory.address)  # enters compiled code and stays there
            self._is_idle.set()


class Engine:
    """The workers of one interface pair."""

    def __init__(self, standing: dict[str, Any]) -> None:
        self.shared = SharedMemory(standing["workers"], standing["shared_fd"])
        self.asks = AskMemory(standing["workers"], standing["asks_fd"])
        self.pins = Pins(standing["ingress"], standing["egress"], Path(standing["root"]))
        size = Size(**standing["size"])
        size.declare()
        self.pins.choose(size)
        self.maps = {}
        for table in (*MAPPED, *READ):
            fd = self.pins.open_table(table.name)
            if fd is None:
                raise SystemExit(f"the table {table.name} is not pinned at {self.pins.tables}")
            table.fd = fd
            self.maps[table.name] = np.frombuffer(bpf.map_memory(table, table in READ), np.uint8)
        self.options = standing["options"]
        self.snapshot: Snapshot | None = None
        self.bindings = np.zeros(BINDINGS_BYTES, np.uint8)  # what one worker learns of a client, all know
        self.token_key = secrets.token_bytes(32)
        self.wire_fds = standing["wire_fds"]
        self.workers = [self._make_worker(number) for number in range(standing["workers"])]
        self.threads: list[WorkerThread] = []
        self.is_serving = False
        self.lock = os.open(self.pins.tables, os.O_RDONLY | os.O_DIRECTORY)
        self._may_start = threading.Event()

    def _address(self, name: str) -> int:
        return int(self.maps[name].ctypes.data)

    def _make_worker(self, number: int) -> WorkerMemory:
        ring_fd = self.pins.open_table(f"ring_{number}")
        if ring_fd is None:
            raise SystemExit(f"ring {number} is not pinned")
        ring = RingMemory(ring_fd)
        counters = self._address("path_counters") + number * tables.COUNTER_BYTES
        times = self._address("verdict_times") + number * tables.HISTOGRAM_BYTES
        memory = WorkerMemory(
            self._address("flows"),
            self._address("control"),
            counters,
            times,
            self.shared.block(number),
            self.bindings,
            self.token_key,
        )
        memory.set(layout.W_RING, ring.address)
        memory.set(layout.W_RING_FD, ring.fd)
        memory.set(layout.W_RING_MASK, tables.RING_BYTES - 1)
        memory.set(layout.W_PULSE, self._address("pulse") + number * tables.PULSE_BYTES)
        memory.set(layout.W_CLIENT_FD, self.wire_fds[0])
        memory.set(layout.W_SERVER_FD, self.wire_fds[1])
        memory.set(layout.W_BUCKET_MASK, tables.flows.entries - 1)
        memory.set_directory(*(self.maps[name] for name in ("addresses", "subscribers", "own_names")))
        # A repeated answer shows the reference number of its first event, whoever sends it.
        key = int(self.maps["control"][tables.CONTROL_HASH_KEY : tables.CONTROL_HASH_KEY + 8].view(np.int64)[0])
        memory.set(layout.W_SECRET, key ^ REFERENCE_SECRET)
        memory.set(layout.W_OPTIONS, self.options)
        memory.set_asks(self.asks, number)
        orders = self.shared.orders(number)
        orders[layout.ORDER_STOP // 8] = 0
        orders[layout.ORDER_TAKEN // 8] = -1
        return memory

    def take(self, descriptors: list[int]) -> None:
        """Map a snapshot and have every worker take it, then unmap the one before."""
        number, names = descriptors
        snapshot, old = Snapshot.open(Path("snapshot"), (number, names)), self.snapshot
        for number in range(self.shared.workers):
            orders = self.shared.orders(number)
            orders[layout.ORDER_SNAPSHOT // 8] = snapshot.address
            orders[layout.ORDER_NAMES // 8] = snapshot.names_address
            orders[layout.ORDER_GENERATION // 8] = snapshot.generation
        self.snapshot = snapshot
        end = time.monotonic() + TAKE_S
        while self.is_serving and time.monotonic() < end:
            taken = [int(self.shared.orders(n)[layout.ORDER_TAKEN // 8]) for n in range(self.shared.workers)]
            if all(generation == snapshot.generation for generation in taken):
                break
            time.sleep(0.001)
        if old is not None:
            old.close()

    def start_threads(self, compiled: Kernel) -> None:
        """Start every thread that there will be: each waits for its turn."""
        self.threads = [WorkerThread(compiled, memory) for memory in self.workers]
        threading.Thread(target=self._serve, daemon=True).start()

    def start(self) -> None:
        """Have the workers serve as soon as nobody else reads the rings; says `ready` then."""
        self._may_start.set()

    def _serve(self) -> None:
        """Wait for the word and for the lock: the first thread goes on to hear orders, their end above all."""
        while True:
            self._may_start.wait()
            self._may_start.clear()
            fcntl.flock(self.lock, fcntl.LOCK_EX)
            for thread in self.threads:
                thread.wait(None)  # a worker that was told to stop, and did not in time
            self.is_serving, begin_ns = True, time.clock_gettime_ns(time.CLOCK_MONOTONIC)
            for number, thread in enumerate(self.threads):
                self.shared.orders(number)[layout.ORDER_STOP // 8] = 0
                thread.go()
            while min(map(self._read_pulse_ns, range(len(self.threads)))) < begin_ns:
                time.sleep(0.0005)  # before its first turn a worker counts as dead, and packets would pass unread
            print("ready", flush=True)

    def _read_pulse_ns(self, number: int) -> int:
        at = number * tables.PULSE_BYTES + tables.PULSE_TIME_NS
        return int(self.maps["pulse"][at : at + 8].view(np.int64)[0])

    def stop(self, order: int = layout.STOP) -> None:
        """Stop the workers in order, and let others read the rings."""
        for number in range(self.shared.workers):
            self.shared.orders(number)[layout.ORDER_STOP // 8] = order
        self.is_serving = False
        if all([thread.wait(STOP_S) for thread in self.threads]):
            fcntl.flock(self.lock, fcntl.LOCK_UN)  # else it goes with this process

    def leave(self, drain: bool) -> None:
        """Stop for another process: one that goes on with these rings, or (`drain`) has others by now."""
        end = time.monotonic() + DRAINED_S
        if drain:
            time.sleep(DRAIN_S)
            while time.monotonic() < end and not all(_is_empty(memory) for memory in self.workers):
                time.sleep(0.001)
        self.stop(layout.HAND_ON)


def compile_path() -> Kernel:
    """Compile the path, or load it from the cache."""
    compiled = kernel(serve)
    compiled.compile((int64,))
    return compiled


def _is_empty(memory: WorkerMemory) -> bool:
    """Has the worker taken everything that is in its ring?"""
    ring = memory.word(layout.W_RING)
    taken, written = (ctypes.c_uint64.from_address(at).value for at in (ring, ring + RING_PRODUCER))
    return taken == written


def receive_order(orders: socket.socket) -> tuple[str, list[int]] | None:
    """Wait for an order: its word, and the descriptors that it brings. None: stop."""
    message, descriptors, _, _ = socket.recv_fds(orders, 64, 2)
    return (message.decode(), descriptors) if message else None


def main() -> int:
    """Run until standard input ends."""
    try:
        return run_engine()
    except PenstockError as error:
        print(f"penstock: the packet process: {error}", file=sys.stderr)
        return 1


def run_engine() -> int:
    """Open, compile, give up all rights, then serve."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the control process decides; its end closes our input
    engine = Engine(json.loads(sys.argv[1]))
    compiled = compile_path()
    give_up_everything()
    orders = socket.socket(fileno=sys.stdin.fileno())
    engine.start_threads(compiled)
    confine_process()
    while (order := receive_order(orders)) is not None:
        word, descriptors = order
        if word == "start":
            engine.start()
        elif word in ("leave", "drain"):
            engine.leave(word == "drain")
            print("left", flush=True)
        else:
            engine.take(descriptors)
            print(f"taken {engine.snapshot.generation if engine.snapshot else 0}", flush=True)
    engine.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())

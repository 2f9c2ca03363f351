"""The packet process: maps the tables, compiles or loads `serve`, starts the workers, then only waits for orders.

Started by the control process with its standing in JSON as only argument and a socket as standard input: each message
brings the descriptors of a snapshot and its names database to map, and the end means stop. It answers on standard output:
`ready`, and `taken N` for each snapshot. The workers need neither the interpreter nor its lock once they run.

It starts with the rights of the control process, opens and compiles what it needs, and has given up all of them before it
maps the first snapshot: what reads packets can open no file and no socket, and belongs to nobody.
"""

import json
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from numba import int64

from penstock.compile.native import kernel
from penstock.errors import PenstockError
from penstock.flow.bindings import BINDINGS_BYTES
from penstock.kernel import bpf, tables
from penstock.line.inline import RingMemory
from penstock.line.pins import Pins
from penstock.line.privileges import give_up_everything
from penstock.line.system_calls import confine_process
from penstock.path import layout
from penstock.path.memory import SharedMemory, WorkerMemory
from penstock.path.worker import serve
from penstock.policy.snapshot import Snapshot

REFERENCE_SECRET = 0x2545F4914F6CDD1D  # keeps reference numbers apart from hashes of the same key
MAPPED = (
    tables.flows,
    tables.control,
    tables.pulse,
    tables.path_counters,
    tables.verdict_times,
)
TAKE_S = 5.0  # a worker takes its orders once per batch; longer means that it is dead


class Engine:
    """The workers of one interface pair."""

    def __init__(self, standing: dict[str, Any]) -> None:
        self.shared = SharedMemory(standing["workers"], standing["shared_fd"])
        self.pins = Pins(standing["ingress"], standing["egress"], Path(standing["root"]))
        tables.flows.entries = standing["capacity"] // tables.WAYS
        self.maps = {}
        for table in MAPPED:
            fd = self.pins.open_table(table.name)
            if fd is None:
                raise SystemExit(f"the table {table.name} is not pinned at {self.pins.tables}")
            table.fd = fd
            self.maps[table.name] = np.frombuffer(bpf.map_memory(table), np.uint8)
        self.options = standing["options"]
        self.snapshot: Snapshot | None = None
        self.bindings = np.zeros(BINDINGS_BYTES, np.uint8)  # what one worker learns of a client, all know
        self.wire_fds = standing["wire_fds"]
        self.workers = [self._make_worker(number) for number in range(standing["workers"])]
        self.threads: list[threading.Thread] = []
        self.compiled = kernel(serve)

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
        )
        memory.set(layout.W_RING, ring.address)
        memory.set(layout.W_RING_FD, ring.fd)
        memory.set(layout.W_RING_MASK, tables.RING_BYTES - 1)
        memory.set(layout.W_PULSE, self._address("pulse") + number * tables.PULSE_BYTES)
        memory.set(layout.W_CLIENT_FD, self.wire_fds[0])
        memory.set(layout.W_SERVER_FD, self.wire_fds[1])
        memory.set(layout.W_BUCKET_MASK, tables.flows.entries - 1)
        # A repeated answer shows the reference number of its first event, whoever sends it.
        key = int(self.maps["control"][tables.CONTROL_HASH_KEY : tables.CONTROL_HASH_KEY + 8].view(np.int64)[0])
        memory.set(layout.W_SECRET, key ^ REFERENCE_SECRET)
        memory.set(layout.W_OPTIONS, self.options)
        orders = self.shared.orders(number)
        orders[layout.ORDER_STOP // 8] = 0
        orders[layout.ORDER_TAKEN // 8] = -1
        return memory

    def take(self, descriptors: tuple[int, int]) -> None:
        """Map a snapshot and have every worker take it, then unmap the one before."""
        snapshot, old = Snapshot.open(Path("snapshot"), descriptors), self.snapshot
        for number in range(self.shared.workers):
            orders = self.shared.orders(number)
            orders[layout.ORDER_SNAPSHOT // 8] = snapshot.address
            orders[layout.ORDER_NAMES // 8] = snapshot.names_address
            orders[layout.ORDER_GENERATION // 8] = snapshot.generation
        self.snapshot = snapshot
        end = time.monotonic() + TAKE_S
        while self.threads and time.monotonic() < end:
            taken = [int(self.shared.orders(n)[layout.ORDER_TAKEN // 8]) for n in range(self.shared.workers)]
            if all(generation == snapshot.generation for generation in taken):
                break
            time.sleep(0.001)
        if old is not None:
            old.close()

    def prepare(self) -> None:
        """Compile the path, or load it from the cache: later nothing can be opened."""
        self.compiled.compile((int64,))

    def start(self) -> None:
        """Start the workers: each enters compiled code and stays there."""
        for memory in self.workers:
            thread = threading.Thread(target=self.compiled, args=(memory.address,), daemon=True)
            thread.start()
            self.threads.append(thread)

    def stop(self) -> None:
        """Stop the workers in order."""
        for number in range(self.shared.workers):
            self.shared.orders(number)[layout.ORDER_STOP // 8] = 1
        for thread in self.threads:
            thread.join(1.0)


def receive_order(orders: socket.socket) -> tuple[int, int] | None:
    """Wait for a snapshot: its descriptor and that of its names database. None: stop."""
    message, descriptors, _, _ = socket.recv_fds(orders, 64, 2)
    return (descriptors[0], descriptors[1]) if message else None


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
    engine.prepare()
    give_up_everything()
    orders = socket.socket(fileno=sys.stdin.fileno())
    first = receive_order(orders)
    if first is None:
        return 0
    engine.take(first)
    engine.start()
    confine_process()
    print("ready", flush=True)
    while (order := receive_order(orders)) is not None:
        engine.take(order)
        print(f"taken {engine.snapshot.generation if engine.snapshot else 0}", flush=True)
    engine.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The same path without a kernel: `steer` compiled natively, tables in plain memory, no wire.

For replay, for the parity tests and for the models: a frame goes in, and its steer reason, its path reason and the frames
that would have been sent come out.
"""

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from penstock.compile.memory import CHECKED, allow
from penstock.compile.native import kernel
from penstock.flow.connection import RETAIN_MS
from penstock.flow.stream import POOL_NOW_MS
from penstock.kernel import primitives as p
from penstock.kernel import tables as t
from penstock.kernel.declared import Constant
from penstock.kernel.reasons import UP_FIRST
from penstock.kernel.steer import TCX_DROP, steer
from penstock.line.directory import Directory
from penstock.line.own_names import OwnNames
from penstock.path import layout
from penstock.path.layout import HELD
from penstock.path.memory import AskMemory, SharedMemory, WorkerMemory
from penstock.path.replays import serve_asks
from penstock.path.step import expire_held, step

FRAME_ROOM = 1 << 17
CAPTURE_ROOM = 1 << 21
HASH_KEY = 0x5DEECE66D  # the same flows in the same buckets, run after run
ETHERNET_LONGEST = t.UP_LARGE

_steer = kernel(steer)
_step = kernel(step)
_expire = kernel(expire_held)
_serve_asks = kernel(serve_asks)


class Outcome(NamedTuple):
    """What became of one frame."""

    reason: int
    """The steer reason; its range is the kernel's verdict."""
    path_reason: int | None
    """The path reason of a packet that went up."""
    sent: list[tuple[bool, bytes]]
    """Frames sent by the process: (towards the server?, bytes)."""
    is_forwarded: bool
    """The kernel forwarded the frame itself."""


class NativePath:
    """One interface pair in memory. Times are the caller's, in nanoseconds."""

    def __init__(
        self,
        capacity: int = 4096,
        options: int = 0,
        *,
        stream_count: int = 256,
        large_count: int = 8,
        subscribers: int = 1 << 10,
    ) -> None:
        self._kept: list[Any] = []
        buckets = capacity // t.WAYS
        self.flows = self._room(buckets * t.BUCKET_BYTES)
        self.control = self._room(t.CONTROL_BYTES)
        self.pulse = self._room(t.PULSE_BYTES * t.RINGS_BOUND)
        self.counters = self._room(t.COUNTER_BYTES * t.COUNTER_CPUS)
        self.path_counters = self._room(t.COUNTER_BYTES)
        self.times = self._room(t.HISTOGRAM_BYTES)
        self.scratch = self._room(128 * t.COUNTER_CPUS)
        self.addresses = self._room(subscribers * t.ADDRESS_BUCKET_BYTES)
        self.subscribers = self._room(subscribers * t.SUBSCRIBER_BYTES)
        self.own_table = self._room(8 * subscribers)
        self.handshakes = self._room(t.HANDSHAKE_BYTES * t.HANDSHAKE_COUNT)
        self.health = self._room(t.HEALTH_BYTES * 2 * t.COUNTER_CPUS)
        self.ring = self._room(16 + t.UP_HEAD + t.UP_LARGE)
        self.frame = self._room(FRAME_ROOM)
        self.context = self._room(p.CONTEXT_BYTES)
        self.bindings = self._room(8 * p.BINDING_WORDS).view(np.int64)
        for table, room in (
            (t.flows, self.flows), (t.control, self.control), (t.pulse, self.pulse), (t.counters, self.counters),
            (t.scratch, self.scratch), (t.addresses, self.addresses), (t.subscribers, self.subscribers),
            (t.rings, self.ring), (t.handshakes, self.handshakes), (t.health, self.health),
        ):  # fmt: skip
            self.bindings[table.number] = room.ctypes.data
        self._bind(t.bucket_mask, buckets - 1)
        self._bind(t.ring_mask, 0)
        self._bind(t.peer_ifindex, 1)
        self._bind(t.hash_key, HASH_KEY)
        self._bind(t.address_mask, subscribers - 1)
        self._bind(t.subscriber_mask, subscribers - 1)
        struct.pack_into("<Q", self.control, t.CONTROL_HASH_KEY, HASH_KEY)
        self.control[t.CONTROL_PORTS : t.CONTROL_SCOPES] = 255
        self.directory = Directory(self.control, self.addresses, self.subscribers)
        self.own_names = OwnNames(self.own_table, HASH_KEY)
        self.set_epoch(1)
        self.shared = SharedMemory(1)
        self.worker = WorkerMemory(
            int(self.flows.ctypes.data), int(self.control.ctypes.data),
            int(self.path_counters.ctypes.data),
            int(self.times.ctypes.data),
            self.shared.block(0),
            stream_count=stream_count, large_count=large_count,
        )  # fmt: skip
        if CHECKED:
            allow(self.shared.address, self.shared.address + len(self.shared.bytes))
        self.capture = self._room(CAPTURE_ROOM)
        self.worker.set(layout.W_CAPTURE, int(self.capture.ctypes.data))
        self.worker.set(layout.W_OPTIONS, options)
        self.worker.set(layout.W_BUCKET_MASK, buckets - 1)
        self.worker.set_directory(self.addresses, self.subscribers, self.own_table)
        self.worker.set(layout.W_EPOCH, 1)  # it has read for long
        self.worker.set(layout.W_EPOCH_MS, -RETAIN_MS)

    def _room(self, size: int) -> Any:
        room = np.zeros(size, np.uint8)
        self._kept.append(room)
        if CHECKED:
            allow(int(room.ctypes.data), int(room.ctypes.data) + size)
        return room

    def _bind(self, constant: Constant, value: int) -> None:
        self.bindings[p.MAPS_BOUND + constant.number] = value

    def set_epoch(self, epoch: int) -> None:
        """The switch: odd is on; another epoch means that bytes passed unread."""
        struct.pack_into("<Q", self.control, t.CONTROL_EPOCH, epoch)

    def set_snapshot(self, snapshot_address: int, names_address: int) -> None:
        """The policy by which the path judges."""
        self.worker.set(layout.W_SNAPSHOT, snapshot_address)
        self.worker.set(layout.W_NAMES, names_address)

    def set_pulse(self, time_ns: int) -> None:
        """The worker's last sign of life."""
        for ring in range(t.RINGS_BOUND):
            struct.pack_into("<Q", self.pulse, ring * t.PULSE_BYTES + t.PULSE_TIME_NS, time_ns)

    def steer(self, frame: bytes, from_client: bool, time_ns: int, gso_size: int = 0) -> int:
        """Run `steer` on a frame; what it returns to the kernel. The frame may have been rewritten in `self.frame`."""
        size = len(frame)
        self.frame[:size] = np.frombuffer(frame, np.uint8)
        context = self.context
        struct.pack_into("<I", context, 0, size)
        struct.pack_into("<I", context, 176, gso_size)
        start = int(self.frame.ctypes.data)
        struct.pack_into("<QQQ", context, p.CONTEXT_DATA, start, start + size, int(self.bindings.ctypes.data))
        self._bind(t.from_client, 1 if from_client else 0)
        self.bindings[p.BINDING_TIME] = time_ns
        return int(_steer(int(context.ctypes.data)))

    def step(self) -> int | None:
        """Take the record that `steer` sent up, if any; its path reason."""
        if self.ring[0] == 0:
            return None
        self.ring[:8] = 0
        reason = int(_step(self.worker.address, int(self.ring.ctypes.data) + 16))
        if reason != HELD:
            self.path_counters.view(np.int64)[reason] += 1
        return reason

    def take(self, frame: bytes, from_client: bool, time_ns: int, gso_size: int = 0) -> Outcome:
        """One frame through both halves, the worker being alive."""
        self.set_pulse(time_ns)
        self.worker.set(layout.W_NOW_NS, time_ns)
        self.worker.set(layout.W_POOL + POOL_NOW_MS, time_ns >> 20)
        _expire(self.worker.address, time_ns)
        before = self._kernel_counts()
        verdict = self.steer(frame, from_client, time_ns, gso_size)
        reason = int(np.flatnonzero(self._kernel_counts()[:127] != before[:127])[0])
        self.capture[:8] = 0
        path_reason = self.step()
        if reason < UP_FIRST and path_reason is not None:
            path_reason = None  # only a peek went up: the packet itself was forwarded
        return Outcome(reason, path_reason, list(self._sent()), verdict != TCX_DROP)

    def connect_hooks(self) -> AskMemory:
        """Have requests ask hooks, through these rings."""
        memory = AskMemory(1)
        if CHECKED:
            allow(memory.address, memory.address + len(memory.bytes))
        self.worker.set_asks(memory, 0)
        return memory

    def serve_asks(self, time_ns: int) -> list[tuple[bool, bytes]]:
        """Take what hooks answered, and end budgets that are over by then: what the process sent because of it."""
        self.set_pulse(time_ns)
        self.worker.set(layout.W_NOW_NS, time_ns)
        self.worker.set(layout.W_POOL + POOL_NOW_MS, time_ns >> 20)
        self.capture[:8] = 0
        _serve_asks(self.worker.address)
        return list(self._sent())

    def _kernel_counts(self) -> Any:
        return self.counters[: t.COUNTER_BYTES].view(np.int64).copy()

    def _sent(self) -> Iterator[tuple[bool, bytes]]:
        at, end = 8, 8 + int(self.capture[:8].view(np.int64)[0])
        while at < end:
            to_server, size = struct.unpack_from("<QQ", self.capture, at)
            yield bool(to_server), self.capture[at + 16 : at + 16 + size].tobytes()
            at += 16 + (size + 7 & ~7)

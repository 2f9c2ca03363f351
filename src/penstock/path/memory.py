"""The memory that a worker needs, laid out once before it starts. Ordinary Python; nothing here runs afterwards.

`SharedMemory` is what the control process reads too: orders, events and samples, one block per worker.
"""

import mmap
import os
import secrets
from typing import Any

import numpy as np

from penstock.compile.memory import CHECKED, allow
from penstock.flow import connection, stream
from penstock.flow.bindings import BINDINGS_BYTES
from penstock.kernel.tables import ADDRESS_BUCKET_BYTES, KEY_BYTES, SUBSCRIBER_BYTES
from penstock.path import layout
from penstock.path.ask_rings import ANSWERS_BYTES, ASKS_BYTES, ASKS_UNASKED
from penstock.path.asks import A_TAKEN, ASKS_ROOM_BYTES
from penstock.path.events import EVENTS_BYTES, RING_WRITTEN
from penstock.path.fragments import FRAGMENTS_BYTES
from penstock.path.holds import HOLDS_BYTES
from penstock.path.overrides import OVERRIDES_BYTES, prepare_overrides
from penstock.path.refusal import FILLS_BYTES
from penstock.path.sample import SAMPLES_BYTES
from penstock.policy.own_names import WORD_BYTES
from penstock.policy.urls import SCRATCH_BYTES
from penstock.request.initial import CIPHER_BYTES, prepare_cipher
from penstock.wire.headers import VIEW_BYTES

PAGE_BYTES = 4096
ORDERS_OFF, EVENTS_OFF = 0, 4096
SAMPLES_OFF = (EVENTS_OFF + EVENTS_BYTES + PAGE_BYTES - 1) // PAGE_BYTES * PAGE_BYTES
BLOCK_BYTES = (SAMPLES_OFF + SAMPLES_BYTES + PAGE_BYTES - 1) // PAGE_BYTES * PAGE_BYTES


class SharedMemory:
    """Memory of `workers` blocks that two processes map; `fd` is handed from one to the other."""

    def __init__(self, workers: int, fd: int | None = None) -> None:
        self.workers = workers
        if fd is None:
            fd = os.memfd_create("penstock", os.MFD_CLOEXEC)
            os.truncate(fd, workers * BLOCK_BYTES)
        self.fd = fd
        self._map = mmap.mmap(fd, workers * BLOCK_BYTES)
        self.bytes = np.frombuffer(self._map, np.uint8)
        self.address = int(self.bytes.ctypes.data)

    def block(self, worker: int) -> int:
        """The address of a worker's block in this process."""
        return self.address + worker * BLOCK_BYTES

    def words(self, worker: int, offset: int, count: int) -> Any:
        """`count` 64-bit words at an offset of a worker's block."""
        start = worker * BLOCK_BYTES + offset
        return self.bytes[start : start + 8 * count].view(np.int64)

    def orders(self, worker: int) -> Any:
        """The worker's orders as words (layout.ORDER_* / 8)."""
        return self.words(worker, ORDERS_OFF, layout.ORDER_BYTES // 8)


ANSWERS_OFF = (ASKS_BYTES + PAGE_BYTES - 1) // PAGE_BYTES * PAGE_BYTES
ASK_BLOCK_BYTES = (ANSWERS_OFF + ANSWERS_BYTES + PAGE_BYTES - 1) // PAGE_BYTES * PAGE_BYTES


class AskMemory:
    """The rings of asks and answers of all workers, which the hook process maps too: nothing else is in it."""

    def __init__(self, workers: int, fd: int | None = None) -> None:
        self.workers = workers
        if fd is None:
            fd = os.memfd_create("penstock-asks", os.MFD_CLOEXEC)
            os.truncate(fd, workers * ASK_BLOCK_BYTES)
        self.fd = fd
        self._map = mmap.mmap(fd, workers * ASK_BLOCK_BYTES)
        self.bytes = np.frombuffer(self._map, np.uint8)
        self.address = int(self.bytes.ctypes.data)

    def rings(self, worker: int) -> tuple[int, int]:
        """The addresses of a worker's rings in this process: asks, answers."""
        asks = self.address + worker * ASK_BLOCK_BYTES
        return asks, asks + ANSWERS_OFF

    def count_unasked(self) -> int:
        """Requests that hooks should have been asked about, and that could not wait."""
        starts = (worker * ASK_BLOCK_BYTES + ASKS_UNASKED for worker in range(self.workers))
        return sum(int(self.bytes[start : start + 8].view(np.int64)[0]) for start in starts)

    def places(self) -> dict[str, dict[str, int]]:
        """Where the rings are, for another process."""
        common = {"fd": self.fd, "workers": self.workers, "stride": ASK_BLOCK_BYTES}
        return {"asks": common | {"offset": 0}, "answers": common | {"offset": ANSWERS_OFF}}


class WorkerMemory:
    """One worker's block and everything that it points to; `address` is what `serve` and `step` get."""

    def __init__(
        self,
        flows_address: int,
        control_address: int,
        counters_address: int,
        times_address: int,
        block: int,
        bindings: Any = None,
        token_key: bytes | None = None,
        *,
        stream_count: int = stream.STREAM_COUNT,
        large_count: int = stream.LARGE_COUNT,
    ) -> None:
        self._kept: list[Any] = []
        self.block = self._room(layout.WORKER_BYTES).view(np.int64)
        self.address = int(self.block.ctypes.data)
        self.set(layout.W_CONTROL, control_address)
        self.set(layout.W_ORDERS, block + ORDERS_OFF)
        self.set(layout.W_COUNTERS, counters_address)
        self.set(layout.W_HISTOGRAM, times_address)
        self.set(layout.W_EVENTS, block + EVENTS_OFF)
        self.set(layout.W_SAMPLES, block + SAMPLES_OFF)
        self.set(layout.W_HELLO, self._place(stream.LARGE_BYTES))
        self.set(layout.W_FRAME, self._place(layout.FRAME_BYTES))
        self.set(layout.W_ANSWER, self._place(layout.ANSWER_BYTES))
        self.set(layout.W_MESSAGE, self._place(layout.MESSAGE_BYTES))
        self.set(layout.W_SIGHT, self._place(layout.SIGHT_BYTES))
        self.set(layout.W_VIEW, self._place(VIEW_BYTES + KEY_BYTES))
        self.set(layout.W_FRAGMENTS, self._place(FRAGMENTS_BYTES))
        self.set(layout.W_SECRET, secrets.randbits(62))
        self.set(layout.W_CLIENT_FD, layout.NO_WIRE_CLIENT)
        self.set(layout.W_SERVER_FD, layout.NO_WIRE_SERVER)
        self.set(layout.W_PLAIN, self._place(layout.PLAIN_BYTES))
        self.set(layout.W_PACKET, self._place(layout.Q_BYTES))
        self.set(layout.W_HOLDS, self._place(HOLDS_BYTES))
        self.set(layout.W_DNS, self._place(layout.D_BYTES))
        self.set(layout.W_URLS, self._place(SCRATCH_BYTES))
        self.set(layout.W_OVERRIDES, self._place(OVERRIDES_BYTES))
        prepare_overrides(self.word(layout.W_OVERRIDES), token_key or secrets.token_bytes(32))
        self.set(layout.W_FILLS, self._place(FILLS_BYTES))
        self.set(layout.W_ASKS, self._place(ASKS_ROOM_BYTES))
        self.set(layout.W_INBOUND, self._place(16 * layout.INBOUND_COUNT))
        self.set(layout.W_CIPHER, self._place(CIPHER_BYTES))
        prepare_cipher(self.word(layout.W_CIPHER))
        shared_bindings = bindings if bindings is not None else self._room(BINDINGS_BYTES)
        self._kept.append(shared_bindings)
        self.set(layout.W_BINDINGS, int(shared_bindings.ctypes.data))
        self._make_pool(flows_address, stream_count, large_count)
        self._make_connections()

    def _room(self, size: int) -> Any:
        room = np.zeros(size, np.uint8)
        self._kept.append(room)
        if CHECKED:
            allow(int(room.ctypes.data), int(room.ctypes.data) + size)
        return room

    def _place(self, size: int) -> int:
        return int(self._room(size).ctypes.data)

    def _make_pool(self, flows_address: int, stream_count: int, large_count: int) -> None:
        pool = layout.W_POOL
        self.set(pool + stream.POOL_FLOWS, flows_address)
        self.set(pool + stream.POOL_STREAMS, self._place(stream_count * stream.STREAM_BYTES))
        self.set(pool + stream.POOL_STREAM_COUNT, stream_count)
        self.set(pool + stream.POOL_QUEUE, self._place(8 * stream_count))
        self.set(pool + stream.POOL_SHARES, self._place(stream.SHARE_COUNT * stream.SHARE_BYTES))
        self.set(pool + stream.POOL_LARGE, self._place(large_count * stream.LARGE_BYTES))
        for count, where, number in (
            (stream_count, stream.POOL_FREE, stream.POOL_FREE_COUNT),
            (large_count, stream.POOL_LARGE_FREE, stream.POOL_LARGE_FREE_COUNT),
        ):
            free = self._room(8 * count).view(np.int64)
            free[:] = np.arange(count)[::-1]
            self.set(pool + where, int(free.ctypes.data))
            self.set(pool + number, count)

    def _make_connections(self) -> None:
        connections = self._room(connection.CONNECTIONS_BYTES).view(np.int64)
        self.set(layout.W_CONNECTIONS, int(connections.ctypes.data))
        for where, size in (
            (connection.HEADS, 8 * connection.HEAD_COUNT),
            (connection.ENTRIES, connection.CONNECTION_COUNT * connection.ENTRY_BYTES),
            (connection.STORES, connection.STORE_COUNT * connection.STORE_BYTES),
            (connection.LARGES, connection.LARGE_COUNT * connection.LARGE_STRIDE),
            (connection.SHARES, connection.SHARE_COUNT * connection.SHARE_BYTES),
        ):
            connections[where // 8] = self._place(size)
        connections[connection.SECRET // 8] = secrets.randbits(62)

    def set_directory(self, addresses: Any, subscribers: Any, own_names: Any) -> None:
        """The tables that say who is where and what holds for him (kernel.owners, policy.own_names), as arrays of bytes."""
        self.set(layout.W_ADDRESSES, int(addresses.ctypes.data))
        self.set(layout.W_ADDRESS_MASK, len(addresses) // ADDRESS_BUCKET_BYTES - 1)
        self.set(layout.W_SUBSCRIBERS, int(subscribers.ctypes.data))
        self.set(layout.W_SUBSCRIBER_MASK, len(subscribers) // SUBSCRIBER_BYTES - 1)
        self.set(layout.W_OWN_NAMES, int(own_names.ctypes.data))
        self.set(layout.W_OWN_NAMES_MASK, len(own_names) // WORD_BYTES - 1)

    def set_asks(self, memory: AskMemory, worker: int) -> None:
        """The rings to the hook process and back; what was answered before was answered to another worker."""
        asks, answers = memory.rings(worker)
        self.set(layout.W_ASK_RING, asks)
        self.set(layout.W_ANSWER_RING, answers)
        start = answers - memory.address + RING_WRITTEN
        self.room(layout.W_ASKS)[A_TAKEN // 8] = memory.bytes[start : start + 8].view(np.int64)[0]

    def room(self, offset: int) -> Any:
        """The room that a word of the block points to, as words."""
        address = self.word(offset)
        return next(room for room in self._kept if int(room.ctypes.data) == address).view(np.int64)

    def set(self, offset: int, value: int) -> None:
        """Store a word of the block."""
        self.block[offset // 8] = value

    def word(self, offset: int) -> int:
        """A word of the block."""
        return int(self.block[offset // 8])

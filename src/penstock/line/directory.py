"""The writer of the two tables that say who is where and what holds for him: `kernel.owners` reads them.

    addresses    place -> number        one word each, written at once
    subscribers  number -> line         services, switches, flags, budget

One process writes. A place is looked up from the moment its word stands there; a number's line is to be set before its
first place is put. It knows neither sources nor names of subscribers, nor what a service does.
"""

import mmap
import os
import time
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from penstock.compile.memory import CHECKED, INT, allow, forbid
from penstock.compile.native import kernel
from penstock.errors import PenstockError
from penstock.kernel import bpf, ending, owners
from penstock.kernel import tables as t
from penstock.kernel.sweep import sweep_flows
from penstock.line.pins import open_own_table
from penstock.policy.layout import profile_tag

PLACE_DTYPE = np.dtype([("scope", "<u4"), ("bits", "u1"), ("port_bits", "u1"), ("port", "<u2"), ("address", "V16")])
LINE_DTYPE = np.dtype(
    [
        ("number", "<u4"),
        ("profile", "<u4"),
        ("services", "<u8"),
        ("switches", "<u4"),
        ("interval_ns", "<u4"),
        ("flags", "<u4"),
    ]
)
MAPPED_DTYPE = np.dtype(
    [
        ("client_ns", "<i8"),
        ("server_ns", "<i8"),
        ("interval_ns", "<u4"),
        ("refused", "<u4"),
        ("profile", "<u4"),
        ("flags", "<u4"),
        ("services", "<u8"),
        ("switches", "<u4"),
        ("unused", "V20"),
    ]
)
SECOND_NS = 1_000_000_000
SWEEP_BUCKETS = 1 << 14
ENDED_LIMIT = 1 << 18  # connections that end in one walk; in 4 MB
QUIET_S = 0.01  # longer than anybody looks at a bank of shapes

Shape = tuple[int, int]
"""Bits of the address, bits of the port."""
Places = NDArray[Any]
Ended = NDArray[np.int64]
"""Connections that were ended: kernel.ending."""
Numbers = NDArray[np.uint32] | Sequence[int]


class DirectoryError(PenstockError):
    """The tables cannot hold what they are told; the text says why."""


class Held(NamedTuple):
    """What holds for a subscriber: the services that are on, and what goes with them. Without anything of it nobody reads
    what he asks for."""

    services: int = 0
    switches: int = 0
    """policy.switches."""
    fails_closed: bool = False
    packets_per_s: int | None = None
    is_paused: bool = False
    has_names: bool = False
    """Has he a list of his own (`line.own_names`)?"""
    is_read: bool = False
    """Is what he asks for read whatever he chose: for what holds for everybody, or to be told?"""


def pack_line(number: int, profile: str | None, held: Held) -> tuple[int, int, int, int, int, int]:
    """What holds for a subscriber, as a row of LINE_DTYPE. `profile`: by whose name others know his choices."""
    is_protected = held.services | held.switches or held.is_paused or held.has_names or held.is_read
    flags = t.SUBSCRIBER_PROTECTED if is_protected else 0
    flags |= t.SUBSCRIBER_CLOSED if held.fails_closed else 0
    flags |= t.SUBSCRIBER_PAUSED if held.is_paused else 0
    flags |= t.SUBSCRIBER_NAMES if held.has_names else 0
    interval_ns = max(SECOND_NS // held.packets_per_s, 1) if held.packets_per_s else 0
    tag = profile_tag(profile) if profile is not None else 0
    return number, tag, held.services, held.switches, interval_ns, flags


def pack_place(scope: int, address: bytes, bits: int, port: int = 0, port_bits: int = 0) -> tuple[Any, ...]:
    """A place as a row of PLACE_DTYPE."""
    return scope, bits, port_bits, port, address


def make_places(rows: Iterable[tuple[Any, ...]]) -> Places:
    """Rows of `pack_place` as an array."""
    return np.array([(*row[:4], np.void(row[4])) for row in rows], PLACE_DTYPE)


@cache
def _kernels() -> tuple[Any, ...]:
    kernels = (owners.put_places, owners.forget_others, sweep_flows, ending.end_streams, ending.end_again)
    return tuple(kernel(one) for one in kernels)


def compile_directory() -> None:
    """Have the code of a Directory in memory, from the cache or compiled."""
    for one in _kernels():
        one.compile((INT,) * one.py_func.__code__.co_argcount)


class Directory:
    """Both tables of one interface pair, as memory that this process may write."""

    def __init__(self, control: Any, addresses: Any, subscribers: Any) -> None:
        """`control`, `addresses`, `subscribers`: the mapped tables (or memory of their form)."""
        self._control = np.frombuffer(control, np.uint8)
        self._addresses = np.frombuffer(addresses, np.uint8)
        self.lines: NDArray[Any] = np.frombuffer(subscribers, MAPPED_DTYPE)
        self._mask = len(self._addresses) // t.ADDRESS_BUCKET_BYTES - 1
        self.shared_number = len(self.lines) - 1
        self.lines["flags"][self.shared_number] = t.SUBSCRIBER_SHARED
        self._known: list[Shape] = self._read_shapes()
        self._turned_s = 0.0

    @property
    def capacity(self) -> int:
        """Numbers that a subscriber can have: 1 to this."""
        return len(self.lines) - 2

    @property
    def shapes(self) -> list[Shape]:
        """The shapes that are looked up, longest first."""
        return list(self._known)

    # ---- places -------------------------------------------------------------------------------------------------------
    def put(self, places: Places, numbers: Numbers) -> NDArray[np.int64]:
        """Say that each place is its number's from now on. Returns the indices of those that found no room.

        Raises DirectoryError for more than SHAPE_LIMIT shapes; then nothing was put.
        """
        self._add_shapes(_shapes_of(places))
        failed = self._write(places, numbers, None)
        self._mark_shared(places)
        return failed

    def take_away(self, places: Places) -> None:
        """Say that nobody is at these places."""
        self._write(places, np.zeros(len(places), np.uint32), None)

    def replace_all(self, places: Places, numbers: Numbers) -> NDArray[np.int64]:
        """Make the table say exactly this. At no moment is somebody missed who is in it before and behind.

        Returns and raises what `put` does.
        """
        shapes = _shapes_of(places)
        self._add_shapes(shapes)
        kept = np.zeros((self._mask + 1) * t.ADDRESS_SLOTS, np.uint8)
        failed = self._write(places, numbers, kept)
        self._mark_shared(places, kept)
        self._forget_others(shapes, kept)
        return failed

    def replace_parts(self, parts: Iterable[tuple[Places, Numbers]]) -> int:
        """The same of what is too large to be in memory at once. Returns how many found no room.

        Raises DirectoryError for more than SHAPE_LIMIT shapes, with those before; then nobody was taken away.
        """
        shapes: set[Shape] = set()
        kept = np.zeros((self._mask + 1) * t.ADDRESS_SLOTS, np.uint8)
        lost = 0
        for places, numbers in parts:
            shapes |= _shapes_of(places)
            self._add_shapes(shapes)
            lost += len(self._write(places, numbers, kept))
            self._mark_shared(places, kept)
        self._forget_others(shapes, kept)
        return lost

    def _forget_others(self, shapes: set[Shape], kept: NDArray[np.uint8]) -> None:
        if any(port_bits for _, port_bits in shapes):
            shapes.add((128, 0))
        self._set_shapes(shapes)
        with _permitted(self._addresses, kept) as (table, at):
            _kernels()[1](table, self._mask, at)

    def _write(self, places: Places, numbers: Numbers, kept: NDArray[np.uint8] | None) -> NDArray[np.int64]:
        places, numbers = np.ascontiguousarray(places), np.ascontiguousarray(numbers, np.uint32)
        failed = np.zeros(max(len(places), 1), np.int64)
        arrays = [self._addresses, places, numbers, failed, *([] if kept is None else [kept])]
        with _permitted(*arrays) as (table, rows, values, lost_at, *kept_at):
            at = kept_at[0] if kept_at else 0
            lost = _kernels()[0](table, self._mask, self._secret, rows, values, len(places), at, lost_at)
        return failed[:lost]

    def _mark_shared(self, places: Places, kept: NDArray[np.uint8] | None = None) -> None:
        """An address of which somebody has a block of ports is marked as shared, for packets in pieces, which have no
        ports. (The mark stays until all is replaced: then such pieces are put together for nothing.)"""
        blocks = places[places["port_bits"] > 0].copy()
        if len(blocks):
            blocks["port_bits"], blocks["port"] = 0, 0
            self._add_shapes({(128, 0)})
            marks = np.unique(blocks)
            self._write(marks, np.full(len(marks), self.shared_number, np.uint32), kept)

    @property
    def _secret(self) -> int:
        return int(self._control[t.CONTROL_HASH_KEY : t.CONTROL_HASH_KEY + 8].view(np.int64)[0])

    # ---- shapes -------------------------------------------------------------------------------------------------------
    def _word(self) -> NDArray[np.int64]:
        return self._control[t.CONTROL_SHAPES : t.CONTROL_SHAPES + 8].view(np.int64)

    def _bank(self, number: int) -> NDArray[np.uint64]:
        start = t.CONTROL_SHAPE_LINES + number * t.SHAPE_BANK_BYTES
        return self._control[start : start + t.SHAPE_BANK_BYTES].view(np.uint64).reshape(t.SHAPE_LIMIT, 4)

    def _read_shapes(self) -> list[Shape]:
        word = int(self._word()[0])
        words = [int(line[t.SHAPE_WORD // 8]) for line in self._bank(word >> 8 & 1)[: word & 0xFF]]
        return [(word >> 8, word & 0xFF) for word in words]

    def _add_shapes(self, shapes: set[Shape]) -> None:
        if not shapes <= set(self._known):
            self._set_shapes(shapes | set(self._known))

    def _set_shapes(self, shapes: set[Shape]) -> None:
        """Have these shapes looked up, by a bank that nobody reads at the moment."""
        ordered = sorted(shapes, reverse=True)
        if ordered == self._known:
            return
        if len(ordered) > t.SHAPE_LIMIT:
            used = ", ".join(map(word_shape, ordered))
            raise DirectoryError(
                f"at most {t.SHAPE_LIMIT} different prefix lengths and port blocks at once, not {used}"
            )
        time.sleep(max(self._turned_s + QUIET_S - time.monotonic(), 0))
        bank = ~int(self._word()[0]) >> 8 & 1
        for line, (bits, port_bits) in zip(self._bank(bank), ordered, strict=False):
            mask = ((1 << 128) - (1 << (128 - bits))).to_bytes(16, "big")
            line[:2] = np.frombuffer(mask, np.uint64)
            line[2], line[3] = (1 << 16) - (1 << (16 - port_bits)), bits << 8 | port_bits
        self._word()[0] = bank << 8 | len(ordered)
        self._known, self._turned_s = ordered, time.monotonic()

    # ---- open flows ---------------------------------------------------------------------------------------------------
    def sweep(self, flows: Any) -> int:
        """Have open flows follow what changed: `kernel.sweep`. Once is not enough, for records are written meanwhile.

        `flows`: the mapped flow table. Returns how many flows changed their state.
        """
        memory = np.frombuffer(flows, np.uint8)
        arrays = (memory, self._control, self._addresses, self.lines)
        changed, count = 0, len(memory) // t.BUCKET_BYTES
        with _permitted(*arrays) as (table, control, addresses, lines):
            for first in range(0, count, SWEEP_BUCKETS):  # in between others of this process may run
                some = min(SWEEP_BUCKETS, count - first)
                tables = (addresses, self._mask, lines, len(self.lines) - 1)
                changed += int(_kernels()[2](table, first, some, control, *tables))
        return changed

    def end_streams(self, flows: Any, numbers: Iterable[int]) -> Ended:
        """End the open TLS connections of these numbers. Whoever writes records meanwhile may undo some: `end_again`."""
        memory = np.frombuffer(flows, np.uint8)
        chosen, ended = np.zeros(len(self.lines), np.uint8), np.zeros(2 * ENDED_LIMIT, np.int64)
        chosen[list(numbers)] = 1
        found, count = 0, len(memory) // t.BUCKET_BYTES
        with _permitted(memory, self._control, self._addresses, chosen, ended) as (table, control, addresses, *more):
            for first in range(0, count, SWEEP_BUCKETS):
                some = min(SWEEP_BUCKETS, count - first)
                at, room = more[1] + found * ending.ENDED_BYTES, ENDED_LIMIT - found
                tables = (addresses, self._mask, more[0], len(self.lines) - 1)
                found += int(_kernels()[3](table, first, some, control, *tables, at, room))
        return ended[: 2 * found].copy()

    def end_again(self, flows: Any, ended: Ended) -> int:
        """End those that `end_streams` ended and that are open again. Returns how many."""
        memory = np.frombuffer(flows, np.uint8)
        with _permitted(memory, self._control, ended) as (table, control, at):
            return int(_kernels()[4](table, control, at, len(ended) // 2))

    # ---- lines --------------------------------------------------------------------------------------------------------
    def set_lines(self, lines: NDArray[Any]) -> None:
        """Say what holds for these numbers (LINE_DTYPE)."""
        numbers = lines["number"]
        for name in ("profile", "services", "switches", "interval_ns", "flags"):  # by the last a packet goes up
            self.lines[name][numbers] = lines[name]

    def set_line(self, number: int, profile: str | None, held: Held) -> None:
        """Say what holds for one number: `pack_line`."""
        self.set_lines(np.array([pack_line(number, profile, held)], LINE_DTYPE))


def read_lines(pair: Path) -> NDArray[Any]:
    """A copy of the lines in force between a pair of interfaces (its pin directory). Raises FileNotFoundError."""
    fd = open_own_table(pair, t.subscribers.name)
    try:
        size = bpf.map_entries(fd) * t.SUBSCRIBER_BYTES
        with mmap.mmap(fd, -(-size // mmap.PAGESIZE) * mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ) as memory:
            return np.frombuffer(memory[:size], MAPPED_DTYPE)
    finally:
        os.close(fd)


def word_shape(shape: Shape) -> str:
    """A shape in words."""
    bits, port_bits = shape
    if port_bits:
        return f"blocks of {1 << (16 - port_bits)} ports"
    return f"IPv4 /{bits - 96} or IPv6 /{bits}" if bits >= 96 else f"IPv6 /{bits}"


def _shapes_of(places: Places) -> set[Shape]:
    pairs = np.unique(places["bits"].astype(np.uint16) << 8 | places["port_bits"])
    return {(int(pair) >> 8, int(pair) & 0xFF) for pair in pairs}


class _permitted:
    """The addresses of arrays that compiled code may touch inside the block."""

    def __init__(self, *arrays: NDArray[Any]) -> None:
        self._arrays = arrays
        self._regions: list[int] = []

    def __enter__(self) -> list[int]:
        starts = [int(array.ctypes.data) for array in self._arrays]
        if CHECKED:
            self._regions = [allow(at, at + array.nbytes) for at, array in zip(starts, self._arrays, strict=True)]
        return starts

    def __exit__(self, *_: object) -> None:
        for region in self._regions:
            forbid(region)

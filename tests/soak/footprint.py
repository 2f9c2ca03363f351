"""What Penstock holds of the machine: memory, descriptors and threads of its processes, kernel memory of its tables.

Knows /proc and the pins. Refuses to know whether it is too much.
"""

import mmap
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from penstock.control.ledger import Ledger, read_counters, read_ledger
from penstock.demo.topology import EGRESS, INGRESS
from penstock.kernel import bpf, tables
from penstock.kernel.declared import Map
from penstock.kernel.reasons import EXPIRED, STALE_CLOSED, STALE_OPEN
from penstock.line.pins import Pins, find_root, open_own_table
from tests.live.line import Line
from tests.live.processes import find_packet_processes

KIB = 1024


@dataclass(frozen=True)
class Held:
    """What one process holds."""

    pid: int
    resident_bytes: int
    own_bytes: int  # of it: not shared with a file or another process
    descriptors: int
    threads: int


@dataclass(frozen=True)
class Footprint:
    """Everything at one moment; a process that is not there holds None."""

    at_s: float
    control: Held | None
    packets: Held | None
    table_bytes: int


def find_line_pins(line: Line) -> Pins:
    """Where the line's tables and links are pinned. For the main thread: the namespace is looked up as the process's."""
    with line.topology.inside("box"):
        return Pins(INGRESS, EGRESS, find_root(mount=False))


def read_footprint(line: Line, pins: Pins) -> Footprint:
    """What is held now."""
    control = _read_process(line.box.program.pid)
    workers = find_packet_processes(line.box.program.pid) if control else []
    packets = _read_process(workers[0]) if workers else None
    return Footprint(time.monotonic(), control, packets, sum(_table_sizes(pins)))


def read_line_ledger(pins: Pins) -> Ledger:
    """The ledger, out of the pinned counters."""
    return read_ledger(
        *(read_counters(_map_counters(pins, table)) for table in (tables.counters, tables.path_counters))
    )


def open_late_counter(pins: Pins) -> Callable[[], int]:
    """How many packets met a packet process that was gone or late, so far: a function that says it whenever asked."""
    kernel, path = (_map_counters(pins, table) for table in (tables.counters, tables.path_counters))

    def read() -> int:
        found = read_counters(kernel)
        return int(found[STALE_OPEN] + found[STALE_CLOSED] + read_counters(path)[EXPIRED])

    return read


def _map_counters(pins: Pins, table: Map) -> mmap.mmap:
    table.fd = open_own_table(pins.directory, table.name)
    try:
        return bpf.map_memory(table)
    finally:
        os.close(table.fd)


def _read_process(pid: int) -> Held | None:
    here = Path("/proc", str(pid))
    with suppress(OSError, KeyError):
        status = dict(re.findall(r"^(\w+):\s+(\d+)", (here / "status").read_text(), re.MULTILINE))
        sizes = [int(status[name]) * KIB for name in ("VmRSS", "RssAnon")]
        return Held(pid, *sizes, len(os.listdir(here / "fd")), int(status["Threads"]))
    return None


def _table_sizes(pins: Pins) -> Iterator[int]:
    for path in pins.directory.glob("layout-*/*"):
        try:
            table = bpf.open_pin(str(path))
        except OSError:
            continue
        try:
            text = Path(f"/proc/self/fdinfo/{table}").read_text()
        finally:
            os.close(table)
        yield int(dict(re.findall(r"^(\w+):\s+(\d+)", text, re.MULTILINE)).get("memlock", 0))

"""What a `run` tells of its packets: events as lines, exceptions as they begin and end, and everything that is counted.

Reads rings and counters, which workers and kernel write. Writes two words for whoever comes after it: how many packets met
a process that was late, as far as it is told, and which causes go on. Refuses to know why something happened.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, TextIO

import structlog

from penstock.control.events import EventLog, EventReader, LogFile, decode_foreign, monotonic_offset_ns, stamp_now
from penstock.control.exceptions import Watch, tell_gone
from penstock.control.health import read_health
from penstock.control.hooks.in_line import HooksInLine
from penstock.control.ledger import Ledger, read_counters, read_ledger, read_times
from penstock.control.metrics import Readings
from penstock.control.subscribers.fixed import Owners
from penstock.errors import PenstockError
from penstock.kernel import bpf, tables
from penstock.line.inline import Control
from penstock.path.memory import SharedMemory
from penstock.policy.snapshot import Snapshot

LOOK_S = 0.5  # between looks at the counters of exceptions

log = structlog.get_logger()


class ReportError(PenstockError):
    """Events cannot be written; the text says where."""


def open_log(path: str) -> contextlib.AbstractContextManager[TextIO]:
    """The sink of events, as a context. Raises ReportError."""
    if path == "-":
        return contextlib.nullcontext(sys.stdout)
    try:
        return LogFile(path)
    except OSError as error:
        raise ReportError(f"log.path: {path}: {error.strerror}") from None


class Reporter:
    """The reporter of one `run`, whose tables are open from `open` on."""

    def __init__(self, shared: SharedMemory, hooks: HooksInLine) -> None:
        self.hooks = hooks
        self.reader = EventReader(shared)
        self.events = EventLog(sys.stdout)
        self.watch, self._looked_s = Watch(), 0.0
        self.also_tell: Callable[[list[dict[str, Any]]], None] = lambda events: None

    def open(self, control: Control) -> None:
        """Map the counters."""
        self._control = control
        self._counters = bpf.map_memory(tables.counters)
        self._path_counters = bpf.map_memory(tables.path_counters)
        self._times = bpf.map_memory(tables.verdict_times)
        self._health = bpf.map_memory(tables.health)

    def begin(self, sink: TextIO) -> None:
        """Write to `sink` from here on; first what passed since the last look of a control process that was killed."""
        self.events = EventLog(sink)
        missed = self._count_stale(self._read_ledger().reasons) - self._control.word(tables.CONTROL_STALE_SEEN)
        if missed > 0:
            self._tell(tell_gone(missed))
        self.watch.resume(self._control.word(tables.CONTROL_ACTIVE), time.monotonic())

    def end(self) -> None:
        """Tell of no more causes, and the end of those that go on."""
        self._tell(self.watch.close())
        self._control.set_word(tables.CONTROL_ACTIVE, 0)

    def write_events(self, snapshot: Snapshot, owners: Owners) -> None:
        """Write down what is in the rings, with the names of the snapshot in force and of its subscribers."""
        offset_ns, told = monotonic_offset_ns(), []
        for raw in self.reader.read():
            fields = decode_foreign(raw, snapshot, owners, offset_ns, self.hooks.names)
            if fields is None:
                self.events.lost += 1
            else:
                self.events.write(fields)
                self.hooks.tell(fields)
                told.append(fields)
        self.also_tell(told)

    def look_for_exceptions(self) -> None:
        """Tell which causes began and ended since the last look."""
        now_s = time.monotonic()
        if now_s - self._looked_s < LOOK_S:
            return
        self._looked_s = now_s
        reasons = self._read_ledger().reasons
        self._control.set_word(tables.CONTROL_STALE_SEEN, self._count_stale(reasons))
        self._tell(self.watch.look(reasons, now_s))
        self._control.set_word(tables.CONTROL_ACTIVE, self.watch.active)

    def read_metrics(self) -> Readings:
        """Everything that is counted."""
        lost = self.reader.lost() + self.events.lost
        return Readings(self._read_ledger(), read_times(self._times), lost, read_health(self._health), self.watch)

    def _tell(self, found: Iterable[dict[str, Any]]) -> None:
        for fields in found:
            self.events.write({"timestamp": stamp_now(), **fields})
            log.warning("exception", **{name: value for name, value in fields.items() if name != "event"})

    def _read_ledger(self) -> Ledger:
        return read_ledger(read_counters(self._counters), read_counters(self._path_counters))

    def _count_stale(self, reasons: dict[str, int]) -> int:
        return reasons["stale_open"] + reasons["stale_closed"]

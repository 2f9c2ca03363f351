"""Recordings of subscribers' refused flows: begun, at work, on the disk, and gone with the journal's rows.

A thread for each, which reads a tap of the control process; what was refused, the journal's events say. So many at one
time, one for a subscriber, so many in all. It does not know who may ask.
"""

import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from penstock.errors import PenstockError
from penstock.portal.database import Database
from penstock.portal.journal import Row
from penstock.portal.recording import Flow, Recording, build_flow

FIELDS = "capture, subscriber, by, begun_s, ends_s, limit_bytes, state, size_bytes, packets, flows"
RUNNING, DONE, FULL, FAILED = "running", "done", "full", "failed"
AT_WORK_LIMIT = 4
KEPT_LIMIT = 50
TICK_S = 0.2
LATE_S = 2.0  # behind the end, for events of what was seen before it
FRAME_BYTES = 1 << 17
DAY_S = 86_400.0

log = structlog.get_logger()


class CaptureBusyError(PenstockError):
    """No recording can begin now; the text says why."""


@dataclass(frozen=True, slots=True)
class Capture:
    """What is known of a recording."""

    id: int
    subscriber: str
    by: str
    begun_s: float
    ends_s: float
    limit_bytes: int
    state: str
    size_bytes: int | None
    packets: int | None
    flows: int | None


class _Work(threading.Thread):
    """One recording at work."""

    def __init__(
        self,
        number: int,
        subscriber: str,
        tap: socket.socket,
        ends_s: float,
        limit_bytes: int,
        finish: "Callable[[_Work], None]",
    ) -> None:
        super().__init__(daemon=True, name=f"capture-{number}")
        self.number, self.subscriber, self.ends_s = number, subscriber, ends_s
        self.recording = Recording(limit_bytes)
        self.stops = threading.Event()
        self._tap = tap
        self._lock = threading.Lock()
        self._marked: list[Flow] = []
        self._finish = finish

    def mark(self, flow: Flow) -> None:
        """A flow of the subscriber was refused."""
        with self._lock:
            self._marked.append(flow)

    def run(self) -> None:
        """Read until the end, and then for a moment wait for events."""
        self._tap.settimeout(TICK_S)
        with self._tap:
            while time.time() < self.ends_s and not self.stops.is_set() and not self.recording.is_full:
                try:
                    self.recording.take(time.time_ns(), self._tap.recv(FRAME_BYTES))
                except TimeoutError:
                    pass
                except OSError:  # the interface went down; it may come up again
                    time.sleep(TICK_S)
                self._take_marks()
        end_s = time.monotonic() + LATE_S
        while time.monotonic() < end_s and not self.stops.is_set():
            time.sleep(TICK_S)
            self._take_marks()
        self._finish(self)

    def _take_marks(self) -> None:
        with self._lock:
            marked, self._marked = self._marked, []
        self.recording.mark(marked)


class Captures:
    """The recordings of a portal, in `directory`."""

    def __init__(self, database: Database, directory: Path) -> None:
        """Those that were at work when a portal before died came to nothing. Raises DatabaseError."""
        self._database, self._directory = database, directory
        self._at_work: dict[int, _Work] = {}
        self._lock = threading.Lock()
        with database.write() as connection:
            connection.execute("UPDATE captures SET state=? WHERE state=?", (FAILED, RUNNING))

    def begin(
        self, subscriber: str, by: str, tap: socket.socket, now_s: float, seconds: int, limit_bytes: int
    ) -> Capture:
        """Record what a tap sees. Raises CaptureBusyError, DatabaseError; then the tap is closed."""
        try:
            with self._lock:
                self._check(subscriber)
                with self._database.write() as connection:
                    row = (subscriber, by, now_s, now_s + seconds, limit_bytes, RUNNING)
                    query = (
                        "INSERT INTO captures(subscriber, by, begun_s, ends_s, limit_bytes, state) VALUES(?,?,?,?,?,?)"
                    )
                    number = connection.execute(query, row).lastrowid or 0
                work = _Work(number, subscriber, tap, now_s + seconds, limit_bytes, self._finish)
                self._at_work[number] = work
        except BaseException:
            tap.close()
            raise
        work.start()
        return Capture(number, *row, None, None, None)

    def check(self, subscriber: str) -> None:
        """Raise CaptureBusyError where none can begin."""
        with self._lock:
            self._check(subscriber)

    def _check(self, subscriber: str) -> None:
        if any(work.subscriber == subscriber for work in self._at_work.values()):
            raise CaptureBusyError("this subscriber's flows are being recorded already")
        if len(self._at_work) >= AT_WORK_LIMIT:
            raise CaptureBusyError(f"{AT_WORK_LIMIT} recordings are at work: ask again")
        with self._database.look() as connection:
            kept = connection.execute("SELECT count(*) FROM captures").fetchone()[0]
        if kept >= KEPT_LIMIT:
            raise CaptureBusyError(f"{KEPT_LIMIT} recordings are kept: delete some")

    def note(self, rows: list[Row]) -> None:
        """Events came: flows of those who are being recorded may be refused."""
        with self._lock:
            works = list(self._at_work.values())
        if not works:
            return
        for row in rows:
            if row.answer is None or None in (row.src_ip, row.src_port, row.dest_ip, row.dest_port):
                continue
            for work in works:
                if work.subscriber == row.subscriber:
                    with suppress(ValueError, TypeError):
                        work.mark(build_flow(row.src_ip, row.src_port, row.dest_ip, row.dest_port))  # type: ignore[arg-type]

    def _finish(self, work: _Work) -> None:
        state = FULL if work.recording.is_full else DONE
        path = self.find_path(work.number)
        try:
            with self._lock:
                is_wanted = self._at_work.pop(work.number, None) is not None
            if not is_wanted:
                return
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as sink:
                work.recording.write(sink)
        except OSError as error:
            log.error("a recording cannot be written", why=error.strerror)
            path.unlink(missing_ok=True)
            state = FAILED
        told = (state, work.recording.size_bytes, len(work.recording.kept), len(work.recording.refused), work.number)
        try:
            with self._database.write() as connection:
                query = "UPDATE captures SET state=?, size_bytes=?, packets=?, flows=? WHERE capture=?"
                connection.execute(query, told)
        except PenstockError as error:
            log.error("what became of a recording is not known", error=str(error))

    # ---- what there is ------------------------------------------------------------------------------------------------
    def find_path(self, number: int) -> Path:
        """Where a recording lies."""
        return self._directory / f"{number}.pcap"

    def list_captures(self, subscriber: str) -> list[Capture]:
        """Those of a subscriber, the latest first."""
        query = f"SELECT {FIELDS} FROM captures WHERE subscriber=? ORDER BY capture DESC"
        with self._database.read() as connection:
            return [Capture(*row) for row in connection.execute(query, (subscriber,))]

    def find(self, subscriber: str, number: int) -> Capture | None:
        """One of a subscriber's."""
        return next((one for one in self.list_captures(subscriber) if one.id == number), None)

    def delete(self, number: int) -> None:
        """End a recording, and have nothing of it."""
        with self._lock:
            work = self._at_work.pop(number, None)
        if work is not None:
            work.stops.set()
        _erase(self.find_path(number))
        with self._database.write() as connection:
            connection.execute("DELETE FROM captures WHERE capture=?", (number,))

    def forget(self, now_s: float, keep_days: int) -> None:
        """Delete those that are too old, and files that are none's."""
        query = "SELECT capture FROM captures WHERE ends_s < ?"
        with self._database.read() as connection:
            old = [row[0] for row in connection.execute(query, (now_s - keep_days * DAY_S,))]
        for number in old:
            self.delete(number)
        with self._database.read() as connection:
            known = {row[0] for row in connection.execute("SELECT capture FROM captures")}
        for path in self._directory.glob("*.pcap"):
            if not path.stem.isdecimal() or int(path.stem) not in known:
                _erase(path)


def _erase(path: Path) -> None:
    """Overwrite a file, as far as the file system writes where the file lies, and delete it."""
    with suppress(OSError), path.open("r+b") as file:
        left = file.seek(0, os.SEEK_END)
        file.seek(0)
        while left > 0:
            left -= file.write(bytes(min(left, 1 << 16)))
        file.flush()
        os.fsync(file.fileno())
    path.unlink(missing_ok=True)

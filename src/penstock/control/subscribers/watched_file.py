"""A file of assignments that is read again when it changes: the difference becomes events.

    stat, once a second ──► changed, and stands still? ──► every line good? ──► half of them still there? ──► events
                                                               └─────── else `problems`: what was said before holds

What was taken is remembered in a file of its own, 16 bytes a line, so that the next start says only what changed
meanwhile. Nothing of a file with a bad line is taken; nor is one that lost more than half of its lines: that is an accident
more often than a wish.

Knows how the file was and how it is. What else is said of a place is the register's: the last word wins.
"""

import errno
import os
import stat
from array import array
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from penstock.control.problems import Problem
from penstock.control.subscribers.assignment_file import AssignmentFile, hash_text, write_place
from penstock.control.subscribers.model import Assign, Event, Release, Restart
from penstock.control.subscribers.settings import Scope
from penstock.control.whole_file import write_whole

NAS = "file"
"""Stands in its events where RADIUS has a NAS: a Restart of it takes away what an earlier file said."""
FEW = 10  # lines: a file of no more may lose as many as it likes
MAGIC = b"penstock-file-1\n"
STEP = 500  # lines that one `poll` reads: some 10 ms, in which nobody else is served
DIGESTS = np.dtype([("session", "<u8"), ("line", "<u8")])
BEGUN = 1  # in the place of a line's digest: it is new, and perhaps was not said
Digests = np.ndarray[Any, np.dtype[Any]]
Identity = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """What a file says that the one before did not. `events` are made one by one: a file may have a million lines."""

    events: Iterator[Event]
    added: int
    """Lines that are new or say something else."""
    removed: int
    digests: Digests
    """Of every line."""


class WatchedFile:
    """The file at `path`. Ask `poll` once a second; when the events of a change are written down, say `finish`."""

    def __init__(self, path: Path, memory: Path, scopes: Mapping[str, Scope]) -> None:
        """`memory` is the file that keeps what was taken; where there is none, all is said anew."""
        self.path, self._memory = path, memory
        self._scopes = {name: scope.number for name, scope in scopes.items()}
        self._known = _load_digests(memory)
        self._taken: Identity | None = None
        self._seen: Identity | None = None
        self._reading: Generator[None, None, Change | None] | None = None
        self._is_pending = False
        self.problems: tuple[Problem, ...] = ()
        """Why the file as it stands is not in force; the last one that was good is."""

    @property
    def is_reading(self) -> bool:
        """`poll` wants to be asked again at once: a long file is read in steps."""
        return self._reading is not None

    def poll(self, now_s: float) -> Change | None:
        """What the file says in addition, as soon as it changed and stands still; None: nothing new. Never raises."""
        if self._is_pending:
            return None
        if self._reading is None:
            self._reading = self._open(now_s)
        try:
            if self._reading is not None:
                next(self._reading)
        except StopIteration as end:
            self._reading = None
            self._is_pending = end.value is not None
            return end.value
        return None

    def finish(self, change: Change) -> None:
        """The events of the change are written down. Raises OSError: it is in force, but could not be remembered."""
        self._is_pending = False
        self._remember(change.digests)

    def give_up(self) -> None:
        """The events could not all be written down: what is missing comes again."""
        self._is_pending = False
        self._taken = None

    def _remember(self, digests: Digests) -> None:
        self._known = digests
        write_whole(self._memory, (MAGIC, digests.tobytes()), 0o600)

    def _open(self, now_s: float) -> "Generator[None, None, Change | None] | None":
        try:
            identity = _identify(self.path)
            if identity == self._taken:
                return None
            if identity != self._seen:  # perhaps it is being written: look once more
                self._seen = identity
                return None
            raw = self.path.read_bytes()
            if _identify(self.path) != identity:
                return None
        except OSError as error:
            self._taken = self._seen = None
            self.problems = (Problem(self.path, 1, 1, "", f"expected a readable file: {error.strerror}"),)
            return None
        self._taken = identity
        return self._read(raw, now_s)

    def _read(self, raw: bytes, now_s: float) -> "Generator[None, None, Change | None]":
        file = AssignmentFile(self.path, raw, self._scopes)
        digests, places, lines = array("Q"), array("Q"), array("I")
        for line, row in file.rows():
            digests.extend((row.session, hash_text(f"{row.session} {row.profile}")))
            for place in row.places:
                places.append(hash_text(write_place(place)))
                lines.append(line)
            if len(digests) % (2 * STEP) == 0:
                yield
        _find_twins(file, np.frombuffer(places, np.uint64), lines)
        del places, lines  # of a million lines that counts
        found = np.frombuffer(digests, DIGESTS)
        known = np.zeros(0, DIGESTS) if self._known is None else self._known
        count = int((known["line"] != BEGUN).sum())
        if not file.problems and count > FEW and 2 * len(found) < count:
            kept = f"expected at least half of the {count:,} lines that were there, not {len(found):,}"
            file.problems.append(Problem(self.path, 1, 1, "", f"{kept}: take them away in steps if that is meant"))
        self.problems = tuple(file.problems)
        if self.problems:
            return None
        is_new = ~_is_among(found["line"], known["line"])
        gone = known["session"][~_is_among(known["session"], found["session"])]
        if self._known is not None and not is_new.any() and not len(gone):
            return None
        is_first = self._known is None
        if not is_first and not self._announce(known, found[is_new]):
            return None
        events = self._say(AssignmentFile(self.path, raw, self._scopes), is_new, gone, now_s, is_first)
        return Change(events, int(is_new.sum()), len(gone), found)

    def _announce(self, known: Digests, added: Digests) -> bool:
        """Remember, should we end among the events, that these lines may have been said and must be said again."""
        doubtful = known.copy()
        doubtful["line"][_is_among(known["session"], added["session"])] = 0
        begun = added[~_is_among(added["session"], known["session"])]
        begun["line"] = BEGUN
        try:
            self._remember(np.concatenate((doubtful, begun)))
        except OSError as error:
            self._taken = None
            self.problems = (Problem(self._memory, 1, 1, "", f"expected a file to write: {error.strerror}"),)
            return False
        return True

    def _say(self, file: AssignmentFile, is_new: Any, gone: Any, now_s: float, is_first: bool) -> Iterator[Event]:
        for session in gone:
            yield Release("file", f"{session:016x}", now_s)
        for number, (_, row) in enumerate(file.rows()):
            if is_new[number]:
                yield Assign("file", f"{row.session:016x}", row.subscriber, row.places, now_s, row.profile, nas=NAS)
        if is_first:  # nobody knows what an earlier file said: what this one did not say again goes
            yield forget_file(now_s)


def forget_file(now_s: float) -> Restart:
    """What to say when there is no file any more: all that it said before `now_s` is over."""
    return Restart("file", NAS, now_s)


def _is_among(values: Any, others: Any) -> Any:
    """Which of the values are among the others. (NumPy's `isin` takes 60 bytes for each of both, this 24.)"""
    if not len(others):
        return np.zeros(len(values), np.bool_)
    ordered = np.sort(others)
    at = np.searchsorted(ordered, values)
    at[at == len(ordered)] = 0
    return ordered[at] == values


def _find_twins(file: AssignmentFile, places: Any, lines: Sequence[int]) -> None:
    """Note places that two lines have."""
    ordered = np.sort(places)
    if not (ordered[1:] == ordered[:-1]).any():
        return
    order = np.argsort(places, kind="stable")
    for at in np.flatnonzero(np.diff(places[order]) == 0)[:3]:
        file.note_twin(lines[order[at + 1]], lines[order[at]])


def _identify(path: Path) -> Identity:
    """What differs when a file is another, or says something else."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):  # a pipe would keep us waiting
        raise OSError(errno.EINVAL, "it is none")
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def _load_digests(memory: Path) -> Digests | None:
    """What was remembered; None where nothing was, or not by this version."""
    try:
        raw = memory.read_bytes()
    except OSError:
        return None
    size = len(raw) - len(MAGIC)
    if not raw.startswith(MAGIC) or size % DIGESTS.itemsize:
        return None
    return np.frombuffer(raw, DIGESTS, offset=len(MAGIC))

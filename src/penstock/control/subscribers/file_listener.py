"""The watched file as long as it is wanted: what it says in addition, in parts of the size of a batch.

A change of a million lines is many batches, and other sources are heard between them. It is remembered as taken behind
the last one; until then the same change comes again after a death. It does not know what a line says (`assignment_file`).
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path

import structlog

from penstock.control.problems import Problem
from penstock.control.subscribers.model import Event
from penstock.control.subscribers.settings import Scope
from penstock.control.subscribers.watched_file import Change, WatchedFile, forget_file

PART = 500  # events in one transaction

log = structlog.get_logger()


class FileListener:
    """The file of a register. Nothing is watched until `follow`."""

    def __init__(self) -> None:
        self._file: WatchedFile | None = None
        self._wanted: tuple[Path | None, Mapping[str, Scope]] | None = None
        self._memory = Path()
        self._change: Change | None = None
        self._events: Iterator[Event] = iter(())
        self._rest: list[Event] = []
        self._problems: tuple[Problem, ...] = ()

    def follow(self, path: Path | None, memory: Path, scopes: Mapping[str, Scope]) -> None:
        """Watch this file, or none. `memory` keeps what was taken of it."""
        if self._wanted == (path, scopes):
            return
        self._wanted, self._memory, self._change = (path, scopes), memory, None
        self._file = WatchedFile(path, memory, scopes) if path is not None else None

    @property
    def is_busy(self) -> bool:
        """There is more to read, or to say."""
        return self._change is not None or (self._file is not None and self._file.is_reading)

    def look(self, now_s: float) -> list[Event]:
        """The next part of what it says in addition. Ends with `settle`."""
        if self._file is None:
            return [forget_file(now_s)] if self._memory.is_file() else []
        if self._change is None:
            self._change = self._file.poll(now_s)
            self._tell_problems(self._file.problems)
            if self._change is None:
                return []
            log.info("the file of assignments changed", added=self._change.added, removed=self._change.removed)
            self._events = self._change.events
        self._rest = list(islice(self._events, PART))
        return self._rest

    def settle(self, is_written: bool) -> None:
        """What `look` gave last is written down, or could not be."""
        if self._file is None:
            if is_written:
                with suppress(OSError):  # then it is said again: no harm
                    self._memory.unlink(missing_ok=True)
        elif self._change is not None and not is_written:
            self._file.give_up()
            self._change = None
        elif self._change is not None and len(self._rest) < PART:
            try:
                self._file.finish(self._change)
            except OSError as error:
                log.warning("that the file was taken cannot be remembered", error=str(error))
            self._change = None

    def _tell_problems(self, problems: tuple[Problem, ...]) -> None:
        if problems != self._problems:
            for problem in problems:
                log.error("the file of assignments is not taken; what it said before holds", error=str(problem))
        self._problems = problems

"""The names database that a `run` judges by, under a name of its own beside the one that everybody builds.

    names.db               what was taken last; `lists build` and another `run` may replace it at any time
    names.db.eth1-eth2.0   the same file (a hard link) while it is in force here; then a candidate has the name with 1

A candidate is built under its own name and becomes names.db when it is taken. So a packet process that is started again
gets what was in force, and a start of `run` gets what was taken last.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class NamesInForce:
    """The names database of one `run`. `path` is what snapshots are built with."""

    def __init__(self, database: Path, label: str) -> None:
        """Hold the database as it is now. Where its directory takes no link it is used by its own name."""
        self.label, self.database = label, database
        self.path = self._place(database, 0)
        try:
            self._link(database, self.path)
            self._place(database, 1).unlink(missing_ok=True)  # of a run that was killed
        except OSError:
            self.path = database

    def place_candidate(self, database: Path) -> Path:
        """Where the next one is built, which is to have the common name `database`."""
        candidate = self._place(database, 0)
        return self._place(database, 1) if candidate == self.path else candidate

    @contextmanager
    def try_candidate(self, candidate: Path) -> Iterator[None]:
        """Unless the candidate is taken within the block, it is given up.

        Then a database that somebody built meanwhile is not taken, either: what is in force has the common name again,
        for a start would take what has it.
        """
        try:
            yield
        finally:
            if self.path != candidate:
                candidate.unlink(missing_ok=True)
                with suppress(OSError):
                    self._link(self.path, self.database)

    def take(self, candidate: Path, database: Path) -> None:
        """The candidate is in force, and has the common name `database`."""
        self.release()
        self.path, self.database = candidate, database
        with suppress(OSError):  # the common name stays with the older one; here the newer one is in force all the same
            self._link(candidate, database)

    def release(self) -> None:
        """Give up the name of one's own. What is mapped stays mapped."""
        if self.path != self.database:
            with suppress(OSError):  # its directory may be another user's by now
                self.path.unlink(missing_ok=True)

    def _place(self, database: Path, number: int) -> Path:
        return database.with_name(f"{database.name}.{self.label}.{number}")

    def _link(self, path: Path, target: Path) -> None:
        """Make `target` another name of the file at `path`, in one step."""
        if path == target:
            return
        unfinished = target.with_name(f"{target.name}.{self.label}.link")
        unfinished.unlink(missing_ok=True)
        os.link(path, unfinished)
        os.replace(unfinished, target)
        unfinished.unlink(missing_ok=True)  # which stays where both were names of one file already

"""What a change of policy needs before it can be taken, made while the loop of `run` goes on: names, and addresses.

One at a time. It knows how long things take, and refuses to know whether a change is taken.
"""

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.control.configuration import Configuration
from penstock.control.lists.builder import build_apart
from penstock.control.lists.feeds import Batch
from penstock.control.safe_search import Addresses
from penstock.errors import PenstockError

FindTargets = Callable[[Configuration], Addresses]
FindMoves = Callable[[Configuration, Collection[int]], Mapping[int, int]]
"""Which of these subscribers, by number, get another profile by a configuration: its tag."""


@dataclass
class Preparation:
    """A change that is being made ready, and what came of it."""

    configuration: Configuration
    built: Configuration
    """The same without the feeds that never came."""
    candidate: Path
    batch: Batch | None
    """The feeds' versions for which it is; None: somebody asked for everything again."""
    find: FindTargets
    find_moves: FindMoves
    targets: Addresses | None = None
    report: dict[str, Any] | None = None
    error: str = ""

    @property
    def on_trial(self) -> dict[Path, Path]:
        """Where a list is read that is not to be read at its path."""
        return {version.feed.path: version.place for version in self.batch or ()}

    @property
    def as_read(self) -> Configuration:
        """The configuration with the lists as they were read."""
        places, lists = self.on_trial, self.built.lists
        moved = tuple(source.model_copy(update={"path": places.get(source.path, source.path)}) for source in lists)
        return self.built.model_copy(update={"lists": moved})

    def prepare(self) -> None:
        """Do it, whatever comes of it."""
        try:
            self.targets = self.find(self.configuration)
            self.report = build_apart(self.built, self.candidate, self.on_trial)
        except (PenstockError, OSError) as error:
            self.error = str(error)


class Preparations:
    """The one that is under way, if any."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._one: Preparation | None = None

    @property
    def is_busy(self) -> bool:
        return self._one is not None

    def begin(self, one: Preparation) -> None:
        """Begin one."""
        self._one = one
        self._thread = threading.Thread(target=one.prepare, daemon=True, name="preparation")
        self._thread.start()

    def finish(self) -> Preparation | None:
        """The one that is done, once."""
        if self._one is None or (self._thread and self._thread.is_alive()):
            return None
        one, self._one = self._one, None
        return one

"""Open flows follow what the register says: a walk over the flow table when something changed, and another behind it. TLS
connections of those to whom more is refused than before end.

The second one is for records that kernel and workers wrote while the first one walked. Changes that come in between are
walked together: however many there are, the table is walked four times a second. It does not know what changed.
"""

import time
from typing import Any

import numpy as np

from penstock.control.subscribers.updates import Updates
from penstock.line.directory import Directory, Ended

SWEEP_S = 0.25
SWEEPS = 2


class OpenFlows:
    """The flow table of one pair."""

    def __init__(self, directory: Directory, flows: Any) -> None:
        """`flows`: the mapped table."""
        self._directory, self._flows = directory, flows
        self._left, self._due_s = 0, 0.0
        self._stricter: set[int] = set()
        self._ended: Ended = np.zeros(0, np.int64)
        self.changed = 0
        """Flows that were refused, opened or freed by a change, since the start."""

    def note(self, updates: Updates) -> None:
        """Something changed, and it is in the tables."""
        self._stricter |= updates.stricter
        if updates.places or updates.look_again or updates.are_all_lines_new:
            self.note_all()

    def note_all(self) -> None:
        """Everything may have changed."""
        self._left = SWEEPS

    @property
    def due_s(self) -> float:
        """When to walk next, by the monotonic clock."""
        return self._due_s if self._left else float("inf")

    def take_turn(self) -> None:
        """Walk if it is time to."""
        if self._left and time.monotonic() >= self._due_s:
            self._left -= 1
            self.changed += self._directory.sweep(self._flows)
            self._directory.end_again(self._flows, self._ended)
            self._ended = np.zeros(0, np.int64)
            if self._stricter:
                self._ended = self._directory.end_streams(self._flows, self._stricter)
                self.changed += len(self._ended) // 2
                self._stricter = set()
                self._left = max(self._left, 1)
            self._due_s = time.monotonic() + SWEEP_S

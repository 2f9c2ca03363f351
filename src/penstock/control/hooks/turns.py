"""Whose turn it is: jobs wait in a line for each asker, and askers take turns, so that nobody waits for another's many.

An asker holds `share` workers at most, whatever waits: one whose requests make a hook hang leaves the other workers to the
others. Knows askers and jobs. Refuses to know workers and time.
"""

from collections import Counter, deque
from collections.abc import Hashable, Iterator
from typing import Generic, Protocol, TypeVar


class Waiting(Protocol):
    """What waits."""

    is_over: bool

    @property
    def asker(self) -> Hashable: ...


Item = TypeVar("Item", bound=Waiting)


class Turns(Generic[Item]):
    """Jobs that wait. Every one that was taken is given back by `release`."""

    def __init__(self, share: int) -> None:
        self.share = share
        self._lines: dict[Hashable, deque[Item]] = {}
        self._held: Counter[Hashable] = Counter()
        self._ready: deque[Hashable] = deque()  # askers with a line who hold less than their share, each once

    def __iter__(self) -> Iterator[Item]:
        """All that wait, those that are over among them."""
        return (item for line in self._lines.values() for item in line)

    def put(self, item: Item) -> None:
        """Let a job wait."""
        line = self._lines.setdefault(item.asker, deque())
        line.append(item)
        if len(line) == 1:
            self._call(item.asker)

    def take(self) -> Item | None:
        """The next job, without those that are over; None: nobody's turn."""
        while self._ready:
            asker = self._ready.popleft()
            line = self._lines[asker]
            while line and line[0].is_over:
                line.popleft()
            found = line.popleft() if line else None
            if found is not None:
                self._held[asker] += 1
            if not line:
                del self._lines[asker]
            else:
                self._call(asker)
            if found is not None:
                return found
        return None

    def release(self, item: Item) -> None:
        """A worker has come to an end with it."""
        asker = item.asker
        self._held[asker] -= 1
        if self._held[asker] == self.share - 1 and asker in self._lines:
            self._ready.append(asker)
        if not self._held[asker]:
            del self._held[asker]

    def _call(self, asker: Hashable) -> None:
        if self._held[asker] < self.share:
            self._ready.append(asker)

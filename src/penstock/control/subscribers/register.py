"""The register: every source's events become rows of the store, and updates for the kernel's tables.

    events ──► Batch: the rules ──► rows ──► one transaction ──► Updates
                                              │
    load_places, load_lines … ◄───────────────┘  all of it, after a start

It keeps nothing of a subscriber in memory from one batch to the next. Its owner calls from one thread, tells the kernel
what an `Updates` says (lines first), and calls `expire` about once a second. Every call that changes something raises
StoreError when it could not; then nothing was changed, and the same call may be made again.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penstock.control.configuration import Configuration
from penstock.control.subscribers import sweep
from penstock.control.subscribers.batch import Batch
from penstock.control.subscribers.effective import NameAction
from penstock.control.subscribers.loading import read_lines, read_names, read_places
from penstock.control.subscribers.model import Event
from penstock.control.subscribers.rules import Rules
from penstock.control.subscribers.schema import COUNT_PLACES, COUNT_SUBSCRIBERS
from penstock.control.subscribers.settings_register import RegisterSettings
from penstock.control.subscribers.store import Store
from penstock.control.subscribers.synchronise import synchronise
from penstock.control.subscribers.terms import Terms
from penstock.control.subscribers.updates import Line, Updates


class Register:
    """Who is where and what holds for him, by the latest word of all sources."""

    def __init__(self, store: Store, settings: RegisterSettings) -> None:
        """Over a store that this process alone writes. Call `sync_configuration` before anything else."""
        self._store, self._settings = store, settings
        with store.read():
            self._terms = Terms.read(store.read_meta("terms"))

    @property
    def terms(self) -> Terms:
        """What the configuration says of everybody."""
        return self._terms

    def apply(self, events: Sequence[Event], now_s: float) -> Updates:
        """Take a batch of events, in this order."""

        return self._write(lambda batch: Rules(batch).apply(events), now_s)

    def expire(self, now_s: float) -> Updates:
        """Take away what is over by now."""

        def work(batch: Batch) -> None:
            sweep.end_sessions(batch)
            sweep.sweep_restarts(batch)
            sweep.end_pauses(batch)
            sweep.turn_schedules(batch)
            sweep.forget_idle(batch)

        return self._write(work, now_s)

    def sync_configuration(self, configuration: Configuration, now_s: float) -> Updates:
        """Make the register agree with the configuration: its subscribers, their places, what holds for everybody."""
        settings, terms = configuration.subscriber_register, Terms.of(configuration)
        old = self._settings, self._terms
        self._settings, self._terms = settings, terms
        try:
            return self._write(lambda batch: synchronise(batch, configuration, old[1]), now_s)
        except BaseException:
            self._settings, self._terms = old
            raise

    def _write(self, work: Callable[[Batch], None], now_s: float) -> Updates:
        with self._store.write() as catalogue:
            batch = Batch(self._store, catalogue, self._settings, self._terms, now_s)
            work(batch)
            return batch.finish()

    def load_places(self) -> Iterator[tuple[NDArray[Any], NDArray[np.uint32]]]:
        """Every place (PLACE_DTYPE) and its number, in parts."""
        with self._store.read() as connection:
            yield from read_places(connection)

    def load_lines(self, now_s: float) -> Iterator[tuple[Line, NDArray[np.uint32]]]:
        """What holds, for whom, in parts: a line and the numbers for which it holds, every number once."""
        with self._store.read() as connection:
            yield from read_lines(connection, self._terms, now_s)

    def load_names(self, now_s: float) -> Iterator[tuple[int, str, NameAction]]:
        """Every own name that holds: a number, the name, and what its subscriber says of it."""
        with self._store.read() as connection:
            yield from read_names(connection, self._terms, now_s)

    @property
    def place_count(self) -> int:
        """Places in use."""
        with self._store.read() as connection:
            return int(connection.execute(COUNT_PLACES).fetchone()[0])

    @property
    def subscriber_count(self) -> int:
        """Subscribers that are known."""
        with self._store.read() as connection:
            return int(connection.execute(COUNT_SUBSCRIBERS).fetchone()[0])

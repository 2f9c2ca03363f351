"""The time in which a register process is the writer: what sources say is judged, written, told to the tables, answered.

    sources.collect ──► Register.apply: one transaction ──► outlet: the kernel's tables ──► sources.settle: the answers

A store has one writer: whoever has its lock, which goes with the process. What fails is said again by whoever said it. It
knows the order of things, and refuses to know what any of them does.
"""

import fcntl
import os
import time
from pathlib import Path
from typing import Any

from penstock.control.configuration import Configuration
from penstock.control.subscribers.known import KnownSubscribers
from penstock.control.subscribers.open_flows import OpenFlows
from penstock.control.subscribers.outlet import Outlet
from penstock.control.subscribers.register import Register
from penstock.control.subscribers.schema import StoreDamagedError, StoreError
from penstock.control.subscribers.sources import Batch, Sources
from penstock.control.subscribers.store import Store
from penstock.control.subscribers.tally import Tally
from penstock.control.subscribers.updates import Updates
from penstock.errors import PenstockError

LOCK_S = 5.0  # for the process before us, which was told to leave, or died
FAILED_S = 0.2  # behind a batch that could not be written


class LockError(PenstockError):
    """Another process writes the store; the text names the cure."""


class Writing:
    """The time in which a process is the writer."""

    def __init__(self, outlet: Outlet, flows: Any, door: Path, configuration: Configuration, tally: Tally) -> None:
        """Be the writer, have the tables say what the register says, and listen. Raises PenstockError, OSError."""
        self.tally = tally
        settings = configuration.subscriber_register
        self._lock = take_store_lock(settings.database)
        self.store = Store(settings.database)
        self.register = Register(self.store, settings)
        self.tally.note(self.register.sync_configuration(configuration, time.time()))
        self.known = KnownSubscribers(settings.database)
        self.outlet = outlet
        self.open_flows = OpenFlows(outlet.directory, flows)
        # What they say waits in their sockets until the tables are filled.
        self.sources = Sources(door, configuration, self.known.find_subscriber, self._tell)
        self.outlet.fill(self.register)
        self.open_flows.note_all()

    def follow(self, configuration: Configuration) -> None:
        """Another configuration holds from now on. Raises StoreError: then the one before does."""
        updates = self.register.sync_configuration(configuration, time.time())
        self.tally.note(updates)
        self.outlet.follow(self.register, configuration)
        self.outlet.write(self.register, updates)
        self.open_flows.note_all()
        self.sources.follow(configuration)

    def take_turn(self, ready: list[Any], is_tick: bool) -> bool:
        """Do what there is to do. False when there is more of it."""
        self.open_flows.take_turn()
        batch = self.sources.collect(ready, is_tick)
        events = batch.events()
        begin_s = time.monotonic()
        try:
            if events:
                self._write(self.register.apply(events, time.time()))
                self.tally.note_time(time.monotonic() - begin_s)
            self.sources.settle(batch)
            is_all = not is_tick or self._expire()
            return is_all and not self.sources.is_busy
        except StoreDamagedError:
            raise
        except StoreError as error:
            self._fail(batch, str(error))
            return True

    def _expire(self) -> bool:
        self.tally.tick()
        updates = self.register.expire(time.time())
        self._write(updates)
        return not updates.is_more

    def _write(self, updates: Updates) -> None:
        self.tally.note(updates)
        self.outlet.write(self.register, updates)
        self.open_flows.note(updates)

    def _fail(self, batch: Batch, why: str) -> None:
        """Nothing was written: whoever spoke says it again."""
        self.sources.settle(batch, why)
        self.tally.note_failure(why)
        time.sleep(FAILED_S)

    def _tell(self) -> dict[str, Any]:
        return {
            "database": str(self.store.path.absolute()),
            "subscribers": self.register.subscriber_count,
            "places": self.register.place_count,
            "places_limit": self.outlet.configuration.subscriber_register.addresses,
            "places_lost": self.outlet.lost,
            "names": self.outlet.own_names.count,
            "names_limit": self.outlet.own_names.capacity,
            "names_lost": self.outlet.names_lost,
            "flows_changed": self.open_flows.changed,
            "radius": self.sources.radius.tell(),
            **self.tally.tell(),
        }

    def close(self) -> None:
        """Write and hear no more."""
        self.sources.close()
        self.known.close()
        self.store.close()
        os.close(self._lock)


def take_store_lock(database: Path) -> int:
    """Be the writer of a store, as soon as nobody else is. Returns the descriptor that holds the lock.

    Beside the file: closing a second descriptor of the file itself would give up SQLite's locks. Raises LockError, OSError.
    """
    path = database.with_name(f"{database.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    end_s = time.monotonic() + LOCK_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return fd
        except BlockingIOError:
            if time.monotonic() > end_s:
                os.close(fd)
                raise LockError(
                    f"{database}: another `penstock run` writes it: give each pair a `register.database` of its own"
                ) from None
            time.sleep(0.005)

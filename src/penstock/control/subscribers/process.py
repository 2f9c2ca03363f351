"""The register process: hears the sources, has the register judge what they say, and tells the kernel's tables.

    events of all sources ──► Register.apply (one transaction) ──► tables ──► answers to whoever spoke

Started by the control process with its standing in JSON as only argument and a socket as standard input, whose end means
stop. A message of it is an order; each is answered by a word there:

    follow     this configuration holds from now on: it brings the descriptor of it          followed
    load       fill the tables from the store, as another register's process leaves it       loaded
    begin      be the writer: as soon as nobody else is, of the store and of these tables    writing
    leave      leave both to another process                                                 left

A store has one writer: whoever has its lock, which goes with the process. When it dies the tables stay as they are, and what was
acknowledged is in the store. No packet waits for it.

It starts with the rights of the control process, maps the tables, and has given up what it can before it hears the first source:
it stays root, whose files it reads and writes, without any capability.
"""

import fcntl
import json
import os
import pickle
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

from penstock.control.configuration import Configuration
from penstock.control.subscribers.calls import find_register_door
from penstock.control.subscribers.outlet import Outlet
from penstock.control.subscribers.register import Register
from penstock.control.subscribers.sources import Batch, Sources
from penstock.control.subscribers.store import Store
from penstock.control.subscribers.tally import Tally
from penstock.control.subscribers.updates import Updates
from penstock.errors import PenstockError
from penstock.kernel import bpf, tables
from penstock.line.directory import Directory
from penstock.line.inline import Control
from penstock.line.pins import Pins, Size
from penstock.line.privileges import keep_file_rights

TICK_S = 1.0  # between looks at what nobody tells of: the watched file, and what is over
LOCK_S = 5.0  # for the process before us, which was told to leave, or died
FAILED_S = 0.2  # behind a batch that could not be written

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
log = structlog.get_logger()


class RegisterProcessError(PenstockError):
    """The register cannot do its work; the text names the cure."""


class RegisterProcess:
    """The register of one pair."""

    def __init__(self, standing: dict[str, Any], orders: socket.socket) -> None:
        self.pins = Pins(standing["ingress"], standing["egress"], Path(standing["root"]))
        size = Size(**standing["size"])
        self.pins.choose(size)
        size.declare()
        for table in (tables.control, tables.addresses, tables.subscribers):
            fd = self.pins.open_table(table.name)
            if fd is None:
                raise RegisterProcessError(f"the table {table.name} is not pinned at {self.pins.tables}")
            table.fd = fd
        maps = (bpf.map_memory(table) for table in (tables.addresses, tables.subscribers))
        self.directory = Directory(Control().memory, *maps)
        self.orders = orders
        self.tally = Tally()
        self.configuration = Configuration()
        self.writing: Writing | None = None
        self._due_s = 0.0

    def serve(self) -> None:
        """Until standard input ends. Raises PenstockError when the work cannot be done."""
        while self._turn():
            pass
        self.leave()

    def _turn(self) -> bool:
        sources = self.writing.sources if self.writing else None
        wait_s = max(self._due_s - time.monotonic(), 0) if sources else None
        ready, _, _ = select.select([self.orders, *(sources.waiting() if sources else [])], [], [], wait_s)
        if self.orders in ready and not self._obey():
            return False
        if self.writing is not None and self.writing.sources is sources:
            is_tick = time.monotonic() >= self._due_s
            if is_tick:
                self._due_s = time.monotonic() + TICK_S
            if not self.writing.take_turn(ready, is_tick):
                self._due_s = time.monotonic()  # there is more
        return True

    def _obey(self) -> bool:
        """Do as the control process says; False when it says no more."""
        message, descriptors, _, _ = socket.recv_fds(self.orders, 64, 1)
        order = message.decode()
        if order == "follow":
            with open(descriptors[0], "rb") as file:
                self.configuration = pickle.load(file)
            if self.writing is not None:
                self.writing.follow(self.configuration)
            self._say("followed")
        elif order == "load":
            self._load()
            self._say("loaded")
        elif order == "begin":
            if self.writing is None:
                self.writing = Writing(self)
            self._say("writing")
        elif order == "leave":
            self.leave()
            self._say("left")
        return bool(message)

    def _say(self, word: str) -> None:
        with suppress(OSError):  # who started us is gone: the end of its orders says so
            self.orders.send(word.encode())

    def _load(self) -> None:
        """Fill the tables with what another process keeps up to date."""
        path = self.configuration.subscriber_register.database
        if path.exists():
            with Register.open_reader(path) as register:
                Outlet(self.directory, self.configuration).fill(register)

    def leave(self) -> None:
        """Write and hear no more."""
        if self.writing is not None:
            self.writing.close()
            self.writing = None


class Writing:
    """The time in which a process is the writer."""

    def __init__(self, process: RegisterProcess) -> None:
        """Raises PenstockError, OSError."""
        self.tally, configuration = process.tally, process.configuration
        settings = configuration.subscriber_register
        self._lock = take_store_lock(settings.database)
        self.store = Store(settings.database)
        self.register = Register(self.store, settings)
        self.tally.note(self.register.sync_configuration(configuration, time.time()))
        self.reader = Reader(self.store.connection)
        self.outlet = Outlet(process.directory, configuration)
        # What they say waits in their sockets until the tables are filled.
        self.sources = Sources(find_register_door(process.pins), configuration, self._knows, self._tell)
        self.outlet.fill(self.register)

    def follow(self, configuration: Configuration) -> None:
        """Another configuration holds from now on. Raises StoreError: then the one before does."""
        updates = self.register.sync_configuration(configuration, time.time())
        self.tally.note(updates)
        self.outlet.configuration = configuration
        self.outlet.write(self.register, updates)
        self.sources.follow(configuration)

    def take_turn(self, ready: list[Any], is_tick: bool) -> bool:
        """Do what there is to do. False when there is more of it."""
        batch = self.sources.collect(ready, is_tick)
        events = batch.events()
        if not events and not is_tick:
            return True
        begin_s = time.monotonic()
        try:
            if events:
                self._write(self.register.apply(events, time.time()))
                self.tally.note_time(time.monotonic() - begin_s)
            self.sources.settle(batch)
            return not is_tick or self._expire()
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

    def _fail(self, batch: Batch, why: str) -> None:
        """Nothing was written: whoever spoke says it again."""
        self.sources.settle(batch, why)
        self.tally.note_failure(why)
        time.sleep(FAILED_S)

    def _knows(self, subscriber: str) -> bool:
        return self.reader.find_subscriber(subscriber) is not None

    def _tell(self) -> dict[str, Any]:
        return {
            "subscribers": self.register.subscriber_count,
            "places": self.register.place_count,
            "places_limit": self.outlet.configuration.subscriber_register.addresses,
            "places_lost": self.outlet.lost,
            "radius": self.sources.radius.tell(),
            **self.tally.tell(),
        }

    def close(self) -> None:
        """Write and hear no more."""
        self.sources.close()
        self.store.close()
        os.close(self._lock)


def take_store_lock(database: Path) -> int:
    """Be the writer of a store, as soon as nobody else is. Returns the descriptor that holds the lock.

    Beside the file, for closing a second descriptor of the file itself would give up SQLite's locks. Raises RegisterProcessError,
    OSError.
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
                raise RegisterProcessError(
                    f"{database}: another `penstock run` writes it: give each pair a `register.database` of its own"
                ) from None
            time.sleep(0.005)


def main() -> int:
    """Run until standard input ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the control process decides; its end closes our input
    try:
        process = RegisterProcess(json.loads(sys.argv[1]), socket.socket(fileno=sys.stdin.fileno()))
        keep_file_rights()
        process.serve()
    except (PenstockError, OSError) as error:
        print(f"penstock: the register: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

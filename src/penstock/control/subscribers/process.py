"""The register process: hears the sources, has the register judge what they say, and tells the kernel's tables.

    events of all sources ──► Register.apply (one transaction) ──► tables ──► answers to whoever spoke

Started by the control process with its standing in JSON as only argument and a socket as standard input, whose end means
stop. A message of it is an order; each is answered by a word there:

    follow     this configuration holds from now on: it brings the descriptor of it          followed
    load       fill the tables from the store, as another register's process leaves it       loaded
    begin      be the writer: as soon as nobody else is, of the store and of these tables    writing
    leave      leave both to another process                                                 left

Its last words say why it ends, when it does so without being told.

When it dies the tables stay as they are, and what was acknowledged is in the store. No packet waits for it.

It starts with the rights of the control process, maps the tables, and has given up what it can before it hears the first
source: it stays root, whose files it reads, without any capability, and writes to two directories only.
"""

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
from penstock.control.subscribers.keeper import LAST_WORDS, WORDS_BYTES
from penstock.control.subscribers.kept import KeptRegister
from penstock.control.subscribers.outlet import Outlet
from penstock.control.subscribers.radius_server import reserve_sockets
from penstock.control.subscribers.tally import Tally
from penstock.control.subscribers.terms import Terms
from penstock.control.subscribers.writing import Writing
from penstock.errors import PenstockError
from penstock.kernel import bpf, tables
from penstock.line.directory import Directory, compile_directory
from penstock.line.handover import DOORS, make_doors
from penstock.line.inline import Control
from penstock.line.landlock import confine_writing
from penstock.line.own_names import OwnNames, compile_own_names
from penstock.line.pins import Pins, Size
from penstock.line.privileges import keep_file_rights

TICK_S = 1.0  # between looks at what nobody tells of: the watched file, and what is over

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))


class RegisterProcessError(PenstockError):
    """The register cannot do its work; the text names the cure."""


class RegisterProcess:
    """The register of one pair."""

    def __init__(self, standing: dict[str, Any], orders: socket.socket) -> None:
        self.pins = Pins(standing["ingress"], standing["egress"], Path(standing["root"]))
        size = Size(**standing["size"])
        self.pins.choose(size)
        size.declare()
        for table in (tables.control, tables.addresses, tables.subscribers, tables.own_names, tables.flows):
            fd = self.pins.open_table(table.name)
            if fd is None:
                raise RegisterProcessError(f"the table {table.name} is not pinned at {self.pins.tables}")
            table.fd = fd
        maps = (bpf.map_memory(table) for table in (tables.addresses, tables.subscribers))
        self.directory = Directory(Control().memory, *maps)
        self.own_names = OwnNames(bpf.map_memory(tables.own_names), Control().word(tables.CONTROL_HASH_KEY))
        self.flows = bpf.map_memory(tables.flows)
        self.orders = orders
        self.tally = Tally()
        self.configuration = Configuration()
        self.writing: Writing | None = None
        self._due_s = 0.0
        self._is_confined = False

    def serve(self) -> None:
        """Until standard input ends. Raises PenstockError when the work cannot be done."""
        while self._turn():
            pass
        self.leave()

    def _turn(self) -> bool:
        sources = self.writing.sources if self.writing else None
        due_s = min(self._due_s, self.writing.open_flows.due_s) if self.writing else 0.0
        wait_s = max(due_s - time.monotonic(), 0) if sources else None
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
            self._confine()
            if self.writing is not None:
                self.writing.follow(self.configuration)
            self._say("followed")
        elif order == "load":
            self._load()
            self._say("loaded")
        elif order == "begin":
            if self.writing is None:
                door = find_register_door(self.pins)
                outlet = Outlet(self.directory, self.own_names, self.configuration)
                self.writing = Writing(outlet, self.flows, door, self.configuration, self.tally)
            self._say("writing")
        elif order == "leave":
            self.leave()
            self._say("left")
        return bool(message)

    def _confine(self) -> None:
        """From now on write below the directory of the store and that of the doors alone."""
        if not self._is_confined:
            place = self.configuration.subscriber_register.database.parent
            place.mkdir(parents=True, exist_ok=True)
            make_doors()
            os.environ["SQLITE_TMPDIR"] = str(place)
            self._is_confined = confine_writing([place, DOORS])

    def _say(self, word: str) -> None:
        with suppress(OSError):  # who started us is gone: the end of its orders says so
            self.orders.send(word.encode())

    def _load(self) -> None:
        """Fill the tables with what another process keeps up to date."""
        path = self.configuration.subscriber_register.database
        if path.exists():
            with KeptRegister(path, Terms.of(self.configuration)) as register:
                Outlet(self.directory, self.own_names, self.configuration).fill(register)

    def leave(self) -> None:
        """Write and hear no more."""
        if self.writing is not None:
            self.writing.close()
            self.writing = None


def main() -> int:
    """Run until standard input ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the control process decides; its end closes our input
    orders = socket.socket(fileno=sys.stdin.fileno())
    try:
        process = RegisterProcess(json.loads(sys.argv[1]), orders)
        compile_directory()
        compile_own_names()
        reserve_sockets()
        keep_file_rights()
        process.serve()
    except (PenstockError, OSError) as error:
        with suppress(OSError):  # nobody hears it
            orders.send(f"{LAST_WORDS}{error}".encode()[:WORDS_BYTES])
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

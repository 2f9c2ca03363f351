"""The keeper of the register process: starts it, tells it what holds, and starts it again when it died.

Nothing of the packet path waits for it: without it the tables say what they said. Only a start waits, and a hand-over,
each with a bound. It knows the orders' form (`process` has their meaning).
"""

import json
import os
import pickle
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import structlog

from penstock.control.configuration import Configuration
from penstock.control.whole_file import seal_file
from penstock.errors import PenstockError

BEGIN_S = 60.0  # a million subscribers, on a busy machine
FOLLOW_S = 3.0  # a reload waits for it, and goes on without
LEAVE_S = 6.0  # a batch, or a part of the tables, may be on its way
END_S = 3.0
WORDS_BYTES = 4096
RESTART_S, RESTART_LIMIT_S = 1.0, 30.0  # between starts of one that dies at once

LAST_WORDS = "failed: "
"""What a process begins with that says why it ends."""

log = structlog.get_logger()


class RegisterError(PenstockError):
    """The register did not begin; its own words say why."""


class RegisterKeeper:
    """The register process of one `run`. `is_stopped`: are we told to stop, so that nothing is worth waiting for?"""

    def __init__(self, is_stopped: Callable[[], bool]) -> None:
        self.is_stopped = is_stopped
        self._standing: dict[str, Any] = {}
        self._configuration: Configuration | None = None
        self._program: subprocess.Popen[Any] | None = None
        self._orders: socket.socket | None = None
        self._order = ""
        """What it is told again after a death."""
        self._last_words = ""
        self._due_s, self._pause_s = 0.0, RESTART_S

    # ---- the process --------------------------------------------------------------------------------------------------
    def start(self, standing: dict[str, Any], configuration: Configuration) -> None:
        """Start it; it imports and maps while we go on."""
        self._standing, self._configuration = standing, configuration
        self._start()

    def _start(self) -> None:
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._program = subprocess.Popen(
                [sys.executable, "-m", "penstock.control.subscribers.process", json.dumps(self._standing)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},  # a thread of NumPy's would keep the rights of root
            )
        self._last_words = ""
        self._give()
        if self._order:
            self._say(self._order)

    def _say(self, order: str, *descriptors: int) -> None:
        """Give an order. A process that died meanwhile takes none, and is told when it is started again."""
        if self._orders is not None:
            with suppress(OSError):
                socket.send_fds(self._orders, [order.encode()], list(descriptors))

    def _give(self) -> None:
        descriptor = seal_file("penstock-configuration", [pickle.dumps(self._configuration)])
        self._say("follow", descriptor)
        os.close(descriptor)

    def output(self) -> list[socket.socket]:
        """What can be read from when it says something, its end above all."""
        return [self._orders] if self._orders is not None else []

    def look_after(self) -> None:
        """Hear what it says; start it again when it died. Never waits."""
        was_alive = self._orders is not None
        if self._hear(0.0) == "" and was_alive:
            log.error("the register died; what the tables say stays in force", why=self._last_words)
        if self._orders is None and self._order and time.monotonic() >= self._due_s:
            log.info("starting the register again")
            try:
                self._start()
            except OSError as error:
                self._note_death(error.strerror or str(error))

    def _hear(self, within_s: float) -> str | None:
        """What it says within that time; None: nothing. Empty when it died."""
        if self._orders is None:
            return ""
        readable, _, _ = select.select([self._orders], [], [], within_s)
        if not readable:
            return None
        try:
            word = self._orders.recv(WORDS_BYTES).decode()
        except OSError:
            word = ""
        if word == "writing":
            self._pause_s = RESTART_S
        if word.startswith(LAST_WORDS):
            self._last_words = word.removeprefix(LAST_WORDS)
        if not word:
            self._note_death(self._last_words or f"it ended with status {self._await_end()}")
        return word

    def _note_death(self, why: str) -> None:
        if self._orders is not None:
            self._orders.close()
        self._orders = None
        self._last_words, self._due_s = why, time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, RESTART_LIMIT_S)

    # ---- orders -------------------------------------------------------------------------------------------------------
    def load(self) -> bool:
        """Have it fill the tables with what another one keeps. False: we are told to stop. Raises RegisterError."""
        self._say("load")
        return self._wait_for("loaded", BEGIN_S)

    def begin(self) -> None:
        """Have it be the writer, as soon as nobody else is."""
        self._order = "begin"
        self._say("begin")

    def await_writing(self) -> bool:
        """Wait until the tables say what it says. False when we are told to stop before. Raises RegisterError."""
        return self._wait_for("writing", BEGIN_S)

    def follow(self, configuration: Configuration) -> None:
        """Have this configuration hold, as a rule before we go on."""
        self._configuration = configuration
        self._give()
        try:
            self._wait_for("followed", FOLLOW_S)
        except RegisterError as error:
            log.warning("the register does not follow yet", error=str(error))

    def leave(self) -> None:
        """Have it leave store and tables to another process."""
        self._order = ""
        self._say("leave")
        try:
            self._wait_for("left", LEAVE_S)
        except RegisterError:
            self._kill()

    def dismiss(self) -> None:
        """Have it end in order."""
        if self._orders is not None:
            self._orders.close()
            self._orders = None

    def end(self) -> None:
        """Have it end in order, or else."""
        self.dismiss()
        self._await_end()

    def _await_end(self) -> int | None:
        """Its status, now or soon."""
        if self._program is None:
            return None
        with suppress(subprocess.TimeoutExpired):
            return self._program.wait(END_S)
        self._kill()
        return self._program.returncode

    def _kill(self) -> None:
        if self._program is not None and self._program.poll() is None:
            log.error("the register does not answer and is ended")
            self._program.kill()
            self._program.wait()

    def _wait_for(self, word: str, within_s: float) -> bool:
        end_s = time.monotonic() + within_s
        while time.monotonic() < end_s:
            if self.is_stopped():
                return False
            heard = self._hear(min(0.2, max(end_s - time.monotonic(), 0)))
            if heard == word:
                return True
            if heard == "":
                raise RegisterError(f"the register: {self._last_words}")
        raise RegisterError(f"the register was not {word} after {within_s:.0f} s")

"""The keeper of the portal process, which serves API and pages: starts it, hands it what is in force, answers it.

    control process                                  portal
      follow, 3 descriptors: configuration,     →      what is explained and shown from now on
              snapshot, names
      lines of events                           →      the journal; what its socket does not hold is counted and gone
      the answer, with the number of the call   ←→     tell, switch, reload, capture (`words`)

Nothing waits for it, ever: every send is one that may fail, what it asks is answered so many times a second and no oftener,
and when it dies it is started again. It does not know what the words mean.
"""

import json
import os
import pickle
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import structlog

from penstock.control.configuration import Configuration
from penstock.control.whole_file import seal_file
from penstock.errors import PenstockError
from penstock.policy.snapshot import Snapshot

MESSAGE_BYTES = 65_536
BATCH_BYTES = 32_768  # lines of events in one message
EVENTS_BYTES = 4 << 20  # of events that wait in the socket: some seconds of a flood
CALLS_PER_S = 40.0
END_S = 3.0
RESTART_S, RESTART_LIMIT_S = 1.0, 30.0  # between starts of one that dies at once
STEADY_S = 60.0  # one that lived for so long is started again at once
SO_SNDBUFFORCE = 32
LAST_WORDS = "failed"
ALLOWED = "allowed"

Answer = Callable[[str, dict[str, Any]], tuple[dict[str, Any], list[int]]]
"""A word and what goes with it: what to say, and descriptors, which are closed when they are sent. Raises PenstockError."""

log = structlog.get_logger()


class PortalKeeper:
    """The portal process of one `run`; none where `api.listen` is null."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._standing: dict[str, Any] = {}
        self._in_force: tuple[Configuration, Snapshot] | None = None
        self._program: subprocess.Popen[Any] | None = None
        self._orders: socket.socket | None = None
        self._events: socket.socket | None = None
        self._last_words = ""
        self._started_s = self._due_s = 0.0
        self._pause_s = RESTART_S
        self._calls, self._counted_s = CALLS_PER_S, 0.0
        self.lost_events = 0
        """Events that the journal never saw."""

    # ---- the process --------------------------------------------------------------------------------------------------
    def start(self, standing: dict[str, Any], configuration: Configuration, snapshot: Snapshot) -> None:
        """Start it, where the configuration has an address for it."""
        self._in_force = configuration, snapshot
        if configuration.api.listen is not None:
            self._standing = standing
            self._start()

    def _start(self) -> None:
        self._started_s = time.monotonic()
        try:
            self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._events, events = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs, events:
                with suppress(OSError):  # without the right to it the usual size
                    self._events.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, EVENTS_BYTES)
                self._program = subprocess.Popen(
                    [sys.executable, "-m", "penstock.portal.process", json.dumps(self._standing), str(events.fileno())],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    pass_fds=[events.fileno()],
                    env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},  # a thread of NumPy's would keep the rights of root
                )
        except OSError as error:
            self._note_death(error.strerror or str(error))
            return
        self._last_words = ""
        self._give()

    def _give(self) -> None:
        assert self._in_force is not None
        configuration, snapshot = self._in_force
        with suppress(OSError):
            descriptor = seal_file("penstock-configuration", [pickle.dumps(configuration)])
            try:
                self._send(b"follow", [descriptor, *snapshot.descriptors])
            finally:
                os.close(descriptor)

    def _send(self, content: bytes, descriptors: Iterable[int] = ()) -> None:
        """Say something, unless it takes nothing: then it dies or hangs, and is told everything when it starts again."""
        if self._orders is not None:
            with suppress(OSError):
                socket.send_fds(self._orders, [content], list(descriptors), socket.MSG_DONTWAIT)

    def follow(self, configuration: Configuration, snapshot: Snapshot) -> None:
        """Have it show and explain what is in force now."""
        self._in_force = configuration, snapshot
        self._give()

    # ---- what it hears and says ---------------------------------------------------------------------------------------
    def tell(self, events: list[dict[str, Any]]) -> None:
        """Hand over events. What does not fit is counted, and gone."""
        if self._events is None:
            return
        batch: list[bytes] = []
        size = 0
        for fields in events:
            if fields.get("reason") == ALLOWED:  # what the log has when it has everything
                continue
            line = json.dumps(fields).encode()
            if batch and size + len(line) > BATCH_BYTES:
                self._tell(batch)
                batch, size = [], 0
            batch.append(line)
            size += len(line) + 1
        if batch:
            self._tell(batch)

    def _tell(self, lines: list[bytes]) -> None:
        assert self._events is not None
        try:
            self._events.send(b"\n".join(lines), socket.MSG_DONTWAIT)
        except OSError:
            self.lost_events += len(lines)

    def output(self) -> list[socket.socket]:
        """What can be read from when it says something that is to be answered now."""
        return [self._orders] if self._orders is not None and self._may_call() else []

    def _may_call(self) -> bool:
        now_s = time.monotonic()
        self._calls = min(CALLS_PER_S, self._calls + (now_s - self._counted_s) * CALLS_PER_S)
        self._counted_s = now_s
        return self._calls >= 1

    def look_after(self) -> None:
        """Answer what it asks, start it again when it died. Never waits."""
        while self._orders is not None and self._may_call():
            try:
                content = self._orders.recv(MESSAGE_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except ConnectionResetError:  # it left something unread; what it said before that can still be heard
                continue
            except OSError:
                content = b""
            if not content:
                self._note_death(self._last_words or "without a word")
                log.error("the portal died; nothing else did", why=self._last_words)
                break
            self._calls -= 1
            self._hear(content)
        if self._orders is None and self._standing and time.monotonic() >= self._due_s:
            self._reap()
            log.info("starting the portal again")
            self._start()

    def _hear(self, content: bytes) -> None:
        try:
            said = dict(json.loads(content))
            word, number = str(said.pop("say")), int(said.pop("number", 0))
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            return  # whoever took the portal over says anything
        if word == LAST_WORDS:
            self._last_words = str(said.get("why", ""))[:500]
            return
        descriptors: list[int] = []
        try:
            answer, descriptors = self._answer(word, said)
        except PenstockError as error:
            answer = {"no": str(error)}
        try:
            self._send(json.dumps({"number": number, **answer}).encode(), descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _note_death(self, why: str) -> None:
        for end in (self._orders, self._events):
            if end is not None:
                end.close()
        self._orders = self._events = None
        now_s = time.monotonic()
        if now_s - self._started_s > STEADY_S:
            self._pause_s = RESTART_S
        self._last_words, self._due_s = why, now_s + self._pause_s
        self._pause_s = min(2 * self._pause_s, RESTART_LIMIT_S)

    # ---- the end ------------------------------------------------------------------------------------------------------
    def end(self) -> None:
        """Have it end in order, or else; and start none again."""
        self._standing = {}
        for end in (self._orders, self._events):
            if end is not None:
                end.close()
        self._orders = self._events = None
        self._reap(END_S)

    def _reap(self, within_s: float = 0.0) -> None:
        if self._program is None:
            return
        try:
            self._program.wait(within_s)
        except subprocess.TimeoutExpired:
            self._program.kill()
            self._program.wait()
        self._program = None

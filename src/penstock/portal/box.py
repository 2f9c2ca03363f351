"""The running box as the portal knows it: what is in force, what is counted, who is known; and how it is asked for changes.

The control process answers for the line, the register at its own door for subscribers; the store is read beside it. It
does not know HTTP, nor who may ask.
"""

import threading
import time
from pathlib import Path
from typing import Any

from penstock.control.configuration import Configuration
from penstock.control.explain import Explanation, explain
from penstock.control.subscribers.known import KnownSubscribers
from penstock.errors import PenstockError
from penstock.explain import find_chosen
from penstock.line.handover import Caller, HandoverError, RefusedError
from penstock.policy.snapshot import Snapshot
from penstock.portal.control_link import ControlLink, LinkError
from penstock.portal.problems import ProblemError

REGISTER_S = 10.0  # of a register that may just be filling the kernel's tables: then ask again
ASKING_LIMIT = 8  # who wait for an explanation at one time: others need threads, too
CALLING_LIMIT = 16  # for the register
TOLD_S = 0.5  # what was told is told again, whoever asks


class AbsentError(PenstockError):
    """A part of the box does not answer now; the text says which."""


class Box:
    """One running box. `link`: to its control process; `door`: of its register."""

    def __init__(self, link: ControlLink, door: Path) -> None:
        self.link, self.door = link, door
        self._configuration: Configuration | None = None
        self._snapshot: Snapshot | None = None
        self._retired: list[Snapshot] = []
        self._explaining, self._telling = threading.Lock(), threading.Lock()
        self._asking = threading.BoundedSemaphore(ASKING_LIMIT)
        self._kept = threading.local()
        self._told: dict[str, Any] = {}
        self._told_s = self._silent_s = float("-inf")
        self._calling = threading.BoundedSemaphore(CALLING_LIMIT)

    # ---- what is in force ---------------------------------------------------------------------------------------------
    def follow(self, configuration: Configuration, snapshot: Snapshot | None) -> None:
        """Have this be in force from here on. Never waits: who explains by what was in force before does so to the end."""
        if self._snapshot is not None:
            self._retired.append(self._snapshot)
        self._snapshot, self._configuration = snapshot, configuration
        if self._explaining.acquire(blocking=False):
            self._close_retired()
            self._explaining.release()

    def _close_retired(self) -> None:
        while self._retired:
            self._retired.pop().close()

    @property
    def configuration(self) -> Configuration:
        """The one in force. Raises AbsentError."""
        if self._configuration is None:
            raise AbsentError("nothing is in force yet: ask again")
        return self._configuration

    def explain(self, host: str, subscriber: str) -> Explanation:
        """What would happen to a host for a subscriber who is known. One at a time, for it reads lists.

        Raises ExplainError, AbsentError, StoreError.
        """
        if not self._asking.acquire(blocking=False):
            raise AbsentError("others want to know just now, too: ask again")
        try:
            with self._explaining:
                profile, chosen = find_chosen(self.configuration, subscriber)
                if self._snapshot is None:
                    raise AbsentError("what is in force cannot be read now: ask again")
                try:
                    return explain(self.configuration, self._snapshot, host, subscriber, profile, chosen)
                finally:
                    self._close_retired()
        finally:
            self._asking.release()

    # ---- the control process ------------------------------------------------------------------------------------------
    def tell(self) -> dict[str, Any]:
        """Everything that is counted, at most half a second old. Raises LinkError."""
        begin_s = time.monotonic()
        with self._telling:
            if self._silent_s > begin_s:  # whoever asked before waited long enough for all
                raise LinkError("the control process does not answer now")
            if time.monotonic() - self._told_s > TOLD_S:
                try:
                    self._told, _ = self.link.ask("tell")
                except LinkError:
                    self._silent_s = time.monotonic()
                    raise
                self._told_s = time.monotonic()
            return self._told

    def ask(self, word: str, **words: Any) -> dict[str, Any]:
        """Have the control process do something. Raises LinkError."""
        answer, _ = self.link.ask(word, **words)
        with self._telling:
            self._told_s = float("-inf")
        return answer

    # ---- the register -------------------------------------------------------------------------------------------------
    def known(self) -> KnownSubscribers:
        """The store of subscribers, open to read: this thread's, as long as the file is the same. Raises StoreError."""
        path = self.configuration.subscriber_register.database
        kept: tuple[KnownSubscribers, tuple[int, int]] | None = getattr(self._kept, "known", None)
        try:
            found = path.stat()
        except OSError:
            found = None
        if kept is not None and found is not None and kept[1] == (found.st_dev, found.st_ino):
            return kept[0]
        if kept is not None:
            kept[0].close()
            self._kept.known = None
        known = KnownSubscribers(path)
        if found is not None:
            self._kept.known = known, (found.st_dev, found.st_ino)
        return known

    def call_register(self, word: str, **words: Any) -> dict[str, Any]:
        """Say something to the register, and wait until it holds. Raises AbsentError, and a problem for what it refuses."""
        if not self._calling.acquire(blocking=False):
            raise AbsentError("others change something just now, too: ask again")
        try:
            with Caller(self.door) as caller:
                return caller.ask(word, REGISTER_S, **words)
        except RefusedError as error:
            raise ProblemError(422, error.why) from None
        except HandoverError:
            raise AbsentError("the register does not answer now: what holds goes on holding; ask again") from None
        finally:
            self._calling.release()

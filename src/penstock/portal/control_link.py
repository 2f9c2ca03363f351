"""What the portal says to the process that started it, and hears from there.

Knows the messages (`control.portal.keeper` has the other end). Refuses to know what they mean.
"""

import json
import os
import pickle
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from penstock.control.configuration import Configuration
from penstock.errors import PenstockError
from penstock.policy.snapshot import Snapshot, SnapshotError

MESSAGE_BYTES = 1 << 18
DESCRIPTORS = 4
ANSWER_S = 10.0  # of a control process that may just be taking a new policy

Follow = Callable[[Configuration, Snapshot | None], None]
Reply = tuple[dict[str, Any], list[int]]


class LinkError(PenstockError):
    """The control process does not answer, or says no; the text says why."""


class ControlLink:
    """The portal's end. `serve` is called by a thread of its own; `ask` by any."""

    def __init__(self, talk: socket.socket) -> None:
        self._talk = talk
        self._lock = threading.Lock()
        self._number = 0
        self._waiting: dict[int, SimpleQueue[Reply]] = {}

    def ask(self, word: str, **words: Any) -> Reply:
        """Say something and wait for the answer, and the descriptors that come with it. Raises LinkError."""
        replies: SimpleQueue[Reply] = SimpleQueue()
        with self._lock:
            self._number += 1
            number = self._number
            self._waiting[number] = replies
        try:
            content = json.dumps({"say": word, "number": number, **words}).encode()
            self._talk.send(content, socket.MSG_DONTWAIT)
            answer, descriptors = replies.get(timeout=ANSWER_S)
        except (Empty, OSError):
            raise LinkError("the control process does not answer now") from None
        finally:
            with self._lock:
                self._waiting.pop(number, None)
        if "no" in answer:
            raise LinkError(str(answer["no"]))
        return answer, descriptors

    def say_last(self, why: str) -> None:
        """Say why this process ends."""
        with suppress(OSError):
            self._talk.send(json.dumps({"say": "failed", "why": why}).encode(), socket.MSG_DONTWAIT)

    def hear(self, follow: Follow) -> bool:
        """Wait for one message, and do what it says; False at the end of all."""
        content, descriptors, _, _ = socket.recv_fds(self._talk, MESSAGE_BYTES, DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
        if not content:
            return False
        if content == b"follow":
            follow(*_open_policy(descriptors))
            return True
        answer = dict(json.loads(content))
        with self._lock:
            replies = self._waiting.get(answer.pop("number"))
        if replies is None:  # whoever asked waits no more
            for descriptor in descriptors:
                os.close(descriptor)
        else:
            replies.put((answer, list(descriptors)))
        return True


def _open_policy(descriptors: list[int]) -> tuple[Configuration, Snapshot | None]:
    """What is in force. No snapshot: this process cannot read it, which says so where one is needed."""
    with open(descriptors[0], "rb") as file:
        configuration: Configuration = pickle.load(file)
    try:
        return configuration, Snapshot.open(Path("snapshot"), (descriptors[1], descriptors[2]))
    except SnapshotError:
        return configuration, None

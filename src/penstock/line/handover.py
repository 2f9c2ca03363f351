"""One `run` for each pair of interfaces, and how the place is handed on.

    /sys/fs/bpf/penstock-<netns>-<ingress>-<egress>      locked (flock) by the run that holds the pair: it dies with it
    /run/penstock/penstock-<netns>-<ingress>-<egress>    its door, a socket for root alone: JSON, a message each

    caller                      holder
      who                   →   told: pid, version, layout, interfaces, configuration, metrics
      come                  →   welcome                one at a time: it prepares, and the holder works on
      leave, drain          →   left                   its workers have stopped; rings and records stay as they are
      done                  →   yours, and the lock    it ends without cutting anything
      (goes, having come)                              it judges again, as if nothing had been
      succeed, program      →   succeeded | no         it starts that program, which calls with `leave`

Knows the lock and the messages, which all versions share. Refuses to know what either side does about them.
"""

import fcntl
import json
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from penstock.errors import PenstockError
from penstock.line.pins import Pins, network_namespace

DOORS = Path("/run/penstock")
SPEAKS = 1  # the version of these messages
MESSAGE_BYTES = 65536
ANSWER_S = 2.0  # of a holder that is alive: it looks at its door many times a second
BUSY_S = 60.0  # one that reads its lists again looks when it is done


class HandoverError(PenstockError):
    """The place cannot be had; the text says who has it, and the cure."""


class AbsentError(HandoverError):
    """Nobody is behind the door."""


class RefusedError(HandoverError):
    """Who is behind the door says no. `why`: in his words."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the running one says no: {why}")
        self.why = why


def take_lock(pins: Pins) -> int | None:
    """Lock the pair for this process: the descriptor that holds the lock, or None when another one has it."""
    pins.make()
    fd = os.open(pins.directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd


def make_doors() -> None:
    """Make the directory of the doors, for root alone. Raises HandoverError."""
    try:
        DOORS.mkdir(mode=0o700, parents=True, exist_ok=True)
        DOORS.chmod(0o700)
    except OSError as error:
        raise HandoverError(f"{DOORS}: {error.strerror}: it must be a directory that is ours to write") from None


def find_door(pins: Pins) -> Path:
    """The door of the run that holds a pair."""
    return DOORS / pins.directory.name


def find_doors() -> list[Path]:
    """The doors of this network namespace, of runs that may be dead."""
    return sorted(DOORS.glob(f"penstock-{network_namespace()}-*"))


def _is_own(talk: socket.socket) -> bool:
    """Is at the other end a process of the same user?"""
    raw = talk.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int(struct.unpack("iII", raw)[1]) == os.geteuid()


@dataclass
class Visitor:
    """One who knocked: a connection of the same user's."""

    talk: socket.socket

    def say(self, word: str, lock: int | None = None, **words: Any) -> None:
        """Send a message, with the lock or without. Whoever went does not hear it."""
        content = json.dumps({"say": word} | words).encode()
        with suppress(OSError):
            socket.send_fds(self.talk, [content], [] if lock is None else [lock])

    def hear(self) -> dict[str, Any] | None:
        """What the visitor says; None when he went."""
        try:
            content = self.talk.recv(MESSAGE_BYTES)
            return dict(json.loads(content)) if content else None
        except (OSError, ValueError):
            return None


class Door:
    """Where others ask whoever holds something alone; the holder of a pair above all (`find_door`)."""

    def __init__(self, path: Path) -> None:
        make_doors()
        self.path = path
        self.path.unlink(missing_ok=True)  # of one that is dead, or has left to us: we have the lock
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(self.path))
        self.path.chmod(0o600)
        self._listener.listen()
        self._listener.setblocking(False)
        self._inode = self.path.stat().st_ino
        self._visitors: list[Visitor] = []

    def sockets(self) -> list[socket.socket]:
        """What can be read from when somebody wants something."""
        return [self._listener, *(visitor.talk for visitor in self._visitors)]

    def answer(self, ready: list[Any]) -> Iterator[tuple[Visitor, dict[str, Any] | None]]:
        """What visitors said, of those sockets that are `ready`; None from one that went."""
        if self._listener in ready:
            with suppress(OSError):
                talk, _ = self._listener.accept()
                if _is_own(talk):
                    talk.settimeout(ANSWER_S)
                    self._visitors.append(Visitor(talk))
                else:
                    talk.close()
        for visitor in [visitor for visitor in self._visitors if visitor.talk in ready]:
            said = visitor.hear()
            if said is None:
                self._visitors.remove(visitor)
                visitor.talk.close()
            yield visitor, said

    def close(self) -> None:
        """Close it. The name goes unless it is another's by now."""
        with suppress(OSError):
            if self.path.stat().st_ino == self._inode:
                self.path.unlink()
        for talk in self.sockets():
            talk.close()


class Caller:
    """The other end: asks the holder behind a door. Raises AbsentError when nobody is there, and each question
    HandoverError when there is no answer."""

    def __init__(self, door: Path) -> None:
        self._talk = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._talk.settimeout(ANSWER_S)
        try:
            self._talk.connect(str(door))
        except OSError as error:
            self._talk.close()
            raise AbsentError(f"no run answers at {door}: {error.strerror or error}") from None
        if not _is_own(self._talk):
            self._talk.close()
            raise HandoverError(f"{door} is another user's")
        self._lock: int | None = None

    def ask(self, word: str, wait_s: float = ANSWER_S, **words: Any) -> dict[str, Any]:
        """Say something and wait for the answer."""
        self._talk.settimeout(wait_s)
        try:
            self._talk.send(json.dumps({"say": word} | words).encode())
            content, fds, _, _ = socket.recv_fds(self._talk, MESSAGE_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
        except OSError as error:
            raise HandoverError(
                f"the running one does not answer ({error or 'no answer'}): end it, then start"
            ) from None
        if fds:
            self._lock = fds[0]
        answer = dict(json.loads(content)) if content else {"say": "gone"}
        if answer["say"] == "no":
            raise RefusedError(str(answer.get("why")))
        return answer

    def who(self, wait_s: float = ANSWER_S) -> dict[str, Any]:
        """What the holder says of itself. Raises HandoverError when it speaks another language."""
        told = self.ask("who", wait_s)
        if told.get("speaks") != SPEAKS:
            raise HandoverError(f"version {told.get('version')} cannot hand its place on: end it, then start")
        return told

    def come(self, version: str) -> None:
        """Announce that we want the place."""
        self.ask("come", BUSY_S, version=version, pid=os.getpid())

    def ask_leave(self, drain: bool) -> None:
        """Have the holder stop its workers; with `drain` once their rings are empty."""
        if self.ask("leave", BUSY_S, drain=drain)["say"] != "left":
            raise HandoverError("the running one ended instead of handing its place on: start again")

    def finish(self, pins: Pins) -> int | None:
        """Tell the holder that it may end; the lock, which is ours now. A holder that died meanwhile left it, too."""
        with suppress(HandoverError):
            self.ask("done", BUSY_S)
        return self._lock if self._lock is not None else take_lock(pins)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the talk. A holder that left, and was not told `done`, judges again."""
        self._talk.close()


def find_holder(pins: Pins) -> Caller:
    """Call the run that holds the pair. Raises HandoverError when it does not answer."""
    try:
        return Caller(find_door(pins))
    except AbsentError:
        raise HandoverError(
            "another run holds this pair, and answers nobody until it judges: wait, or end it"
        ) from None

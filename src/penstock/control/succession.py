"""What a running Penstock answers at its door: who it is, and how it hands its place on.

    holding ── come ──► an heir prepares ── leave ──► left ── done ──► over: end without cutting anything
       ▲                       │ goes                   │ goes
       └───────────────────────┴── take_back ◄──────────┘

The heir is any process of the same user, as a rule one that `succeed` had us start: as our child it stays in systemd's
unit, with our streams and environment. Knows the order of things. Refuses to know workers and programs: `Place` does.
"""

import subprocess
from collections.abc import Sequence
from typing import Any, Protocol

import structlog

from penstock import __version__
from penstock.line.handover import SPEAKS, Door, Visitor

log = structlog.get_logger()


class Place(Protocol):
    """The run that is asked."""

    def describe(self) -> dict[str, Any]:
        """Interfaces, configuration, and so on."""

    def leave(self, drain: bool) -> None:
        """Stop the workers for the heir; with `drain` once the rings are empty."""

    def take_back(self, had_left: bool) -> None:
        """Judge again: the heir went before it had the place, which we had left for it or not."""

    def hand_over(self) -> None:
        """Give up what only one can have, the lock excepted."""

    def start_heir(self, program: Sequence[str]) -> "subprocess.Popen[Any]":
        """Start `program` as another run of this pair that takes the place."""


class Succession:
    """The holder's half of a hand-over. `has_left`: the workers stand still; `is_over`: the place is another's."""

    def __init__(self, door: Door, lock: int, place: Place) -> None:
        self.door, self.lock, self.place = door, lock, place
        self.heir: Visitor | None = None
        self.asker: Visitor | None = None  # of an heir that we started
        self.child: subprocess.Popen[Any] | None = None
        self.has_left = self.is_over = False

    def serve(self, ready: list[Any]) -> None:
        """Answer what was said at those of the door's sockets that are `ready`."""
        for visitor, said in self.door.answer(ready):
            if said is None:
                self._miss(visitor)
            else:
                self._hear(visitor, said)
        if self.child is not None and self.child.poll() is not None and not self.is_over:
            self._tell_asker("no", why=f"what it started ended with status {self.child.returncode}; its log says why")
            self.child = None

    def _hear(self, visitor: Visitor, said: dict[str, Any]) -> None:
        word = said.get("say")
        if word == "who":
            visitor.say("told", speaks=SPEAKS, version=__version__, **self.place.describe())
        elif word == "come" and self.heir is None:
            self.heir = visitor
            log.info("another run prepares to take over", version=said.get("version"), process=said.get("pid"))
            visitor.say("welcome")
        elif word == "leave" and visitor is self.heir and not self.has_left:
            self.has_left = True
            self.place.leave(bool(said.get("drain")))
            visitor.say("left")
        elif word == "done" and self.has_left and visitor is self.heir:
            self.is_over = True
            self.place.hand_over()
            visitor.say("yours", self.lock)
            self._tell_asker("succeeded")
        elif word == "succeed" and self.heir is None and self.child is None:
            self._start_heir(visitor, said)
        else:
            visitor.say("no", why="another one is taking over" if self.heir or self.child else f"{word} makes no sense")

    def _start_heir(self, visitor: Visitor, said: dict[str, Any]) -> None:
        program = [str(word) for word in said.get("program", [])]
        try:
            self.child = self.place.start_heir(program)
        except OSError as error:
            visitor.say("no", why=f"{' '.join(program)}: {error.strerror}")
            return
        self.asker = visitor
        log.info("starting another run to take over", program=program, process=self.child.pid)

    def _miss(self, visitor: Visitor) -> None:
        """A visitor went."""
        if visitor is self.asker:
            self.asker = None
        if visitor is self.heir and not self.is_over:
            had_left, self.heir, self.has_left = self.has_left, None, False
            log.error("the other run did not take over")
            self.place.take_back(had_left)

    def _tell_asker(self, word: str, **words: Any) -> None:
        if self.asker is not None:
            self.asker.say(word, **words)
            self.asker = None

"""What people and programs say to a running register, at a door of its own: JSON, a message each.

    caller                                     register
      set, subscriber, and what is to hold  →  done | no, why          behind the commit, as everything
      tell                                  →  told, and what is counted

Knows the words, and makes events of them. It does not know the rules (`register`), nor who may knock (`line.handover`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from penstock.control.configuration import Configuration
from penstock.control.fields import Count, Model
from penstock.control.problems import suggest_name
from penstock.control.subscribers.model import Assign, Change, Event, Release
from penstock.control.subscribers.place_text import parse_place
from penstock.control.subscribers.settings import Scope
from penstock.errors import PenstockError
from penstock.line.handover import DOORS, Caller, Door, HandoverError, Visitor
from penstock.line.pins import Pins, network_namespace

ANSWER_S = 30.0  # of a register that may just be filling the kernel's tables
CHANGES = ("profile", "fail", "packets_per_s", "paused_until_s")

Tell = Callable[[], dict[str, Any]]
Known = Callable[[str], bool]


class CallError(PenstockError):
    """What was said makes no sense, or nobody listens; the text says why."""


class SetCall(Model):
    """What is to hold for a subscriber; None: what held before. An empty list of addresses: he is nowhere by calls."""

    subscriber: Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,253}$")]
    profile: str | None = None
    fail: Literal["open", "closed"] | None = None
    packets_per_s: Annotated[Count, Field(ge=0, le=1_000_000_000)] | None = None
    paused_until_s: Annotated[float, Field(ge=0)] | None = None
    addresses: tuple[str, ...] | None = None
    scope: str | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """A call that changes something: to be answered when it is written down."""

    visitor: Visitor
    events: tuple[Event, ...]


def find_register_door(pins: Pins) -> Path:
    """The door of a pair's register: not among those of runs."""
    return DOORS / pins.directory.name.replace("penstock-", "register-", 1)


def find_register_doors() -> list[Path]:
    """The doors of registers in this network namespace, some of which may be dead."""
    return sorted(DOORS.glob(f"register-{network_namespace()}-*"))


class Calls:
    """The door of a register. `configuration` may be replaced at any time."""

    def __init__(self, path: Path, configuration: Configuration, knows: Known, tell: Tell) -> None:
        """`knows`: is there such a subscriber? `tell`: what is counted. Raises HandoverError, OSError."""
        self.configuration, self._knows, self._tell = configuration, knows, tell
        self._door = Door(path)

    def sockets(self) -> list[Any]:
        """What can be read from when somebody says something."""
        return list(self._door.sockets())

    def hear(self, ready: list[Any], now_s: float) -> list[Said]:
        """What was said at those of the sockets that are `ready`."""
        heard = []
        for visitor, said in self._door.answer(ready):
            if said is None:
                continue
            word = said.pop("say", None)
            try:
                if word == "tell":
                    visitor.say("told", **self._tell())
                elif word == "set":
                    heard.append(Said(visitor, self._read(said, now_s)))
                else:
                    raise CallError(f"{word} makes no sense")
            except CallError as error:
                visitor.say("no", why=str(error))
        return heard

    def close(self) -> None:
        """Listen no more."""
        self._door.close()

    def _read(self, said: dict[str, Any], now_s: float) -> tuple[Event, ...]:
        try:
            call = SetCall.model_validate(said)
        except ValidationError as error:
            raise CallError("; ".join(f"{_word_place(one['loc'])}: {one['msg']}" for one in error.errors())) from None
        profiles = self.configuration.profiles
        if call.profile is not None and call.profile not in profiles:
            raise CallError(f"there is no profile `{call.profile}`: {suggest_name(call.profile, profiles)}")
        if not call.addresses and not self._knows(call.subscriber):
            raise CallError(f"there is no subscriber `{call.subscriber}`: say where he is, too")
        return tuple(build_events(call, self.configuration.scopes, now_s))


def _word_place(location: tuple[Any, ...]) -> str:
    return ".".join(map(str, location)) or "the call"


def build_events(call: SetCall, scopes: Mapping[str, Scope], now_s: float) -> list[Event]:
    """The events of a call. Raises CallError."""
    events: list[Event] = []
    if any(getattr(call, name) is not None for name in CHANGES):
        events.append(Change(call.subscriber, now_s, **{name: getattr(call, name) for name in CHANGES}))
    if call.addresses is not None:
        scope = _find_scope(call.scope, scopes)
        try:
            places = tuple(place for text in call.addresses for place in parse_place(text, scope))
        except ValueError as error:
            raise CallError(str(error)) from None
        if places:
            events.append(Assign("call", call.subscriber, call.subscriber, places, now_s))
        else:
            events.append(Release("call", call.subscriber, now_s))
    if not events:
        raise CallError("nothing was said that could hold")
    return events


def _find_scope(name: str | None, scopes: Mapping[str, Scope]) -> int:
    if name is None:
        return 0
    if name not in scopes:
        raise CallError(f"there is no scope `{name}`: {suggest_name(name, scopes)}")
    return scopes[name].number


def call_register(door: Path, word: str, wait_s: float = ANSWER_S, **words: Any) -> dict[str, Any]:
    """Say something to a register, and wait for its answer. Raises CallError."""
    try:
        with Caller(door) as caller:
            return caller.ask(word, wait_s, **words)
    except HandoverError as error:
        raise CallError(str(error)) from None

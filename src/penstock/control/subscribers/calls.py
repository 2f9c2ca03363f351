"""What people and programs say to a running register, at a door of its own: JSON, a message each.

    caller                                     register
      set, subscriber, and what is to hold  →  done | no, why          behind the commit, as everything
      choices, subscriber                   →  told, his choices and what they come to now
      tell                                  →  told, and what is counted

Knows the words, and makes events of them. It does not know the rules (`register`), nor who may knock (`line.handover`).
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from penstock.control.configuration import Configuration
from penstock.control.fields import Count, Model
from penstock.control.problems import suggest_name
from penstock.control.subscribers.choices import NONE_CHOSEN, Choices, ChoicesError, Edit, list_problems
from penstock.control.subscribers.known import Known
from penstock.control.subscribers.model import Assign, Change, Event, Release
from penstock.control.subscribers.place_text import parse_place
from penstock.control.subscribers.settings import Scope
from penstock.errors import PenstockError
from penstock.line.handover import DOORS, Caller, Door, HandoverError, Visitor
from penstock.line.pins import Pins, network_namespace

ANSWER_S = 30.0  # of a register that may just be filling the kernel's tables
CHANGES = ("profile", "fail", "packets_per_s", "paused_until_s")

Tell = Callable[[], dict[str, Any]]
Find = Callable[[str], Known | None]


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
    choices: dict[str, Any] | None = None
    """Fields of his choices; those that are not here stay."""
    edit: Edit | None = None
    """Single things of them, behind that."""


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

    def __init__(self, path: Path, configuration: Configuration, find: Find, tell: Tell) -> None:
        """`find`: what is written down of a subscriber; `tell`: what is counted. Raises HandoverError, OSError."""
        self.configuration, self._find, self._tell = configuration, find, tell
        self._chosen: dict[str, Choices] = {}
        """By what was heard, and is not written down yet."""
        self._door = Door(path)

    def sockets(self) -> list[Any]:
        """What can be read from when somebody says something."""
        return list(self._door.sockets())

    def hear(self, ready: list[Any], now_s: float) -> list[Said]:
        """What was said at those of the sockets that are `ready`."""
        heard = []
        self._chosen.clear()
        for visitor, said in self._door.answer(ready):
            if said is None:
                continue
            word = said.pop("say", None)
            try:
                if word == "tell":
                    visitor.say("told", **self._tell())
                elif word == "set":
                    heard.append(Said(visitor, self._read(said, now_s)))
                elif word == "choices":
                    visitor.say("told", **self._tell_choices(said))
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
            raise CallError(_word_problems(list_problems(SetCall, error))) from None
        profiles = self.configuration.profiles
        if call.profile is not None and call.profile not in profiles:
            raise CallError(f"there is no profile `{call.profile}`: {suggest_name(call.profile, profiles)}")
        known = self._find(call.subscriber)
        if not call.addresses and known is None:
            raise CallError(f"there is no subscriber `{call.subscriber}`: say where he is, too")
        choices = None
        if call.choices is not None or call.edit is not None:
            choices = self._choose(call, known.choices if known else NONE_CHOSEN)
        return tuple(build_events(call, self.configuration.scopes, now_s, choices))

    def _choose(self, call: SetCall, before: Choices) -> Choices:
        """What he chose, with what is to be otherwise."""
        try:
            choices = self._chosen.get(call.subscriber, before).replace(call.choices or {})
            edit = call.edit or Edit()
            found = list(find_problems(self.configuration, choices, edit, (call.choices or {}).keys()))
            if found:
                raise ChoicesError(found)
            choices = edit.apply(choices)
        except ChoicesError as error:
            raise CallError(_word_problems(error.problems)) from None
        self._chosen[call.subscriber] = choices
        return choices

    def _tell_choices(self, said: dict[str, Any]) -> dict[str, Any]:
        name = said.get("subscriber")
        known = self._find(name) if isinstance(name, str) else None
        if known is None:
            raise CallError(f"there is no subscriber `{name}`")
        return {"choices": known.choices.to_data(), "effective": tell_effective(known)}


def tell_effective(known: Known) -> dict[str, Any]:
    """What holds for a subscriber now, as data."""
    line, found = known.line, known.effective
    return {
        "services": sorted(line.services),
        "paused": line.is_paused,
        **line.switches._asdict(),
        "schedules": list(found.schedules),
        "names": len(found.names),
        "next_change_s": found.next_change_s,
    }


def find_problems(
    configuration: Configuration, choices: Choices, edit: Edit, given: Collection[str]
) -> Iterator[tuple[str, str]]:
    """Fields of what is `given`, and of an edit, that a configuration cannot keep, and what was expected."""
    services = configuration.services
    named = [(f"edit.services.{name}", name) for name, is_on in edit.services.items() if is_on is not None]
    if "services" in given:
        named += [(f"services.{name}", name) for name in choices.services]
    if "schedules" in given:
        for number, schedule in enumerate(choices.schedules):
            named += [(f"schedules[{number}].services[{at}]", name) for at, name in enumerate(schedule.services)]
    for field, name in named:
        if name not in services:
            yield field, f"expected one of `services` of the configuration: {suggest_name(name, services)}"
    for field in ("safe_search", "youtube"):
        works = configuration.dns.judge and configuration.dns.resolvers
        if field in given and getattr(choices, field) not in (None, "off") and not works:
            yield (
                field,
                "expected null or `off`: there are no `dns.resolvers` in the configuration, and it works by DNS",
            )


def _word_problems(problems: Iterable[tuple[str, str]]) -> str:
    return "; ".join(f"{field or 'the call'}: {expected}" for field, expected in problems)


def build_events(
    call: SetCall, scopes: Mapping[str, Scope], now_s: float, choices: Choices | None = None
) -> list[Event]:
    """The events of a call. `choices`: all that he chose, if that is to be otherwise. Raises CallError."""
    events: list[Event] = []
    said = {name: getattr(call, name) for name in CHANGES} | {"choices": choices}
    if any(value is not None for value in said.values()):
        events.append(Change(call.subscriber, now_s, **said))
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
            answer = caller.ask(word, wait_s, **words)
    except HandoverError as error:
        raise CallError(str(error)) from None
    if answer["say"] == "gone":
        raise CallError("the register did not answer: it ended, or that was more than it reads at once (64 KB)")
    return answer

"""What a subscriber chose: services on or off, names of his own, schedules, SafeSearch; as a model, and as JSON.

    {"services": {"ad blocking": false}, "deny": ["casino.example"], "zone": "Europe/Madrid",
     "schedules": [{"name": "night", "days": ["mon", "tue"], "begin": "21:00", "end": "07:00", "pause": true}]}

The same JSON is what the store keeps, what the register's door takes and gives, and what people read and write. What it
comes to at a moment, `effective` says; it does not know which services there are, nor what a profile is.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, ValidationError, model_validator

from penstock.control.fields import Label, Model, Switch
from penstock.control.lists.entries import BadLine, parse_name
from penstock.control.problems import describe_error, format_location
from penstock.control.subscribers.zones import parse_zone
from penstock.control.values import build_name_parser
from penstock.errors import PenstockError

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SERVICES_LIMIT = 64
NAMES_LIMIT = 500
SCHEDULES_LIMIT = 16
OVERRIDES_LIMIT = 100
TIME_LIMIT_S = 1 << 37  # about the year 6300; six bytes of milliseconds hold it
TEXT_LIMIT = 32_768  # characters of the JSON: a message at the register's door has twice as many bytes


class ChoicesError(PenstockError):
    """These are no choices. Its text names each field and what was expected; `problems` has them one by one."""

    def __init__(self, problems: Iterable[tuple[str, str]]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{field}: {expected}" if field else expected for field, expected in self.problems))


def parse_host(value: Any) -> str:
    """A name as hosts are compared: small ASCII letters, no dot at the end. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError("expected a name such as www.example.com")
    try:
        return parse_name(value.strip().encode()).decode()
    except (BadLine, UnicodeError) as error:
        raise ValueError(f"expected a name such as www.example.com: {error}") from None


def _read_off(value: Any) -> Any:
    """YAML reads a bare `off` as false."""
    return "off" if value is False else value


def _round_up(until_s: float) -> float:
    if not 0 <= until_s < TIME_LIMIT_S:
        raise ValueError(f"expected a time in seconds since 1970, not {until_s}")
    return float(math.ceil(until_s))


def _order_days(days: tuple[Day, ...]) -> tuple[Day, ...]:
    if not days:
        raise ValueError("expected at least one day, such as [mon, tue]")
    return tuple(day for day in DAYS if day in days)


def _drop_repeated(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


_parse_time: Callable[[Any], str] = build_name_parser(
    r"(?:[01][0-9]|2[0-3]):[0-5][0-9]", "expected a time of the day from 00:00 to 23:59"
)
_parse_title: Callable[[Any], str] = build_name_parser(
    r"(?! )[^\x00-\x1f\x7f]{1,40}(?<! )", "expected 1 to 40 characters, no space at either end"
)
TimeOfDay = Annotated[str, PlainValidator(_parse_time)]
Host = Annotated[str, PlainValidator(parse_host)]
Hosts = Annotated[tuple[Host, ...], Field(max_length=NAMES_LIMIT), AfterValidator(_drop_repeated)]
Services = Annotated[tuple[Label, ...], Field(max_length=SERVICES_LIMIT), AfterValidator(_drop_repeated)]
Zone = Annotated[str, PlainValidator(parse_zone)]
Level = Annotated[Literal["off", "moderate", "strict"], BeforeValidator(_read_off)]


class Schedule(Model):
    """Something that holds in a part of certain days, as the clock on the wall shows it."""

    name: Annotated[str, PlainValidator(_parse_title)]
    days: Annotated[tuple[Day, ...], AfterValidator(_order_days)]
    """Those on which it begins."""
    begin: TimeOfDay
    end: TimeOfDay
    """Of the next day, unless it is behind `begin`."""
    pause: Switch = False
    """No internet meanwhile."""
    services: Services = ()
    """Those that are on meanwhile, too."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.pause and not self.services:
            raise ValueError("expected `pause` or `services`: what holds meanwhile")
        return self


class Override(Model):
    """A name that he may go to for a while, whatever else holds: granted by the operator."""

    name: Host
    until_s: Annotated[float, AfterValidator(_round_up)]
    """Seconds since 1970, whole ones."""


class Choices(Model):
    """All that a subscriber chose. Whatever is not there is as his profile has it."""

    services: Annotated[dict[Label, Switch], Field(max_length=SERVICES_LIMIT)] = {}
    """On or off, where it is not as in his profile."""
    allow: Hosts = ()
    """Names that are never refused to him, each with all below it, court orders aside."""
    deny: Hosts = ()
    """Names that are refused to him, each with all below it; of `allow` and `deny` the nearer name decides."""
    schedules: Annotated[tuple[Schedule, ...], Field(max_length=SCHEDULES_LIMIT)] = ()
    zone: Zone | None = None
    """Whose clock schedules mean; None: `register.zone` of the configuration."""
    safe_search: Level | None = None
    youtube: Level | None = None
    overrides: Annotated[tuple[Override, ...], Field(max_length=OVERRIDES_LIMIT)] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        both = sorted(set(self.allow) & set(self.deny))
        if both:
            raise ValueError(f"expected each name in `allow` or in `deny`, not in both: {', '.join(both[:5])}")
        names = [schedule.name for schedule in self.schedules]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"expected schedules with a name each: `{twice}` is there twice")
        if len(self.write()) > TEXT_LIMIT:
            raise ValueError(f"expected at most {TEXT_LIMIT:,} characters of JSON in all")
        return self

    def write(self) -> str:
        """As JSON, without what is not chosen."""
        return json.dumps(self.to_data(), separators=(",", ":"))

    def to_data(self) -> dict[str, Any]:
        """As plain dictionaries and lists, without what is not chosen."""
        return self.model_dump(mode="json", exclude_defaults=True)

    def replace(self, given: Mapping[str, Any]) -> "Choices":
        """The same with the fields that are `given` in their place. Raises ChoicesError."""
        return check_choices(self.model_dump() | dict(given))


class Edit(Model):
    """Single things that are to be otherwise. Of names that are in both, the last word is that of `allow`."""

    services: dict[Label, Switch | None] = {}
    """None: as his profile has it."""
    allow: tuple[Host, ...] = ()
    deny: tuple[Host, ...] = ()
    no_allow: tuple[Host, ...] = ()
    no_deny: tuple[Host, ...] = ()

    def apply(self, choices: Choices) -> Choices:
        """Choices with that. Raises ChoicesError."""
        services = {name: on for name, on in (choices.services | self.services).items() if on is not None}
        not_allowed, not_denied = {*self.no_allow, *self.deny} - {*self.allow}, {*self.no_deny, *self.allow}
        allow = [name for name in (*choices.allow, *self.allow) if name not in not_allowed]
        deny = [name for name in (*choices.deny, *self.deny) if name not in not_denied]
        return choices.replace({"services": services, "allow": allow, "deny": deny})


NONE_CHOSEN = Choices()


def check_choices(content: Any) -> Choices:
    """Choices from what JSON or YAML made of their text. Raises ChoicesError."""
    try:
        return Choices.model_validate(content)
    except ValidationError as error:
        raise ChoicesError(list_problems(Choices, error)) from None


def read_choices(text: str | bytes) -> Choices:
    """Choices from JSON. Raises ChoicesError."""
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ChoicesError([("", f"expected JSON: {error}")]) from None
    return check_choices(content)


def load_choices(text: str) -> Choices:
    """Choices from what `write` wrote, without a look at what they hold: what was right once stays in force, also when this
    version takes no more of it."""
    content = json.loads(text)
    for key in ("allow", "deny"):
        content[key] = tuple(content.get(key, ()))
    content["schedules"] = tuple(_load_schedule(one) for one in content.get("schedules", ()))
    content["overrides"] = tuple(Override.model_construct(**one) for one in content.get("overrides", ()))
    return Choices.model_construct(**content)


def _load_schedule(content: dict[str, Any]) -> Schedule:
    for key in ("days", "services"):
        content[key] = tuple(content.get(key, ()))
    return _make_schedule(**content)


@lru_cache(maxsize=8192)  # many have the same one
def _make_schedule(**content: Any) -> Schedule:
    return Schedule.model_construct(**content)


def list_problems(model: type[Model], error: ValidationError) -> list[tuple[str, str]]:
    """Each field that is wrong, and what was expected there."""
    found = (describe_error(model, one) for one in error.errors())
    return [(format_location(location), expected) for location, expected, _ in found]

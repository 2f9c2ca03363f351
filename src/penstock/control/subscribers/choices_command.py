"""What a subscriber chose, as `penstock subscribers` reads and words it. It knows neither store nor door."""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from penstock.control.subscribers.choices import Choices, read_choices
from penstock.control.subscribers.known import Known
from penstock.errors import PenstockError

STATES = {"on": True, "off": False, "profile": None}


class ChoicesCommandError(PenstockError):
    """The words of a command make no sense; the text says which."""


def read_file(path: str) -> dict[str, Any]:
    """All fields of the choices in a file, or at standard input. Raises PenstockError."""
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text()
    except (OSError, UnicodeError) as error:
        raise ChoicesCommandError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    return read_choices(text).model_dump(mode="json")


def print_choices(choices: Choices) -> None:
    """Print them as JSON that `read_file` takes."""
    print(json.dumps(choices.to_data(), indent=2, ensure_ascii=False))


def build_words(
    services: Sequence[str], allow: Sequence[str], deny: Sequence[str], no_allow: Sequence[str], no_deny: Sequence[str],
    **fields: str | None,
) -> dict[str, Any]:  # fmt: skip
    """The words of a call by which the register changes choices. `fields`: `none` for what the profile has. Raises
    ChoicesCommandError."""
    said = {name: None if value == "none" else value for name, value in fields.items() if value is not None}
    edit: dict[str, Any] = {"allow": allow, "deny": deny, "no_allow": no_allow, "no_deny": no_deny}
    edit["services"] = dict(_parse_service(text) for text in services)
    edit = {name: value for name, value in edit.items() if value}
    return ({"choices": said} if said else {}) | ({"edit": edit} if edit else {})


def _parse_service(text: str) -> tuple[str, bool | None]:
    name, _, state = text.rpartition("=")
    if not name or state not in STATES:
        raise ChoicesCommandError(f'--service: expected a service and on, off or profile, "NAME=off", not "{text}"')
    return name, STATES[state]


def word_choices(known: Known) -> Iterator[tuple[str, str]]:
    """Rows of a table: what he chose, and what it comes to."""
    line, found, choices = known.line, known.effective, known.choices
    if known.owners:
        yield "device of", ", ".join(known.owners)
    yield "services", ", ".join(sorted(line.services)) or "none"
    for name, is_on in sorted(choices.services.items()):
        yield "chosen", f"{name}: {'on' if is_on else 'off'}"
    for field, title in (("safe_search", "SafeSearch"), ("youtube", "YouTube")):
        level = getattr(found, field)
        if level != "off" or getattr(choices, field) is not None:
            yield title, level
    for title, said in (("allowed", "allow"), ("denied", "deny")):
        names = sorted(name for name, action in found.names.items() if action == said)
        if names:
            yield title, _word_names(names)
    zone = ZoneInfo(choices.zone) if choices.zone else UTC
    for override in choices.overrides:
        if override.until_s > time.time():
            yield "override", f"{override.name}, until {_word_time(override.until_s, zone)}"
    for schedule in choices.schedules:
        what = [*(["no internet"] if schedule.pause else []), *schedule.services]
        now = " (now)" if schedule.name in found.schedules else ""
        when = f"{','.join(schedule.days)} {schedule.begin}-{schedule.end}"
        yield "schedule", f"{schedule.name}{now}: {when} {choices.zone or ''}: {', '.join(what)}".replace(" :", ":")
    if found.next_change_s is not None:
        yield "holds until", _word_time(found.next_change_s, zone)


def _word_names(names: list[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _word_time(at_s: float, zone: Any) -> str:
    return f"{datetime.fromtimestamp(at_s, zone):%Y-%m-%d %H:%M:%S %Z}"

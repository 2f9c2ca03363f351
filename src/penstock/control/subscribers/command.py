"""`penstock subscribers`: what the register knows, and what is to hold. To look needs no process; `set` asks the register.

It knows where the store and the door are, and how things are worded. Which word wins, the register knows.
"""

import math
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from penstock.control.configuration import load_configuration
from penstock.control.problems import suggest_name
from penstock.control.subscribers.calls import CallError, call_register, find_register_doors
from penstock.control.subscribers.choices_command import print_choices, read_file, word_choices
from penstock.control.subscribers.known import Known, KnownPlace, KnownSubscribers
from penstock.control.subscribers.place_text import parse_endpoint, word_place
from penstock.errors import PenstockError

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
NEAR = 50  # ids that are compared with one that is not there


class SubscribersError(PenstockError):
    """The question cannot be answered; the text says why."""


def find_database(configuration: Path | None) -> Path:
    """The store of a configuration, or the one that the register here writes. Raises PenstockError."""
    if configuration is not None:
        return load_configuration(configuration).subscriber_register.database
    found = {told["database"] for _, told in _ask_registers()}
    if len(found) != 1:
        what = "no register answers here" if not found else "several registers answer here"
        raise SubscribersError(f"{what}: say whose by --config FILE")
    return Path(found.pop())


def find_door(configuration: Path | None) -> Path:
    """The door of the register here, or of the one with a configuration's store. Raises PenstockError."""
    database = load_configuration(configuration).subscriber_register.database if configuration else None
    doors = [door for door, told in _ask_registers() if database in (None, Path(told["database"]))]
    if len(doors) != 1:
        what = "no register answers here: is `penstock run` there, in this network namespace, and are you root?"
        raise SubscribersError("several registers answer here: say which by --config FILE" if doors else what)
    return doors[0]


def _ask_registers() -> list[tuple[Path, dict[str, Any]]]:
    told = []
    for door in find_register_doors():
        try:
            told.append((door, call_register(door, "tell")))
        except CallError:
            continue
    return told


# ---- looking ----------------------------------------------------------------------------------------------------------
def print_list(configuration: Path | None, prefix: str, after: str, limit: int) -> None:
    """Print subscribers in the order of their ids."""
    with KnownSubscribers(find_database(configuration)) as known:
        found = known.list_subscribers(prefix, after, limit)
        count, places = known.count()
    table = Table("subscriber", "profile", "fail", "packets/s", "paused", "places", "last heard of")
    for one in found:
        line = one.line
        fail, rate, paused = _word_fail(one), _word_rate(line.packets_per_s), _word_pause(one) or ""
        table.add_row(
            Text(one.id), line.profile or "none", fail, rate, paused, _word_places(one), _word_time(one.seen_s)
        )
    console = Console()
    console.print(table)
    console.print(f"{len(found):,} of {count:,} subscribers, who have {places:,} addresses, prefixes and port blocks")
    if len(found) == limit:
        console.print(Text(f"there may be more: --after {found[-1].id}"))


def print_subscriber(configuration: Path | None, name: str) -> None:
    """Print what is known of a subscriber. Raises SubscribersError."""
    _print_known(_find_subscriber(configuration, name))


def print_his_choices(configuration: Path | None, name: str) -> None:
    """Print what a subscriber chose, as JSON. Raises SubscribersError."""
    print_choices(_find_subscriber(configuration, name).choices)


def _find_subscriber(configuration: Path | None, name: str) -> Known:
    with KnownSubscribers(find_database(configuration)) as known:
        found = known.find_subscriber(name)
        near = [one.id for one in known.list_subscribers(name[:3], "", NEAR)] if found is None else []
    if found is None:
        raise SubscribersError(f"there is no subscriber `{name}`" + (f": {suggest_name(name, near)}" if near else ""))
    return found


def print_owner(configuration: Path | None, text: str, scope: str | None) -> None:
    """Print who is at an address and port. Raises SubscribersError."""
    try:
        address, port = parse_endpoint(text)
    except ValueError as error:
        raise SubscribersError(str(error)) from None
    number = _find_scope(configuration, scope)
    with KnownSubscribers(find_database(configuration)) as known:
        found = known.find_by_address(address, port, number)
    if found is None:
        raise SubscribersError(f"nobody is at {text}" + (f" in scope {scope}" if scope else ""))
    _print_known(found)


def _find_scope(configuration: Path | None, scope: str | None) -> int:
    if scope is None or scope.isdecimal():
        return int(scope or 0)
    if configuration is None:
        raise SubscribersError("--scope: expected its number, or --config FILE, which has its name")
    scopes = load_configuration(configuration).scopes
    if scope not in scopes:
        raise SubscribersError(f"there is no scope `{scope}`: {suggest_name(scope, scopes)}")
    return scopes[scope].number


def _print_known(known: Known) -> None:
    table = Table(show_header=False, title=Text(known.id), title_justify="left")
    table.add_row("profile", f"{known.line.profile or _word_none(known)} ({_word_origin(known)})")
    table.add_row("fail", _word_fail(known))
    table.add_row("packets/s", _word_rate(known.line.packets_per_s))
    table.add_row("paused", _word_pause(known) or "no")
    for title, text in word_choices(known):
        table.add_row(title, Text(text))
    table.add_row("number", str(known.number))
    table.add_row("last heard of", _word_time(known.seen_s))
    for place in known.places:
        table.add_row("is at", Text(_word_known_place(place)))
    if not known.places:
        table.add_row("is at", "no address")
    Console().print(table)


def _word_none(known: Known) -> str:
    return "none" if known.line.services or known.line.has_names else "none: not protected"


def _word_origin(known: Known) -> str:
    if "profile" in known.changes:
        return f"by a call, {_word_time(known.changes['profile'][1])}"
    if known.is_configured:
        return "by the configuration"
    if known.assigned_profile is None and known.owners:
        return f"that of {known.owners[-1]}"
    if known.assigned_profile is None:
        return "the default"
    if known.assigned_profile == known.line.profile:
        return "by a source"
    return f"the default, for a source said `{known.assigned_profile}`, which the configuration does not have"


def _word_known_place(known: KnownPlace) -> str:
    said = known.source + (f" from {known.nas}" if known.nas and known.source == "radius" else "")
    until = f", until {_word_time(known.expires_s)}" if known.expires_s is not None else ""
    return f"{word_place(known.place)}    {said}, {_word_time(known.at_s)}{until}"


def _word_places(known: Known) -> str:
    if not known.places:
        return ""
    more = f" and {len(known.places) - 1} more" if len(known.places) > 1 else ""
    return word_place(known.places[0].place) + more


def _word_fail(known: Known) -> str:
    return "closed" if known.line.fails_closed else "open"


def _word_rate(packets_per_s: int | None) -> str:
    return "no limit" if packets_per_s is None else f"{packets_per_s:,}"


def _word_pause(known: Known) -> str | None:
    if not known.line.is_paused:
        return None
    until_s = known.changes.get("paused_until_s", (0, 0))[0] / 1000
    if not until_s:
        return "by a schedule" if known.effective.is_paused else "with the one whose device it is"
    return f"until {_word_time(until_s)}" if until_s < time.time() + 365 * UNITS_S["d"] else "until it is taken back"


def _word_time(at_s: float) -> str:
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M:%S} UTC"


# ---- what is to hold --------------------------------------------------------------------------------------------------
def set_subscriber(configuration: Path | None, name: str, pause: str | None, **words: Any) -> None:
    """Have the register take what is to hold for a subscriber. Raises PenstockError."""
    said = {word: value for word, value in words.items() if value is not None}
    if pause is not None:
        said["paused_until_s"] = parse_pause(pause, time.time())
    if said.get("addresses") == ["none"]:
        said["addresses"] = []
    if not said.keys() - {"scope"}:
        raise SubscribersError("nothing was said that could hold: see `penstock subscribers set --help`")
    call_register(find_door(configuration), "set", subscriber=name, **said)


def set_choices(configuration: Path | None, name: str, file: str) -> None:
    """Have the register take a file as all that a subscriber chose. Raises PenstockError."""
    call_register(find_door(configuration), "set", subscriber=name, choices=read_file(file))


def parse_pause(text: str, now_s: float) -> float:
    """Until when a pause of this duration lasts; 0: there is none. Raises SubscribersError."""
    if text == "off":
        return 0.0
    if text == "on":
        return math.inf
    found = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if found is None:
        raise SubscribersError(f"--pause: expected a duration such as 30m, 8h or 2d, or `on`, or `off`, not `{text}`")
    return now_s + int(found[1]) * UNITS_S[found[2]]

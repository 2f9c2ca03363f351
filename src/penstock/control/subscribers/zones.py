"""Time zones by their names in the IANA database, the system's or that of the package tzdata. It reads no clock."""

import difflib
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones


@cache
def _list_names() -> frozenset[str]:
    return frozenset(available_timezones())


def parse_zone(value: Any) -> str:
    """The name of a time zone. Raises ValueError."""
    if isinstance(value, str) and value in _list_names():
        return value
    near = difflib.get_close_matches(str(value), _list_names(), 1)
    raise ValueError(
        "expected a time zone such as Europe/Madrid or UTC" + (f": did you mean `{near[0]}`?" if near else "")
    )


@cache
def find_zone(name: str) -> ZoneInfo:
    """The time zone of a name; UTC for one that the database does not have any more."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")

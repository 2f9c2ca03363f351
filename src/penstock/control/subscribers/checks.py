"""What an event must be to be taken: times that are times, names that are names.

Each raises ValueError with what was expected. It does not know what becomes of an event.
"""

import math

from penstock.control.subscribers.choices import TIME_LIMIT_S
from penstock.control.subscribers.model import Assign, Change, Event, Restart

NAME_LIMIT = 253  # the longest RADIUS attribute (RFC 2865 5)
FOREVER_MS = (1 << 47) - 1  # a pause without an end
RATE_LIMIT = 1_000_000_000


def check_event(event: Event) -> int:
    """Check all but its places. Returns its time in milliseconds."""
    if isinstance(event, Assign):
        check_name(event.subscriber, 1)
        check_name(event.nas)
        check_name(event.profile or "")
        to_expiry(event.expires_s)
    elif isinstance(event, Change):
        _check_change(event)
    elif isinstance(event, Restart):
        check_name(event.nas)
    return to_ms(event.at_s)


def to_ms(at_s: float) -> int:
    """Milliseconds. Raises ValueError for what is no time."""
    if not 0 <= at_s < TIME_LIMIT_S:
        raise ValueError(f"expected a time in seconds since 1970, not {at_s}")
    return round(at_s * 1000)


def to_expiry(expires_s: float | None) -> int | None:
    """The second in which something is over; None: never. Raises ValueError for what is no time."""
    if expires_s is None or expires_s == math.inf:
        return None
    to_ms(expires_s)
    return math.ceil(expires_s)


def check_name(name: str, least: int = 0) -> None:
    """Raises ValueError for text that is no name."""
    if not least <= len(name) <= NAME_LIMIT or not name.isprintable():
        raise ValueError(f"expected {least} to {NAME_LIMIT} printable characters, not {name[:NAME_LIMIT]!a}")


def _check_change(change: Change) -> None:
    check_name(change.subscriber, 1)
    if change.profile is not None:
        check_name(change.profile, 1)
    if change.packets_per_s is not None and not 0 <= change.packets_per_s <= RATE_LIMIT:
        raise ValueError(f"expected 0 to {RATE_LIMIT:,} packets a second, not {change.packets_per_s}")
    if change.paused_until_s is not None:
        to_pause(change.paused_until_s)
    if change.paused_until_s is not None and change.paused_until_s != math.inf:
        to_ms(change.paused_until_s)


def to_pause(until_s: float) -> int:
    """The millisecond in which a pause ends; 0: it is none. Raises ValueError for what is no time."""
    return FOREVER_MS if until_s == math.inf else to_ms(until_s)

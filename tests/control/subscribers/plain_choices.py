"""What choices come to, one question at a time: nothing is built that could be built wrongly."""

from penstock.control.subscribers.choices import Schedule
from penstock.control.subscribers.effective import Layer
from penstock.control.subscribers.schedules import is_active

LEVELS = ["off", "moderate", "strict"]


def zone_of(stack: list[Layer], depth: int) -> str:
    said = [one.choices.zone for one in stack[: depth + 1] if one.choices.zone]
    return said[-1] if said else "UTC"


def in_force(stack: list[Layer], now_s: float) -> list[Schedule]:
    return [
        schedule
        for depth, one in enumerate(stack)
        for schedule in one.choices.schedules
        if is_active(schedule, zone_of(stack, depth), now_s)
    ]


def has_service(stack: list[Layer], name: str, now_s: float) -> bool:
    """The latest word of all, the inner one's first."""
    if any(name in schedule.services for schedule in in_force(stack, now_s)):
        return True
    for one in reversed(stack):
        if name in one.choices.services:
            return one.choices.services[name]
        if one.profile and name in one.profile.services:
            return True
    return False


def find_name(stack: list[Layer], name: str, now_s: float) -> str | None:
    for one in reversed(stack):
        chosen = one.choices
        if name in chosen.allow or any(own.name == name and own.until_s > now_s for own in chosen.overrides):
            return "allow"
        if name in chosen.deny:
            return "deny"
    return None


def find_level(stack: list[Layer], key: str) -> int:
    level = 0
    for one in stack:
        level = max(level, LEVELS.index(getattr(one.profile, key)) if one.profile else 0)
        chosen = getattr(one.choices, key)
        level = level if chosen is None else LEVELS.index(chosen)
    return level

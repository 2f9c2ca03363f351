"""When a schedule is in force: as the clock on the wall shows it, at every instant.

    on     at the instants whose wall clock shows a time in [begin, end) of a day on which it begins, or of the night behind

So a time that a clock change repeats is in force twice, one that it leaves out never, and a night is longer or shorter by
an hour. Instants are seconds since 1970. No clock is read here; whose zone it is, and what holds meanwhile, others know.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from penstock.control.subscribers.choices import DAYS, Schedule
from penstock.control.subscribers.zones import find_zone

DAY_S = 86_400
PART_S = 3 * 3600  # there are no two clock changes within it
HORIZON_DAYS = 17  # a schedule of one day that a clock change leaves out is in force two weeks later

Pieces = tuple[tuple[int, bool], ...]
"""From when on, and whether it is in force then."""
Times = tuple[tuple[str, ...], str, str, str]
"""Days, begin, end, zone."""


def find_state(schedule: Schedule, zone: str, at_s: float) -> tuple[bool, int | None]:
    """`is_active` and `find_change` in one."""
    return _find_piece(_times_of(schedule, zone), at_s)


def is_active(schedule: Schedule, zone: str, at_s: float) -> bool:
    """Is it in force?"""
    return find_state(schedule, zone, at_s)[0]


def find_change(schedule: Schedule, zone: str, at_s: float) -> int | None:
    """The first instant behind `at_s` at which it begins or ends; None: it never does again."""
    return find_state(schedule, zone, at_s)[1]


def _times_of(schedule: Schedule, zone: str) -> Times:
    return schedule.days, schedule.begin, schedule.end, zone


def _find_piece(times: Times, at_s: float) -> tuple[bool, int | None]:
    first = int(at_s // DAY_S)
    was = False
    for since_s, is_on in _list_pieces(times, first):
        if since_s > at_s:
            return was, since_s
        was = is_on
    for day in range(first + 1, first + HORIZON_DAYS):
        for since_s, is_on in _list_pieces(times, day):
            if is_on != was:
                return was, since_s
    return was, None


@lru_cache(maxsize=8192)  # many have the same schedule, and all are asked for on the same day
def _list_pieces(times: Times, day: int) -> Pieces:
    """A day of UTC, counted since 1970, in pieces that alternate."""
    begin_s, end_s = day * DAY_S, (day + 1) * DAY_S
    days, begin, end, zone_name = times
    zone, marks = find_zone(zone_name), (time.fromisoformat(begin), time.fromisoformat(end))
    instants = sorted({begin_s, *_list_marks(marks, zone, begin_s, end_s), *_list_clock_changes(zone, begin_s, end_s)})
    pieces: list[tuple[int, bool]] = []
    for instant_s in instants:
        is_on = _is_in(days, *marks, datetime.fromtimestamp(instant_s, zone))
        if not pieces or pieces[-1][1] != is_on:
            pieces.append((instant_s, is_on))
    return tuple(pieces)


def _is_in(days: tuple[str, ...], begin: time, end: time, wall: datetime) -> bool:
    now, today = wall.time(), wall.date()
    if begin < end:
        return begin <= now < end and _name_day(today) in days
    return (now >= begin and _name_day(today) in days) or (now < end and _name_day(today - timedelta(days=1)) in days)


def _name_day(day: date) -> str:
    return DAYS[day.weekday()]


def _list_marks(marks: tuple[time, ...], zone: ZoneInfo, begin_s: int, end_s: int) -> Iterator[int]:
    """The instants of a part at which the wall clock shows one of the times."""
    day, last = (datetime.fromtimestamp(at_s, zone).date() for at_s in (begin_s, end_s))
    while day <= last:
        for mark in marks:
            for fold in (0, 1):
                instant_s = int(datetime.combine(day, mark, zone).replace(fold=fold).timestamp())
                if begin_s <= instant_s < end_s:
                    yield instant_s
        day += timedelta(days=1)


def _list_clock_changes(zone: ZoneInfo, begin_s: int, end_s: int) -> Iterator[int]:
    """The instants of a part from which on the zone is otherwise ahead of UTC than before."""
    for part_s in range(begin_s, end_s, PART_S):
        before, behind = part_s, part_s + PART_S
        if _offset(zone, before) == _offset(zone, behind):
            continue
        while behind - before > 1:
            middle = (before + behind) // 2
            if _offset(zone, middle) == _offset(zone, before):
                before = middle
            else:
                behind = middle
        yield behind


def _offset(zone: ZoneInfo, at_s: int) -> timedelta | None:
    return datetime.fromtimestamp(at_s, UTC).astimezone(zone).utcoffset()

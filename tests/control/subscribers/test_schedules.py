"""Schedules beside the plainest meaning: what the wall clock shows, minute by minute, for a whole year."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from penstock.control.subscribers.choices import DAYS, Schedule
from penstock.control.subscribers.schedules import find_change, is_active

MINUTE_S = 60
# With clock changes on Sundays at 02:00 and 03:00, none at all (since 2019), one of half an hour, none ever.
ZONES = ["Europe/Madrid", "America/Sao_Paulo", "Australia/Lord_Howe", "UTC"]
SUNDAY_MORNING = {"days": ["sun"], "begin": "02:15", "end": "02:45"}
CASES = [
    {"days": DAYS, "begin": "21:00", "end": "07:00"},
    {"days": ["mon", "wed", "fri"], "begin": "16:30", "end": "18:00"},
    {"days": ["sat"], "begin": "23:59", "end": "02:30"},
    SUNDAY_MORNING,
    {"days": ["sun"], "begin": "01:45", "end": "02:15"},
    {"days": ["thu"], "begin": "00:00", "end": "00:00"},
    {"days": DAYS, "begin": "12:00", "end": "12:00"},
]
clocks = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59))


def build_schedule(days: object, begin: str, end: str) -> Schedule:
    return Schedule.model_validate({"name": "a", "days": days, "begin": begin, "end": end, "pause": True})


def read_wall(at_s: float, zone: ZoneInfo) -> tuple[str, str, str]:
    """What a person reads off the wall: the day's name, that of the day before, and the time."""
    wall = datetime.fromtimestamp(at_s, zone).replace(tzinfo=None)
    return f"{wall:%a}".lower(), f"{wall - timedelta(days=1):%a}".lower(), f"{wall:%H:%M}"


def shows_schedule(schedule: Schedule, today: str, yesterday: str, now: str) -> bool:
    if schedule.begin < schedule.end:
        return today in schedule.days and schedule.begin <= now < schedule.end
    return (today in schedule.days and now >= schedule.begin) or (yesterday in schedule.days and now < schedule.end)


Year = tuple[str, list[int], list[tuple[str, str, str]]]


@pytest.fixture(scope="module", params=ZONES)
def year(request: pytest.FixtureRequest) -> Year:
    """A zone, and each minute of a year with what the wall shows."""
    zone = ZoneInfo(request.param)
    start_s = int(datetime(2025, 12, 30, 3, tzinfo=UTC).timestamp())
    minutes = list(range(start_s, start_s + 370 * 86_400, MINUTE_S))
    return request.param, minutes, [read_wall(at_s, zone) for at_s in minutes]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['begin']}-{case['end']}")
def test_a_year_minute_by_minute(year: Year, case: dict[str, object]) -> None:
    zone, minutes, walls = year
    schedule = build_schedule(**case)
    shown = [shows_schedule(schedule, *wall) for wall in walls]
    wanted = [minutes[at] for at in range(1, len(shown)) if shown[at] != shown[at - 1]]
    at_s, found = minutes[0], []
    while (next_s := find_change(schedule, zone, at_s)) is not None and next_s <= minutes[-1]:
        found.append(next_s)
        at_s = next_s
    assert found == wanted
    for at in range(0, len(minutes), 7):
        assert is_active(schedule, zone, minutes[at] + 0.5) == shown[at]


@settings(max_examples=60, deadline=None)
@given(
    days=st.lists(st.sampled_from(DAYS), min_size=1, max_size=7, unique=True),
    begin=clocks,
    end=clocks,
    zone=st.sampled_from([*ZONES, "Asia/Kathmandu", "Pacific/Apia", "Africa/Casablanca", "America/Nuuk"]),
    at_s=st.integers(1_300_000_000, 2_000_000_000),
)
@example(days=["fri"], begin="12:00", end="13:00", zone="Pacific/Apia", at_s=1_325_200_000)  # has no 30 December 2011
def test_the_change_is_the_first_one(days: list[str], begin: str, end: str, zone: str, at_s: int) -> None:
    schedule = build_schedule(days, begin, end)
    next_s = find_change(schedule, zone, at_s)
    now = is_active(schedule, zone, at_s)
    last_s = at_s + 9 * 86_400 if next_s is None else next_s
    for probe_s in range(at_s, last_s, max((last_s - at_s) // 200, 1)):
        assert is_active(schedule, zone, probe_s) == now
        assert shows_schedule(schedule, *read_wall(probe_s, ZoneInfo(zone))) == now
    if next_s is not None:
        assert is_active(schedule, zone, next_s - 1) == now
        assert is_active(schedule, zone, next_s) != now


def test_around_both_clock_changes() -> None:
    schedule = build_schedule(**SUNDAY_MORNING)
    missing = datetime(2026, 3, 28, 12, tzinfo=UTC).timestamp()
    begin_s = find_change(schedule, "Europe/Madrid", missing)
    assert begin_s == datetime(2026, 4, 5, 0, 15, tzinfo=UTC).timestamp()  # 29 March has no 02:15
    twice = datetime(2026, 10, 24, 12, tzinfo=UTC).timestamp()
    found = []
    for _ in range(4):
        twice = find_change(schedule, "Europe/Madrid", twice)
        found.append(f"{datetime.fromtimestamp(twice, UTC):%d %H:%M}")
    assert found == ["25 00:15", "25 00:45", "25 01:15", "25 01:45"]


def test_what_never_ends() -> None:
    schedule = build_schedule(DAYS, "12:00", "12:00")
    assert is_active(schedule, "Europe/Madrid", 1_750_000_000)
    assert find_change(schedule, "Europe/Madrid", 1_750_000_000) is None

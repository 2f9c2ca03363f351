"""The journal: a subscriber's last refused requests, his week, and those of everybody."""

from collections import Counter
from dataclasses import asdict
from datetime import date, datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import Query

from penstock.portal.answers import DaySeen, EventSeen, EventsSeen, HostSeen, PathId, Week
from penstock.portal.journal import Journal, Row, now_s, stamp_time
from penstock.portal.portal import Here
from penstock.portal.routes_subscribers import find_known
from penstock.portal.routing import NOT_FOUND, make_router

DAYS = 7
HOSTS_SHOWN = 20
OTHER = "other"

router = make_router("events")

Before = Annotated[int | None, Query(ge=0, le=1 << 62, description="Only those before this event.")]
Limit = Annotated[int, Query(ge=1, le=500)]
Action = Annotated[str | None, Query(max_length=20, pattern=r"^[a-z]*$", description="Only those of this action.")]


@router.get("/events", operation_id="list_events")
def list_events(here: Here, before: Before = None, limit: Limit = 100, action: Action = None) -> EventsSeen:
    """The last events, the latest first."""
    return _describe_rows(here.journal.list_rows(None, before, limit, action or None), limit)


@router.get("/subscribers/{subscriber}/events", operation_id="list_subscriber_events", responses=NOT_FOUND)
def list_subscriber_events(
    here: Here, subscriber: PathId, before: Before = None, limit: Limit = 100, action: Action = None
) -> EventsSeen:
    """A subscriber's last events, the latest first."""
    find_known(here, subscriber)
    return _describe_rows(here.journal.list_rows(subscriber, before, limit, action or None), limit)


@router.get("/subscribers/{subscriber}/week", operation_id="get_week", responses=NOT_FOUND)
def get_week(here: Here, subscriber: PathId) -> Week:
    """What was refused to a subscriber in the last seven days, by day (of his time zone) and category."""
    zone = ZoneInfo(find_known(here, subscriber).choices.zone or here.box.configuration.subscriber_register.zone)
    first = datetime.fromtimestamp(now_s(), zone).date() - timedelta(days=DAYS - 1)
    return build_week(here.journal, subscriber, first, zone, here.settings.keep_days)


def build_week(journal: Journal, subscriber: str, first: date, zone: ZoneInfo, kept_days: int) -> Week:
    """What was refused to a subscriber in the week that begins with a day."""
    dates = [first + timedelta(days=number) for number in range(DAYS + 1)]
    bounds = [datetime(day.year, day.month, day.day, tzinfo=zone).timestamp() for day in dates]
    found = journal.count_refusals(subscriber, bounds, HOSTS_SHOWN)
    days: list[Counter[str]] = [Counter() for _ in range(DAYS)]
    for number, category, count in found.by_day:
        days[number][category or OTHER] += count
    return Week(
        subscriber=subscriber,
        zone=zone.key,
        days=[
            DaySeen(date=day, total=one.total(), categories=dict(one)) for day, one in zip(dates, days, strict=False)
        ],
        categories=[name for name, _ in sum(days, Counter()).most_common()],
        hosts=[
            HostSeen(host=host, category=category, count=count, last=stamp_time(last_s))
            for host, category, count, last_s in found.hosts
        ],
        kept_days=kept_days,
    )


def _describe_rows(rows: list[Row], limit: int) -> EventsSeen:
    events = []
    for row in rows:
        fields = asdict(row)
        events.append(EventSeen(time=stamp_time(fields.pop("at_s")), **fields))
    return EventsSeen(events=events, next_before=rows[-1].id if len(rows) == limit else None)

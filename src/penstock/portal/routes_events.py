"""The journal: a subscriber's last refused requests, his week, and those of everybody."""

from collections import Counter
from dataclasses import asdict
from datetime import date, datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import Query

from penstock.portal.answers import DaySeen, EventSeen, EventsSeen, HostSeen, PathId, Week
from penstock.portal.journal import Refusals, Row, now_s, stamp_time
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
    today = datetime.fromtimestamp(now_s(), zone).date()
    first = today - timedelta(days=DAYS - 1)
    since = datetime(first.year, first.month, first.day, tzinfo=zone)
    return build_week(
        subscriber, here.journal.read_refusals(subscriber, since.timestamp()), first, zone, here.settings.keep_days
    )


def build_week(subscriber: str, refusals: list[Refusals], first: date, zone: ZoneInfo, kept_days: int) -> Week:
    """A week of refusals, counted."""
    days: dict[date, Counter[str]] = {first + timedelta(days=number): Counter() for number in range(DAYS)}
    hosts: dict[str, list[Refusals]] = {}
    for one in refusals:
        day = days.get(datetime.fromtimestamp(one.at_s, zone).date())
        if day is None:
            continue
        day[one.category or OTHER] += 1
        if one.host:
            hosts.setdefault(one.host, []).append(one)
    most = sorted(hosts.items(), key=lambda item: (-len(item[1]), item[0]))[:HOSTS_SHOWN]
    return Week(
        subscriber=subscriber,
        zone=zone.key,
        days=[DaySeen(date=day, total=found.total(), categories=dict(found)) for day, found in days.items()],
        categories=[name for name, _ in sum(days.values(), Counter()).most_common()],
        hosts=[
            HostSeen(
                host=host,
                category=found[-1].category,
                count=len(found),
                last=stamp_time(max(one.at_s for one in found)),
            )
            for host, found in most
        ],
        kept_days=kept_days,
    )


def _describe_rows(rows: list[Row], limit: int) -> EventsSeen:
    events = []
    for row in rows:
        fields = asdict(row)
        events.append(EventSeen(time=stamp_time(fields.pop("at_s")), **fields))
    return EventsSeen(events=events, next_before=rows[-1].id if len(rows) == limit else None)

"""Choices as the API takes and gives them: the shape of `control.subscribers.choices.Choices`, for the OpenAPI.

What a shape lets through and choices do not (a name that is none, a zone that does not exist), choices themselves say.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from penstock.control.subscribers.known import Known
from penstock.portal.answers import Answer, Asked, Flag, PlaceSeen, SubscriberLine, read_time

Name = Annotated[str, Field(min_length=1, max_length=253, examples=["www.example.com"])]
Label = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[^\x00-\x1f\x7f]+$")]
Time = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", examples=["21:00"])]
Level = Literal["off", "moderate", "strict"]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class ScheduleShape(Asked):
    """Something that holds in a part of certain days."""

    name: Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[^\x00-\x1f\x7f]+$")]
    days: Annotated[list[Day], Field(min_length=1, max_length=7)]
    begin: Time
    end: Time
    pause: Flag = False
    services: Annotated[list[Label], Field(max_length=64)] = []


class OverrideShape(Asked):
    """A name that is let through until then, in seconds since 1970."""

    name: Name
    until_s: Annotated[float, Field(ge=0, le=32_503_680_000)]


class ChoicesShape(Asked):
    """What a subscriber chose. What is absent is as his profile has it; in a change it stays as it was."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "services": {"ad blocking": True},
                    "deny": ["casino.example"],
                    "zone": "Europe/Madrid",
                    "schedules": [
                        {"name": "night", "days": ["mon", "tue"], "begin": "21:00", "end": "07:00", "pause": True}
                    ],
                }
            ]
        }
    )

    services: Annotated[dict[Label, Flag], Field(max_length=64)] = {}
    allow: Annotated[list[Name], Field(max_length=500)] = []
    deny: Annotated[list[Name], Field(max_length=500)] = []
    schedules: Annotated[list[ScheduleShape], Field(max_length=16)] = []
    zone: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    safe_search: Level | None = None
    youtube: Level | None = None
    overrides: Annotated[list[OverrideShape], Field(max_length=100)] = []

    def read_all(self) -> dict[str, Any]:
        """Every field."""
        return self.model_dump(mode="json")

    def read_given(self) -> dict[str, Any]:
        """Those that were said."""
        return self.model_dump(mode="json", exclude_unset=True)


class EffectiveSeen(Answer):
    """What holds now: profile, choices, those of the subscriber whose device it is, and the schedules of both."""

    services: list[str]
    paused: bool
    safe_search: Level
    youtube: Level
    ech: str
    unresolved: str
    schedules: list[str]
    """Those that are in force."""
    next_change: datetime | None
    """When a schedule begins or ends, or an override does."""


class SubscriberSeen(SubscriberLine):
    """All that is known of a subscriber."""

    number: int
    paused_until: datetime | None
    assigned_profile: str | None
    is_configured: bool
    sessions: list[PlaceSeen]
    devices: list[str]
    effective: EffectiveSeen


class ChoicesSeen(Answer):
    """What a subscriber chose, and what that comes to."""

    subscriber: str
    profile: str | None
    paused_until: datetime | None
    """Of a pause that somebody asked for; null: none, or one without an end."""
    zone: str
    """Whose clock schedules mean."""
    choices: ChoicesShape
    effective: EffectiveSeen
    owners: list[str]
    """Whose device it is."""
    devices: list[str]


def describe_effective(known: Known) -> EffectiveSeen:
    """What holds for a subscriber now."""
    found = known.effective
    return EffectiveSeen(
        services=sorted(known.line.services),
        paused=known.line.is_paused,
        safe_search=found.safe_search,
        youtube=found.youtube,
        ech=found.ech,
        unresolved=found.unresolved,
        schedules=list(found.schedules),
        next_change=read_time(found.next_change_s),
    )


def find_pause(known: Known) -> datetime | None:
    """When a pause that somebody asked for ends."""
    until = known.changes.get("paused_until_s")
    return read_time(until[0] / 1000) if until and until[0] and known.line.is_paused else None  # 0: he was resumed

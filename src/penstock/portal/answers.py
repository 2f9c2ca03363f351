"""What the API answers and takes: models, from which the OpenAPI is made. Times are ISO 8601, in UTC.

They know no source: routes fill them.
"""

from datetime import UTC, date, datetime
from typing import Annotated, Literal
from urllib.parse import unquote

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, Strict, StringConstraints

from penstock.portal.tokens import Role

ID_PATTERN = r"^[^\x00-\x1f\x7f]{1,253}$"
SubscriberId = Annotated[str, StringConstraints(pattern=ID_PATTERN)]
PathId = Annotated[str, BeforeValidator(lambda text: unquote(str(text))), StringConstraints(pattern=ID_PATTERN)]
"""An id as a segment of a path: `asgi.KeepSlashes` leaves what would be a slash in it encoded."""
Flag = Annotated[bool, Strict()]
Whole = Annotated[int, Strict()]


def read_time(at_s: float | None) -> datetime | None:
    """Seconds since 1970 as a time; None for none, and for one that no calendar has (without an end)."""
    if at_s is None or not 0 <= at_s < 253_402_300_000:
        return None
    return datetime.fromtimestamp(at_s, UTC)


class Answer(BaseModel):
    """What is said."""

    model_config = ConfigDict(frozen=True)


class Asked(BaseModel):
    """What is taken: no field is ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# ---- the caller -------------------------------------------------------------------------------------------------------
class Me(Answer):
    """Whose token it is."""

    name: str
    role: Role
    subscriber: str | None
    expires: datetime | None


class TokenMade(Asked):
    """A token to be made."""

    name: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$", examples=["help desk"])]
    role: Role
    subscriber: SubscriberId | None = None
    days: Annotated[Whole, Field(ge=1, le=3650)] | None = None


class TokenSeen(Answer):
    """What is known of a token."""

    id: int
    name: str
    role: Role
    subscriber: str | None
    created: datetime
    expires: datetime | None
    last_used: datetime | None


class TokenTold(TokenSeen):
    """A token that was just made: it is told here, and never again."""

    token: str


class TokensSeen(Answer):
    tokens: list[TokenSeen]


class AuditEntry(Answer):
    """Who changed or looked at what."""

    id: int
    time: datetime
    token: int | None
    """Its number: names may be given again."""
    token_name: str | None
    role: str | None
    address: str
    operation: str
    method: str
    path: str
    subscriber: str | None
    status: int | None


class AuditSeen(Answer):
    entries: list[AuditEntry]
    next_before: int | None


# ---- the box ----------------------------------------------------------------------------------------------------------
class CauseSeen(Answer):
    """One row of the exception table."""

    cause: str
    packets: int
    is_active: bool
    active_s: float | None


class LinkSeen(Answer):
    side: str
    name: str
    is_up: bool
    is_held: bool
    mtu: int


class Sides(Answer):
    client: float
    server: float


class HealthSeen(Answer):
    """Is it us? The same counters for protected and for unprotected subscribers."""

    handshakes: int
    completed: int
    segments: Sides
    repeated: Sides
    resets: Sides
    median_ms: Sides


class GuardSeen(Answer):
    requests: int
    refusals: int
    is_held: bool
    share: float


class ListsSeen(Answer):
    """The names in force."""

    generation: int
    names: int
    built: datetime | None
    is_reloading: bool


class JournalSeen(Answer):
    rows: int
    oldest: datetime | None
    lost_events: int
    keep_days: int


class Status(Answer):
    """How it is."""

    time: datetime
    is_healthy: bool
    """The switch is on, both links are up, the ledger closes, and nothing goes on that is an exception."""
    is_on: bool
    version: str
    layout: int
    ledger_difference: int
    waiting: int
    ring_to_wire_us: dict[str, float | None]
    exceptions: list[CauseSeen]
    links: list[LinkSeen]
    health: dict[str, HealthSeen]
    guard: GuardSeen
    lists: ListsSeen
    journal: JournalSeen


class LineRate(Answer):
    """What an interface counts, since it is there, and what that was a second over the last seconds."""

    side: str
    name: str
    received_bytes: int
    received_packets: int
    sent_bytes: int
    sent_packets: int
    received_bits_per_s: float
    received_packets_per_s: float
    sent_bits_per_s: float
    sent_packets_per_s: float


class Counters(Answer):
    """The ledger, and the line."""

    time: datetime
    seen: int
    difference: int
    waiting: int
    verdicts: dict[str, int]
    reasons: dict[str, int]
    packets_per_s: dict[str, float]
    """By verdict, over the last seconds."""
    lines: list[LineRate]
    ring_to_wire_us: dict[str, float | None]
    active_exceptions: list[str]
    is_on: bool


class SwitchAsked(Asked):
    on: Flag


class SwitchTurned(Answer):
    is_on: bool
    changed: bool


class Begun(Answer):
    """It was begun; the log has what comes of it."""

    begun: bool = True


class ServiceSeen(Answer):
    """A product that a subscriber switches on."""

    name: str
    categories: dict[str, str]
    """What is done to requests of which category."""
    report_only: bool
    share: float
    """In force for this share of those who have it."""


class ServicesSeen(Answer):
    services: list[ServiceSeen]
    safe_search: bool
    """Whether SafeSearch and YouTube's modes are to be had here: they need `dns.resolvers`."""


class ProfileSeen(Answer):
    name: str
    services: list[str]
    safe_search: str
    youtube: str
    ech: str
    unresolved: str


class ProfilesSeen(Answer):
    profiles: list[ProfileSeen]
    default: str | None


class CategorySeen(Answer):
    name: str
    services: list[str]
    lists: int


class CategoriesSeen(Answer):
    categories: list[CategorySeen]


class ListSeen(Answer):
    """A list, and for one that is fetched what is known of the version in force."""

    category: str
    source: str
    is_feed: bool
    format: str
    entries: int | None
    built: datetime | None
    fetched: datetime | None
    checked: datetime | None
    next_fetch: datetime | None
    error: str | None


class SourcesSeen(Answer):
    lists: list[ListSeen]


# ---- subscribers ------------------------------------------------------------------------------------------------------
class PlaceSeen(Answer):
    """Where a subscriber is, and who said so."""

    place: str
    source: str
    nas: str
    since: datetime | None
    expires: datetime | None


class SubscriberLine(Answer):
    """A subscriber in a list."""

    id: str
    profile: str | None
    fail: Literal["open", "closed"]
    packets_per_s: int | None
    is_paused: bool
    places: list[str]
    last_heard: datetime | None


class SubscribersSeen(Answer):
    subscribers: list[SubscriberLine]
    next_after: str | None
    known: int
    places: int


class SubscriberChange(Asked):
    """What is to hold from now on; what is absent stays."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    profile: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    fail: Literal["open", "closed"] | None = None
    packets_per_s: Annotated[Whole, Field(ge=0, le=1_000_000_000)] | None = None
    addresses: Annotated[list[Annotated[str, Field(max_length=100)]], Field(max_length=64)] | None = None
    scope: Annotated[str, Field(max_length=63)] | None = None


class PauseMinutes(Asked):
    """No internet for so long."""

    minutes: Annotated[Whole, Field(ge=1, le=527_040)]


class PauseUntil(Asked):
    """No internet until then: a time that says its zone."""

    until: AwareDatetime


class OverrideAsked(Asked):
    """A name that is let through for a while."""

    name: Annotated[str, Field(min_length=1, max_length=253, examples=["shop.example.com"])]
    minutes: Annotated[Whole, Field(ge=1, le=527_040)]


class EventSeen(Answer):
    """A request that was refused, reported or exceptional."""

    id: int
    time: datetime
    subscriber: str | None
    proto: str | None
    host: str | None
    action: str | None
    reason: str | None
    category: str | None
    service: str | None
    flow: str | None
    answer: str | None
    hook: str | None
    detail: str | None
    src_ip: str | None
    src_port: int | None
    dest_ip: str | None
    dest_port: int | None


class EventsSeen(Answer):
    events: list[EventSeen]
    next_before: int | None


class DaySeen(Answer):
    date: date
    total: int
    categories: dict[str, int]


class HostSeen(Answer):
    host: str
    category: str | None
    count: int
    last: datetime


class Week(Answer):
    """What was refused in the last seven days, today included."""

    subscriber: str
    zone: str
    days: list[DaySeen]
    categories: list[str]
    """The most refused first; what has no category is `other`."""
    hosts: list[HostSeen]
    kept_days: int


class CaptureAsked(Asked):
    """What is to be recorded of a subscriber's refused flows."""

    seconds: Annotated[Whole, Field(ge=1, le=600)]
    megabytes: Annotated[Whole, Field(ge=1, le=20)]


class CaptureSeen(Answer):
    """A recording. What was recorded is known when it has ended."""

    id: int
    state: str
    """running, done, full (it ended before its time) or failed."""
    begun: datetime
    ends: datetime
    by: str
    limit_bytes: int
    size_bytes: int | None
    packets: int | None
    flows: int | None


class CapturesSeen(Answer):
    captures: list[CaptureSeen]


class ExplanationSeen(Answer):
    """What would happen to a request, and why."""

    host: str
    subscriber: str
    profile: str | None
    action: str
    would: str
    reason: str
    category: str | None
    service: str | None
    entry: str | None
    list: str | None
    """The line of the list that decides; not told to subscribers."""
    feed: str | None
    dns: str | None
    built: datetime

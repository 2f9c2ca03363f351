"""Subscribers: who there is, where each is, what holds for him, and what is to hold from now on."""

from typing import Annotated, Any

from fastapi import Query, Request

from penstock.control.subscribers.known import Known as KnownOne
from penstock.control.subscribers.known import KnownPlace
from penstock.control.subscribers.place_text import parse_endpoint, word_place
from penstock.portal.answers import (
    PathId,
    PlaceSeen,
    SubscriberChange,
    SubscriberLine,
    SubscribersSeen,
    read_time,
)
from penstock.portal.choice_shapes import SubscriberSeen, describe_effective, find_pause
from penstock.portal.portal import Here, Portal
from penstock.portal.problems import ProblemError
from penstock.portal.routing import NOT_FOUND, make_router

DEVICES_SHOWN = 100
NOT_KNOWN = "there is no such subscriber"

router = make_router("subscribers")


@router.get("/subscribers", operation_id="list_subscribers")
def list_subscribers(
    here: Here,
    prefix: Annotated[str, Query(max_length=253)] = "",
    after: Annotated[str, Query(max_length=253)] = "",
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> SubscribersSeen:
    """Subscribers in the order of their ids: those that begin with `prefix`, behind `after`."""
    known = here.box.known()
    found = known.list_subscribers(prefix, after, limit)
    count, places = known.count()
    return SubscribersSeen(
        subscribers=[SubscriberLine(**_describe_line(one)) for one in found],
        next_after=found[-1].id if len(found) == limit else None,
        known=count,
        places=places,
    )


@router.get("/subscribers/by-address", operation_id="find_subscriber", responses=NOT_FOUND)
def find_subscriber(
    request: Request,
    here: Here,
    address: Annotated[str, Query(max_length=64, examples=["192.0.2.1", "2001:db8::1"])],
    port: Annotated[int, Query(ge=0, le=65_535)] = 0,
    scope: Annotated[str | None, Query(max_length=63)] = None,
) -> SubscriberSeen:
    """Who is at an address, and at a port of it where several share it."""
    try:
        packed, _ = parse_endpoint(address)
    except ValueError as error:
        raise ProblemError(422, f"query.address: {error}") from None
    found = here.box.known().find_by_address(packed, port, _find_scope(here, scope))
    if found is None:
        raise ProblemError(404, "nobody is at this address")
    here.audit.name_subscriber(request.state.audit_entry, found.id)
    return _describe(here, found)


@router.get("/subscribers/{subscriber}", operation_id="get_subscriber", responses=NOT_FOUND)
def get_subscriber(here: Here, subscriber: PathId) -> SubscriberSeen:
    """All that is known of a subscriber: what holds now, where he is, who said so."""
    return _describe(here, find_known(here, subscriber))


@router.patch("/subscribers/{subscriber}", operation_id="change_subscriber", responses=NOT_FOUND)
def change_subscriber(here: Here, subscriber: PathId, change: SubscriberChange) -> SubscriberSeen:
    """Say what is to hold from now on, over restarts and over the configuration. Who is not known needs addresses."""
    said = change.model_dump(exclude_none=True)
    if not said.keys() - {"scope"}:
        raise ProblemError(422, "body: expected something that is to hold")
    if change.scope is not None:
        _find_scope(here, change.scope)
    if not change.addresses:
        find_known(here, subscriber)
    here.box.call_register("set", subscriber=subscriber, **said)
    return _describe(here, find_known(here, subscriber))


def find_known(here: Portal, subscriber: str) -> KnownOne:
    """A subscriber by his id. Raises ProblemError, StoreError."""
    found = here.box.known().find_subscriber(subscriber)
    if found is None:
        raise ProblemError(404, NOT_KNOWN)
    return found


def list_devices(here: Portal, subscriber: str) -> list[str]:
    """The ids of a subscriber's devices."""
    return [one.id for one in here.box.known().list_subscribers(f"{subscriber}/", "", DEVICES_SHOWN)]


def _find_scope(here: Portal, name: str | None) -> int:
    scopes = here.box.configuration.scopes
    if name is None:
        return 0
    if name not in scopes:
        raise ProblemError(422, f"scope: there is no scope `{name}`")
    return scopes[name].number


def _describe(here: Portal, known: KnownOne) -> SubscriberSeen:
    return SubscriberSeen(
        **_describe_line(known),
        number=known.number,
        paused_until=find_pause(known),
        assigned_profile=known.assigned_profile,
        is_configured=known.is_configured,
        sessions=[_describe_place(place) for place in known.places],
        devices=list_devices(here, known.id),
        effective=describe_effective(known),
    )


def _describe_line(known: KnownOne) -> dict[str, Any]:
    return {
        "id": known.id,
        "profile": known.line.profile,
        "fail": "closed" if known.line.fails_closed else "open",
        "packets_per_s": known.line.packets_per_s,
        "is_paused": known.line.is_paused,
        "places": [word_place(place.place) for place in known.places[:8]],
        "last_heard": read_time(known.seen_s),
    }


def _describe_place(known: KnownPlace) -> PlaceSeen:
    return PlaceSeen(
        place=word_place(known.place),
        source=known.source,
        nas=known.nas,
        since=read_time(known.at_s),
        expires=read_time(known.expires_s),
    )

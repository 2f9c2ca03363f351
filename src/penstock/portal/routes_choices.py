"""What a subscriber chose: read, replaced, changed; a pause; names that are let through for a while.

It is in force when the call is answered: the register answers behind its commit.
"""

import threading
from typing import Any
from urllib.parse import unquote

from penstock.control.subscribers.choices import TEXT_LIMIT, ChoicesError, check_choices, parse_host
from penstock.portal.answers import OverrideAsked, PathId, PauseMinutes, PauseUntil
from penstock.portal.caller import Caller, Known
from penstock.portal.choice_shapes import ChoicesSeen, ChoicesShape, describe_effective, find_pause
from penstock.portal.journal import now_s
from penstock.portal.portal import Here, Portal
from penstock.portal.problems import ProblemError
from penstock.portal.routes_subscribers import find_known, list_devices
from penstock.portal.routing import NOT_FOUND, make_router

router = make_router("choices")

_overriding = threading.Lock()
"""Two who grant something at once both have it."""


@router.get("/subscribers/{subscriber}/choices", operation_id="get_choices", responses=NOT_FOUND)
def get_choices(here: Here, subscriber: PathId) -> ChoicesSeen:
    """What he chose, and what holds now."""
    return read_choices(here, subscriber)


@router.put("/subscribers/{subscriber}/choices", operation_id="replace_choices", responses=NOT_FOUND)
def replace_choices(here: Here, subscriber: PathId, choices: ChoicesShape, caller: Known) -> ChoicesSeen:
    """Replace all that he chose."""
    given = choices.read_all()
    if caller.token.role == "selfcare" and "overrides" not in choices.model_fields_set:
        given.pop("overrides")  # not his to take away
    return _set_choices(here, subscriber, given, caller)


@router.patch("/subscribers/{subscriber}/choices", operation_id="change_choices", responses=NOT_FOUND)
def change_choices(here: Here, subscriber: PathId, choices: ChoicesShape, caller: Known) -> ChoicesSeen:
    """Replace the fields that are given; those that are absent stay."""
    return _set_choices(here, subscriber, choices.read_given(), caller)


@router.post("/subscribers/{subscriber}/pause", operation_id="pause", responses=NOT_FOUND)
def pause(here: Here, subscriber: PathId, pause: PauseMinutes | PauseUntil) -> ChoicesSeen:
    """No internet from now on, for so long."""
    until_s = now_s() + 60 * pause.minutes if isinstance(pause, PauseMinutes) else pause.until.timestamp()
    return _set_pause(here, subscriber, max(until_s, 0.0))


@router.delete("/subscribers/{subscriber}/pause", operation_id="resume", responses=NOT_FOUND)
def resume(here: Here, subscriber: PathId) -> ChoicesSeen:
    """End a pause. One that a schedule makes stays."""
    return _set_pause(here, subscriber, 0.0)


@router.post("/subscribers/{subscriber}/overrides", operation_id="grant_override", responses=NOT_FOUND)
def grant_override(here: Here, subscriber: PathId, override: OverrideAsked) -> ChoicesSeen:
    """Let a name, and what is below it, through for a while, whatever services and lists say; court orders stay."""
    name = _parse_name(override.name)
    with _overriding:
        kept = [one for one in _list_overrides(here, subscriber) if one["name"] != name]
        kept.append({"name": name, "until_s": now_s() + 60 * override.minutes})
        here.box.call_register("set", subscriber=subscriber, choices={"overrides": kept})
    return read_choices(here, subscriber)


@router.delete("/subscribers/{subscriber}/overrides/{name}", operation_id="revoke_override", responses=NOT_FOUND)
def revoke_override(here: Here, subscriber: PathId, name: str) -> ChoicesSeen:
    """Let a name through no more."""
    name = _parse_name(unquote(name))
    with _overriding:
        found = _list_overrides(here, subscriber)
        kept = [one for one in found if one["name"] != name]
        if len(kept) == len(found):
            raise ProblemError(404, "no override of this name is in force")
        here.box.call_register("set", subscriber=subscriber, choices={"overrides": kept})
    return read_choices(here, subscriber)


def read_choices(here: Portal, subscriber: str) -> ChoicesSeen:
    """What a subscriber chose. Raises ProblemError, StoreError."""
    known = find_known(here, subscriber)
    return ChoicesSeen(
        subscriber=known.id,
        profile=known.line.profile,
        paused_until=find_pause(known),
        zone=known.choices.zone or here.box.configuration.subscriber_register.zone,
        choices=ChoicesShape.model_validate(known.choices.model_dump(mode="json")),
        effective=describe_effective(known),
        owners=list(known.owners),
        devices=list_devices(here, known.id),
    )


def _list_overrides(here: Portal, subscriber: str) -> list[dict[str, Any]]:
    """Those that are in force; what is over needs no row."""
    choices = find_known(here, subscriber).choices
    return [one.model_dump() for one in choices.overrides if one.until_s > now_s()]


def _parse_name(text: str) -> str:
    try:
        return parse_host(text)
    except ValueError as error:
        raise ProblemError(422, f"name: {error}") from None


def _set_choices(here: Portal, subscriber: str, given: dict[str, Any], caller: Caller) -> ChoicesSeen:
    find_known(here, subscriber)
    if sum(map(len, (*given.get("allow", ()), *given.get("deny", ())))) > TEXT_LIMIT:  # to read names takes time
        raise ProblemError(422, f"expected at most {TEXT_LIMIT:,} characters in all")
    try:
        choices = check_choices(given)
    except ChoicesError as error:
        raise ProblemError(422, str(error)) from None
    if unknown := {*choices.services, *(name for one in choices.schedules for name in one.services)} - {
        *here.box.configuration.services
    }:
        raise ProblemError(422, f"services: there is no service `{min(unknown)}`")
    if caller.token.role == "selfcare" and "overrides" in given:
        present = [one.model_dump() for one in find_known(here, subscriber).choices.overrides]
        if given["overrides"] != present:
            raise ProblemError(403, "overrides are granted by the operator")
    here.box.call_register("set", subscriber=subscriber, choices=given)
    return read_choices(here, subscriber)


def _set_pause(here: Portal, subscriber: str, until_s: float) -> ChoicesSeen:
    find_known(here, subscriber)
    here.box.call_register("set", subscriber=subscriber, paused_until_s=until_s)
    return read_choices(here, subscriber)

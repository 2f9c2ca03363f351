"""Why a host is refused to a subscriber, or is not: what `penstock explain` says, as JSON."""

from typing import Annotated

from fastapi import Query

from penstock.control.explain import ExplainError
from penstock.portal.answers import ID_PATTERN, ExplanationSeen
from penstock.portal.caller import Known
from penstock.portal.portal import Here
from penstock.portal.problems import ProblemError
from penstock.portal.routes_subscribers import find_known
from penstock.portal.routing import NOT_FOUND, make_router

router = make_router("explain")


@router.get("/explain", operation_id="explain", responses=NOT_FOUND)
def explain(
    here: Here,
    caller: Known,
    host: Annotated[str, Query(min_length=1, max_length=2048, examples=["www.example.com"])],
    subscriber: Annotated[str, Query(pattern=ID_PATTERN)],
) -> ExplanationSeen:
    """What would happen to a request of a name or web address, and which rule, list and category decide it."""
    find_known(here, subscriber)
    try:
        found = here.box.explain(host, subscriber)
    except ExplainError as error:
        raise ProblemError(422, str(error)) from None
    is_staff = caller.token.role != "selfcare"
    member = f"({found.list_member})" if found.list_member else ""
    line = f"{found.list_path}{member}:{found.line}" if found.list_path else None
    return ExplanationSeen(
        host=found.host,
        subscriber=found.subscriber,
        profile=found.profile,
        action=found.action,
        would=found.would,
        reason=found.reason,
        category=found.category,
        service=found.service,
        entry=found.entry,
        list=line if is_staff else None,
        feed=found.feed if is_staff else None,
        dns=found.dns,
        built=found.built,
    )

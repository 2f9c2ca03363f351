"""Routers of the API: every operation behind `authorise`, with the problems it may have in the OpenAPI."""

from typing import Any

from fastapi import APIRouter, Depends

from penstock.portal.caller import authorise
from penstock.portal.problems import MEDIA_TYPE

PREFIX = "/api/v1"
TEXTS = {
    400: "A body that cannot be read.",
    401: "No token, or none that holds.",
    403: "A token that is not for that.",
    404: "There is none of that name.",
    409: "It cannot be done now: the problem says why.",
    413: "A body that is too large.",
    422: "What was said makes no sense; the problem says what.",
    429: "Too often: `Retry-After` says how long to wait.",
    500: "A defect.",
    503: "A part of the box does not answer now.",
}


def describe_problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The responses of these statuses, for the OpenAPI."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": TEXTS[status], "content": content} for status in statuses}


COMMON = describe_problems(400, 401, 403, 413, 422, 429, 500, 503)
NOT_FOUND = describe_problems(404)


def make_router(tag: str) -> APIRouter:
    """A router of operations that somebody must be allowed to ask for."""
    return APIRouter(prefix=PREFIX, tags=[tag], dependencies=[Depends(authorise)], responses=COMMON)

"""Counters once a second, to whoever watches: server-sent events (https://html.spec.whatwg.org/#server-sent-events).

All who watch are told the same numbers, which are asked for once. So many may watch, and no more.
"""

import asyncio
import time
from collections.abc import AsyncIterator

import anyio.to_thread
from fastapi import Request
from fastapi.responses import StreamingResponse

from penstock.errors import PenstockError
from penstock.portal.caller import Known
from penstock.portal.journal import now_s
from penstock.portal.portal import Here, Portal
from penstock.portal.problems import ProblemError
from penstock.portal.routes_box import read_counters
from penstock.portal.routing import make_router

EVERY_S = 1.0
WATCHERS = 16
STREAM_S = 300.0  # then whoever watches asks again: browsers do so by themselves
MEDIA_TYPE = "text/event-stream"

router = make_router("box")


@router.get(
    "/live",
    operation_id="watch_live",
    response_class=StreamingResponse,
    responses={
        200: {
            "content": {MEDIA_TYPE: {"schema": {"type": "string"}}},
            "description": "Counters, for some minutes: then ask again.",
        }
    },
)
async def watch_live(request: Request, here: Here, caller: Known) -> StreamingResponse:
    """What `counters` says, once a second: events `counters`, or `absent` while the box does not answer."""
    if here.watchers >= WATCHERS:
        raise ProblemError(429, f"{WATCHERS} watch already", {"Retry-After": "10"})
    return StreamingResponse(_tell(request, here, caller.token.id), media_type=MEDIA_TYPE)


async def _tell(request: Request, here: Portal, token: int) -> AsyncIterator[str]:
    here.watchers += 1
    end_s = time.monotonic() + STREAM_S
    try:
        while time.monotonic() < end_s and not await request.is_disconnected():
            told = await anyio.to_thread.run_sync(_word_counters, here, token)
            if told is None:
                return
            yield told
            await asyncio.sleep(EVERY_S)
    finally:
        here.watchers -= 1


def _word_counters(here: Portal, token: int) -> str | None:
    """None: whoever watches may do so no more."""
    try:
        if not here.tokens.holds(token, now_s()):
            return None
        return f"event: counters\ndata: {read_counters(here).model_dump_json()}\n\n"
    except PenstockError:
        return "event: absent\ndata: {}\n\n"

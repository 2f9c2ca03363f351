"""Recordings of a subscriber's refused flows: begun, listed, read as pcap, deleted. Each of these is in the audit."""

import os
import socket
from ipaddress import ip_network
from typing import Annotated

from fastapi import Path
from fastapi.responses import FileResponse

from penstock.control.portal.tap import PREFIX_LIMIT
from penstock.control.subscribers.place_text import word_place
from penstock.portal.answers import CaptureAsked, CaptureSeen, CapturesSeen, PathId
from penstock.portal.caller import Known
from penstock.portal.capture import RUNNING, Capture, CaptureBusyError
from penstock.portal.journal import now_s, stamp_time
from penstock.portal.portal import Here, Portal
from penstock.portal.problems import ProblemError
from penstock.portal.routes_subscribers import find_known
from penstock.portal.routing import NOT_FOUND, describe_problems, make_router

MEDIA_TYPE = "application/vnd.tcpdump.pcap"
MEGA = 1_000_000
BUSY = describe_problems(409)

router = make_router("captures")

Number = Annotated[int, Path(ge=0, le=1 << 62)]


@router.post(
    "/subscribers/{subscriber}/captures", operation_id="start_capture", status_code=201, responses=NOT_FOUND | BUSY
)
def start_capture(here: Here, subscriber: PathId, asked: CaptureAsked, caller: Known) -> CaptureSeen:
    """Record the packets of flows that are refused to him from now on, from a few seconds before the refusal."""
    prefixes = _list_prefixes(here, subscriber)
    if not prefixes:
        raise ProblemError(409, "he is at no address now")
    try:
        here.captures.check(subscriber)
        _, descriptors = here.box.link.ask("tap", prefixes=prefixes, by=caller.token.name)
        tap = socket.socket(fileno=os.dup(descriptors[0]))
        os.close(descriptors[0])
        limit_bytes = asked.megabytes * MEGA
        found = here.captures.begin(subscriber, caller.token.name, tap, now_s(), asked.seconds, limit_bytes)
    except CaptureBusyError as error:
        raise ProblemError(409, str(error)) from None
    return _describe(found)


@router.get("/subscribers/{subscriber}/captures", operation_id="list_captures", responses=NOT_FOUND)
def list_captures(here: Here, subscriber: PathId) -> CapturesSeen:
    """What was recorded of a subscriber, the latest first."""
    find_known(here, subscriber)
    return CapturesSeen(captures=[_describe(one) for one in here.captures.list_captures(subscriber)])


@router.get(
    "/subscribers/{subscriber}/captures/{capture}",
    operation_id="get_capture",
    response_class=FileResponse,
    responses=NOT_FOUND
    | BUSY
    | {
        200: {
            "description": "The packets.",
            "content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
def get_capture(here: Here, subscriber: PathId, capture: Number) -> FileResponse:
    """A recording that has ended, as pcap."""
    found = _find(here, subscriber, capture)
    path = here.captures.find_path(found.id)
    if found.state == RUNNING:
        raise ProblemError(409, "it is at work")
    if not path.exists():
        raise ProblemError(404, "it came to nothing")
    return FileResponse(path, media_type=MEDIA_TYPE, filename=f"penstock-{found.id}.pcap")


@router.delete(
    "/subscribers/{subscriber}/captures/{capture}", operation_id="delete_capture", status_code=204, responses=NOT_FOUND
)
def delete_capture(here: Here, subscriber: PathId, capture: Number) -> None:
    """End a recording if it is at work, and delete it."""
    here.captures.delete(_find(here, subscriber, capture).id)


def _find(here: Portal, subscriber: str, number: int) -> Capture:
    found = here.captures.find(subscriber, number)
    if found is None:
        raise ProblemError(404, "there is no such recording of his")
    return found


def _list_prefixes(here: Portal, subscriber: str) -> list[str]:
    """Where a subscriber is; an address that several share is seen whole, and only his refused flows are kept."""
    found = set()
    for known in find_known(here, subscriber).places:
        text = word_place(known.place).partition(" in scope ")[0]
        if known.place.port_bits:
            text = text.rpartition(":")[0].strip("[]")
        found.add(str(ip_network(text)))
    return sorted(found)[:PREFIX_LIMIT]


def _describe(capture: Capture) -> CaptureSeen:
    return CaptureSeen(
        id=capture.id,
        state=capture.state,
        begun=stamp_time(capture.begun_s),
        ends=stamp_time(capture.ends_s),
        by=capture.by,
        limit_bytes=capture.limit_bytes,
        size_bytes=capture.size_bytes,
        packets=capture.packets,
        flows=capture.flows,
    )

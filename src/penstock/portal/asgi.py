"""Around the app: ids with slashes in a path, bodies that are too large, headers for browsers, the end of an audit's row.

Pure ASGI, so that streams stay streams. It knows no route.
"""

from collections.abc import MutableMapping
from typing import Any
from urllib.parse import unquote

import anyio.to_thread
import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from penstock.errors import PenstockError
from penstock.portal.audit import Audit
from penstock.portal.problems import ProblemError, build_response

BODY_LIMIT_BYTES = 1 << 19
API = "/api/"
HEADERS = {
    b"content-security-policy": b"default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    b"object-src 'none'",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
}

log = structlog.get_logger()


class KeepSlashes:
    """Routes see a path's segments decoded but for `/` and `%`, so that an id of any characters is one segment."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope.get("raw_path"):
            raw = scope["raw_path"].decode("ascii", "replace").partition("?")[0]
            if "%" in raw and raw.startswith(API):
                scope = {**scope, "path": "/".join(_decode_segment(segment) for segment in raw.split("/"))}
        await self._app(scope, receive, send)


def _decode_segment(segment: str) -> str:
    return unquote(segment).replace("%", "%25").replace("/", "%2F")


class LimitBody:
    """A body of more bytes than any call has is not read."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if int(dict(scope["headers"]).get(b"content-length", b"0") or 0) > BODY_LIMIT_BYTES:
            response = build_response(413, f"expected a body of at most {BODY_LIMIT_BYTES:,} bytes")
            await response(scope, receive, send)
            return
        got = 0

        async def receive_some() -> Message:
            nonlocal got
            message = await receive()
            got += len(message.get("body", b""))
            if got > BODY_LIMIT_BYTES:
                raise ProblemError(413, f"expected a body of at most {BODY_LIMIT_BYTES:,} bytes")
            return message

        await self._app(scope, receive_some, send)


class AnswerDefects:
    """A call that fails by a mistake of the program has an answer like all others, and the audit has its status."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_begun = False

        async def send_and_note(message: Message) -> None:
            nonlocal is_begun
            is_begun = True
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        except Exception as error:
            log.exception("a call failed: a defect to report", path=scope.get("path"), error=repr(error))
            if is_begun:
                raise
            await build_response(500, "a defect of Penstock, which is in its log")(scope, receive, send)


class AddHeaders:
    """Headers that browsers need, on every response; what the API says is kept nowhere."""

    def __init__(self, app: ASGIApp, is_tls: bool) -> None:
        self._app = app
        self._headers = dict(HEADERS)
        if is_tls:
            self._headers[b"strict-transport-security"] = b"max-age=31536000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_more(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                more = self._headers | ({b"cache-control": b"no-store"} if scope["path"].startswith(API) else {})
                headers = [*message["headers"], *((k, v) for k, v in more.items() if k not in present)]
                message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, receive, send_more if scope["type"] == "http" else send)


class EndAudit:
    """Writes down what became of what the audit has a row of (`scope["state"]["audit_entry"]`)."""

    def __init__(self, app: ASGIApp, audit: Audit) -> None:
        self._app, self._audit = app, audit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})

        async def send_and_note(message: Message) -> None:
            entry = state.pop("audit_entry", None) if message["type"] == "http.response.start" else None
            if entry is not None:
                await self._note(entry, message["status"])
            await send(message)

        await self._app(scope, receive, send_and_note)

    async def _note(self, entry: int, status: int) -> None:
        try:
            await anyio.to_thread.run_sync(self._audit.end, entry, status)
        except PenstockError as error:
            log.error("the audit lacks what became of a call", entry=entry, status=status, error=str(error))

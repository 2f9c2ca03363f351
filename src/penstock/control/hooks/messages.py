"""What is said between the pool and a worker process: one JSON text for each message of their socket.

    pool ► worker   {"n": 7, "kind": "on_request", "hooks": [0, 2], "value": {...}}
    worker ► pool   {"hooks": [...]} or {"error": ..., "place": ...} once, when the project is loaded or could not be
                    {"n": 7, "hook": 2, "answer": {...}, "failures": [...], "printed": "..."}

What a worker says is an operator's code's word: it is checked whole, and `MessageError` ends the process that said it.
"""

import json
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

from penstock.hooks.filters import Filter
from penstock.hooks.project import HOOK_LIMIT, KINDS, REQUEST, SUBSCRIBER, VERDICT
from penstock.hooks.request import Outcome, Request, Subscriber
from penstock.hooks.verdict import Verdict

MESSAGE_LIMIT_BYTES = 180_000  # below what a socket takes at once by the kernel's default
TEXT_LIMIT = 4000  # of a traceback, of what was printed

Value = Request | Outcome | Subscriber


class MessageError(ValueError):
    """Not what a worker may say."""


@dataclass(frozen=True)
class Declaration:
    """A hook as data: the pool's side of it."""

    kind: str
    name: str
    file: str
    line: int
    filter: Filter

    @property
    def place(self) -> str:
        """Where it stands."""
        return f"{self.file}:{self.line}"

    def wants(self, value: Value) -> bool:
        """Is this one for the hook?"""
        if isinstance(value, Request):
            return self.kind == REQUEST and self.filter.matches(value)
        if isinstance(value, Outcome):
            return self.kind == VERDICT and self.filter.matches(value.request)
        return self.kind == SUBSCRIBER


@dataclass(frozen=True)
class Failure:
    """A hook that raised, or returned what it may not."""

    hook: int
    error: str
    text: str
    """The traceback."""


@dataclass(frozen=True)
class Reply:
    """A worker's answer to one job."""

    number: int
    hook: int | None
    answer: Verdict | str | None
    failures: tuple[Failure, ...]
    printed: str
    is_last: bool
    """The process ends by itself behind it."""


def encode(message: dict[str, Any]) -> bytes:
    """One message. Raises MessageError when it is too long for the socket."""
    content = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    if len(content) > MESSAGE_LIMIT_BYTES:
        raise MessageError(f"{len(content):,} bytes, of {MESSAGE_LIMIT_BYTES:,} at most")
    return content


def encode_value(value: Value) -> dict[str, Any]:
    """What a hook is told, as plain values."""
    if isinstance(value, Outcome):
        return {name: getattr(value, name) for name in _OUTCOME} | {"request": encode_value(value.request)}
    if isinstance(value, Subscriber):
        return asdict(value)
    plain = {name: getattr(value, name) for name in _REQUEST}
    return plain | {"time": value.time.timestamp(), "client": str(value.client)}


def decode_value(kind: str, plain: dict[str, Any]) -> Value:
    """The same back, in the worker, which trusts the pool."""
    if kind == SUBSCRIBER:
        return Subscriber(**(plain | {"addresses": tuple(plain["addresses"])}))
    if kind == VERDICT:
        request = decode_value(REQUEST, plain["request"])
        return Outcome(**(plain | {"request": request}))
    time = datetime.fromtimestamp(plain["time"], UTC)
    return Request(
        **(plain | {"time": time, "client": ip_address(plain["client"]), "categories": tuple(plain["categories"])})
    )


_REQUEST = tuple(field.name for field in fields(Request))
_OUTCOME = tuple(field.name for field in fields(Outcome))


def decode_declarations(message: dict[str, Any]) -> tuple[Declaration, ...]:
    """What a project declares. Raises MessageError."""
    try:
        rows = message["hooks"]
        if not isinstance(rows, list) or not 1 <= len(rows) <= HOOK_LIMIT:
            raise MessageError(f"no list of hooks: {rows!r:.100}")
        return tuple(_decode_declaration(row) for row in rows)
    except (KeyError, TypeError, ValueError) as error:
        raise MessageError(f"no list of hooks: {error}") from None


def _decode_declaration(row: dict[str, Any]) -> Declaration:
    if row["kind"] not in KINDS or not isinstance(row["line"], int):
        raise MessageError("no hook")
    return Declaration(row["kind"], str(row["name"]), str(row["file"]), row["line"], Filter.from_data(row["filter"]))


def decode(content: bytes) -> dict[str, Any]:
    """A message of a worker's. Raises MessageError."""
    try:
        message = json.loads(content)
    except (ValueError, RecursionError):
        raise MessageError("no JSON") from None
    if not isinstance(message, dict):
        raise MessageError("no message")
    return message


def decode_reply(message: dict[str, Any], kind: str, hooks: list[int]) -> Reply:
    """The reply to a job of that kind, for which these hooks were asked. Raises MessageError."""
    try:
        hook, plain = message["hook"], message["answer"]
        failures = tuple(
            Failure(row["hook"], str(row["error"])[:TEXT_LIMIT], str(row["text"])[:TEXT_LIMIT])
            for row in message["failures"]
        )
        if any(type(row.hook) is not int or row.hook not in hooks for row in failures):
            raise MessageError("a failure of a hook that was not asked")
        answer: Verdict | str | None = None
        if plain is not None:
            if type(hook) is not int or hook not in hooks or kind == VERDICT:
                raise MessageError("an answer of a hook that was not asked")
            answer = Verdict(**plain) if kind == REQUEST else decode_profile(plain)
        printed = str(message["printed"])[:TEXT_LIMIT]
        is_last = message["is_last"] is True
        return Reply(int(message["n"]), hook if answer else None, answer, failures, printed, is_last)
    except MessageError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise MessageError(f"no reply: {error}") from None


def decode_profile(value: Any) -> str:
    """The name of a profile. Raises ValueError."""
    if not isinstance(value, str) or not 1 <= len(value) <= 63 or not value.isprintable():
        raise ValueError(f"expected the name of a profile, not {value!r:.100}")
    return value

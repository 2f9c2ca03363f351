"""A request as it comes to hooks: from a record of the path, or from a line of the event log.

What an ask says is written down in `path.ask_rings`. Knows names and numbers of the policy in force. Refuses to know hooks.
"""

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import IPv6Address, ip_address
from typing import Any

from penstock.hooks.request import PROTOCOLS, Outcome, Request
from penstock.kernel import tables
from penstock.path import events as e
from penstock.path.ask_rings import ASK_PATH, ASK_PATH_BYTES, EVENT_ASKS, PATH_LIMIT
from penstock.path.layout import PROTO_NAMES
from penstock.policy.actions import ACTION_NAMES
from penstock.policy.layout import profile_tag


class RecordError(ValueError):
    """No request can be read from this; the text says what was expected."""


def _find_nobody(number: int) -> str | None:
    return None


@dataclass
class Names:
    """What numbers of the path mean."""

    categories: list[str] = field(default_factory=list)
    profiles: dict[int, str] = field(default_factory=dict)
    """By tag."""
    find_subscriber: Callable[[int], str | None] = _find_nobody

    @classmethod
    def of(
        cls, categories: list[str], profiles: Iterable[str], find_subscriber: Callable[[int], str | None] = _find_nobody
    ) -> "Names":
        return cls(categories, {profile_tag(name): name for name in profiles}, find_subscriber)


def decode_ask(raw: bytes, names: Names, offset_ns: int) -> tuple[int, Request]:
    """A record of the path's: its identity, and the request. Raises RecordError."""
    time_ns, identity, proto, action, mask, _, _, _, subscriber, tag, flags, size = struct.unpack_from("<12q", raw)
    if not flags & EVENT_ASKS or not 0 <= proto < len(PROTO_NAMES) or not 0 <= size <= e.HOST_LIMIT:
        raise RecordError("expected an ask")
    key = raw[e.EVENT_KEY : e.EVENT_KEY + tables.KEY_BYTES]
    address = IPv6Address(key[:16])
    try:
        request = Request(
            protocol=PROTO_NAMES[proto],
            host=raw[e.EVENT_HOST : e.EVENT_HOST + size].decode("ascii", "backslashreplace").lower().rstrip("."),
            port=struct.unpack_from("<I", key, tables.FLOW_PORTS)[0] & 0xFFFF,
            time=datetime.fromtimestamp((time_ns + offset_ns) / 1e9, UTC),
            client=address.ipv4_mapped or address,
            subscriber=names.find_subscriber(subscriber),
            profile=names.profiles.get(tag),
            categories=tuple(name for bit, name in enumerate(names.categories) if mask >> bit & 1),
            path=_decode_path(raw),
            default=ACTION_NAMES[action],
        )
    except (ValueError, OverflowError, OSError, LookupError) as error:
        raise RecordError(f"expected an ask: {error}") from None
    return identity, request


def _decode_path(raw: bytes) -> str | None:
    size = min(max(struct.unpack_from("<q", raw, ASK_PATH_BYTES)[0], 0), PATH_LIMIT)
    return raw[ASK_PATH : ASK_PATH + size].decode("ascii", "backslashreplace") or None


def read_line(fields: dict[str, Any]) -> Request:
    """A request of the event log: the fields of a line, of which only `host` must be there; `path`, `profile` and
    `categories` may stand beside them. Raises RecordError."""
    try:
        category = fields.get("category")
        categories = fields.get("categories", [category] if category else [])
        protocol, host, port = fields.get("proto", "tls"), fields.get("host") or "", fields.get("dest_port", 443)
        texts = {name: fields.get(name) for name in ("subscriber", "profile", "path")}
        if protocol not in PROTOCOLS:
            raise RecordError(f"proto: expected one of {', '.join(PROTOCOLS)}, not {protocol!r}")
        if not isinstance(host, str) or "host" not in fields:
            raise RecordError("host: expected a name")
        if not isinstance(port, int) or not 1 <= port <= 65_535:
            raise RecordError(f"dest_port: expected a port, not {port!r}")
        if not isinstance(categories, list) or not all(isinstance(name, str) for name in categories):
            raise RecordError("categories: expected a list of names")
        for name, text in texts.items():
            if text is not None and not isinstance(text, str):
                raise RecordError(f"{name}: expected text")
        return Request(
            protocol=protocol,
            host=host.lower().rstrip("."),
            port=port,
            time=_read_time(fields.get("timestamp", "2026-01-01T12:00:00+0000")),
            client=ip_address(fields.get("src_ip", "192.0.2.1")),
            categories=tuple(categories),
            default=str(fields.get("action", "forward")),
            **texts,
        )
    except RecordError:
        raise
    except (TypeError, ValueError) as error:
        raise RecordError(str(error)) from None


def _read_time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise RecordError(f"timestamp: expected an offset such as +0000 behind {text!r}")
    return time.astimezone(UTC)


def read_outcome(fields: dict[str, Any]) -> Outcome:
    """What became of a request, from a line of the event log. Raises RecordError."""
    return Outcome(
        read_line(fields),
        str(fields.get("action", "forward")),
        str(fields.get("reason", "allowed")),
        fields.get("category"),
        fields.get("service"),
        fields.get("hook"),
    )

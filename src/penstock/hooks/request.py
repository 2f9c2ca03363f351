"""What a hook is told: a request, what became of one, a subscriber. Values alone; nothing here can be changed."""

from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address

PROTOCOLS = ("http", "tls", "quic", "dns", "tcp", "udp")
"""What `Request.protocol` may be; `tcp` and `udp` are flows without a name, judged by their address."""

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Request:
    """Somebody asks for something, and waits."""

    protocol: str
    host: str
    """In lower case, without a dot at the end; empty where the request names none."""
    port: int
    """The server's."""
    time: datetime
    """Aware, in UTC: `request.time.astimezone(ZoneInfo("Europe/Madrid"))` is the subscriber's wall clock."""
    client: Address
    subscriber: str | None = None
    profile: str | None = None
    categories: tuple[str, ...] = ()
    """Of the host, by the lists."""
    path: str | None = None
    """Of a URL over HTTP, where it was read."""
    default: str = "forward"
    """What lists and profiles say: forward, report, block, redirect, empty or rewrite."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request."""

    request: Request
    action: str
    reason: str
    """By the list in docs/reasons.md."""
    category: str | None = None
    service: str | None = None
    hook: str | None = None
    """Which hook decided, if one did."""


@dataclass(frozen=True, slots=True)
class Subscriber:
    """A subscriber who appears, or of whom something changes."""

    id: str
    profile: str | None = None
    """The one that holds without the hook."""
    addresses: tuple[str, ...] = field(default=())
    """His addresses and prefixes, as text."""
    is_new: bool = True

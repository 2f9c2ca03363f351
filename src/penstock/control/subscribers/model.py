"""The nouns of the register: a place on the line, who is there, and what a source says of it.

    Place      an address, a prefix, or a block of ports of a shared address, in a scope
    Assign     this subscriber is at these places from now on         (RADIUS Start or Interim-Update, a file, a call)
    Release    this session is no longer at these places               (RADIUS Stop)
    Restart    a NAS began anew: none of its older sessions goes on    (RADIUS Accounting-On and -Off)
    Change     what holds for a subscriber

Times are seconds since 1970, the source's own where it says one. Nothing here knows RADIUS, files or the store.
"""

from dataclasses import dataclass
from typing import Literal

from penstock.control.subscribers.choices import Choices

Source = Literal["configuration", "radius", "file", "call"]
PORTS = 65_536


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """One entry of the kernel's table: every address and port whose first `bits` and upper `port_bits` bits agree."""

    scope: int
    """Which network, where several use the same addresses; 0: the one without a name."""
    address: bytes
    """16 bytes, IPv4 as ::ffff:a.b.c.d (RFC 4291 2.5.5.2); zero behind `bits`."""
    bits: int
    """0 to 128."""
    port: int = 0
    """The first port of the block, a multiple of its size."""
    port_bits: int = 0
    """0: all ports; 7: a block of 512; 16: one port. Above 0 only with bits 128."""


@dataclass(frozen=True, slots=True)
class Assign:
    source: Source
    session: str
    """What a Release names again: unique among those of the source (RADIUS: NAS and Acct-Session-Id)."""
    subscriber: str
    places: tuple[Place, ...]
    """All of the session's, in the place of those before; with `adds` further ones."""
    at_s: float
    profile: str | None = None
    """What holds for him from now on; None: what held before, or the default."""
    expires_s: float | None = None
    """When it is over unless it is said again; None: never."""
    nas: str = ""
    adds: bool = False
    """True: the session's other places stay and are said again, `expires_s` is theirs too; without places nothing else is
    said (an Interim-Update that names none)."""


@dataclass(frozen=True, slots=True)
class Release:
    source: Source
    session: str
    at_s: float
    places: tuple[Place, ...] = ()
    """Empty: all of the session's."""


@dataclass(frozen=True, slots=True)
class Restart:
    source: Source
    nas: str
    at_s: float


@dataclass(frozen=True, slots=True)
class Change:
    subscriber: str
    at_s: float
    profile: str | None = None
    fail: Literal["open", "closed"] | None = None
    packets_per_s: int | None = None
    """0: no limit of his own."""
    paused_until_s: float | None = None
    """0: not paused; infinity: until he is told otherwise."""
    choices: Choices | None = None
    """All that he chose, in the place of what he chose before."""


Event = Assign | Release | Restart | Change

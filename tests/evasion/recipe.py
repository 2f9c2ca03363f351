"""The language of the catalogue: what a strategy is, and the steps of which its recipe is made.

    Strategy(id, family, source, what, Tcp(steps) | Datagrams(steps) | Quic(plan), over=("http", "tls"), ambiguous="…")

A step names bytes of the *stream*, which is what an honest client would say, by places: a number, or a word with a
distance such as `host`, `mid-3`, `tail`, `end`. `fill` puts other bytes there: those of the same stream for an allowed name
(`cover`), zeros, noise, or bytes as given. Unless a recipe shakes hands itself, a handshake stands in front of it; behind
it, the client repeats what the server has not acknowledged, as any client does.

Outcomes are written down before a strategy is run. For each: no server acts on the blocked name through the box. Where
`ambiguous` is empty, an allowed name works through the box wherever it works without; where it is not, it says which two
versions of a byte a server could take, and refusing is right. A `harmless` strategy shows the blocked name where nobody
asks for it, and must pass.

Knows no packets and no servers. Data only: nothing here acts.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

BLOCKED = "bad.example.test"
ALLOWED = "odd.samples.test"  # as long, on no list, and different on both sides of the middle
COVER = "any.gallery.test"  # so too: what a decoy asks for

Place = int | str
Fill = bytes | str | None
SERVERS = {
    "http": ("nginx", "CPython"),  # and Node, for what is about HTTP itself
    "tls": ("nginx", "CPython"),
    "sink": ("CPython",),
    "quic": ("aioquic",),
    "dns": ("unbound", "dnspython"),
    "dns-tcp": ("unbound", "dnspython"),
}


@dataclass(frozen=True)
class Piece:
    """One IP fragment: a range of the packet's payload, TCP or UDP header included."""

    start: int
    end: int | None = None
    fill: Fill = None
    ttl: int | None = None
    more: bool | None = None  # None: whatever is true
    identity: int = 0  # added to the packet's


@dataclass(frozen=True)
class Segment:
    """One TCP segment (or as many as the MTU wants, where it carries a long range of the stream)."""

    start: Place = 0
    end: Place = "end"
    fill: Fill = None
    before: bytes = b""  # bytes in front, at the numbers before
    seq: int = 0  # added to the number that belongs there
    ack: int = 0
    flags: str = "PA"
    ttl: int | None = None
    checksum: str = "right"
    stamp: int | None = 0  # added to the timestamp; None: no timestamp
    options: bytes = b""
    urgent: Place = 0  # a number, or the place behind the byte that it names
    window: int = 65535
    header_words: int | None = None  # a data offset that is not true
    reserved: int = 0
    ip_options: bytes = b""
    extensions: tuple[tuple[int, bytes], ...] = ()
    ip: tuple[
        tuple[str, int], ...
    ] = ()  # fields of the IP header that are not true: version, length, checksum, protocol, flags
    pieces: tuple[Piece, ...] = ()
    times: int = 1
    tos: int = 0
    port: int = 0  # added to the server's
    tags: tuple[int, ...] = ()  # VLANs, in the frame's bytes; a tag protocol of its own in the upper half
    station: bytes = b""  # another one than the router's
    trailer: bytes = b""  # behind the IP packet


@dataclass(frozen=True)
class Syn:
    """A SYN, and, unless `wait` is false, the SYN-ACK. `seq` is added to the client's first number."""

    flags: str = "S"
    seq: int = 0
    fill: Fill = None
    ttl: int | None = None
    checksum: str = "right"
    options: bytes | None = None  # None: MSS, SACK, timestamps, window scale, as Linux
    wait: bool = True
    ack: int = 0
    stamp: int = 0  # added to the timestamp
    window: int = 65535


@dataclass(frozen=True)
class Wait:
    """Let time pass."""

    seconds: float


@dataclass(frozen=True)
class AwaitAck:
    """Until the server has acknowledged this place, or some tenths of a second."""

    place: Place = "end"


@dataclass(frozen=True)
class AwaitAnswer:
    """Until the server has said something, or a second."""


@dataclass(frozen=True)
class Renew:
    """From here on the connection is another one: same ports, another first number."""

    distance: int = 1_000_000


Step = Segment | Syn | Wait | AwaitAck | AwaitAnswer | Renew
SHAKE: tuple[Step, ...] = (Syn(), Segment(0, 0, flags="A"))
Stream = bytes | Callable[[str], bytes]  # with {host}; or made of the host


@dataclass(frozen=True)
class Tcp:
    """Steps over one TCP connection. `stream` replaces what the protocol's honest client says, `change` rewrites it."""

    steps: tuple[Step, ...] = (Segment(),)
    stream: Stream | None = None
    change: Callable[[bytes], bytes] | None = None  # of that stream


@dataclass(frozen=True)
class Datagram:
    """One UDP datagram. `content` is made of the host; `message` names the usual one."""

    content: Callable[[str], bytes]
    port: int = 53
    source_port: int = 0  # added to the client's
    ttl: int | None = None
    checksum: str = "right"
    length: int = 0  # added to the UDP length
    pieces: tuple[Piece, ...] = ()
    ip_options: bytes = b""
    extensions: tuple[tuple[int, bytes], ...] = ()
    times: int = 1


@dataclass(frozen=True)
class Datagrams:
    """Datagrams, one after the other."""

    steps: tuple["Datagram | Wait", ...]


@dataclass(frozen=True)
class Quic:
    """A first flight of QUIC: `shape` makes datagrams of it. Each is bytes, or a Datagram that carries them oddly."""

    shape: Callable[[object], list[object]] | None = None
    version: int = 1
    hello_bytes: int = 0


Play = Tcp | Datagrams | Quic


@dataclass(frozen=True)
class Strategy:
    """One entry of the catalogue."""

    id: str
    family: str
    source: str
    what: str
    play: Play
    over: tuple[str, ...] = ("http", "tls")
    ambiguous: str = ""
    harmless: bool = False
    nets: tuple[str, ...] = ("IPv4", "IPv6", "VLAN")
    servers: tuple[str, ...] = field(default=())  # none: all that speak the protocol

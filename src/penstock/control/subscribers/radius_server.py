"""The sockets of RADIUS accounting: what came in, each request once, and its reply when it is written down.

    read ──► Received (events, reply) ──► the register's commit ──► answer     RFC 2866 3: a reply says that it was recorded
      │                                                └─ failed ──► give_up   the client sends it again
      └── again? ──► the reply that it had, or nothing while it is on its way  RFC 5080 2.2.2

Never blocks, and never raises for what came in. Knows sockets and duplicates; `radius` knows what packets say.
"""

import socket
import struct
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from penstock.control.subscribers.model import Event
from penstock.control.subscribers.radius import ANSWERED, DISCARDED, NOTES, Decoder
from penstock.control.subscribers.radius_packet import HEADER_BYTES, PACKET_LIMIT_BYTES
from penstock.errors import PenstockError

REMEMBERED = 16_384  # requests whose repetition is known: 5 s of 3,000 a second, 8 MB
REMEMBERED_S = 30.0  # RFC 5080 2.2.2: 5 to 30 s
BUFFER_BYTES = 8 << 20  # in the kernel: what comes in a second and more while a batch is written down
SO_RCVBUFFORCE = 33  # socket(7); Python has no name for it
SO_MEMINFO, DROPS = 55, 8  # linux/sock_diag.h: SK_MEMINFO_DROPS, the ninth of nine 32-bit words
OF_SOCKETS = ("duplicate", "lost", "not_sent")
RESERVED = 8  # sockets of each family: a reload or a hand-over takes further ones

_reserve: dict[int, list[socket.socket]] = {}

Source = tuple[Any, ...]
"""As a socket writes it: address, port, and for IPv6 flow and zone."""


class ListenError(PenstockError):
    """An address cannot be listened on."""


@dataclass(frozen=True, slots=True)
class Received:
    """A request that says something. Ends with `RadiusServer.answer` or `give_up`."""

    events: tuple[Event, ...]
    reply: bytes
    at: socket.socket
    source: Source
    header: bytes


@dataclass(slots=True)
class _Known:
    """A request that came before: its reply, as soon as that is sent, and how long it is remembered."""

    reply: bytes | None
    until_s: float


class RadiusServer:
    """Listens, and answers what is written down. `fds` are for a select loop."""

    def __init__(self, decoder: Decoder, listen: Sequence[tuple[str, int]], now: Callable[[], float]) -> None:
        """`now`: seconds since 1970. Raises ListenError."""
        self.decoder = decoder
        """Another one may take its place: settings that were read again."""
        self.counters = dict.fromkeys((*ANSWERED, *DISCARDED, *NOTES, *OF_SOCKETS), 0)
        """By name, from the start. Each packet that came counts once, under `ANSWERED`, `DISCARDED` or `duplicate`."""
        self._now = now
        self._sockets: list[socket.socket] = []
        self._known: OrderedDict[tuple[Source, bytes], _Known] = OrderedDict()
        self._lost: Counter[int] = Counter()
        try:
            for address, port in listen:
                self._sockets.append(_open_socket(address, port))
        except ListenError:
            self.close()
            raise

    @property
    def fds(self) -> list[int]:
        """To wait on: readable when something came."""
        return [one.fileno() for one in self._sockets]

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where it listens."""
        return [one.getsockname()[:2] for one in self._sockets]

    def read(self, limit: int) -> list[Received]:
        """What came, at most `limit` packets of each socket; what says nothing is answered or thrown away here."""
        received: list[Received] = []
        now_s = self._now()
        self._forget(now_s)
        for one in self._sockets:
            self._count_lost(one)
            for _ in range(limit):
                try:
                    raw, source = one.recvfrom(PACKET_LIMIT_BYTES + 1)
                except BlockingIOError:
                    break
                except OSError:  # a client's host said that our last reply reached nobody
                    continue
                if (request := self._take(one, raw, source, now_s)) is not None:
                    received.append(request)
        return received

    def answer(self, received: Received) -> None:
        """Send the reply: what was received is written down."""
        known = self._known.get((received.source, received.header))
        if known is not None:
            known.reply = received.reply
        self._send(received.at, received.reply, received.source)

    def give_up(self, received: Received) -> None:
        """It could not be written down: no reply, and its repetition is a request of its own."""
        self._known.pop((received.source, received.header), None)

    def close(self) -> None:
        """Stop listening."""
        for one in self._sockets:
            one.close()
        self._sockets.clear()

    def _take(self, at: socket.socket, raw: bytes, source: Source, now_s: float) -> Received | None:
        header = raw[:HEADER_BYTES]  # its authenticator is a digest of all of it and of the secret
        known = self._known.get((source, header))
        if known is not None:
            self.counters["duplicate"] += 1
            if known.reply is not None:
                self._send(at, known.reply, source)
            return None
        decoded = self.decoder.decode(raw, source[0], now_s)
        self.counters[decoded.outcome] += 1
        for note in decoded.notes:
            self.counters[note] += 1
        if decoded.reply is None:
            return None
        if not decoded.events:
            self._send(at, decoded.reply, source)
            return None
        if len(self._known) >= REMEMBERED:
            self._known.popitem(last=False)
        self._known[source, header] = _Known(None, now_s + REMEMBERED_S)
        return Received(decoded.events, decoded.reply, at, source, header)

    def _send(self, at: socket.socket, reply: bytes, source: Source) -> None:
        try:
            at.sendto(reply, source)
        except OSError:  # no buffer, no route: the client asks again
            self.counters["not_sent"] += 1

    def _forget(self, now_s: float) -> None:
        while self._known:
            oldest = next(iter(self._known.values()))
            # A clock that was set back must not keep them.
            if now_s <= oldest.until_s <= now_s + REMEMBERED_S:
                break
            self._known.popitem(last=False)

    def _count_lost(self, one: socket.socket) -> None:
        """Packets for which the kernel's buffer had no room."""
        lost = struct.unpack_from("=I", one.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 4 * (DROPS + 1)), 4 * DROPS)[0]
        self.counters["lost"] += (lost - self._lost[one.fileno()]) & 0xFFFF_FFFF
        self._lost[one.fileno()] = lost


def reserve_sockets(count: int = RESERVED) -> None:
    """Make sockets with large buffers, each for one address, as long as we have the right to (CAP_NET_ADMIN)."""
    for family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError):  # a kernel without IPv6
            _reserve.setdefault(family, []).extend(_make_socket(family) for _ in range(count))


def _make_socket(family: int) -> socket.socket:
    one = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    if family == socket.AF_INET6:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    try:
        one.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
    except PermissionError:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)  # as much of it as rmem_max has
    return one


def _open_socket(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    reserved = _reserve.get(family, [])
    is_reserved, one = bool(reserved), None
    try:
        one = reserved.pop() if is_reserved else _make_socket(family)
        one.bind((address, port))
        return one
    except OSError as error:
        if one is not None and is_reserved:
            reserved.append(one)  # for the next attempt
        elif one is not None:
            one.close()
        where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        raise ListenError(f"radius.listen: cannot listen on {where}: {error.strerror}") from None

"""Connections: so many at one time, and none that keeps its place without saying or hearing something.

    accept ──► room? ── no ──► of the network that has most, the oldest goes ──► accepted
    accepted, or an answer sent ──► a whole request within REQUEST_S, or it is cut off
    an answer that is not read ───► cut off after UNREAD_S

So whoever opens many and says nothing, or little by little, keeps nobody out (slow HTTP attacks, of which uvicorn itself
takes no notice). It does not know what is asked.
"""

import asyncio
import socket
from collections import OrderedDict
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from penstock.portal.limits import find_network

CONNECTIONS = 512  # with files that are open for them well below the usual 1024 descriptors
REQUEST_S = 20.0  # of the largest body from a poor line
UNREAD_S = 30.0  # in which what waits to be sent gets less


class Connection(socket.socket):
    """A connection that the listener counts until it is closed."""

    listener: "Listener | None" = None
    network = ""

    def close(self) -> None:
        """Close it, and have room for another."""
        if self.listener is not None:
            self.listener.forget(self)
            self.listener = None
        super().close()


class Listener(socket.socket):
    """A socket that listens, with so many connections at one time. Used by one thread."""

    limit = CONNECTIONS

    def __init__(self, *words: Any, **named: Any) -> None:
        super().__init__(*words, **named)
        self._networks: dict[str, OrderedDict[Connection, None]] = {}

    def accept(self) -> tuple[Connection, Any]:
        """A connection; where there is no room, one of the network that has most makes it."""
        accepted, address = super().accept()
        connection = Connection(self.family, self.type, self.proto, fileno=accepted.detach())
        connection.listener, connection.network = self, find_network(str(address[0]))
        self._networks.setdefault(connection.network, OrderedDict())[connection] = None
        if sum(map(len, self._networks.values())) > self.limit:
            self._cut_off_one()
        return connection, address

    def _cut_off_one(self) -> None:
        loudest = max(self._networks.values(), key=len)
        oldest = next(iter(loudest))
        self.forget(oldest)
        oldest.listener = None
        try:
            oldest.shutdown(socket.SHUT_RDWR)  # whoever serves it hears of its end
        except OSError:
            return  # it has come to one already

    def forget(self, connection: Connection) -> None:
        """It is counted no more."""
        found = self._networks[connection.network]
        del found[connection]
        if not found:
            del self._networks[connection.network]


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 as uvicorn speaks it, with an end to what it waits for."""

    _request_due: asyncio.TimerHandle | None = None
    _unread_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request, and not for ever."""
        super().connection_made(transport)
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        super().connection_lost(exc)
        self._cancel_request()
        self.resume_writing()

    def data_received(self, data: bytes) -> None:
        """Take what comes; behind an answer it has its whole time again."""
        if self.timeout_keep_alive_task is not None:
            self._cancel_request()
        super().data_received(data)

    def handle_events(self) -> None:
        """See whether a request is whole."""
        super().handle_events()
        self._look()

    def on_response_complete(self) -> None:
        """Wait for the next one."""
        super().on_response_complete()
        self._look()

    def pause_writing(self) -> None:
        """What was sent is not read."""
        super().pause_writing()
        self._unread_due = self._unread_due or self.loop.call_later(UNREAD_S, self.transport.abort)

    def resume_writing(self) -> None:
        """It is read again."""
        super().resume_writing()
        if self._unread_due is not None:
            self._unread_due.cancel()
            self._unread_due = None

    def _look(self) -> None:
        is_due = self.conn.their_state in (h11.IDLE, h11.SEND_BODY) or self.transport.is_closing()
        if not is_due:
            self._cancel_request()
        elif self._request_due is None:
            self._request_due = self.loop.call_later(REQUEST_S, self.transport.abort)

    def _cancel_request(self) -> None:
        if self._request_due is not None:
            self._request_due.cancel()
            self._request_due = None

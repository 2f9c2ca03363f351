"""A door from the machine's loopback to an address in a namespace: bytes are handed on, both ways.

    127.0.0.1:PORT of the machine  ──  a thread for each connection  ──  ADDRESS:PORT in the box's namespace

Refuses to know what the bytes say.
"""

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

from penstock.demo.topology import Place, Topology

LOOPBACK = "127.0.0.1"
PIECE_BYTES = 65_536
CONNECT_S = 5.0


class Door:
    """As a context: open on entry, closed on exit, with every connection."""

    def __init__(self, topology: Topology, place: Place, address: str, port: int) -> None:
        self._topology, self._place, self._there = topology, place, (address, port)
        self._open: set[socket.socket] = set()
        self._is_closed = False
        self._lock = threading.Lock()
        self._listener = socket.create_server((LOOPBACK, 0))
        self.url = f"http://{LOOPBACK}:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._shut(self._listener)
        with self._lock:
            self._is_closed = True
            left = list(self._open)
        for one in left:
            self._shut(one)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        try:
            with self._topology.inside(self._place):
                far = socket.create_connection(self._there, CONNECT_S)
        except OSError:
            near.close()
            return
        far.settimeout(None)
        with self._lock:
            self._open |= {near, far}
            is_late = self._is_closed
        if is_late:  # nobody else would end it
            self._shut(near)
            self._shut(far)
        back = threading.Thread(target=_hand_on, args=(far, near), daemon=True)
        back.start()
        _hand_on(near, far)
        back.join()
        with self._lock:
            self._open -= {near, far}
        near.close()
        far.close()

    def _shut(self, one: socket.socket) -> None:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        if one is self._listener:
            one.close()


def _hand_on(source: socket.socket, sink: socket.socket) -> None:
    """Everything from one to the other; then the other is told that this was all."""
    with suppress(OSError):
        while piece := source.recv(PIECE_BYTES):
            sink.sendall(piece)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)

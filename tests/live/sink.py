"""A server that only counts bytes: what reached an application, and nothing else."""

import socket
import threading
from types import TracebackType

from penstock.demo.topology import Topology


class Sink:
    """Listens in the server namespace; answers each connection with one byte once it has `wanted` bytes."""

    def __init__(self, topology: Topology, port: int, wanted: int) -> None:
        self.wanted = wanted
        self.received: list[bytes] = []
        with topology.inside("server"):
            self.listener = socket.create_server(
                ("::", port), family=socket.AF_INET6, backlog=1024, dualstack_ipv6=True
            )
        self.thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> "Sink":
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()

    def _serve(self) -> None:
        while True:
            try:
                channel, _ = self.listener.accept()
            except OSError:
                return
            with channel:
                self._take(channel)

    def _take(self, channel: socket.socket) -> None:
        place = len(self.received)
        self.received.append(b"")
        channel.settimeout(10)
        try:
            while len(self.received[place]) < self.wanted and (piece := channel.recv(1 << 16)):
                self.received[place] += piece
            channel.sendall(b".")
        except OSError:
            return

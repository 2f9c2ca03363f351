"""A steady load of 1,000 new connections a second and more, each timed, beside connections that are kept open.

    python -m tests.live.load ADDRESS PORT HOST RATE SECONDS [SOURCE [KEPT]]

A new connection carries one request. Of the KEPT ones, which were opened before the load begins, every second one asks in
its turn, and the others are silent until the end: then all of them ask. It ends early on SIGTERM. Prints a JSON line when
it begins and one at the end:

    {"asked": [[start_s, connect_s, delay_s, what], ...], "kept": [[start_s, 0, delay_s, what], ...]}

`what` is the first line of the response, or the error that broke the connection; times are of the monotonic clock. One
thread and epoll: a sixth of a processor for 1,000 a second, where asyncio takes more than twice as much.
"""

import errno
import json
import resource
import select
import signal
import socket
import sys
import time
from dataclasses import dataclass, field

PATIENCE_S = 10.0
KEPT_PAUSE_S = 0.02  # between requests on kept connections, all together
MANY_FILES = 65_536
NO_PORT = getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24)  # the port is chosen with the peer in mind, at connect
EVENTS = select.EPOLLIN | select.EPOLLOUT | select.EPOLLET
Row = tuple[float, float, float, str]


@dataclass(slots=True, eq=False)
class Exchange:
    """One connection and the request on it. `connect_s` is None until the handshake is complete."""

    channel: socket.socket
    start_s: float
    is_kept: bool
    connect_s: float | None = None
    came: bytes = b""

    def is_whole(self) -> bool:
        """Whether all of a response with a length has come."""
        head, found, body = self.came.partition(b"\r\n\r\n")
        if not found:
            return False
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        return len(body) >= int(length)


@dataclass
class Load:
    """One run and what came of each request."""

    address: str
    port: int
    host: str
    rate: float
    duration_s: float
    source: str | None = None
    kept_count: int = 0
    asked: list[Row] = field(default_factory=list)
    kept: list[Row] = field(default_factory=list)
    stops: bool = False

    def __post_init__(self) -> None:
        self.family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        self.epoll = select.epoll()
        self.flying: dict[int, Exchange] = {}  # oldest first
        self.silent: list[socket.socket] = []  # kept ones, on which nothing is asked now
        self.request = f"GET / HTTP/1.1\r\nHost: {self.host}\r\n".encode()

    def stop(self, number: int, frame: object) -> None:
        """Begin no more connections."""
        self.stops = True

    def prepare(self) -> None:
        """Open the connections that are kept, and use each of them once."""
        for _ in range(self.kept_count):
            self._begin(is_kept=True)
            self._turn_until_done()
        self.kept.clear()

    def run(self) -> None:
        """Begin each connection when it is due, whatever became of those before."""
        begin_s = now_s = time.monotonic()
        number, kept_s = 0, begin_s
        while not self.stops and number < self.rate * self.duration_s:
            while begin_s + number / self.rate <= now_s:
                self._begin(is_kept=False)
                number += 1
                now_s = time.monotonic()
            if now_s >= kept_s and len(self.silent) > self.kept_count // 2:
                self._ask_again(self.silent.pop(0))
                kept_s += KEPT_PAUSE_S
            self._turn(begin_s + number / self.rate - now_s)
            now_s = time.monotonic()
        self._turn_until_done()
        for channel in [self.silent.pop() for _ in range(len(self.silent))]:
            self._ask_again(channel)
        self._turn_until_done()

    def _turn_until_done(self) -> None:
        while self.flying:
            self._turn(0.1)

    def _turn(self, longest_s: float) -> None:
        for number, events in self.epoll.poll(max(longest_s, 0)):
            if (exchange := self.flying.get(number)) is not None:
                try:
                    self._go_on(exchange, events)
                except OSError as error:
                    self._end(exchange, f"broken: {error}")
        limit_s = time.monotonic() - PATIENCE_S
        while self.flying and (oldest := next(iter(self.flying.values()))).start_s < limit_s:
            self._end(oldest, "broken: no answer")

    def _begin(self, is_kept: bool) -> None:
        channel = socket.socket(self.family)
        channel.setblocking(False)
        if self.source:
            channel.setsockopt(socket.IPPROTO_IP, NO_PORT, 1)
            channel.bind((self.source, 0))
        exchange = Exchange(channel, time.monotonic(), is_kept)
        self.flying[channel.fileno()] = exchange
        self.epoll.register(channel, EVENTS)
        status = channel.connect_ex((self.address, self.port))
        if status not in (0, errno.EINPROGRESS):
            self._end(exchange, f"broken: {errno.errorcode[status]}")

    def _ask_again(self, channel: socket.socket) -> None:
        exchange = Exchange(channel, time.monotonic(), True, 0.0)
        self.flying[channel.fileno()] = exchange
        try:
            channel.send(self.request + b"\r\n")
        except OSError as error:
            self._end(exchange, f"broken: {error}")

    def _go_on(self, exchange: Exchange, events: int) -> None:
        """Send the request when the connection is there; read what came."""
        channel = exchange.channel
        if exchange.connect_s is None:
            if status := channel.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(status, errno.errorcode[status])
            if not events & select.EPOLLOUT:
                return
            exchange.connect_s = time.monotonic() - exchange.start_s
            channel.send(self.request + (b"\r\n" if exchange.is_kept else b"Connection: close\r\n\r\n"))
        if not events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
            return
        try:
            while piece := channel.recv(1 << 16):
                exchange.came += piece
        except BlockingIOError:
            if exchange.is_kept and exchange.is_whole():
                self._end(exchange, "")
            return
        self._end(exchange, "broken: closed" if exchange.is_kept or not exchange.came else "")

    def _end(self, exchange: Exchange, fault: str) -> None:
        del self.flying[exchange.channel.fileno()]
        what = fault or exchange.came.partition(b"\r\n")[0].decode("latin-1")
        row = (exchange.start_s, exchange.connect_s or 0.0, time.monotonic() - exchange.start_s, what)
        (self.kept if exchange.is_kept else self.asked).append(row)
        if exchange.is_kept and not fault:
            self.silent.append(exchange.channel)
        else:
            exchange.channel.close()


def main() -> None:
    """Run the load that the arguments name."""
    address, port, host, rate, duration_s, *more = sys.argv[1:]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(MANY_FILES, hard), hard))
    source, kept_count = [*more, None, None][:2]
    load = Load(address, int(port), host, float(rate), float(duration_s), source, int(kept_count or 0))
    load.prepare()
    signal.signal(signal.SIGTERM, load.stop)
    print(json.dumps({"begin_s": time.monotonic()}), flush=True)
    load.run()
    print(json.dumps({"asked": load.asked, "kept": load.kept}), flush=True)


if __name__ == "__main__":
    main()

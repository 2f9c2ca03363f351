"""The sender of a flood: a process of its own in the client namespace, which sends at a fixed rate when it is told to.

    python -m bench.flood_sender KIND RATE STATION      STATION: the server's hardware address, twelve hex digits

    in:  go SECONDS │ stop        out: ready │ begun, when packets go at the rate │ {"sent", "elapsed_s", "missed", "cpu_s"}

    syn      SYNs, each of another client                dns      queries for random names, each of another client
    hello    the same, and for each SYN-ACK the ACK and  initial  QUIC Initials with half of a hello, each of another client
             2.3 KB of a hello, then silence             byte     one-byte segments of CONNECTIONS open connections
    ids      the same Initials, IDS of them by each client from one port, which is cheaper where flows are counted

What the machine did not let it send in time is sent later, at most LAG_S of it; the rest is missed, and said.
"""

import json
import select
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from bench.flood_packets import (
    ACK,
    PSH,
    REQUEST,
    RST,
    SYN,
    Frames,
    Stations,
    build_hello_pieces,
    build_initials,
    build_queries,
    build_segments,
    build_syns,
    client_of,
)
from bench.flood_wire import REPLIES, Wire, read_station
from penstock.demo.topology import CLIENT_INTERFACE

TICK_S, LAG_S, BATCH = 0.001, 0.05, 128
CONNECTIONS, WINDOW = 256, 32  # of `byte`; how far a connection goes without an acknowledgement before it repeats
OPEN_S, OPEN_TURN_S = 5.0, 0.25
IDS = 256


class Kind(Protocol):
    """One kind of flood."""

    def begin(self, wire: Wire) -> None:
        """What is needed before it runs at its rate."""

    def send(self, wire: Wire, count: int) -> int:
        """Send about `count` packets. Returns how many."""

    def end(self, wire: Wire) -> None:
        """What servers are told behind it."""


@dataclass
class Turns:
    """Rows of frames, one after the other, `each` of them from another client: a flood that hears nothing."""

    frames: Frames
    serial: int = 0
    each: int = 1

    def begin(self, wire: Wire) -> None:
        """Nothing."""

    def send(self, wire: Wire, count: int) -> int:
        """The next rows, up to the end of the turn."""
        row = self.serial % self.frames.count
        if row == 0:
            self.frames.address(*client_of(np.arange(self.serial, self.serial + self.frames.count) // self.each))
        count = min(count, self.frames.count - row)
        self.serial += count
        return wire.send(self.frames, row, count)

    def end(self, wire: Wire) -> None:
        """Nothing."""


@dataclass
class Halves(Turns):
    """SYNs, and whoever gets a SYN-ACK completes the handshake and begins a hello."""

    pieces: list[Frames] = field(default_factory=list)

    def send(self, wire: Wire, count: int) -> int:
        """Answers to what came, then SYNs."""
        sent, replies = 0, wire.receive()
        wanted = replies.flags & (SYN | ACK) == SYN | ACK
        if wanted.any():
            hosts, ports, acks = replies.hosts[wanted], replies.ports[wanted], replies.seqs[wanted] + 1
            seqs = replies.acks[wanted]
            for frames in self.pieces:
                frames.address(hosts, ports, seqs, acks)
                sent += wire.send(frames, 0, len(hosts))
                seqs = seqs + frames.bytes.shape[1] - 54
        return sent + (super().send(wire, count - sent) if count > sent else 0)


@dataclass
class Bytes:
    """Connections whose request comes byte by byte and never ends; what is not acknowledged is repeated."""

    syns: Frames
    firsts: Frames
    bytes: Frames
    resets: Frames
    serial: int = 0
    row: int = 0

    def begin(self, wire: Wire) -> None:
        """Open the connections and send the request's first bytes."""
        count = self.syns.count
        self.hosts, self.ports = client_of(np.arange(self.serial, self.serial + count))
        self.serial += count
        self.keys = self.hosts << 16 | self.ports
        self.order = np.argsort(self.keys)
        self.base, self.heard, self.sent, self.acked = (np.zeros(count, np.int64) for _ in range(4))
        self.syns.address(self.hosts, self.ports)
        end_s = time.monotonic() + OPEN_S
        while not self.heard.all() and time.monotonic() < end_s:
            for row in np.flatnonzero(self.heard == 0):
                wire.send(self.syns, int(row), 1)
            turn_s = time.monotonic() + OPEN_TURN_S
            while not self.heard.all() and time.monotonic() < turn_s:
                self._hear(wire)
                time.sleep(TICK_S)
        self.firsts.address(self.hosts, self.ports, self.base - len(REQUEST), self.heard)
        wire.send(self.firsts, 0, count)

    def send(self, wire: Wire, count: int) -> int:
        """The next byte of the next connections, up to the last of them."""
        self._hear(wire)
        some = slice(self.row, min(self.row + count, self.syns.count))
        self.row = some.stop % self.syns.count
        sent, acked = self.sent[some], self.acked[some]
        np.copyto(sent, acked, where=sent - acked >= WINDOW)
        self.bytes.address(self.hosts[some], self.ports[some], self.base[some] + sent, self.heard[some])
        sent += 1
        return wire.send(self.bytes, 0, len(sent))

    def end(self, wire: Wire) -> None:
        """Reset what is open; the number may be wrong where bytes were lost, then the server's own time-out ends it."""
        self.resets.address(self.hosts, self.ports, self.base + self.acked, self.heard)
        wire.send(self.resets, 0, self.syns.count)

    def _hear(self, wire: Wire) -> None:
        replies = wire.receive()
        if not len(replies.hosts):
            return
        wanted = replies.hosts << 16 | replies.ports
        found = np.searchsorted(self.keys, wanted, sorter=self.order)
        rows = self.order[np.minimum(found, len(self.keys) - 1)]
        ours = self.keys[rows] == wanted
        opens = ours & (replies.flags & (SYN | ACK) == SYN | ACK)
        self.heard[rows[opens]] = replies.seqs[opens] + 1
        self.base[rows[opens]] = replies.acks[opens] + len(REQUEST)
        plain = ours & (replies.flags & (SYN | RST) == 0)
        ahead = (replies.acks[plain] - self.base[rows[plain]]) & 0xFFFFFFFF
        is_ahead = ahead < 1 << 31
        np.maximum.at(self.acked, rows[plain][is_ahead], ahead[is_ahead])


def build_kind(name: str, stations: Stations) -> Kind:
    """The flood of that name."""
    if name == "hello":
        return Halves(build_syns(stations), pieces=build_hello_pieces(stations, REPLIES))
    if name == "byte":
        data = ((ACK | PSH, REQUEST), (ACK | PSH, b"a"), (RST | ACK, b""))
        return Bytes(build_syns(stations, CONNECTIONS), *(build_segments(stations, *one, CONNECTIONS) for one in data))
    builders = {"syn": build_syns, "dns": build_queries, "initial": build_initials, "ids": build_initials}
    return Turns(builders[name](stations), each=IDS if name == "ids" else 1)


def run_flood(
    kind: Kind, wire: Wire, rate: float, duration_s: float, is_stopped: Callable[[], bool]
) -> dict[str, float]:
    """Send at `rate` packets a second until the time is over or it is told to stop; what came of it."""
    sent = missed = 0
    begin_s, begin_cpu_s = time.monotonic(), time.process_time()
    while (now_s := time.monotonic()) - begin_s < duration_s and not is_stopped():
        due = int((now_s - begin_s) * rate) - sent - missed
        if due > rate * LAG_S:
            missed += due - int(rate * LAG_S)
            due = int(rate * LAG_S)
        while due > 0:
            done = kind.send(wire, min(due, BATCH))
            sent, due = sent + done, due - done
        time.sleep(TICK_S)
    elapsed_s, cpu_s = time.monotonic() - begin_s, time.process_time() - begin_cpu_s
    return {"sent": sent, "elapsed_s": elapsed_s, "missed": missed, "cpu_s": cpu_s}


def main() -> None:
    """Run a flood for each `go` until the standard input ends."""
    name, rate, station = sys.argv[1:]
    kind = build_kind(name, Stations(read_station(CLIENT_INTERFACE), bytes.fromhex(station)))
    wire = Wire(listens=name in ("hello", "byte"))
    print("ready", flush=True)
    while line := sys.stdin.readline():
        word, *rest = line.split()
        if word != "go":
            continue  # a stop that came too late
        kind.begin(wire)
        print("begun", flush=True)
        told = run_flood(kind, wire, float(rate), float(rest[0]), lambda: bool(select.select([0], [], [], 0)[0]))
        kind.end(wire)
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()

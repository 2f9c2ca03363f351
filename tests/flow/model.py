"""The oracle of the flow record: random evaders and healthy clients through the whole path, in memory.

    evader ── lossy ──► box ── lossy ──► server ──► application: which hosts does it act for?

`python -m tests.flow.model --runs 100000` names each run that fails; `--run N` repeats one of them in words.
"""

import argparse
from collections import Counter
from functools import partial
from random import Random
from typing import Any

from penstock.compile.memory import CHECKED, take_fault
from penstock.flow.record import REFUSED
from tests.flow.evader import REFUSED as REFUSED_NAME
from tests.flow.evader import STAMP, TTL, Evader, write_http, write_tls
from tests.flow.honest import Honest, write_stream
from tests.flow.readers import Reader, read_http, read_tls
from tests.flow.server import Server
from tests.flow.wire import Wire
from tests.path.boxes import Box, find_record
from tests.vocabulary import ACK, SYN, Flow, frame, read_frame, timestamps

FLOWS = [
    Flow(), Flow(client_port=40001, server_port=443), Flow("fd00::1", "2001:db8::80"),
    Flow("10.1.0.9", tags=((0x8100, 7),)),
]  # fmt: skip
TRICKS = frozenset({"urgent", "syn_ack", "alert"})
MOVES, PATIENCE = 70, 500  # moves of an evader; things that may happen for each segment of a healthy client
PAUSE_NS = 60_000_000_000


class Model:
    """A box for many runs, one connection after the other on the same few port pairs."""

    def __init__(self, seed: int = 0, tricks: frozenset[str] = TRICKS, *, says: bool = False) -> None:
        self.box = Box(capacity=64, stream_count=8, large_count=2)
        self.seed, self.tricks, self.says = seed, tricks, says
        self.tally: Counter[str] = Counter()

    def begin(self, number: int, kind: str) -> tuple[Random, Flow]:
        """The randomness of one run: nothing else decides what happens in it."""
        random = Random(f"{self.seed} {kind} {number}")
        self.box.now_ns += PAUSE_NS
        return random, random.choice(FLOWS)

    def open(self, wire: Wire, flow: Flow, server: Server) -> None:
        """The handshake, which no link loses."""
        first, answer = server.client_first, server.server_first
        syn = frame(flow, True, seq=first - 1, flags=SYN, options=timestamps(STAMP - 9, 0), ttl=TTL)
        syn_ack = frame(flow, False, seq=answer - 1, ack=first, flags=SYN | ACK, options=timestamps(1, STAMP - 9))
        third = frame(flow, True, seq=first, ack=answer, flags=ACK, options=timestamps(STAMP - 8, 1), ttl=TTL)
        for content, to_server in ((syn, True), (syn_ack, False), (third, True)):
            wire.cross(content, to_server)
        for queue in wire.far.values():
            queue.clear()

    def say(self, who: str, content: bytes, server: Server) -> None:
        if self.says:
            s = read_frame(content)
            print(f"{who} {server.place(s.seq):6} flags {s.flags:02x} ttl {s.ttl} {s.checksum} {s.data[:90]!r}")

    def settle(self, wire: Wire, server: Server, client: Any, flow: Flow) -> None:
        """One thing happens somewhere on the line."""
        if self.says:
            wire.said = wire.said or []
            print("".join(line + "\n" for line in wire.said), end="")
            wire.said.clear()
        ready = [
            name
            for name, queue in (("near", wire.near), ("server", wire.far[True]), ("client", wire.far[False]))
            if queue
        ]
        if wire.ring and (not ready or wire.random.random() < 0.3):
            wire.work()
        elif ready:
            name = wire.random.choice(ready)
            if name == "near":
                to_server, content = wire.pop(wire.near)
                wire.cross(content, to_server)
            elif name == "client":
                content = wire.pop(wire.far[False])
                if isinstance(client, Honest):
                    client.hear(content)
            else:
                content = wire.pop(wire.far[True])
                self.say("server <-", content, server)
                for at, place, flags, data in server.receive(read_frame(content)):
                    reply = frame(
                        flow, False, seq=server.server_first + at, ack=server.client_first + place, flags=flags, data=data,
                        options=timestamps(2, STAMP),
                    )  # fmt: skip
                    wire.put(reply, False)
                if self.says:
                    print(
                        f"    server has {bytes(server.stream)!r}, waits for {server.following}, acts for {server.hosts}"
                    )

    def finish(self, wire: Wire, number: int) -> None:
        self.box.now_ns = wire.now_ns
        if CHECKED:
            fault = take_fault()
            assert fault is None, f"run {number}: access outside every buffer: {fault}"

    def evade(self, number: int) -> bool:
        """One evader. Returns whether a server acted for the refused host."""
        random, flow = self.begin(number, "evade")
        is_tls = random.random() < 0.35
        read: Reader = partial(read_http, takes_bodies=random.random() < 0.5)
        if is_tls:
            read = partial(read_tls, retries=True, skips=(20, 21) if "alert" in self.tricks else (20,))
        server = Server(random, random.randrange(1 << 32), random.randrange(1 << 32), read, random.choice([0, 60, 62]))
        stream = write_tls(random, "alert" in self.tricks) if is_tls else write_http(random)
        evader = Evader(random, flow, server, stream, self.tricks)
        wire = Wire(self.box.path, random, self.box.now_ns, loses=random.choice([0, 0, 0.1]))
        self.open(wire, flow, server)
        for _ in range(MOVES):
            if REFUSED_NAME in server.hosts:
                break
            content = evader.move()
            self.say("client ->", content, server)
            wire.put(content, True)
            for _ in range(random.choice([0, 1, 3, 6])):
                self.settle(wire, server, evader, flow)
        while not wire.is_empty():
            self.settle(wire, server, evader, flow)
        self.finish(wire, number)
        self.tally["evaders that were refused"] += self.state_of(flow) == REFUSED
        self.tally["evaders whose server acted for others"] += bool(server.hosts)
        return REFUSED_NAME in server.hosts

    def state_of(self, flow: Flow) -> int:
        record = find_record(self.box.path, flow)
        return int(record[40:48].view("uint64")[0]) >> 62

    def carry(self, number: int) -> str:
        """One healthy client. Returns what went wrong, or nothing."""
        random, flow = self.begin(number, "carry")
        server = Server(random, random.randrange(1 << 32), random.randrange(1 << 32), lambda stream, is_closed: [])
        client = Honest(random, flow, server, write_stream(random))
        wire = Wire(self.box.path, random, self.box.now_ns, loses=random.choice([0, 0.05, 0.15]))
        self.open(wire, flow, server)
        for _ in range(PATIENCE * (20 + len(client.stream) // min(client.segment_bytes, server.window))):
            content = client.next_frame() if random.random() < 0.5 else None
            if content:
                self.say("client ->", content, server)
                wire.put(content, True)
            elif wire.is_empty():
                client.time_out()
            self.settle(wire, server, client, flow)
            if client.is_done or client.refusals:
                break
        while not wire.is_empty():
            self.settle(wire, server, client, flow)
        self.finish(wire, number)
        self.tally["healthy clients"] += 1
        if client.refusals or self.state_of(flow) == REFUSED:
            return "refused"
        if server.stream != client.stream[: len(server.stream)]:
            return "changed"
        return "" if client.is_done else f"stalled at {client.acknowledged} of {client.end}"

    def run(self, first: int, count: int) -> list[str]:
        """Runs `first` to `first + count`, three evaders to one healthy client. Returns the failures."""
        failures = []
        for number in range(first, first + count):
            if number % 4 == 3:
                said = self.carry(number)
                failures += [f"run {number}: a healthy client was {said}"] if said else []
            elif self.evade(number):
                failures.append(f"run {number}: a bypass")
        return failures


def main() -> None:
    parser = argparse.ArgumentParser(description="Random evaders and healthy clients through the whole path.")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", type=int, help="repeat this run alone, in words")
    parser.add_argument("--without", nargs="*", default=[], choices=sorted(TRICKS), help="tricks that no evader uses")
    choices = parser.parse_args()
    model = Model(choices.seed, TRICKS - set(choices.without), says=choices.run is not None)
    first, count = (0, choices.runs) if choices.run is None else (choices.run, 1)
    failures = model.run(first, count)
    print(*failures, sep="\n")
    print(f"{len(failures)} failures in {count} runs; {dict(model.tally)}")
    raise SystemExit(bool(failures))


if __name__ == "__main__":
    main()

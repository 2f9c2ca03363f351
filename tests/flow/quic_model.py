"""The oracle of the QUIC path: random evaders and healthy clients through the box, to a server in plain Python.

    evader ──► box ──► server: opens Initials by its own code, finds connections by ID ──► which names does it act for?

`python -m tests.flow.quic_model --runs 20000` names each run that fails, `--run N` repeats it in words,
`--without late` leaves a trick out.
"""

import argparse
from collections import Counter
from ctypes import c_int64
from random import Random

from penstock.line.native import Outcome
from penstock.path.holds import HOLDS_IN_USE
from penstock.path.layout import W_HOLDS
from tests.flow.quic_client import Client
from tests.flow.quic_evader import REFUSED, Evader
from tests.flow.quic_server import MS, QuicServer, read_packets
from tests.path.boxes import Box, name_of
from tests.quic import ACK_FRAME, SERVER, datagram, initial, read_datagram
from tests.vocabulary import BARE, RIGHT, WRONG, Flow, ethernet, ipv4, packed

TRICKS = frozenset({"addresses", "late", "vehicle"})
HOPS = 4
MOVES, PATIENCE = 24, 40
PAUSE_NS = 90_000 * MS


class Model:
    """A box for many runs; the clock goes on between them, so that the box has forgotten the run before."""

    def __init__(self, seed: int = 0, tricks: frozenset[str] = TRICKS, *, says: bool = False) -> None:
        self.seed, self.tricks, self.says = seed, tricks, says
        self.box = Box(capacity=64, stream_count=8, large_count=2)
        self.tally: Counter[str] = Counter()
        self.sizes: dict[bytes, int] = {}
        self.pieces: dict[bytes, dict[int, bytes]] = {}
        self.received = self.answered = self.missing = self.identity = 0

    def send(self, server: QuicServer, flow: Flow, data: list[bytes], gso_size: int = 0, ttl: int = 64,
             checksum: str = RIGHT) -> list[Outcome]:  # fmt: skip
        """A packet through the box, whole or in two fragments; what the box lets pass reaches the server."""
        content = datagram(flow, b"".join(data), checksum=checksum, ttl=ttl)
        if checksum == WRONG and self.random.random() < 0.5 and not flow.is_ipv6:
            content = content[:40] + bytes(2) + content[42:]  # no checksum at all
        frames = [content]
        if self.fragments and not gso_size and not flow.is_ipv6 and self.random.random() < self.fragments:
            frames = self.cut(flow, content[34:], ttl)
        self.sizes[content] = gso_size
        self.received += len(b"".join(data))
        return [self.cross(server, flow, frame, gso_size) for frame in frames]

    def cut(self, flow: Flow, content: bytes, ttl: int) -> list[bytes]:
        """A datagram in two fragments."""
        middle, ends = len(content) // 16 * 8, (packed(flow.client), packed(flow.server))
        self.identity += 1
        cuts = ((0x2000, content[:middle]), (middle // 8, content[middle:]))
        return [
            ethernet(True, False) + ipv4(*ends, 17, len(part), ttl, place, identity=self.identity & 0xFFFF) + part
            for place, part in cuts
        ]

    def cross(self, server: QuicServer, flow: Flow, content: bytes, gso_size: int) -> Outcome:
        """One frame through the box."""
        outcome = self.box.take_raw(content, True, gso_size)
        assert outcome.path_reason != 0, "a packet that went up has a path reason"
        self.tally[name_of(outcome)] += 1
        passed = [content] if outcome.is_forwarded else [sent for to_server, sent in outcome.sent if to_server]
        self.answered += sum(len(read_datagram(sent).data) for to_server, sent in outcome.sent if not to_server)
        if self.says:
            heads = [(p.kind, p.version, p.dcid.hex(), len(p.content)) for p in read_packets(content[42:])]
            print(f"{flow.client}:{flow.client_port} gso {gso_size}: {name_of(outcome)}, {len(passed)} pass: {heads}")
        for frame in passed:
            self.arrive(server, flow, frame)
        return outcome

    def arrive(self, server: QuicServer, flow: Flow, frame: bytes) -> None:
        """A frame behind the box: a datagram, those of a super-packet, or a fragment, of which the first one waits."""
        is_ipv6 = frame[12:14] == b"\x86\xdd"
        if not is_ipv6 and int.from_bytes(frame[20:22]) & 0x3FFF:
            parts = self.pieces.setdefault(frame[18:20], {})
            parts[int.from_bytes(frame[20:22]) & 0x1FFF] = frame[34:]
            if len(parts) < 2:
                return
            content = parts[0] + parts[max(parts)]
            frame = frame[:14] + ipv4(frame[26:30], frame[30:34], 17, len(content), frame[22]) + content
        read, has_checksum = read_datagram(frame), is_ipv6 or frame[40:42] != bytes(2)
        step = self.sizes.get(frame, 0) or max(len(read.data), 1)
        if frame[21 if is_ipv6 else 22] <= HOPS or (read.checksum == WRONG and has_checksum):
            return
        for at in range(0, len(read.data), step):
            if self.random.random() < self.loses:
                continue
            known = server.receive(read.data[at : at + step], self.box.now_ns)
            if known and self.random.random() < 0.3:
                reply = initial(b"", ACK_FRAME, scid=known.scid, version=known.version, key_cid=known.cid, side=SERVER)
                self.box.take_raw(datagram(flow, reply, False), False)

    def begin(self, number: int, kind: str) -> Random:
        self.random = random = Random(f"{self.seed} {kind} {number}")
        self.box.now_ns += PAUSE_NS
        self.sizes.clear()
        self.pieces.clear()
        self.loses, self.fragments = random.choice([0, 0, 0.1]), random.choice([0, 0, 0.2])
        self.received = self.answered = 0
        return random

    def evade(self, number: int) -> str:
        """One evader. Returns what went wrong, or nothing."""
        random = self.begin(number, "evade")
        server = QuicServer(random)
        if "late" in self.tricks and random.random() < 0.2:
            server.limit_ns = 1 << 62
        evader = Evader(random, server, self.tricks)
        addresses = ["10.1.0.1", "10.1.0.2"] if "addresses" in self.tricks and random.random() < 0.4 else ["10.1.0.1"]
        ports, v6 = [40_000, 40_001], random.random() < 0.2
        for _ in range(MOVES):
            data, gso_size = evader.move()
            client = addresses[-1 if evader.has_begun and random.random() < 0.6 else 0]
            flow = Flow(f"fd00::{client[-1]}", "2001:db8::1") if v6 else Flow(client)
            flow = flow._replace(client_port=random.choice(ports), server_port=443)
            ttl, checksum = (2 if random.random() < 0.12 else 64), random.choice([RIGHT] * 18 + [BARE, WRONG])
            for part in [data] if gso_size else [[one] for one in data]:
                self.send(server, flow, part, gso_size, ttl, checksum)
            if random.random() < 0.12:
                self.box.now_ns += random.choice([50, 150, 150, 5_000, 11_000, 65_000]) * MS
            if REFUSED in server.names:
                return "a bypass"
        self.tally["evaders"] += 1
        self.tally["evaders whose server acted for others"] += bool(server.names)
        return self.check()

    def carry(self, number: int) -> str:
        """Some healthy clients of one address at a time. Returns what went wrong, or nothing."""
        random = self.begin(number, "carry")
        server = QuicServer(random, is_plain=True)
        server.limit_ns = PAUSE_NS
        clients = [
            Client(random, server, Flow("10.1.0.3", client_port=50_000 + n, server_port=443))
            for n in range(random.choice([1, 1, 3]))
        ]
        self.loses, near = random.choice([0, 0.1, 0.25]), random.choice([0, 0.1, 0.25])
        for turn in range(PATIENCE):
            waiting = [client for client in clients if not client.is_done]
            if not waiting:
                break
            for client in waiting:
                self.fly(server, client, near)
            self.box.now_ns += random.choice([1, 20, 90]) * MS << min(turn, 4)
        self.tally["healthy clients"] += len(clients)
        if any(client.closed for client in clients):
            return "a healthy client was refused"
        return self.check() if all(client.is_done for client in clients) else "a healthy client stalled"

    def fly(self, server: QuicServer, client: Client, near: float) -> None:
        """One flight of a client, with loss, repetition and another order, and what it hears of it."""
        random, flight = self.random, client.flight()
        if random.random() < 0.3:
            flight.insert(random.randrange(len(flight) + 1), random.choice(flight))
        sizes = {len(packet) for packet in flight}
        if len(sizes) == 1 and random.random() < 0.2:
            groups, size = [flight[at : at + 20] for at in range(0, len(flight), 20)], sizes.pop()
        else:
            groups, size = [[packet] for packet in flight], 0
        for group in groups:
            if random.random() < near:
                continue
            for outcome in self.send(server, client.flow, group, size if len(group) > 1 else 0):
                client.closed += sum(not to_server for to_server, _ in outcome.sent)
            self.box.now_ns += random.choice([0, 0, 1, 30]) * MS
        if random.random() >= self.loses:
            client.hear()

    def check(self) -> str:
        """The ledger: what went up has a reason or waits; no more than three times is answered."""
        waiting = self.box.held() + c_int64.from_address(self.box.path.worker.word(W_HOLDS) + HOLDS_IN_USE).value
        up = sum(count for name, count in self.box.counts().items() if name.startswith("up_"))
        missing = up - sum(self.box.path_counts().values()) - waiting - self.missing
        if missing:
            self.missing += missing
            return f"the ledger is open: {missing} packets ended without a reason"
        return "" if self.answered <= 3 * self.received else "more than three times was answered"

    def run(self, first: int, count: int) -> list[str]:
        """Runs `first` to `first + count`, three evaders to one healthy run. Returns the failures."""
        failures = []
        for number in range(first, first + count):
            said = self.carry(number) if number % 4 == 3 else self.evade(number)
            failures += [f"run {number}: {said}"] if said else []
        return failures


def main() -> None:
    parser = argparse.ArgumentParser(description="Random evaders and healthy clients of QUIC through the whole path.")
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

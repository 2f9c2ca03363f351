"""A box for tests of the path: a policy, `NativePath` over it, and conversations through it.

`bad.test` and everything below it is refused with a page, `ads.test` with an empty answer, `casino.test` with a redirect,
`odd.test` is only reported. Subscribers 10.1/16 and fd00::/16 are protected, 10.2/16 is protected and fails closed,
10.3/16 wants no ECH, 10.9/16 is a subscriber without services.
"""

import atexit
from collections.abc import Iterable
from contextlib import ExitStack
from ctypes import c_int64
from functools import cache
from pathlib import Path
from typing import Any

from penstock.compile.memory import CHECKED, allow, take_fault
from penstock.control.subscribers.fixed import FixedOwners
from penstock.flow.record import SEQUENCE_MASK
from penstock.kernel import reasons as r
from penstock.kernel import tables as t
from penstock.line.native import NativePath, Outcome
from penstock.path import fragments, layout
from penstock.path.fragments import HELD
from tests.policy.worlds import World, world
from tests.vocabulary import (
    ACK,
    FIN,
    MODULUS,
    PSH,
    SYN,
    TO_CLIENT,
    TO_SERVER,
    Flow,
    Segment,
    frame,
    mapped,
    read_frame,
)

SETTINGS: dict[str, Any] = {
    "services": {
        "web": {"categories": {"phishing": "block", "gambling": "redirect", "strange": "report"}},
        "ads": {"categories": {"advertising": "empty"}},
    },
    "profiles": {
        "all": {"services": ["web", "ads"]},
        "none": {"services": []},
        "hidden": {"services": ["web"], "ech": "refuse", "unresolved": "block"},
    },
    "subscribers": [
        {"id": "home", "prefixes": ["10.1.0.0/16", "fd00::/16"], "profile": "all"},
        {"id": "closed", "prefixes": ["10.2.0.0/16"], "profile": "all", "fail": "closed"},
        {"id": "plain", "prefixes": ["10.3.0.0/16"], "profile": "hidden"},
        {"id": "bare", "prefixes": ["10.9.0.0/16"], "profile": "none"},
    ],
    "page": {"redirect_url": "https://help.example/blocked"},
}
LISTS = {"phishing": "bad.test\n", "gambling": "casino.test\n", "strange": "odd.test\n", "advertising": "ads.test\n"}

START_NS = 10_000_000_000
STEP_NS = 1_000_000
SLOT_WORDS = (fragments.SLOT_BORN_NS, fragments.SLOT_COUNT_OFF)
STEERED = range(r.PATH_FIRST)


@cache
def policy() -> World:
    """The policy above, built once for the whole run."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(world(SETTINGS, LISTS))


@cache
def owners() -> FixedOwners:
    """Its subscribers and their numbers."""
    return FixedOwners(policy().configuration)


@cache
def allow_stack() -> None:
    """The checked build knows buffers; what `stack` of compiled code hands out lies in this thread's stack."""
    if CHECKED:
        line = next(line for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith("[stack]"))
        end = int(line.split()[0].split("-")[1], 16)
        allow(end - (8 << 20), end)


class Box:
    """`NativePath` with the policy, a clock that steps with each frame, and a ledger of its own."""

    def __init__(self, **choices: Any) -> None:
        allow_stack()
        self.path = NativePath(**choices)
        self.path.set_snapshot(policy().snapshot.address, policy().snapshot.names_address)
        owners().fill(self.path.directory)
        self.now_ns = START_NS
        self.seen = self.peeks = 0
        self.outcomes: list[Outcome] = []

    def take(self, content: bytes, to_server: bool, gso_size: int = 0) -> Outcome:
        """One frame through both halves."""
        outcome = self.take_raw(content, to_server, gso_size)
        self.check_verdict(content, to_server, outcome)
        return outcome

    def take_raw(self, content: bytes, to_server: bool, gso_size: int = 0) -> Outcome:
        """The same without a look at what was sent: the frame need not be one."""
        self.now_ns += STEP_NS
        self.seen += 1
        peeked = self.path_counts().get("peeked", 0)
        outcome = self.path.take(content, to_server, self.now_ns, gso_size)
        self.peeks += self.path_counts().get("peeked", 0) - peeked
        if CHECKED:
            fault = take_fault()
            assert fault is None, f"access outside every buffer: {fault} by {content.hex()}"
        return outcome

    def check_verdict(self, content: bytes, to_server: bool, outcome: Outcome) -> None:
        """What must hold of every packet: a known reason, and what its verdict means for the wire."""
        assert outcome.reason in STEERED
        assert outcome.reason in r.NAMES
        verdict = r.verdict_of(outcome.reason)
        assert outcome.is_forwarded == (verdict is r.Verdict.FORWARDED)
        assert (outcome.path_reason is not None) == (verdict is r.Verdict.UP)
        if verdict is not r.Verdict.UP:
            assert not outcome.sent
            return
        if outcome.path_reason == HELD:
            assert not outcome.sent
            return
        assert outcome.path_reason in r.NAMES
        if outcome.reason == r.UP_FRAGMENT:
            return
        path_verdict = r.verdict_of(outcome.path_reason)
        if path_verdict is r.Verdict.RELEASED:
            ((side, sent),) = outcome.sent
            assert side == to_server
            assert is_same_packet(content, sent)
        elif path_verdict is r.Verdict.ANSWERED:
            self.check_answers(content, outcome)
        else:
            assert not outcome.sent

    def check_answers(self, content: bytes, outcome: Outcome) -> None:
        """Nothing that we author carries data to the server, and every checksum is whole."""
        packet = read_frame(content)
        for to_server, sent in outcome.sent:
            segment = read_frame(sent)
            assert segment.checksum == "right"
            assert segment.tags == packet.tags
            assert not to_server or (segment.is_reset and not segment.data)

    def counts(self) -> dict[str, int]:
        """Kernel and path counters by the reason's name, zeros left out."""
        line = self.path.counters[: t.COUNTER_BYTES].view("int64")
        assert int(line[127]) == self.seen == sum(int(line[n]) for n in STEERED)
        return {r.NAMES[n]: int(line[n]) for n in STEERED if line[n]}

    def held(self) -> int:
        """Fragments that wait for the rest of their packet."""
        slots, found = self.path.worker.word(layout.W_FRAGMENTS), 0
        for number in range(fragments.SLOT_COUNT):
            born, count = (c_int64.from_address(slots + number * fragments.SLOT_BYTES + at).value for at in SLOT_WORDS)
            found += count if born else 0
        return found

    def path_counts(self) -> dict[str, int]:
        """The path's counters by the reason's name, zeros left out."""
        words = self.path.path_counters.view("int64")
        return {r.NAMES[n]: int(words[n]) for n in range(r.PATH_FIRST, r.REASON_COUNT) if words[n]}


def is_same_packet(before: bytes, after: bytes) -> bool:
    """Are these the same frame but for the urgent pointer? (A bare checksum stays bare: the device completes it.)"""
    if before == after:
        return True
    a, b = read_frame(before), read_frame(after)
    return a.flags & 32 != 0 and b == a._replace(
        flags=a.flags & ~32, urgent=0, checksum=b.checksum
    ) and b.checksum == a.checksum  # fmt: skip


class Conversation:
    """One connection in words. Positions are offsets from each side's first byte; sides remember their own."""

    def __init__(self, box: Box, flow: Flow | None = None, client_isn: int = 1000, server_isn: int = 77_000) -> None:
        self.box, self.flow = box, flow or Flow()
        self.client_first, self.server_first = client_isn + 1, server_isn + 1
        self.client_at = self.server_at = 0

    def open(self, syn_options: bytes = b"", answer_options: bytes = b"", third: bool = True) -> "Conversation":
        """The handshake."""
        self.syn(syn_options)
        self.syn_ack(answer_options)
        if third:
            self.client(flags=ACK)
        return self

    def syn(self, options: bytes = b"", **more: Any) -> Outcome:
        return self.box.take(
            frame(self.flow, TO_SERVER, seq=self.client_first - 1, flags=SYN, options=options, **more), TO_SERVER
        )

    def syn_ack(self, options: bytes = b"", **more: Any) -> Outcome:
        content = frame(
            self.flow,
            TO_CLIENT,
            seq=self.server_first - 1,
            ack=self.client_first,
            flags=SYN | ACK,
            options=options,
            **more,
        )
        return self.box.take(content, TO_CLIENT)

    def client_frame(self, data: bytes = b"", at: int | None = None, ack: int | None = None, flags: int | None = None,
                     **more: Any) -> bytes:  # fmt: skip
        """A segment of the client, without sending it."""
        place = self.client_at if at is None else at
        flags = flags if flags is not None else ACK | PSH if data else ACK
        seen = self.server_at if ack is None else ack
        return frame(
            self.flow,
            TO_SERVER,
            seq=self.client_first + place,
            ack=self.server_first + seen,
            flags=flags,
            data=data,
            **more,
        )

    def client(self, data: bytes = b"", at: int | None = None, *, gso_size: int = 0, **more: Any) -> Outcome:
        """A segment of the client through the box; the next one follows it."""
        content = self.client_frame(data, at, **more)
        place = self.client_at if at is None else at
        size = len(data) + (1 if (more.get("flags") or 0) & FIN else 0)
        self.client_at = max(self.client_at, place + size)
        return self.box.take(content, TO_SERVER, gso_size)

    def server(self, data: bytes = b"", at: int | None = None, ack: int | None = None, flags: int | None = None,
               **more: Any) -> Outcome:  # fmt: skip
        """A segment of the server through the box; it acknowledges all that the client sent unless told otherwise."""
        place = self.server_at if at is None else at
        flags = flags if flags is not None else ACK | PSH if data else ACK
        seen = self.client_at if ack is None else ack
        self.server_at = max(self.server_at, place + len(data) + (1 if flags & FIN else 0))
        content = frame(
            self.flow,
            TO_CLIENT,
            seq=self.server_first + place,
            ack=self.client_first + seen,
            flags=flags,
            data=data,
            **more,
        )
        return self.box.take(content, TO_CLIENT)

    def client_place(self, segment: Segment) -> int:
        """The position of a segment that goes to the server (or of an ACK number that the client gets)."""
        return (segment.seq - self.client_first) % MODULUS

    def word(self) -> tuple[int, int, int]:
        """State, J and F of the flow's record, J and F as positions of the client's bytes."""
        record = self.record()
        word = int(record[t.FLOW_WORD : t.FLOW_WORD + 8].view("uint64")[0])
        judged = word & SEQUENCE_MASK
        return (
            word >> 62,
            (judged - self.client_first) % MODULUS,
            (judged + (word >> 32 & 0x3FFFFFFF) - self.client_first) % MODULUS,
        )

    def record(self) -> Any:
        """The flow's record."""
        return find_record(self.box.path, self.flow)


def find_record(path: NativePath, flow: Flow) -> Any:
    """The record of a flow by search through the whole table."""
    wanted = mapped(flow.client) + mapped(flow.server)
    ports = flow.client_port.to_bytes(2) + flow.server_port.to_bytes(2)
    for bucket in path.flows.reshape(-1, t.BUCKET_BYTES):
        for way in range(t.WAYS):
            if bucket[4 * way] & 1 == 0:
                continue  # empty, or left for another way
            record = bucket[t.BUCKET_RECORDS + way * t.RECORD_BYTES :][: t.RECORD_BYTES]
            if record[:32].tobytes() == wanted and record[t.FLOW_PORTS : t.FLOW_PORTS + 4][::-1].tobytes() == ports:
                return record
    return None


def sent_to(outcome: Outcome, to_server: bool) -> list[Segment]:
    """What the process sent to one side."""
    return [read_frame(content) for side, content in outcome.sent if side == to_server]


def passed(content: bytes, to_server: bool, outcome: Outcome) -> list[bytes]:
    """The frames that reach the far side of the box: the forwarded one, or those released towards it."""
    if outcome.is_forwarded:
        return [content]
    return [sent for side, sent in outcome.sent if side == to_server]


def names_of(outcomes: Iterable[Outcome]) -> list[str]:
    """The last word on each packet: its path reason, else its steer reason."""
    return [name_of(outcome) for outcome in outcomes]


def name_of(outcome: Outcome) -> str:
    number = outcome.reason if outcome.path_reason is None else outcome.path_reason
    return "held" if number == HELD else r.NAMES[number]


def request(host: str, method: str = "GET", path: str = "/", *fields: str, body: bytes = b"") -> bytes:
    """An HTTP/1.1 request."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *fields, "", ""]
    return "\r\n".join(lines).encode() + body


def response(body: bytes = b"ok", *fields: str) -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *fields, "", ""]).encode() + body

"""One source, two compilers: `steer` in the kernel (BPF_PROG_TEST_RUN) and natively, packet by packet, on equal tables.

Compared: the value returned, the packet's bytes, the ring record, the reason counted, and at the end every byte of the flow
table. A test run refuses untagged IP packets without a whole IP header, and more than about 3.7 KB.
"""

import mmap
import os
import signal
import struct
import time
from collections.abc import Iterator
from random import Random
from typing import Any

import numpy as np
import pytest

from penstock.kernel import bpf
from penstock.kernel import tables as t
from penstock.kernel.primitives import Constant, Map
from penstock.kernel.reasons import NAMES
from penstock.line.native import NativePath
from tests.path.boxes import owners
from tests.quic import datagram
from tests.vocabulary import (
    ACK,
    FAST_OPEN,
    FAST_OPEN_EXPERIMENT,
    FIN,
    MD5,
    MPTCP_CAPABLE,
    MSS,
    NOP,
    PSH,
    RST,
    SYN,
    URG,
    Flow,
    ethernet,
    frame,
    ipv4,
    ipv6,
    packed,
    timestamps,
)

pytestmark = pytest.mark.live
PACKETS = 4000
CAPACITY = 64  # flows: few enough to fill the table
NEXT, DROP, REDIRECT = -1, 2, 7
TIME_FIELDS = {t.UP_TIME_NS + at for at in range(8)}


def find_obstacle() -> str:
    """Why programs cannot be loaded here, or nothing."""
    if os.geteuid() != 0:
        return "loading a program needs root"
    try:
        os.close(bpf.create_ring(4096))
    except OSError as error:
        return f"bpf(2): {error.strerror}"
    return ""


class KernelSide:
    """The program of each side over tables of its own, and one ring that is read after every packet."""

    def __init__(self, native: NativePath) -> None:
        from penstock.compile.ebpf import build
        from penstock.kernel.steer import steer

        self.native = native
        self.saved = [(table, table.fd, table.entries) for table in Map.ALL]
        t.flows.entries = CAPACITY // t.WAYS
        t.addresses.entries = t.subscribers.entries = len(native.directory.lines)
        self.ring_fd = bpf.create_ring(t.RING_BYTES)
        for table in Map.ALL:
            bpf.create_map(table, self.ring_fd if table is t.rings else 0)
        for number in range(t.RINGS_BOUND):
            bpf.update_element(t.rings.fd, struct.pack("<I", number), struct.pack("<I", self.ring_fd))
        self.flows, self.control, self.pulse, self.counters = (
            np.frombuffer(bpf.map_memory(table), np.uint8) for table in (t.flows, t.control, t.pulse, t.counters)
        )
        self.read_at = mmap.mmap(self.ring_fd, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self.ring = mmap.mmap(self.ring_fd, 4096 + 2 * t.RING_BYTES, mmap.MAP_SHARED, mmap.PROT_READ, offset=4096)
        self.program = build(steer)
        self.constants = {constant.name: int(native.bindings[16 + constant.number]) for constant in Constant.ALL}
        self.programs = [bpf.load_program(self.program, self.constants | {"from_client": side}) for side in (0, 1)]
        self.set_policy()

    def set_policy(self) -> None:
        owners().fill(self.native.directory)
        self.control[: t.CONTROL_BYTES] = self.native.control
        for table, memory in ((t.addresses, self.native.addresses), (t.subscribers, self.native.subscribers)):
            np.frombuffer(bpf.map_memory(table), np.uint8)[: len(memory)] = memory

    def close(self) -> None:
        for fd in [*self.programs, self.ring_fd, *(table.fd for table in Map.ALL)]:
            os.close(fd)
        for table, fd, entries in self.saved:
            table.fd, table.entries = fd, entries

    def run(self, content: bytes, from_client: bool) -> tuple[int, bytes]:
        value, _, after = bpf.test_run(self.programs[from_client], content)
        return value, after

    def count(self) -> Any:
        return (
            self.counters[: t.COUNTER_BYTES * t.COUNTER_CPUS]
            .view(np.int64)
            .reshape(-1, t.COUNTER_BYTES // 8)
            .sum(axis=0)
        )

    def take_records(self) -> list[bytes]:
        """What the ring holds, and then it is empty."""
        at, end = struct.unpack("<Q", self.read_at[:8])[0], struct.unpack("<Q", self.ring[:8])[0]
        records = []
        while at < end:
            place = 4096 + at % t.RING_BYTES
            (length,) = struct.unpack_from("<I", self.ring, place)
            assert not length >> 31, "busy"
            size = length & ((1 << 30) - 1)
            if not length >> 30:
                records.append(self.ring[place + 8 : place + 8 + size])
            at += size + 8 + 7 & ~7
        self.read_at[:8] = struct.pack("<Q", at)
        return records


@pytest.fixture(scope="module")
def sides() -> Iterator[tuple[NativePath, KernelSide]]:
    obstacle = find_obstacle()
    if obstacle:
        pytest.skip(obstacle)
    native = NativePath(capacity=CAPACITY)
    owners().fill(native.directory)
    kernel_side = KernelSide(native)
    yield native, kernel_side
    kernel_side.close()


CLIENTS = ["10.1.0.1", "10.1.0.2", "10.2.0.1", "10.9.0.1", "172.16.0.1", "fd00::1", "2001:db8:ffff::1"]
OPTIONS = [
    b"",
    b"",
    MSS,
    MPTCP_CAPABLE,
    FAST_OPEN,
    FAST_OPEN_EXPERIMENT,
    MSS + NOP * 2 + MPTCP_CAPABLE,
    MD5,
    timestamps(5, 6),
    b"\2",
    b"\x1e\0",
    b"\x1e\x28",
]
EXTENSIONS = [
    (0, b"\0" + bytes(6)),
    (60, b"\0" + bytes(6)),
    (43, b"\1" + bytes(14)),
    (51, b"\1" + bytes(10)),
    (135, b"\0" + bytes(6)),
    (44, b"\0\0\0" + bytes(4)),
    (44, b"\0\0\1\0\0\0\7"),
]


PAYLOADS = [
    b"", b"\xc0", b"hello", bytes(1200), b"\xc3\0\0\0\1" + bytes(1195), b"\xd3\x6b\x33\x43\xcf" + bytes(95),
    b"\x80\xff\0\0\x1d" + bytes(40), b"\x40\0\0\0\1" + bytes(40), b"\xc0\1\2\3\4" + bytes(40),
]  # fmt: skip


def make_packet(random: Random) -> tuple[bytes, bool]:
    """A packet of one of a few flows, mostly sound."""
    client = random.choice(CLIENTS)
    server = "2001:db8::80" if ":" in client else "192.0.2.80"
    tags = [(random.choice([0x8100, 0x88A8]), random.randrange(9)) for _ in range(random.choice([0, 0, 0, 0, 1, 2, 3]))]
    flow = Flow(client, server, 1000 + random.randrange(4), random.choice([80, 443]), tuple(tags))
    to_server = random.random() < 0.6
    kind = random.random()
    if kind < 0.06:
        head, protocol = (ipv6, 17) if flow.is_ipv6 else (ipv4, random.choice([17, 1, 6]))
        more = {} if flow.is_ipv6 else {"fragment": random.choice([0x2000, 0x2001, 5, 0x4000])}
        body = random.randbytes(48)
        ends = [packed(client), packed(server)][:: 1 if to_server else -1]
        return ethernet(to_server, flow.is_ipv6, tags) + head(*ends, protocol, len(body), **more) + body, to_server
    if kind < 0.25:
        return datagram(flow._replace(server_port=443), random.choice(PAYLOADS), to_server), to_server
    flags = random.choice(
        [SYN, SYN, SYN | ACK, SYN | ACK, ACK, ACK, ACK | PSH, ACK | PSH, ACK | FIN, RST, ACK | URG, SYN | FIN, 0]
    )
    numbers = [random.choice([1000, 1001, 1001, 1020, 2000, 70_000, 0xFFFFFFF0]) for _ in range(2)]
    data = random.randbytes(random.choice([0, 0, 1, 40, 517, 1400, 2300]))
    chain = random.sample(EXTENSIONS, random.choice([0, 0, 0, 1, 2, 3])) if flow.is_ipv6 else []
    return frame(
        flow, to_server, seq=numbers[0], ack=numbers[1], flags=flags, data=data, options=random.choice(OPTIONS),
        ttl=random.choice([64, 5]), checksum=random.choice(["right", "right", "bare", "wrong"]), extensions=chain,
        ip_options=b"" if flow.is_ipv6 else b"\1" * random.choice([0, 0, 0, 4, 40]),
    ), to_server  # fmt: skip


def damage(random: Random, content: bytes) -> bytes:
    """Cut a frame short or change some of its bytes, as far as a test run takes it."""
    if random.random() < 0.5:
        least = {b"\x08\0": 34, b"\x86\xdd": 54}.get(content[12:14], 14)
        return content[: random.randrange(least, min(len(content), 120) + 1)]
    changed = bytearray(content)
    for _ in range(random.randrange(1, 4)):
        changed[random.randrange(14, min(len(changed), 100))] = random.randrange(256)
    return bytes(changed)


def settle_some(random: Random, native: NativePath, kernel_side: KernelSide) -> None:
    """What a worker would write, in both tables: a word, what it handled, a mark to watch; or another epoch."""
    bucket, way = random.randrange(CAPACITY // t.WAYS), random.randrange(t.WAYS)
    at = bucket * t.BUCKET_BYTES + t.BUCKET_RECORDS + way * t.RECORD_BYTES
    word = (
        random.choice([0, 1, 2]) << 62
        | random.choice([0, 500, 1 << 20]) << 32
        | random.choice([1001, 1041, 0xFFFFFFF0])
    )
    for flows in (native.flows, kernel_side.flows):
        record = flows[at : at + t.RECORD_BYTES]
        record[t.FLOW_WORD : t.FLOW_WORD + 8] = np.frombuffer(struct.pack("<Q", word), np.uint8)
        record[t.FLOW_HANDLED : t.FLOW_HANDLED + 4] = record[t.FLOW_SENT_UP : t.FLOW_SENT_UP + 4]
        record[t.FLOW_MARK : t.FLOW_MARK + 8] = np.frombuffer(struct.pack("<II", 1001, 1), np.uint8)


AGES_MS = [500, 3_000, 20_000, 50_000, 700_000]  # between the limits of `records`, far from each


def set_ages(random: Random, now_ns: int, *tables: Any) -> None:
    """Give every record an age that two readings of the clock cannot judge differently."""
    for bucket in range(CAPACITY // t.WAYS):
        for way in range(t.WAYS):
            seen = ((now_ns >> 20) - random.choice(AGES_MS) - 40 * way) & 0xFFFFFFFF
            at = bucket * t.BUCKET_BYTES + t.BUCKET_RECORDS + way * t.RECORD_BYTES + t.FLOW_SEEN
            for flows in tables:
                flows[at : at + 4] = np.frombuffer(struct.pack("<I", seen), np.uint8)


def strip_times(flows: Any) -> bytes:
    """The flow table without what depends on the clock."""
    copy = flows[: CAPACITY // t.WAYS * t.BUCKET_BYTES].copy().reshape(-1, t.BUCKET_BYTES)
    for way in range(t.WAYS):
        at = t.BUCKET_RECORDS + way * t.RECORD_BYTES + t.FLOW_SEEN
        copy[:, at : at + 4] = 0
    return copy.tobytes()


def strip_record(record: bytes) -> bytes:
    """A ring record without its time and what lies behind its packet; its number where it has no flow."""
    (length,) = struct.unpack_from("<I", record, t.UP_LENGTH)
    (is_peek,) = struct.unpack_from("<I", record, t.UP_IS_PEEK)
    kept = bytearray(record[: t.UP_HEAD + length])
    for at in TIME_FIELDS:
        kept[at] = 0
    if is_peek:  # it has no number: what stands there is the last record's
        kept[t.UP_NUMBER : t.UP_NUMBER + 4] = bytes(4)
    return bytes(kept)


@pytest.mark.parametrize("seed", [1, 2])
def test_both_say_the_same(sides: tuple[NativePath, KernelSide], seed: int) -> None:
    """The pulse is fresh for the native side exactly when it is for the kernel."""
    native, kernel_side = sides
    random, seen = Random(seed), set()
    for number in range(PACKETS):
        content, to_server = make_packet(random)
        if random.random() < 0.1:
            content = damage(random, content)
        is_fresh = random.random() < 0.9
        now_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        native.set_pulse(now_ns if is_fresh else 0)
        set_ages(random, now_ns, native.flows, kernel_side.flows)
        kernel_side.pulse[: t.PULSE_BYTES * t.RINGS_BOUND].view(np.uint64).reshape(t.RINGS_BOUND, -1)[:, 0] = (
            (1 << 62) if is_fresh else 0
        )
        if random.random() < 0.3:
            settle_some(random, native, kernel_side)
        if random.random() < 0.01:
            epoch = int(native.control[:8].view(np.uint64)[0]) + 1
            native.set_epoch(epoch)
            kernel_side.control[:8].view(np.uint64)[0] = epoch
        before_native, before_kernel = native.counters[:1024].view(np.int64).copy(), kernel_side.count()
        verdict = native.steer(content, to_server, now_ns)
        after = native.frame[: len(content)].tobytes()
        mine = [native.ring[16:].tobytes()] if native.ring[0] else []
        native.ring[:8] = 0
        value, changed = kernel_side.run(content, to_server)
        words = f"packet {number}: {'client' if to_server else 'server'} {content.hex()}"
        counted = [
            {NAMES.get(int(n), int(n)) for n in np.flatnonzero(now - then)}
            for now, then in (
                (native.counters[:1024].view(np.int64), before_native),
                (kernel_side.count(), before_kernel),
            )
        ]
        assert counted[0] == counted[1], words
        assert (verdict if verdict >= 0 else NEXT) == value, words
        assert value in (NEXT, DROP, REDIRECT), words
        assert after == changed, words
        theirs = kernel_side.take_records()
        assert [strip_record(record) for record in mine] == [strip_record(record) for record in theirs], words
        assert strip_times(native.flows) == strip_times(kernel_side.flows), words
        seen |= counted[0]
    wanted = {
        "handshake",
        "up_unjudged",
        "up_waiting",
        "up_refused",
        "server",
        "stale_open",
        "stale_closed",
        "syn_data",
        "malformed",
        "up_datagram",
        "datagram_server",
        "free",
    }
    assert wanted <= seen


def test_signals_while_the_verifier_works(sides: tuple[NativePath, KernelSide]) -> None:
    """The kernel gives up verifying for a signal, and is asked again."""
    _, kernel_side = sides
    heard: list[int] = []

    def hear(number: int, frame: object) -> None:
        heard.append(number)
        if len(heard) < 3:
            signal.setitimer(signal.ITIMER_REAL, 0.02)

    before = signal.signal(signal.SIGALRM, hear)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        os.close(bpf.load_program(kernel_side.program, kernel_side.constants | {"from_client": 0}))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert heard

"""Of the packets that a tap sees, those of refused flows: kept from a while before the refusal on, so many bytes at most.

    take(frame) ──► a flow that was refused? ── yes ──► kept
                                             └─ no ───► waits WAIT_S for that, then it is forgotten
    mark(flow) ───► what waits of it is kept, and what follows

Sans I/O and without a clock. It knows Ethernet, IP and ports, and refuses to know what a flow carries. A packet in pieces
has no ports and is no flow's.
"""

import struct
from collections import deque
from collections.abc import Iterable
from ipaddress import ip_address
from typing import BinaryIO

WAIT_S = 15.0  # from a flow's first packet to the event of its refusal: a slow request, a busy journal
IPV4, IPV6 = 0x0800, 0x86DD
TAGS = (0x8100, 0x88A8)
TCP, UDP = 6, 17
PASSED = (0, 43, 60)  # extension headers in front of the ports: options, routing, destination
PCAP_HEAD = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262_144, 1)  # nanoseconds, Ethernet
RECORD_BYTES = 16
FRAME_COST_BYTES = 640  # of memory, beside the bytes of a frame that waits
FLOW_LIMIT = 10_000  # of more than that nobody learns more

Flow = frozenset[tuple[bytes, int]]
"""Both ends of a flow: address (4 or 16 bytes) and port."""


def build_flow(source: str, source_port: int, destination: str, destination_port: int) -> Flow:
    """The flow between two ends as events name them. Raises ValueError."""
    return frozenset(((ip_address(source).packed, source_port), (ip_address(destination).packed, destination_port)))


def find_flow(frame: bytes) -> Flow | None:
    """Whose flow a frame is; None for what has no ports."""
    try:
        off, kind = 14, int.from_bytes(frame[12:14])
        while kind in TAGS:
            kind, off = int.from_bytes(frame[off + 2 : off + 4]), off + 4
        if kind == IPV4:
            if int.from_bytes(frame[off + 6 : off + 8]) & 0x3FFF:  # a piece, or the first of several
                return None
            proto, start, addresses = frame[off + 9], off + 4 * (frame[off] & 15), (off + 12, 4)
        elif kind == IPV6:
            proto, start, addresses = frame[off + 6], off + 40, (off + 8, 16)
            while proto in PASSED:
                proto, start = frame[start], start + 8 * (frame[start + 1] + 1)
        else:
            return None
        if proto not in (TCP, UDP):
            return None
        ports = struct.unpack_from(">HH", frame, start)
    except (IndexError, struct.error):
        return None
    at, size = addresses
    return frozenset(((frame[at : at + size], ports[0]), (frame[at + size : at + 2 * size], ports[1])))


class Recording:
    """The packets of one recording."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.refused: set[Flow] = set()
        self.kept: list[tuple[int, bytes]] = []
        self.size_bytes = len(PCAP_HEAD)
        self.is_full = False
        self._waiting: deque[tuple[int, Flow, bytes]] = deque()
        self._waiting_bytes = 0

    def take(self, at_ns: int, frame: bytes) -> None:
        """A frame that was seen."""
        flow = find_flow(frame)
        if flow is None:
            return
        if flow in self.refused:
            self._keep(at_ns, frame)
            return
        self._waiting.append((at_ns, flow, frame))
        self._waiting_bytes += FRAME_COST_BYTES + len(frame)
        while self._waiting_bytes > self.limit_bytes or self._waiting[0][0] < at_ns - WAIT_S * 1e9:
            self._waiting_bytes -= FRAME_COST_BYTES + len(self._waiting.popleft()[2])
            if not self._waiting:
                break

    def mark(self, flows: Iterable[Flow]) -> None:
        """These flows were refused."""
        new = set(flows) - self.refused
        if not new:
            return
        if len(self.refused) + len(new) > FLOW_LIMIT:
            self.is_full = True
            return
        self.refused |= new
        waiting, self._waiting = self._waiting, deque()
        self._waiting_bytes = 0
        for at_ns, flow, frame in waiting:
            if flow in new:
                self._keep(at_ns, frame)
            else:
                self._waiting.append((at_ns, flow, frame))
                self._waiting_bytes += FRAME_COST_BYTES + len(frame)

    def _keep(self, at_ns: int, frame: bytes) -> None:
        size_bytes = RECORD_BYTES + len(frame)
        if self.size_bytes + size_bytes > self.limit_bytes:
            self.is_full = True
            return
        self.size_bytes += size_bytes
        self.kept.append((at_ns, frame))

    def write(self, sink: BinaryIO) -> None:
        """Write what was kept as pcap, in the order of time."""
        sink.write(PCAP_HEAD)
        for at_ns, frame in sorted(self.kept, key=lambda one: one[0]):
            seconds, rest_ns = divmod(at_ns, 10**9)
            sink.write(struct.pack("<IIII", seconds, rest_ns, len(frame), len(frame)) + frame)

"""The box between two lossy links, its worker some packets behind: what goes in, and what comes out on either side."""

from collections import deque
from random import Random

from penstock.kernel import tables as t
from penstock.kernel.reasons import NAMES
from penstock.kernel.steer import TCX_DROP
from penstock.line.native import NativePath

STEP_NS = 100_000
LAG_LIMIT = 6  # ring records that may wait, far below the stale limit


class Wire:
    """Frames of one connection on their way; `both` directions pass the same box in the order in which they arrive."""

    def __init__(self, path: NativePath, random: Random, now_ns: int, *, loses: float = 0.0, lags: bool = True) -> None:
        self.path, self.random, self.now_ns = path, random, now_ns
        self.loses, self.lags = loses, lags
        self.said: list[str] | None = None
        self.repeats = random.choice([0.0, 0.05])
        self.reorders = random.choice([0.0, 0.2])
        self.near: list[tuple[bool, bytes]] = []
        self.far: dict[bool, list[bytes]] = {True: [], False: []}
        self.ring: deque[bytes] = deque()

    def put(self, content: bytes, to_server: bool) -> None:
        """A frame leaves its sender."""
        if self.random.random() >= self.loses:
            self.near.append((to_server, content))
            if self.random.random() < self.repeats:
                self.near.append((to_server, content))

    def pop(self, queue: list) -> object:
        """The next frame of a link, sometimes another one than the first."""
        reordered = self.reorders and self.random.random() < self.reorders
        return queue.pop(self.random.randrange(len(queue)) if reordered else 0)

    def cross(self, content: bytes, to_server: bool) -> None:
        """A frame arrives at the box: the kernel's half, then as much of the worker's as it is fast."""
        self.now_ns += STEP_NS
        self.path.set_pulse(self.now_ns)
        before = self.path.counters[:1016].copy() if self.said is not None else None
        verdict = self.path.steer(content, to_server, self.now_ns)
        if self.said is not None:
            reason = int((self.path.counters[:1016] != before).nonzero()[0][0]) // 8
            self.said.append(f"    steer {'client' if to_server else 'server'}: {NAMES[reason]}")
        if verdict != TCX_DROP:
            rewritten = self.path.frame[: len(content)].tobytes()
            self.leave(rewritten, to_server)
        if self.path.ring[0]:
            self.path.ring[0] = 0
            self.ring.append(self.path.ring[16 : 16 + t.UP_HEAD + len(content)].tobytes())
        while self.ring and (not self.lags or len(self.ring) >= LAG_LIMIT or self.random.random() < 0.6):
            self.work()

    def work(self) -> None:
        """The worker takes one ring record."""
        record = self.ring.popleft()
        self.path.ring[16 : 16 + len(record)] = bytearray(record)
        self.path.ring[0] = 1
        self.path.capture[:8] = 0
        reason = self.path.step()
        if self.said is not None:
            self.said.append(f"    step: {NAMES.get(reason, reason)}")
        for to_server, content in self.path._sent():
            self.leave(content, to_server)

    def leave(self, content: bytes, to_server: bool) -> None:
        """A frame leaves the box on the far side."""
        if self.random.random() >= self.loses:
            self.far[to_server].append(content)
            if self.random.random() < self.repeats:
                self.far[to_server].append(content)

    def is_empty(self) -> bool:
        return not (self.near or self.far[True] or self.far[False] or self.ring)

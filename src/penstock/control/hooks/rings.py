"""The two rings between a worker of the packet path and the pool, as Python has them; `path.ask_rings` has the layouts.

Records of one size, one writer, one reader each. A full ring loses the record and counts it. Neither side waits.
"""

import mmap
import struct
import zlib
from collections.abc import Iterator

from penstock.hooks.verdict import Verdict
from penstock.path.ask_rings import ANSWER_TEXT, ANSWER_URL, NO_ACTION
from penstock.path.events import RING_HEAD_BYTES, RING_LOST, RING_READ, RING_WRITTEN
from penstock.policy.actions import BLOCK, FORWARD, REDIRECT, REPORT

NO_CATEGORY, NO_HOOK = -1, 0
DEFAULT_TEXT = "The policy for this connection does not allow it."

WRITTEN, READ, LOST = RING_WRITTEN // 8, RING_READ // 8, RING_LOST // 8
ACTIONS = {"allow": FORWARD, "report": REPORT, "block": BLOCK, "redirect": REDIRECT}


def hook_tag(name: str) -> int:
    """The 32 bits by which answers and events know a hook, whatever version of the project it is of; 0 is none."""
    return zlib.crc32(name.encode()) or 1


class Ring:
    """One ring in memory."""

    def __init__(self, memory: bytearray | memoryview | mmap.mmap, record_bytes: int) -> None:
        """The ring that fills this memory: as many records as there is room for."""
        self._memory = memoryview(memory).cast("B")
        self._words = self._memory[:RING_HEAD_BYTES].cast("q")
        self.record_bytes, self.count = record_bytes, (len(self._memory) - RING_HEAD_BYTES) // record_bytes

    def _record(self, number: int) -> memoryview:
        start = RING_HEAD_BYTES + (number % self.count) * self.record_bytes
        return self._memory[start : start + self.record_bytes]

    @property
    def has_more(self) -> bool:
        """Is there anything to read?"""
        return self._words[WRITTEN] != self._words[READ]

    @property
    def lost(self) -> int:
        """Records that found it full."""
        return self._words[LOST]

    def read(self) -> Iterator[bytes]:
        """The records that are there now; each is taken when the next one is asked for."""
        written, read = self._words[WRITTEN], self._words[READ]
        for number in range(
            read, read + min(max(written - read, 0), self.count)
        ):  # the writer may have been taken over
            yield bytes(self._record(number))
            self._words[READ] = number + 1

    def write(self, content: bytes) -> bool:
        """Append a record. False when the ring is full."""
        written = self._words[WRITTEN]
        if written - self._words[READ] >= self.count:
            self._words[LOST] += 1
            return False
        self._record(written)[: len(content)] = content
        self._words[WRITTEN] = written + 1
        return True


def pack_answer(identity: int, verdict: Verdict | None, categories: list[str], hook: int = NO_HOOK) -> bytes:
    """An answer's record; `categories` are those of the snapshot in force, one that is not there is none; `hook`: a tag."""
    action = NO_ACTION if verdict is None else ACTIONS[verdict.action]
    known = verdict is not None and verdict.category in categories
    category = categories.index(verdict.category) if verdict and verdict.category and known else NO_CATEGORY
    url = (verdict.url or "").encode() if verdict else b""
    text = (verdict.text or (DEFAULT_TEXT if action == BLOCK else "")).encode() if verdict else b""
    words = struct.pack("<6q", identity, action, category, len(url), len(text), hook)
    return words.ljust(ANSWER_URL, b"\0") + url.ljust(ANSWER_TEXT - ANSWER_URL, b"\0") + text

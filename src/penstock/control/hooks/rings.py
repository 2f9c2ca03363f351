"""The two rings between a worker of the packet path and the pool: records of one size, one writer, one reader each.

    | written | read | lost | record 0 | record 1 | ...            written, read, lost: a cache line each; `path.events`

    asks      the path writes: the layout of an event, with EVENT_ASKS among its flags and other words where an event has
              what an ask cannot know yet (`asks`)
    answers   the pool writes: an identity, an action, and what the action needs (ANSWER_*)

A full ring loses the record and counts it. Neither side waits: the path has a time for each answer, and a verdict without.
"""

import mmap
import struct
from collections.abc import Iterator

from penstock.hooks.verdict import TEXT_LIMIT, URL_LIMIT, Verdict
from penstock.path.events import RING_HEAD_BYTES, RING_LOST, RING_READ, RING_WRITTEN
from penstock.policy.actions import BLOCK, FORWARD, REDIRECT, REPORT

ANSWER_ID, ANSWER_ACTION, ANSWER_CATEGORY = 0, 8, 16  # int64; action -1: none, the tables decide; category -1: none
ANSWER_URL_BYTES, ANSWER_TEXT_BYTES, ANSWER_HOOK = 24, 32, 40  # the hook that decided, by its number; -1: none did
ANSWER_URL = 64
ANSWER_TEXT = ANSWER_URL + URL_LIMIT + 16
TEXT_BYTES = 4 * TEXT_LIMIT
ANSWER_BYTES = 4096
ANSWER_COUNT = 256
ANSWERS_BYTES = RING_HEAD_BYTES + ANSWER_BYTES * ANSWER_COUNT
NO_ACTION = NO_CATEGORY = NO_HOOK = -1

WRITTEN, READ, LOST = RING_WRITTEN // 8, RING_READ // 8, RING_LOST // 8
ACTIONS = {"allow": FORWARD, "report": REPORT, "block": BLOCK, "redirect": REDIRECT}

assert ANSWER_TEXT + TEXT_BYTES <= ANSWER_BYTES


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
    """An answer's record; `categories` are those of the snapshot in force, one that is not there is none."""
    action = NO_ACTION if verdict is None else ACTIONS[verdict.action]
    known = verdict is not None and verdict.category in categories
    category = categories.index(verdict.category) if verdict and verdict.category and known else NO_CATEGORY
    url = (verdict.url or "").encode() if verdict else b""
    text = (verdict.text or "").encode() if verdict else b""
    words = struct.pack("<6q", identity, action, category, len(url), len(text), hook)
    return words.ljust(ANSWER_URL, b"\0") + url.ljust(ANSWER_TEXT - ANSWER_URL, b"\0") + text

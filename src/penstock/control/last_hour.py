"""The last hour's requests, as far as the guard needs them: who (by number) asked for which host, minute by minute.

    a minute:  | minute, seen, sampled, kept | up to KEPT_LIMIT samples of path.sample |    MINUTES of them, 8.6 MB in all

Of a minute with more requests a random choice is kept, each as likely as any other (Vitter's algorithm R), so that one
that is kept stands for seen / kept. What is older is overwritten with zeros. The memory is a memfd, never a file: it ends
with the process, and what `penstock status` and `penstock lists check` know of it they read through /proc, as root.

It does not know policies, and no clock: the minute is an argument.
"""

import json
import mmap
import os
import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from penstock.path.sample import SAMPLE_BYTES, SAMPLE_SUBSCRIBER

MINUTES = 60
KEPT_LIMIT = 512  # a minute; 15,000 of a busy hour put a share of 5 % within 0.5 % (three standard deviations)
MINUTE, SEEN, SAMPLED, KEPT, HEAD_WORDS = 0, 1, 2, 3, 4
NAME = "penstock-last-hour"
NEVER = -MINUTES

_NOTE_BYTES = 4096
_HEADS_BYTES = 4096
_HEADS_OFF, _SAMPLES_OFF = _NOTE_BYTES, _NOTE_BYTES + _HEADS_BYTES
SIZE_BYTES = _SAMPLES_OFF + MINUTES * KEPT_LIMIT * SAMPLE_BYTES


class LastHour:
    """Requests by minute. `note` is what its process says of itself."""

    def __init__(self, memory: Any = None) -> None:
        """Of its own memory, or of the memory of another process (`read_last_hours`)."""
        if memory is None:
            fd = os.memfd_create(NAME, os.MFD_CLOEXEC)
            os.truncate(fd, SIZE_BYTES)
            memory = mmap.mmap(fd, SIZE_BYTES)  # it has a descriptor of its own, by which others find it
            os.close(fd)
        self._note = np.frombuffer(memory, np.uint8, _NOTE_BYTES)
        self.heads = np.frombuffer(memory, np.int64, MINUTES * HEAD_WORDS, _HEADS_OFF).reshape(MINUTES, HEAD_WORDS)
        flat = np.frombuffer(memory, np.uint8, MINUTES * KEPT_LIMIT * SAMPLE_BYTES, _SAMPLES_OFF)
        self.samples = flat.reshape(MINUTES, KEPT_LIMIT, SAMPLE_BYTES)
        self._random = random.Random()
        self._now = NEVER

    def begin_minute(self, minute: int) -> bool:
        """Go on to a minute and forget those that are an hour old. Returns whether it is a new one."""
        if minute == self._now:
            return False
        self._now = minute
        for head, samples in zip(self.heads, self.samples, strict=True):
            if not minute - MINUTES < head[MINUTE] <= minute:
                samples[: head[KEPT]] = 0
                head[:] = NEVER, 0, 0, 0
        self.heads[minute % MINUTES, MINUTE] = minute
        return True

    def forget(self) -> None:
        """Forget every request."""
        for head, samples in zip(self.heads, self.samples, strict=True):
            samples[: head[KEPT]] = 0
            head[:] = NEVER, 0, 0, 0
        self._now = NEVER

    def count(self, seen: int) -> None:
        """This minute's requests are so many more, sampled or not."""
        self.heads[self._now % MINUTES, SEEN] += seen

    def add(self, sample: Any) -> None:
        """One more sample of this minute."""
        head = self.heads[self._now % MINUTES]
        head[SAMPLED] += 1
        place = int(head[KEPT])
        if place == KEPT_LIMIT:
            place = self._random.randrange(int(head[SAMPLED]))
            if place >= KEPT_LIMIT:
                return
        else:
            head[KEPT] += 1
        self.samples[self._now % MINUTES, place] = sample

    def seen_in(self, minute: int) -> int:
        """The requests of one minute; 0 when it is not of the last hour."""
        head = self.heads[minute % MINUTES]
        return int(head[SEEN]) if head[MINUTE] == minute else 0

    @property
    def requests(self) -> int:
        """The requests of the last hour."""
        return int(self.heads[:, SEEN].sum())

    def minutes(self) -> Iterator[tuple[int, Any]]:
        """Each minute of which samples are kept: its requests, its samples."""
        for head, samples in zip(self.heads, self.samples, strict=True):
            if head[KEPT]:
                yield max(int(head[SEEN]), int(head[KEPT])), samples[: int(head[KEPT])]

    def find_subscribers(self) -> set[int]:
        """The numbers of all who asked."""
        found: set[int] = set()
        for _, samples in self.minutes():
            words = np.ascontiguousarray(samples[:, SAMPLE_SUBSCRIBER : SAMPLE_SUBSCRIBER + 4]).view(np.uint32)
            found.update(np.unique(words).tolist())
        return found

    @property
    def note(self) -> dict[str, Any]:
        """What the process said last; empty before it did, or while it writes."""
        size = int(self._note[:8].view(np.int64)[0])
        try:
            return dict(json.loads(self._note[8 : 8 + size].tobytes()))
        except ValueError:
            return {}

    def set_note(self, **fields: Any) -> None:
        """Say something of the process: at most a page of JSON."""
        text = json.dumps(self.note | fields).encode()
        self._note[:8].view(np.int64)[0] = 0
        self._note[8 : 8 + len(text)] = np.frombuffer(text, np.uint8)
        self._note[:8].view(np.int64)[0] = len(text)


def read_last_hours() -> Iterator[tuple[Path, LastHour]]:
    """A copy of the last hour of every `run` in this network namespace, beside its directory in /proc."""
    here = os.stat("/proc/self/ns/net").st_ino
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):  # processes and descriptors come and go
            if os.readlink(link).startswith(f"/memfd:{NAME} "):
                process = link.parents[1]
                if os.stat(process / "ns/net").st_ino == here:
                    yield process, LastHour(bytearray(link.read_bytes()))

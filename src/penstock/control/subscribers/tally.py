"""What a register's process counts, and what of it people are told at once.

Knows the kinds of reports. It does not know who asks (`calls`), nor what a count is called elsewhere (`register_metrics`).
"""

from collections import Counter
from typing import Any

import structlog

from penstock.control.subscribers.place_text import word_place
from penstock.control.subscribers.updates import Report, Updates

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Of a batch's time, from what was said to what the kernel's tables say."""
REPORTS_PER_TICK = 10  # in words; all are counted
TEXTS = {
    "conflict": "an address is another subscriber's from now on",
    "out_of_order": "said too late: somebody said otherwise since",
    "unknown_profile": "a profile that the configuration does not have: the default holds",
    "full": "no room in the register",
    "malformed": "a source said something that makes no sense",
}
QUIET = ("out_of_order",)
"""Reports that every network makes all day: they are counted alone."""

log = structlog.get_logger()


class Tally:
    """Counts since the process began."""

    def __init__(self) -> None:
        self.changes: Counter[str] = Counter()
        self.batches, self.failed, self.batch_s = 0, 0, 0.0
        self.buckets = [0] * len(BOUNDS_S)
        self._room, self._unsaid = REPORTS_PER_TICK, 0
        self._failed = ""

    def note(self, updates: Updates) -> None:
        """What became of a batch."""
        self.changes += updates.counts
        for report in updates.reports:
            if report.kind in QUIET:
                continue
            if self._room:
                self._room -= 1
                log.warning(TEXTS[report.kind], **_word(report))
            else:
                self._unsaid += 1

    def note_time(self, took_s: float) -> None:
        """How long a batch took that was written."""
        if self._failed:
            self._failed = ""
            log.info("what is said of subscribers is written down again")
        self.batches += 1
        self.batch_s += took_s
        for at, bound_s in enumerate(BOUNDS_S):
            self.buckets[at] += took_s <= bound_s

    def note_failure(self, why: str) -> None:
        """A batch could not be written."""
        self.failed += 1
        if why != self._failed:
            log.error("what is said of subscribers cannot be written down; nobody is answered", error=why)
        self._failed = why

    def tick(self) -> None:
        """A second went by: there is room for words again."""
        if self._unsaid:
            log.warning("there was more of this kind", reports=self._unsaid)
        self._room, self._unsaid = REPORTS_PER_TICK, 0

    def tell(self) -> dict[str, Any]:
        """All counts."""
        return {
            "changes": dict(self.changes),
            "failed": self.failed,
            "batches": {"count": self.batches, "sum_s": self.batch_s, "buckets": self.buckets},
        }


def _word(report: Report) -> dict[str, str]:
    words = {"subscriber": report.subscriber, "other": report.other}
    words["place"] = word_place(report.place) if report.place else ""
    return {name: word for name, word in words.items() if word}

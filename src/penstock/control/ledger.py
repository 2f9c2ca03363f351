"""The ledger: every packet's verdict and reason, kernel and process together, and whether the sums close.

seen = forwarded + dropped + up          up = released + answered + refused + expired + waiting
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from penstock.kernel.reasons import PATH_FIRST, REASON_COUNT, REASONS, Verdict
from penstock.kernel.steer import SEEN
from penstock.kernel.tables import HISTOGRAM_BUCKETS, HISTOGRAM_STEP_NS

PEEK_NAME = "peeked"


@dataclass
class Ledger:
    """Counters by reason, and what follows from them."""

    seen: int
    reasons: dict[str, int]
    verdicts: dict[Verdict, int] = field(default_factory=dict)

    @property
    def waiting(self) -> int:
        """Packets in the rings: what went up and has not ended yet."""
        done = (Verdict.RELEASED, Verdict.ANSWERED, Verdict.REFUSED, Verdict.EXPIRED)
        return self.verdicts[Verdict.UP] - sum(self.verdicts[verdict] for verdict in done)

    @property
    def difference(self) -> int:
        """Packets without a verdict: 0."""
        return self.seen - sum(self.verdicts[verdict] for verdict in (Verdict.FORWARDED, Verdict.DROPPED, Verdict.UP))


def read_counters(memory: Any) -> Any:
    """The counters of a mapped table, summed over its lines (CPUs or workers): one per reason number."""
    return np.frombuffer(memory, np.uint64).reshape(-1, REASON_COUNT).sum(axis=0)


def read_ledger(kernel_counters: Any, path_counters: Any) -> Ledger:
    """The ledger from both sides' counters."""
    reasons, verdicts = {}, dict.fromkeys(Verdict, 0)
    for reason in REASONS:
        source = path_counters if reason.number >= PATH_FIRST else kernel_counters
        count = int(source[reason.number])
        reasons[reason.name] = count
        if reason.name != PEEK_NAME:  # a copy of a packet that was forwarded and counted there
            verdicts[reason.verdict] += count
    return Ledger(int(kernel_counters[SEEN]), reasons, verdicts)


def read_times(memory: Any) -> Any:
    """The histogram of verdict times of a mapped table, summed over workers."""
    return np.frombuffer(memory, np.uint64).reshape(-1, HISTOGRAM_BUCKETS).sum(axis=0)


def find_quantile_us(times: Any, quantile: float) -> float:
    """The upper edge, in microseconds, of the bucket that holds a quantile of the verdict times; 0 without any."""
    total = int(times.sum())
    if total == 0:
        return 0.0
    bucket = int(np.searchsorted(np.cumsum(times), quantile * total))
    return (bucket + 1) * HISTOGRAM_STEP_NS / 1000

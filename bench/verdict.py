"""The verdict's own time: from the ring record to the packet sent, out of the histogram that the box keeps.

Knows where the table is pinned. Refuses to know the loads.
"""

from dataclasses import dataclass
from typing import Any

from penstock.control.ledger import find_quantile_us, read_times
from penstock.demo.topology import Topology
from penstock.kernel import bpf, tables
from penstock.line.pins import find_pairs, find_root, open_own_table

LAST_US = (
    (tables.HISTOGRAM_BUCKETS - 1) * tables.HISTOGRAM_STEP_NS / 1000
)  # what is later is counted in the last bucket


@dataclass(frozen=True)
class VerdictTime:
    """Packets that went up under a load, and how long theirs took: µs; more than LAST_US means beyond the histogram."""

    packets: int
    p50_us: float
    p99_us: float


class VerdictClock:
    """The pinned histogram of the one box in a topology."""

    def __init__(self, topology: Topology) -> None:
        with topology.inside("box"):
            (pair,) = find_pairs(find_root())
        table = tables.verdict_times
        table.fd = open_own_table(pair, table.name)
        self._memory = memoryview(bpf.map_memory(table))

    def read(self) -> Any:
        """The histogram as it is now, an array of counts."""
        return read_times(self._memory).copy()

    def since(self, before: Any) -> VerdictTime:
        """What was counted since `before` was read."""
        times = self.read() - before
        return VerdictTime(int(times.sum()), find_quantile_us(times, 0.5), find_quantile_us(times, 0.99))

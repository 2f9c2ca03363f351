"""What is counted of hooks, as plain values and as Prometheus has it.

asked = answered + silent + late + died + unasked + waiting
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from penstock.control.hooks.lane import ENDS

BOUNDS_S = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
CAUSES = ("late", "ended", "memory", "nonsense", "reload")
"""Why a worker process was replaced."""


@dataclass
class Counts:
    """Since the start of the pool."""

    asked: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    """Exceptions, by hook."""
    replaced: Counter[str] = field(default_factory=Counter)
    told: int = 0
    """Outcomes and subscribers."""
    untold: int = 0
    """Those for which there was no room or no time."""
    times: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    time_s: float = 0.0

    def take_time(self, duration_s: float) -> None:
        """From asking to an answer."""
        at = next((number for number, bound in enumerate(BOUNDS_S) if duration_s <= bound), len(BOUNDS_S))
        self.times[at] += 1
        self.time_s += duration_s

    def to_data(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "asked": self.asked,
            "ends": {name: self.ends[name] for name in ENDS},
            "failed": dict(self.failed),
            "replaced": {cause: self.replaced[cause] for cause in CAUSES},
            "told": self.told,
            "untold": self.untold,
            "times": list(self.times),
            "time_s": self.time_s,
        }


class HookCollector(Collector):
    """Turns a state (`HookPool.read_state`) into series; none while there is no project."""

    def __init__(self, read: Callable[[], dict[str, Any] | None]) -> None:
        self.read = read

    def collect(self) -> Iterator[Any]:
        state = self.read()
        if not state:
            return
        counts = state["counts"]
        yield CounterMetricFamily(
            "penstock_hook_requests", "Requests that hooks were asked about.", value=counts["asked"]
        )
        ends = CounterMetricFamily("penstock_hook_answers", "How they ended.", labels=["end"])
        for name, count in counts["ends"].items():
            ends.add_metric([name], count)
        yield ends
        if "unasked" in state:
            text = "Requests that hooks should have been asked about, and that had no room to wait."
            yield CounterMetricFamily("penstock_hook_unasked", text, value=state["unasked"])
        failed = CounterMetricFamily("penstock_hook_failures", "Exceptions, by hook.", labels=["hook"])
        for name, count in counts["failed"].items():
            failed.add_metric([name], count)
        yield failed
        replaced = CounterMetricFamily("penstock_hook_workers_replaced", "Worker processes replaced.", labels=["cause"])
        for cause, count in counts["replaced"].items():
            replaced.add_metric([cause], count)
        yield replaced
        yield CounterMetricFamily("penstock_hook_told", "Outcomes and subscribers told to hooks.", value=counts["told"])
        yield CounterMetricFamily("penstock_hook_untold", "Those that were left out.", value=counts["untold"])
        yield GaugeMetricFamily("penstock_hook_workers", "Worker processes that can answer.", value=state["workers"])
        yield GaugeMetricFamily("penstock_hook_waiting", "Requests that wait for a hook.", value=state["waiting"])
        yield GaugeMetricFamily("penstock_hooks_paused", "Hooks left out, for somebody or all.", value=state["paused"])
        yield _time(counts)


def _time(counts: dict[str, Any]) -> Any:
    family = HistogramMetricFamily("penstock_hook_seconds", "From asking hooks to their answer.")
    buckets, total = [], 0
    for bound, count in zip(BOUNDS_S, counts["times"], strict=False):
        total += count
        buckets.append((f"{bound:g}", float(total)))
    family.add_metric([], [*buckets, ("+Inf", float(sum(counts["times"])))], sum_value=counts["time_s"])
    return family

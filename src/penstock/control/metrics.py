"""Prometheus metrics: one series per reason, and the verdict's own time. Read when asked, never on the packet path."""

from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from penstock.control.ledger import Ledger
from penstock.kernel.reasons import REASONS
from penstock.kernel.tables import HISTOGRAM_BUCKETS, HISTOGRAM_STEP_NS

BOUNDS_US = (1, 2, 5, 10, 15, 20, 30, 40, 60, 80, 100, 120)


class PathCollector(Collector):
    """Turns the counters into series. `read` gives the ledger, the histogram's buckets and the lost events."""

    def __init__(self, read: Callable[[], tuple[Ledger, Any, int]]) -> None:
        self.read = read

    def collect(self) -> Iterator[Any]:
        ledger, histogram, lost = self.read()
        packets = CounterMetricFamily(
            "penstock_packets", "Packets by verdict and reason.", labels=["verdict", "reason"]
        )
        for reason in REASONS:
            packets.add_metric([reason.verdict.name.lower(), reason.name], ledger.reasons[reason.name])
        yield packets
        yield CounterMetricFamily("penstock_packets_seen", "Packets that came in.", value=ledger.seen)
        yield GaugeMetricFamily("penstock_packets_waiting", "Packets in the rings.", value=ledger.waiting)
        yield GaugeMetricFamily("penstock_packets_difference", "Packets without a verdict: 0.", value=ledger.difference)
        yield CounterMetricFamily("penstock_events_lost", "Events that found their ring full.", value=lost)
        yield _verdict_time(histogram)


def _verdict_time(histogram: Any) -> Any:
    family = HistogramMetricFamily("penstock_verdict_seconds", "From the ring record to the packet sent.")
    buckets = [(str(bound / 1e6), float(histogram[: bound * 1000 // HISTOGRAM_STEP_NS].sum())) for bound in BOUNDS_US]
    total = float(histogram.sum())
    middle = (sum((n + 0.5) * float(histogram[n]) for n in range(HISTOGRAM_BUCKETS))) * HISTOGRAM_STEP_NS / 1e9
    family.add_metric([], [*buckets, ("+Inf", total)], sum_value=middle)
    return family


def serve_metrics(host: str, port: int, read: Callable[[], tuple[Ledger, Any, int]]) -> Any:
    """Answer Prometheus on host:port, from a thread. Raises OSError when the address cannot be used."""
    registry = CollectorRegistry()
    registry.register(PathCollector(read))
    return start_http_server(port, host, registry)

"""Prometheus metrics: one series per reason, and the verdict's own time. Read when asked, never on the packet path."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from penstock.control.exceptions import CAUSES, Watch
from penstock.control.health import BUCKET_BOUNDS_S, Health
from penstock.control.ledger import Ledger
from penstock.kernel.reasons import REASONS
from penstock.kernel.tables import HISTOGRAM_BUCKETS, HISTOGRAM_STEP_NS

BOUNDS_US = (1, 2, 5, 10, 15, 20, 30, 40, 60, 80, 100, 120)


SIDES = ("client", "server")


@dataclass(frozen=True)
class Readings:
    """Everything that is counted, at one moment."""

    ledger: Ledger
    verdict_times: Any
    lost_events: int
    health: dict[str, Health]
    watch: Watch


class PathCollector(Collector):
    """Turns the counters into series."""

    def __init__(self, read: Callable[[], Readings]) -> None:
        self.read = read

    def collect(self) -> Iterator[Any]:
        readings = self.read()
        ledger, lost = readings.ledger, readings.lost_events
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
        yield _verdict_time(readings.verdict_times)
        yield from _exceptions(readings)
        yield from _health(readings.health)


def _verdict_time(histogram: Any) -> Any:
    family = HistogramMetricFamily("penstock_verdict_seconds", "From the ring record to the packet sent.")
    buckets = [(str(bound / 1e6), float(histogram[: bound * 1000 // HISTOGRAM_STEP_NS].sum())) for bound in BOUNDS_US]
    total = float(histogram.sum())
    middle = (sum((n + 0.5) * float(histogram[n]) for n in range(HISTOGRAM_BUCKETS))) * HISTOGRAM_STEP_NS / 1e9
    family.add_metric([], [*buckets, ("+Inf", total)], sum_value=middle)
    return family


def _exceptions(readings: Readings) -> Iterator[Any]:
    active = GaugeMetricFamily("penstock_exception_active", "1 from a cause's first packet on.", labels=["cause"])
    packets = CounterMetricFamily("penstock_exception_packets", "Packets that met a cause.", labels=["cause"])
    for cause in CAUSES:
        active.add_metric([cause.name], float(cause.name in readings.watch.episodes))
        packets.add_metric([cause.name], sum(readings.ledger.reasons[name] for name in cause.reasons))
    yield active
    yield packets


def _health(health: dict[str, Health]) -> Iterator[Any]:
    begun = CounterMetricFamily("penstock_handshakes", "Clients' SYNs.", labels=["class"])
    completed = CounterMetricFamily("penstock_handshakes_completed", "Handshakes completed.", labels=["class"])
    segments = CounterMetricFamily("penstock_segments", "TCP segments with payload.", labels=["class", "side"])
    repeated = CounterMetricFamily("penstock_segments_repeated", "Those seen before.", labels=["class", "side"])
    resets = CounterMetricFamily("penstock_resets", "TCP resets that came in.", labels=["class", "side"])
    latency = HistogramMetricFamily(
        "penstock_handshake_seconds", "SYN to SYN-ACK (server), SYN-ACK to ACK (client).", labels=["class", "side"]
    )
    for name, one in health.items():
        begun.add_metric([name], one.handshakes)
        completed.add_metric([name], one.completed)
        for number, side in enumerate(SIDES):
            segments.add_metric([name, side], one.segments[number])
            repeated.add_metric([name, side], one.repeated[number])
            resets.add_metric([name, side], one.resets[number])
            counts = one.client_latency if side == "client" else one.server_latency
            sums = counts.cumsum()
            buckets = [(f"{bound:.6g}", float(sums[n])) for n, bound in enumerate(BUCKET_BOUNDS_S[:-1])]
            middle = sum(0.75 * bound * float(counts[n]) for n, bound in enumerate(BUCKET_BOUNDS_S))
            latency.add_metric([name, side], [*buckets, ("+Inf", float(counts.sum()))], sum_value=middle)
    yield from (begun, completed, segments, repeated, resets, latency)


def serve_metrics(host: str, port: int, read: Callable[[], Readings], *others: Collector) -> Any:
    """Answer Prometheus on host:port, from a thread. Raises OSError when the address cannot be used."""
    registry = CollectorRegistry()
    for collector in (PathCollector(read), *others):
        registry.register(collector)
    return start_http_server(port, host, registry)

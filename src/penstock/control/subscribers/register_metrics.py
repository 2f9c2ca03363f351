"""What a register counts, as Prometheus reads it: asked at its door, each time.

The process that answers is another one; when it is gone its series are, too, and `penstock_register_up` is 0.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from penstock.control.subscribers.calls import CallError, call_register
from penstock.control.subscribers.tally import BOUNDS_S

ASK_S = 2.0  # Prometheus waits for all series together


class RegisterCollector(Collector):
    """The series of one register."""

    def __init__(self, door: Path) -> None:
        self.door = door

    def collect(self) -> Iterator[Any]:
        try:
            told = call_register(self.door, "tell", ASK_S)
        except CallError:
            told = {}
        yield GaugeMetricFamily("penstock_register_up", "1: the register answers.", value=float(bool(told)))
        if told:
            yield from _build_series(told)


def _build_series(told: dict[str, Any]) -> Iterator[Any]:
    yield GaugeMetricFamily("penstock_subscribers", "Subscribers that the register knows.", value=told["subscribers"])
    yield GaugeMetricFamily("penstock_places", "Addresses, prefixes and port blocks in use.", value=told["places"])
    limit = "Places that can be in use at once."
    yield GaugeMetricFamily("penstock_places_limit", limit, value=told["places_limit"])
    lost = "Places that found no room in the kernel's table."
    yield CounterMetricFamily("penstock_places_lost", lost, value=told["places_lost"])
    yield GaugeMetricFamily("penstock_own_names", "Names that subscribers allow or deny.", value=told["names"])
    limit = "Own names that there can be at once."
    yield GaugeMetricFamily("penstock_own_names_limit", limit, value=told["names_limit"])
    lost = "Own names that found no room in the kernel's table."
    yield CounterMetricFamily("penstock_own_names_lost", lost, value=told["names_lost"])
    changes = CounterMetricFamily(
        "penstock_subscriber_changes", "Events of all sources, and what was reported of them.", labels=["kind"]
    )
    for kind, count in sorted(told["changes"].items()):
        changes.add_metric([kind], count)
    yield changes
    flows = "Open flows that a change refused, opened or freed."
    yield CounterMetricFamily("penstock_open_flows_changed", flows, value=told["flows_changed"])
    failed = "Batches that could not be written down."
    yield CounterMetricFamily("penstock_register_batches_failed", failed, value=told["failed"])
    family = HistogramMetricFamily("penstock_register_batch_seconds", "From a batch to the kernel's tables.")
    batches = told["batches"]
    buckets = [(str(bound), float(count)) for bound, count in zip(BOUNDS_S, batches["buckets"], strict=True)]
    family.add_metric([], [*buckets, ("+Inf", float(batches["count"]))], sum_value=batches["sum_s"])
    yield family
    yield from _build_radius_series(told["radius"])


def _build_radius_series(radius: dict[str, Any]) -> Iterator[Any]:
    if radius["is_listening"] is None:
        return
    up = "1: RADIUS is heard, by the settings in force."
    yield GaugeMetricFamily("penstock_radius_listening", up, value=float(radius["is_listening"]))
    packets = CounterMetricFamily(
        "penstock_radius_packets", "RADIUS packets, and what was noted of them.", labels=["outcome"]
    )
    for outcome, count in sorted(radius["packets"].items()):
        packets.add_metric([outcome], count)
    yield packets

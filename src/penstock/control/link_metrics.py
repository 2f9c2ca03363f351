"""The two interfaces as Prometheus series. Read when asked, from what the watch saw last."""

from collections.abc import Iterator
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from penstock.control.line_watch import LineWatch
from penstock.line.inline import SIDES
from penstock.line.links import CHANGES


class LinkCollector(Collector):
    """Turns what a watch knows into series."""

    def __init__(self, watch: LineWatch) -> None:
        self.watch = watch

    def collect(self) -> Iterator[Any]:
        up = GaugeMetricFamily("penstock_link_up", "1: there, up, and with a carrier.", labels=["side"])
        mtu = GaugeMetricFamily("penstock_link_mtu", "The MTU; 0: the interface is gone.", labels=["side"])
        held = GaugeMetricFamily("penstock_link_held", "1: taken down, for the other side is lost.", labels=["side"])
        changes = CounterMetricFamily(
            "penstock_link_changes", "What became of the interfaces.", labels=["side", "change"]
        )
        for side in SIDES:
            link = self.watch.links[side]
            up.add_metric([side], 1 if link and link.has_carrier else 0)
            mtu.add_metric([side], link.mtu if link else 0)
            held.add_metric([side], 1 if self.watch.held == side else 0)
            for change in CHANGES:
                changes.add_metric([side, change], self.watch.changes[side, change])
        yield from (up, mtu, held, changes)
        faults = len(self.watch.faults)
        yield GaugeMetricFamily("penstock_link_faults", "What is wrong with them, as `check` says.", value=faults)

"""What the guard says of itself: to Prometheus, in a line of `penstock status`, and as the table of `penstock lists check`.

The last two are told by another process than the one whose guard it is; all that they know is its last hour. No host is
named but to who asks on the box itself, as root.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from penstock.control.configuration import Configuration
from penstock.control.guard import Finding, Guard
from penstock.control.last_hour import read_last_hours

NAMES_SHOWN = 10


class GuardCollector(Collector):
    """The guard's series."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard

    def collect(self) -> Iterator[Any]:
        guard = self.guard
        yield CounterMetricFamily("penstock_guard_refusals", "Changes that were not taken.", value=guard.refusals)
        yield GaugeMetricFamily("penstock_guard_held", "1: the last change was not taken.", value=int(guard.is_held))
        share = "What the last change refuses or would refuse in addition, as a share of the hour before it."
        yield GaugeMetricFamily("penstock_guard_share", share, value=guard.share)
        requests = "Requests of the last hour, by which changes are judged."
        yield GaugeMetricFamily("penstock_guard_requests", requests, value=guard.last_hour.requests)
        lost = "Samples of requests that found their ring full."
        yield CounterMetricFamily("penstock_guard_samples_lost", lost, value=guard.lost())


def word_guard(pair: str) -> str:
    """The guard of a pair's `run`, for `penstock status`."""
    for _, hour in read_last_hours():
        note = hour.note
        if note.get("pair") == pair:
            text = f"{hour.requests:,} requests in the last hour, {note.get('refusals', 0)} change(s) not taken"
            if note.get("held_s") is None:
                return text
            when = datetime.fromtimestamp(note["held_s"])
            return f"[red]{text}, the last of them at {when:%Y-%m-%d %H:%M:%S}: what was in force before is in force[/]"
    return "nothing is known: no process, or not root"


def render_finding(finding: Finding, configuration: Configuration) -> RenderableType:
    """What a change would refuse in addition, for a terminal."""
    refused = f"{finding.refused:,} of the last hour's {finding.requests:,} requests ({finding.share:.2%})"
    verdict = Text.assemble("a reload would refuse ", (refused, "bold"), " in addition to what is refused now")
    table = Table("requests", "subscribers", "host", "category")
    table.add_column("list", overflow="fold")
    for worst in finding.worst(configuration, NAMES_SHOWN):
        table.add_row(
            f"{worst.requests:,}", f"{worst.subscribers:,}", Text(worst.host), worst.category, Text(worst.entry)
        )
    allowed = f"guard.share allows {configuration.guard.share:.2%} of {configuration.guard.requests:,} requests or more"
    ending = Text.assemble(
        ("it would not be taken", "bold red") if finding.is_too_much(configuration) else ("it would be taken", "green"),
        f": {allowed}",
    )
    return Group(verdict, *([table] if finding.names else []), ending)

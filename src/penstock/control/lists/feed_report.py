"""What is told of feeds: series for Prometheus, the table of `penstock lists status`, and what `penstock lists fetch` does.

No address is told with what stands behind its question mark, which may be a key.
"""

import os
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from rich.console import Console
from rich.table import Table
from rich.text import Text

from penstock.control.configuration import load_configuration
from penstock.control.lists.feed_cache import Feed, Record, Trial, Version, find_feeds, read_record
from penstock.control.lists.feeds import OUTCOMES, FeedsInForce, take_now
from penstock.errors import PenstockError


class HasFeeds(Protocol):
    """Whoever has the feeds of a `run`."""

    feeds: FeedsInForce


class FeedCollector(Collector):
    """The series of a `run`'s feeds."""

    def __init__(self, owner: HasFeeds) -> None:
        self.owner = owner

    def collect(self) -> Iterator[Any]:
        attempts = CounterMetricFamily("penstock_feed_fetches", "Fetches by outcome.", labels=["feed", "outcome"])
        entries = GaugeMetricFamily("penstock_feed_entries", "Entries of the version in force.", labels=["feed"])
        said = "When the server last said that the version in force is the latest, in seconds since 1970."
        checked = GaugeMetricFamily("penstock_feed_checked_seconds", said, labels=["feed"])
        refused = GaugeMetricFamily("penstock_feed_refused", "1: the last fetch was refused.", labels=["feed"])
        for state in list(self.owner.feeds.states.values()):
            name = state.feed.shown
            for outcome in OUTCOMES:
                attempts.add_metric([name, outcome], state.counts[outcome])
            entries.add_metric([name], state.record.entries)
            checked.add_metric([name], state.record.checked_s)
            refused.add_metric([name], float(bool(state.record.refused)))
        yield from (attempts, entries, checked, refused)


def word_feed(feed: Feed) -> str:
    """Where the version of a feed that is on the disk comes from, for `penstock explain`."""
    record = read_record(feed)
    if not record.sha256:
        return f"{feed.shown}, of which nothing is known"
    tag = f", ETag {record.etag}" if record.etag else ""
    return f"{feed.shown}, fetched {_word_time(record.fetched_s)}{tag}, SHA-256 {record.sha256}"


def print_feeds(configuration_path: Path) -> int:
    """Print every feed of a configuration. Returns 1 when the last fetch of one was refused, or one was never fetched."""
    feeds = find_feeds(load_configuration(configuration_path))
    _check_rights(feeds)
    table = Table()
    for title in ("feed", "category", "entries", "fetched", "checked", "state"):
        table.add_column(title, overflow="fold")
    status = 0
    for feed in feeds:
        record = read_record(feed)
        state = _word_state(feed, record)
        status |= int(state.style == "red")
        categories = ", ".join(dict.fromkeys(source.category for source in feed.sources))
        times = (_word_time(moment_s) for moment_s in (record.fetched_s, record.checked_s))
        table.add_row(Text(feed.shown), categories, f"{record.entries:,}", *times, state)
    Console().print(table if feeds else "no list has a `url`")
    return status


def fetch_feeds(configuration_path: Path) -> int:
    """Fetch every feed now, for the next build. Returns 1 when one was refused."""
    feeds, status = find_feeds(load_configuration(configuration_path)), 0
    _check_rights(feeds)
    trial = Trial(f"fetch-{os.getpid()}")
    console = Console(highlight=False, soft_wrap=True)
    for feed in feeds:
        found = take_now(feed, trial)
        status |= int(found is None)
        if isinstance(found, Version):
            console.print(Text(f"{feed.shown}: {found.record.entries:,} entries"))
        elif found:
            console.print(Text(f"{feed.shown}: unchanged, {found.entries:,} entries"))
    trial.clear({feed.path.parent for feed in feeds})
    return status


def _check_rights(feeds: list[Feed]) -> None:
    for directory in {feed.path.parent for feed in feeds}:
        if directory.exists() and not os.access(directory, os.R_OK | os.X_OK):
            raise PenstockError(f"{directory}: is root's: run it as root")


def _word_state(feed: Feed, record: Record) -> Text:
    if record.refused:
        return Text(f"refused {_word_time(record.refused_s)}: {record.refused}", "red")
    if not feed.path.exists():
        return Text("never fetched", "red")
    late_s = time.time() - record.checked_s - 2 * feed.terms.every_s
    return (
        Text("nobody has looked for a newer one for long", "red")
        if late_s > 0
        else Text("as the server has it", "green")
    )


def _word_time(moment_s: float) -> str:
    return f"{datetime.fromtimestamp(moment_s):%Y-%m-%d %H:%M:%S}" if moment_s else "never"

"""`penstock report`: what services on trial would have refused, and what the others refused, from the log of events.

It reads lines, one after the other, and keeps counts: who asked, and for what, is printed of the most frequent hosts alone.
"""

import gzip
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from penstock.errors import PenstockError

HOSTS_KEPT = 100_000  # different hosts of one row; requests for further ones are counted without a name
SHOWN = 3
COMPRESSED = b"\x1f\x8b"
REFUSING = frozenset(("block", "redirect", "empty", "warn", "rewrite"))


class ReportError(PenstockError):
    """There is nothing to report; the text says why."""


@dataclass
class Row:
    """What one service does, or would do, because of one category."""

    requests: int = 0
    overridden: int = 0
    """Those of subscribers who went on behind a warning."""
    subscribers: set[str] = field(default_factory=set)
    hosts: Counter[str] = field(default_factory=Counter)

    def add(self, event: dict[str, Any]) -> None:
        """One more request."""
        self.requests += 1
        self.overridden += int(bool(event.get("overridden")))
        self.subscribers.add(str(event.get("subscriber")))
        host = str(event.get("host"))
        if host in self.hosts or len(self.hosts) < HOSTS_KEPT:
            self.hosts[host] += 1


Key = tuple[bool, str, str, str]
"""Is it a trial; service, category, action."""


@dataclass
class Report:
    """The counts of a log."""

    rows: dict[Key, Row] = field(default_factory=dict)
    requests: int = 0
    first: str = ""
    last: str = ""
    unread: int = 0
    """Lines that are no events."""

    def add(self, event: dict[str, Any]) -> None:
        """Count one event."""
        if "action" not in event or "host" not in event:
            return  # of a cause, not of a request
        self.requests += 1
        stamp = str(event.get("timestamp", ""))
        self.first, self.last = self.first or stamp, stamp
        action, would = str(event["action"]), event.get("would")
        if would is None and action not in REFUSING:
            return
        service = str(event.get("service") or event.get("reason") or "")
        key = (would is not None, service, str(event.get("category") or ""), str(would or action))
        self.rows.setdefault(key, Row()).add(event)


def count_events(lines: Iterable[str]) -> Report:
    """Read a log, line by line."""
    report = Report()
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            report.unread += 1
            continue
        if isinstance(event, dict):
            report.add(event)
        else:
            report.unread += 1
    return report


@contextmanager
def open_log(path: Path) -> Iterator[Iterable[str]]:
    """The lines of a log, plain or compressed; `-` is standard input. Raises ReportError."""
    try:
        if str(path) == "-":
            yield sys.stdin
            return
        with path.open("rb") as file:
            is_compressed = file.read(2) == COMPRESSED
        read = gzip.open if is_compressed else open
        with read(path, "rt", errors="replace") as text:
            yield text
    except (OSError, EOFError) as error:
        raise ReportError(f"{path}: {getattr(error, 'strerror', None) or error}") from None


def print_report(paths: list[Path]) -> None:
    """Print the report of some logs. Raises ReportError."""
    report = Report()
    for path in paths:
        with open_log(path) as lines:
            found = count_events(lines)
        report = merge(report, found)
    if report.requests == 0:
        raise ReportError(f"no requests in {', '.join(map(str, paths))}: {report.unread:,} lines are no events")
    console = Console()
    for is_trial, title in ((True, "would have been refused: trials"), (False, "refused")):
        console.print(render(report, is_trial, title))
    console.print(f"{report.requests:,} requests were written down, from {report.first} to {report.last}")
    if report.unread:
        console.print(f"{report.unread:,} lines are no events", style="yellow")


def merge(report: Report, other: Report) -> Report:
    """Both together; the other's log is the later one."""
    for key, row in other.rows.items():
        mine = report.rows.setdefault(key, Row())
        mine.requests += row.requests
        mine.overridden += row.overridden
        mine.subscribers |= row.subscribers
        mine.hosts += row.hosts
    report.requests += other.requests
    report.unread += other.unread
    report.first, report.last = report.first or other.first, other.last or report.last
    return report


def render(report: Report, is_trial: bool, title: str) -> Table:
    """One half of the report as a table, the most frequent first."""
    table = Table("service", "category", "action", "requests", "went on", "subscribers", "above all", title=title)
    rows = [(key, row) for key, row in report.rows.items() if key[0] == is_trial]
    for (_, service, category, action), row in sorted(rows, key=lambda found: -found[1].requests):
        most = ", ".join(f"{host} ({count:,})" for host, count in row.hosts.most_common(SHOWN))
        share = f"{row.requests:,} ({row.requests / report.requests:.1%})"
        gone_on = f"{row.overridden:,}" if row.overridden else ""
        table.add_row(Text(service), Text(category), action, share, gone_on, f"{len(row.subscribers):,}", Text(most))
    return table

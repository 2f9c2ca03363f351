"""The figures as a table, as JSON and as Markdown.

Knows which quantities are ratios and which are differences, and their aims. Refuses to know how they were measured.
"""

import json
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.arms import AGAIN, BEFORE, BRIDGE, DIRECT, PENSTOCK
from bench.rounds import Estimate, Figures, compare, subtract
from bench.verdict import LAST_US, VerdictTime


@dataclass(frozen=True)
class Quantity:
    """One row: where its figures are, what they count, and what is asked of Penstock beside the bridge."""

    load: str
    key: str
    title: str
    unit: str
    aim: str
    differs: bool = False  # compared by difference, not by ratio


QUANTITIES = (
    Quantity("http", "connections", "new HTTP connections", "1/s", "≥ 1.00"),
    Quantity("tls", "connections", "new TLS connections", "1/s", "≥ 1.00"),
    Quantity("bulk", "gbit_s", "bulk transfer", "Gbit/s", "≥ 1.00"),
    Quantity("pace", "request_p50", "small request at 30 % load, p50", "µs", "≤ +25 µs", differs=True),
    Quantity("pace", "request_p99", "small request at 30 % load, p99", "µs", "", differs=True),
    Quantity("pace", "whole_p50", "connection and request at 30 % load, p50", "µs", "", differs=True),
    Quantity("pace", "whole_p99", "connection and request at 30 % load, p99", "µs", "", differs=True),
    Quantity("http", "cpu_us", "CPU of the machine for an HTTP connection", "µs", ""),
    Quantity("tls", "cpu_us", "CPU of the machine for a TLS connection", "µs", ""),
)
COMPARED = ((PENSTOCK, BRIDGE), (PENSTOCK, DIRECT), (AGAIN, BRIDGE), (PENSTOCK, BEFORE))
HEADS = (
    "",
    "Penstock",
    "bridge",
    "direct",
    "Penstock / bridge",
    "Penstock / direct",
    "bridge / bridge (A/A)",
    "Penstock / before",
    "aim",
)
NOT_MEASURED = "-"
TIME_HEADS = ("verdict's own time under", "packets", "p50, µs (aim 15)", "p99, µs (aim 60)")

Results = dict[str, dict[str, Figures]]  # load → quantity → arm → figures


def build_rows(results: Results) -> list[list[str]]:
    """One row of text for each quantity that was measured."""
    rows = []
    for quantity in QUANTITIES:
        figures = results.get(quantity.load, {}).get(quantity.key)
        if figures:
            medians = [f"{statistics.median(figures[arm]):,.{_digits(figures)}f}" for arm in (PENSTOCK, BRIDGE, DIRECT)]
            compared = [
                _say(_judge(quantity, figures, arm, base), quantity) if {arm, base} <= set(figures) else NOT_MEASURED
                for arm, base in COMPARED
            ]
            rows.append([f"{quantity.title}, {quantity.unit}", *medians, *compared, quantity.aim])
    return rows


def print_table(console: Console, results: Results) -> None:
    """The rows as a rich table."""
    table = Table(title="Medians; ratios and differences with their 95 % intervals")
    for head in HEADS:
        table.add_column(head, justify="left" if head in ("", "aim") else "right")
    for row in build_rows(results):
        table.add_row(*row)
    console.print(table)


def build_time_rows(times: dict[str, VerdictTime]) -> list[list[str]]:
    """One row of text for each load: how long the packets took that went up."""
    return [[load, f"{time.packets:,}", _say_us(time.p50_us), _say_us(time.p99_us)] for load, time in times.items()]


def print_times(console: Console, times: dict[str, VerdictTime]) -> None:
    """The verdict's own time as a rich table."""
    table = Table(title="From the ring record to the packet sent, by the box's own histogram")
    for head in TIME_HEADS:
        table.add_column(head, justify="left" if head == TIME_HEADS[0] else "right")
    for row in build_time_rows(times):
        table.add_row(*row)
    console.print(table)


def write_files(
    directory: Path, results: Results, times: dict[str, VerdictTime], context: dict[str, object]
) -> tuple[Path, Path]:
    """Every figure as JSON, and the table as Markdown; both paths."""
    directory.mkdir(parents=True, exist_ok=True)
    whole, table = directory / "bench.json", directory / "bench.md"
    compared = {
        f"{quantity.load}.{quantity.key}": {
            f"{arm} {'-' if quantity.differs else '/'} {base}": asdict(_judge(quantity, figures, arm, base))
            for arm, base in COMPARED
            if {arm, base} <= set(figures)
        }
        for quantity in QUANTITIES
        if (figures := results.get(quantity.load, {}).get(quantity.key))
    }
    spent = {load: asdict(time) for load, time in times.items()}
    content = {"context": context, "compared": compared, "verdict_time": spent, "figures": results}
    whole.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    lines = ["| " + " | ".join(HEADS) + " |", "|---|" + "---:|" * (len(HEADS) - 2) + "---|"]
    lines += ["| " + " | ".join(row) + " |" for row in build_rows(results)]
    lines += ["", "| " + " | ".join(TIME_HEADS) + " |", "|---|" + "---:|" * (len(TIME_HEADS) - 1)]
    lines += ["| " + " | ".join(row) + " |" for row in build_time_rows(times)]
    table.write_text("\n".join(lines) + "\n")
    return whole, table


def _judge(quantity: Quantity, figures: Figures, arm: str, base: str) -> Estimate:
    return subtract(figures, arm, base) if quantity.differs else compare(figures, arm, base)


def _say(found: Estimate, quantity: Quantity) -> str:
    if quantity.differs:
        return f"{found.median:+.0f} ({found.low:+.0f} … {found.high:+.0f})"
    return f"{found.median:.2f} ({found.low:.2f} … {found.high:.2f})"


def _say_us(us: float) -> str:
    return f"{us:.1f}" if us <= LAST_US else f"over {LAST_US}"


def _digits(figures: Figures) -> int:
    return 0 if statistics.median(figures[BRIDGE]) >= 100 else 1

"""`penstock lists build`: the names database, with a progress bar, and every line that was skipped."""

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from penstock.control.configuration import load_configuration
from penstock.control.lists.build import SourceReport, build_names


def word_not_taken(source: SourceReport) -> str:
    """What of a list is not honoured, the most frequent reason first."""
    reasons = sorted(source.not_taken.items(), key=lambda item: -item[1])
    listed = ", ".join(f"{count:,} with {reason}" for reason, count in reasons)
    return f"{source.path}: of {source.entries + sum(source.not_taken.values()):,} entries not taken: {listed}"


def build_with_progress(configuration_path: Path) -> None:
    """Build, and report on standard error what was taken and what was skipped."""
    configuration = load_configuration(configuration_path)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("lists", total=None)

        def show(what: str, done_bytes: int, total_bytes: int) -> None:
            progress.update(task, description=Path(what).name, completed=done_bytes, total=total_bytes)

        report = build_names(configuration, show)
    for skipped in report.skipped_lines:
        console.print(f"{skipped}: skipped", markup=False, highlight=False, soft_wrap=True)
    more = report.skipped + report.not_taken - len(report.skipped_lines)
    if more > 0:
        console.print(f"... and {more:,} more lines skipped")
    for source in report.sources:
        if source.not_taken:
            console.print(word_not_taken(source), markup=False, highlight=False, soft_wrap=True)
    addresses = f" and {report.urls:,} web addresses" if report.urls else ""
    console.print(
        f"{report.database}: {report.names:,} names{addresses} of {report.entries:,} entries in {len(report.sources)} "
        f"lists, {report.size_bytes:,} bytes, {report.elapsed_s:.1f} s",
        markup=False,
        soft_wrap=True,
    )

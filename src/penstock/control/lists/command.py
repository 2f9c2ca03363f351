"""`penstock lists build`: the names database, with a progress bar, and every line that was skipped."""

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from penstock.control.configuration import load_configuration
from penstock.control.lists.build import build_names


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
        console.print(f"{skipped.path}:{skipped.line}: {skipped.reason}: skipped", markup=False, highlight=False)
    if report.skipped > len(report.skipped_lines):
        console.print(f"... and {report.skipped - len(report.skipped_lines):,} more lines skipped")
    console.print(
        f"{report.database}: {report.names:,} names of {report.entries:,} entries in {len(report.sources)} lists, "
        f"{report.size_bytes:,} bytes, {report.elapsed_s:.1f} s",
        markup=False,
        soft_wrap=True,
    )

"""The commands `penstock policy show` and `penstock policy test`, as text on a terminal."""

from pathlib import Path
from typing import Any

from rich.console import Console

from penstock.control.hooks.settings import PolicySettings
from penstock.control.hooks.sources import Sources
from penstock.control.hooks.trial import read_declarations, read_recording, run_recording
from penstock.hooks.project import SUBSCRIBER


def show_project(project: Path) -> None:
    """Which hooks there are, what reaches them, and where they stand. Raises ProjectError."""
    for hook in read_declarations(PolicySettings(project=project)):
        declared = "" if hook.kind == SUBSCRIBER else f" ({hook.filter})"
        print(f"{hook.place}: @{hook.kind}{declared} {hook.name}")


def try_project(project: Path, recording: Path, budget_ms: int, memory_mb: int) -> int:
    """Ask the project about recorded requests. Returns the exit status. Raises ProjectError."""
    settings = PolicySettings(project=project, budget_ms=budget_ms, memory_mb=memory_mb, workers=1)
    console, errors = Console(highlight=False, markup=False, soft_wrap=True), Console(stderr=True, markup=False)

    def warn(event: str, **fields: Any) -> None:
        traceback = fields.pop("traceback", "")
        errors.print(event, *(f"{name}={value}" for name, value in fields.items()), soft_wrap=True, highlight=False)
        if traceback:
            errors.print(traceback.rstrip(), soft_wrap=True, highlight=False)

    return run_recording(settings, Sources.read(project), read_recording(recording), console.print, warn)

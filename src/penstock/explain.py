"""`penstock explain`: what would happen to a request, by the judge that runs on the path."""

import tempfile
from pathlib import Path

from rich.console import Console

from penstock.control.configuration import load_configuration
from penstock.control.explain import explain, render
from penstock.control.lists.build import build_names
from penstock.control.snapshot import build_snapshot
from penstock.policy.snapshot import Snapshot


def explain_target(target: str, subscriber: str, configuration_path: Path) -> None:
    """Print the decision for a name or URL, and the rule, list and category behind it."""
    configuration = load_configuration(configuration_path)
    if not configuration.database.exists():
        build_names(configuration)
    with tempfile.TemporaryDirectory(prefix="penstock-explain-") as directory:
        snapshot = Snapshot.open(build_snapshot(configuration, configuration.database, 1, Path(directory)))
        Console().print(render(explain(configuration, snapshot, target, subscriber)))
        snapshot.close()

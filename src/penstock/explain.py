"""`penstock explain`: what would happen to a request, by the judge that runs on the path."""

import tempfile
from pathlib import Path

from rich.console import Console

from penstock.control.configuration import Configuration, load_configuration
from penstock.control.explain import ExplainError, explain, render
from penstock.control.lists.build import build_names
from penstock.control.problems import suggest_name
from penstock.control.snapshot import build_snapshot
from penstock.control.subscribers.known import KnownSubscribers
from penstock.policy.snapshot import Snapshot


def explain_target(target: str, subscriber: str, configuration_path: Path) -> None:
    """Print the decision for a name or URL, and the rule, list and category behind it."""
    configuration = load_configuration(configuration_path)
    if not configuration.database.exists():
        build_names(configuration)
    with tempfile.TemporaryDirectory(prefix="penstock-explain-") as directory:
        snapshot = Snapshot.open(build_snapshot(configuration, configuration.database, 1, Path(directory)))
        profile = find_profile(configuration, subscriber)
        Console().print(render(explain(configuration, snapshot, target, subscriber, profile)))
        snapshot.close()


def find_profile(configuration: Configuration, subscriber: str) -> str:
    """The profile of a subscriber: what the register says, where there is one, else the configuration alone.

    Raises ExplainError for one who is unknown or has none, StoreError.
    """
    configured = {one.id: one.profile for one in configuration.subscribers}
    database, known, profile = configuration.subscriber_register.database, None, configured.get(subscriber)
    if database.exists():
        with KnownSubscribers(database) as register:
            known = register.find_subscriber(subscriber)
            if known is not None:
                changes = register.find_profile_changes([known.number], configuration)
                profile = changes.get(known.number, known.line.profile)
    if known is None and profile is None:
        raise ExplainError(f"there is no subscriber `{subscriber}`: {suggest_name(subscriber, configured)}")
    if profile is None:
        raise ExplainError(f"`{subscriber}` has no profile: what he asks for is not read")
    return profile

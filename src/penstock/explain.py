"""`penstock explain`: what would happen to a request, by the judge that runs on the path."""

import tempfile
from pathlib import Path

from rich.console import Console

from penstock.control.configuration import Configuration, load_configuration
from penstock.control.explain import Chosen, ExplainError, explain, render
from penstock.control.lists.build import build_names
from penstock.control.problems import suggest_name
from penstock.control.snapshot import build_snapshot
from penstock.control.subscribers.known import KnownSubscribers
from penstock.control.subscribers.outlet import ACTIONS, resolve_line
from penstock.policy.snapshot import Snapshot


def explain_target(target: str, subscriber: str, configuration_path: Path) -> None:
    """Print the decision for a name or URL, and the rule, list and category behind it."""
    configuration = load_configuration(configuration_path)
    if not configuration.database.exists():
        build_names(configuration)
    with tempfile.TemporaryDirectory(prefix="penstock-explain-") as directory:
        snapshot = Snapshot.open(build_snapshot(configuration, configuration.database, 1, Path(directory)))
        profile, chosen = find_chosen(configuration, subscriber)
        Console().print(render(explain(configuration, snapshot, target, subscriber, profile, chosen)))
        snapshot.close()


def find_chosen(configuration: Configuration, subscriber: str) -> tuple[str, Chosen]:
    """The profile of a subscriber, and what holds for him now: by the register, where there is one, else the configuration.

    Raises ExplainError for one who is unknown or for whom nothing holds, StoreError.
    """
    configured = {one.id: one.profile for one in configuration.subscribers}
    database, line, names = configuration.subscriber_register.database, None, {}
    if database.exists():
        with KnownSubscribers(database) as register:
            known = register.find_subscriber(subscriber)
            holding = register.find_holding(known.number, configuration) if known else None
        if holding is not None:
            line, names = holding.line, {name: ACTIONS[said] for name, said in holding.names.items()}
    if line is None and subscriber not in configured:
        raise ExplainError(f"there is no subscriber `{subscriber}`: {suggest_name(subscriber, configured)}")
    if line is None:
        profile = configured[subscriber]
        return profile, Chosen(*configuration.resolve_profile(profile))
    services, switches = resolve_line(configuration, line)
    if line.profile is None and not switches and not configuration.court_orders.categories:
        raise ExplainError(f"`{subscriber}` has no profile and chose nothing: what he asks for is not read")
    return line.profile or "none", Chosen(services, switches, names)

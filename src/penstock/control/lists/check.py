"""`penstock lists check`: what a reload would refuse of the last hour's requests, without reloading anything."""

import os
import tempfile
from pathlib import Path

from rich.console import Console

from penstock.control.configuration import load_configuration
from penstock.control.guard import find_change
from penstock.control.guard_report import render_finding
from penstock.control.last_hour import read_last_hours
from penstock.control.lists.build import build_names
from penstock.control.service_bits import read_services
from penstock.control.snapshot import build_snapshot
from penstock.control.subscribers.owners import RegisteredOwners
from penstock.errors import PenstockError
from penstock.policy.snapshot import Snapshot


def check_lists(configuration_path: Path, ingress: str | None) -> int:
    """Print it for every `run` in this network namespace (or for the one with this ingress).

    Returns 1 when one of them would not take the change, else 0. Raises PenstockError without any, and for mistakes.
    """
    configuration, status = read_services(load_configuration(configuration_path)), 0
    runs = [(process, hour) for process, hour in read_last_hours() if "snapshot" in hour.note]
    runs = [(process, hour) for process, hour in runs if ingress in (None, hour.note["ingress"])]
    if not runs:
        raise PenstockError("no `penstock run` here whose last hour could be read: as root, in its network namespace?")
    with tempfile.TemporaryDirectory(prefix="penstock-check-") as name:
        directory = Path(name)
        trial = configuration.model_copy(update={"database": directory / "names.db"})
        build_names(trial)
        new = Snapshot.open(build_snapshot(trial, trial.database, 1, directory))
        for process, hour in runs:
            old = open_snapshot(process, hour.note["snapshot"])
            owners = RegisteredOwners(configuration.subscriber_register.database)
            moves = owners.find_moves(configuration, hour.find_subscribers())
            owners.close()
            finding = find_change(hour, old, new, moves)
            old.close()
            Console().print(hour.note["pair"], render_finding(finding, configuration), sep="\n")
            status |= int(finding.is_too_much(configuration))
        new.close()
    return status


def open_snapshot(process: Path, numbers: tuple[int, int]) -> Snapshot:
    """What is in force in another process: its snapshot and names database, by its descriptors of them."""
    try:
        policy, database = (os.open(process / "fd" / str(number), os.O_RDONLY | os.O_CLOEXEC) for number in numbers)
    except OSError:
        raise PenstockError(f"{process.name}: took another snapshot, or ended, just now: ask again") from None
    return Snapshot.open(Path(f"the snapshot in force in process {process.name}"), (policy, database))

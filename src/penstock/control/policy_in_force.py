"""What one `run` judges by: configuration, names, the addresses that SafeSearch leads to, and the snapshot made of them.

    hold ──► open ──┬── reload: all of it anew, unless it is wrong or would refuse too much
                    └── renew: SafeSearch leads elsewhere, the rest as it was

Whatever fails leaves in force what was, and is logged. It refuses to know who takes a snapshot, and how.
"""

import threading
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import structlog

from penstock.control.configuration import Configuration, load_configuration
from penstock.control.guard import Guard, GuardError
from penstock.control.lists.build import build_names
from penstock.control.lists.in_force import NamesInForce
from penstock.control.lists.names_file import is_current
from penstock.control.safe_search import Addresses, find_targets
from penstock.control.snapshot import seal_snapshot
from penstock.errors import PenstockError
from penstock.policy.snapshot import Snapshot

TARGETS_S = 1800.0  # between look-ups of what SafeSearch leads to
FIXED = ("log", "metrics", "flows", "workers")  # settings that a reload does not change
FIXED_OF_REGISTER = ("database", "capacity", "addresses")

log = structlog.get_logger()

Take = Callable[[], None]
"""Has whoever judges take what is in force now; called while the snapshot before is still there."""
FindMoves = Callable[[Configuration, Collection[int]], Mapping[int, int]]
"""Which of these subscribers, by number, get another profile by a configuration: its tag."""


class PolicyInForce:
    """The policy of one `run`. `names` from `hold` on, `snapshot` from `open` on."""

    def __init__(self, path: Path, configuration: Configuration, guard: Guard) -> None:
        self.path, self.configuration, self.guard = path, configuration, guard
        self.names: NamesInForce | None = None
        self.targets: Addresses = {}
        self.generation = 0
        self.snapshot: Snapshot
        self._found: tuple[Configuration, Addresses] | None = None
        guard.follow(configuration)

    def hold(self, label: str, abandoned: str | None) -> None:
        """Hold the names database, built where there is none of this version, under a name of `label`. One of `abandoned`,
        of a run that was killed, goes."""
        database = self.configuration.database
        if not is_current(database):
            build_names(self.configuration)
        if abandoned:
            NamesInForce(database, abandoned).release()
        self.names = NamesInForce(database, label)

    def open(self, **note: str) -> None:
        """Make the first snapshot. `note`: what else to tell who looks at the last hour. Raises PenstockError, OSError."""
        assert self.names is not None
        self.targets = find_targets(self.configuration)
        self.snapshot = self._build(self.configuration, self.names.path, self.targets)
        self.guard.last_hour.set_note(snapshot=self.snapshot.descriptors, **note)

    def release(self) -> None:
        """Give up the name of the names database; what is mapped stays mapped."""
        if self.names is not None:
            self.names.release()

    # ---- changes ------------------------------------------------------------------------------------------------------
    def reload(self, take: Take, find_moves: FindMoves) -> None:
        """Configuration and lists again. What is wrong, or would refuse too much, changes nothing and is logged."""
        assert self.names is not None
        try:
            configuration = load_configuration(self.path)
            targets = find_targets(configuration)
            with self.names.build(configuration) as candidate:
                snapshot = self._build(configuration, candidate, targets)
                self._check(snapshot, configuration, find_moves(configuration, self.guard.last_hour.find_subscribers()))
                self.names.take(candidate, configuration.database)
        except (PenstockError, OSError) as error:
            log.error("not reloaded: what was in force stays", error=str(error))
            return
        self.configuration = self._keep_fixed(configuration)
        self.guard.follow(configuration)
        self._replace(snapshot, targets, take)
        log.info("reloaded", generation=snapshot.generation, names=snapshot.name_count)

    def _keep_fixed(self, configuration: Configuration) -> Configuration:
        """The configuration with the settings in force that no reload changes; which of them it would change is logged."""
        old, of_old, of_new = (
            self.configuration,
            self.configuration.subscriber_register,
            configuration.subscriber_register,
        )
        fixed: dict[str, Any] = {name: getattr(old, name) for name in FIXED}
        of_register = {name: getattr(of_old, name) for name in FIXED_OF_REGISTER}
        changed = [name for name in FIXED if getattr(configuration, name) != fixed[name]]
        changed += [f"register.{name}" for name, value in of_register.items() if getattr(of_new, name) != value]
        if changed:
            log.warning("these settings change at the next start only", settings=changed)
        return configuration.model_copy(update=fixed | {"subscriber_register": of_new.model_copy(update=of_register)})

    def renew(self, take: Take) -> None:
        """Take the addresses that the watch found, if it found others."""
        found, self._found = self._found, None
        if found is None or found[0] is not self.configuration:
            return
        assert self.names is not None
        try:
            snapshot = self._build(self.configuration, self.names.path, found[1])
        except (PenstockError, OSError) as error:
            log.error("the addresses that SafeSearch leads to stay as they were", error=str(error))
            return
        self._replace(snapshot, found[1], take)

    def watch_targets(self) -> None:
        """Look now and then for what `renew` takes, from a thread of its own: a resolver may be slow."""
        threading.Thread(target=self._watch_targets, daemon=True).start()

    def _watch_targets(self) -> None:
        while True:
            time.sleep(TARGETS_S)
            self.look_for_targets()

    def look_for_targets(self) -> None:
        """Ask where SafeSearch leads to."""
        configuration = self.configuration
        try:
            found = find_targets(configuration)
        except PenstockError as error:
            log.warning("the addresses that SafeSearch leads to stay as they were", error=str(error))
            return
        if found != self.targets:
            self._found = configuration, found

    # ---- snapshots ----------------------------------------------------------------------------------------------------
    def _build(self, configuration: Configuration, names_path: Path, targets: Addresses) -> Snapshot:
        self.generation += 1
        number = seal_snapshot(configuration, names_path, self.generation, targets)
        return Snapshot.open(Path(f"snapshot {self.generation}"), (number, None))

    def _check(self, snapshot: Snapshot, configuration: Configuration, moves: Mapping[int, int]) -> None:
        """Raise GuardError, and give the snapshot up, when it would refuse too much."""
        self.guard.drain(time.monotonic())
        try:
            self.guard.check(self.snapshot, snapshot, configuration, moves)
        except GuardError:
            snapshot.close()
            raise

    def _replace(self, snapshot: Snapshot, targets: Addresses, take: Take) -> None:
        """Have a snapshot in force, and give up the one before."""
        old, self.snapshot, self.targets = self.snapshot, snapshot, targets
        self.guard.last_hour.set_note(snapshot=snapshot.descriptors)
        take()
        old.close()

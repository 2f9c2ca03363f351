"""What one `run` judges by: configuration, names, the addresses that SafeSearch leads to, and the snapshot made of them.

    hold ──► open ──► renew, again and again ──┬── reload was asked for: all of it anew
                                               ├── feeds have new versions: names anew, the rest as it was
                                               ├── SafeSearch leads elsewhere: the rest as it was
               └── hooks have other filters: the rest as it was

Names are built by another process while packets' events are read here; what is done in `renew` takes milliseconds. What is
wrong, or would refuse too much, leaves in force what was, and is logged. It refuses to know who takes a snapshot, and how.
"""

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import structlog

from penstock.control.configuration import Configuration, load_configuration
from penstock.control.guard import Guard, GuardError, word_finding
from penstock.control.lists.builder import build_apart
from penstock.control.lists.feeds import Batch, FeedsInForce, fetch_missing, leave_out_unfetched
from penstock.control.lists.in_force import NamesInForce
from penstock.control.lists.names_file import NamesError, is_current
from penstock.control.preparation import FindMoves, FindTargets, Preparation, Preparations
from penstock.control.safe_search import Addresses, find_targets
from penstock.control.service_bits import place_services
from penstock.control.snapshot import seal_snapshot
from penstock.errors import PenstockError
from penstock.hooks.filters import Filter
from penstock.policy.snapshot import Snapshot

TARGETS_S = 1800.0  # between look-ups of what SafeSearch leads to
FIXED = ("log", "metrics", "api", "flows", "workers")  # settings that a reload does not change
FIXED_OF_REGISTER = ("database", "capacity", "addresses", "own_names")

log = structlog.get_logger()

NOT_RELOADED = "not reloaded: what was in force stays"

Take = Callable[[], None]
"""Has whoever judges take what is in force now; called while the snapshot before is still there."""


class PolicyInForce:
    """The policy of one `run`. `names` from `hold` on, `snapshot` from `open` on."""

    def __init__(self, path: Path, configuration: Configuration, guard: Guard) -> None:
        self.path, self.configuration, self.guard = path, configuration, guard
        self.names: NamesInForce | None = None
        self.targets: Addresses = {}
        self.generation = 0
        self.snapshot: Snapshot
        self._found: tuple[Configuration, Addresses] | None = None
        self._filters: tuple[Filter, ...] = ()
        self._tried_filters: tuple[Filter, ...] = ()
        self._next_filters: tuple[Filter, ...] | None = None
        self._preparations = Preparations()
        self._asked: FindMoves | None = None
        self.feeds = FeedsInForce()
        guard.follow(configuration)

    def hold(self, label: str, abandoned: str | None) -> None:
        """Hold the names database, built where there is none of this version, under a name of `label`. One of `abandoned`,
        of a run that was killed, goes."""
        database = self.configuration.database
        self.feeds = FeedsInForce(label)
        if not is_current(database):
            fetch_missing(self.configuration, self.feeds.trial)
            build_apart(leave_out_unfetched(self.configuration, (), ()), database, {})
        if abandoned:
            NamesInForce(database, abandoned).release()
        self.names = NamesInForce(database, label)

    def open(self, **note: str) -> None:
        """Make the first snapshot. `note`: what else to tell who looks at the last hour. Raises PenstockError, OSError."""
        assert self.names is not None
        self.targets = find_targets(self.configuration)
        self.snapshot = self._build(self.configuration, self.names.path, self.targets)
        self.guard.last_hour.set_note(snapshot=self.snapshot.descriptors, **note)
        self.feeds.follow(self.configuration)
        self.feeds.compare(self.snapshot.names_metadata["sources"])

    def release(self) -> None:
        """Give up the name of the names database; what is mapped stays mapped."""
        if self.names is not None:
            self.names.release()

    # ---- changes ------------------------------------------------------------------------------------------------------
    def reload(self, find_moves: FindMoves) -> None:
        """Have configuration and lists read again, by the next `renew`s."""
        self._asked = find_moves

    def ask_about(self, filters: tuple[Filter, ...]) -> None:
        """Have hooks asked about what matches these, by the next `renew`; none: nobody is asked."""
        self._next_filters = filters if filters != self._tried_filters else None

    @property
    def is_busy(self) -> bool:
        """Is a change under way that was asked for?"""
        return self._asked is not None or self._preparations.is_busy

    def renew(self, take: Take) -> None:
        """Go on with what is under way, and take what is ready. Never waits."""
        done = self._preparations.finish()
        if done:
            self._try(done, take)
        self._renew_targets(take)
        self._renew_filters(take)
        if not self._preparations.is_busy:
            self._begin()

    def _begin(self) -> None:
        """Begin what is to be done next, if anything is."""
        if self._asked:
            find_moves, self._asked = self._asked, None
            try:
                self._prepare(place_services(load_configuration(self.path)), None, find_targets, find_moves)
            except (PenstockError, OSError) as error:
                log.error(NOT_RELOADED, error=str(error))
            return
        batch, targets = self.feeds.batch(), self.targets
        if batch is None:
            return
        try:
            self._prepare(self.configuration, batch, lambda _: targets, lambda *_: {})
        except (PenstockError, OSError) as error:
            self._refuse(batch, str(error))

    def _prepare(
        self, configuration: Configuration, batch: Batch | None, find: FindTargets, find_moves: FindMoves
    ) -> None:
        assert self.names is not None
        in_force = [Path(source["path"]) for source in self.snapshot.names_metadata["sources"]]
        built = leave_out_unfetched(configuration, in_force, [version.feed.path for version in batch or ()])
        candidate = self.names.place_candidate(configuration.database)
        self._preparations.begin(Preparation(configuration, built, candidate, batch, find, find_moves))

    def _try(self, done: Preparation, take: Take) -> None:
        """Take what was prepared, unless something is wrong with it."""
        assert self.names is not None
        configuration, batch = done.configuration, done.batch
        try:
            with self.names.try_candidate(done.candidate):
                if done.targets is None or done.error:
                    raise NamesError(done.error)
                targets = done.targets if batch is None else self.targets
                snapshot = self._build(configuration, done.candidate, targets)
                moves = done.find_moves(configuration, self.guard.last_hour.find_subscribers())
                self._check(snapshot, configuration, moves)
                self.names.take(done.candidate, configuration.database)
        except GuardError as error:
            # Which lines they are is found by reading the lists, so elsewhere.
            threading.Thread(target=self._tell_held, args=(done, error), daemon=True).start()
            if batch:
                self.feeds.refused(batch, str(error), is_shared=True)
            return
        except (PenstockError, OSError) as error:
            self._refuse(batch, str(error))
            return
        if batch is None:
            self.configuration = self._keep_fixed(configuration)
            self._tried_filters = self._filters  # what could not be taken may be now
            self.guard.follow(configuration)
            self.feeds.follow(self.configuration)
        self._replace(snapshot, targets, take)
        self.feeds.taken(batch or ())
        self.feeds.compare(snapshot.names_metadata["sources"])
        what = "reloaded" if batch is None else "lists taken"
        log.info(what, generation=snapshot.generation, names=snapshot.name_count)

    def _refuse(self, batch: Batch | None, reason: str) -> None:
        if batch is None:
            log.error(NOT_RELOADED, error=reason)
            return
        if not batch:
            log.error("newer lists are not taken: what was in force stays", error=reason)
        self.feeds.refused(batch, reason)

    def _tell_held(self, done: Preparation, error: GuardError) -> None:
        text = word_finding(error.finding, done.as_read)
        log.error(NOT_RELOADED if done.batch is None else "feeds not taken: what was in force stays", error=text)

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

    def _renew_targets(self, take: Take) -> None:
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

    def _renew_filters(self, take: Take) -> None:
        """Take the filters of hooks, if there are others."""
        wanted, self._next_filters = self._next_filters, None
        if wanted is None:
            return
        assert self.names is not None
        before, self._filters, self._tried_filters = self._filters, wanted, wanted
        try:
            snapshot = self._build(self.configuration, self.names.path, self.targets)
        except (PenstockError, OSError) as error:
            self._filters = before
            log.error("hooks are asked about what they were before", error=str(error))
            return
        self._replace(snapshot, self.targets, take)
        log.info("hooks are asked", filters=len(wanted), generation=snapshot.generation)

    def watch(self) -> None:
        """Fetch feeds, and look now and then where SafeSearch leads, from threads: a server may be slow."""
        self.feeds.start()
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
        number = seal_snapshot(configuration, names_path, self.generation, targets, self._filters)
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

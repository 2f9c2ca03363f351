"""The feeds of one `run`, each fetched when it is due, by a thread that mostly waits for other processes.

    due ──fetch──► a new version ──examine──► on trial ──► batch ──(built, judged by the guard, swapped: not here)──► taken
     ▲              │ nothing new               │ no list, lost half                                     └──► refused
     └──────────────┴───────────────────────────┴── and tried again, after a pause that grows

What is refused changes nothing: the version before stays in force, and on the disk. It does not know snapshots.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import structlog

from penstock.control.configuration import Configuration
from penstock.control.lists.builder import examine_version
from penstock.control.lists.feed_cache import (
    Feed,
    FeedError,
    Record,
    Trial,
    Version,
    find_feeds,
    read_record,
    refuse,
    take_version,
    write_record,
)
from penstock.control.lists.fetch import fetch_version
from penstock.errors import PenstockError

RETRY_S = 60.0  # after the first failure; twice as long after each further one, up to `every_s`
JITTER = 0.1  # of a time between fetches: not every box in the country at the same second
START_S = 60.0  # for all feeds that a first start waits for
OUTCOMES = ("taken", "unchanged", "refused")

log = structlog.get_logger()

Batch = tuple[Version, ...]
"""Versions that are built together; none of them, where the lists on the disk are newer than what is in force."""


@dataclass
class FeedState:
    """A feed as one `run` has it."""

    feed: Feed
    record: Record
    due_s: float  # of the clock of the wall
    is_on_trial: bool = False
    counts: Counter[str] = field(default_factory=Counter)


class FeedsInForce:
    """The feeds of one `run`: `follow` a configuration, `start`, and take a `batch` now and then."""

    def __init__(self, label: str = "") -> None:
        self.states: dict[str, FeedState] = {}
        self.trial = Trial(label)
        self._changed = threading.Condition()
        self._ready: list[Version] = []
        self._alone: list[Batch] = []
        self._to_write: list[Version] = []
        self._in_force: dict[str, int] = {}
        self._is_behind = False
        self._known_behind: set[tuple[Path, int]] = set()

    # ---- what the loop calls: nothing of it waits --------------------------------------------------------------------
    def follow(self, configuration: Configuration) -> None:
        """Fetch the feeds of this configuration from here on. What was refused is tried again at once."""
        with self._changed:
            before, self.states = self.states, {}
            for feed in find_feeds(configuration):
                state = before.get(feed.url)
                record = read_record(feed) if state is None else state.record
                is_same = state is not None and state.feed == feed
                due_s = state.due_s if state and is_same else _find_due(feed, record)
                due_s = 0.0 if record.refused else due_s
                self.states[feed.url] = FeedState(feed, record, due_s, counts=state.counts if state else Counter())
            self._ready = [version for version in self._ready if self._is_followed(version)]
            self._alone = [batch for batch in self._alone if all(map(self._is_followed, batch))]
            for version in (*self._ready, *(version for batch in self._alone for version in batch)):
                self.states[version.feed.url].is_on_trial = True
            self._changed.notify()

    def compare(self, sources: Iterable[Mapping[str, Any]]) -> None:
        """What a names database that came into force was built of: are there newer versions on the disk?"""
        with self._changed:
            self._in_force = {str(source["path"]): int(source["modified_ns"]) for source in sources}
            for state in self.states.values():
                self._look_behind(state.feed)

    def batch(self) -> Batch | None:
        """What is to be built now, if anything."""
        with self._changed:
            if self._alone:
                return self._alone.pop(0)
            if not self._ready and not self._is_behind:
                return None
            found, self._ready, self._is_behind = tuple(self._ready), [], False
            return found

    def taken(self, batch: Batch) -> None:
        """These versions are in force."""
        with self._changed:
            for version in batch:
                try:
                    take_version(version)
                except OSError as error:
                    log.error("a feed is in force, and not on the disk", url=version.feed.shown, error=error.strerror)
                    continue
                self._settle(version, version.record, "taken")
                self._to_write.append(version)
                log_taken(version)
            self._changed.notify()

    def refused(self, batch: Batch, reason: str, is_shared: bool = False) -> None:
        """These versions were not taken. `is_shared`: it may be one of them alone; then each is tried by itself."""
        with self._changed:
            if is_shared and len(batch) > 1:
                self._alone += [(version,) for version in batch]
                return
            for version in batch:
                state = self.states.get(version.feed.url)
                if state:
                    self._refuse(state, reason)
            self._changed.notify()

    # ---- the thread --------------------------------------------------------------------------------------------------
    def start(self) -> None:
        """Fetch what is due, from a thread of its own."""
        self.trial.clear({state.feed.path.parent for state in self.states.values()})
        threading.Thread(target=self._work, daemon=True, name="feeds").start()

    def _work(self) -> None:
        while True:
            self.write_taken()
            with self._changed:
                state = self._find_next()
                if state is None and not self._to_write:
                    self._changed.wait(self._find_pause())
            if state:
                self.attempt(state)

    def write_taken(self) -> None:
        """Write down what is known of the versions that were taken. It waits for the disk."""
        with self._changed:
            versions, self._to_write = self._to_write, []
        for version in versions:
            _write(version.feed, version.record)

    def _find_next(self) -> FeedState | None:
        now_s = time.time()
        due = [state for state in self.states.values() if state.due_s <= now_s and not state.is_on_trial]
        return min(due, key=lambda state: state.due_s, default=None)

    def _find_pause(self) -> float:
        dues = [state.due_s for state in self.states.values() if not state.is_on_trial]
        return min(max(min(dues, default=RETRY_S * 60) - time.time(), 0.0) + 0.01, RETRY_S * 60)

    def attempt(self, state: FeedState) -> None:
        """Fetch one feed, and have what is new on trial."""
        feed = state.feed
        try:
            found = fetch_new(feed, self.trial.place(feed))
        except (PenstockError, OSError) as error:
            with self._changed:
                state.record = read_record(feed)
                self._refuse(state, str(error))
            _write(feed, state.record)
            return
        with self._changed:
            if self.states.get(feed.url) is not state:
                return  # the configuration has changed meanwhile
            if isinstance(found, Version):
                state.is_on_trial = True
                self._ready.append(found)
                return
            self._settle_state(state, found, "unchanged")
            self._look_behind(feed)
        _write(feed, found)

    # ---- states ------------------------------------------------------------------------------------------------------
    def _is_followed(self, version: Version) -> bool:
        state = self.states.get(version.feed.url)
        return state is not None and state.feed == version.feed

    def _settle(self, version: Version, record: Record, outcome: str) -> None:
        self._in_force[str(version.feed.path)] = record.modified_ns
        if state := self.states.get(version.feed.url):
            self._settle_state(state, record, outcome)

    def _settle_state(self, state: FeedState, record: Record, outcome: str) -> None:
        state.record, state.is_on_trial = record, False
        state.counts[outcome] += 1
        state.due_s = _find_due(state.feed, record)

    def _refuse(self, state: FeedState, reason: str) -> None:
        self._settle_state(state, refuse(state.record, reason), "refused")
        log.error("feed refused: what was in force stays", url=state.feed.shown, reason=reason)

    def _look_behind(self, feed: Feed) -> None:
        """Did another process take a newer version, or was this one killed before a build?"""
        try:
            found = feed.path, feed.path.stat().st_mtime_ns
        except OSError:
            return
        if self._in_force.get(str(feed.path)) != found[1] and found not in self._known_behind:
            self._known_behind.add(found)
            self._is_behind = True


def fetch_new(feed: Feed, place: Path) -> Version | Record:
    """A new version that may be taken, at `place`; or what is known where there is none. Raises PenstockError, OSError."""
    found = fetch_version(feed, read_record(feed), place)
    if isinstance(found, Record):
        return found
    return replace(found, record=replace(found.record, counts=examine_version(found)))


def fetch_missing(configuration: Configuration, trial: Trial) -> None:
    """Fetch the feeds that were never fetched, for START_S at most, and take them: nothing is in force yet."""
    end_s = time.monotonic() + START_S
    for feed in find_feeds(configuration):
        left_s = int(end_s - time.monotonic())
        if feed.path.exists() or left_s < 1:
            continue
        hasty = feed.settings.model_copy(update={"timeout_s": min(feed.settings.timeout_s, left_s)})
        take_now(replace(feed, settings=hasty), trial)


def take_now(feed: Feed, trial: Trial) -> Version | Record | None:
    """Fetch a feed and take it without any build. None: it was refused, which is logged and written down."""
    try:
        found = fetch_new(feed, trial.place(feed))
        if isinstance(found, Version):
            take_version(found)
            log_taken(found)
        _write(feed, found.record if isinstance(found, Version) else found)
        return found
    except (PenstockError, OSError) as error:
        log.error("feed refused: what was in force stays", url=feed.shown, reason=str(error))
        _write(feed, refuse(read_record(feed), str(error)))
        return None


def leave_out_unfetched(
    configuration: Configuration, in_force: Iterable[Path], on_trial: Iterable[Path]
) -> Configuration:
    """A configuration without the feeds that never came. Raises FeedError for one that is in force and has gone: without it
    a build would take a list away that nobody meant to."""
    held, tried = set(in_force), set(on_trial)
    lists = []
    for source in configuration.lists:
        if source.url is None or source.path in tried or source.path.exists():
            lists.append(source)
        elif source.path in held:
            raise FeedError(f"{source.path}: it is in force, and has gone: `penstock lists fetch` brings it again")
    return configuration.model_copy(update={"lists": tuple(lists)})


def log_taken(version: Version) -> None:
    """Tell what a new version brings."""
    for counts in version.record.counts:
        log.info(
            "feed taken",
            url=version.feed.shown,
            category=counts.category,
            entries=counts.entries,
            added=counts.added,
            removed=counts.removed,
            bad_lines=counts.skipped,
            not_taken=counts.not_taken,
        )


def _find_due(feed: Feed, record: Record) -> float:
    spread = random.uniform(1 - JITTER, 1 + JITTER)
    if record.refused:
        pause_s = min(RETRY_S * 2 ** min(record.failures - 1, 20), feed.terms.every_s)
        return record.refused_s + pause_s * spread
    return record.checked_s + feed.terms.every_s * spread if record.checked_s else 0.0


def _write(feed: Feed, record: Record) -> None:
    try:
        write_record(feed, record)
    except OSError as error:
        log.error("a feed's record is not kept", url=feed.shown, error=error.strerror)

"""Fetched lists as they lie on the disk: the version in force, what is known of it, and a new version on trial.

    /var/lib/penstock/feeds/            0700
        NAME                            what was taken last, as it came
        NAME.json                       a Record: whence, when, ETag, digest, entries; and what was refused since
        LABEL.new/NAME                  of one `run`: fetched, and not taken yet

A version is taken by one rename; its record follows. A record that does not fit the list beside it (a crash between both)
says nothing of it: then the list is fetched without a condition. It does not know how lists are fetched, nor what they
hold.
"""

import json
import os
import shutil
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from penstock.control.configuration import Configuration
from penstock.control.lists.feed_settings import Feeds, show_url
from penstock.control.lists.settings import ListSource
from penstock.control.whole_file import write_whole
from penstock.errors import PenstockError


class FeedError(PenstockError):
    """A feed, or a version of it, is not taken; the text says why."""


@dataclass(frozen=True)
class Feed:
    """One address that is fetched, for one entry of `lists` or several."""

    url: str
    path: Path
    sources: tuple[ListSource, ...]
    settings: Feeds

    @property
    def terms(self) -> ListSource:
        """The conditions, which are alike in all entries."""
        return self.sources[0]

    @property
    def shown(self) -> str:
        return show_url(self.url)


@dataclass(frozen=True)
class Counts:
    """What one entry of `lists` finds in a version."""

    category: str
    member: str | None
    format: str
    entries: int
    added: int
    removed: int
    skipped: int
    not_taken: int


@dataclass(frozen=True)
class Record:
    """What is known of a feed. Times in seconds since 1970; 0: never."""

    url: str
    final_url: str = ""
    fetched_s: float = 0.0  # when the version in force came
    checked_s: float = 0.0  # when the server last said that it is the latest
    etag: str = ""
    last_modified: str = ""
    sha256: str = ""
    size_bytes: int = 0
    modified_ns: int = 0
    counts: tuple[Counts, ...] = ()
    refused_s: float = 0.0  # since then, if at all
    refused: str = ""
    failures: int = 0  # in a row

    @property
    def entries(self) -> int:
        return sum(counts.entries for counts in self.counts)


@dataclass(frozen=True)
class Version:
    """A version that was fetched."""

    feed: Feed
    place: Path
    record: Record = field(compare=False)


def find_feeds(configuration: Configuration) -> list[Feed]:
    """The feeds of a configuration."""
    by_url: dict[str, list[ListSource]] = {}
    for source in configuration.lists:
        if source.url is not None:
            by_url.setdefault(source.url, []).append(source)
    return [Feed(url, sources[0].path, tuple(sources), configuration.feeds) for url, sources in by_url.items()]


def read_record(feed: Feed) -> Record:
    """What is known of a feed; nothing, where that cannot be read or is of another list than the one that is there."""
    blank = Record(feed.url)
    try:
        said: dict[str, Any] = json.loads(_record_path(feed).read_bytes())
        counts = tuple(Counts(**of_source) for of_source in said.pop("counts"))
        record = Record(counts=counts, **said)
    except (OSError, ValueError, TypeError, KeyError):
        return blank
    try:
        status = feed.path.stat()
        is_its = (status.st_size, status.st_mtime_ns) == (record.size_bytes, record.modified_ns)
    except OSError:
        is_its = False
    if is_its and record.url == feed.url:
        return record
    return replace(blank, refused_s=record.refused_s, refused=record.refused, failures=record.failures)


def write_record(feed: Feed, record: Record) -> None:
    """Write it down. Raises OSError."""
    make_directory(feed.path.parent)
    write_whole(_record_path(feed), (json.dumps(asdict(record), indent=1).encode(),), 0o600)


def make_directory(path: Path) -> None:
    """A directory for root alone. Raises OSError."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


class Trial:
    """The place of new versions of one `run`."""

    def __init__(self, label: str) -> None:
        self._label = label

    def place(self, feed: Feed) -> Path:
        """Where a new version is put. Raises OSError."""
        directory = feed.path.parent / f"{self._label}.new"
        make_directory(feed.path.parent)  # by itself: parents that are made on the way are everybody's
        make_directory(directory)
        return directory / feed.path.name

    def clear(self, directories: Iterable[Path]) -> None:
        """Nothing is on trial any more."""
        for directory in directories:
            shutil.rmtree(directory / f"{self._label}.new", ignore_errors=True)


def take_version(version: Version) -> None:
    """It is in force from here on. Raises OSError."""
    os.replace(version.place, version.feed.path)


def refuse(record: Record, reason: str) -> Record:
    """The record of a feed of which an attempt came to nothing."""
    return replace(record, refused=reason, refused_s=time.time(), failures=record.failures + 1)


def _record_path(feed: Feed) -> Path:
    return feed.path.with_name(f"{feed.path.name}.json")

"""Building the names database from the lists of a configuration: `penstock lists build`.

A line that cannot be read, or not be honoured as it is meant, is reported and skipped. A list that cannot be read, or in
which no line can be, stops the build, and the old database stays: a server's error page in the place of a list must not
switch a service off.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from penstock.control.configuration import Configuration
from penstock.control.lists.entries import Entry, Line, NotTaken
from penstock.control.lists.feed_settings import show_url
from penstock.control.lists.names_file import (
    MARK,
    NOTHING,
    Hashes,
    NamesError,
    Said,
    hash_names,
    number_kind,
    write_names,
)
from penstock.control.lists.read import Chunk, Reading
from penstock.control.lists.settings import ListSource
from penstock.control.lists.web_address import hash_urls

PROBLEM_LIMIT = 100  # skipped lines that a report keeps; the others are counted
STAYS = "the old names database stays"
NONE: Mapping[Path, Path] = MappingProxyType({})

Progress = Callable[[str, int, int], None]
"""Called with what is done (a list's path, or "writing"), and how many of how many bytes of all lists have been read."""


class SkippedLine(NamedTuple):
    """A line from which no name was taken."""

    path: Path
    line: int
    reason: str
    member: str = ""

    def __str__(self) -> str:
        return f"{self.path}{f'({self.member})' if self.member else ''}:{self.line}: {self.reason}"


@dataclass
class SourceReport:
    """What became of one list."""

    path: Path
    category: str
    format: str
    match: str | None = None
    member: str | None = None
    allow: bool = False
    entries: int = 0  # of them all,
    exceptions: int = 0  # those that take a name out of the category,
    urls: int = 0  # and those of web addresses
    skipped: int = 0  # lines that cannot be read
    first_reason: str = ""
    not_taken: dict[str, int] = field(default_factory=dict)  # lines that cannot be honoured, by the reason
    sha256: str = ""
    modified_ns: int = 0


@dataclass
class Report:
    """What became of a build."""

    database: Path
    sources: list[SourceReport] = field(default_factory=list)
    skipped_lines: list[SkippedLine] = field(default_factory=list)
    skipped: int = 0
    names: int = 0
    urls: int = 0
    size_bytes: int = 0
    elapsed_s: float = 0.0

    @property
    def entries(self) -> int:
        """Entries taken from all lists, repeated ones counted each time."""
        return sum(source.entries for source in self.sources)

    @property
    def not_taken(self) -> int:
        """Lines that could be read, and not be honoured."""
        return sum(sum(source.not_taken.values()) for source in self.sources)

    def skip(self, source: SourceReport, member: str, line: int, reason: Exception) -> None:
        """Count a line from which no name was taken. Of those that cannot be read the first PROBLEM_LIMIT are kept, of
        those that cannot be honoured the first of each reason."""
        source.first_reason = source.first_reason or f"line {line}: {reason}"
        if isinstance(reason, NotTaken):
            is_kept = str(reason) not in source.not_taken
            source.not_taken[str(reason)] = source.not_taken.get(str(reason), 0) + 1
        else:
            source.skipped += 1
            self.skipped += 1
            is_kept = True
        if is_kept and len(self.skipped_lines) < PROBLEM_LIMIT:
            self.skipped_lines.append(SkippedLine(source.path, line, str(reason), member))


class Collector:
    """All that the lists say, as hashes and kinds."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._names: list[tuple[Hashes, int]] = []
        self._urls: list[tuple[Hashes, int]] = []

    def take_bulk(self, chunk: Chunk, bit: int, is_allowed: bool) -> None:
        """Names that are hashed already."""
        if len(chunk.bulk.hashes):
            self._names.append((chunk.bulk.hashes.copy(), number_kind(bit, chunk.reach, is_allowed)))

    def take_entries(self, entries: Sequence[Entry], bit: int) -> None:
        """Entries, each kind of them by itself."""
        sorts: dict[tuple[int, bool], list[Entry]] = {}
        for entry in entries:
            sorts.setdefault((number_kind(bit, entry.reach, entry.is_allowed), bool(entry.path)), []).append(entry)
        for (kind, is_url), members in sorts.items():
            text = b"".join(b"%s\n" % entry.name for entry in members)
            hosts = hash_names(text, len(members), self._key)
            if not is_url:
                self._names.append((hosts, kind))
                continue
            text = b"".join(b"%s%s\n" % (entry.name, entry.path) for entry in members)
            self._urls += (hash_urls(text, len(members), self._key), kind), (np.unique(hosts), MARK)

    def join(self) -> tuple[Said, Said]:
        """What is said of names, and of web addresses. Nothing of it is left here."""
        names, urls = _join_parts(self._names), _join_parts(self._urls)
        self._names, self._urls = [], []
        return names, urls


def build_names(
    configuration: Configuration, progress: Progress = lambda *_: None, on_trial: Mapping[Path, Path] = NONE
) -> Report:
    """Build the names database of a configuration. `on_trial`: which lists are read elsewhere than at their paths.

    Raises NamesError; the old database stays then.
    """
    started_s = time.monotonic()
    report = Report(configuration.database)
    categories = configuration.category_names
    key = os.urandom(16)
    collector = Collector(key)
    places = [on_trial.get(source.path, source.path) for source in configuration.lists]
    total_bytes = sum(map(_size_bytes, places))
    done_bytes = 0
    for source, place in zip(configuration.lists, places, strict=True):
        before, bit = done_bytes, categories.index(source.category)
        for read_bytes in _read_source(source, place, bit, key, collector, report):
            done_bytes = before + read_bytes
            progress(str(source.path), done_bytes, total_bytes)
    progress("writing", done_bytes, total_bytes)
    metadata = {
        "categories": categories,
        "sources": [{**asdict(source), "path": str(source.path)} for source in report.sources],
    }
    try:
        written = write_names(report.database, key, time.time_ns(), metadata, *collector.join())
    except OSError as error:
        raise NamesError(f"{report.database}: {error.strerror}: {STAYS}") from None
    report.names, report.urls, report.size_bytes = written
    report.elapsed_s = time.monotonic() - started_s
    return report


def _read_source(
    source: ListSource, place: Path, bit: int, key: bytes, collector: Collector, report: Report
) -> Iterator[int]:
    """Take what a list says. Yields how many of its bytes have been read."""
    if source.url and not place.exists():
        raise NamesError(f"{show_url(source.url)}: was never fetched: `penstock lists fetch` does: {STAYS}")
    reading = Reading(source.model_copy(update={"path": place}), key)
    found = SourceReport(source.path, source.category, source.format, source.match, source.member, source.allow)
    report.sources.append(found)
    try:
        for chunk in reading:
            collector.take_bulk(chunk, bit, source.allow)
            entries = list(_read_lines(chunk.lines, chunk.member, found, report))
            collector.take_entries(entries, bit)
            found.entries += len(chunk.bulk.hashes) + len(entries)
            found.exceptions += sum(entry.is_allowed for entry in entries) + source.allow * len(chunk.bulk.hashes)
            found.urls += sum(bool(entry.path) for entry in entries)
            yield reading.digest.read_bytes
        found.modified_ns = place.stat().st_mtime_ns
    except OSError as error:
        raise NamesError(f"{source.path}: {error.strerror}: {STAYS}") from None
    except NamesError as error:
        raise NamesError(f"{error}: {STAYS}") from None
    found.format, found.sha256 = reading.format, reading.digest.sha256
    if found.first_reason and not found.entries:
        raise NamesError(f"{source.path}: no line has a name ({found.first_reason}): {STAYS}")


def _read_lines(lines: Sequence[Line], member: str, found: SourceReport, report: Report) -> Iterator[Entry]:
    for number, _, said in lines:
        if isinstance(said, Exception):
            report.skip(found, member, number, said)
        else:
            yield from said


def _join_parts(parts: list[tuple[Hashes, int]]) -> Said:
    if not parts:
        return NOTHING
    kinds = np.repeat(np.array([kind for _, kind in parts], np.uint16), [len(hashes) for hashes, _ in parts])
    return Said(np.concatenate([hashes for hashes, _ in parts]), kinds)


def _size_bytes(path: Path) -> int:
    try:
        if path.is_dir():
            return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        return path.stat().st_size
    except OSError:
        return 0  # reading it says what is wrong

"""Where a name's category comes from: the entry that decides, with its list, member, line and text. For `penstock explain`.

The database has only hashes, so the lists are read again, as they are now. It does not know subscribers.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from penstock.control.configuration import Configuration
from penstock.control.lists.entries import Entry
from penstock.control.lists.names_file import NamesError, Reach, hash_names
from penstock.control.lists.read import Chunk, Reading
from penstock.control.lists.settings import ListSource

KEY = bytes(16)  # of hashes that nothing outlives


class Provenance(NamedTuple):
    """An entry, and where it stands."""

    path: Path
    member: str  # of a tree or archive; empty for a file
    line: int
    text: str  # the line as it is written
    format: str
    name: str  # with its path, if it is a web address
    is_allowed: bool

    def __str__(self) -> str:
        return f"{self.path}{f'({self.member})' if self.member else ''}:{self.line}"


class Asked:
    """A host, or a request for a path of it: which entries speak of it, and which of them decides."""

    def __init__(self, host: bytes, path: bytes = b"", whole: bytes = b"") -> None:
        self._host = host
        self._names = [host, *_find_parents(host)]
        self._paths = {b"", path, whole, *_find_prefixes(path)} if path else {b""}
        hashes = hash_names(b"".join(name + b"\n" for name in self._names), len(self._names), KEY)
        self._by_hash = dict(zip(hashes.tolist(), self._names, strict=True))
        self._hashes = hashes

    def covers(self, entry: Entry) -> bool:
        """Does the entry speak of it?"""
        if entry.path not in self._paths:
            return False
        if entry.name == self._host:
            return entry.reach != Reach.BELOW
        return entry.reach != Reach.EXACT and entry.name in self._names

    def find_in_bulk(self, chunk: Chunk) -> Iterator[tuple[int, Entry]]:
        """The entries of a chunk's bulk that speak of it, with their line numbers from 0 on."""
        for at in np.flatnonzero(np.isin(chunk.bulk.hashes, self._hashes)):
            entry = Entry(self._by_hash[int(chunk.bulk.hashes[at])], chunk.reach)
            if self.covers(entry):
                yield int(chunk.bulk.numbers[at]), entry


def find_entry(configuration: Configuration, category: str, asked: Asked) -> Provenance | None:
    """The entry that decides whether a host is in a category, as the lists are now; of several alike the first."""
    best: tuple[tuple[int, ...], Provenance] | None = None
    for source in configuration.lists:
        if source.category != category:
            continue
        try:
            for weight, found in _find_in_list(source, asked):
                if best is None or weight > best[0]:
                    best = weight, found
        except NamesError:
            continue  # a list that is gone since the build has no line to show
    return best[1] if best else None


def _find_in_list(source: ListSource, asked: Asked) -> Iterator[tuple[tuple[int, ...], Provenance]]:
    reading = Reading(source, KEY)
    for chunk in reading:
        for number, entry in asked.find_in_bulk(chunk):
            line = (chunk.block.first_line if chunk.block else 1) + number
            entry = entry._replace(is_allowed=source.allow)
            yield _weigh(entry), _describe(source, reading, chunk, line, chunk.read_line(number), entry)
        for line, text, said in chunk.lines:
            for entry in () if isinstance(said, Exception) else said:
                if asked.covers(entry):
                    yield _weigh(entry), _describe(source, reading, chunk, line, text, entry)


def _weigh(entry: Entry) -> tuple[int, ...]:
    """The entry with the greater weight decides: as `names_file.resolve_masks` and the look-up have it."""
    return bool(entry.path), len(entry.name), len(entry.path), entry.reach != Reach.SUBTREE, entry.is_allowed


def _describe(source: ListSource, reading: Reading, chunk: Chunk, line: int, text: bytes, entry: Entry) -> Provenance:
    written, named = (part.decode("utf-8", "backslashreplace") for part in (text.strip(), entry.name + entry.path))
    return Provenance(source.path, chunk.member, line, written, reading.format, named, entry.is_allowed)


def _find_parents(host: bytes) -> Iterator[bytes]:
    while host := host.partition(b".")[2]:
        yield host


def _find_prefixes(path: bytes) -> Iterator[bytes]:
    for at in range(len(path)):
        if path[at : at + 1] == b"/":
            yield path[: at + 1]
            if at:
                yield path[:at]

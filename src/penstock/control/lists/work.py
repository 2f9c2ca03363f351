"""What the workshop does with lists: a database of all, the difference of two versions of one, the line behind a name.

Everything that it returns is fit for JSON. It does not know processes, nor what becomes of what it finds.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from penstock.control.configuration import Configuration
from penstock.control.lists.build import build_names
from penstock.control.lists.bulk import read_bulk
from penstock.control.lists.entries import Entry, NotTaken
from penstock.control.lists.feed_cache import Counts
from penstock.control.lists.names_file import Hashes, NamesError, hash_names
from penstock.control.lists.provenance import KEY, Asked, find_entry
from penstock.control.lists.read import Chunk, Reading
from penstock.control.lists.settings import ListSource
from penstock.control.lists.web_address import canonicalise, hash_urls

REACH_BITS = 3  # of an entry's kind: reach, and whether it is an exception


def load_code() -> None:
    """Load all compiled code that reading a list needs, or compile it."""
    read_bulk(b"a.example\n", [(b"", b"")], KEY)
    hash_names(b"a.example\n", 1, KEY)
    hash_urls(b"a.example/\n", 1, KEY)
    canonicalise(b"a.example", b"/")


def build(configuration: Configuration, database: Path, on_trial: Mapping[Path, Path]) -> dict[str, Any]:
    """Build the database at a path. Raises NamesError."""
    report = build_names(configuration.model_copy(update={"database": database}), on_trial=on_trial)
    return {"names": report.names, "urls": report.urls, "skipped": report.skipped, "elapsed_s": report.elapsed_s}


def examine(source: ListSource, old: Path | None, new: Path, max_bytes: int) -> dict[str, Any]:
    """What a new version of a list has, and has not any more. Raises NamesError for what is no list.

    No list is what has more lines that cannot be read than entries: a page in its place has a word here and there that
    could be a name.
    """
    found = _Content(source, new, max_bytes)
    if found.skipped > len(found.entries):
        raise NamesError(f"not a list: {found.skipped:,} lines cannot be read ({found.first_reason})")
    try:
        before = _Content(source, old, max_bytes).entries if old else found.entries[:0]
    except NamesError:
        before = found.entries[:0]  # what is in force cannot be read as the configuration has it now
    both = len(np.intersect1d(found.entries, before, assume_unique=True))
    counts = Counts(
        category=source.category,
        member=source.member,
        format=found.format,
        entries=len(found.entries),
        added=len(found.entries) - both,
        removed=len(before) - both,
        skipped=found.skipped,
        not_taken=found.not_taken,
    )
    return asdict(counts)


def find(configuration: Configuration, asked: list[tuple[str, str]]) -> list[tuple[str, str] | None]:
    """For hosts in categories, the entry that decides: place, name."""
    found = (find_entry(configuration, category, Asked(host.encode())) for category, host in asked)
    return [(str(entry), entry.name) if entry else None for entry in found]


class _Content:
    """The different entries of a list, as hashes."""

    def __init__(self, source: ListSource, path: Path, max_bytes: int) -> None:
        """Read it. Raises NamesError."""
        self.skipped = self.not_taken = self._read_bytes = 0
        self.first_reason = ""
        self._max_bytes = max_bytes
        reading = Reading(source.model_copy(update={"path": path}), KEY)
        parts: list[Hashes] = [np.empty(0, np.uint64)]
        for chunk in reading:
            parts += self._take(chunk)
        self.entries = np.unique(np.concatenate(parts))
        self.format = reading.format

    def _take(self, chunk: Chunk) -> list[Hashes]:
        self._read_bytes += len(chunk.block.text) if chunk.block else 0
        if self._read_bytes > self._max_bytes:
            raise NamesError(f"it unpacks to more than {self._max_bytes:,} bytes (`max_bytes`)")
        names: dict[int, list[bytes]] = {}
        addresses = []
        for number, _, said in chunk.lines:
            if isinstance(said, NotTaken):
                self.not_taken += 1
            elif isinstance(said, Exception):
                self.skipped += 1
                self.first_reason = self.first_reason or f"line {number}: {said}"
            else:
                for entry in said:
                    if entry.path:
                        addresses.append(_hash_address(entry))
                    else:
                        names.setdefault(_number_sort(entry), []).append(entry.name)
        bulk = _number_sort(Entry(b"", chunk.reach))
        parts = [_tell_apart(chunk.bulk.hashes, bulk), np.array(addresses, np.uint64)]
        for sort, members in names.items():
            text = b"".join(b"%s\n" % name for name in members)
            parts.append(_tell_apart(hash_names(text, len(members), KEY), sort))
        return parts


def _number_sort(entry: Entry) -> int:
    return entry.reach * 2 + entry.is_allowed


def _tell_apart(hashes: Hashes, sort: int) -> Hashes:
    """The hashes of entries, which are others for each sort of them."""
    return hashes >> np.uint64(REACH_BITS) << np.uint64(REACH_BITS) | np.uint64(sort)


def _hash_address(entry: Entry) -> int:
    text = b"%d %s%s" % (_number_sort(entry), entry.name, entry.path)
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")

"""A vocabulary for tests of the names database: entries in, a file out, and a reading of them in plain Python."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from penstock.control.lists.build import Collector
from penstock.control.lists.entries import Entry
from penstock.control.lists.names_file import Reach, write_names
from penstock.policy.names import HOST_LIMIT, LABEL_LIMIT

Said = tuple[int, Entry]
"""A category, by its bit, and an entry of one of its lists."""


def put(name: bytes, category: int = 0, reach: Reach = Reach.SUBTREE, allowed: bool = False, path: bytes = b"") -> Said:
    """An entry that puts a name into a category, or takes it out."""
    return category, Entry(name, reach, allowed, path)


def store(said: Iterable[Said], directory: Path, key: bytes | None = None) -> Path:
    """A names database of these entries."""
    key, path = key or os.urandom(16), directory / "names.db"
    collector = Collector(key)
    for category, entry in said:
        collector.take_entries([entry], category)
    write_names(path, key, 0, {}, *collector.join())
    return path


def find_plainly(said: Iterable[Said], host: bytes) -> int:
    """The categories of a host: in each, the entry nearest to it decides."""
    bare = host.lower()
    for _ in range(HOST_LIMIT):
        bare = bare.removesuffix(b".")
    tail = bare[-HOST_LIMIT:]
    dots = [at for at in reversed(range(len(tail))) if tail[at : at + 1] == b"."][:LABEL_LIMIT]
    above = {tail[at + 1 :] for at in dots}
    is_whole = len(bare) <= HOST_LIMIT and len(dots) < LABEL_LIMIT and bare != b""
    return choose(entry for entry in said if not entry[1].path and covers(entry[1], bare if is_whole else None, above))


def covers(entry: Entry, host: bytes | None, above: set[bytes]) -> bool:
    """Does the entry's name speak of a host, and of the names above it?"""
    return (entry.name == host and entry.reach != Reach.BELOW) or (entry.name in above and entry.reach != Reach.EXACT)


def choose(covering: Iterable[Said]) -> int:
    """What the weightiest entry of each category says: the longest name and path, at one name not both, then exceptions."""
    best: dict[int, tuple[tuple[int, ...], bool]] = {}
    for category, entry in covering:
        near = entry.reach != Reach.SUBTREE
        weight = (bool(entry.path), len(entry.name), len(entry.path), near, entry.is_allowed)
        best[category] = max(best.get(category, ((), False)), (weight, entry.is_allowed))
    return sum(1 << category for category, (_, is_allowed) in best.items() if not is_allowed)


def sign(mask: int) -> int:
    """A mask as compiled code returns it."""
    return int(np.uint64(mask).astype(np.int64))

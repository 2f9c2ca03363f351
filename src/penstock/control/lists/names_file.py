"""The names database as Python writes it: hashes and what is said of each in, one file out. Layout: `policy.names`.

It knows hashes, not names, and no list formats. What one entry of a list says of a name is its *kind*, one small number:
the category, whether the name is put into it or taken out of it, and how far that reaches.
"""

import json
from collections.abc import Sequence
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from penstock.compile.memory import CHECKED, allow, forbid
from penstock.compile.native import kernel
from penstock.control.whole_file import write_whole
from penstock.errors import PenstockError
from penstock.policy import names

LOAD_LIMIT = 0.65  # names per slot
BITS_LIMIT = 34  # slots, as a power of two: 128 GB
BITS_LEAST = 6

Hashes = NDArray[np.uint64]
Kinds = NDArray[np.uint16]


class NamesError(PenstockError):
    """The names database cannot be built; the text says why."""


class Reach(IntEnum):
    """Which hosts an entry speaks of."""

    EXACT = 0  # its name alone
    SUBTREE = 1  # its name and all below it
    BELOW = 2  # what is below its name


REACHES = len(Reach)
MARK = names.CATEGORY_LIMIT * 2 * REACHES  # the kind of a hash that is only there: it changes no category


def number_kind(category: int, reach: Reach, is_allowed: bool = False) -> int:
    """The kind of an entry that puts names into a category (by its bit), or takes them out of it."""
    return (category * 2 + is_allowed) * REACHES + reach


class Said(NamedTuple):
    """Entries: of each name or web address its hash, and what is said of it. In any order, with repetitions."""

    hashes: Hashes
    kinds: Kinds


NOTHING = Said(np.empty(0, np.uint64), np.empty(0, np.uint16))


@cache
def _hash_kernel() -> Any:
    return kernel(names.hash_names)


def hash_names(text: bytes, count: int, key: bytes) -> Hashes:
    """Hash `count` names, each ended by a line feed in `text`."""
    return run_hasher(_hash_kernel(), text, count, key)


def run_hasher(hasher: Any, text: bytes, count: int, key: bytes) -> Hashes:
    """What a compiled function makes of `count` lines. Raises ValueError when there are more or fewer."""
    out = np.empty(max(count, 1), np.uint64)
    source, secret = np.frombuffer(text or b"\n", np.uint8), np.frombuffer(key, np.uint8)
    regions = [allow(a.ctypes.data, a.ctypes.data + a.nbytes) for a in (source, secret, out)] if CHECKED else []
    start = source.ctypes.data
    found = hasher(start, start + len(text), secret.ctypes.data, out.ctypes.data, count)
    for region in regions:
        forbid(region)
    if found != count:
        raise ValueError(f"{count} names announced, {found} found")
    return out[:count]


Masks = NDArray[np.uint64]  # of one name: SET_HERE, SET_NOT_HERE, SET_BELOW, SET_NOT_BELOW


def resolve_masks(given: Sequence[Masks]) -> Masks:
    """The sets of names, from the categories of each kind of entry: put in EXACT, SUBTREE, BELOW; then taken out so.

    At one name an entry for the name alone, or for what is below alone, beats one for both; then what takes out beats
    what puts in.
    """
    exact, subtree, below, not_exact, not_subtree, not_below = given
    here, under = (
        near & ~off | subtree & ~off & ~not_subtree for near, off in ((exact, not_exact), (below, not_below))
    )
    out_here, out_below = not_exact | not_subtree & ~exact, not_below | not_subtree & ~below
    return np.stack([here, out_here, under, out_below], axis=-1)


class Sets:
    """The different sets of a database, numbered from 1 on."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[int, ...], int] = {}

    def number(self, masks: Masks) -> NDArray[np.uint16]:
        """The number of each row. Raises NamesError for more than fit a slot."""
        index = np.zeros(len(masks), np.int64)
        for column in masks.T:  # of millions of rows few differ: one column after the other is cheaper than whole rows
            values, of_column = np.unique(column, return_inverse=True)
            _, index = np.unique(index * len(values) + of_column, return_inverse=True)
        first = np.zeros(int(index.max(initial=-1)) + 1, np.int64)
        first[index[::-1]] = np.arange(len(masks))[::-1]
        rows = [tuple(map(int, masks[at])) for at in first]
        numbers = np.array([self._numbers.setdefault(row, len(self._numbers) + 1) for row in rows], np.int64)
        if len(self._numbers) >= names.SET_LIMIT:
            raise NamesError(
                f"{len(self._numbers):,} different combinations of categories; at most {names.SET_LIMIT - 1:,}"
            )
        return numbers[index].astype(np.uint16)

    def store(self) -> Masks:
        """All of them as they lie in the file."""
        return np.array([(0, 0, 0, 0), *self._numbers], np.uint64)


def merge_said(said: Said, sets: Sets) -> tuple[Hashes, NDArray[np.uint16]]:
    """Sort by hash, and make one of all that is said of each: different hashes, and the numbers of their sets."""
    if not len(said.hashes):
        return said.hashes, np.empty(0, np.uint16)
    order = np.argsort(said.hashes)
    hashes, kinds = said.hashes[order], said.kinds[order]
    del order
    first = np.flatnonzero(np.concatenate(([True], hashes[1:] != hashes[:-1])))
    least, most = np.minimum.reduceat(kinds, first), np.maximum.reduceat(kinds, first)
    of_kind = np.zeros(MARK + 1, np.uint16)
    used = np.flatnonzero(np.bincount(least[least == most], minlength=MARK + 1))
    of_kind[used] = sets.number(resolve_masks(_spread_kinds(used)))
    numbers = of_kind[least]  # nearly every name is said one thing of, however often
    several = np.flatnonzero(least != most)
    if len(several):
        ends = np.append(first[1:], len(hashes))
        lengths = (ends - first)[several]
        starts = np.cumsum(lengths) - lengths
        members = kinds[np.repeat(first[several] - starts, lengths) + np.arange(lengths.sum())]
        joined = [np.bitwise_or.reduceat(masks, starts) for masks in _spread_kinds(members)]
        numbers[several] = sets.number(resolve_masks(joined))
    return hashes[first], numbers


def _spread_kinds(kinds: NDArray[Any]) -> list[Masks]:
    """For each of the six kinds of a category, which category each entry names with it."""
    bits = np.where(
        kinds < MARK, np.uint64(1) << (kinds // (2 * REACHES)).astype(np.uint64) % np.uint64(64), np.uint64(0)
    )
    return [np.where(kinds % (2 * REACHES) == kind, bits, np.uint64(0)) for kind in range(2 * REACHES)]


def place_names(hashes: Hashes, sets: NDArray[np.uint16]) -> tuple[Hashes, int]:
    """Lay sorted hashes into slots. Returns the slots and the table's bits. Raises NamesError when none is large enough."""
    least = next(bits for bits in range(BITS_LEAST, BITS_LIMIT + 1) if len(hashes) <= LOAD_LIMIT * (1 << bits))
    order = np.arange(len(hashes), dtype=np.int64)
    for bits in range(least, min(least + 4, BITS_LIMIT + 1)):
        homes = (hashes >> np.uint64(64 - bits)).astype(np.int64)
        # Each name lies at its home, or right behind the name before it.
        places = np.maximum.accumulate(homes - order) + order
        if not len(hashes) or int((places - homes).max()) < names.PROBE_LIMIT:
            slots = np.zeros((1 << bits) + names.PROBE_LIMIT, np.uint64)
            slots[places] = (hashes & np.uint64(names.TAG_MASK)) << np.uint64(16) | sets
            return slots, bits
    raise NamesError("the hashes of the names crowd together: build again, with another key")


def build_filter(hashes: Hashes, bits: int) -> Hashes:
    """The filter of sorted hashes for 2**bits slots: two bits of each hash, in the word that its top bits choose."""
    words = np.zeros(1 << (bits - names.FILTER_SHIFT), np.uint64)
    if len(hashes):
        homes = hashes >> np.uint64(64 - bits + names.FILTER_SHIFT)
        first = np.flatnonzero(np.concatenate(([True], homes[1:] != homes[:-1])))
        one, low = np.uint64(1), np.uint64(63)
        marks = one << (hashes & low) | one << (hashes >> np.uint64(6) & low)
        words[homes[first]] = np.bitwise_or.reduceat(marks, first)
    return words


def is_current(path: Path) -> bool:
    """Is there a names database that this version reads? What else may be wrong with it is said by who maps it."""
    try:
        with path.open("rb") as file:
            return file.read(16) == np.array([names.MAGIC, names.VERSION], np.int64).tobytes()
    except OSError:
        return False


class Written(NamedTuple):
    """What a database holds."""

    names: int
    urls: int
    size_bytes: int


def write_names(path: Path, key: bytes, built_ns: int, metadata: dict[str, Any], said: Said, urls: Said) -> Written:
    """Write the database of these entries. Raises NamesError or OSError."""
    sets, parts, at = Sets(), [], names.HEAD_BYTES
    head = np.zeros(names.HEAD_BYTES // 8, np.int64)
    counts, marks_count = [], 0
    for table, entries in ((names.NAMES_TABLE, said), (names.URLS_TABLE, urls)):
        hashes, numbers = merge_said(entries, sets)
        slots, bits = place_names(hashes, numbers)
        marks = build_filter(hashes, bits)
        head[table // 8 : table // 8 + 4] = at, at + marks.nbytes, bits, len(hashes)
        at += marks.nbytes + slots.nbytes
        parts += [marks.data, slots.data]
        counts.append(len(hashes))
        marks_count += int(
            (entries.kinds == MARK).sum() and (numbers == sets.number(np.zeros((1, 4), np.uint64))[0]).sum()
        )
    stored = sets.store()
    text = json.dumps(metadata).encode()
    text += b" " * (-len(text) % 8)
    for offset, value in (
        (names.NAMES_MAGIC, names.MAGIC),
        (names.NAMES_VERSION, names.VERSION),
        (names.SETS_OFF, at),
        (names.SET_COUNT, len(stored)),
        (names.BUILT_NS, built_ns),
        (names.METADATA_OFF, at + stored.nbytes),
        (names.METADATA_BYTES, len(text)),
        (names.FILE_BYTES, at + stored.nbytes + len(text)),
    ):
        head[offset // 8] = value
    head[names.NAMES_KEY // 8 : names.NAMES_KEY // 8 + 2] = np.frombuffer(key, np.int64)
    size_bytes = write_whole(path, (head.data, *parts, stored.data, text))
    return Written(counts[0], counts[1] - marks_count, size_bytes)

"""The names database as Python writes it: hashes and category masks in, one file out. Layout: `policy.names`.

It knows hashes, not names, and no list formats.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

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


class NamesError(PenstockError):
    """The names database cannot be built; the text says why."""


@cache
def _hash_kernel() -> Any:
    return kernel(names.hash_names)


def hash_names(text: bytes, count: int, key: bytes) -> Hashes:
    """Hash `count` names, each ended by a line feed in `text`."""
    out = np.empty(max(count, 1), np.uint64)
    source, secret = np.frombuffer(text or b"\n", np.uint8), np.frombuffer(key, np.uint8)
    regions = [allow(a.ctypes.data, a.ctypes.data + a.nbytes) for a in (source, secret, out)] if CHECKED else []
    start = source.ctypes.data
    found = _hash_kernel()(start, start + len(text), secret.ctypes.data, out.ctypes.data, count)
    for region in regions:
        forbid(region)
    if found != count:
        raise ValueError(f"{count} names announced, {found} found")
    return out[:count]


def merge_names(hashes: Hashes, exact: Hashes, below: Hashes) -> tuple[Hashes, Hashes, Hashes]:
    """Sort by hash and make one of each: its masks are those of all its occurrences together."""
    if not len(hashes):
        return hashes, exact, below
    order = np.argsort(hashes)
    hashes = hashes[order]
    first = np.flatnonzero(np.concatenate(([True], hashes[1:] != hashes[:-1])))
    return hashes[first], np.bitwise_or.reduceat(exact[order], first), np.bitwise_or.reduceat(below[order], first)


def number_sets(exact: Hashes, below: Hashes) -> tuple[NDArray[np.uint64], Hashes]:
    """The different pairs of masks, from index 1 on, and each name's index. Raises NamesError for more than fit a slot."""
    exact_masks, exact_at = _number(exact)
    below_masks, below_at = _number(below)
    width = max(len(below_masks), 1)
    pairs, index = _number(exact_at * width + below_at)
    if len(pairs) >= names.SET_LIMIT:
        raise NamesError(f"{len(pairs):,} different combinations of categories; at most {names.SET_LIMIT - 1:,}")
    sets = np.zeros((len(pairs) + 1, 2), np.uint64)
    sets[1:, 0], sets[1:, 1] = exact_masks[pairs // width], below_masks[pairs % width]
    return sets, index.astype(np.uint64) + np.uint64(1)


def _number(values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The different values, and where among them each lies. Quick because there are few."""
    different = np.unique(values)
    return different, np.searchsorted(different, values)


def place_names(hashes: Hashes, sets: Hashes) -> tuple[Hashes, int]:
    """Lay sorted hashes into slots. Returns the slots and the table's bits. Raises NamesError when none is large enough."""
    least = next(bits for bits in range(BITS_LEAST, BITS_LIMIT + 1) if len(hashes) <= LOAD_LIMIT * (1 << bits))
    order = np.arange(len(hashes), dtype=np.int64)
    tags = (hashes & np.uint64(names.TAG_MASK)) << np.uint64(16)
    for bits in range(least, min(least + 4, BITS_LIMIT + 1)):
        homes = (hashes >> np.uint64(64 - bits)).astype(np.int64)
        # Each name lies at its home, or right behind the name before it.
        places = np.maximum.accumulate(homes - order) + order
        if not len(hashes) or int((places - homes).max()) < names.PROBE_LIMIT:
            slots = np.zeros((1 << bits) + names.PROBE_LIMIT, np.uint64)
            slots[places] = tags | sets
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


def write_names(
    path: Path, key: bytes, built_ns: int, metadata: dict[str, Any], hashes: Hashes, exact: Hashes, below: Hashes
) -> tuple[int, int]:
    """Write the database of these names. Returns (different names, bytes). Raises NamesError or OSError."""
    hashes, exact, below = merge_names(hashes, exact, below)
    sets, index = number_sets(exact, below)
    slots, bits = place_names(hashes, index)
    text = json.dumps(metadata).encode()
    text += b" " * (-len(text) % 8)
    marks = build_filter(hashes, bits)
    slots_off = names.HEAD_BYTES + marks.nbytes
    sets_off = slots_off + slots.nbytes
    metadata_off = sets_off + sets.nbytes
    head = np.zeros(names.HEAD_BYTES // 8, np.int64)
    for offset, value in (
        (names.NAMES_MAGIC, names.MAGIC),
        (names.NAMES_VERSION, names.VERSION),
        (names.FILTER_OFF, names.HEAD_BYTES),
        (names.SLOTS_OFF, slots_off),
        (names.SLOT_BITS, bits),
        (names.SETS_OFF, sets_off),
        (names.SET_COUNT, len(sets)),
        (names.NAME_COUNT, len(hashes)),
        (names.BUILT_NS, built_ns),
        (names.METADATA_OFF, metadata_off),
        (names.METADATA_BYTES, len(text)),
        (names.FILE_BYTES, metadata_off + len(text)),
    ):
        head[offset // 8] = value
    head[names.NAMES_KEY // 8 : names.NAMES_KEY // 8 + 2] = np.frombuffer(key, np.int64)
    return len(hashes), write_whole(path, (head.data, marks.data, slots.data, sets.data, text))

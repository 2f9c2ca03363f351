"""The bulk of large lists: lines with nothing on them but a name, between the same beginning and end.

Compiled code cuts a block of a file into lines and hashes those; every other line goes to the format's own parser. So ten
million names take seconds, and a format is still written in plain Python. It knows which bytes a name has, and no format.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from penstock.compile.memory import CHECKED, allow, forbid, put64, shared, u8, u64
from penstock.compile.native import kernel
from penstock.control.lists.entries import NAME_LIMIT
from penstock.control.lists.names_file import Hashes
from penstock.policy.names import finish_hash, mix_byte

LABEL_BYTES_LIMIT = 63  # RFC 1035, 2.3.4
SHAPE_LIMIT = 8
SHAPE_BYTES = 16  # lengths of a beginning and an end, then both texts
COUNT_HASHED, COUNT_ODD = 0, 8

Shape = tuple[bytes, bytes]
"""What stands before and behind a name."""


class Bulk(NamedTuple):
    """A block of lines: hash and line number (from 0) of each name, and where the other lines are: number, start, end."""

    hashes: Hashes
    numbers: NDArray[np.int64]
    odd: NDArray[np.int64]


@shared
def starts_with(text, end, word, length):  # type: ignore[no-untyped-def]
    """Does text[0:end) begin with word[0:length)? Bounds: length turns."""
    if text + length > end:
        return False
    for at in range(length):
        if u8(text + at) != u8(word + at):
            return False
    return True


@shared
def hash_plain_name(start, end, key):  # type: ignore[no-untyped-def]
    """Hash [start, end) if it is a name of two labels or more.

    Reads: [start, end), key (two words). Writes: nothing. Returns: the hash; 0 for what is no such name (a name whose hash
        is 0 goes the long way too). Bounds: NAME_LIMIT turns.
    """
    if end - start > NAME_LIMIT or end <= start:
        return 0
    state = u64(key)
    at, label, dots = end - 1, 0, 0
    while at >= start:
        byte = u8(at)
        if byte == 46:
            if label == 0:
                return 0
            label = 0
            dots += 1
        else:
            is_letter = 97 <= byte <= 122 or 48 <= byte <= 57 or 65 <= byte <= 90 or byte == 45 or byte == 95
            label += 1
            if not is_letter or label > LABEL_BYTES_LIMIT:
                return 0
        state = mix_byte(state, byte)
        at -= 1
    if label == 0 or dots == 0:
        return 0
    return finish_hash(state, u64(key + 8))


@shared
def hash_line(start, end, shapes, shape_count, key):  # type: ignore[no-untyped-def]
    """Hash the name of a line in one of the shapes. Returns: as `hash_plain_name`. Bounds: shape_count times its bounds."""
    for number in range(shape_count):
        shape = shapes + number * 64
        before, behind = u64(shape), u64(shape + 8)
        if starts_with(start, end, shape + SHAPE_BYTES, before) and end - start >= before + behind:
            if starts_with(end - behind, end, shape + SHAPE_BYTES + before, behind):
                value = hash_plain_name(start + before, end - behind, key)
                if value != 0:
                    return value
    return 0


@shared
def hash_lines(text, end, shapes, shape_count, key, hashes, numbers, odd, counts):  # type: ignore[no-untyped-def]
    """Hash the names of the lines of [text, end), and note the lines that are in no shape.

    Reads: text[0:end), shapes (64 bytes each), key. Writes: hashes and numbers (one int64 a name), odd (three int64 a line:
        number, start, end as offsets), counts (COUNT_HASHED, COUNT_ODD). An empty line is in neither.
    Returns: how many lines there are, the last one without a line feed included. Bounds: end - text bytes per shape.
    """
    base, number, hashed, noted = text, 0, 0, 0
    while text < end:
        line_end = text
        while line_end < end and u8(line_end) != 10:
            line_end += 1
        stop = line_end
        if stop > text and u8(stop - 1) == 13:
            stop -= 1
        if stop > text:
            value = hash_line(text, stop, shapes, shape_count, key)
            if value != 0:
                put64(hashes + hashed * 8, value)
                put64(numbers + hashed * 8, number)
                hashed += 1
            else:
                put64(odd + noted * 24, number)
                put64(odd + noted * 24 + 8, text - base)
                put64(odd + noted * 24 + 16, line_end - base)
                noted += 1
        number += 1
        text = line_end + 1
    put64(counts + COUNT_HASHED, hashed)
    put64(counts + COUNT_ODD, noted)
    return number


@cache
def _kernel() -> Any:
    return kernel(hash_lines)


def read_bulk(text: bytes, shapes: Sequence[Shape], key: bytes) -> Bulk:
    """Take the names of a block of whole lines that are in one of the shapes."""
    table = np.zeros((max(len(shapes), 1), 64), np.uint8)
    for row, (before, behind) in zip(table, shapes, strict=False):
        row[:SHAPE_BYTES].view(np.int64)[:] = len(before), len(behind)
        words = before + behind
        row[SHAPE_BYTES : SHAPE_BYTES + len(words)] = np.frombuffer(words, np.uint8)
    lines = text.count(b"\n") + 1
    source, secret = np.frombuffer(text or b"\n", np.uint8), np.frombuffer(key, np.uint8)
    hashes, numbers = np.empty(lines, np.uint64), np.empty(lines, np.int64)
    odd, counts = np.empty((lines, 3), np.int64), np.zeros(2, np.int64)
    arrays = (source, table, secret, hashes, numbers, odd, counts)
    regions = [allow(a.ctypes.data, a.ctypes.data + a.nbytes) for a in arrays] if CHECKED else []
    at, shapes_at, *places = (int(array.ctypes.data) for array in arrays)
    _kernel()(at, at + len(text), shapes_at, len(shapes), *places)
    for region in regions:
        forbid(region)
    hashed, noted = (int(count) for count in counts)
    return Bulk(hashes[:hashed], numbers[:hashed], odd[:noted])

"""Memory for compiled code under test: exactly as large as said, and announced to the checked build."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from hypothesis import settings

from penstock.compile.memory import CHECKED, allow, forbid, take_fault

compiled = settings(deadline=None)
"""For properties of compiled code: the first example pays for the compilation."""


@contextmanager
def lend(*parts: bytes) -> Iterator[list[int]]:
    """The addresses of copies of `parts`; nothing else may be touched while they are lent."""
    arrays = [np.frombuffer(part + b"\0", np.uint8).copy() for part in parts]
    with lend_arrays(*(array[:-1] for array in arrays)) as addresses:
        yield addresses


@contextmanager
def lend_arrays(*arrays: np.ndarray) -> Iterator[list[int]]:
    """The addresses of arrays that the test goes on to read."""
    numbers = [allow(array.ctypes.data, array.ctypes.data + array.nbytes) for array in arrays]
    try:
        yield [array.ctypes.data for array in arrays]
    finally:
        for number in numbers:
            forbid(number)
    if CHECKED:
        assert take_fault() is None

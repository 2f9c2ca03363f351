"""Vectors in memory: the checked build sees an access of 16 bytes that leaves its region."""

from typing import Any

import numpy as np
import pytest

from penstock.cipher.vectors import Code, instruction
from penstock.compile.memory import CHECKED, take_fault
from penstock.compile.native import kernel
from tests.answer.buffers import lend_arrays


def emit_copy(code: Code, source: Any, to: Any) -> None:
    """Writes a copy of 16 bytes."""
    code.store(code.load(source), to)


copy = instruction(emit_copy)


def copy_block(source, to):  # type: ignore[no-untyped-def]
    copy(source, to)
    return 1


run_copy = kernel(copy_block)


def test_any_alignment() -> None:
    source, to = np.arange(32, dtype=np.uint8), np.zeros(32, np.uint8)
    with lend_arrays(source, to) as (source_at, to_at):
        assert run_copy(source_at + 3, to_at + 5) == 1
    assert to.tolist() == [0] * 5 + list(range(3, 19)) + [0] * 11


@pytest.mark.skipif(not CHECKED, reason="only the checked build sees it")
@pytest.mark.parametrize(("source_off", "to_off"), [(1, 0), (0, 1), (-1, 0), (0, -1)])
def test_a_byte_outside_is_a_fault(source_off: int, to_off: int) -> None:
    source, to = np.zeros(48, np.uint8), np.zeros(48, np.uint8)
    with lend_arrays(source[16:32], to[16:32]) as (source_at, to_at):
        run_copy(source_at + source_off, to_at + to_off)
        assert take_fault() is not None

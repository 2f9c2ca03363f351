"""What becomes native code, what it computes, and what is refused before it can end the process."""

import operator
import os
from collections.abc import Callable
from threading import Thread
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import types
from numba.core.errors import TypingError, UnsupportedError

from penstock.compile import machine
from penstock.compile.memory import CHECKED, INT, acquire64, allow, forbid, put64, shared, shr, stack, u64
from penstock.compile.native import kernel
from penstock.compile.object_file import CompileError

getpid = types.ExternalFunction("getpid", types.intc())
no_such_function = types.ExternalFunction("penstock_no_such_function", INT(INT))
WORDS = b"\x01\x02\x03"
int64s = st.integers(-(2**63), 2**63 - 1)


def as_int64(value: int) -> int:
    return (value + 2**63) % 2**64 - 2**63


def apply(operation, a, b):  # type: ignore[no-untyped-def]
    if operation == 0:
        return a + b
    if operation == 1:
        return a - b
    if operation == 2:
        return a * b
    if operation == 3:
        return a & b
    if operation == 4:
        return a | b
    if operation == 5:
        return a ^ b
    if operation == 6:
        return a >> (b & 63)
    if operation == 7:
        return min(a, b)
    return shr(a, b & 63)


MEANING: list[Callable[[int, int], int]] = [
    operator.add, operator.sub, operator.mul, operator.and_, operator.or_, operator.xor,
    lambda a, b: a >> (b & 63), min, lambda a, b: (a % 2**64) >> (b & 63),
]  # fmt: skip
run_apply = kernel(apply)


@given(st.integers(0, len(MEANING) - 1), int64s, int64s)
def test_arithmetic_is_that_of_64_bits(operation: int, a: int, b: int) -> None:
    assert run_apply(operation, a, b) == as_int64(MEANING[operation](a, b))


def is_less(a, b):  # type: ignore[no-untyped-def]
    return a < b


run_is_less = kernel(is_less)


@given(int64s, int64s)
def test_a_comparison_is_a_boolean(a: int, b: int) -> None:
    assert run_is_less(a, b) is (a < b)


@given(st.integers(0, 2**64 - 1))
def test_arguments_are_taken_modulo_2_64_and_from_numpy(value: int) -> None:
    assert run_apply(0, value, 0) == as_int64(value)
    assert run_apply(0, np.uint64(value), np.int64(1)) == as_int64(value + 1)


@shared
def double(value, times=1):  # type: ignore[no-untyped-def]
    for _ in range(times):
        value += value
    return value


@shared
def quadruple(value):  # type: ignore[no-untyped-def]
    return double(double(value))


def call_shared(value):  # type: ignore[no-untyped-def]
    return quadruple(value) + double(value, 2) + double(times=3, value=value) + double(7)


def test_shared_functions_with_defaults_and_keywords_are_compiled_once() -> None:
    assert kernel(call_shared)(5) == 20 + 20 + 40 + 14
    assert kernel(quadruple)(5) == 20
    assert len(machine.dispatcher(quadruple).overloads) == 1
    assert set(machine.dispatcher(double).overloads) == {(INT, INT), (INT, types.Omitted(1))}


def sum_words():  # type: ignore[no-untyped-def]
    total = 0
    for at in range(len(WORDS)):
        total += WORDS[at]
    return total


def nothing(address):  # type: ignore[no-untyped-def]
    put64(address, 7)


def test_constant_bytes_and_functions_without_result() -> None:
    room = np.zeros(1, np.int64)
    number = allow(room.ctypes.data, room.ctypes.data + 8)
    assert kernel(sum_words)() == 6
    assert kernel(nothing)(room.ctypes.data) is None
    assert room[0] == 7
    forbid(number)


def read_pid():  # type: ignore[no-untyped-def]
    return INT(getpid())


def test_the_c_library_is_called() -> None:
    assert kernel(read_pid)() == os.getpid()


def wait_for(address, turns):  # type: ignore[no-untyped-def]
    for _ in range(turns):
        if acquire64(address):
            return 1
    return 0


def test_native_code_runs_without_the_interpreters_lock() -> None:
    flag, answers = np.zeros(1, np.int64), []
    run = kernel(wait_for)
    run.compile((INT, INT))
    thread = Thread(target=lambda: answers.append(run(flag.ctypes.data, 10**11)))
    thread.start()
    flag[0] = 1
    thread.join(30)
    assert answers == [1]


def step_by(step):  # type: ignore[no-untyped-def]
    total = 0
    for at in range(0, 10, step):
        total += at
    return total


def step_by_two(count):  # type: ignore[no-untyped-def]
    total = 0
    for at in range(0, count, 2):
        total += at
    return total


def say_no(value):  # type: ignore[no-untyped-def]
    if value == 3:
        raise ValueError
    return value


def test_a_raise_that_can_happen_is_refused_and_named() -> None:
    assert kernel(step_by_two)(5) == 6
    with pytest.raises(CompileError, match=r"step_by: can raise ValueError in \w+step_by"):
        kernel(step_by)(2)
    with pytest.raises(UnsupportedError, match="raise"):
        kernel(say_no)(2)


def halve(value):  # type: ignore[no-untyped-def]
    half = value / 2
    return 1 if half > 3 else 0


def add_signs(value):  # type: ignore[no-untyped-def]
    return INT(types.uint64(value) + value)


def add_large(value):  # type: ignore[no-untyped-def]
    return (value + 0x8000000000000000) & 1


@pytest.mark.parametrize("function", [halve, add_signs, add_large])
def test_what_is_not_int64_is_refused(function: Any) -> None:
    with pytest.raises(TypingError, match=r"became (float64|uint64)"):
        kernel(function)(1)


def call_unknown(value):  # type: ignore[no-untyped-def]
    return no_such_function(value)


def make_pair(value):  # type: ignore[no-untyped-def]
    return value, value


def test_what_would_end_the_process_is_an_error() -> None:
    with pytest.raises(CompileError, match="not in this process: penstock_no_such_function"):
        kernel(call_unknown)(1)
    with pytest.raises(CompileError, match="make_pair: returns UniTuple"):
        kernel(make_pair)(1)


def use_stack(value):  # type: ignore[no-untyped-def]
    room = stack(16)
    put64(room + 8, value)
    return u64(room + 8)


@pytest.mark.skipif(CHECKED, reason="the checked build takes the stack for foreign memory")
def test_the_stack_is_memory() -> None:
    assert kernel(use_stack)(-9) == -9

"""Words for writing LLVM code on vectors of 16 bytes, and how such code becomes part of compiled code.

An *emitter* is a Python function `emit(code, *addresses)` that writes instructions through `code`; `instruction(emit)`
is what compiled code calls, with int64 addresses. A vector lives inside one emitter only: between two of them there is
memory, for compiled code knows nothing but int64.

Knows LLVM's builder and the checked build (see `memory`): there 16 bytes are accessed as two checked words, for the
place where a faulty access ends is one word long. Refuses to know any cipher.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

from penstock.compile.memory import CHECKED, I64, INT, POINTER, _checked

BYTE, I32 = ir.IntType(8), ir.IntType(32)
BYTES = ir.VectorType(BYTE, 16)
WORDS = ir.VectorType(I32, 4)
PAIR = ir.VectorType(I64, 2)


class Code:
    """LLVM instructions, written one by one into the function that is being compiled."""

    def __init__(self, context: Any, builder: Any) -> None:
        self.context, self.builder = context, builder

    def load(self, address: Any, offset: int = 0, kind: Any = PAIR) -> Any:
        """The 16 bytes at `address + offset`, any alignment."""
        if not CHECKED:
            return self.builder.load(self._pointer(address, offset, 16), typ=kind, align=1)
        halves = [self.builder.load(self._pointer(address, at, 8), typ=I64, align=1) for at in (offset, offset + 8)]
        return self.cast(self.pair(*halves), kind)

    def store(self, value: Any, address: Any, offset: int = 0) -> None:
        """Put 16 bytes at `address + offset`, any alignment."""
        if not CHECKED:
            self.builder.store(value, self._pointer(address, offset, 16), align=1)
            return
        for lane in (0, 1):
            half = self.lane(self.cast(value, PAIR), lane)
            self.builder.store(half, self._pointer(address, offset + 8 * lane, 8), align=1)

    def _pointer(self, address: Any, offset: int, size: int) -> Any:
        place = self.builder.add(address, I64(offset)) if offset else address
        return self.builder.inttoptr(_checked(self.context, self.builder, place, size), POINTER)

    def constant(self, *values: int) -> Any:
        """A vector of 2, 4 or 16 numbers."""
        kind = {2: PAIR, 4: WORDS, 16: BYTES}[len(values)]
        return ir.Constant(kind, list(values))

    def pair(self, low: Any, high: Any) -> Any:
        """Two 64-bit numbers as a vector."""
        half = self.builder.insert_element(self.constant(0, 0), low, I32(0))
        return self.builder.insert_element(half, high, I32(1))

    def lane(self, value: Any, number: int) -> Any:
        return self.builder.extract_element(value, I32(number))

    def cast(self, value: Any, kind: Any) -> Any:
        return value if value.type == kind else self.builder.bitcast(value, kind)

    def choose(self, a: Any, b: Any, numbers: Sequence[int]) -> Any:
        """Lanes of two vectors, numbered through: those of `b` follow those of `a`."""
        return self.builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, len(numbers)), list(numbers)))

    def pick(self, value: Any, numbers: Sequence[int]) -> Any:
        """16 bytes of a vector by their numbers; 16 and above give a zero byte. Returns a PAIR."""
        return self.cast(self.choose(self.cast(value, BYTES), self.constant(*[0] * 16), numbers), PAIR)

    def reverse(self, value: Any) -> Any:
        """The 16 bytes from last to first."""
        return self.pick(value, range(15, -1, -1))

    def xor(self, *values: Any) -> Any:
        return reduce(self.builder.xor, values)

    def add(self, *values: Any) -> Any:
        return reduce(self.builder.add, values)

    def call(self, name: str, result: Any, *args: Any) -> Any:
        """An intrinsic function of LLVM."""
        kind = ir.FunctionType(result, [arg.type for arg in args])
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, name), args)


def instruction(emit: Callable[..., None]) -> Any:
    """What compiled code calls to have the code of an emitter in its place; its value is 0."""
    names = list(inspect.signature(emit).parameters)[1:]
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD

    def write(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit(Code(context, builder), *args)
        return I64(0)

    def declare(typing_context: Any, *args: Any) -> Any:
        return INT(*[INT] * len(names)), write

    declare.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(name, kind) for name in ("typing_context", *names)]
    )
    declare.__name__, declare.__doc__ = emit.__name__, emit.__doc__
    return intrinsic(declare)

"""Every load and store of compiled code, for both targets.

Compiled code knows memory as addresses in int64. Every load yields an int64 (bytes zero-extended), because Numba turns
`int64 + uint64` into float64 without a word. `u64` yields the bits of the word as a signed number; use `shr` where the
shift must be logical. Byte order: `u16`, `put32`, ... are the machine's, `be16`, `putbe32`, ... the wire's.

With `PENSTOCK_CHECKED=1` the native build checks every access against the regions that were announced with `allow`
(`NUMBA_BOUNDSCHECK` sees arrays, not addresses); fuzz and property tests run on that build.
"""

import os
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.errors import TypingError
from numba.extending import intrinsic, register_jitable

INT = types.int64
I64 = ir.IntType(64)
POINTER = ir.PointerType()
CHECKED = os.environ.get("PENSTOCK_CHECKED") == "1"

shared = register_jitable
"""Marks a function that compiled code of either target may call; it stays a plain function for CPython."""


def in_kernel(context: Any) -> bool:
    """Is code being generated for the eBPF target?"""
    return bool(context.target_name == "ebpf")


# ---- the checked build ------------------------------------------------------------------------------------------------
REGION_COUNT = 256
_regions = np.zeros((REGION_COUNT, 2), np.int64)
_fault = np.zeros(4, np.int64)  # address, size, count, -
_regions_address = int(_regions.ctypes.data)
_fault_address = int(_fault.ctypes.data)


def allow(start: int, end: int) -> int:
    """Announce [start, end) as memory that compiled code may touch. Returns a number for `forbid`."""
    for number in range(REGION_COUNT):
        if _regions[number, 1] == 0:
            _regions[number] = start, end
            return number
    raise MemoryError(f"more than {REGION_COUNT} regions announced")


def forbid(number: int) -> None:
    """Take a region back."""
    _regions[number] = 0


def take_fault() -> tuple[int, int, int] | None:
    """The first access outside every region since the last call, as (address, size, count); None if there was none."""
    if _fault[2] == 0:
        return None
    address, size, count = (int(value) for value in _fault[:3])
    _fault[:] = 0
    return address, size, count


@shared
def _check_access(address, size):  # type: ignore[no-untyped-def]
    """Is [address, address + size) inside a region? A fault is remembered, and the access goes to a harmless place."""
    at = _regions_address
    for _ in range(REGION_COUNT):
        if raw64(at) <= address and address + size <= raw64(at + 8):
            return address
        at += 16
    if rawput64(_fault_address + 16, raw64(_fault_address + 16) + 1) == 0 and raw64(_fault_address + 16) == 1:
        rawput64(_fault_address, address)
        rawput64(_fault_address + 8, size)
    return _fault_address + 24


def _checked(context: Any, builder: Any, address: Any, size: int) -> Any:
    if not CHECKED or in_kernel(context):
        return address
    return context.compile_internal(builder, _check_access, INT(INT, INT), [address, I64(size)])


# ---- loads and stores -------------------------------------------------------------------------------------------------
def _load(bits: int, swap: bool = False, check: bool = True) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = _checked(context, builder, args[0], bits // 8) if check else args[0]
        value = builder.load(builder.inttoptr(address, POINTER), typ=ir.IntType(bits), align=1)
        value = builder.bswap(value) if swap else value
        return builder.zext(value, I64) if bits < 64 else value

    @intrinsic
    def load(typing_context, address):  # type: ignore[no-untyped-def]
        return INT(INT), codegen

    return load


def _store(bits: int, swap: bool = False, check: bool = True) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = _checked(context, builder, args[0], bits // 8) if check else args[0]
        value = builder.trunc(args[1], ir.IntType(bits)) if bits < 64 else args[1]
        builder.store(builder.bswap(value) if swap else value, builder.inttoptr(address, POINTER), align=1)
        return I64(0)

    @intrinsic
    def store(typing_context, address, value):  # type: ignore[no-untyped-def]
        return INT(INT, INT), codegen

    return store


u8, u16, u32, u64 = (_load(bits) for bits in (8, 16, 32, 64))
be16, be32, be64 = (_load(bits, swap=True) for bits in (16, 32, 64))
put8, put16, put32, put64 = (_store(bits) for bits in (8, 16, 32, 64))
putbe16, putbe32, putbe64 = (_store(bits, swap=True) for bits in (16, 32, 64))
raw64, rawput64 = _load(64, check=False), _store(64, check=False)


# ---- words that two threads, or kernel and process, share -------------------------------------------------------------
def _load_acquire(bits: int) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = builder.inttoptr(args[0], POINTER)
        value = builder.load_atomic(address, "acquire", bits // 8, typ=ir.IntType(bits))
        return builder.zext(value, I64) if bits < 64 else value

    @intrinsic
    def acquire(typing_context, address):  # type: ignore[no-untyped-def]
        return INT(INT), codegen

    return acquire


def _store_release(bits: int) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value = builder.trunc(args[1], ir.IntType(bits)) if bits < 64 else args[1]
        builder.store_atomic(value, builder.inttoptr(args[0], value.type.as_pointer()), "release", bits // 8)
        return I64(0)

    @intrinsic
    def release(typing_context, address, value):  # type: ignore[no-untyped-def]
        return INT(INT, INT), codegen

    return release


def _fetch_add(bits: int) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value = builder.trunc(args[1], ir.IntType(bits)) if bits < 64 else args[1]
        old = builder.atomic_rmw("add", builder.inttoptr(args[0], value.type.as_pointer()), value, "seq_cst")
        return builder.zext(old, I64) if bits < 64 else old

    @intrinsic
    def fetch_add(typing_context, address, value):  # type: ignore[no-untyped-def]
        """The word's value before the addition. A full barrier."""
        return INT(INT, INT), codegen

    return fetch_add


acquire32, acquire64 = _load_acquire(32), _load_acquire(64)
release32, release64 = _store_release(32), _store_release(64)
fetch_add32, fetch_add64 = _fetch_add(32), _fetch_add(64)


@intrinsic
def compare_exchange32(typing_context, address, expected, value):  # type: ignore[no-untyped-def]
    """Store `value` if the word is `expected`; returns what it was."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        i32 = ir.IntType(32)
        pair = builder.cmpxchg(
            builder.inttoptr(args[0], i32.as_pointer()),
            builder.trunc(args[1], i32),
            builder.trunc(args[2], i32),
            "seq_cst",
        )
        return builder.zext(builder.extract_value(pair, 0), I64)

    return INT(INT, INT, INT), codegen


@intrinsic
def fence(typing_context):  # type: ignore[no-untyped-def]
    """A full memory barrier (native code only)."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.fence("seq_cst")
        return I64(0)

    return INT(), codegen


# ---- arithmetic that int64 cannot say ---------------------------------------------------------------------------------
@intrinsic
def shr(typing_context, value, bits):  # type: ignore[no-untyped-def]
    """Logical shift right of the 64 bits of `value`."""
    return INT(INT, INT), lambda context, builder, signature, args: builder.lshr(args[0], args[1])


@intrinsic
def within(typing_context, address, size, end):  # type: ignore[no-untyped-def]
    """address + size <= end, compared unsigned: the only form in which the verifier learns a packet's bounds."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.icmp_unsigned("<=", builder.add(args[0], args[1]), args[2])

    return types.boolean(INT, INT, INT), codegen


@intrinsic(prefer_literal=True)
def stack(typing_context, size):  # type: ignore[no-untyped-def]
    """The address of `size` bytes on the stack, aligned to 8. `size` is a literal or a global of the same module."""
    if not isinstance(size, types.IntegerLiteral):
        raise TypingError("stack(size): size is a literal or a global, not an attribute of a module")
    words = (size.literal_value + 7) // 8

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        with builder.goto_entry_block():
            room = builder.alloca(ir.ArrayType(I64, words))
        return builder.ptrtoint(room, I64)

    return INT(size), codegen


@intrinsic
def count_trailing_zeros(typing_context, value):  # type: ignore[no-untyped-def]
    """The number of the lowest bit set; 64 for zero (native code only)."""
    return INT(INT), lambda context, builder, signature, args: builder.cttz(args[0], ir.IntType(1)(0))


@intrinsic
def prefetch(typing_context, address):  # type: ignore[no-untyped-def]
    """Have the cache line at an address fetched for a load to come, and wait for nothing (native code only)."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        name, word = "llvm.prefetch.p0", ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [POINTER, word, word, word])
        function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        builder.call(
            function, [builder.inttoptr(args[0], POINTER), word(0), word(3), word(1)]
        )  # to read, to keep, data
        return I64(0)

    return INT(INT), codegen


def _check_move(to, start, size):  # type: ignore[no-untyped-def]
    """How many bytes may be copied: all, or none when either range leaves its region."""
    if size > 0 and (_check_access(to, size) != to or _check_access(start, size) != start):
        return 0
    return size


@intrinsic
def move(typing_context, to, start, size):  # type: ignore[no-untyped-def]
    """Copy `size` bytes; the ranges may overlap (native code only)."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        name = "llvm.memmove.p0.p0.i64"
        kind = ir.FunctionType(ir.VoidType(), [POINTER, POINTER, I64, ir.IntType(1)])
        function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        count = args[2]
        if CHECKED:
            count = context.compile_internal(builder, _check_move, INT(INT, INT, INT), list(args))
        target, source = (builder.inttoptr(a, POINTER) for a in args[:2])
        builder.call(function, [target, source, count, ir.IntType(1)(0)])
        return I64(0)

    return INT(INT, INT, INT), codegen


@shared
def same(a, b, size):  # type: ignore[no-untyped-def]
    """Are the `size` bytes at `a` and `b` equal?"""
    at = 0
    while at + 8 <= size:
        if u64(a + at) != u64(b + at):
            return False
        at += 8
    while at < size:
        if u8(a + at) != u8(b + at):
            return False
        at += 1
    return True


def address_of(buffer: Any) -> int:
    """The address of a numpy array or a writable buffer (Python side)."""
    if isinstance(buffer, np.ndarray):
        return int(buffer.ctypes.data)
    return int(np.frombuffer(buffer, np.uint8).ctypes.data)

"""Memory for readers that run as plain Python: regions with exact ends, and the loads and stores of `compile/memory`.

    slot 1 │ region, to its last byte │ nothing ... │ slot 2 │ region │ nothing ...

Every region begins a slot of SLOT_BYTES, so a byte before or behind it belongs to nobody. An access that leaves its region
is a Fault, so is a store into bytes that were lent to be read, and a shift that the compiler leaves undefined. Numbers are
int64 as in compiled code: `wrap` is what additions and products go through (see `pure`).
"""

from struct import Struct, error
from typing import Any

SLOT_BITS = 20
SLOT_BYTES = 1 << SLOT_BITS
OFFSET = SLOT_BYTES - 1
WORD = (1 << 64) - 1
SIGN = 1 << 63

regions: dict[int, bytes | bytearray] = {}
"""The regions by slot; those of one input, until `clear`."""
turns = [0]
"""Loads and stores since `clear`."""


class Fault(AssertionError):
    """An access outside of every region, or an operation that compiled code does not define."""


def clear() -> None:
    """Take every region back."""
    regions.clear()
    turns[0] = 0


def lend(content: bytes | bytearray) -> int:
    """The address of `content`: bytes may only be read, a bytearray written too."""
    if len(content) >= SLOT_BYTES:
        raise ValueError(f"a region has less than {SLOT_BYTES} bytes")
    slot = len(regions) + 1
    regions[slot] = content
    return slot << SLOT_BITS


def view(address: int, size: int) -> bytes:
    """The bytes at an address."""
    region, start = regions[address >> SLOT_BITS], address & OFFSET
    if start + size > len(region):
        raise Fault(f"{size} bytes at offset {start} of {len(region)}")
    return bytes(region[start : start + size])


def _fault(address: int, size: int, cause: Exception) -> Fault:
    region = regions.get(address >> SLOT_BITS)
    if isinstance(cause, TypeError):
        return Fault(f"{size} bytes stored into memory lent to be read, at offset {address & OFFSET}")
    ends = "no region" if region is None else f"a region of {len(region)}"
    return Fault(f"{size} bytes at offset {address & OFFSET} of {ends}")


def _load(form: str) -> Any:
    layout = Struct(form)
    size, unpack = layout.size, layout.unpack_from

    def load(address: int) -> int:
        turns[0] += 1
        try:
            return unpack(regions[address >> SLOT_BITS], address & OFFSET)[0]  # type: ignore[no-any-return]
        except (KeyError, error) as cause:
            raise _fault(address, size, cause) from None

    return load


def _store(form: str) -> Any:
    layout = Struct(form)
    size, pack, mask = layout.size, layout.pack_into, (1 << 8 * layout.size) - 1

    def store(address: int, value: int) -> int:
        turns[0] += 1
        try:
            pack(regions[address >> SLOT_BITS], address & OFFSET, value & mask)
        except (KeyError, error, TypeError) as cause:
            raise _fault(address, size, cause) from None
        return 0

    return store


def move(to: int, start: int, size: int) -> int:
    """Copy `size` bytes; the ranges may overlap."""
    turns[0] += 1
    if size < 0:
        raise Fault(f"{size} bytes copied")
    if size > 0:
        content, region, at = view_checked(start, size), regions.get(to >> SLOT_BITS), to & OFFSET
        if not isinstance(region, bytearray) or at + size > len(region):
            raise _fault(to, size, TypeError() if isinstance(region, bytes) else KeyError())
        region[at : at + size] = content
    return 0


def view_checked(address: int, size: int) -> bytes:
    """As `view`, for code under test."""
    if address >> SLOT_BITS not in regions:
        raise _fault(address, size, KeyError())
    return view(address, size)


def wrap(value: int) -> int:
    """The int64 with the lowest 64 bits of `value`."""
    return ((value + SIGN) & WORD) - SIGN


def shift_left(value: int, bits: int) -> int:
    """`value << bits` of int64."""
    if not 0 <= bits < 64:
        raise Fault(f"a shift by {bits}")
    return wrap(value << bits)


def shift_right(value: int, bits: int) -> int:
    """`value >> bits` of int64, arithmetic."""
    if not 0 <= bits < 64:
        raise Fault(f"a shift by {bits}")
    return value >> bits


def shr(value: int, bits: int) -> int:
    """Logical shift right."""
    if not 0 <= bits < 64:
        raise Fault(f"a shift by {bits}")
    return wrap((value & WORD) >> bits)


def within(address: int, size: int, end: int) -> bool:
    """address + size <= end, unsigned."""
    return (address + size) & WORD <= end & WORD


def prefetch(_address: int) -> int:
    """Nothing is nearer or farther here."""
    return 0


def count_trailing_zeros(value: int) -> int:
    """The number of the lowest bit set; 64 for zero."""
    return (value & -value).bit_length() - 1 if value else 64


def same(a: int, b: int, size: int) -> bool:
    """Are the `size` bytes at `a` and `b` equal?"""
    turns[0] += 1 + max(size, 0) // 8
    return size <= 0 or view_checked(a, size) == view_checked(b, size)


MEMORY: dict[str, Any] = {
    **{f"u{8 * size}": _load(form) for size, form in ((1, "<B"), (2, "<H"), (4, "<I"), (8, "<q"))},
    **{f"be{8 * size}": _load(form) for size, form in ((2, ">H"), (4, ">I"), (8, ">q"))},
    **{f"put{8 * size}": _store(form) for size, form in ((1, "<B"), (2, "<H"), (4, "<I"), (8, "<Q"))},
    **{f"putbe{8 * size}": _store(form) for size, form in ((2, ">H"), (4, ">I"), (8, ">Q"))},
    "move": move, "prefetch": prefetch, "shr": shr, "within": within, "same": same,
    "count_trailing_zeros": count_trailing_zeros,
    "shared": lambda function: function,
}  # fmt: skip
"""What readers import from `penstock.compile.memory`, on this memory."""

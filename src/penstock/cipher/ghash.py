"""GHASH by the processor's product of polynomials: powers of the hash key, and the sum over one or several blocks.

With its bytes reversed, a block is a polynomial whose bits stand in the usual order, and GHASH becomes POLYVAL: products
divided by x^128 modulo x^128 + x^127 + x^126 + x^121 + 1, with the hash key times x (RFC 8452 appendix A). Several blocks
are multiplied by descending powers, and reduced once:

    sum ← (sum + b1)·H⁸ + b2·H⁷ + ... + b8·H

Each function here makes an emitter for a machine (`x86` or `armv8`); `portable_ghash` is the same by tables, and
`cipher` is there because a portable function may need it.
Source: NIST SP 800-38D 6.4; RFC 8452 3 and appendix A; Gueron and Kounaves, Intel's white paper on GCM, for the reduction.
"""

from collections.abc import Callable
from typing import Any

from penstock.cipher.layout import STRIDE_BLOCKS
from penstock.cipher.vectors import Code
from penstock.compile.memory import I64

TOP_BITS = 0xC2 << 56  # x^127 + x^126 + x^121, the upper half
Product = tuple[Any, Any, Any]  # low, middle (to be added 64 bits up), high


def multiply(code: Code, machine: Any, a: Any, b: Any) -> Product:
    """All 255 bits of a product."""
    middle = code.xor(machine.multiply(code, a, b, 0, 1), machine.multiply(code, a, b, 1, 0))
    return machine.multiply(code, a, b, 0, 0), middle, machine.multiply(code, a, b, 1, 1)


def reduce(code: Code, machine: Any, product: Product) -> Any:
    """A product divided by x^128, modulo the polynomial: twice, its lowest 64 bits are cancelled by a multiple of it."""
    zeros, polynomial = code.constant(0, 0), code.constant(TOP_BITS, 0)
    low = code.xor(product[0], code.choose(zeros, product[1], [0, 2]))
    high = code.xor(product[2], code.choose(product[1], zeros, [1, 2]))
    for _ in range(2):
        multiple = machine.multiply(code, low, polynomial, 0, 0)
        low = code.xor(code.choose(low, low, [1, 0]), multiple)
    return code.xor(low, high)


def double(code: Code, value: Any) -> Any:
    """A polynomial times x, modulo the polynomial."""
    builder = code.builder
    top = builder.lshr(value, code.constant(63, 63))
    moved = builder.or_(builder.shl(value, code.constant(1, 1)), code.choose(top, code.constant(0, 0), [2, 0]))
    overflow = builder.sub(I64(0), code.lane(top, 1))
    return code.xor(moved, builder.and_(code.pair(overflow, overflow), code.constant(1, TOP_BITS)))


def emit_factors(machine: Any) -> Callable[..., None]:
    """Writes the powers H⁸ ... H¹ (times x, reversed) of the hash key at `key` to `factors`."""

    def prepare_factors(code: Code, key: Any, factors: Any, cipher: Any) -> None:
        powers = [double(code, code.reverse(code.load(key)))]
        for exponent in range(2, STRIDE_BLOCKS + 1):  # from two halves, so that few products wait for each other
            halves = powers[exponent // 2 - 1], powers[exponent - exponent // 2 - 1]
            powers.append(reduce(code, machine, multiply(code, machine, *halves)))
        for number, power in enumerate(reversed(powers)):
            code.store(power, factors, 16 * number)

    return prepare_factors


def emit_sum(machine: Any, count: int) -> Callable[..., None]:
    """Writes the sum at `total` over `count` more blocks at `source`."""

    def add_hash(code: Code, factors: Any, total: Any, source: Any) -> None:
        blocks = [code.load(source, 16 * number) for number in range(count)]
        blocks[0] = code.xor(blocks[0], code.load(total))
        products = []
        for number, block in enumerate(blocks):
            factor = code.load(factors, 16 * (STRIDE_BLOCKS - count + number))
            products.append(multiply(code, machine, code.reverse(block), factor))
        low, middle, high = (code.xor(*parts) for parts in zip(*products, strict=True))
        code.store(code.reverse(reduce(code, machine, (low, middle, high))), total)

    return add_hash

"""GHASH by table look-ups, for machines without a product of polynomials: the same functions as `ghash` writes.

A block is 32 nibbles. Table i has, for each value of nibble i, that nibble's share of the product with the hash key, so
a product is 32 look-ups and no shift. 8 KB per key, made from the products with the 128 single bits. Bits count as in GCM:
bit 7 of byte 0 is x^0, so a block read as a big-endian number is multiplied by x with a shift to the right.

Written with vectors of 16 bytes, which every machine has or LLVM takes apart.
Source: NIST SP 800-38D 6.3, 6.4; McGrew and Viega, "The Galois/Counter Mode of Operation", 4.1, for the tables.
"""

from typing import Any

from llvmlite import ir

from penstock.cipher.layout import FACTORS_BYTES, TAIL
from penstock.cipher.vectors import PAIR, Code, instruction
from penstock.compile.memory import I64, put64, shared, u64

I128 = ir.IntType(128)
POLYNOMIAL = 0xE1 << 120  # x^128 = 1 + x + x^2 + x^7
NIBBLES = 32
ENTRIES = 16
TABLE_BYTES = 256


def double(code: Code, value: Any) -> Any:
    """A block, as a big-endian number, times x."""
    builder = code.builder
    overflow = builder.sub(I128(0), builder.and_(value, I128(1)))
    return code.xor(builder.lshr(value, I128(1)), builder.and_(overflow, I128(POLYNOMIAL)))


def emit_table(code: Code, value_at: Any, table: Any) -> None:
    """Writes the table of the next nibble; at `value_at` stands the hash key times its first bit, and then the one
    after its last."""
    value = code.builder.bswap(code.cast(code.load(value_at), I128))
    entries = [code.constant(0, 0)] * ENTRIES
    for bit in (8, 4, 2, 1):
        entries[bit] = code.cast(code.builder.bswap(value), PAIR)
        value = double(code, value)
    code.store(code.cast(code.builder.bswap(value), PAIR), value_at)
    for number in range(ENTRIES):
        top = 1 << number.bit_length() - 1 if number else 0
        if number != top:  # products are linear
            entries[number] = code.xor(entries[top], entries[number - top])
        code.store(entries[number], table, 16 * number)


def emit_sum(code: Code, factors: Any, total: Any, source: Any) -> None:
    """Writes the sum at `total` over one more block at `source`."""
    block, shares = code.xor(code.load(total), code.load(source)), []
    for number in range(NIBBLES):
        lane, place = divmod(number, NIBBLES // 2)
        shift = 4 * (place ^ 1)  # the upper nibble of a byte comes first
        value = code.builder.and_(code.builder.lshr(code.lane(block, lane), I64(shift)), I64(ENTRIES - 1))
        entry = code.builder.add(factors, code.builder.shl(value, I64(4)))
        shares.append(code.load(entry, TABLE_BYTES * number))
    code.store(code.xor(*shares), total)


write_table = instruction(emit_table)
add_hash = instruction(emit_sum)


@shared
def prepare_factors(key, factors, cipher):  # type: ignore[no-untyped-def]
    """Write the tables of a hash key.

    Reads: 16 bytes at `key`. Writes: FACTORS_BYTES at `factors`; TAIL. Returns: 0. Bounds: 32 tables.
    Source: NIST SP 800-38D 6.3.
    """
    value_at = cipher + TAIL
    put64(value_at, u64(key))
    put64(value_at + 8, u64(key + 8))
    for table in range(factors, factors + FACTORS_BYTES, TABLE_BYTES):
        write_table(value_at, table)
    return 0

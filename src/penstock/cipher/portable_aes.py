"""AES-128 by table look-ups, for machines without instructions for it: the same functions as `aes` writes.

A column is a number of 32 bits, row 0 in the lowest byte. The tables are those of `tables.build_round_tables`; the
second byte of an entry of the first one is the S-box. The keys are public, so it does not matter that the time of a
look-up depends on them. Knows FIPS 197 5.1 and 5.2. Refuses to know GCM.
"""

from penstock.cipher.layout import AES_TABLES, ZEROS
from penstock.compile.memory import put32, putbe32, shared, u8, u32

ROUND_BYTES = 16
LAST_ROUND = 160  # offset of the last round's key
LATER_TABLE = 1024  # from one table to the next
FIRST_CONSTANT = 1
POLYNOMIAL = 0x11B
FIELD_BYTES = 0x100  # a constant from here on is reduced


@shared
def substitute(tables, byte):  # type: ignore[no-untyped-def]
    """A byte through the S-box.

    Reads: the first table. Writes: nothing. Returns: [0, 255]. Bounds: `byte` in [0, 255]. Source: FIPS 197 5.1.1.
    """
    return u8(tables + (byte << 2) + 1)


@shared
def substitute_rows(tables, a, b, c, d):  # type: ignore[no-untyped-def]
    """A column of row 0 of `a`, row 1 of `b`, row 2 of `c` and row 3 of `d`, each through the S-box.

    Reads: the table. Writes: nothing. Returns: 32 bits. Bounds: four look-ups. Source: FIPS 197 5.1.1, 5.1.2.
    """
    low = substitute(tables, a & 255) | substitute(tables, b >> 8 & 255) << 8
    return low | substitute(tables, c >> 16 & 255) << 16 | substitute(tables, d >> 24) << 24


@shared
def mix_rows(tables, a, b, c, d):  # type: ignore[no-untyped-def]
    """The same, then mixed: a column of a round but the last.

    Reads: the tables. Writes: nothing. Returns: 32 bits. Bounds: four look-ups. Source: FIPS 197 5.1.1 to 5.1.3.
    """
    low = u32(tables + ((a & 255) << 2)) ^ u32(tables + LATER_TABLE + ((b >> 8 & 255) << 2))
    low ^= u32(tables + 2 * LATER_TABLE + ((c >> 16 & 255) << 2))
    return low ^ u32(tables + 3 * LATER_TABLE + (d >> 24 << 2))


@shared
def expand_key(key, schedule, cipher):  # type: ignore[no-untyped-def]
    """Write the round keys of AES-128.

    Reads: 16 bytes at `key`; the tables. Writes: 176 bytes at `schedule`. Returns: 0. Bounds: 10 turns.
    Source: FIPS 197 5.2.
    """
    tables = cipher + AES_TABLES
    a, b, c, d = u32(key), u32(key + 4), u32(key + 8), u32(key + 12)
    constant = FIRST_CONSTANT
    for at in range(schedule, schedule + LAST_ROUND, ROUND_BYTES):
        put32(at, a)
        put32(at + 4, b)
        put32(at + 8, c)
        put32(at + 12, d)
        turned = d >> 8 | (d & 255) << 24
        a ^= substitute_rows(tables, turned, turned, turned, turned) ^ constant
        b ^= a
        c ^= b
        d ^= c
        constant <<= 1
        if constant >= FIELD_BYTES:
            constant ^= POLYNOMIAL
    put32(schedule + LAST_ROUND, a)
    put32(schedule + LAST_ROUND + 4, b)
    put32(schedule + LAST_ROUND + 8, c)
    put32(schedule + LAST_ROUND + 12, d)
    return 0


@shared
def encrypt_onto(schedule, source, other, to, cipher):  # type: ignore[no-untyped-def]
    """Write the encrypted block at `source`, added to the block at `other`.

    Reads: 16 bytes at `source` and at `other`; round keys; the tables. Writes: 16 bytes at `to`, which may be any of
    the two. Returns: 0. Bounds: 9 turns. Source: FIPS 197 5.1.
    """
    tables, last = cipher + AES_TABLES, schedule + LAST_ROUND
    a = u32(source) ^ u32(schedule)
    b = u32(source + 4) ^ u32(schedule + 4)
    c = u32(source + 8) ^ u32(schedule + 8)
    d = u32(source + 12) ^ u32(schedule + 12)
    for key in range(schedule + ROUND_BYTES, last, ROUND_BYTES):
        e = mix_rows(tables, a, b, c, d) ^ u32(key)
        f = mix_rows(tables, b, c, d, a) ^ u32(key + 4)
        g = mix_rows(tables, c, d, a, b) ^ u32(key + 8)
        h = mix_rows(tables, d, a, b, c) ^ u32(key + 12)
        a, b, c, d = e, f, g, h
    e = substitute_rows(tables, a, b, c, d) ^ u32(last) ^ u32(other)
    f = substitute_rows(tables, b, c, d, a) ^ u32(last + 4) ^ u32(other + 4)
    g = substitute_rows(tables, c, d, a, b) ^ u32(last + 8) ^ u32(other + 8)
    h = substitute_rows(tables, d, a, b, c) ^ u32(last + 12) ^ u32(other + 12)
    put32(to, e)
    put32(to + 4, f)
    put32(to + 8, g)
    put32(to + 12, h)
    return 0


@shared
def encrypt_block(schedule, source, to, cipher):  # type: ignore[no-untyped-def]
    """Write the encrypted block.

    Reads: 16 bytes at `source`; round keys; the tables. Writes: 16 bytes at `to`, which may be `source`. Returns: 0.
    Bounds: 9 turns. Source: FIPS 197 5.1.
    """
    return encrypt_onto(schedule, source, cipher + ZEROS, to, cipher)


@shared
def add_stream(schedule, counter, number, source, to, cipher):  # type: ignore[no-untyped-def]
    """Write one block of counter mode.

    Reads: 12 bytes of nonce at `counter`; 16 bytes at `source`; round keys; the tables. Writes: the number behind the
    nonce; 16 bytes at `to`, which may be `source`. Returns: 0. Bounds: 9 turns. Source: NIST SP 800-38A 6.5.
    """
    putbe32(counter + 12, number)
    return encrypt_onto(schedule, counter, source, to, cipher)

"""The operations that the cipher is built from, of the back end that was chosen: the only place that knows both.

    expand_key(key, schedule, cipher)                             round keys of AES-128
    encrypt_block(schedule, source, to, cipher)                   one block of AES
    stream_one | stream_stride(schedule, counter, number, source, to, cipher)
                                                                  1 or STRIDE_BLOCKS blocks of counter mode
    prepare_factors(key, factors, cipher)                         what GHASH multiplies with
    hash_one | hash_stride(factors, total, source)                GHASH over 1 or STRIDE_BLOCKS blocks
    compress_one | compress_two | compress_three(state, blocks, to, cipher)
                                                                  SHA-256 of blocks side by side from one state

All are called from compiled code only, with addresses in the memory that `layout` describes.
"""

from penstock.cipher import aes, armv8, ghash, portable_aes, portable_ghash, portable_sha256, sha256, x86
from penstock.cipher.features import ARMV8, BACKEND, PORTABLE, X86
from penstock.cipher.layout import BLOCK_BYTES, HASH_BLOCK_BYTES, STRIDE_BLOCKS
from penstock.cipher.vectors import instruction
from penstock.compile.memory import shared

MACHINES = {X86: x86, ARMV8: armv8}


@shared
def portable_stream_stride(schedule, counter, number, source, to, cipher):  # type: ignore[no-untyped-def]
    """Write STRIDE_BLOCKS blocks of counter mode.

    Reads, Writes: as `portable_aes.add_stream`, block after block. Returns: 0. Bounds: STRIDE_BLOCKS blocks.
    Source: NIST SP 800-38A 6.5.
    """
    for block in range(STRIDE_BLOCKS):
        at = block * BLOCK_BYTES
        portable_aes.add_stream(schedule, counter, number + block, source + at, to + at, cipher)
    return 0


@shared
def portable_hash_stride(factors, total, source):  # type: ignore[no-untyped-def]
    """Add STRIDE_BLOCKS blocks to a sum.

    Reads: the tables, the blocks. Writes: 16 bytes at `total`. Returns: 0. Bounds: STRIDE_BLOCKS blocks.
    Source: NIST SP 800-38D 6.4.
    """
    for block in range(STRIDE_BLOCKS):
        portable_ghash.add_hash(factors, total, source + block * BLOCK_BYTES)
    return 0


@shared
def portable_compress_two(state, blocks, to, cipher):  # type: ignore[no-untyped-def]
    """Write the states after two blocks.

    Reads, Writes: as `portable_sha256.compress`, 64 bytes on. Returns: 0. Bounds: two blocks. Source: FIPS 180-4 6.2.2.
    """
    portable_sha256.compress(state, blocks, to, cipher)
    return portable_sha256.compress(state, blocks + HASH_BLOCK_BYTES, to + HASH_BLOCK_BYTES, cipher)


@shared
def portable_compress_three(state, blocks, to, cipher):  # type: ignore[no-untyped-def]
    """Write the states after three blocks.

    Reads, Writes: as `portable_sha256.compress`, 64 bytes on. Returns: 0. Bounds: three blocks. Source: FIPS 180-4 6.2.2.
    """
    portable_compress_two(state, blocks, to, cipher)
    last = 2 * HASH_BLOCK_BYTES
    return portable_sha256.compress(state, blocks + last, to + last, cipher)


if BACKEND.blocks == PORTABLE:
    expand_key, encrypt_block = portable_aes.expand_key, portable_aes.encrypt_block
    stream_one, stream_stride = portable_aes.add_stream, portable_stream_stride
    prepare_factors = portable_ghash.prepare_factors
    hash_one, hash_stride = portable_ghash.add_hash, portable_hash_stride
else:
    _machine = MACHINES[BACKEND.blocks]
    expand_key, encrypt_block = instruction(aes.emit_schedule(_machine)), instruction(aes.emit_block(_machine))
    stream_one, stream_stride = (instruction(aes.emit_stream(_machine, count)) for count in (1, STRIDE_BLOCKS))
    prepare_factors = instruction(ghash.emit_factors(_machine))
    hash_one, hash_stride = (instruction(ghash.emit_sum(_machine, count)) for count in (1, STRIDE_BLOCKS))

if BACKEND.sha == PORTABLE:
    compress_one = portable_sha256.compress
    compress_two, compress_three = portable_compress_two, portable_compress_three
else:
    compress_one, compress_two, compress_three = (
        instruction(sha256.emit_compression(MACHINES[BACKEND.sha], count)) for count in (1, 2, 3)
    )

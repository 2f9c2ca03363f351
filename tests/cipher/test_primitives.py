"""The operations of the back end of this process, against other implementations of the same."""

import struct

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from penstock.cipher import layout, primitives, tables
from penstock.compile.memory import shared
from penstock.compile.native import kernel
from tests.answer.buffers import compiled, lend, lend_arrays
from tests.cipher.rooms import CIPHER

STRIDE_BYTES = 16 * layout.STRIDE_BLOCKS
blocks = st.binary(min_size=16, max_size=16)
words = st.integers(0, 2**32 - 1)


@shared
def encrypt(key, source, to, cipher):  # type: ignore[no-untyped-def]
    primitives.expand_key(key, cipher + layout.SCHEDULE, cipher)
    return primitives.encrypt_block(cipher + layout.SCHEDULE, source, to, cipher)


@shared
def add_streams(key, nonce, number, source, to, cipher):  # type: ignore[no-untyped-def]
    schedule = cipher + layout.SCHEDULE
    primitives.expand_key(key, schedule, cipher)
    primitives.stream_stride(schedule, nonce, number, source, to, cipher)
    at = layout.STRIDE_BLOCKS * 16
    return primitives.stream_one(schedule, nonce, number + layout.STRIDE_BLOCKS, source + at, to + at, cipher)


@shared
def add_products(key, total, source, cipher):  # type: ignore[no-untyped-def]
    factors = cipher + layout.FACTORS
    primitives.prepare_factors(key, factors, cipher)
    primitives.hash_stride(factors, total, source)
    return primitives.hash_one(factors, total, source + layout.STRIDE_BLOCKS * 16)


@shared
def compress(count, state, block, to, cipher):  # type: ignore[no-untyped-def]
    if count == 1:
        return primitives.compress_one(state, block, to, cipher)
    if count == 2:
        return primitives.compress_two(state, block, to, cipher)
    return primitives.compress_three(state, block, to, cipher)


run_encrypt, run_add_streams = kernel(encrypt), kernel(add_streams)
run_add_products, run_compress = kernel(add_products), kernel(compress)


def multiply(a: int, b: int) -> int:
    """NIST SP 800-38D 6.3, bit by bit; blocks are big-endian numbers."""
    total = 0
    for bit in range(127, -1, -1):
        if a >> bit & 1:
            total ^= b
        b = b >> 1 ^ (0xE1 << 120 if b & 1 else 0)
    return total


def encrypt_blocks(key: bytes, content: bytes) -> bytes:
    """AES of each block."""
    return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(content)


@compiled
@given(blocks, blocks)
def test_a_block_of_aes_also_in_place(key: bytes, block: bytes) -> None:
    to = np.zeros(16, np.uint8)
    with lend(key, block) as (key_at, source), lend_arrays(to) as (to_at,):
        run_encrypt(key_at, source, to_at, CIPHER)
        assert to.tobytes() == encrypt_blocks(key, block)
        run_encrypt(key_at, to_at, to_at, CIPHER)
    assert to.tobytes() == encrypt_blocks(key, encrypt_blocks(key, block))


@compiled
@given(
    blocks,
    st.binary(min_size=12, max_size=12),
    words,
    st.binary(min_size=16 + STRIDE_BYTES, max_size=16 + STRIDE_BYTES),
)
def test_counter_mode_counts_modulo_2_32(key: bytes, nonce: bytes, number: int, content: bytes) -> None:
    counters = [nonce + struct.pack(">I", (number + turn) % 2**32) for turn in range(layout.STRIDE_BLOCKS + 1)]
    stream = encrypt_blocks(key, b"".join(counters))
    to = np.zeros(len(content), np.uint8)
    with lend(key, nonce + bytes(4), content) as (key_at, nonce_at, source), lend_arrays(to) as (to_at,):
        run_add_streams(key_at, nonce_at, number, source, to_at, CIPHER)
    assert to.tobytes() == bytes(a ^ b for a, b in zip(content, stream, strict=True))


@compiled
@given(blocks, blocks, st.binary(min_size=16 + STRIDE_BYTES, max_size=16 + STRIDE_BYTES))
def test_ghash_is_the_sum_of_products(key: bytes, total: bytes, content: bytes) -> None:
    expected = int.from_bytes(total, "big")
    for at in range(0, len(content), 16):
        expected = multiply(expected ^ int.from_bytes(content[at : at + 16], "big"), int.from_bytes(key, "big"))
    result = np.frombuffer(total, np.uint8).copy()
    with lend(key, content) as (key_at, source), lend_arrays(result) as (result_at,):
        run_add_products(key_at, result_at, source, CIPHER)
    assert result.tobytes() == expected.to_bytes(16, "big")


@pytest.mark.parametrize("count", [1, 2, 3])
@compiled
@given(st.lists(words, min_size=8, max_size=8), st.lists(words, min_size=48, max_size=48))
def test_compressions_side_by_side(count: int, state: list[int], content: list[int]) -> None:
    to = np.zeros((count, 16), np.uint32)
    room = to.view(np.uint8).reshape(-1)[: 64 * count - 32]
    taken = struct.pack("=8I", *state), struct.pack(f"={16 * count}I", *content[: 16 * count])
    with lend(*taken) as (state_at, source), lend_arrays(room) as (to_at,):
        run_compress(count, state_at, source, to_at, CIPHER)
    for number in range(count):
        assert to[number, :8].tolist() == tables.compress(state, content[16 * number : 16 * number + 16])
        assert not to[number, 8:].any()

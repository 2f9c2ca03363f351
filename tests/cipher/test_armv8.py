"""The back end for ARMv8: LLVM has each instruction, and an emulator computes what other implementations do."""

import random
import struct
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from penstock.cipher import aes, armv8, ghash, sha256, tables
from penstock.cipher.layout import STRIDE_BLOCKS
from penstock.compile.memory import CHECKED
from tests.cipher.emulator import compile_emitter, emulate
from tests.cipher.test_primitives import multiply

pytestmark = pytest.mark.skipif(CHECKED, reason="the emulator checks accesses itself")

SCHEDULE, BLOCK, TO, TOTAL = 0x100, 0x400, 0x800, 0xC00  # offsets in the room; the key is at 0
expand_key, encrypt_block = aes.emit_schedule(armv8), aes.emit_block(armv8)
add_stream = aes.emit_stream(armv8, STRIDE_BLOCKS)
prepare_factors, add_hash = ghash.emit_factors(armv8), ghash.emit_sum(armv8, STRIDE_BLOCKS)
compressions = [sha256.emit_compression(armv8, count) for count in (1, 2, 3)]


def encrypt(key: bytes, content: bytes) -> bytes:
    return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(content)


@pytest.mark.parametrize("emit", [expand_key, encrypt_block, add_stream, prepare_factors, add_hash, *compressions])
def test_llvm_selects_every_instruction(emit: Callable[..., None]) -> None:
    assert compile_emitter(emit)[:4] == b"\x7fELF"


def test_aes_in_an_emulator() -> None:
    unicorn = pytest.importorskip("unicorn")
    room = random.Random(1).randbytes(0x1000)
    room = emulate(unicorn, expand_key, room, 0, SCHEDULE, 0)
    room = emulate(unicorn, encrypt_block, room, SCHEDULE, BLOCK, TO, 0)
    assert room[TO : TO + 16] == encrypt(room[:16], room[BLOCK : BLOCK + 16])
    number, size = 0xFFFFFFFE, 16 * STRIDE_BLOCKS
    room = emulate(unicorn, add_stream, room, SCHEDULE, 0, -number, BLOCK, TO, 0)
    counters = [room[:12] + struct.pack(">I", (number + turn) % 2**32) for turn in range(STRIDE_BLOCKS)]
    stream = encrypt(room[:16], b"".join(counters))
    assert room[TO : TO + size] == bytes(a ^ b for a, b in zip(room[BLOCK : BLOCK + size], stream, strict=True))


def test_ghash_in_an_emulator() -> None:
    unicorn = pytest.importorskip("unicorn")
    before = random.Random(2).randbytes(0x1000)
    room = emulate(unicorn, prepare_factors, before, 0, SCHEDULE, 0)
    room = emulate(unicorn, add_hash, room, SCHEDULE, TOTAL, BLOCK)
    expected = int.from_bytes(before[TOTAL : TOTAL + 16], "big")
    for at in range(BLOCK, BLOCK + 16 * STRIDE_BLOCKS, 16):
        expected = multiply(expected ^ int.from_bytes(before[at : at + 16], "big"), int.from_bytes(before[:16], "big"))
    assert room[TOTAL : TOTAL + 16] == expected.to_bytes(16, "big")


@pytest.mark.parametrize("count", [1, 2, 3])
def test_sha256_in_an_emulator(count: int) -> None:
    unicorn = pytest.importorskip("unicorn")
    room = random.Random(3).randbytes(0x1000)
    state = struct.unpack_from("<8I", room)
    room = emulate(unicorn, compressions[count - 1], room, 0, BLOCK, TO, 0)
    for number in range(count):
        block = struct.unpack_from("<16I", room, BLOCK + 64 * number)
        assert list(struct.unpack_from("<8I", room, TO + 64 * number)) == tables.compress(state, block)

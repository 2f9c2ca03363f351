"""SHA-256's compression in ordinary compiled code, for machines without instructions for it.

A block is a word block (see `layout`). A word is the lower 32 bits of a number: what stands above is garbage that
neither additions nor bit operations carry down, so only rotations and stores cut it off.
Knows FIPS 180-4 4.1.2 and 6.2.2. Refuses to know padding, HMAC and lengths.
"""

from typing import Any

from numba.extending import intrinsic

from penstock.cipher.layout import HASH_BLOCK_BYTES, SHA_CONSTANTS, SHA_WORDS
from penstock.cipher.vectors import I32, Code
from penstock.compile.memory import I64, INT, put32, put64, shared, u32, u64

ROUNDS_END = 256  # offset behind the last of 64 words


@intrinsic
def rotate32(typing_context, word, bits):  # type: ignore[no-untyped-def]
    """The lower 32 bits of `word`, rotated right; what stands above is cut off."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        low, count = (builder.trunc(arg, I32) for arg in args)
        return builder.zext(Code(context, builder).call("llvm.fshr.i32", I32, low, low, count), I64)

    return INT(INT, INT), codegen


@shared
def extend_message(block, words):  # type: ignore[no-untyped-def]
    """Write the message schedule.

    Reads: a word block. Writes: 64 words at `words`. Returns: 0. Bounds: 56 turns. Source: FIPS 180-4 6.2.2 step 1.
    """
    for at in range(0, HASH_BLOCK_BYTES, 8):
        put64(words + at, u64(block + at))
    for at in range(words, words + ROUNDS_END - HASH_BLOCK_BYTES, 4):
        early, late = u32(at + 4), u32(at + 56)
        low = rotate32(early, 7) ^ rotate32(early, 18) ^ early >> 3
        high = rotate32(late, 17) ^ rotate32(late, 19) ^ late >> 10
        put32(at + 64, u32(at) + low + u32(at + 36) + high)
    return 0


@shared
def compress(state, block, to, cipher):  # type: ignore[no-untyped-def]
    """Write the state after one block.

    Reads: STATE_BYTES at `state`, a word block. Writes: STATE_BYTES at `to`, SHA_WORDS. Returns: 0. Bounds: 64 rounds.
    Source: FIPS 180-4 6.2.2.
    """
    words, constants = cipher + SHA_WORDS, cipher + SHA_CONSTANTS
    extend_message(block, words)
    a, b, c, d = u32(state), u32(state + 4), u32(state + 8), u32(state + 12)
    e, f, g, h = u32(state + 16), u32(state + 20), u32(state + 24), u32(state + 28)
    for at in range(0, ROUNDS_END, 4):
        first = h + u32(constants + at) + u32(words + at) + (g ^ e & (f ^ g))
        first += rotate32(e, 6) ^ rotate32(e, 11) ^ rotate32(e, 25)
        second = (rotate32(a, 2) ^ rotate32(a, 13) ^ rotate32(a, 22)) + (a & b ^ c & (a ^ b))
        h, g, f, e, d, c, b, a = g, f, e, d + first, c, b, a, first + second
    put32(to, u32(state) + a)
    put32(to + 4, u32(state + 4) + b)
    put32(to + 8, u32(state + 8) + c)
    put32(to + 12, u32(state + 12) + d)
    put32(to + 16, u32(state + 16) + e)
    put32(to + 20, u32(state + 20) + f)
    put32(to + 24, u32(state + 24) + g)
    put32(to + 28, u32(state + 28) + h)
    return 0

"""What the AES and SHA2 extensions of ARMv8 compute, as emitters on vectors. `x86` has the same functions.

Knows the instructions and the order in which they want their words. Refuses to know a key schedule, a mode, a hash.
Source: Arm Architecture Reference Manual for A-profile, C7.2: AESE, AESMC, PMULL, SHA256H, SHA256H2, SHA256SU0, SHA256SU1.
"""

from collections.abc import Sequence
from typing import Any

from penstock.cipher.vectors import BYTES, PAIR, WORDS, Code


def encrypt(code: Code, keys: Sequence[Any], blocks: Sequence[Any]) -> list[Any]:
    """AES with the round keys `keys`, of several blocks side by side. AESE adds the key before the round, not after."""
    keys = [code.cast(key, BYTES) for key in keys]
    blocks = [code.cast(block, BYTES) for block in blocks]
    for key in keys[:-2]:
        blocks = [code.call("llvm.aarch64.crypto.aese", BYTES, block, key) for block in blocks]
        blocks = [code.call("llvm.aarch64.crypto.aesmc", BYTES, block) for block in blocks]
    blocks = [code.call("llvm.aarch64.crypto.aese", BYTES, block, keys[-2]) for block in blocks]
    return [code.cast(code.xor(block, keys[-1]), PAIR) for block in blocks]


def substitute(code: Code, columns: Any) -> Any:
    """SubBytes of a block whose four columns are the same (the rows that AES shifts are then what they were)."""
    zeros = code.constant(*[0] * 16)
    return code.cast(code.call("llvm.aarch64.crypto.aese", BYTES, code.cast(columns, BYTES), zeros), PAIR)


def multiply(code: Code, a: Any, b: Any, lane_a: int, lane_b: int) -> Any:
    """The product, 128 bits, of two polynomials over GF(2), each a 64-bit lane."""
    return code.cast(code.call("llvm.aarch64.neon.pmull64", BYTES, code.lane(a, lane_a), code.lane(b, lane_b)), PAIR)


def open_state(code: Code, abcd: Any, efgh: Any) -> tuple[Any, Any]:
    """SHA-256's words a..d and e..h as the rounds want them: as they are."""
    return abcd, efgh


def close_state(code: Code, abcd: Any, efgh: Any) -> tuple[Any, Any]:
    """The words a..d and e..h again."""
    return abcd, efgh


def run_rounds(code: Code, abcd: Any, efgh: Any, words: Any) -> tuple[Any, Any]:
    """Four rounds of SHA-256; `words` are the message's with the rounds' constants added."""
    upper = code.call("llvm.aarch64.crypto.sha256h", WORDS, abcd, efgh, words)
    return upper, code.call("llvm.aarch64.crypto.sha256h2", WORDS, efgh, abcd, words)


def extend_message(code: Code, first: Any, second: Any, third: Any, fourth: Any) -> Any:
    """The four words of the message schedule that follow these sixteen."""
    begun = code.call("llvm.aarch64.crypto.sha256su0", WORDS, first, second)
    return code.call("llvm.aarch64.crypto.sha256su1", WORDS, begun, third, fourth)

"""What AES-NI, PCLMULQDQ and SHA-NI compute, as emitters on vectors. `armv8` has the same functions.

Knows the instructions and the order in which they want their words. Refuses to know a key schedule, a mode, a hash.
Source: Intel Software Developer's Manual, volume 2: AESENC, PCLMULQDQ, SHA256RNDS2, SHA256MSG1, SHA256MSG2.
"""

from collections.abc import Sequence
from typing import Any

from penstock.cipher.vectors import BYTE, PAIR, WORDS, Code


def encrypt(code: Code, keys: Sequence[Any], blocks: Sequence[Any]) -> list[Any]:
    """AES with the round keys `keys`, of several blocks side by side."""
    blocks = [code.xor(block, keys[0]) for block in blocks]
    for key in keys[1:-1]:
        blocks = [code.call("llvm.x86.aesni.aesenc", PAIR, block, key) for block in blocks]
    return [code.call("llvm.x86.aesni.aesenclast", PAIR, block, keys[-1]) for block in blocks]


def substitute(code: Code, columns: Any) -> Any:
    """SubBytes of a block whose four columns are the same (the rows that AES shifts are then what they were)."""
    return code.call("llvm.x86.aesni.aesenclast", PAIR, columns, code.constant(0, 0))


def multiply(code: Code, a: Any, b: Any, lane_a: int, lane_b: int) -> Any:
    """The product, 128 bits, of two polynomials over GF(2), each a 64-bit lane."""
    return code.call("llvm.x86.pclmulqdq", PAIR, a, b, BYTE(lane_a | lane_b << 4))


def open_state(code: Code, abcd: Any, efgh: Any) -> tuple[Any, Any]:
    """SHA-256's words a..d and e..h as the rounds want them: (f, e, b, a) and (h, g, d, c)."""
    return code.choose(abcd, efgh, [5, 4, 1, 0]), code.choose(abcd, efgh, [7, 6, 3, 2])


def close_state(code: Code, feba: Any, hgdc: Any) -> tuple[Any, Any]:
    """The words a..d and e..h again."""
    return code.choose(feba, hgdc, [3, 2, 7, 6]), code.choose(feba, hgdc, [1, 0, 5, 4])


def run_rounds(code: Code, feba: Any, hgdc: Any, words: Any) -> tuple[Any, Any]:
    """Four rounds of SHA-256; `words` are the message's with the rounds' constants added."""
    middle = code.call("llvm.x86.sha256rnds2", WORDS, hgdc, feba, words)
    upper = code.choose(words, words, [2, 3, 2, 3])
    return code.call("llvm.x86.sha256rnds2", WORDS, feba, middle, upper), middle


def extend_message(code: Code, first: Any, second: Any, third: Any, fourth: Any) -> Any:
    """The four words of the message schedule that follow these sixteen."""
    begun = code.call("llvm.x86.sha256msg1", WORDS, first, second)
    begun = code.add(begun, code.choose(third, fourth, [1, 2, 3, 4]))
    return code.call("llvm.x86.sha256msg2", WORDS, begun, fourth)

"""AES-128 by the processor's instructions: key schedule, one block, and blocks of the key stream of counter mode.

Each function here makes an emitter for a machine (`x86` or `armv8`); `portable_aes` is the same by tables, and `cipher` is
there because a portable function may need it. Knows FIPS 197 (5.2: key expansion) and the counter blocks of NIST
SP 800-38A 6.5. Refuses to know GCM and where keys come from.
"""

from collections.abc import Callable
from typing import Any

from penstock.cipher.tables import ROUND_CONSTANTS
from penstock.cipher.vectors import I32, PAIR, WORDS, Code


def load_schedule(code: Code, schedule: Any) -> list[Any]:
    """The eleven round keys."""
    return [code.load(schedule, 16 * number) for number in range(11)]


def emit_schedule(machine: Any) -> Callable[..., None]:
    """Writes key expansion: 16 bytes at `key` become 176 at `schedule`."""

    def expand_key(code: Code, key: Any, schedule: Any, cipher: Any) -> None:
        last = code.load(key)
        code.store(last, schedule)
        for number, constant in enumerate(ROUND_CONSTANTS, 1):
            turned = machine.substitute(code, code.pick(last, [13, 14, 15, 12] * 4))
            # Each word is the sum of the old words up to it: two shifted additions make all four.
            last = code.xor(last, code.pick(last, [*range(16, 20), *range(12)]))
            last = code.xor(last, code.pick(last, [*range(16, 24), *range(8)]))
            last = code.xor(last, turned, code.constant(*[constant | constant << 32] * 2))
            code.store(last, schedule, 16 * number)

    return expand_key


def emit_block(machine: Any) -> Callable[..., None]:
    """Writes the encryption of the block at `source` to `to`; they may be the same."""

    def encrypt_block(code: Code, schedule: Any, source: Any, to: Any, cipher: Any) -> None:
        code.store(machine.encrypt(code, load_schedule(code, schedule), [code.load(source)])[0], to)

    return encrypt_block


def emit_stream(machine: Any, count: int) -> Callable[..., None]:
    """Writes `count` blocks of counter mode, source to `to`. `counter` holds the nonce, `number` is the first block's."""

    def add_stream(code: Code, schedule: Any, counter: Any, number: Any, source: Any, to: Any, cipher: Any) -> None:
        nonce = code.load(counter, 0, WORDS)
        first, counters = code.builder.trunc(number, I32), []
        for block in range(count):
            value = code.builder.bswap(code.add(first, I32(block)))
            counters.append(code.cast(code.builder.insert_element(nonce, value, I32(3)), PAIR))
        stream = machine.encrypt(code, load_schedule(code, schedule), counters)
        for block, key in enumerate(stream):
            code.store(code.xor(code.load(source, 16 * block), key), to, 16 * block)

    return add_stream

"""SHA-256's compression by the processor's instructions, for one block or several side by side.

A block is a word block (see `layout`). Several chains at once hide that each round waits for the one before.
Makes an emitter for a machine (`x86` or `armv8`). Knows FIPS 180-4 6.2.2. Refuses to know padding, HMAC and lengths.
`portable_sha256` is the same in ordinary compiled code.
"""

from collections.abc import Callable
from typing import Any

from penstock.cipher.layout import HASH_BLOCK_BYTES
from penstock.cipher.tables import SHA_CONSTANTS
from penstock.cipher.vectors import WORDS, Code


def emit_compression(machine: Any, count: int) -> Callable[..., None]:
    """Writes the states after the block 0, 1, ... at `blocks`, each from the same `state`, to `to` + 0, + 64, ..."""

    def compress(code: Code, state: Any, blocks: Any, to: Any, cipher: Any) -> None:
        begin = code.load(state, 0, WORDS), code.load(state, 16, WORDS)
        chains = [machine.open_state(code, *begin)] * count
        messages = [
            [code.load(blocks, start + at, WORDS) for at in range(0, HASH_BLOCK_BYTES, 16)]
            for start in range(0, count * HASH_BLOCK_BYTES, HASH_BLOCK_BYTES)
        ]
        for turn in range(16):
            constants = code.constant(*SHA_CONSTANTS[4 * turn : 4 * turn + 4])
            for number, message in enumerate(messages):
                if turn >= 4:
                    message.append(machine.extend_message(code, *message[-4:]))
                words = code.add(message[turn], constants)
                chains[number] = machine.run_rounds(code, *chains[number], words)
        for number, chain in enumerate(chains):
            for half, (old, new) in enumerate(zip(begin, machine.close_state(code, *chain), strict=True)):
                code.store(code.add(old, new), to, number * HASH_BLOCK_BYTES + 16 * half)

    return compress

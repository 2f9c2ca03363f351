"""HKDF-Expand-Label with HMAC-SHA-256, on word blocks (see `layout`).

    HMAC key ──► two states: after the key under the inner pad, and under the outer pad
    message  ──► inner state ──► digest ──► outer state ──► digest

All secrets are digests, all messages fit one block, and all outputs one digest; so HKDF-Expand is one HMAC. What does
not change from packet to packet (labels, states of a fixed salt) is made once, by the Python half.

Knows RFC 2104, RFC 5869 2.3, RFC 8446 7.1. Refuses to know which labels and salts there are.
"""

import struct

from penstock.cipher import tables
from penstock.cipher.layout import HASH_BLOCK_BYTES, OUTERS, PADS, SHA_START, STATE_BYTES, swap_words
from penstock.cipher.primitives import compress_one, compress_three, compress_two
from penstock.compile.memory import put64, shared, u64

STATES_BYTES = 2 * HASH_BLOCK_BYTES  # the inner state, and 64 bytes on the outer one
OUTER_STATE = HASH_BLOCK_BYTES
INNER_PAD = 0x3636363636363636
OUTER_PAD = 0x5C5C5C5C5C5C5C5C
LONGEST_MESSAGE = HASH_BLOCK_BYTES - 9  # a byte and eight bytes of length end it


# ---- before the start: ordinary Python ----------------------------------------------------------------------------
def build_block(message: bytes) -> bytes:
    """The word block of a message behind a key's pad."""
    if len(message) > LONGEST_MESSAGE:
        raise ValueError(f"a message of {len(message)} bytes, where {LONGEST_MESSAGE} fit one block")
    length = struct.pack(">Q", 8 * (HASH_BLOCK_BYTES + len(message)))
    return swap_words((message + b"\x80").ljust(HASH_BLOCK_BYTES - 8, b"\0") + length)


def build_label(label: str, size: int) -> bytes:
    """The word block of HKDF-Expand-Label without context for an output of `size` bytes, at most one digest."""
    text = f"tls13 {label}".encode()
    return build_block(struct.pack(">HB", size, len(text)) + text + b"\0" + b"\x01")


def build_states(key: bytes) -> bytes:
    """The states of an HMAC key of at most one block: STATES_BYTES."""
    parts = []
    for pad in (0x36, 0x5C):
        block = bytes(byte ^ pad for byte in key.ljust(HASH_BLOCK_BYTES, b"\0"))
        state = tables.compress(tables.SHA_START, struct.unpack(">16I", block))
        parts.append(struct.pack("=8I", *state).ljust(HASH_BLOCK_BYTES, b"\0"))
    return b"".join(parts)


# ---- compiled ------------------------------------------------------------------------------------------------------
@shared
def write_states(secret, states, cipher):  # type: ignore[no-untyped-def]
    """Write the states of an HMAC key that is a digest.

    Reads: eight words at `secret`. Writes: STATES_BYTES at `states`; PADS. Returns: 0. Bounds: two blocks.
    Source: RFC 2104 2.
    """
    pads = cipher + PADS
    for at in range(0, STATE_BYTES, 8):
        words = u64(secret + at)
        put64(pads + at, words ^ INNER_PAD)
        put64(pads + HASH_BLOCK_BYTES + at, words ^ OUTER_PAD)
    return compress_two(cipher + SHA_START, pads, states, cipher)


@shared
def sign_block(states, block, to, cipher):  # type: ignore[no-untyped-def]
    """Write the HMAC of a word block.

    Reads: STATES_BYTES, a word block. Writes: eight words at `to`; OUTERS. Returns: 0. Bounds: two blocks.
    Source: RFC 2104 2.
    """
    compress_one(states, block, cipher + OUTERS, cipher)
    return compress_one(states + OUTER_STATE, cipher + OUTERS, to, cipher)


@shared
def sign_three(states, blocks, to, cipher):  # type: ignore[no-untyped-def]
    """Write the HMACs of three word blocks under one key.

    Reads: STATES_BYTES, three word blocks. Writes: eight words each at `to`, + 64, + 128; OUTERS. Returns: 0.
    Bounds: six blocks. Source: RFC 2104 2.
    """
    compress_three(states, blocks, cipher + OUTERS, cipher)
    return compress_three(states + OUTER_STATE, cipher + OUTERS, to, cipher)

"""The memory of one worker's cipher: constants that are written once, and scratch that is overwritten by each message.

    | SHA-256: start, constants, words | HMAC: pads, outer blocks | AES: schedule | GCM: counter, sum, ... | tables |

Offsets from `cipher`; every part is aligned to 8 bytes. A *word block* is a block of SHA-256 as 16 numbers of 32 bits in
the machine's byte order: no byte is swapped between one hash and the next. Refuses to know QUIC; what uses the
cipher keeps its own constants behind ROOM_BYTES.

`prepare` fills the constants. It is ordinary Python over an address and runs before the worker starts.
"""

import ctypes
import struct

from penstock.cipher import tables
from penstock.cipher.features import BACKEND, PORTABLE

BLOCK_BYTES = 16  # of AES and GHASH
HASH_BLOCK_BYTES = 64  # of SHA-256
STATE_BYTES = 32  # of SHA-256: eight words
SCHEDULE_BYTES = 11 * BLOCK_BYTES

# SHA-256.
SHA_START = 0  # the state before the first block
SHA_CONSTANTS = SHA_START + STATE_BYTES  # 64 words
SHA_WORDS = SHA_CONSTANTS + 256  # scratch: the message schedule, 64 words
# HMAC. The constant halves of these blocks are never overwritten.
PADS = SHA_WORDS + 256  # two word blocks: the key under the inner and the outer pad
OUTERS = PADS + 2 * HASH_BLOCK_BYTES  # three word blocks: an inner digest, padded as the outer hash wants it
# AES-128-GCM.
SCHEDULE = OUTERS + 3 * HASH_BLOCK_BYTES  # round keys
COUNTER = SCHEDULE + SCHEDULE_BYTES  # the nonce and 4 bytes for a number
SUM = COUNTER + BLOCK_BYTES  # GHASH so far
LENGTHS = SUM + BLOCK_BYTES  # GHASH's last block
TAIL = LENGTHS + BLOCK_BYTES  # a block that is not whole
TAG = TAIL + BLOCK_BYTES
ZEROS = TAG + BLOCK_BYTES  # constant
HASH_KEY = ZEROS + BLOCK_BYTES  # the block of zeros, encrypted
MASKS = HASH_KEY + BLOCK_BYTES  # constant: 16 bytes of ones, 16 of zeros
# What GHASH multiplies with: powers of the hash key by instructions, products of it by tables.
STRIDE_BLOCKS = 8  # by instructions: so many blocks share one reduction
FACTORS = MASKS + 2 * BLOCK_BYTES
FACTORS_BYTES = 32 * 16 * BLOCK_BYTES if BACKEND.blocks == PORTABLE else STRIDE_BLOCKS * BLOCK_BYTES
AES_TABLES = FACTORS + FACTORS_BYTES  # constant: four tables of 256 words; none by instructions
AES_TABLES_BYTES = 4096 if BACKEND.blocks == PORTABLE else 0
ROOM_BYTES = AES_TABLES + AES_TABLES_BYTES

OUTER_TAIL = b"\x80" + bytes(23) + struct.pack(">Q", 8 * (HASH_BLOCK_BYTES + STATE_BYTES))  # behind an inner digest


def write_room(address: int, content: bytes) -> None:
    """Put bytes at an address."""
    ctypes.memmove(address, content, len(content))


def swap_words(content: bytes) -> bytes:
    """Big-endian 32-bit words as the machine's, or the other way round."""
    count = len(content) // 4
    return struct.pack(f"={count}I", *struct.unpack(f">{count}I", content))


def prepare(cipher: int) -> None:
    """Fill ROOM_BYTES at `cipher`."""
    room = bytearray(ROOM_BYTES)
    room[SHA_START:SHA_CONSTANTS] = struct.pack("=8I", *tables.SHA_START)
    room[SHA_CONSTANTS:SHA_WORDS] = struct.pack("=64I", *tables.SHA_CONSTANTS)
    for number, pad in enumerate((b"\x36", b"\x5c")):
        start = PADS + number * HASH_BLOCK_BYTES
        room[start : start + HASH_BLOCK_BYTES] = pad * HASH_BLOCK_BYTES
    for start in range(OUTERS, SCHEDULE, HASH_BLOCK_BYTES):
        room[start + STATE_BYTES : start + HASH_BLOCK_BYTES] = swap_words(OUTER_TAIL)
    room[MASKS : MASKS + BLOCK_BYTES] = b"\xff" * BLOCK_BYTES
    if AES_TABLES_BYTES:
        room[AES_TABLES:] = struct.pack("=1024I", *tables.build_round_tables())
    write_room(cipher, bytes(room))

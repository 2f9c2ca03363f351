"""The constants and the compression in ordinary Python, against known values and hashlib."""

import hashlib
import struct

from hypothesis import given
from hypothesis import strategies as st

from penstock.cipher import tables


def test_known_constants() -> None:
    assert tables.SHA_START[0] == 0x6A09E667
    assert tables.SHA_START[7] == 0x5BE0CD19
    assert tables.SHA_CONSTANTS[0] == 0x428A2F98
    assert tables.SHA_CONSTANTS[63] == 0xC67178F2
    box = tables.build_substitution()
    assert sorted(box) == list(range(256))
    assert (box[0x00], box[0x01], box[0x53], box[0xFF]) == (0x63, 0x7C, 0xED, 0x16)  # FIPS 197 5.1.1


@given(st.binary(max_size=55))
def test_one_compression_is_the_hash_of_a_short_message(message: bytes) -> None:
    block = (message + b"\x80").ljust(56, b"\0") + struct.pack(">Q", 8 * len(message))
    state = tables.compress(tables.SHA_START, struct.unpack(">16I", block))
    assert struct.pack(">8I", *state) == hashlib.sha256(message).digest()

"""HMAC and HKDF-Expand-Label on word blocks, against the standard library and `cryptography`."""

import hmac
import struct

import numpy as np
import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from hypothesis import given
from hypothesis import strategies as st

from penstock.cipher import hkdf
from penstock.cipher.layout import HASH_BLOCK_BYTES, swap_words
from penstock.compile.memory import shared
from penstock.compile.native import kernel
from tests.answer.buffers import compiled, lend, lend_arrays
from tests.cipher.rooms import CIPHER

digests = st.binary(min_size=32, max_size=32)
messages = st.binary(max_size=hkdf.LONGEST_MESSAGE)
labels = st.text("abcdefghijklmnopqrstuvwxyz0123456789 ", min_size=1, max_size=20)


@shared
def sign_all(secret, states, blocks, to, cipher):  # type: ignore[no-untyped-def]
    hkdf.write_states(secret, states, cipher)
    return hkdf.sign_three(states, blocks, to, cipher)


run_sign_block, run_sign_all = kernel(hkdf.sign_block), kernel(sign_all)


@compiled
@given(st.binary(max_size=HASH_BLOCK_BYTES), messages)
def test_one_hmac_from_states_made_in_advance(key: bytes, message: bytes) -> None:
    to = np.zeros(32, np.uint8)
    with lend(hkdf.build_states(key), hkdf.build_block(message)) as (states, block), lend_arrays(to) as (to_at,):
        run_sign_block(states, block, to_at, CIPHER)
    assert swap_words(to.tobytes()) == hmac.digest(key, message, "sha256")


@compiled
@given(digests, st.lists(st.tuples(labels, st.integers(1, 32)), min_size=3, max_size=3))
def test_three_labels_of_a_secret(secret: bytes, wanted: list[tuple[str, int]]) -> None:
    blocks = b"".join(hkdf.build_label(label, size) for label, size in wanted)
    states, to = np.zeros(hkdf.STATES_BYTES, np.uint8), np.zeros(2 * HASH_BLOCK_BYTES + 32, np.uint8)
    with lend(swap_words(secret), blocks) as (secret_at, blocks_at), lend_arrays(states, to) as (states_at, to_at):
        run_sign_all(secret_at, states_at, blocks_at, to_at, CIPHER)
    for number, (label, size) in enumerate(wanted):
        text = b"tls13 " + label.encode()
        info = struct.pack(">HB", size, len(text)) + text + b"\0"
        start = number * HASH_BLOCK_BYTES
        result = swap_words(to[start : start + 32].tobytes())[:size]
        assert result == HKDFExpand(SHA256(), size, info).derive(secret)


def test_a_message_that_fits_no_block_is_refused() -> None:
    with pytest.raises(ValueError, match="a message of 56 bytes"):
        hkdf.build_block(bytes(56))

"""Messages of any size against the AES-128-GCM of `cryptography`."""

import numpy as np
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from penstock.cipher import gcm, layout
from penstock.compile.memory import move, shared
from penstock.compile.native import kernel
from tests.answer.buffers import compiled, lend, lend_arrays
from tests.cipher.rooms import CIPHER

keys = st.binary(min_size=16, max_size=16)
nonces = st.binary(min_size=12, max_size=12)
contents = st.integers(0, 600).flatmap(lambda size: st.binary(min_size=size, max_size=size))


@shared
def open_one(key, nonce, header, header_bytes, source, size, to, cipher):  # type: ignore[no-untyped-def]
    gcm.load_key(key, cipher)
    move(cipher + layout.COUNTER, nonce, gcm.NONCE_BYTES)
    return gcm.open_message(header, header_bytes, source, size, to, cipher)


@shared
def seal_one(key, nonce, header, header_bytes, text, size, to, cipher):  # type: ignore[no-untyped-def]
    gcm.load_key(key, cipher)
    move(cipher + layout.COUNTER, nonce, gcm.NONCE_BYTES)
    return gcm.seal_message(header, header_bytes, text, size, to, cipher)


run_open, run_seal = kernel(open_one), kernel(seal_one)


@compiled
@given(keys, nonces, contents, contents)
def test_sealed_as_elsewhere(key: bytes, nonce: bytes, header: bytes, text: bytes) -> None:
    to = np.zeros(len(text) + gcm.TAG_BYTES, np.uint8)
    with (
        lend(key, nonce, header + b"\xaa" * 15, text) as (key_at, nonce_at, head, text_at),
        lend_arrays(to) as (to_at,),
    ):
        run_seal(key_at, nonce_at, head, len(header), text_at, len(text), to_at, CIPHER)
    assert to.tobytes() == AESGCM(key).encrypt(nonce, text, header)


@compiled
@given(keys, nonces, contents, contents)
def test_opened_as_sealed_elsewhere(key: bytes, nonce: bytes, header: bytes, text: bytes) -> None:
    sealed = AESGCM(key).encrypt(nonce, text, header)
    to = np.zeros(len(text) + 15, np.uint8)
    with lend(key, nonce, header + b"\xaa" * 15, sealed) as (key_at, nonce_at, head, at), lend_arrays(to) as (to_at,):
        assert run_open(key_at, nonce_at, head, len(header), at, len(text), to_at, CIPHER)
    assert to[: len(text)].tobytes() == text


@compiled
@given(keys, nonces, contents, contents, st.data())
def test_a_flipped_bit_is_no_message(key: bytes, nonce: bytes, header: bytes, text: bytes, data: st.DataObject) -> None:
    whole = bytearray(header + AESGCM(key).encrypt(nonce, text, header))
    bit = data.draw(st.integers(0, 8 * len(whole) - 1))
    whole[bit // 8] ^= 1 << bit % 8
    to = np.zeros(len(text) + 15, np.uint8)
    head, sealed = bytes(whole[: len(header)]) + bytes(15), bytes(whole[len(header) :])
    with lend(key, nonce, head, sealed) as (key_at, nonce_at, head_at, at), lend_arrays(to) as (to_at,):
        assert not run_open(key_at, nonce_at, head_at, len(header), at, len(text), to_at, CIPHER)

"""Initials against the RFCs' vectors and `cryptography`: keys, opening, sealing, and what is no Initial."""

import ctypes
import hmac
import struct

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from hypothesis import given
from hypothesis import strategies as st

from penstock.compile.native import kernel
from penstock.request import initial
from penstock.request.initial import BAD_TAG, KEYS_BYTES, LAST_NUMBER, TOO_SHORT, VERSION_1, VERSION_2
from tests.answer.buffers import compiled, lend, lend_arrays
from tests.cipher.initial_vectors import CID, VECTORS, Vector
from tests.cipher.rooms import CIPHER, ROOM
from tests.corpus import CORPUS

run_derive, run_open = kernel(initial.derive_keys), kernel(initial.open_initial)
run_seal, run_decode = kernel(initial.seal_initial), kernel(initial.decode_number)

vectors = pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"{vector.version:x} {vector.from_server}")
versions = st.sampled_from([VERSION_1, VERSION_2])
cids = st.integers(0, 20).flatmap(lambda size: st.binary(min_size=size, max_size=size))
heads = st.integers(1, 300).flatmap(lambda size: st.binary(min_size=size, max_size=size))
bodies = st.integers(3, 1400).flatmap(lambda size: st.binary(min_size=size, max_size=size))
numbers = st.integers(0, 2**62 - 1)
number_sizes = st.integers(1, 4)


# ---- the same, elsewhere ------------------------------------------------------------------------------------------
def expand(secret: bytes, label: str, size: int) -> bytes:
    """HKDF-Expand-Label."""
    text = f"tls13 {label}".encode()
    return HKDFExpand(SHA256(), size, struct.pack(">HB", size, len(text)) + text + b"\0").derive(secret)


def derive_elsewhere(version: int, cid: bytes, from_server: int) -> tuple[bytes, bytes, bytes]:
    """Key, IV and HP."""
    prefix, salt = initial.SALTS[version == VERSION_2]
    secret = expand(hmac.digest(salt, cid, "sha256"), "server in" if from_server else "client in", 32)
    return expand(secret, f"{prefix} key", 16), expand(secret, f"{prefix} iv", 12), expand(secret, f"{prefix} hp", 16)


def seal_elsewhere(keys: tuple[bytes, bytes, bytes], head: bytes, sent_bytes: int, frames: bytes, number: int) -> bytes:
    """The packet of a clear header whose last bytes are the packet number."""
    key, iv, hp = keys
    nonce = (int.from_bytes(iv, "big") ^ number).to_bytes(12, "big")
    sealed = AESGCM(key).encrypt(nonce, frames, head)
    sample = sealed[4 - sent_bytes : 20 - sent_bytes]
    mask = Cipher(algorithms.AES(hp), modes.ECB()).encryptor().update(sample)
    at = len(head) - sent_bytes
    sent = bytes(a ^ b for a, b in zip(head[at:], mask[1:], strict=False))
    return bytes([head[0] ^ mask[0] & 0x0F]) + head[1:at] + sent + sealed


def build_head(start: bytes, sent_bytes: int, number: int) -> bytes:
    """A clear header: any bytes, whose lowest two bits say how long the packet number at the end is."""
    first = bytes([start[0] & 0xFC | sent_bytes - 1])
    return first + start[1:] + (number % 256**sent_bytes).to_bytes(sent_bytes, "big")


def keep_keys(keys: tuple[bytes, bytes, bytes]) -> bytes:
    """KEYS_BYTES."""
    return keys[0] + keys[1] + bytes(4) + keys[2]


# ---- ours ----------------------------------------------------------------------------------------------------------
def derive(version: int, cid: bytes, from_server: int) -> bytes | None:
    """KEYS_BYTES; None when the version is refused."""
    keys = np.full(KEYS_BYTES, 0xAA, np.uint8)
    with lend(cid) as (cid_at,), lend_arrays(keys) as (keys_at,):
        known = run_derive(version, cid_at, len(cid), from_server, keys_at, CIPHER)
    assert known or (keys == 0xAA).all()
    return keys.tobytes() if known else None


def open_packet(packet: bytes, number_off: int, keys: bytes, expected: int = 0) -> bytes | int:
    """The frames, or a negative result. What lies behind the packet may not be read."""
    out = np.zeros(max(1, len(packet)), np.uint8)
    with lend(packet, keys) as (p, keys_at), lend_arrays(out) as (out_at,):
        size = int(run_open(p, p + number_off, p + len(packet), expected, keys_at, out_at, CIPHER))
        assert ctypes.string_at(p, len(packet)) == packet, "the packet was written"
    return out[:size].tobytes() if size >= 0 else size


def seal_packet(head: bytes, sent_bytes: int, frames: bytes, keys: bytes, number: int) -> bytes:
    out = np.zeros(len(head) + len(frames) + 16, np.uint8)
    out[: len(head)] = np.frombuffer(head, np.uint8)
    with lend(frames, keys) as (frames_at, keys_at), lend_arrays(out) as (out_at,):
        size = run_seal(out_at, len(head), sent_bytes, frames_at, len(frames), keys_at, number, CIPHER)
    assert size == len(out)
    return out.tobytes()


def last_number() -> int:
    return int(ROOM[LAST_NUMBER : LAST_NUMBER + 8].view(np.int64)[0])


# ---- the RFCs -----------------------------------------------------------------------------------------------------
@vectors
def test_keys_of_the_rfcs(vector: Vector) -> None:
    keys = derive(vector.version, CID, vector.from_server)
    assert keys == keep_keys((vector.key, vector.iv, vector.hp))


@vectors
def test_packets_of_the_rfcs(vector: Vector) -> None:
    keys = keep_keys((vector.key, vector.iv, vector.hp))
    sent_bytes = (vector.head[0] & 3) + 1
    frames = vector.frames.ljust(len(vector.packet) - len(vector.head) - 16, b"\0")
    assert open_packet(vector.packet, len(vector.head) - sent_bytes, keys) == frames
    assert last_number() == vector.number
    assert seal_packet(vector.head, sent_bytes, frames, keys, vector.number) == vector.packet


@vectors
def test_no_bit_of_a_packet_of_the_rfcs_may_differ(vector: Vector) -> None:
    """Each of the last 40 bytes, which end with the tag, and of the first 40."""
    keys = keep_keys((vector.key, vector.iv, vector.hp))
    number_off, bits = len(vector.head) - (vector.head[0] & 3) - 1, 8 * len(vector.packet)
    for bit in [*range(320), *range(bits - 320, bits)]:
        packet = bytearray(vector.packet)
        packet[bit // 8] ^= 1 << bit % 8
        assert open_packet(bytes(packet), number_off, keys) == BAD_TAG


def test_the_vectors_are_those_of_the_corpus() -> None:
    if CORPUS is None:
        pytest.skip("no corpus")
    text = (CORPUS / "tls" / "quic_initial_vectors.json").read_text()
    for vector in VECTORS:
        assert all(part.hex() in text for part in vector if isinstance(part, bytes))


# ---- properties ----------------------------------------------------------------------------------------------------
@compiled
@given(versions, cids, st.integers(0, 1))
def test_keys_of_any_connection_id(version: int, cid: bytes, from_server: int) -> None:
    assert derive(version, cid, from_server) == keep_keys(derive_elsewhere(version, cid, from_server))


@compiled
@given(st.integers(0, 2**32 - 1).filter(lambda version: version not in (VERSION_1, VERSION_2)), cids)
def test_another_version_has_no_keys(version: int, cid: bytes) -> None:
    assert derive(version, cid, 0) is None


def test_a_connection_id_that_is_too_long_has_no_keys() -> None:
    assert derive(VERSION_1, bytes(21), 0) is None


@compiled
@given(versions, cids, heads, number_sizes, bodies, numbers)
def test_opened_and_sealed_as_elsewhere(
    version: int, cid: bytes, start: bytes, sent_bytes: int, frames: bytes, number: int
) -> None:
    keys = derive_elsewhere(version, cid, 0)
    head = build_head(start, sent_bytes, number)
    packet = seal_elsewhere(keys, head, sent_bytes, frames, number)
    assert seal_packet(head, sent_bytes, frames, keep_keys(keys), number) == packet
    assert open_packet(packet, len(start), keep_keys(keys), number) == frames
    assert last_number() == number


@compiled
@given(heads, number_sizes, bodies, st.data())
def test_a_flipped_bit_is_a_bad_tag(start: bytes, sent_bytes: int, frames: bytes, data: st.DataObject) -> None:
    """Whichever byte it is in; that of the protected length of the number included."""
    keys = derive_elsewhere(VERSION_1, CID, 0)
    packet = bytearray(seal_elsewhere(keys, build_head(start, sent_bytes, 7), sent_bytes, frames, 7))
    bit = data.draw(st.integers(0, 8 * len(packet) - 1))
    packet[bit // 8] ^= 1 << bit % 8
    assert open_packet(bytes(packet), len(start), keep_keys(keys)) == BAD_TAG


@compiled
@given(heads, number_sizes, bodies, st.data())
def test_a_cut_packet_is_too_short_or_a_bad_tag(
    start: bytes, sent_bytes: int, frames: bytes, data: st.DataObject
) -> None:
    keys = derive_elsewhere(VERSION_2, CID, 1)
    packet = seal_elsewhere(keys, build_head(start, sent_bytes, 0), sent_bytes, frames, 0)
    size = data.draw(st.integers(0, len(packet) - 1))
    expected = TOO_SHORT if size - len(start) < 20 else BAD_TAG
    assert open_packet(packet[:size], len(start), keep_keys(keys)) == expected


@compiled
@given(st.binary(min_size=1, max_size=200), st.data())
def test_any_bytes_are_too_short_or_a_bad_tag(packet: bytes, data: st.DataObject) -> None:
    number_off = data.draw(st.integers(0, len(packet)))
    result = open_packet(packet, number_off, keep_keys(derive_elsewhere(VERSION_1, CID, 0)))
    assert result == (TOO_SHORT if number_off == 0 or len(packet) - number_off < 20 else BAD_TAG)


@pytest.mark.parametrize("size", [65_535, 65_536])
def test_the_largest_packets(size: int) -> None:
    keys = derive_elsewhere(VERSION_1, b"", 0)
    for start in (b"\xc0" * 40, b"\xc0" * (size - 40)):  # much text; a token that fills the packet
        head = build_head(start, 2, 9)
        frames = bytes(size - len(head) - 16)
        packet = seal_elsewhere(keys, head, 2, frames, 9)
        assert seal_packet(head, 2, frames, keep_keys(keys), 9) == packet
        assert open_packet(packet, len(start), keep_keys(keys)) == frames


def test_a_packet_number_is_written_only_when_the_tag_is_right() -> None:
    vector = VECTORS[0]
    keys = keep_keys((vector.key, vector.iv, vector.hp))
    assert open_packet(vector.packet, 18, keys) != BAD_TAG
    assert open_packet(VECTORS[2].packet, 18, keys) == BAD_TAG
    assert last_number() == vector.number


# ---- packet numbers -------------------------------------------------------------------------------------------------
@compiled
@given(numbers, number_sizes, st.data())
def test_a_number_near_the_expected_one_is_decoded(expected: int, sent_bytes: int, data: st.DataObject) -> None:
    """Within half a window (RFC 9000 17.1): the sender takes care that it is."""
    half = 256**sent_bytes // 2
    number = data.draw(st.integers(max(0, expected - half + 1), min(2**62 - 1, expected + half)))
    assert run_decode(expected, number % 256**sent_bytes, sent_bytes) == number


@compiled
@given(number_sizes, st.data())
def test_a_number_is_what_was_sent_where_none_is_expected(sent_bytes: int, data: st.DataObject) -> None:
    sent = data.draw(st.integers(0, 256**sent_bytes - 1))
    assert run_decode(0, sent, sent_bytes) == sent


def test_the_example_of_rfc_9000() -> None:
    assert run_decode(0xA82F30EB, 0x9B32, 2) == 0xA82F9B32

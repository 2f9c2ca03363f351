"""Headers, frames and integers of QUIC against aioquic's; no bytes fault."""

import numpy as np
import pytest
from aioquic.buffer import Buffer, BufferReadError
from aioquic.quic.packet import QuicPacketType, QuicProtocolVersion, pull_ack_frame, pull_quic_header
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.compile.native import kernel
from penstock.request import quic
from penstock.request.status import BAD, COMPLETE, NOT_MINE
from tests.answer.buffers import compiled, lend, lend_arrays
from tests.quic import ACK_FRAME, CLOSE, INITIAL, PING, V1, V2, crypto, initial, long_packet, varint

run_varint, run_packet, run_find = kernel(quic.read_varint), kernel(quic.parse_packet), kernel(quic.find_crypto)
TYPES = {
    QuicPacketType.INITIAL: quic.INITIAL,
    QuicPacketType.ZERO_RTT: quic.ZERO_RTT,
    QuicPacketType.HANDSHAKE: quic.HANDSHAKE,
    QuicPacketType.RETRY: quic.RETRY,
}
CRYPTO_SLOTS = (quic.CRYPTO_OFFSET, quic.CRYPTO_DATA, quic.CRYPTO_BYTES)
STATUSES = (COMPLETE, NOT_MINE, BAD)

cids = st.binary(max_size=20)
versions = st.sampled_from([V1, V2])
kinds = st.integers(0, 2)
some = st.binary(max_size=40)


# ---- ours ----------------------------------------------------------------------------------------------------------
def read(content: bytes) -> int:
    with lend(content) as (p,):
        return int(run_varint(p, p + len(content)))


def parse(content: bytes) -> tuple[int, dict[str, int | bytes]]:
    """The status and the fields, places as offsets."""
    words = np.zeros(quic.PACKET_BYTES // 8, np.int64)
    with lend(content) as (p,), lend_arrays(words) as (packet,):
        status = int(run_packet(p, p + len(content), packet))
    at = {name: int(words[getattr(quic, name) // 8]) for name in ("PACKET_VERSION", "PACKET_TYPE")}
    ends = {name: int(words[getattr(quic, name) // 8]) - p for name in ("PACKET_END", "PACKET_NUMBER")}
    cid = {name: span(content, words, name, p) for name in ("DCID", "SCID")} if status == COMPLETE else {}
    return status, {**at, **ends, **cid}


def span(content: bytes, words: np.ndarray, name: str, p: int) -> bytes:
    start, size = int(words[getattr(quic, name) // 8]) - p, int(words[getattr(quic, f"{name}_BYTES") // 8])
    assert 0 <= start <= start + size <= len(content)
    return content[start : start + size]


def frames_of(content: bytes) -> tuple[list[tuple[int, bytes]], bool]:
    """The CRYPTO frames up to the first bad one, and whether there was none."""
    words, found = np.zeros(quic.PACKET_BYTES // 8, np.int64), []
    with lend(content) as (p,), lend_arrays(words) as (packet,):
        at = p
        for _ in range(len(content) + 1):
            at = int(run_find(at, p + len(content), packet))
            if at <= 0:
                return found, at == 0
            offset, data, size = (
                int(words[slot // 8]) for slot in (quic.CRYPTO_OFFSET, quic.CRYPTO_DATA, quic.CRYPTO_BYTES)
            )
            assert p <= data <= data + size == at <= p + len(content)
            found.append((offset, content[data - p : data - p + size]))
    raise AssertionError("more frames than bytes")


# ---- the same, elsewhere -------------------------------------------------------------------------------------------
def read_elsewhere(content: bytes) -> int:
    try:
        return Buffer(data=content).pull_uint_var()
    except BufferReadError:
        return quic.VARINT_BAD


def frames_elsewhere(content: bytes) -> tuple[list[tuple[int, bytes]], bool]:
    buffer, found = Buffer(data=content), []
    try:
        while not buffer.eof():
            kind = buffer.pull_uint_var()
            if kind == 6:
                offset, size = buffer.pull_uint_var(), buffer.pull_uint_var()
                found.append((offset, buffer.pull_bytes(size)))
            elif kind in (2, 3):
                pull_ack_frame(buffer)
                for _ in range(3 if kind == 3 else 0):
                    buffer.pull_uint_var()
            elif kind == 0x1C:
                buffer.pull_uint_var()
                buffer.pull_uint_var()
                buffer.pull_bytes(buffer.pull_uint_var())
            elif kind > 1:
                return found, False
    except (BufferReadError, ValueError):
        return found, False
    return found, True


# ---- properties ----------------------------------------------------------------------------------------------------
@compiled
@given(st.one_of(st.binary(max_size=10), st.integers(0, (1 << 62) - 1).map(varint)))
def test_an_integer_is_what_aioquic_reads(content: bytes) -> None:
    assert read(content) == read_elsewhere(content)


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_longer_forms_are_the_same_integer(size: int) -> None:
    assert read(varint(6, size)) == 6
    assert read(varint(6, size)[:-1]) == quic.VARINT_BAD


@compiled
@given(
    kinds,
    versions,
    cids,
    cids,
    st.binary(max_size=40),
    st.binary(max_size=40),
    st.integers(0, 200),
    st.binary(max_size=9),
)
def test_a_header_is_what_aioquic_reads(
    kind: int, version: int, dcid: bytes, scid: bytes, token: bytes, body: bytes, cut_at: int, behind: bytes
) -> None:
    content = long_packet(kind, dcid, body, scid=scid, version=version, token=token) + behind
    content = content[: len(content) - cut_at] if cut_at < 100 else content
    compare(content)


@compiled
@given(st.binary(min_size=1, max_size=60), versions)
def test_any_bytes_are_what_aioquic_reads(content: bytes, version: int) -> None:
    compare(bytes([content[0] | 0xC0]) + version.to_bytes(4) + content[1:])


def compare(content: bytes) -> None:
    """Both read the same packet, or neither does."""
    status, found = parse(content)
    assert status in STATUSES
    try:
        header = pull_quic_header(Buffer(data=content), host_cid_length=8)
    except (ValueError, BufferReadError):
        assert status != COMPLETE or found["PACKET_TYPE"] == quic.RETRY
        return
    if header.version is None or header.version not in (QuicProtocolVersion.VERSION_1, QuicProtocolVersion.VERSION_2):
        assert status == NOT_MINE
        return
    assert status == COMPLETE
    assert found["PACKET_TYPE"] == TYPES[header.packet_type]
    assert (found["PACKET_VERSION"], found["DCID"], found["SCID"]) == (
        header.version,
        header.destination_cid,
        header.source_cid,
    )
    assert found["PACKET_END"] == header.packet_length or header.packet_type == QuicPacketType.RETRY


pieces = st.one_of(
    st.binary(max_size=12),
    st.tuples(st.integers(0, 1 << 40), st.binary(max_size=80)).map(lambda pair: crypto(*pair)),
    st.sampled_from([PING, bytes(1), bytes(8), bytes(17), ACK_FRAME, b"\3" + ACK_FRAME[1:] + bytes(3), CLOSE]),
    st.sampled_from([b"\2\x09\0\1\0\1\1", b"\x1c\0\0\3abc", b"\x40\6\0\1x", varint(0, 8), varint(1, 4)]),
    st.sampled_from([b"\7\0", b"\x1d\0\0", b"\x1e", b"\x30\0", b"\6\0\x20", b"\2\0\0\x7f\xff\0"]),
)


@compiled
@given(st.lists(pieces, max_size=12).map(b"".join))
@example(b"\2\0\0" + varint((1 << 62) - 1) + bytes(40))
@example(b"\6" + varint((1 << 62) - 1) + varint((1 << 62) - 1))
@example(b"\x1c\0\0" + varint((1 << 62) - 1))
def test_frames_are_what_aioquic_reads(content: bytes) -> None:
    assert frames_of(content) == frames_elsewhere(content)


@compiled
@given(st.binary(max_size=80))
def test_no_bytes_fault(content: bytes) -> None:
    status, _ = parse(content)
    assert status in STATUSES
    assert len(frames_of(content)[0]) <= len(content)


# ---- examples ------------------------------------------------------------------------------------------------------
def test_an_initial_and_what_follows_it() -> None:
    first = initial(b"12345678", PING, token=b"token", size=300)
    status, found = parse(first + b"behind")
    assert (status, found["PACKET_END"], found["PACKET_TYPE"]) == (COMPLETE, 300, quic.INITIAL)
    assert parse(first[:-1])[0] == BAD
    assert parse(long_packet(INITIAL, bytes(21), b"x"))[0] == BAD
    assert parse(long_packet(INITIAL, b"", b"x", scid=bytes(21)))[0] == BAD


@pytest.mark.parametrize("content", [b"", b"\x40" + bytes(60), b"\xc0\0\0\0\0" + bytes(60), b"\xc0\xff\0\0\x1d\0\0"])
def test_what_is_of_no_version_that_is_read(content: bytes) -> None:
    assert parse(content)[0] == NOT_MINE


def test_a_retry_ends_with_its_datagram() -> None:
    status, found = parse(b"\xf0\0\0\0\1\0\0" + bytes(90))
    assert (status, found["PACKET_TYPE"], found["PACKET_END"]) == (COMPLETE, quic.RETRY, 97)

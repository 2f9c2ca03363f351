"""Sums against a plain-Python model and scapy; what verifies, what is partial, what is wrong."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.all import IP, TCP, IPv6, Raw
from scapy.utils import checksum as scapy_checksum

from penstock.compile.memory import shared
from penstock.compile.native import kernel
from penstock.wire import checksum
from penstock.wire.checksum import BARE, RIGHT, WRONG
from tests.answer.buffers import compiled, lend, lend_arrays


@shared
def fold_sum(p, size, start):  # type: ignore[no-untyped-def]
    return checksum.fold(checksum.sum_bytes(p, size, start))


@shared
def fold_two(p, cut, size):  # type: ignore[no-untyped-def]
    return checksum.fold(checksum.sum_bytes(p + cut, size - cut, checksum.sum_bytes(p, cut, 0)))


@shared
def fold_pseudo(l3, is_ipv6, protocol, length):  # type: ignore[no-untyped-def]
    return checksum.fold(checksum.pseudo_sum(l3, is_ipv6, protocol, length))


run_fold_sum = kernel(fold_sum)
run_fold_two = kernel(fold_two)
run_fold_pseudo = kernel(fold_pseudo)
run_verify = kernel(checksum.verify_tcp)
run_write_tcp = kernel(checksum.write_tcp_checksum)
run_write_ipv4 = kernel(checksum.write_ipv4_checksum)
run_update = kernel(checksum.update16)


def model_sum(data: bytes) -> int:
    """RFC 1071, word by word."""
    total = sum(int.from_bytes((data[at : at + 2] + b"\0")[:2], "big") for at in range(0, len(data), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@compiled
@given(st.binary(max_size=200), st.integers(0, 7))
def test_sum_of_any_size_at_any_alignment(data: bytes, skip: int) -> None:
    with lend(bytes(skip) + data) as (at,):
        assert run_fold_sum(at + skip, len(data), 0) == model_sum(data)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 31, 32, 33, 1499, 65_535, 65_575])
def test_sum_of_all_ones(size: int) -> None:
    with lend(b"\xff" * size) as (at,):
        assert run_fold_sum(at, size, 0) == model_sum(b"\xff" * size)


@compiled
@given(st.binary(min_size=1, max_size=100), st.integers(0, 50))
def test_even_pieces_add_up(data: bytes, half: int) -> None:
    cut = min(2 * half, len(data) & ~1)
    with lend(data) as (at,):
        assert run_fold_two(at, cut, len(data)) == model_sum(data)


@compiled
@given(st.binary(min_size=40, max_size=40), st.booleans(), st.integers(0, 255), st.integers(0, 2**32 - 1))
def test_pseudo_header_of_any_length(header: bytes, is_ipv6: bool, protocol: int, length: int) -> None:
    addresses = header[8:40] if is_ipv6 else header[12:20]
    expected = model_sum(addresses + length.to_bytes(4, "big") + bytes([0, 0, 0, protocol]))
    with lend(header if is_ipv6 else header[:20]) as (at,):
        assert run_fold_pseudo(at, int(is_ipv6), protocol, length) == expected


@st.composite
def a_segment(draw: st.DrawFn) -> tuple[bytes, int, int]:
    """An IP packet with a TCP segment as scapy writes it; where TCP starts; is it IPv6?"""
    payload = draw(st.one_of(st.binary(max_size=60), st.binary(min_size=1, max_size=1).map(lambda b: b * 1_400)))
    tcp = TCP(
        sport=draw(st.integers(0, 65_535)),
        seq=draw(st.integers(0, 2**32 - 1)),
        flags=draw(st.integers(0, 255)),
        options=draw(st.sampled_from([[], [("MSS", 1460)], [("Timestamp", (1, 2)), ("NOP", None), ("NOP", None)]])),
    )
    if draw(st.booleans()):
        addresses = st.integers(0, 2**128 - 1).map(lambda n: ":".join(f"{n >> 16 * k & 0xFFFF:x}" for k in range(8)))
        return bytes(IPv6(src=draw(addresses), dst=draw(addresses)) / tcp / Raw(payload)), 40, 1
    addresses = st.integers(0, 2**32 - 1).map(lambda n: ".".join(str(n >> 8 * k & 255) for k in range(4)))
    return bytes(IP(src=draw(addresses), dst=draw(addresses)) / tcp / Raw(payload)), 20, 0


def verify(packet: bytes, l4_off: int, is_ipv6: int) -> int:
    with lend(packet) as (at,):
        return int(run_verify(at, at + l4_off, len(packet) - l4_off, is_ipv6))


def with_field(packet: bytes, l4_off: int, value: int) -> bytes:
    return packet[: l4_off + 16] + value.to_bytes(2, "big") + packet[l4_off + 18 :]


def bare_sum(packet: bytes, l4_off: int, is_ipv6: int) -> int:
    length = len(packet) - l4_off
    addresses = packet[8:40] if is_ipv6 else packet[12:20]
    return model_sum(addresses + length.to_bytes(4, "big") + b"\0\0\0\x06")


@compiled
@given(a_segment(), st.data())
def test_verify_tells_right_bare_and_wrong(segment: tuple[bytes, int, int], data: st.DataObject) -> None:
    packet, l4_off, is_ipv6 = segment
    bare = bare_sum(packet, l4_off, is_ipv6)
    right = int.from_bytes(packet[l4_off + 16 : l4_off + 18], "big")
    assert verify(packet, l4_off, is_ipv6) == (BARE if right == bare else RIGHT)
    assert verify(with_field(packet, l4_off, bare), l4_off, is_ipv6) == BARE
    other = data.draw(st.integers(0, 0xFFFF).filter(lambda n: n != bare and (n - right) % 0xFFFF != 0))
    assert verify(with_field(packet, l4_off, other), l4_off, is_ipv6) == WRONG


@compiled
@given(a_segment(), st.data())
def test_a_changed_bit_is_wrong(segment: tuple[bytes, int, int], data: st.DataObject) -> None:
    packet, l4_off, is_ipv6 = segment
    first = 8 if is_ipv6 else 12
    off = data.draw(st.one_of(st.integers(first, l4_off - 1), st.integers(l4_off, len(packet) - 1)))
    bit = data.draw(st.integers(0, 7))
    changed = packet[:off] + bytes([packet[off] ^ 1 << bit]) + packet[off + 1 :]
    field = int.from_bytes(changed[l4_off + 16 : l4_off + 18], "big")
    assert verify(changed, l4_off, is_ipv6) == (BARE if field == bare_sum(changed, l4_off, is_ipv6) else WRONG)


@compiled
@given(a_segment(), st.integers(0, 0xFFFF))
def test_written_checksums_are_scapys(segment: tuple[bytes, int, int], junk: int) -> None:
    packet, l4_off, is_ipv6 = segment
    room = np.frombuffer(with_field(packet, l4_off, junk), np.uint8).copy()
    if not is_ipv6:
        room[10:12] = junk >> 8, junk & 255
    with lend_arrays(room) as (at,):
        run_write_tcp(at, at + l4_off, len(packet) - l4_off, is_ipv6)
        if not is_ipv6:
            run_write_ipv4(at)
    assert room.tobytes() == packet


@compiled
@given(st.binary(max_size=40).filter(lambda b: len(b) % 4 == 0))
def test_ipv4_header_with_options(options: bytes) -> None:
    header = bytearray(bytes(IP(src="192.0.2.1", dst="10.0.0.1")) + options)
    header[0] = 0x45 + len(options) // 4
    header[10:12] = b"\0\0"
    room = np.frombuffer(bytes(header), np.uint8).copy()
    with lend_arrays(room) as (at,):
        assert run_write_ipv4(at) == scapy_checksum(bytes(header))
    assert scapy_checksum(room.tobytes()) == 0


@compiled
@given(st.lists(st.integers(0, 0xFFFF), min_size=2, max_size=12), st.data())
def test_update_agrees_with_a_new_sum(words: list[int], data: st.DataObject) -> None:
    number = data.draw(st.integers(0, len(words) - 1))
    value = data.draw(st.integers(0, 0xFFFF))
    old = model_sum(b"".join(word.to_bytes(2, "big") for word in words)) ^ 0xFFFF
    changed = [*words[:number], value, *words[number + 1 :]]
    total = model_sum(b"".join(word.to_bytes(2, "big") for word in changed)) ^ 0xFFFF
    updated = run_update(old, words[number], value)
    assert (updated - total) % 0xFFFF == 0
    assert updated == total or not any(changed)  # all zeros: 0xFFFF and 0 are the same number


def test_update_gives_the_zero_of_rfc_1624() -> None:
    assert run_update(0xDD2F, 0x5555, 0x3285) == 0  # section 4: the older equation gives 0xFFFF


def test_update_keeps_a_wrong_checksum_wrong() -> None:
    assert run_update(0xDEAD, 0x1234, 0x1234) == 0xDEAD
    assert run_update(run_update(0xDEAD, 1, 2), 2, 1) == 0xDEAD

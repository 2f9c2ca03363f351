"""Authored segments, parsed by scapy, every checksum computed again."""

from hypothesis import given
from hypothesis import strategies as st

from penstock.answer.tcp import write_reset, write_segment
from penstock.compile.native import kernel
from penstock.wire.headers import ACK, FIN, PSH, RST, SYN
from tests.answer.buffers import compiled
from tests.answer.packets import MOST_HEADERS_BYTES, Origin, an_origin, author, build_origin, check_mirror, u16, u32

run_segment = kernel(write_segment)
run_reset = kernel(write_reset)


@compiled
@given(
    an_origin,
    st.integers(0, 1),
    u32,
    u32,
    st.integers(0, 255),
    u16,
    st.one_of(st.just((0, 0)), st.tuples(u32, u32)),
    st.one_of(st.binary(max_size=80), st.binary(min_size=1_300, max_size=1_303)),
)
def test_segment_is_what_scapy_would_build(
    origin: Origin,
    reverse: int,
    seq: int,
    ack: int,
    flags: int,
    window: int,
    timestamps: tuple[int, int],
    payload: bytes,
) -> None:
    room = MOST_HEADERS_BYTES + len(payload)
    args = reverse, seq, ack, flags, window, *timestamps, payload, len(payload)
    tcp = check_mirror(author(run_segment, origin, *args, room_bytes=room), origin, reverse)
    assert (tcp.seq, tcp.ack, int(tcp.flags) & 255, tcp.window, tcp.urgptr) == (seq, ack, flags, window, 0)
    assert bytes(tcp.payload) == payload
    expected = [("NOP", None), ("NOP", None), ("Timestamp", timestamps)] if any(timestamps) else []
    assert tcp.options == expected


@compiled
@given(an_origin, st.integers(-(2**40), 2**40))
def test_numbers_wrap(origin: Origin, number: int) -> None:
    frame = author(run_segment, origin, 1, number, number, ACK, 1, number, number, b"", 0)
    tcp = check_mirror(frame, origin, 1)
    assert tcp.seq == tcp.ack == number % 2**32


@compiled
@given(an_origin, st.integers(0, 1), u32, u32)
def test_reset_is_exact_and_bare(origin: Origin, reverse: int, seq: int, ack: int) -> None:
    tcp = check_mirror(author(run_reset, origin, reverse, seq, ack), origin, reverse)
    assert (tcp.seq, tcp.ack, int(tcp.flags), tcp.window) == (seq, ack, RST | ACK, 0)
    assert not tcp.options
    assert not bytes(tcp.payload)


def test_flags_are_those_of_the_wire() -> None:
    for flag, letter in ((FIN, "F"), (SYN, "S"), (RST, "R"), (PSH, "P"), (ACK, "A")):
        frame = author(run_segment, build_origin(), 1, 1, 1, flag, 1, 0, 0, b"", 0)
        assert str(check_mirror(frame, build_origin(), 1).flags) == letter

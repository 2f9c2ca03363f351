"""The page: its reference number, and its segments put together again by the client."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.answer.http import (
    FRAME_ROOM_BYTES,
    MSS_LEAST_BYTES,
    PLACE_LIMIT,
    find_room_bytes,
    write_answer_segment,
    write_hex,
    write_response,
)
from penstock.compile.native import kernel
from tests.answer.buffers import compiled, lend_arrays
from tests.answer.packets import (
    GUARD_BYTES,
    Origin,
    an_origin,
    author,
    build_origin,
    check_mirror,
    u16,
    u32,
)

run_response = kernel(write_response)
run_segment = kernel(write_answer_segment)
run_room = kernel(find_room_bytes)


def write(template: bytes, places: list[tuple[int, int]], fills: list[bytes]) -> bytes:
    guarded = np.full(len(template) + GUARD_BYTES, 0xAA, np.uint8)
    out = guarded[: len(template)]
    slots = np.array([kind << 32 | off for kind, off in places] + [0] * (PLACE_LIMIT - len(places)), np.int64)
    texts = [np.frombuffer(text, np.uint8) for text in fills]
    table = np.array([[text.ctypes.data, len(text)] for text in texts], np.int64)
    with lend_arrays(out, np.frombuffer(template, np.uint8), slots, table, *texts) as (
        at,
        template_at,
        slots_at,
        fills_at,
        *_,
    ):
        assert run_response(at, template_at, len(template), slots_at, fills_at) == len(template)
    assert (guarded[len(template) :] == 0xAA).all()
    return out.tobytes()


a_place = st.tuples(st.integers(0, 1), st.integers(0, 220) | st.integers(0, 2**32 - 1))


@compiled
@given(
    st.binary(min_size=1, max_size=200),
    st.lists(a_place, max_size=PLACE_LIMIT),
    st.lists(st.binary(min_size=1, max_size=40), min_size=2, max_size=2),
)
def test_what_goes_into_a_place_is_written_where_it_fits(template: bytes, places: list, fills: list[bytes]) -> None:
    expected = bytearray(template)
    for kind, off in places:
        if 0 < off <= len(template) - len(fills[kind]):
            expected[off : off + len(fills[kind])] = fills[kind]
    assert write(template, places, fills) == bytes(expected)


@pytest.mark.parametrize("number", [0, 1, 0x0123456789ABCDEF, -1, -(2**63)])
def test_hex_is_lower_case_and_has_all_its_digits(number: int) -> None:
    out = np.full(20, 0xAA, np.uint8)
    with lend_arrays(out[:16]) as (at,):
        kernel(write_hex)(at, number, 16)
    assert out.tobytes() == b"%016x" % (number % 2**64) + b"\xaa" * 4


@compiled
@given(
    an_origin,
    st.binary(min_size=1, max_size=4_096),
    st.integers(-5, 70_000),
    u32,
    u32,
    u16,
    st.one_of(st.just((0, 0)), st.tuples(u32, u32)),
    st.integers(0, 1),
)
def test_segments_make_the_answer(
    origin: Origin,
    answer: bytes,
    mss: int,
    seq0: int,
    ack: int,
    window: int,
    timestamps: tuple[int, int],
    fin: int,
) -> None:
    room = run_room(mss, *timestamps)
    assert room + (12 if any(timestamps) else 0) <= max(mss, MSS_LEAST_BYTES)
    stream = b""
    for offset in range(0, len(answer), room):
        args = answer, len(answer), offset, mss, seq0, ack, window, *timestamps, fin
        tcp = check_mirror(author(run_segment, origin, *args, room_bytes=FRAME_ROOM_BYTES), origin, 1)
        assert (tcp.seq, tcp.ack, tcp.window) == ((seq0 + offset) % 2**32, ack, window)
        stream += bytes(tcp.payload)
        is_last = len(stream) == len(answer)
        assert str(tcp.flags) == (("FPA" if fin else "PA") if is_last else "A")
    assert stream == answer


@pytest.mark.parametrize("timestamps", [(0, 0), (7, 9)])
def test_an_answer_that_fills_its_last_segment_ends_there(timestamps: tuple[int, int]) -> None:
    origin, room = build_origin(), run_room(536, *timestamps)
    answer = b"x" * (2 * room)
    args = answer, len(answer), room, 536, 5, 6, 7, *timestamps, 1
    tcp = check_mirror(author(run_segment, origin, *args, room_bytes=FRAME_ROOM_BYTES), origin, 1)
    assert (str(tcp.flags), len(tcp.payload)) == ("FPA", room)


@compiled
@given(st.integers(0, 100), st.integers(-10, 200), st.integers(0, 1))
def test_any_offset_gives_the_rest_a_fin_or_nothing(size: int, offset: int, fin: int) -> None:
    origin = build_origin()
    answer = bytes(range(size))
    frame = author(run_segment, origin, answer, size, offset, 536, 5, 6, 7, 0, 0, fin, room_bytes=FRAME_ROOM_BYTES)
    if not 0 <= offset <= size or (offset == size and not fin):
        assert frame == b""
        return
    tcp = check_mirror(frame, origin, 1)
    assert bytes(tcp.payload) == answer[offset:]
    assert ("F" in str(tcp.flags)) == bool(fin)

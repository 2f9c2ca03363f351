"""The page: its reference number, and its segments put together again by the client."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.answer.http import (
    FRAME_ROOM_BYTES,
    MSS_LEAST_BYTES,
    find_room_bytes,
    write_answer_segment,
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


def write(template: bytes, references: list[int], reference: int) -> bytes:
    guarded = np.full(len(template) + GUARD_BYTES, 0xAA, np.uint8)
    out = guarded[: len(template)]
    slots = np.array((references + [0] * 4)[:4], np.int64)
    with lend_arrays(out, np.frombuffer(template, np.uint8), slots) as (at, template_at, slots_at):
        assert run_response(at, template_at, len(template), slots_at, reference) == len(template)
    assert (guarded[len(template) :] == 0xAA).all()
    return out.tobytes()


an_offset = st.integers(-(2**62), 2**62) | st.integers(-20, 220)


@compiled
@given(st.binary(min_size=1, max_size=200), st.lists(an_offset, max_size=4), u32)
def test_reference_is_written_where_it_fits(template: bytes, references: list[int], reference: int) -> None:
    expected = bytearray(template)
    for off in references:
        if 0 < off <= len(template) - 16:
            expected[off : off + 16] = b"%016x" % reference
    assert write(template, references, reference) == bytes(expected)


@pytest.mark.parametrize("reference", [0, 1, 0x0123456789ABCDEF, -1, -(2**63)])
def test_reference_is_sixteen_lower_case_digits(reference: int) -> None:
    assert write(b"id=" + b"?" * 16 + b".", [3], reference) == b"id=%016x." % (reference % 2**64)


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

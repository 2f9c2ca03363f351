"""What fuzzing stands on: plain readers see what compiled ones would do, and do not see past a region's end."""

from collections.abc import Callable

import pytest

from penstock.compile.memory import CHECKED
from penstock.request import http
from tests.fuzz import arena, pure
from tests.fuzz.machines import Machine, Native, Pure
from tests.fuzz.readers import READERS, TURNS, Reader, read_purely

STREAM = b"GET / HTTP/1.1\r\nHost: www.example.test\r\n\r\n"


@pytest.fixture
def machine() -> Pure:
    return Pure()


def test_accesses_outside_of_a_region_are_faults(machine: Pure) -> None:
    start = machine.lend(STREAM)
    short = machine.room(64)
    for size, extra in ((len(STREAM) - 1, 1), (len(STREAM), 1)):
        shown = machine.lend(STREAM[:size])
        with pytest.raises(arena.Fault, match="1 bytes at offset"):
            machine.run("request.response._find_line_end", shown + size, shown + size + extra)
    with pytest.raises(arena.Fault, match="no region"):
        machine.run("request.response._find_line_end", start - 1, start)
    with pytest.raises(arena.Fault, match="8 bytes at offset"):
        machine.run("request.http.read_request", start, start + len(STREAM), 0, short)
    with pytest.raises(arena.Fault, match="lent to be read"):
        machine.run("request.http.read_request", start, start + len(STREAM), 0, machine.lend(bytes(http.STATE_BYTES)))


@pytest.mark.parametrize(
    ("operation", "args", "value"),
    [
        (arena.wrap, (1 << 63,), -1 << 63),
        (arena.shift_left, (1, 63), -1 << 63),
        (arena.shift_right, (-8, 1), -4),
        (arena.shr, (-1, 60), 15),
        (arena.within, (-1, 2, 1), True),
        (arena.count_trailing_zeros, (-1 << 40,), 40),
        (arena.count_trailing_zeros, (0,), 64),
    ],
)
def test_numbers_are_int64(operation: Callable[..., int], args: tuple[int, ...], value: int) -> None:
    assert operation(*args) == value


@pytest.mark.parametrize("operation", [arena.shift_left, arena.shift_right, arena.shr])
def test_a_shift_that_nobody_defines_is_a_fault(operation: Callable[..., int]) -> None:
    for bits in (64, -1):
        with pytest.raises(arena.Fault, match="a shift by"):
            operation(1, bits)


def test_products_wrap_in_plain_readers(machine: Pure) -> None:
    native = Native()
    for byte in (0, 65, 255):
        plain = machine.run("policy.names.mix_byte", -1 << 63, byte)
        assert plain == native.run("policy.names.mix_byte", -1 << 63, byte)
        assert -1 << 63 <= plain < 1 << 63


def test_the_compiled_readers_stay_what_they_were() -> None:
    assert vars(pure.load_readers()["penstock.request.http"])["read_request"] is not http.read_request
    assert http.read_request.__globals__["u64"] is not arena.MEMORY["u64"]


def test_a_broken_promise_is_an_exception(machine: Pure, monkeypatch: pytest.MonkeyPatch) -> None:
    def touch(machine: Machine, content: bytes) -> int:
        return machine.run("request.response._find_line_end", start := machine.lend(content), start + len(content))

    monkeypatch.setitem(READERS, "response", Reader(touch, turns=1))
    assert read_purely("response", machine, bytes(100)) == 0
    monkeypatch.setitem(READERS, "response", Reader(touch, turns=0))
    with pytest.raises(AssertionError, match="loads and stores"):
        read_purely("response", machine, bytes(TURNS + 1))
    assert machine.turns == 0, "the memory was taken back"


@pytest.mark.skipif(not CHECKED, reason="only the checked build sees it")
def test_the_checked_build_sees_an_access_outside() -> None:
    native = Native()
    stream = STREAM.replace(b"\n", b" ")
    start = native.lend(stream)
    native.run("request.response._find_line_end", start, start + len(stream))
    native.close()
    start = native.lend(stream)
    native.run("request.response._find_line_end", start, start + len(stream) + 1)
    with pytest.raises(AssertionError, match="outside of every region"):
        native.close()


def test_memory_lent_to_be_read_is_compared() -> None:
    native = Native()
    native.put_word(native.lend(STREAM), 0)
    with pytest.raises(AssertionError, match="was written"):
        native.close()

"""The filter of system calls means what its tables say, for each architecture: run by an interpreter of classic BPF."""

import os
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.control.hooks.confinement import CLONE, CLONE3, FREE, LIMIT, NETWORK, OPENAT, SOCKET, build_filter
from penstock.line import system_calls

ALLOW, REFUSE, UNKNOWN = 0x7FFF0000, 0x00050001, 0x00050026


def run_filter(content: bytes, architecture: int, number: int, arguments: tuple[int, ...]) -> int:
    """What the kernel would do: seccomp(2), struct seccomp_data."""
    data = struct.pack("<iIQ6Q", number, architecture, 0, *arguments)
    lines = [struct.unpack_from("<HBBI", content, at) for at in range(0, len(content), 8)]
    accumulator, at = 0, 0
    while True:
        code, if_true, if_false, operand = lines[at]
        at += 1
        if code == 0x20:  # LD | W | ABS
            accumulator = struct.unpack_from("<I", data, operand)[0]
        elif code == 0x54:  # ALU | AND | K
            accumulator &= operand
        elif code == 0x15:  # JMP | JEQ | K
            at += if_true if accumulator == operand else if_false
        else:
            assert code == 0x06  # RET | K
            return int(operand)


def model(column: int, network: bool, number: int, arguments: tuple[int, ...]) -> int:
    """The rules in words."""
    low = [argument & 0xFFFFFFFF for argument in arguments]
    calls = system_calls.FREE | FREE | (NETWORK if network else {})
    if number == CLONE3[column]:
        return UNKNOWN
    if number == OPENAT.numbers[column]:
        is_allowed = low[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC) == 0
    elif number == CLONE.numbers[column]:
        is_allowed = low[0] & 0x10000 != 0
    elif number == LIMIT.numbers[column]:
        is_allowed = low[0] == 0
    elif number == SOCKET.numbers[column]:
        is_allowed = network and low[0] in (2, 10)
    else:
        is_allowed = number in [numbers[column] for numbers in calls.values()]
    return ALLOW if is_allowed else REFUSE


MACHINES = st.sampled_from(sorted(system_calls.ARCHITECTURES))
WORDS = st.sampled_from([0, 1, 2, 10, 0x40, 0x200, 0x10000, 0x80000, 1 << 32, (1 << 32) + 2]) | st.integers(
    0, 2**64 - 1
)


TESTED = [number for test in (OPENAT, CLONE, LIMIT, SOCKET) for number in test.numbers]


@settings(max_examples=500)
@given(MACHINES, st.booleans(), st.integers(0, 460) | st.sampled_from(TESTED), st.tuples(*[WORDS] * 6))
def test_it_means_what_the_tables_say(machine: str, network: bool, number: int, arguments: tuple[int, ...]) -> None:
    architecture, column = system_calls.ARCHITECTURES[machine]
    content = build_filter(machine, network)
    assert run_filter(content, architecture, number, arguments) == model(column, network, number, arguments)


@pytest.mark.parametrize("machine", system_calls.ARCHITECTURES)
def test_every_number_and_every_other_architecture(machine: str) -> None:
    architecture, column = system_calls.ARCHITECTURES[machine]
    content = build_filter(machine, False)
    for number in range(600):
        for arguments in ((0,) * 6, (0x10000, 0, 1, 0, 0, 0), (2, 0, 0x80000, 0, 0, 0)):
            assert run_filter(content, architecture, number, arguments) == model(column, False, number, arguments)
    assert run_filter(content, architecture, 0x40000000 | OPENAT.numbers[0], (0,) * 6) == REFUSE  # x32
    for other, _ in system_calls.ARCHITECTURES.values():
        if other != architecture:
            assert run_filter(content, other, system_calls.FREE["read"][column] or 0, (0,) * 6) == REFUSE

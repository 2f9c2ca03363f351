"""The few system calls that the packet process needs once it runs; everything else is refused with EPERM, for good.

    architecture ─► number ─► one of FREE: allowed │ one of MEMORY: allowed unless it makes memory executable │ else EPERM

No file can be opened any more, no socket made, no program or thread started, no other process seen or signalled, no code
added. What it still holds it can use: the two wires, its maps, its pipes. A call that was forgotten here costs an error and
not the process. The kernel answers for FREE from a bitmap, without running the filter. seccomp(2), BPF of bpf(4).

It knows the numbers of x86-64 and of arm64, whose table riscv64 shares; elsewhere there is no filter.
"""

import ctypes
import os
import struct

from penstock.line.privileges import PrivilegeError

FREE: dict[str, tuple[int, int | None]] = {
    # files that are open already, descriptors that are handed over
    "read": (0, 63), "write": (1, 64), "writev": (20, 66), "close": (3, 57), "lseek": (8, 62), "fcntl": (72, 25),
    "fstat": (5, 80), "newfstatat": (262, 79), "recvmsg": (47, 212), "sendmsg": (46, 211), "getsockname": (51, 204),
    "getpeername": (52, 205), "poll": (7, None), "ppoll": (271, 73),
    # memory and locks; flock for the rings
    "flock": (73, 32),
    "munmap": (11, 215), "mremap": (25, 216), "brk": (12, 214), "madvise": (28, 233), "futex": (202, 98),
    "set_robust_list": (273, 99), "rseq": (334, 293),
    # time, signals, the end
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "gettimeofday": (96, 169), "nanosleep": (35, 101),
    "clock_nanosleep": (230, 115), "sched_yield": (24, 124), "sched_getaffinity": (204, 123), "getpid": (39, 172),
    "gettid": (186, 178), "getrandom": (318, 278), "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139), "sigaltstack": (131, 132), "restart_syscall": (219, 128), "exit": (60, 93),
    "exit_group": (231, 94),
}  # fmt: skip
"""Call → its number on x86-64, and in the table that newer architectures share."""

MEMORY = {"mmap": (9, 222), "mprotect": (10, 226)}
ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1), "riscv64": (0xC00000F3, 1)}
NUMBERS = {"x86_64": 317, "aarch64": 277, "riscv64": 277}  # of seccomp(2) itself

SET_MODE_FILTER, ALL_THREADS = 1, 1
LOAD, IF_EQUAL, IF_SET, RETURN = 0x20, 0x15, 0x45, 0x06
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | 1  # EPERM
NUMBER_OFF, ARCHITECTURE_OFF, PROTECTION_OFF = 0, 4, 32  # of struct seccomp_data; the third argument's low half
EXECUTABLE = 4

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def build_filter(machine: str) -> bytes:
    """The filter for an architecture, a key of ARCHITECTURES, as struct sock_filter has it."""
    architecture, column = ARCHITECTURES[machine]
    free = [number for numbers in FREE.values() if (number := numbers[column]) is not None]
    memory = [numbers[column] for numbers in MEMORY.values()]
    tests = [(number, "allow") for number in free] + [(number, "memory") for number in memory]
    places = {"memory": 3 + len(tests) + 1, "allow": 3 + len(tests) + 3, "refuse": 3 + len(tests)}
    lines = [
        (LOAD, 0, 0, ARCHITECTURE_OFF),
        (IF_EQUAL, 0, places["refuse"] - 2, architecture),
        (LOAD, 0, 0, NUMBER_OFF),
    ]
    for number, target in tests:
        lines.append((IF_EQUAL, places[target] - len(lines) - 1, 0, number))
    lines += [(RETURN, 0, 0, REFUSE), (LOAD, 0, 0, PROTECTION_OFF), (IF_SET, 1, 0, EXECUTABLE)]
    lines += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, REFUSE)]
    return b"".join(struct.pack("<HBBI", *line) for line in lines)


def confine_process() -> bool:
    """Refuse every other system call from now on, to all threads that are there. Returns whether this machine is known.

    Needs no_new_privs. Raises PrivilegeError.
    """
    machine = os.uname().machine
    if machine not in ARCHITECTURES:
        return False
    content = build_filter(machine)
    room = ctypes.create_string_buffer(content, len(content))
    program = ctypes.create_string_buffer(struct.pack("<HxxxxxxQ", len(content) // 8, ctypes.addressof(room)))
    if _libc.syscall(NUMBERS[machine], SET_MODE_FILTER, ALL_THREADS, program) != 0:
        raise PrivilegeError(f"seccomp: {os.strerror(ctypes.get_errno())}: a kernel without CONFIG_SECCOMP_FILTER?")
    return True

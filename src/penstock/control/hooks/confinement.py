"""What a process that runs an operator's hooks may still do: compute, read what everybody may read, answer on its socket.

    limits   address space, no file written, no core file, few descriptors
    rights   another user, no capability: `line.privileges`
    calls    seccomp: whatever is not listed here gets EPERM. No process is started, none signalled, no file opened for
             writing, no socket made unless the network is wanted (and then of the internet alone)

A number of an argument is tested where the call alone says too little. Threads may be started: libraries do. setrlimit(2),
seccomp(2). Knows the numbers of x86-64 and of the table that arm64 and riscv64 share; elsewhere there is no filter.
"""

import ctypes
import os
import resource
import struct
from typing import NamedTuple

from penstock.line import system_calls
from penstock.line.privileges import NO_NEW_PRIVILEGES, PrivilegeError, give_up_everything

DESCRIPTORS = 64
NICENESS = 5  # packets first: a hook that spins gets what is left

FREE: dict[str, tuple[int, int | None]] = {
    "fstat": (5, 80), "newfstatat": (262, 79), "stat": (4, None), "lstat": (6, None), "statx": (332, 291),
    "access": (21, None), "faccessat": (269, 48), "faccessat2": (439, 439), "readlink": (89, None), "readlinkat": (267, 78),
    "getdents64": (217, 61), "getcwd": (79, 17), "statfs": (137, 43), "fstatfs": (138, 44), "ioctl": (16, 29),
    "pread64": (17, 67), "readv": (19, 65), "dup": (32, 23), "dup3": (292, 24), "pipe2": (293, 59), "eventfd2": (290, 19),
    "select": (23, None), "pselect6": (270, 72), "epoll_create1": (291, 20), "epoll_ctl": (233, 21),
    "epoll_wait": (232, None), "epoll_pwait": (281, 22), "mmap": (9, 222), "mprotect": (10, 226), "membarrier": (324, 283),
    "uname": (63, 160), "sysinfo": (99, 179), "times": (100, 153), "getrusage": (98, 165), "getrlimit": (97, 163),
    "getuid": (102, 174), "geteuid": (107, 175), "getgid": (104, 176), "getegid": (108, 177), "getppid": (110, 173),
    "recvfrom": (45, 207), "sendto": (44, 206),
}  # fmt: skip
"""Beside those of the packet process, call → its number on x86-64, and in the table that newer architectures share."""

NETWORK = {
    "connect": (42, 203), "bind": (49, 200), "shutdown": (48, 210), "setsockopt": (54, 208), "getsockopt": (55, 209),
    "sendmmsg": (307, 269), "recvmmsg": (299, 243),
}  # fmt: skip


class Test(NamedTuple):
    """A call that is allowed when the low half of an argument, masked, is one of `values`."""

    numbers: tuple[int, int]
    argument: int
    mask: int
    values: tuple[int, ...]


WRITING = os.O_ACCMODE | os.O_CREAT | os.O_TRUNC
THREAD = 0x10000  # CLONE_THREAD
WHOLE = 0xFFFFFFFF
OPENAT = Test((257, 56), 2, WRITING, (os.O_RDONLY,))
CLONE = Test((56, 220), 0, THREAD, (THREAD,))
LIMIT = Test((302, 261), 0, WHOLE, (0,))  # prlimit64, of this process alone
SOCKET = Test((41, 198), 0, WHOLE, (2, 10))  # AF_INET, AF_INET6
CLONE3 = (435, 435)  # its arguments lie in memory: ENOSYS makes libc use `clone`

AND = 0x54
REFUSE_UNKNOWN = 0x00050000 | 38  # ENOSYS
ARGUMENTS_OFF = 16  # of struct seccomp_data, eight bytes each, little-endian

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def set_limits(memory_mb: int) -> None:
    """Bound what this process can take. Nothing of this can be undone without rights."""
    for kind, limit in (
        (resource.RLIMIT_AS, memory_mb << 20),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, DESCRIPTORS),
    ):
        resource.setrlimit(kind, (limit, limit))
    os.nice(NICENESS)


def give_up_rights() -> None:
    """Become nobody; who is not root, who tries a project at his desk, stays who he is. Raises PrivilegeError."""
    if os.geteuid() == 0:
        give_up_everything()
    elif _libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
        raise PrivilegeError("no_new_privs: refused by the kernel")


def build_filter(machine: str, network: bool) -> bytes:
    """The filter for an architecture, a key of `system_calls.ARCHITECTURES`, as struct sock_filter has it."""
    architecture, column = system_calls.ARCHITECTURES[machine]
    calls = system_calls.FREE | FREE | (NETWORK if network else {})
    free = [number for numbers in calls.values() if (number := numbers[column]) is not None]
    load, equal, answer = system_calls.LOAD, system_calls.IF_EQUAL, system_calls.RETURN
    refuse = (answer, 0, 0, system_calls.REFUSE)
    lines = [
        (load, 0, 0, system_calls.ARCHITECTURE_OFF),
        (equal, 1, 0, architecture),
        refuse,
        (load, 0, 0, system_calls.NUMBER_OFF),
        (equal, 0, 1, CLONE3[column]),
        (answer, 0, 0, REFUSE_UNKNOWN),
    ]
    for test in (OPENAT, CLONE, LIMIT) + ((SOCKET,) if network else ()):
        lines.append((equal, 0, 3 + 2 * len(test.values), test.numbers[column]))
        lines += [(load, 0, 0, ARGUMENTS_OFF + 8 * test.argument), (AND, 0, 0, test.mask)]
        for value in test.values:
            lines += [(equal, 0, 1, value), (answer, 0, 0, system_calls.ALLOW)]
        lines.append(refuse)
    for number in dict.fromkeys(free):
        lines += [(equal, 0, 1, number), (answer, 0, 0, system_calls.ALLOW)]
    lines.append(refuse)
    return b"".join(struct.pack("<HBBI", *line) for line in lines)


def refuse_calls(network: bool) -> bool:
    """Refuse every other system call from now on. Returns whether this machine is known. Raises PrivilegeError."""
    machine = os.uname().machine
    if machine not in system_calls.ARCHITECTURES:
        return False
    content = build_filter(machine, network)
    room = ctypes.create_string_buffer(content, len(content))
    program = ctypes.create_string_buffer(struct.pack("<HxxxxxxQ", len(content) // 8, ctypes.addressof(room)))
    number = system_calls.NUMBERS[machine]
    if _libc.syscall(number, system_calls.SET_MODE_FILTER, system_calls.ALL_THREADS, program) != 0:
        raise PrivilegeError(f"seccomp: {os.strerror(ctypes.get_errno())}: a kernel without CONFIG_SECCOMP_FILTER?")
    return True

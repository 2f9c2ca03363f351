"""What a process may write to from now on: nothing but some directories, for good; and no TCP, where the kernel knows that.

Landlock, landlock(7): it needs no right but no_new_privs, holds for root as well, and leaves what is open already usable.
Reading stays as it was. It knows the numbers of linux/landlock.h, and refuses to know what is written.
"""

import ctypes
import os
import struct
from collections.abc import Iterable
from pathlib import Path

from penstock.line.privileges import PrivilegeError

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # alike on all architectures
VERSION_ASKED, PATH_BENEATH = 1, 1
WRITE_FILE, TRUNCATE, REFER = 1 << 1, 1 << 14, 1 << 13
REMOVE_AND_MAKE = 0b1_1111_1111 << 4  # directories, files, devices, sockets, pipes, links
TCP = 0b11  # bind and connect
TRUNCATE_VERSION, REFER_VERSION, TCP_VERSION = 3, 2, 4

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def confine_writing(places: Iterable[Path] = ()) -> bool:
    """Let this thread write below these directories alone. Returns False where the kernel has no Landlock.

    Needs no_new_privs. Raises PrivilegeError, OSError.
    """
    version = int(_libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), VERSION_ASKED))
    if version < 1:
        return False
    rights = WRITE_FILE | REMOVE_AND_MAKE
    rights |= TRUNCATE if version >= TRUNCATE_VERSION else 0
    rights |= REFER if version >= REFER_VERSION else 0
    words = [rights, TCP] if version >= TCP_VERSION else [rights]
    ruleset = _call(CREATE_RULESET, struct.pack(f"<{len(words)}Q", *words), ctypes.c_size_t(8 * len(words)), 0)
    try:
        for place in places:
            directory = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                _call(ADD_RULE, ruleset, PATH_BENEATH, struct.pack("<Qi", rights, directory), 0)
            finally:
                os.close(directory)
        _call(RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return True


def _call(number: int, *arguments: object) -> int:
    result = int(_libc.syscall(number, *arguments))
    if result < 0:
        raise PrivilegeError(f"Landlock: {os.strerror(ctypes.get_errno())}")
    return result

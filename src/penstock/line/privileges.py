"""Rights that a process gives up for good: capabilities(7), its user, what it could gain by running other programs.

    run      keep_running_rights   root with the capabilities of RUNNING, also for all that it starts
    engine   give_up_everything    the user `penstock` or `nobody`, no capability, no core file
    register keep_file_rights      root, whose files it reads and writes, without any capability

Capabilities belong to a thread, not to a process: both refuse where another thread would keep what this one gives up. It
knows the kernel's numbers and refuses to know what a right is used for. Numbers: include/uapi/linux/capability.h, prctl.h.
"""

import ctypes
import os
import pwd
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

from penstock.errors import PenstockError
from penstock.line.pins import BPFFS, find_root

CAPABILITIES = {
    "dac_override": 1, "kill": 5, "setgid": 6, "setuid": 7, "setpcap": 8, "net_admin": 12, "net_raw": 13, "sys_ptrace": 19,
    "perfmon": 38, "bpf": 39,
}  # fmt: skip
"""What anybody here ever keeps, by the names of capabilities(7)."""

RUNNING = (
    "net_admin",  # interfaces, tcx programs
    "net_raw",  # the packet sockets, which the packet process inherits
    "bpf", "perfmon",  # tables; programs that compute with pointers
    "setuid", "setgid", "setpcap",  # so that the packet process can give all of this up
    "kill",  # to end a packet process, which is another user's
)  # fmt: skip

USERS = ("penstock", "nobody")  # whose the packet process is: the first that exists
NO_NEW_PRIVILEGES, DUMPABLE, BOUNDING_READ, BOUNDING_DROP, AMBIENT = 38, 4, 23, 24, 47
AMBIENT_CLEAR_ALL = 4
VERSION_3 = 0x20080522
CAPABILITY_LIMIT = 64

_libc = ctypes.CDLL(None, use_errno=True)


class PrivilegeError(PenstockError):
    """Rights that are missing, or that cannot be given up; the text says which, and the cure."""


def _check(result: int, what: str) -> int:
    if result < 0:
        raise PrivilegeError(f"{what}: {os.strerror(ctypes.get_errno())}: run it as root")
    return result


def _prctl(number: int, argument: int, what: str, *more: int) -> int:
    words = [ctypes.c_ulong(word) for word in (argument, *more, 0, 0, 0)[:4]]
    return _check(int(_libc.prctl(number, *words)), what)


def read_permitted() -> int:
    """The capabilities of this thread, a bit for each. Raises PrivilegeError."""
    header, sets = ctypes.create_string_buffer(struct.pack("<Ii", VERSION_3, 0)), ctypes.create_string_buffer(24)
    _check(_libc.capget(header, sets), "capget")
    words = struct.unpack("<6I", sets.raw)
    return int(words[1] | words[4] << 32)


def _set_capabilities(bits: int) -> None:
    """Make these the permitted and effective ones; nothing is inheritable."""
    low, high = bits & 0xFFFFFFFF, bits >> 32
    header = ctypes.create_string_buffer(struct.pack("<Ii", VERSION_3, 0))
    sets = ctypes.create_string_buffer(struct.pack("<6I", low, low, 0, high, high, 0))
    _check(_libc.capset(header, sets), "capset")


def _bound_capabilities(bits: int) -> None:
    """What no program that is run from here can gain either: everything else."""
    _prctl(AMBIENT, AMBIENT_CLEAR_ALL, "ambient capabilities")
    for number in range(CAPABILITY_LIMIT):
        if bits >> number & 1 == 0 and _libc.prctl(BOUNDING_READ, ctypes.c_ulong(number), 0, 0, 0) == 1:
            _prctl(BOUNDING_DROP, number, "the bounding set")
    _prctl(NO_NEW_PRIVILEGES, 1, "no_new_privs")


def _check_alone() -> None:
    threads = len(os.listdir("/proc/self/task"))
    if threads > 1:
        raise PrivilegeError(
            f"{threads - 1} more thread(s) would keep the rights that are given up: a defect to report"
        )


def keep_capabilities(names: Iterable[str]) -> None:
    """Keep these capabilities, for this process and what it starts. Raises PrivilegeError: one is missing, or there is
    another thread."""
    _check_alone()
    wanted, present = list(dict.fromkeys(names)), read_permitted()
    missing = [name for name in wanted if present >> CAPABILITIES[name] & 1 == 0]
    if missing:
        raise PrivilegeError(f"missing: {', '.join(f'CAP_{name.upper()}' for name in missing)}: run it as root")
    bits = sum(1 << CAPABILITIES[name] for name in wanted)
    _bound_capabilities(bits)
    _set_capabilities(bits)


def _is_roots(path: Path) -> bool:
    try:
        return not any(part.stat().st_uid for part in (path, *path.absolute().parents))
    except OSError:
        return True  # whoever reads it says what is wrong


def keep_running_rights(configuration: Path) -> None:
    """What `run` does with all rights of root, then keep only what it needs from here on. Raises PinError, PrivilegeError.

    Mounting bpffs is all that needs more. Where the program or the configuration lies in somebody's home directory (sudo,
    to try it), root's access to everybody's files stays; where pins lie in another mount namespace, the way there does.
    """
    names = list(RUNNING)
    if find_root() != BPFFS:
        names.append("sys_ptrace")
    if not all(_is_roots(path) for path in (configuration, Path(__file__), Path(sys.executable))):
        names.append("dac_override")
    keep_capabilities(names)


def keep_file_rights() -> None:
    """Keep root's own files, and those of others where `run` needs them, and give up everything else; no core file."""
    names = ["dac_override"] if read_permitted() >> CAPABILITIES["dac_override"] & 1 else []
    keep_capabilities(names)
    _prctl(DUMPABLE, 0, "dumpable")


def find_user() -> tuple[int, int]:
    """User and group of the packet process."""
    for name in USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    return 65534, 65534


def give_up_everything() -> None:
    """Become a user who owns nothing, without any capability, for good. Raises PrivilegeError.

    Nobody can attach to the process or find its memory in a core file: packets of subscribers are in it.
    """
    _check_alone()
    _bound_capabilities(0)
    user, group = find_user()
    try:
        os.setgroups([])
        os.setresgid(group, group, group)
        os.setresuid(user, user, user)
    except OSError as error:
        raise PrivilegeError(
            f"cannot become user {user}: {error.strerror}: CAP_SETUID and CAP_SETGID are needed"
        ) from None
    _set_capabilities(0)
    _prctl(DUMPABLE, 0, "dumpable")

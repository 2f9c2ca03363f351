"""bpf(2) by itself: tables, programs, links, pins and test runs. Numbers are those of include/uapi/linux/bpf.h.

Raises OSError with the kernel's errno; VerifierError with the verifier's last lines, which name the Python source.
"""

import ctypes
import errno
import mmap
import os
import struct
from collections.abc import Callable, Mapping
from typing import Any

from penstock.compile.program import MARK_CONSTANT, MARK_MAP, MARK_MAP_VALUE, Program
from penstock.kernel.declared import Constant, Map

MAP_KINDS = {"hash": 1, "array": 2, "array_of_maps": 12, "ringbuf": 27}
MAP_CREATE, MAP_LOOKUP, MAP_UPDATE, MAP_DELETE, MAP_NEXT_KEY, PROG_LOAD, OBJ_PIN, OBJ_GET = 0, 1, 2, 3, 4, 5, 6, 7
PROG_TEST_RUN, OBJ_GET_INFO, BTF_LOAD, LINK_CREATE, LINK_UPDATE, LINK_DETACH, PROG_QUERY = 10, 15, 18, 28, 29, 34, 16
SCHED_CLS, TCX_INGRESS = 3, 46
BEFORE, AFTER = 1 << 3, 1 << 4
SYSCALL_NUMBERS = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}
LOG_BYTES = 1 << 24
ATTRIBUTE_BYTES = 160
INTERRUPTIONS = 8  # of one load, by signals

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class VerifierError(OSError):
    """The verifier refused a program; the text ends with its last lines."""


def call(command: int, attribute: bytes) -> tuple[int, bytes]:
    """bpf(command, attribute): the result, and the attribute as the kernel left it."""
    number = SYSCALL_NUMBERS[os.uname().machine]
    buffer = ctypes.create_string_buffer(attribute.ljust(ATTRIBUTE_BYTES, b"\0"), ATTRIBUTE_BYTES)
    result = _libc.syscall(number, command, buffer, ATTRIBUTE_BYTES)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(result), buffer.raw


def _room(content: bytes) -> tuple[Any, int]:
    buffer = ctypes.create_string_buffer(content, len(content))
    return buffer, ctypes.addressof(buffer)


# ---- tables -----------------------------------------------------------------------------------------------------------
def create_map(table: Map, inner_fd: int = 0, word: str = "") -> int:
    """Create the table, its name behind `word`, and remember its descriptor."""
    kind, name = MAP_KINDS[table.kind], f"{word}{table.name}".encode()[:15]
    attribute = struct.pack(
        "<IIIIIII16s",
        kind, table.key_bytes, table.value_bytes, table.entries, table.flags, inner_fd, 0, name,
    )  # fmt: skip
    table.fd = call(MAP_CREATE, attribute)[0]
    return table.fd


def create_ring(size: int, word: str = "") -> int:
    """A ring buffer of `size` bytes (a power of two), its name behind `word`; its descriptor."""
    name = f"{word}ring".encode()
    return call(MAP_CREATE, struct.pack("<IIIIIII16s", MAP_KINDS["ringbuf"], 0, 0, size, 0, 0, 0, name))[0]


def map_name(fd: int) -> str:
    """The name under which a table was created: at most 15 characters."""
    return _read_info(fd)[24:40].rstrip(b"\0").decode()


def map_entries(fd: int) -> int:
    """How many entries a table has room for."""
    return int(struct.unpack_from("<I", _read_info(fd), 16)[0])


def _read_info(fd: int) -> bytes:
    info, info_at = _room(bytes(128))
    call(OBJ_GET_INFO, struct.pack("<IIQ", fd, 128, info_at))
    return bytes(info.raw)


def update_element(fd: int, key: bytes, value: bytes) -> None:
    _key, key_at = _room(key)
    _value, value_at = _room(value)
    call(MAP_UPDATE, struct.pack("<IIQQQ", fd, 0, key_at, value_at, 0))


def delete_element(fd: int, key: bytes) -> None:
    _key, key_at = _room(key)
    call(MAP_DELETE, struct.pack("<IIQQ", fd, 0, key_at, 0))


def read_element(fd: int, key: bytes, value_bytes: int) -> bytes:
    _key, key_at = _room(key)
    value, value_at = _room(bytes(value_bytes))
    call(MAP_LOOKUP, struct.pack("<IIQQQ", fd, 0, key_at, value_at, 0))
    return bytes(value.raw)


def read_keys(fd: int, key_bytes: int) -> list[bytes]:
    keys: list[bytes] = []
    key = None
    while True:
        _key, key_at = _room(key or b"")
        following, following_at = _room(bytes(key_bytes))
        try:
            call(MAP_NEXT_KEY, struct.pack("<IIQQ", fd, 0, key_at if key else 0, following_at))
        except FileNotFoundError:
            return keys
        key = bytes(following.raw)
        keys.append(key)


def map_bytes(table: Map) -> int:
    """The size of an array's memory, whole pages."""
    stride = (table.value_bytes + 7) & ~7
    return (stride * table.entries + mmap.PAGESIZE - 1) // mmap.PAGESIZE * mmap.PAGESIZE


def map_memory(table: Map, is_read_only: bool = False) -> mmap.mmap:
    """The memory of an array that was created with BPF_F_MMAPABLE, shared with the kernel."""
    rights = mmap.PROT_READ if is_read_only else mmap.PROT_READ | mmap.PROT_WRITE
    return mmap.mmap(table.fd, map_bytes(table), mmap.MAP_SHARED, rights)


# ---- programs ---------------------------------------------------------------------------------------------------------
def _bind(program: Program, constants: Mapping[str, int]) -> bytes:
    """The program's instructions with descriptors and constants in the marked loads."""
    code = bytearray(program.code)
    for at in range(0, len(code), 8):
        mark = code[at + 1] >> 4
        if code[at] != 0x18 or mark == 0:
            continue
        number = struct.unpack_from("<I", code, at + 4)[0]
        if mark in (MARK_MAP, MARK_MAP_VALUE):
            struct.pack_into("<I", code, at + 4, Map.ALL[number].fd)
        elif mark == MARK_CONSTANT:
            value = constants[Constant.ALL[number].name] & (1 << 64) - 1
            code[at + 1] &= 15
            struct.pack_into("<I", code, at + 4, value & 0xFFFFFFFF)
            struct.pack_into("<I", code, at + 12, value >> 32)
    return bytes(code)


def load_program(program: Program, constants: Mapping[str, int]) -> int:
    """Load a compiled program whose tables exist; its descriptor."""
    _code, code_at = _room(_bind(program, constants))
    _licence, licence_at = _room(b"Dual MIT/GPL\0")  # helpers of the path are for GPL-compatible programs
    _btf, btf_at = _room(program.btf)
    btf_fd = call(BTF_LOAD, struct.pack("<QQIII", btf_at, 0, len(program.btf), 0, 0))[0]
    _lines, lines_at = _room(program.line_info)

    def attempt(log: Any, level: int) -> int:
        attribute = struct.pack(
            "<IIQQIIQII16sIIIIQIIQI",
            SCHED_CLS, len(program.code) // 8, code_at, licence_at, level, len(log) if level else 0,
            ctypes.addressof(log) if level else 0, 0, 0, program.name.encode()[:15], 0, 0, btf_fd, 0, 0, 0,
            16, lines_at, len(program.line_info) // 16,
        )  # fmt: skip
        return call(PROG_LOAD, attribute)[0]

    log = ctypes.create_string_buffer(8)
    try:
        return _insist(lambda: attempt(log, 0))
    except OSError as error:
        if error.errno == errno.EPERM:  # missing rights; the verifier says EACCES or EINVAL
            raise
        log = ctypes.create_string_buffer(LOG_BYTES)
        try:
            return _insist(lambda: attempt(log, 2))
        except OSError as error:
            said = log.value.decode(errors="replace").splitlines()
            raise VerifierError(error.errno, f"{program.name}: refused\n" + "\n".join(said[-24:])) from None
    finally:
        os.close(btf_fd)


def _insist(attempt: Callable[[], int]) -> int:
    """Try again where a signal interrupted the verifier: a large program takes it a moment."""
    for _ in range(INTERRUPTIONS):
        try:
            return attempt()
        except OSError as error:
            if error.errno != errno.EAGAIN:
                raise
    return attempt()


def load_instructions(name: str, code: bytes) -> int:
    """Load a program that was written as instructions."""
    _code, code_at = _room(code)
    _licence, licence_at = _room(b"Dual MIT/GPL\0")
    attribute = struct.pack(
        "<IIQQIIQII16s", SCHED_CLS, len(code) // 8, code_at, licence_at, 0, 0, 0, 0, 0, name.encode()[:15]
    )
    return call(PROG_LOAD, attribute)[0]


def test_run(fd: int, packet: bytes, repeat: int = 1) -> tuple[int, int, bytes]:
    """Run a program on a packet: its result, nanoseconds per run, the packet afterwards."""
    _packet, packet_at = _room(packet)
    after, after_at = _room(bytes(len(packet) + 256))
    attribute = struct.pack("<IIIIQQIIIIQQ", fd, 0, len(packet), len(after), packet_at, after_at, repeat, 0, 0, 0, 0, 0)
    _, result = call(PROG_TEST_RUN, attribute)
    value, size = struct.unpack_from("<i", result, 4)[0], struct.unpack_from("<I", result, 12)[0]
    return value, struct.unpack_from("<I", result, 36)[0], bytes(after.raw[:size])


# ---- links and pins ---------------------------------------------------------------------------------------------------
def attach_tcx(program_fd: int, ifindex: int, first: bool) -> int:
    """Attach in front of (first) or behind every program on the interface's ingress; the link's descriptor."""
    flags = BEFORE if first else AFTER
    return call(LINK_CREATE, struct.pack("<IIIIIIQ", program_fd, ifindex, TCX_INGRESS, flags, 0, 0, 0))[0]


def update_link(link_fd: int, program_fd: int) -> None:
    """Put another program behind a live link: no packet sees a gap."""
    call(LINK_UPDATE, struct.pack("<IIII", link_fd, program_fd, 0, 0))


def detach_link(link_fd: int) -> None:
    call(LINK_DETACH, struct.pack("<I", link_fd))


def pin(fd: int, path: str) -> None:
    """Keep the object under a name on bpffs (names must not hold a dot)."""
    _path, path_at = _room(path.encode() + b"\0")
    call(OBJ_PIN, struct.pack("<QII", path_at, fd, 0))


def open_pin(path: str) -> int:
    """The descriptor of a pinned object. Raises FileNotFoundError."""
    _path, path_at = _room(path.encode() + b"\0")
    return call(OBJ_GET, struct.pack("<QII", path_at, 0, 0))[0]


def link_ifindex(link_fd: int) -> int:
    """The interface of a tcx link; 0 when the interface is gone."""
    return int(struct.unpack_from("<I", _read_info(link_fd), 16)[0])


def link_program(link_fd: int) -> int:
    """The id of the program behind a link."""
    return int(struct.unpack_from("<I", _read_info(link_fd), 8)[0])


def program_id(program_fd: int) -> int:
    """The kernel's number of a program."""
    return int(struct.unpack_from("<I", _read_info(program_fd), 4)[0])


def query_tcx(ifindex: int) -> list[int]:
    """The ids of the programs on an interface's tcx ingress hook, in order. Raises OSError on kernels without tcx."""
    ids, ids_at = _room(bytes(4 * 64))
    attribute = struct.pack("<IIIIQII", ifindex, TCX_INGRESS, 0, 0, ids_at, 64, 0)
    _, result = call(PROG_QUERY, attribute)
    count = struct.unpack_from("<I", result, 24)[0]
    return list(struct.unpack_from(f"<{count}I", ids.raw))

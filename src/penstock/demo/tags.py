"""VLAN tags for an end of the topology, by two kernel programs: pushed as frames leave, popped as they arrive.

    egress:   (vlan_push(tag))*, innermost first     ingress:   (vlan_pop())*, outermost first

A kernel without the 8021q driver has no VLAN interfaces; `bpf_skb_vlan_push` works on any, and leaves super-packets
whole. The outermost tag travels in the packet's metadata, every further one in its bytes: both forms reach the box.

Knows these two programs. Refuses to know anything of Penstock's own: a test must not lean on what it tests.
IEEE 802.1Q (0x8100), 802.1ad (0x88a8, the outer of two).
"""

import ctypes
import os
import platform
import socket
import struct
from collections.abc import Sequence

TAG_PROTOCOL = 0x8100
SERVICE_TAG_PROTOCOL = 0x88A8

_SYSCALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280}
_PROG_LOAD, _LINK_CREATE = 5, 28
_SCHED_CLS = 3
_TCX_INGRESS, _TCX_EGRESS = 46, 47
_VLAN_PUSH, _VLAN_POP = 18, 19
_NEXT = -1  # TCX_NEXT: whatever else sits on the hook still sees the packet
_libc = ctypes.CDLL(None, use_errno=True)


def attach_tags(interface: str, vlan: Sequence[int]) -> list[int]:
    """Tag what leaves `interface` of the calling thread's namespace with `vlan`, outermost first, and untag what
    arrives. The links, as descriptors: closing them ends it. Raises OSError where the kernel has no tcx."""
    outer = SERVICE_TAG_PROTOCOL if len(vlan) > 1 else TAG_PROTOCOL
    push = [_keep_context()]
    for place, tag in reversed(list(enumerate(vlan))):
        push += _call_push(outer if place == 0 else TAG_PROTOCOL, tag)
    pop = [_keep_context(), *(word for _ in vlan for word in _call_pop())]
    index = socket.if_nametoindex(interface)
    return [_attach(push, index, _TCX_EGRESS), _attach(pop, index, _TCX_INGRESS)]


def _instruction(code: int, registers: int, value: int = 0) -> bytes:
    return struct.pack("<BBhi", code, registers, 0, value)


def _keep_context() -> bytes:
    return _instruction(0xBF, 0x16)  # r6 = r1


def _call_push(protocol: int, tag: int) -> list[bytes]:
    return [
        _instruction(0xBF, 0x61),  # r1 = r6
        _instruction(0xB7, 0x02, socket.htons(protocol)),
        _instruction(0xB7, 0x03, tag),
        _instruction(0x85, 0x00, _VLAN_PUSH),
    ]


def _call_pop() -> list[bytes]:
    return [_instruction(0xBF, 0x61), _instruction(0x85, 0x00, _VLAN_POP)]


def _attach(body: list[bytes], index: int, hook: int) -> int:
    program = _load(b"".join([*body, _instruction(0xB7, 0x00, _NEXT), _instruction(0x95, 0x00)]))
    try:
        return _bpf(_LINK_CREATE, struct.pack("<IIII", program, index, hook, 0).ljust(64, b"\0"))
    finally:
        os.close(program)


def _load(code: bytes) -> int:
    text, licence = ctypes.create_string_buffer(code), ctypes.create_string_buffer(b"GPL")
    head = struct.pack("<IIQQ", _SCHED_CLS, len(code) // 8, ctypes.addressof(text), ctypes.addressof(licence))
    return _bpf(_PROG_LOAD, head.ljust(128, b"\0"))


def _bpf(command: int, attributes: bytes) -> int:
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    result: int = _libc.syscall(_SYSCALL[platform.machine()], command, buffer, len(attributes))
    if result < 0:
        raise OSError(ctypes.get_errno(), f"bpf command {command}: {os.strerror(ctypes.get_errno())}")
    return result

"""The cable: redirect everything to the other interface. Four instructions, written as bytes.

It stands last on both interfaces and is pinned. Without Penstock, before it, after it and between its versions, there is
a cable. It needs neither compiler nor table.
"""

import struct

MOV64_IMMEDIATE, CALL, EXIT = 0xB7, 0x85, 0x95
REDIRECT = 23  # bpf_redirect(ifindex, flags)


def cable_instructions(ifindex: int) -> bytes:
    """`return bpf_redirect(ifindex, 0)` as BPF instructions."""

    def instruction(code: int, register: int, immediate: int) -> bytes:
        return struct.pack("<BBhi", code, register, 0, immediate)

    return (
        instruction(MOV64_IMMEDIATE, 1, ifindex)
        + instruction(MOV64_IMMEDIATE, 2, 0)
        + instruction(CALL, 0, REDIRECT)
        + instruction(EXIT, 0, 0)
    )

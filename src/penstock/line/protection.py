"""Who is protected, as the kernel needs to know it: prefix → rights, one hash table over at most eight prefix lengths; and
what each subscriber may send up."""

import struct
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from penstock.kernel import bpf, tables
from penstock.line.inline import Control

Prefix = tuple[int, bytes, int, int]
"""Scope, 16-byte address (IPv4 as ::ffff:a.b.c.d), bits of it that count, rights."""


def pack_rights(is_protected: bool, fails_closed: bool, owner: int) -> int:
    """A value of the subscribers table. `owner`: the subscriber's index in the snapshot."""
    flags = (tables.SUBSCRIBER_PROTECTED if is_protected else 0) | (tables.SUBSCRIBER_CLOSED if fails_closed else 0)
    return flags | (owner & tables.OWNER_MASK) << tables.SUBSCRIBER_OWNER_SHIFT


def prefix_key(scope: int, address: bytes, bits: int) -> bytes:
    """A key of the subscribers table."""
    return struct.pack("<II", scope, bits) + address


def prefix_line(bits: int) -> bytes:
    """A prefix length as the control table holds it: its bits, and the mask of the address."""
    return struct.pack("<Q", bits) + ((1 << 128) - (1 << (128 - bits))).to_bytes(16, "big")


def set_protection(control: Control, prefixes: Iterable[Prefix]) -> int:
    """Make the kernel's table agree with `prefixes`. Returns how many entries changed.

    New entries are there before their length is looked up, and a length is given up before its entries go: at no moment
    does the kernel miss a subscriber of both the old and the new set.
    """
    wanted = {prefix_key(scope, address, bits): struct.pack("<Q", rights) for scope, address, bits, rights in prefixes}
    lengths = sorted({struct.unpack_from("<I", key, 4)[0] for key in wanted}, reverse=True)
    if len(lengths) > tables.PREFIX_LIMIT:
        raise ValueError(f"{len(lengths)} prefix lengths, at most {tables.PREFIX_LIMIT}")
    fd, changed = tables.subscribers.fd, 0
    present = set(bpf.read_keys(fd, tables.SUBSCRIBER_KEY_BYTES))
    for key, value in wanted.items():
        if key not in present or bpf.read_element(fd, key, 8) != value:
            bpf.update_element(fd, key, value)
            changed += 1
    _set_lengths(control, lengths)
    for key in present - set(wanted):
        bpf.delete_element(fd, key)
        changed += 1
    return changed


def _set_lengths(control: Control, lengths: list[int]) -> None:
    old = control.word(tables.CONTROL_PREFIXES)
    for number, bits in enumerate(lengths):
        at = tables.CONTROL_LENGTHS + number * tables.PREFIX_BYTES
        control.memory[at : at + tables.PREFIX_BYTES] = prefix_line(bits)
    if len(lengths) != old:
        control.set_word(tables.CONTROL_PREFIXES, len(lengths))


def budget_lines(memory: Any) -> Any:
    """The budgets table as rows of BUDGET_BYTES / 8 words, one for each owner's number."""
    return np.frombuffer(memory, np.int64).reshape(tables.BUDGET_COUNT, tables.BUDGET_BYTES // 8)


def set_budgets(memory: Any, packets_per_s: Sequence[int | None]) -> None:
    """What each subscriber may send up, by index in the snapshot; None: no limit. Beyond BUDGET_COUNT subscribers two share
    a line, and the last one's limit holds for both."""
    intervals = budget_lines(memory)[:, tables.BUDGET_INTERVAL_NS // 8]
    wanted = np.zeros(tables.BUDGET_COUNT, np.int64)
    for owner, rate in enumerate(packets_per_s):
        wanted[owner % tables.BUDGET_COUNT] = 1_000_000_000 // rate if rate else 0
    intervals[:] = wanted

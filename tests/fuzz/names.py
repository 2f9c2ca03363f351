"""Inputs for the look-up of names: a host in a small database, against a reading of the lists in three lines."""

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from penstock.control.lists.names_file import hash_names, write_names
from penstock.policy import names
from tests.fuzz.machines import Machine

KEY = bytes(range(16))
EXACT = {b"exact.test": 1, b"both.test": 2, b"a.b.c.d.e.test": 4, b"x" * 63 + b".test": 8}
BELOW = {
    b"test": 16,
    b"bad.example": 32,
    b"both.test": 64,
    b"1.2.3.4": 128,
    b"[2001:db8::1]": 256,
    b"b.c.d.e.test": 512,
}


@cache
def build_database() -> bytes:
    """The file of EXACT and BELOW."""
    entries = [*EXACT, *BELOW]
    hashes = hash_names(b"".join(name + b"\n" for name in entries), len(entries), KEY)
    exact = np.array([EXACT.get(name, 0) * (number < len(EXACT)) for number, name in enumerate(entries)], np.uint64)
    below = np.array([BELOW.get(name, 0) * (number >= len(EXACT)) for number, name in enumerate(entries)], np.uint64)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "names.db")
        write_names(path, KEY, 0, {}, hashes, exact, below)
        return path.read_bytes()


def find_plainly(host: bytes) -> int:
    """The mask of a host: its own name's, and those of all names above it."""
    whole = host.rstrip(b".").lower()
    shown = whole[-names.HOST_LIMIT :]
    dots = [at for at, byte in enumerate(shown) if byte == 0x2E][-names.LABEL_LIMIT :]
    mask = 0
    for at in dots:
        mask |= BELOW.get(shown[at + 1 :], 0)
    if whole and len(whole) <= names.HOST_LIMIT and len(dots) < names.LABEL_LIMIT:
        mask |= EXACT.get(whole, 0) | BELOW.get(whole, 0)
    return mask


def read_names(machine: Machine, content: bytes) -> tuple[Any, ...]:
    """The categories of a host."""
    host = content[:300]
    database, place = machine.lend(build_database()), machine.lend(host)
    mask = machine.run("policy.names.find_categories", database, place, len(host))
    assert mask == (0 if len(host) - len(host.rstrip(b".")) > names.HOST_LIMIT else find_plainly(host))
    return (mask,)

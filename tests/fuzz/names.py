"""Inputs for the look-ups of names and web addresses in a small database, against a plain reading of the same entries."""

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from penstock.control.lists.names_file import Reach
from penstock.policy.urls import SCRATCH_BYTES
from tests.fuzz.machines import Machine
from tests.policy.databases import Said, find_plainly, put, sign, store
from tests.policy.urls_model import find_covering

KEY = bytes(range(16))
EXACT, BELOW = Reach.EXACT, Reach.BELOW
NAMES: list[Said] = [
    put(b"exact.test", 0, EXACT), put(b"both.test", 1, EXACT), put(b"a.b.c.d.e.test", 2, EXACT),
    put(b"x" * 63 + b".test", 3, EXACT), put(b"test", 4), put(b"bad.example", 5), put(b"both.test", 6),
    put(b"1.2.3.4", 7), put(b"[2001:db8::1]", 8), put(b"b.c.d.e.test", 9, BELOW), put(b"good.bad.example", 5, allowed=True),
]  # fmt: skip
PATHS: list[Said] = [
    put(b"bad.example", 10, path=b"/a"), put(b"bad.example", 5, EXACT, True, b"/good/"), put(b"1.2.3.4", 11, path=b"/?x"),
]  # fmt: skip


@cache
def build_database() -> bytes:
    """The file of NAMES and PATHS."""
    with tempfile.TemporaryDirectory() as directory:
        return store([*NAMES, *PATHS], Path(directory), KEY).read_bytes()


def read_names(machine: Machine, content: bytes) -> tuple[Any, ...]:
    """The categories of a host."""
    host = content[:300]
    database, place = machine.lend(build_database()), machine.lend(host)
    mask = machine.run("policy.names.find_categories", database, place, len(host))
    assert mask == sign(find_plainly(NAMES, host))
    return (mask,)


def read_urls(machine: Machine, content: bytes) -> tuple[Any, ...]:
    """The categories of a request: a host, a line feed, and its target."""
    host, _, target = content.partition(b"\n")
    database, scratch = machine.lend(build_database()), machine.room(SCRATCH_BYTES)
    places = machine.lend(host), len(host), machine.lend(target), len(target)
    mask = machine.run("policy.urls.find_url_categories", database, *places, scratch)
    if len(host) <= 255:
        assert mask == sign(find_covering([*NAMES, *PATHS], host, target))
    return (mask,)

"""A vocabulary for tests of policy: memory that compiled code may read, configurations with everything behind them."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from penstock.compile.memory import CHECKED, allow, forbid, take_fault
from penstock.compile.native import kernel
from penstock.control.configuration import Configuration, load_configuration
from penstock.control.lists.build import build_names
from penstock.control.snapshot import build_snapshot
from penstock.policy import judge, names
from penstock.policy import snapshot as form
from penstock.policy.snapshot import Snapshot


@cache
def compiled(function: Any) -> Any:
    """The function as a kernel, one for the whole run."""
    return kernel(function)


@contextmanager
def readable(*buffers: np.ndarray) -> Iterator[list[int]]:
    """The addresses of some arrays, which compiled code may touch inside this block, and nothing around them."""
    regions = [allow(b.ctypes.data, b.ctypes.data + b.nbytes) for b in buffers] if CHECKED else []
    take_fault()
    yield [int(b.ctypes.data) for b in buffers]
    fault = take_fault()
    for region in regions:
        forbid(region)
    assert fault is None, f"access outside every buffer: {fault}"


def span(text: bytes) -> np.ndarray:
    """Bytes as memory of exactly their size (one byte for none)."""
    return np.frombuffer(text or b"\0", np.uint8).copy()


def packed(address: str) -> bytes:
    """An address as 16 bytes."""
    parsed = ip_address(address)
    return parsed.packed if isinstance(parsed, IPv6Address) else bytes(10) + b"\xff\xff" + parsed.packed


class Judgement(NamedTuple):
    """What `judge` said."""

    action: int
    category: str | None
    service: str | None
    would: int
    why: int = judge.BY_SERVICE


class World:
    """A configuration whose lists are built and whose snapshot is mapped."""

    def __init__(self, configuration: Configuration, directory: Path) -> None:
        self.configuration = configuration
        self.report = build_names(configuration)
        self.path = build_snapshot(configuration, configuration.database, 7, directory)
        self.snapshot = Snapshot.open(self.path)

    def find_categories(self, host: bytes) -> set[str]:
        text = span(host)
        with readable(text) as (at,):
            mask = compiled(names.find_categories)(self.snapshot.names_address, at, len(host))
        return {name for bit, name in enumerate(self.snapshot.category_names) if mask >> bit & 1}

    def judge(self, host: bytes, profile: str | None = None, own: int = judge.OWN_NOTHING) -> Judgement:
        """By the profile of this name, or that of the first subscriber."""
        if profile is None:
            profile = self.configuration.subscribers[0].profile
        services = np.uint64(self.configuration.resolve_profile(profile)[0]).view(np.int64)
        text, out = span(host), np.full(judge.OUT_BYTES // 8, 99, np.int64)
        with readable(text, out) as (at, out_at):
            addresses = (self.snapshot.address, self.snapshot.names_address)
            action = compiled(judge.judge)(*addresses, services, own, at, len(host), out_at)
        category, service, would, why = (int(value) for value in out)
        return Judgement(
            action,
            None if category < 0 else self.snapshot.category_names[category],
            None if service < 0 else self.snapshot.service_names[service],
            would,
            why,
        )

    def read_template(self, category: int, action: int) -> bytes | None:
        """The response with its places for the reference number, as compiled code finds it."""
        offset = compiled(form.find_template)(self.snapshot.address, category, action)
        if offset == 0:
            return None
        stored = np.fromfile(self.path, np.uint8)[offset:].tobytes()
        size, *places = (int(word) for word in np.frombuffer(stored[: form.TEMPLATE_START], np.int64))
        response = stored[form.TEMPLATE_START :][:size]
        for place in filter(None, places):
            assert response[place & 0xFFFFFFFF :].startswith(form.PLACE_TEXTS[place >> 32])
        return response


@contextmanager
def world(settings: Mapping[str, Any], lists: Mapping[str, str]) -> Iterator[World]:
    """A world of these settings and of one list per category, in a directory of its own."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        sources = []
        for category, text in lists.items():
            (directory / f"{category}.txt").write_text(text)
            sources.append({"category": category, "path": f"{category}.txt"})
        path = directory / "penstock.yaml"
        path.write_text(yaml.safe_dump({"database": "names.db", "lists": sources, **settings}, sort_keys=False))
        made = World(load_configuration(path), directory)
        try:
            yield made
        finally:
            made.snapshot.close()

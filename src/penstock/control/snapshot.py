"""Writing a snapshot: a configuration and a names database in, one file out. Layout: `policy.layout` and its readers.

What a running box judges by is a file without a name (`seal_snapshot`): nobody can open, change or forget it, and it is
gone with the last process that maps it. Categories have the bit numbers of the names database, which may be older than the
configuration.
"""

import json
import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from penstock.control.configuration import Configuration
from penstock.control.dns_answers import add_answers
from penstock.control.filters import build_filters
from penstock.control.pages.pages import render_hook_pages, render_responses
from penstock.control.safe_search import Addresses
from penstock.control.whole_file import seal_file, write_whole
from penstock.hooks.filters import Filter
from penstock.policy import layout, names
from penstock.policy import snapshot as form
from penstock.policy.actions import ACTION_NAMES, REPORT, WARN
from penstock.policy.snapshot import SnapshotError, open_names

BEHIND = {WARN: 1, REPORT: 2}
"""Actions that stand behind those that refuse: neither who goes on nor a report opens what another service refuses."""


def build_snapshot(
    configuration: Configuration,
    names_path: Path,
    generation: int,
    directory: Path,
    targets: Addresses | None = None,
    filters: Sequence[Filter] = (),
) -> Path:
    """Write the snapshot of a configuration into `directory`. `targets`: the addresses of what SafeSearch leads to.
    `filters`: what hooks are to be asked about.

    Returns its path.

    Raises SnapshotError when the names database is absent, damaged or lacks a category; PageError for a page that cannot be
    made; OSError when the file cannot be written.
    """
    path = directory / f"snapshot-{generation}"
    parts = _build_parts(configuration, names_path, generation, targets or {}, filters)
    write_whole(path, parts, 0o640)
    return path


def seal_snapshot(
    configuration: Configuration,
    names_path: Path,
    generation: int,
    targets: Addresses,
    filters: Sequence[Filter] = (),
) -> int:
    """The same as a sealed file in memory. Returns a descriptor to read it. Raises what build_snapshot raises."""
    return seal_file(f"penstock-{generation}", _build_parts(configuration, names_path, generation, targets, filters))


def _build_parts(
    configuration: Configuration, names_path: Path, generation: int, targets: Addresses, filters: Sequence[Filter]
) -> list[Any]:
    database = open_names(names_path)
    try:
        key_words = [database.word(names.NAMES_KEY + at) for at in (0, 8)]
        categories: list[str] = database.read_metadata(names.METADATA_OFF, names.METADATA_BYTES)["categories"]
    finally:
        database.close()
    of_services = [category for service in configuration.services.values() for category in service.categories]
    for category in (*of_services, *configuration.court_orders.categories):
        if category not in categories:
            raise SnapshotError(f"{names_path}: has no category `{category}`: run `penstock lists build`")
    file = _File(generation)
    file.set_word(layout.REPORT_ONLY, int(configuration.report_only))
    file.set_word(layout.QUIC_VERSIONS_PASS, int(configuration.quic.unread_versions == "forward"))
    file.set_word(layout.NAMES_KEY_COPY, key_words[0])
    file.set_word(layout.NAMES_KEY_COPY + 8, key_words[1])
    _add_rules(file, configuration, categories)
    _add_page_addresses(file, configuration)
    _add_templates(file, configuration, categories)
    key = struct.pack("<qq", *key_words)
    add_answers(configuration, targets, key, file.append, file.set_word)
    if filters:
        _add_hooks(file, configuration, filters, categories, key)
    _add_metadata(file, configuration, categories, names_path)
    return file.finish()


class _File:
    """A snapshot in the making: a head, and parts behind it, each at a multiple of 8."""

    def __init__(self, generation: int) -> None:
        self._head = np.zeros(layout.HEAD_BYTES // 8, np.int64)
        self._parts: list[bytes] = []
        self.end = layout.HEAD_BYTES
        self.set_word(layout.SNAPSHOT_MAGIC, layout.MAGIC)
        self.set_word(layout.SNAPSHOT_VERSION, layout.VERSION)
        self.set_word(layout.SNAPSHOT_GENERATION, generation)

    def set_word(self, offset: int, value: int) -> None:
        """Set a word of the head."""
        self._head[offset // 8] = value

    def append(self, part: bytes) -> int:
        """Add a part. Returns its offset."""
        offset = self.end
        part += bytes(-len(part) % 8)
        self._parts.append(part)
        self.end += len(part)
        return offset

    def finish(self) -> list[Any]:
        """The file's parts, the head first."""
        self.set_word(layout.SNAPSHOT_BYTES, self.end)
        return [self._head.data, *self._parts]


def _add_rules(file: _File, configuration: Configuration, categories: list[str]) -> None:
    """Every rule, behind a record for each category: whose service acts on it, and how."""
    bits = configuration.service_bits
    found = [
        (
            category,
            bits[name],
            REPORT if service.report_only else ACTION_NAMES.index(action),
            ACTION_NAMES.index(action),
        )
        for name, service in configuration.services.items()
        for category, action in service.categories.items()
    ]
    found.sort(key=lambda rule: BEHIND.get(rule[2], 0))
    records = np.zeros((names.CATEGORY_LIMIT, 2), np.int64)
    for bit, category in enumerate(categories):
        rules = [(rank, *rule[1:]) for rank, rule in enumerate(found) if rule[0] == category]
        packed = b"".join(struct.pack("<HBBBxxx", *rule) for rule in rules)
        services = sum(1 << service for service in {rule[1] for rule in rules})
        records[bit] = np.frombuffer(struct.pack("<QII", services, file.append(packed), len(rules)), np.int64)
    file.set_word(layout.RULES_OFF, file.append(records.tobytes()))
    ordered = sum(1 << categories.index(category) for category in set(configuration.court_orders.categories))
    file.set_word(layout.COURT_CATEGORIES, ordered - (1 << 64) if ordered >> 63 else ordered)


def _add_page_addresses(file: _File, configuration: Configuration) -> None:
    """Where the operator's own page is."""
    for address in configuration.dns.addresses:
        packed, at = address.packed, layout.PAGE_ADDRESS_6
        if address.version == 4:
            packed, at = bytes(10) + b"\xff\xff" + packed, layout.PAGE_ADDRESS_4
        for half in (0, 8):
            file.set_word(at + half, int.from_bytes(packed[half : half + 8], "little", signed=True))
        file.set_word(layout.PAGE_ADDRESSES, 1)


def _add_templates(file: _File, configuration: Configuration, categories: list[str]) -> None:
    directory = np.zeros((names.CATEGORY_LIMIT + 1, form.COLUMN_COUNT), np.int64)
    here = configuration.category_names
    for (category, column), response in render_responses(configuration).items():
        row = category if category == form.NAMELESS else categories.index(here[category])
        directory[row, column] = file.append(_build_template(response))
    file.set_word(layout.TEMPLATES_OFF, file.append(directory.tobytes()))


def _build_template(response: bytes) -> bytes:
    """A response behind its size and its places."""
    places = [
        kind << 32 | found.start()
        for kind, text in enumerate(form.PLACE_TEXTS)
        for found in re.finditer(text, response)
    ]
    places += [0] * (form.PLACE_LIMIT - len(places))
    return np.array([len(response), *places], np.int64).tobytes() + response


def _add_hooks(
    file: _File, configuration: Configuration, filters: Sequence[Filter], categories: list[str], key: bytes
) -> None:
    """What hooks are asked about, and the pages of their refusals."""
    part, count = build_filters(filters, categories, key)
    file.set_word(layout.FILTERS_OFF, file.append(part))
    file.set_word(layout.FILTERS_COUNT, count)
    file.set_word(layout.HOOK_BUDGET_NS, configuration.policy.budget_ms * 1_000_000)
    directory = np.zeros(names.CATEGORY_LIMIT + 2, np.int64)
    for row, response in render_hook_pages(configuration, categories).items():
        directory[row] = file.append(_build_template(response))
    file.set_word(layout.HOOK_PAGES_OFF, file.append(directory.tobytes()))


def _add_metadata(file: _File, configuration: Configuration, categories: list[str], names_path: Path) -> None:
    text = json.dumps(
        {
            "names": str(names_path.absolute()),
            "profiles": {name: configuration.resolve_profile(name)[0] for name in configuration.profiles},
            "categories": categories,
            "services": {str(bit): name for name, bit in configuration.service_bits.items()},
        }
    ).encode()
    file.set_word(layout.METADATA_OFF, file.append(text))
    file.set_word(layout.METADATA_BYTES, len(text))

"""Writing a snapshot: a configuration and a names database in, one file out. Layout: `policy.layout` and its readers.

What a running box judges by is a file without a name (`seal_snapshot`): nobody can open, change or forget it, and it is
gone with the last process that maps it. Categories have the bit numbers of the names database, which may be older than the
configuration.
"""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from penstock.control.configuration import Configuration, Profile
from penstock.control.dns_answers import add_answers
from penstock.control.pages.pages import render_responses
from penstock.control.safe_search import Addresses
from penstock.control.whole_file import seal_file, write_whole
from penstock.policy import layout, names, rewrites
from penstock.policy import snapshot as form
from penstock.policy.actions import ACTION_COUNT, ACTION_NAMES, REPORT
from penstock.policy.snapshot import SnapshotError, open_names


def build_snapshot(
    configuration: Configuration,
    names_path: Path,
    generation: int,
    directory: Path,
    targets: Addresses | None = None,
) -> Path:
    """Write the snapshot of a configuration into `directory`. `targets`: the addresses of what SafeSearch leads to.

    Returns its path.

    Raises SnapshotError when the names database is absent, damaged or lacks a category; PageError for a page that cannot be
    made; OSError when the file cannot be written.
    """
    path = directory / f"snapshot-{generation}"
    parts = _build_parts(configuration, names_path, generation, targets or {})
    write_whole(path, parts, 0o640)
    return path


def seal_snapshot(configuration: Configuration, names_path: Path, generation: int, targets: Addresses) -> int:
    """The same as a sealed file in memory. Returns a descriptor to read it. Raises what build_snapshot raises."""
    return seal_file(f"penstock-{generation}", _build_parts(configuration, names_path, generation, targets))


def _build_parts(configuration: Configuration, names_path: Path, generation: int, targets: Addresses) -> list[Any]:
    database = open_names(names_path)
    try:
        key_words = [database.word(names.NAMES_KEY + at) for at in (0, 8)]
        categories: list[str] = database.read_metadata(names.METADATA_OFF, names.METADATA_BYTES)["categories"]
    finally:
        database.close()
    for service in configuration.services.values():
        for category in service.categories:
            if category not in categories:
                raise SnapshotError(f"{names_path}: has no category `{category}`: run `penstock lists build`")
    file = _File(generation)
    file.set_word(layout.REPORT_ONLY, int(configuration.report_only))
    file.set_word(layout.QUIC_VERSIONS_PASS, int(configuration.quic.unread_versions == "forward"))
    file.set_word(layout.NAMES_KEY_COPY, key_words[0])
    file.set_word(layout.NAMES_KEY_COPY + 8, key_words[1])
    _add_profiles(file, configuration, categories)
    _add_templates(file, configuration, categories)
    key = struct.pack("<qq", *key_words)
    add_answers(configuration, targets, key, file.append, file.set_word)
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


def _add_profiles(file: _File, configuration: Configuration, categories: list[str]) -> None:
    """Every profile, and the table by which their tags find them."""
    slots = 2
    while slots < 2 * len(configuration.profiles):
        slots *= 2
    table = np.zeros((slots, layout.PROFILE_RECORD_BYTES // 8), np.int64)
    for name, profile in configuration.profiles.items():
        tag = layout.profile_tag(name)
        place = next(at % slots for at in range(tag, tag + slots) if not table[at % slots, 0])
        table[place] = tag, file.append(_build_profile(configuration, profile, categories))
    file.set_word(layout.PROFILES_OFF, file.append(table.tobytes()))
    file.set_word(layout.PROFILES_MASK, slots - 1)


def _build_profile(configuration: Configuration, profile: Profile, categories: list[str]) -> bytes:
    """One profile's record: for each category the first service, in the configuration's order, that acts on it."""
    chosen: dict[str, tuple[int, int]] = {}
    for index, (name, service) in enumerate(configuration.services.items()):
        if name in profile.services:
            for category, action in service.categories.items():
                number = ACTION_NAMES.index(action)
                if category in chosen and (chosen[category][0] != REPORT or number == REPORT):
                    continue
                chosen.pop(category, None)
                chosen[category] = number, index
    # What is only reported stands behind everything else; the order is kept otherwise.
    ranked = sorted(chosen, key=lambda category: chosen[category][0] == REPORT)
    mask = 0
    actions, ranks, services = (bytearray(names.CATEGORY_LIMIT) for _ in range(3))
    for rank, category in enumerate(ranked):
        bit = categories.index(category)
        mask |= 1 << bit
        actions[bit], services[bit] = chosen[category]
        ranks[bit] = rank
    levels = [1, *(rewrites.LEVEL_NAMES.index(level) for level in (profile.safe_search, profile.youtube)), 0]
    ech = ("keep", "remove", "refuse").index(profile.ech)
    unresolved = ("ignore", "report", "block").index(profile.unresolved)
    return mask.to_bytes(8, "little") + actions + ranks + services + bytes([*levels, ech, unresolved, 0, 0])


def _add_templates(file: _File, configuration: Configuration, categories: list[str]) -> None:
    directory = np.zeros((names.CATEGORY_LIMIT + 1, ACTION_COUNT), np.int64)
    here = configuration.category_names
    for (category, action), response in render_responses(configuration).items():
        row = category if category == form.NAMELESS else categories.index(here[category])
        directory[row, action] = file.append(_build_template(response))
    file.set_word(layout.TEMPLATES_OFF, file.append(directory.tobytes()))


def _build_template(response: bytes) -> bytes:
    """A response behind its size and the places of the reference number."""
    offsets, at = [], response.find(form.REFERENCE)
    while at >= 0:
        offsets.append(at)
        at = response.find(form.REFERENCE, at + len(form.REFERENCE))
    offsets += [-1] * (form.REFERENCE_LIMIT - len(offsets))
    count = sum(offset >= 0 for offset in offsets)
    return np.array([len(response), count, *offsets], np.int64).tobytes() + response


def _add_metadata(file: _File, configuration: Configuration, categories: list[str], names_path: Path) -> None:
    text = json.dumps(
        {
            "names": str(names_path.absolute()),
            "profiles": list(configuration.profiles),
            "categories": categories,
            "services": list(configuration.services),
        }
    ).encode()
    file.set_word(layout.METADATA_OFF, file.append(text))
    file.set_word(layout.METADATA_BYTES, len(text))

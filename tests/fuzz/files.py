"""Inputs for what reads files: captures, the configuration, lists. Ordinary Python, the same on every machine."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from penstock.control.configuration import Configuration, ConfigurationError, load_configuration
from penstock.control.lists import formats
from penstock.control.problems import Problem
from penstock.line.pcap import CaptureError, Directions, Frame, read_frames, to_ethernet
from tests.fuzz.machines import Machine

Said = tuple[Any, ...]


@contextmanager
def write_file(content: bytes) -> Iterator[Path]:
    """The content as a file in memory."""
    descriptor = os.memfd_create("fuzz")
    try:
        os.write(descriptor, content)
        yield Path(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def read_captures(machine: Machine, content: bytes) -> Said:
    """A capture: its frames, then perhaps one error that says where."""
    frames: list[Frame] = []
    found: CaptureError | None = None
    with write_file(content) as path:
        try:
            for frame in read_frames(path):
                frames.append(frame)
        except CaptureError as error:
            found = error
    is_packed = content[:2] == b"\x1f\x8b"
    if found is not None:
        assert str(found).startswith(str(path))
        assert found.offset_bytes is not None
        assert found.offset_bytes >= 0
        assert is_packed or found.offset_bytes <= len(content)
    directions = Directions(4)
    for frame in frames:
        wrapped = to_ethernet(frame)
        assert wrapped is None or len(wrapped) <= len(frame.bytes) + 14
        payload = frame.bytes[:64]
        directions.is_from_client(payload[:4], 1, payload[4:8], 2, len(payload) % 64, payload)
    assert is_packed or sum(len(frame.bytes) for frame in frames) <= len(content)
    return [frame.time_ns for frame in frames], found and found.offset_bytes


def read_configurations(machine: Machine, content: bytes) -> Said:
    """A configuration is taken whole, or every problem has a place in the file and says what was expected."""
    found: Configuration | None = None
    problems: tuple[Problem, ...] = ()
    with write_file(content) as path:
        try:
            found = load_configuration(path)
        except ConfigurationError as error:
            problems = error.problems
    assert (found is None) == bool(problems)
    last_line = 2 + len(re.findall(rb"[\r\n]|\xc2\x85|\xe2\x80[\xa8\xa9]", content))  # what YAML takes for a line's end
    for problem in problems:
        assert 1 <= problem.line <= last_line
        assert problem.column >= 1
        assert problem.expected
    assert found is None or found.category_names == list(dict.fromkeys(found.category_names))
    return (len(problems),)


def read_lists(machine: Machine, content: bytes) -> Said:
    """Lines of a list in each format: names as hosts are compared, which read the same again, or a reason."""
    found: list[Any] = []
    forms: tuple[formats.Format, ...] = ("auto", "domains", "hosts")
    for form in forms:
        for parsed in formats.parse_lines(content.split(b"\n"), form):
            if isinstance(parsed, formats.BadLine):
                assert str(parsed)
                continue
            for name in parsed:
                check_name(name)
            found += parsed
    return tuple(found)


def check_name(name: bytes) -> None:
    """A name of a list: small letters, as long as a name can be; taken again it stays."""
    assert 0 < len(name) <= formats.NAME_LIMIT
    assert name == name.lower()
    assert not set(name) & set(b" \t\r\n#*/\\")
    assert formats.parse_name(name if b"." in name or b":" in name else b"*." + name) == name

"""Inputs for what reads files: captures, the configuration, lists. Ordinary Python, with no second machine to compare with."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from penstock.control.configuration import Configuration, ConfigurationError, load_configuration
from penstock.control.lists import formats
from penstock.line.pcap import CaptureError, Directions, read_frames, to_ethernet
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
    frames, failed_at = [], -1
    with write_file(content) as path:
        try:
            for frame in read_frames(path):
                frames.append(frame)
        except CaptureError as error:
            assert str(error).startswith(str(path))
            assert error.offset_bytes is not None
            failed_at = error.offset_bytes
            assert 0 <= failed_at <= max(len(content), 1 << 20 if content[:2] == b"\x1f\x8b" else 0)
    directions = Directions(4)
    for frame in frames:
        found = to_ethernet(frame)
        assert found is None or len(found) <= len(frame.bytes) + 14
        payload = frame.bytes[:64]
        directions.is_from_client(payload[:4], 1, payload[4:8], 2, len(payload) % 64, payload)
    assert content[:2] == b"\x1f\x8b" or sum(len(frame.bytes) for frame in frames) <= len(content)
    return [frame.time_ns for frame in frames], failed_at


def read_configurations(machine: Machine, content: bytes) -> Said:
    """A configuration is taken whole, or every problem has a place in the file and says what was expected."""
    lines = content.count(b"\n") + content.count(b"\r") + content.count(b"\xe2\x80\xa8") + content.count(b"\xe2\x80\xa9")
    lines += content.count(b"\xc2\x85") + 1
    with write_file(content) as path:
        try:
            found: Configuration | None = load_configuration(path)
        except ConfigurationError as error:
            assert error.problems
            for problem in error.problems:
                assert 1 <= problem.line <= lines + 1
                assert problem.column >= 1
                assert problem.expected
            return (len(error.problems),)
    assert found is not None
    assert found.category_names == list(dict.fromkeys(found.category_names))
    return (0,)


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



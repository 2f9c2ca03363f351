"""Inputs for what reads files: captures, the configuration, lists. Ordinary Python, the same on every machine."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from penstock.control.configuration import Configuration, ConfigurationError, load_configuration
from penstock.control.lists import adguard, plain, squidguard
from penstock.control.lists.entries import NAME_LIMIT, Entry, parse_name, parse_said
from penstock.control.problems import Problem
from penstock.line.pcap import CaptureError, Directions, Frame, read_frames, to_ethernet
from tests.fuzz.machines import Machine

Said = tuple[Any, ...]
FORMS: tuple[plain.Form, ...] = ("auto", "domains", "hosts")


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
    lines, found = content.split(b"\n"), []
    rules = adguard.Ranking(line for line in lines if any(word in line for word in adguard.RANKING))
    parsers = [*(plain.make_parser(form) for form in FORMS), plain.make_parser("auto", "exact"), rules.parse]
    for parse in [*parsers, squidguard.parse_address, squidguard.parse_expression]:
        for line in lines:
            said = parse_said(parse, line)
            if isinstance(said, Exception):
                assert str(said)
                continue
            for entry in said:
                check_entry(entry)
            found += said
    return tuple(found)


def check_entry(entry: Entry) -> None:
    """An entry of a list: a name in small letters, no longer than names are, which taken again stays; a path in ASCII."""
    name = entry.name
    assert 0 < len(name) <= NAME_LIMIT
    assert name == name.lower()
    assert not set(name) & set(b" \t\r\n#*/\\")
    assert parse_name(name) == name
    assert re.fullmatch(rb"(/[!-~]*)?", entry.path)

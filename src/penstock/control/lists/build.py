"""Building the names database from the lists of a configuration: `penstock lists build`.

A line that cannot be read is reported and skipped. A list that cannot be read, or in which no line can be, stops the build,
and the old database stays: a server's error page in the place of a list must not switch a service off.
"""

import gzip
import hashlib
import os
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np

from penstock.control.configuration import Configuration
from penstock.control.lists.formats import LINE_LIMIT, BadLine, parse_lines
from penstock.control.lists.names_file import Hashes, NamesError, hash_names, write_names
from penstock.control.lists.settings import ListSource

BLOCK_BYTES = 1 << 20  # read, parsed and hashed at one time
PROBLEM_LIMIT = 100  # skipped lines that a report keeps; the others are counted

Progress = Callable[[str, int, int], None]
"""Called with what is done (a list's path, or "writing"), and how many of how many bytes of all lists have been read."""


class SkippedLine(NamedTuple):
    """A line from which no name was taken."""

    path: Path
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.reason}"


@dataclass
class SourceReport:
    """What became of one list."""

    path: Path
    category: str
    match: str
    entries: int = 0
    skipped: int = 0
    first_reason: str = ""
    sha256: str = ""
    modified_ns: int = 0


@dataclass
class Report:
    """What became of a build."""

    database: Path
    sources: list[SourceReport] = field(default_factory=list)
    skipped_lines: list[SkippedLine] = field(default_factory=list)
    skipped: int = 0
    names: int = 0
    size_bytes: int = 0
    elapsed_s: float = 0.0

    @property
    def entries(self) -> int:
        """Names taken from all lists, repeated ones counted each time."""
        return sum(source.entries for source in self.sources)

    def skip(self, source: SourceReport, line: int, reason: str) -> None:
        """Count a line from which no name was taken; the first PROBLEM_LIMIT are kept."""
        source.first_reason = source.first_reason or f"line {line}: {reason}"
        source.skipped += 1
        self.skipped += 1
        if len(self.skipped_lines) < PROBLEM_LIMIT:
            self.skipped_lines.append(SkippedLine(source.path, line, reason))


def build_names(configuration: Configuration, progress: Progress = lambda *_: None) -> Report:
    """Build the names database of a configuration. Raises NamesError; the old database stays then."""
    started_s = time.monotonic()
    report = Report(configuration.database)
    categories = configuration.category_names
    key = os.urandom(16)
    total_bytes = sum(_size_bytes(source.path) for source in configuration.lists)
    done_bytes = 0
    parts: list[tuple[Hashes, int, bool]] = []
    for source in configuration.lists:
        before = done_bytes
        bit, exact = categories.index(source.category), source.match == "exact"
        for hashes, read_bytes in _hash_list(source, key, report):
            parts.append((hashes, bit, exact))
            done_bytes = before + read_bytes
            progress(str(source.path), done_bytes, total_bytes)
    progress("writing", done_bytes, total_bytes)
    metadata = {
        "categories": categories,
        "sources": [{**asdict(source), "path": str(source.path)} for source in report.sources],
    }
    try:
        joined = _join_parts(parts)
        report.names, report.size_bytes = write_names(report.database, key, time.time_ns(), metadata, *joined)
    except OSError as error:
        raise NamesError(f"{report.database}: {error.strerror}: the old names database stays") from None
    report.elapsed_s = time.monotonic() - started_s
    return report


class Block(NamedTuple):
    """Some lines of a list, and how far the file has been read."""

    first_line: int
    lines: list[bytes]
    read_bytes: int
    sha256: str


def read_blocks(path: Path) -> Iterator[Block]:
    """The lines of a list, block by block.

    A file that starts as gzip is unpacked. A longer line than LINE_LIMIT is cut behind it. Raises OSError, EOFError or
    zlib.error for a file that cannot be read or is damaged.
    """
    with path.open("rb") as file:
        source = _Digested(file)
        stream: Any = source
        if file.peek(2)[:2] == b"\x1f\x8b":
            stream = gzip.GzipFile(fileobj=cast(Any, source), mode="rb")
        rest, line = b"", 1
        while block := stream.read(BLOCK_BYTES):
            lines = (rest + block).split(b"\n")
            rest = lines.pop()[: LINE_LIMIT + 2]
            yield Block(line, lines, source.read_bytes, source.sha256.hexdigest())
            line += len(lines)
        yield Block(line, [rest] if rest else [], source.read_bytes, source.sha256.hexdigest())


class _Digested:
    """A file that remembers the digest of what was read from it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.sha256, self.read_bytes = file, hashlib.sha256(), 0

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        self.sha256.update(block)
        self.read_bytes += len(block)
        return block


def _hash_list(source: ListSource, key: bytes, report: Report) -> Iterator[tuple[Hashes, int]]:
    found = SourceReport(source.path, source.category, source.match)
    report.sources.append(found)
    try:
        found.modified_ns = source.path.stat().st_mtime_ns
        for block in read_blocks(source.path):
            names: list[bytes] = []
            for number, parsed in enumerate(parse_lines(block.lines, source.format), block.first_line):
                if isinstance(parsed, BadLine):
                    report.skip(found, number, str(parsed))
                else:
                    names += parsed
            found.entries += len(names)
            found.sha256 = block.sha256
            yield hash_names(b"".join(name + b"\n" for name in names), len(names), key), block.read_bytes
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise NamesError(f"{source.path}: {reason}: the old names database stays") from None
    if found.skipped and not found.entries:
        raise NamesError(f"{source.path}: no line has a name ({found.first_reason}): the old names database stays")


def _join_parts(parts: list[tuple[Hashes, int, bool]]) -> tuple[Hashes, Hashes, Hashes]:
    """Hashes, exact masks and subtree masks of all lists, one after the other."""
    count = sum(len(hashes) for hashes, _, _ in parts)
    joined, exact, below = (np.zeros(count, np.uint64) for _ in range(3))
    at = 0
    for hashes, bit, is_exact in parts:
        here = slice(at, at + len(hashes))
        joined[here] = hashes
        (exact if is_exact else below)[here] = np.uint64(1) << np.uint64(bit)
        at = here.stop
    return joined, exact, below


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # reading it says what is wrong

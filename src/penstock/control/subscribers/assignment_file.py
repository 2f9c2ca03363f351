"""Assignments as a file has them, one a line: bytes in, rows and what is wrong with others out.

    subscriber,address,port_first,port_last,scope,profile      the header: two columns must be there, in any order
    alice,10.1.2.3,,,,family
    bob,203.0.113.1,1024,2047,north,

CSV as RFC 4180 has it, in UTF-8, each line ended. It does not know files that change (`watched_file`).
"""

import csv
import io
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from penstock.control.problems import Problem, suggest_name
from penstock.control.subscribers.model import Place
from penstock.control.subscribers.places import MAPPED, build_places
from penstock.control.values import build_name_parser, parse_label, parse_prefix

MUST, MAY = ("subscriber", "address"), ("port_first", "port_last", "scope", "profile")
PROBLEM_LIMIT = 20  # that are named: a file of another kind has nothing else

_parse_subscriber = build_name_parser(
    r"(?! )[^\x00-\x1f\x7f]{1,253}(?<! )", "expected 1 to 253 characters, no space at either end"
)


@dataclass(frozen=True, slots=True)
class Row:
    """One line: who is where, and what holds for him."""

    subscriber: str
    places: tuple[Place, ...]
    profile: str | None

    @property
    def session(self) -> int:
        """Who is where, in 64 bits: the same as long as the line says the same of that."""
        return hash_text("\0".join((self.subscriber, *map(write_place, self.places))))


def write_place(place: Place) -> str:
    """A place as text, different for different places."""
    return f"{place.scope} {place.address.hex()} {place.bits} {place.port} {place.port_bits}"


class _BadCell(Exception):
    def __init__(self, column: str, expected: str) -> None:
        super().__init__(expected)
        self.column, self.expected = column, expected


class AssignmentFile:
    """The rows of `raw`; `problems` fills while they are read."""

    def __init__(self, path: Path, raw: bytes, scopes: Mapping[str, int]) -> None:
        self.problems: list[Problem] = []
        self._path, self._raw, self._scopes = path, raw, scopes
        self._line = ""

    def rows(self) -> Iterator[tuple[int, Row]]:
        """The good lines and their numbers. Ends early behind PROBLEM_LIMIT bad ones."""
        text = io.TextIOWrapper(io.BytesIO(self._raw), "utf-8-sig", "surrogateescape", newline="")
        reader = csv.reader(self._remember(text), strict=True)
        columns: list[str] | None = None
        while len(self.problems) < PROBLEM_LIMIT:
            try:
                cells = next(reader, None)
            except csv.Error as error:
                self._note(reader.line_num, 1, "", f"expected CSV: {error}")
                continue
            if cells is None:
                break
            if columns is None:
                columns = self._read_header(cells)
                if columns is None:
                    return
            elif cells:
                row = self._read_row(reader.line_num, columns, cells)
                if row is not None:
                    yield reader.line_num, row
        if columns is None:
            self._note(1, 1, "", f"expected a header: {','.join(MUST)} and perhaps {','.join(MAY)}")
        elif self._line and not self._line.endswith(("\n", "\r")):
            self._note(reader.line_num, len(self._line) + 1, "", "expected a line end: is the file whole?")

    def note_twin(self, line: int, first: int) -> None:
        """A place of that line is a place of line `first` too."""
        self._note(line, 1, "address", f"expected each place once: it is in line {first} already")

    def _remember(self, text: Iterator[str]) -> Iterator[str]:
        for self._line in text:
            yield self._line

    def _note(self, line: int, column: int, key: str, expected: str) -> None:
        self.problems.append(Problem(self._path, max(line, 1), column, key, expected))

    def _read_header(self, cells: list[str]) -> list[str] | None:
        known = (*MUST, *MAY)
        for number, cell in enumerate(cells):
            if cell not in known or cell in cells[:number]:
                expected = f"expected a header of columns, each once: {suggest_name(cell, known)}"
                self._note(1, self._find_column(number), "", expected)
        for column in MUST:
            if column not in cells and not self.problems:
                self._note(1, 1, "", f"expected a header with the column `{column}`")
        return None if self.problems else cells

    def _read_row(self, line: int, columns: list[str], cells: list[str]) -> Row | None:
        if len(cells) != len(columns):
            self._note(line, 1, "", f"expected {len(columns)} columns, as the header has, not {len(cells)}")
            return None
        try:
            return self._parse_row(dict(zip(columns, cells, strict=True)))
        except _BadCell as bad:
            self._note(line, self._find_column(columns.index(bad.column)), bad.column, bad.expected)
            return None

    def _parse_row(self, cells: dict[str, str]) -> Row:
        column = "subscriber"
        try:
            subscriber = _parse_subscriber(_check_text(cells[column]))
            column = "profile"
            profile = parse_label(_check_text(cells[column])) if cells.get(column) else None
            column = "address"
            text = cells[column]
            network = None if _is_plain4(text) else parse_prefix(text)
            column = "scope"
            scope = self._find_scope(cells.get(column, ""))
            first, last = cells.get("port_first", ""), cells.get("port_last", "")
            if network is None and not (first or last):  # as nearly all are: four times as fast
                return Row(subscriber, (Place(scope, MAPPED + socket.inet_pton(socket.AF_INET, text), 128),), profile)
            column = "port_first" if first or not last else "port_last"
            ports = _parse_ports(first, last) if first or last else None
            return Row(subscriber, tuple(build_places(network or parse_prefix(text), ports, scope)), profile)
        except ValueError as error:
            raise _BadCell(column, str(error)) from None

    def _find_scope(self, name: str) -> int:
        if name and name not in self._scopes:
            raise ValueError(f"expected one of `scopes`: {suggest_name(name, self._scopes)}")
        return self._scopes[name] if name else 0

    def _find_column(self, number: int) -> int:
        """Where the cell of that number begins in the line, from 1."""
        is_quoted = False
        for at, character in enumerate(self._line):
            if number == 0:
                return at + 1
            if character == '"':
                is_quoted = not is_quoted
            elif character == "," and not is_quoted:
                number -= 1
        return len(self._line.rstrip("\r\n")) + 1


def hash_text(text: str) -> int:
    """64 bits of a text, the same in every process."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "little")


def _check_text(text: str) -> str:
    if not text.isascii() and any("\udc80" <= character <= "\udcff" for character in text):
        raise ValueError("expected UTF-8 text")
    return text


def _is_plain4(text: str) -> bool:
    """Whether the text is an IPv4 address and nothing else."""
    try:
        socket.inet_pton(socket.AF_INET, text)
    except (OSError, ValueError):
        return False
    return True


def _parse_ports(first: str, last: str) -> tuple[int, int]:
    if not (first.isascii() and first.isdigit() and last.isascii() and last.isdigit() and len(first + last) <= 10):
        raise ValueError("expected a first and a last port from 0 to 65535")
    return int(first), int(last)

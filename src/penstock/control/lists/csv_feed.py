"""Feeds in CSV: one column has a name, an address, or a web address; the others are not read.

Quoting is that of RFC 4180. A name or address means what it means in a plain list.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from penstock.control.lists.entries import BadLine, Entry, Line, Parse, parse_said
from penstock.control.lists.names_file import NamesError
from penstock.control.lists.plain import MARK
from penstock.control.lists.settings import Columns


def read_feed(stream: BinaryIO, columns: Columns, parse: Parse) -> Iterator[Line]:
    """The rows of a feed, by their last lines. Raises NamesError for no CSV, and where no column has the title."""
    text = io.TextIOWrapper(stream, "utf-8", "surrogateescape", newline="")
    if text.buffer.peek(3)[:3] == MARK:  # type: ignore[attr-defined]
        text.buffer.read(3)
    numbered = _Numbered(text, columns.comment)
    rows = csv.reader(numbered, delimiter=columns.delimiter)
    at = columns.column - 1 if isinstance(columns.column, int) else None
    is_title = columns.header or at is None
    try:
        for row in rows:
            if not row:
                continue
            if is_title:
                at, is_title = _find_column(row, columns, at), False
                continue
            assert at is not None
            said = parse_said(lambda line: _parse_row(row, at, parse), b"")  # noqa: B023
            yield Line(numbered.line, columns.delimiter.join(row).encode("utf-8", "surrogateescape"), said)
    except csv.Error as error:
        raise NamesError(f"line {numbered.line}: no CSV: {error}") from None


def _parse_row(row: Sequence[str], at: int, parse: Parse) -> Sequence[Entry]:
    if at >= len(row):
        raise BadLine(f"expected {at + 1} columns, not {len(row)}")
    field = row[at].strip().encode("utf-8", "surrogateescape")
    if not field:
        raise BadLine("an empty column")
    return parse(field)


def _find_column(row: Sequence[str], columns: Columns, at: int | None) -> int:
    if at is not None:
        return at
    titles = [title.strip().lstrip("#").strip() for title in row]
    if columns.column not in titles:
        raise NamesError(f"no column `{columns.column}`; there are {', '.join(titles)}")
    return titles.index(str(columns.column))


class _Numbered:
    """Lines that are no comments, and the number of the last one."""

    def __init__(self, text: io.TextIOWrapper, comment: str) -> None:
        self._text, self._comment, self.line = text, comment, 0

    def __iter__(self) -> Iterator[str]:
        for line in self._text:
            self.line += 1
            if not (self._comment and line.startswith(self._comment)):
                yield line

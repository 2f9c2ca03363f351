"""Feeds in CSV."""

import io
from functools import partial
from typing import Any, cast

import pytest

from penstock.control.lists.csv_feed import read_feed
from penstock.control.lists.entries import Line
from penstock.control.lists.names_file import NamesError
from penstock.control.lists.plain import make_parser
from penstock.control.lists.settings import Columns


def read(content: bytes, **columns: Any) -> list[Line]:
    """The rows of a feed."""
    stream = cast(Any, io.BufferedReader(cast(Any, io.BytesIO(content))))
    return list(read_feed(stream, Columns(**columns), make_parser("domains")))


def take(lines: list[Line]) -> list[tuple[int, str]]:
    """The line of each row, and its entry or the reason why there is none."""
    return [
        (
            line.number,
            str(line.said) if isinstance(line.said, Exception) else (line.said[0].name + line.said[0].path).decode(),
        )
        for line in lines
    ]


@pytest.mark.parametrize(
    ("content", "columns", "taken"),
    [
        (b"bad.test,1\nworse.test,2\n", {}, [(1, "bad.test"), (2, "worse.test")]),
        (b"id;name\r\n7;bad.test\r\n", {"column": "name", "delimiter": ";"}, [(2, "bad.test")]),
        (b"\xef\xbb\xbfname,id\nbad.test,7\n", {"column": "name"}, [(2, "bad.test")]),
        (b"id,name\n7,bad.test\n", {"column": 2, "header": True}, [(2, "bad.test")]),
        (b"# a\n# b\n1,bad.test\n\n# c\n2,worse.test\n", {"column": 2}, [(3, "bad.test"), (6, "worse.test")]),
        (b'"1","http://bad.test/a,b"\n', {"column": 2}, [(1, "bad.test/a,b")]),
        (b'"a\nb",bad.test\n', {"column": 2}, [(2, "bad.test")]),
        (
            b"1\n2,\n3,bad.test\n",
            {"column": 2},
            [(1, "expected 2 columns, not 1"), (2, "an empty column"), (3, "bad.test")],
        ),
        (b"\xff\xfe,1\n", {}, [(1, "neither an ASCII name nor an internationalised one: not UTF-8")]),
    ],
)
def test_rows(content: bytes, columns: dict[str, Any], taken: list[tuple[int, str]]) -> None:
    assert take(read(content, **columns)) == taken


def test_a_title_that_is_not_there() -> None:
    with pytest.raises(NamesError, match="no column `url`; there are id, name"):
        read(b"id,name\n1,bad.test\n", column="url")


def test_what_is_no_csv() -> None:
    with pytest.raises(NamesError, match="line 1: no CSV"):
        read(b'"' + b"x" * 200_000)


def test_it_is_read_row_by_row() -> None:
    class Endless(io.RawIOBase):
        readinto = partial(lambda self, buffer: memoryview(buffer).__setitem__(slice(9), b"bad.test\n") or 9, None)

        def readable(self) -> bool:
            return True

    rows = read_feed(cast(Any, io.BufferedReader(Endless())), Columns(), make_parser("domains"))
    assert [next(rows).number for _ in range(3)] == [1, 2, 3]

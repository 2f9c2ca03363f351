"""The compiled reading of plain lines against the parser that every other line goes to."""

import os

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from penstock.control.lists.bulk import read_bulk
from penstock.control.lists.entries import parse_said
from penstock.control.lists.names_file import hash_names
from penstock.control.lists.plain import make_parser

label = st.sampled_from([b"a", b"B", b"a-b", b"_x", b"9", b"x" * 63, b"x" * 64, b"", b"\xc3\xbc", b"*", b"a b"])
name = st.lists(label, max_size=6).map(b".".join)
front = st.sampled_from([b"", b"0.0.0.0 ", b"||", b" "])
line = st.tuples(front, name, st.sampled_from([b"", b"^", b"\r"])).map(b"".join)
SHAPES = [(b"", b""), (b"0.0.0.0 ", b"")]


@settings(deadline=None)
@given(st.lists(line, max_size=20), st.booleans())
@example([b".".join([b"x" * 50] * 5)], True)
@example([b".".join([b"x" * 49] * 5) + b".xxxx"], True)
def test_what_is_taken_is_what_the_parser_says(lines: list[bytes], is_ended: bool) -> None:
    key = os.urandom(16)
    text = b"\n".join(lines) + b"\n" * is_ended
    bulk = read_bulk(text, SHAPES, key)
    parse = make_parser("auto")
    for value, number in zip(bulk.hashes.tolist(), bulk.numbers.tolist(), strict=True):
        said = parse_said(parse, lines[number])
        assert not isinstance(said, Exception)
        assert hash_names(said[0].name + b"\n", 1, key).tolist() == [value]
    odd = {number: text[start:end] for number, start, end in bulk.odd.tolist()}
    empty = {number for number, line in enumerate(lines) if line in (b"", b"\r")}
    assert sorted([*bulk.numbers.tolist(), *odd]) == sorted(set(range(len(lines))) - empty)
    assert all(lines[number] == line for number, line in odd.items())


@pytest.mark.parametrize(
    ("shape", "line", "is_taken"),
    [
        ((b"||", b"^"), b"||bad.example^", True),
        ((b"||", b"^"), b"||bad.example^$all", False),
        ((b"||", b"^"), b"||^", False),
        ((b"||", b"^"), b"|", False),
        ((b"", b""), b"com", False),
        ((b"", b""), b"bad.example\r", True),
        ((b"", b""), b"bad.example.", False),
        ((b"", b""), b".".join([b"x" * 49] * 5) + b".xxx", True),  # 253 characters
        ((b"", b""), b".".join([b"x" * 49] * 5) + b".xxxx", False),
    ],
)
def test_shapes(shape: tuple[bytes, bytes], line: bytes, is_taken: bool) -> None:
    assert len(read_bulk(line + b"\n", [shape], bytes(16)).hashes) == is_taken


def test_nothing_is_nothing() -> None:
    assert [len(part) for part in read_bulk(b"", SHAPES, bytes(16))] == [0, 0, 0]

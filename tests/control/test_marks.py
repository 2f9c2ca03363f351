"""Places in YAML text."""

import pytest

from penstock.control.marks import Document, MarkedError

TEXT = """\
a:
  - b: 1
    c: [x, y]
  - {d: 2}
e: text
"""


def test_places_of_keys_and_values() -> None:
    document = Document(TEXT)
    assert document.value == {"a": [{"b": 1, "c": ["x", "y"]}, {"d": 2}], "e": "text"}
    assert document.find_place(("a", 0, "b")) == (2, 8)
    assert document.find_place(("a", 0, "b"), key=True) == (2, 5)
    assert document.find_place(("a", 0, "c")) == (3, 5)  # a block stands at its key
    assert document.find_place(("a", 0, "c", 1)) == (3, 12)
    assert document.find_place(("a", 1)) == (4, 5)
    assert document.find_place(("e",)) == (5, 4)


def test_what_is_not_there_is_where_it_should_be() -> None:
    document = Document(TEXT)
    assert document.find_place(("a", 1, "f")) == (4, 5)
    assert document.find_place(("z", "y")) == (1, 1)


def test_merged_keys_stand_where_they_are_written() -> None:
    document = Document("base: &base\n  k: 1\nuse:\n  <<: *base\n  l: 2\n")
    assert document.value["use"] == {"k": 1, "l": 2}
    assert document.find_place(("use", "k")) == (2, 6)


def test_endless_nesting_ends() -> None:
    with pytest.raises(MarkedError, match="at most 32 levels"):
        Document("a: &a [*a]")
    with pytest.raises(MarkedError, match="at most 32 levels"):
        Document("[" * 40 + "]" * 40)

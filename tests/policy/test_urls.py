"""Web addresses: canonical form and look-up against a plain model, and against Safe Browsing's own vectors."""

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from penstock.control.lists.entries import Entry
from penstock.control.lists.names_file import Reach
from penstock.control.lists.web_address import canonicalise
from penstock.policy.names import HOST_LIMIT
from penstock.policy.snapshot import open_names
from penstock.policy.urls import PART_LIMIT, SCRATCH_BYTES, TARGET_LIMIT, find_url_categories
from tests.corpus import CORPUS

from .databases import Said, find_plainly, put, sign, store
from .urls_model import canonical_host, canonical_target, find_covering
from .worlds import compiled, readable, span

piece = st.sampled_from(
    [b"a", b"b", b"A", b"/", b"//", b"/./", b"/../", b"..", b".", b"?", b"x=1", b"#", b"%", b"%2", b"%2F", b"%2e", b"%25",
     b"%2525", b"%3f", b" ", b"\xc3\xbc", b"\t", b"~", b"41", b"http://", b":"]
)  # fmt: skip
target = st.lists(piece, max_size=12).map(b"".join)
path = st.lists(st.sampled_from([b"/", b"/a", b"/b", b"/A", b"/..", b"/%61", b"?x", b"?x=1"]), max_size=6).map(b"".join)
number = st.sampled_from([b"0", b"1", b"10", b"010", b"0x1F", b"256", b"08", b"4294967295", b"x", b"", b"a"])
host = st.lists(number | piece.filter(lambda p: b"/" not in p), max_size=5).map(b".".join) | st.binary(max_size=40)


@settings(deadline=None)
@given(host, target)
@example(b"%2e%2E1", b"/%2e%2e/a")
@example(b"a" * HOST_LIMIT, b"/" * 300)
@example(b"10.1 x", b"/a/..")
@example(b"", b"://http://a")
def test_canonical_forms_are_the_models(asked: bytes, text: bytes) -> None:
    found, of_path, whole = canonicalise(asked, text)
    assert (found, (of_path, whole)) == (canonical_host(asked), canonical_target(text))


@settings(deadline=None)
@given(target)
def test_a_canonical_target_is_a_fixed_point_but_for_its_escapes(text: bytes) -> None:
    _, of_path, _ = canonicalise(b"a", text)
    assume(b"?" not in of_path)  # which was escaped, and begins a query now
    assert canonicalise(b"a", of_path)[1] == of_path
    assert re.fullmatch(rb"/[!-~]*", of_path)
    assert b"//" not in of_path
    assert b"/../" not in of_path


def ask(address: int, asked: bytes, text: bytes) -> int:
    """What the compiled look-up says of one request, in memory of exactly the size that it may touch."""
    name, line, scratch = span(asked), span(text), np.full(SCRATCH_BYTES, 0xA5, np.uint8)
    with readable(name, line, scratch) as (at, line_at, scratch_at):
        return int(compiled(find_url_categories)(address, at, len(asked), line_at, len(text), scratch_at))


names = st.lists(st.sampled_from([b"a", b"b"]), min_size=1, max_size=3).map(b".".join)
paths = st.just(b"") | path.map(lambda text: canonical_target(b"/" + text)[1])
said = st.tuples(
    st.sampled_from([0, 63]),
    st.builds(Entry, names, st.sampled_from([Reach.EXACT, Reach.SUBTREE]), st.booleans(), paths),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(said, max_size=20), st.lists(st.tuples(names, path | target), min_size=1, max_size=10))
def test_find_url_categories_is_the_plain_reading(entries: list[Said], requests: list[tuple[bytes, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        database = open_names(store(entries, Path(directory)))
        listed = [(b"a." + entry.name, entry.path + b"/x") for _, entry in entries]
        for asked, text in [*requests, *listed, *((entry.name.upper(), entry.path) for _, entry in entries)]:
            assert ask(database.address, asked, text) == sign(find_covering(entries, asked, text)), (asked, text)
        database.close()


@pytest.mark.parametrize(
    ("entry", "covered", "others"),
    [
        (
            b"/1",
            [b"/1", b"/1?x", b"/1/2", b"/%31/", b"/0/../1", b"http://b.test:80/1"],
            [b"/12", b"/", b"", b"*", b"/0/1"],
        ),
        (b"/1/", [b"/1/", b"/1/2", b"//1//2"], [b"/1", b"/12/"]),
        (b"/1?x", [b"/1?x", b"/1?%78", b"/1?x#y"], [b"/1", b"/1?x&y", b"/1?", b"/1/?x"]),
        (b"/A", [b"/A", b"/%41"], [b"/a"]),
        (b"/", [b"/", b"", b"/a/b?c", b"*"], []),
    ],
)
def test_what_an_entry_covers(entry: bytes, covered: list[bytes], others: list[bytes], tmp_path: Path) -> None:
    database = open_names(store([put(b"b.test", path=entry)], tmp_path))
    for text in covered:
        assert ask(database.address, b"b.test", text) == ask(database.address, b"www.B.test.", text) == 1, text
        assert ask(database.address, b"a-b.test", text) == 0
    for text in others:
        assert ask(database.address, b"b.test", text) == 0, text
    database.close()


def test_a_path_changes_what_its_host_has(tmp_path: Path) -> None:
    entries = [put(b"bad.test"), put(b"bad.test", path=b"/good/", allowed=True), put(b"bad.test", path=b"/good/not/")]
    database = open_names(store(entries, tmp_path))
    for text, found in ((b"/", 1), (b"/good/", 0), (b"/good/a", 0), (b"/good/not/a", 1), (b"/good", 1)):
        assert ask(database.address, b"bad.test", text) == found, text
    database.close()


def test_a_host_in_another_spelling_is_the_host(tmp_path: Path) -> None:
    database = open_names(store([put(b"10.1.2.3"), put(b"bad.test", category=1)], tmp_path))
    for asked, found in (
        (b"167838211", 1),
        (b"0xA.1.0x203", 1),
        (b"b%61d.test", 2),
        (b".bad..test..", 2),
        (b"10.1.2.4", 0),
    ):
        assert ask(database.address, asked, b"/") == found, asked
    database.close()


def test_limits(tmp_path: Path) -> None:
    deep, long = b"/a" * PART_LIMIT, b"/" + b"x" * 5000
    database = open_names(store([put(b"b.test", path=deep), put(b"b.test", path=long, category=1)], tmp_path))
    for text, found in (
        (deep + b"/b/c", 1),
        (b"/a" + deep, 1),
        (long, 2),
        (b"/y/.." * 10_000 + long, 2),  # steps back are not a way around an entry
        (long + b"y" * TARGET_LIMIT, 0),
        (b"/a/" + b"%" * TARGET_LIMIT, 0),
    ):
        assert ask(database.address, b"b.test", text) == found, text[:20]
    asked = b"x" * HOST_LIMIT + b".b.test"
    assert ask(database.address, asked, long) == find_plainly([], asked) == 0
    database.close()


# ---- Safe Browsing's vectors -------------------------------------------------------------------------------------------
corpus = pytest.mark.skipif(CORPUS is None, reason="the corpus is not there")


def read_vectors(kind: str) -> list[tuple[bytes, Any]]:
    """Inputs, and what is expected of each; without those that are to be refused."""
    if CORPUS is None:
        return []
    rows = json.loads((CORPUS / "urls" / "safebrowsing_vectors.json").read_text())[kind]
    return [(bytes.fromhex(row["input_hex"]), row["expected"]) for row in rows if not row.get("fail")]


def split(text: bytes) -> tuple[bytes, bytes, bytes]:
    """Scheme, host and target; the scheme may be escaped, or missing."""
    text = re.sub(rb"(?i)^(http)%3a%2f%2f", rb"\1://", text.strip(b" "))
    found = re.fullmatch(rb"(?:([a-z]+)://)?(\[[^\]]*\]|[^/?#:]*)(?::\d+)?(.*)", text, re.S)
    assert found
    return found[1] or b"http", found[2], found[3]


@corpus
@pytest.mark.parametrize("kind", ["canonical_host", "canonical_path", "canonical_url", "ip_address"])
def test_the_vectors_of_safe_browsing(kind: str) -> None:
    rows = read_vectors(kind)
    assert len(rows) >= 9
    for text, expected in rows:
        if kind == "ip_address":
            found = canonicalise(text, b"")[0].decode()
            assert found == expected or (expected == "" and found == text.decode()), text
            continue
        scheme, asked, of_target = split(text)
        if not asked.isascii() and b"\xc3" in asked:
            continue  # an internationalised name is A-labels in a request, and is encoded in a list
        name, of_path, _ = canonicalise(asked, of_target)
        found = {"canonical_host": name, "canonical_path": of_path, "canonical_url": scheme + b"://" + name + of_path}[
            kind
        ]
        assert found.decode() == expected, text


@corpus
def test_every_lookup_expression_of_safe_browsing_finds_its_request(tmp_path: Path) -> None:
    for number, (text, expected) in enumerate(read_vectors("lookup_expressions")):
        _, asked, of_target = split(text)
        for expression in expected:
            name, slash, rest = expression.partition("/")
            directory = tmp_path / f"{number}-{abs(hash(expression))}"
            database = open_names(store([put(name.encode(), path=(slash + rest).encode())], directory))
            assert ask(database.address, asked, of_target) == 1, (text, expression)
            database.close()

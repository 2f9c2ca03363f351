"""Which format a list is in, and what becomes of one that cannot be read."""

from pathlib import Path

import pytest

from penstock.control.lists.names_file import NamesError
from penstock.control.lists.read import Reading, detect_format
from penstock.control.lists.settings import Format, ListSource


@pytest.mark.parametrize(
    ("lines", "form"),
    [
        ([b"! title", b"", b"||bad.test^"], "adguard"),
        ([b"[Adblock Plus 2.0]"], "adguard"),
        ([b"|bad.test^$dnsrewrite=x"], "adguard"),
        ([b"bad.test"] * 150 + [b"@@||good.test^"], "adguard"),
        ([b"bad.test"] * 250 + [b"@@||good.test^"], "auto"),
        ([b"; a zone", b"$TTL 2h", b"@ SOA a. b. 1 1 1 1 1"], "rpz"),
        ([b"@ 3600 IN SOA a. b. 1 1 1 1 1"], "rpz"),
        ([b"# hosts", b"0.0.0.0 bad.test"], "auto"),
        ([], "auto"),
    ],
)
def test_a_format_is_told_by_the_first_lines(lines: list[bytes], form: Format) -> None:
    assert detect_format(lines) == form


@pytest.mark.parametrize(
    ("name", "content", "form", "reason"),
    [
        ("zone", b"$TTL 2h\n@ SOA a. b. 1 1 1 1 1\n", "auto", "zone: a zone file: say `format: rpz`"),
        ("zone", b"<html>\n", "rpz", "zone: not a zone file: near line"),
        ("lists.tar.gz", b"<html>\n", "auto", r"lists\.tar\.gz: "),
        ("feed", b'"' + b"x" * 200_000, "csv", "feed: line 1: no CSV"),
        ("list.gz", b"\x1f\x8b" + b"x" * 100, "auto", r"list\.gz: "),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_path(
    name: str, content: bytes, form: Format, reason: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(NamesError, match=reason):
        list(Reading(ListSource(category="bad", path=tmp_path / name, format=form), bytes(16)))


def test_entries_of_the_machine_itself_are_in_no_bulk(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_bytes(b"127.0.0.1 localhost.localdomain\n0.0.0.0 0.0.0.0\n0.0.0.0 bad.test\n")
    (chunk,) = Reading(ListSource(category="bad", path=path, format="hosts"), bytes(16))
    assert len(chunk.bulk.hashes) == 0
    assert [[entry.name for entry in line.said] for line in chunk.lines if not isinstance(line.said, Exception)] == [
        [],
        [],
        [b"bad.test"],
    ]

"""Trees of lists: what is read of them, from a directory and from an archive."""

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from penstock.control.configuration import Configuration
from penstock.control.lists.build import Report, build_names
from penstock.control.lists.entries import Entry, parse_said
from penstock.control.lists.names_file import NamesError, Reach
from penstock.control.lists.settings import ListSource
from penstock.control.lists.squidguard import find_parser, parse_address, parse_expression

FILES = {
    "adult/domains": b"bad.example\n192.0.2.1\n",
    "adult/urls": b"some.example/bad\nwww.other.example/~bad/\n",
    "adult/expressions": b"(bad|worse)\n^plain\\.example$\n",
    "adult/usage": b"black\n",
    "ads/domains.gz": gzip.compress(b"ads.example\nmore.example\n"),
    "README": b"what it is\n",
}


def write_tree(directory: Path) -> Path:
    """The files as a tree, with a link to a category."""
    for name, content in FILES.items():
        path = directory / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (directory / "tree" / "porn").symlink_to("adult")
    return directory / "tree"


def write_archive(directory: Path) -> Path:
    """The files as an archive, with a link to a category."""
    path = directory / "lists.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, content in FILES.items():
            member = tarfile.TarInfo(f"blacklists/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("blacklists/porn")
        link.type, link.linkname = tarfile.SYMTYPE, "adult"
        archive.addfile(link)
    return path


def build(path: Path, member: str | None, directory: Path) -> Report:
    """The report of a build from one tree."""
    source = ListSource(category="bad", path=path, member=member)
    return build_names(Configuration(lists=(source,), database=directory / "names.db"))


@pytest.mark.parametrize("write", [write_tree, write_archive])
@pytest.mark.parametrize(
    ("member", "entries", "urls", "not_taken"),
    [(None, 8, 3, 1), ("adult", 6, 3, 1), ("ads", 2, 0, 0), ("porn", 6, 3, 1)],
)
def test_a_tree_or_one_directory_of_it(
    write: object, member: str | None, entries: int, urls: int, not_taken: int, tmp_path: Path
) -> None:
    assert callable(write)
    report = build(write(tmp_path), member, tmp_path)
    assert (report.entries, report.sources[0].urls, report.not_taken, report.skipped) == (entries, urls, not_taken, 0)
    assert len(report.sources[0].sha256) == 64


@pytest.mark.parametrize("write", [write_tree, write_archive])
def test_a_directory_that_is_not_there(write: object, tmp_path: Path) -> None:
    assert callable(write)
    with pytest.raises(NamesError, match=r"is no directory of this tree|no `domains`.* in a directory `none`"):
        build(write(tmp_path), "none", tmp_path)


def test_a_damaged_archive(tmp_path: Path) -> None:
    path = write_archive(tmp_path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(NamesError, match=r"lists\.tar\.gz: .*the old names database stays"):
        build(path, None, tmp_path)


def test_a_bad_line_is_named_with_its_member(tmp_path: Path) -> None:
    tree = write_tree(tmp_path)
    (tree / "ads" / "domains").write_text("a.example\n??\n")
    report = build(tree, "ads", tmp_path)
    assert [str(line) for line in report.skipped_lines] == [f"{tree}(ads/domains):2: `??` is no name"]


@pytest.mark.parametrize(
    ("line", "entries"),
    [
        (b"some.example/bad", [(b"some.example", b"/bad"), (b"www.some.example", b"/bad")]),
        (b"www.some.example/bad/", [(b"www.some.example", b"/bad/")]),
        (b"192.0.2.1/x", [(b"192.0.2.1", b"/x")]),
        (b"", []),
    ],
)
def test_a_line_of_urls(line: bytes, entries: list[tuple[bytes, bytes]]) -> None:
    assert list(parse_address(line)) == [Entry(name, Reach.EXACT, path=path) for name, path in entries]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (rb"bad\.example", Entry(b"bad.example", Reach.SUBTREE)),
        (rb"^bad\.example$", Entry(b"bad.example", Reach.EXACT)),
        (rb"bad.example", "a regular expression"),
        (rb"(a|b)\.example", "a regular expression"),
    ],
)
def test_a_line_of_expressions(line: bytes, said: Entry | str) -> None:
    found = parse_said(parse_expression, line)
    assert (str(found) if isinstance(found, Exception) else found[0]) == said


@pytest.mark.parametrize(
    ("name", "is_read"), [("x/domains", True), ("x/urls.gz", True), ("x/usage", False), ("domain", False)]
)
def test_which_files_are_read(name: str, is_read: bool) -> None:
    assert (find_parser(name) is not None) == is_read

"""From list files to the database: what is counted, what is skipped, and what stays when it fails."""

import errno
import gzip
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from penstock.control.lists.formats import Format

from penstock.control import whole_file
from penstock.control.configuration import Configuration
from penstock.control.lists.build import BLOCK_BYTES, PROBLEM_LIMIT, build_names, read_blocks
from penstock.control.lists.names_file import NamesError
from penstock.control.lists.settings import ListSource
from penstock.control.snapshot import build_snapshot
from penstock.policy.snapshot import Snapshot, open_names
from tests.corpus import CORPUS
from tests.policy.worlds import World

Write = Callable[..., Configuration]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Makes a configuration of lists given as bytes by category."""

    def make(form: Format = "auto", match: str = "subtree", **lists: bytes) -> Configuration:
        sources = []
        for category, text in lists.items():
            path = tmp_path / f"{category}.txt"
            path.write_bytes(text)
            sources.append(ListSource(category=category, path=path, format=form, match=match))
        return Configuration(lists=tuple(sources), database=tmp_path / "names.db")

    return make


def test_counts_and_skipped_lines(write: Write, tmp_path: Path) -> None:
    bad = b"# head\na.example\nA.example\n??\n\n0.0.0.0 b.example c.example\ncom"
    report = build_names(write(bad=bad, ads=b"a.example"))
    assert [(source.entries, source.skipped) for source in report.sources] == [(4, 2), (1, 0)]
    assert (report.entries, report.names, report.skipped) == (5, 3, 2)
    assert report.size_bytes == (tmp_path / "names.db").stat().st_size
    assert [str(line) for line in report.skipped_lines] == [
        f"{tmp_path}/bad.txt:4: `??` is no name",
        f"{tmp_path}/bad.txt:7: `com` would cover a top-level domain: write `*.com` to mean that",
    ]


def test_only_the_first_skipped_lines_are_kept(write: Write) -> None:
    report = build_names(write(bad=b"??\n" * 500 + b"a.example\n"))
    assert (report.skipped, len(report.skipped_lines)) == (500, PROBLEM_LIMIT)


def test_line_numbers_go_on_over_blocks(write: Write) -> None:
    lines = BLOCK_BYTES // 10 + 20
    report = build_names(write(bad=b"a.example\n" * lines + b"??\n"))
    assert [line.line for line in report.skipped_lines] == [lines + 1]
    assert report.sources[0].entries == lines


def test_a_line_without_end_takes_no_memory(write: Write) -> None:
    report = build_names(write(bad=b"a.example\n" + b"x" * (3 * BLOCK_BYTES) + b"\nb.example\n"))
    assert [(line.line, line.reason) for line in report.skipped_lines] == [(2, "longer than 4,096 bytes")]
    assert report.names == 2


def test_gzip_is_told_by_its_bytes(write: Write, tmp_path: Path) -> None:
    configuration = write(bad=gzip.compress(b"a.example\nb.example\n"))
    report = build_names(configuration)
    assert report.names == 2
    assert report.sources[0].sha256 == hashlib.sha256((tmp_path / "bad.txt").read_bytes()).hexdigest()


def test_exact_lists_cover_no_more_than_their_names(write: Write, tmp_path: Path) -> None:
    made = World(write(match="exact", bad=b"0.0.0.0 bad.example\n"), tmp_path)
    assert made.find_categories(b"bad.example") == {"bad"}
    assert made.find_categories(b"www.bad.example") == set()
    made.snapshot.close()


def test_progress_ends_with_everything_read(write: Write) -> None:
    told: list[tuple[str, int, int]] = []
    build_names(write(bad=b"a.example\n" * 300_000, ads=b"b.example\n"), lambda *step: told.append(step))
    done = [read for _, read, _ in told]
    assert done == sorted(done)
    assert told[-1] == ("writing", 3_000_010, 3_000_010)


@pytest.mark.parametrize(
    ("lists", "reason"),
    [
        ({"bad": b"<html>\n<body>\n"}, r"no line has a name \(line 1: `<html>` is no name\)"),
        ({"bad": gzip.compress(b"a.example\n" * 1000)[:-20]}, r"bad\.txt: .*end-of-stream"),
        ({"bad": b"\x1f\x8b" + b"x" * 100}, r"bad\.txt: "),
    ],
)
def test_a_list_that_cannot_be_read_leaves_the_old_database(lists: dict[str, bytes], reason: str, write: Write) -> None:
    build_names(write(bad=b"old.example\n"))
    database = write(bad=b"").database
    before = database.read_bytes()
    with pytest.raises(NamesError, match=reason):
        build_names(write(**lists))
    assert database.read_bytes() == before


def test_an_absent_list_leaves_the_old_database(write: Write, tmp_path: Path) -> None:
    configuration = write(bad=b"old.example\n")
    build_names(configuration)
    before = configuration.database.read_bytes()
    (tmp_path / "bad.txt").unlink()
    with pytest.raises(NamesError, match=r"bad\.txt: No such file or directory: the old names database stays"):
        build_names(configuration)
    assert configuration.database.read_bytes() == before


def test_a_full_disk_leaves_the_old_database(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    configuration = write(bad=b"old.example\n")
    build_names(configuration)
    before = configuration.database.read_bytes()

    def refuse(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(whole_file.os, "fsync", refuse)
    with pytest.raises(NamesError, match=r"names\.db: No space left on device: the old names database stays"):
        build_names(configuration)
    assert configuration.database.read_bytes() == before
    assert not configuration.database.with_name("names.db.unfinished").exists()


def test_a_million_names_take_little(write: Write) -> None:
    report = build_names(write(bad=b"".join(b"n%d.example.test\n" % number for number in range(1_000_000))))
    assert report.names == 1_000_000
    assert report.size_bytes < 20 * report.names
    assert report.elapsed_s < 30  # about 2 s on an idle machine


# ---- lists of the world ------------------------------------------------------------------------------------------------
corpus = pytest.mark.skipif(CORPUS is None, reason="the corpus is not there")


def configure(tmp_path: Path, sources: dict[str, list[Path]], form: Format = "auto") -> Configuration:
    lists = [ListSource(category=name, path=path, format=form) for name, paths in sources.items() for path in paths]
    return Configuration(lists=tuple(lists), database=tmp_path / "names.db")


@corpus
def test_ut1_is_read_to_the_last_entry(tmp_path: Path) -> None:
    assert CORPUS
    files = sorted((CORPUS / "lists" / "ut1").glob("*/domains*"))
    sources = {path.parent.name.lower(): [path] for path in files}
    report = build_names(configure(tmp_path, sources, "domains"))
    assert (len(files), report.entries, report.skipped) == (51, 308_920, 0)
    assert len(open_names(tmp_path / "names.db").array) == report.size_bytes


@corpus
@pytest.mark.parametrize(
    ("name", "form", "entries"),
    [
        ("domains_fake", "domains", 14_043),
        ("domains_doh-vpn-proxy-bypass", "domains", 1_205),
        ("domains_nosafesearch", "domains", 175),
        ("hosts_doh-vpn-proxy-bypass", "hosts", 1_205),
        ("wildcard_doh-vpn-proxy-bypass", "domains", 714),
    ],
)
def test_hagezi_is_read_to_the_last_entry(name: str, form: Format, entries: int, tmp_path: Path) -> None:
    assert CORPUS
    path = CORPUS / "lists" / "hagezi" / f"{name}.txt"
    for how in (form, "auto"):
        report = build_names(configure(tmp_path, {"bad": [path]}, how))
        assert (report.entries, report.skipped) == (entries, 0)


@corpus
@pytest.mark.parametrize("name", ["adblock_doh-vpn-proxy-bypass", "dnsmasq_doh-vpn-proxy-bypass"])
def test_another_format_is_refused_with_file_line_and_reason(name: str, tmp_path: Path) -> None:
    assert CORPUS
    path = CORPUS / "lists" / "hagezi" / f"{name}.txt"
    with pytest.raises(NamesError, match=rf"{name}\.txt: no line has a name \(line \d+: `.*` is no name"):
        build_names(configure(tmp_path, {"bad": [path]}))


@corpus
def test_wildcards_cover_the_domains_of_the_same_list(tmp_path: Path) -> None:
    assert CORPUS
    folder = CORPUS / "lists" / "hagezi"
    configuration = configure(tmp_path, {"bad": [folder / "wildcard_doh-vpn-proxy-bypass.txt"]})
    made = World(configuration, tmp_path)
    asked = [
        name
        for block in read_blocks(folder / "domains_doh-vpn-proxy-bypass.txt")
        for name in block.lines
        if name and not name.startswith(b"#")
    ]
    assert len(asked) == 1_205
    assert all(made.find_categories(name) == {"bad"} for name in asked)
    made.snapshot.close()


def test_a_snapshot_of_lists_alone_protects_nobody(write: Write, tmp_path: Path) -> None:
    configuration = write(bad=b"a.example\n")
    build_names(configuration)
    snapshot = Snapshot.open(build_snapshot(configuration, configuration.database, 1, tmp_path))
    assert snapshot.profile_names == []
    snapshot.close()

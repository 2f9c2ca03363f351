"""From list files to the database: what is counted, what is skipped, and what stays when it fails."""

import errno
import gzip
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.control import whole_file
from penstock.control.configuration import Configuration
from penstock.control.lists.build import PROBLEM_LIMIT, build_names
from penstock.control.lists.files import BLOCK_BYTES, read_blocks
from penstock.control.lists.names_file import NamesError
from penstock.control.lists.settings import Format, ListSource
from penstock.control.snapshot import build_snapshot
from penstock.policy.snapshot import Snapshot, open_names
from tests.corpus import CORPUS
from tests.policy.worlds import World

Write = Callable[..., Configuration]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Makes a configuration of lists given as bytes by category."""

    def make(form: Format = "auto", match: Any = None, **lists: bytes) -> Configuration:
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


def test_what_stands_for_itself_and_what_lies_below_in_one_list(write: Write, tmp_path: Path) -> None:
    made = World(write(match="exact", bad=b"a.example\n*.b.example\n.c.example\n"), tmp_path)
    hosts = [b"a.example", b"x.a.example", b"b.example", b"x.b.example", b"c.example", b"x.c.example"]
    listed = [made.find_categories(host) == {"bad"} for host in hosts]
    assert listed == [True, False, False, True, True, True]
    made.snapshot.close()


def test_a_list_that_allows(tmp_path: Path) -> None:
    for name, text in (
        ("bad", "bad.example\nworse.good.bad.example\n"),
        ("good", "good.bad.example\n"),
        ("ads", "bad.example\n"),
    ):
        (tmp_path / name).write_text(text)
    sources = [ListSource(category="bad", path=tmp_path / name, allow=name == "good") for name in ("good", "bad")]
    sources.append(ListSource(category="ads", path=tmp_path / "ads"))
    made = World(Configuration(lists=tuple(sources), database=tmp_path / "names.db"), tmp_path)
    assert [found.exceptions for found in made.report.sources] == [1, 0, 0]
    assert made.find_categories(b"bad.example") == {"bad", "ads"}
    assert made.find_categories(b"www.good.bad.example") == {"ads"}
    assert made.find_categories(b"www.worse.good.bad.example") == {"bad", "ads"}
    made.snapshot.close()


def test_a_list_that_allows_in_every_way_of_writing(tmp_path: Path) -> None:
    (tmp_path / "bad").write_text("test\n.test\n*.test\n".replace("test", "bad.example"))
    (tmp_path / "hosts").write_text("0.0.0.0 a.bad.example b.bad.example\n")
    (tmp_path / "rules").write_text("||c.bad.example^\n|d.bad.example^\n@@||e.bad.example^\n")
    sources = [
        ListSource(category="bad", path=tmp_path / name, allow=name != "bad") for name in ("bad", "hosts", "rules")
    ]
    made = World(Configuration(lists=tuple(sources), database=tmp_path / "names.db"), tmp_path)
    listed = [letter for letter in "abcde" if made.find_categories(f"{letter}.bad.example".encode())]
    assert listed == ["e"]
    assert made.report.sources[2].not_taken == {"an exception in a list that allows": 1}
    assert [source.exceptions for source in made.report.sources] == [0, 2, 2]
    made.snapshot.close()


def test_what_cannot_be_honoured_is_counted_by_its_reason(write: Write) -> None:
    rules = b"||a.example^\n||b.example^$third-party\n" + b"||c.example^$client=x\n" * 3 + b"||d..e^\n"
    report = build_names(write(form="adguard", bad=rules))
    assert report.sources[0].not_taken == {"a rule with `$third-party`": 1, "a rule with `$client`": 3}
    assert (report.entries, report.not_taken, report.skipped) == (1, 4, 1)
    assert [(line.line, line.reason) for line in report.skipped_lines] == [
        (2, "a rule with `$third-party`"),
        (3, "a rule with `$client`"),
        (6, "`d..e` is no name"),
    ]


def test_a_list_of_which_nothing_can_be_honoured_leaves_the_old_database(write: Write) -> None:
    with pytest.raises(NamesError, match=r"no line has a name \(line 1: a rule with `\$client`\)"):
        build_names(write(form="adguard", bad=b"||c.example^$client=x\n"))


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
        ("adblock_doh-vpn-proxy-bypass", "adguard", 714),
    ],
)
def test_hagezi_is_read_to_the_last_entry(name: str, form: Format, entries: int, tmp_path: Path) -> None:
    assert CORPUS
    path = CORPUS / "lists" / "hagezi" / f"{name}.txt"
    for how in (form, "auto"):
        report = build_names(configure(tmp_path, {"bad": [path]}, how))
        assert (report.entries, report.skipped) == (entries, 0)


@corpus
@pytest.mark.parametrize("name", ["dnsmasq_doh-vpn-proxy-bypass"])
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
    with (folder / "domains_doh-vpn-proxy-bypass.txt").open("rb") as file:
        asked = [name for block in read_blocks(file) for name in block.lines if name and not name.startswith(b"#")]
    assert len(asked) == 1_205
    assert all(made.find_categories(name) == {"bad"} for name in asked)
    made.snapshot.close()


@corpus
def test_the_trees_of_ut1_are_read_to_the_last_line(tmp_path: Path) -> None:
    assert CORPUS
    tree = CORPUS / "lists" / "ut1"
    sources = [ListSource(category=name, path=tree, member=name) for name in ("gambling", "adult", "malware")]
    report = build_names(Configuration(lists=tuple(sources), database=tmp_path / "names.db"))
    found = [(of.format, of.entries, of.urls, of.skipped, sum(of.not_taken.values())) for of in report.sources]
    assert found == [
        ("squidguard", 32_257, 10, 0, 0),
        ("squidguard", 2_178, 2_178, 0, 2),
        (
            "squidguard",
            38_114,
            38_114,
            0,
            1,
        ),  # of 19,226 lines 338 have an address or `www.`, the others two hosts each
    ]


@corpus
def test_a_filter_of_adguard_is_read_to_the_last_rule(tmp_path: Path) -> None:
    assert CORPUS
    report = build_names(configure(tmp_path, {"ads": [CORPUS / "lists" / "adguardhome" / "dns.txt"]}))
    (found,) = report.sources
    assert (found.format, found.skipped, found.exceptions) == ("adguard", 0, 6)
    lines = (CORPUS / "lists" / "adguardhome" / "dns.txt").read_bytes().splitlines()
    rules = [line for line in lines if line and not line.startswith(b"!")]
    assert found.entries + sum(found.not_taken.values()) == len(rules)
    assert not any("`$" in reason for reason in found.not_taken)  # of its 12,756 rules none has a modifier


@corpus
def test_the_zone_of_powerdns_is_read_to_the_last_record(tmp_path: Path) -> None:
    assert CORPUS
    path = CORPUS / "lists" / "rpz" / "basic.rpz"
    source = ListSource(category="bad", path=path, format="rpz")
    made = World(Configuration(lists=(source,), database=tmp_path / "names.db"), tmp_path)
    assert sum(made.report.sources[0].not_taken.values()) == 12
    for host, categories in (
        (b"nxdomain.org", {"bad"}),
        (b"www.nxdomain.org", {"bad"}),
        (b"mail.nxdomain.org", set()),
        (b"example.net", {"bad"}),
        (b"truncate.org", set()),
        (b"local-a.org", set()),
    ):
        assert made.find_categories(host) == categories, host
    made.snapshot.close()


def test_a_snapshot_of_lists_alone_protects_nobody(write: Write, tmp_path: Path) -> None:
    configuration = write(bad=b"a.example\n")
    build_names(configuration)
    snapshot = Snapshot.open(build_snapshot(configuration, configuration.database, 1, tmp_path))
    assert snapshot.profile_names == []
    snapshot.close()

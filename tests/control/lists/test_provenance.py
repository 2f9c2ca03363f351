"""The entry that decides, found again in the lists: as the database has it, and where it stands."""

import gzip
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.control.configuration import Configuration
from penstock.control.lists.provenance import Asked, Provenance, find_entry
from penstock.control.lists.settings import ListSource
from tests.corpus import CORPUS
from tests.policy.worlds import World


def configure(*sources: ListSource) -> Configuration:
    """A configuration of these lists."""
    return Configuration(lists=sources)


def find(source: ListSource, host: bytes) -> Provenance:
    """The entry of one list that decides of a host."""
    found = find_entry(configure(source), "bad", Asked(host))
    assert found
    return found


@pytest.mark.parametrize(
    ("form", "content", "line", "text", "name", "told"),
    [
        ("auto", b"# c\ngood.test\nBad.test\n", 3, "Bad.test", "bad.test", "auto"),
        (
            "hosts",
            b"0.0.0.0 a.test\n0.0.0.0 b.test bad.test # x\n",
            2,
            "0.0.0.0 b.test bad.test # x",
            "bad.test",
            "hosts",
        ),
        ("auto", b"! c\n||a.test^\n||bad.test^\n", 3, "||bad.test^", "bad.test", "adguard"),
        ("auto", b"||a.test^$important\n||bad.test^\n", 2, "||bad.test^", "bad.test", "adguard"),
        ("rpz", b"@ 1 SOA a. b. 1 1 1 1 1\n*.bad.test CNAME .\n", 2, "*.bad.test CNAME .", "bad.test", "rpz"),
        ("csv", b"1,a.test\n2,bad.test\n", 2, "2,bad.test", "bad.test", "csv"),
        ("auto", gzip.compress(b"a.test\nbad.test\n", mtime=0), 2, "bad.test", "bad.test", "auto"),
    ],
)
def test_every_format_names_its_line(
    form: str, content: bytes, line: int, text: str, name: str, told: str, tmp_path: Path
) -> None:
    path = tmp_path / "list"
    path.write_bytes(content)
    columns = {"csv": {"column": 2}} if form == "csv" else {}
    source = ListSource.model_validate({"category": "bad", "path": path, "format": form, **columns})
    assert find(source, b"www.bad.test") == Provenance(path, "", line, text, told, name, False)


def test_a_tree_and_an_archive_name_the_member(tmp_path: Path) -> None:
    place = tmp_path / "tree" / "adult"
    place.mkdir(parents=True)
    (place / "domains").write_text("a.test\nbad.test\n")
    archive = tmp_path / "lists.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(place, "blacklists/adult")
    for path, member in ((tmp_path / "tree", "adult/domains"), (archive, "blacklists/adult/domains")):
        found = find(ListSource(category="bad", path=path, member="adult"), b"bad.test")
        assert (str(found), found.format) == (f"{path}({member}):2", "squidguard")


def test_a_line_far_into_a_large_list(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_bytes(b"".join(b"n%d.test\n" % number for number in range(300_000)))
    found = find(ListSource(category="bad", path=path), b"www.n299998.test")
    assert (found.line, found.text) == (299_999, "n299998.test")


def test_a_path_of_a_host(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text("bad.test/a\nbad.test/a/b\nbad.test/a/b?x\n")
    configuration = configure(ListSource(category="bad", path=path))
    for text, whole, line in ((b"/a/c", b"/a/c", 1), (b"/a/b/c", b"/a/b/c", 2), (b"/a/b", b"/a/b?x", 3)):
        found = find_entry(configuration, "bad", Asked(b"bad.test", text, whole))
        assert found
        assert found.line == line
    assert find_entry(configuration, "bad", Asked(b"bad.test", b"/b", b"/b")) is None
    assert find_entry(configuration, "bad", Asked(b"bad.test")) is None


def test_a_list_that_is_gone_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("bad.test\n")
    sources = (ListSource(category="bad", path=tmp_path / name) for name in ("gone", "there"))
    found = find_entry(configure(*sources), "bad", Asked(b"bad.test"))
    assert found
    assert found.path.name == "there"


# ---- lists of the world ------------------------------------------------------------------------------------------------
corpus = pytest.mark.skipif(CORPUS is None, reason="the corpus is not there")


@corpus
@pytest.mark.parametrize(
    ("place", "keys", "host", "member", "line", "form", "is_allowed"),
    [
        ("adguardhome/dns.txt", {}, "www.007-gateway.com", "", 13, "adguard", False),
        ("adguardhome/dns.txt", {}, "www.licdn.com", "", 12_810, "adguard", True),
        ("hagezi/domains_fake.txt", {}, "11trikots.com", "", 12, "auto", False),
        ("hagezi/hosts_doh-vpn-proxy-bypass.txt", {"format": "hosts"}, "12vpx.com", "", 14, "hosts", False),
        ("hagezi/3p_easylist.adblock.txt.gz", {}, None, "", 40_000, "adguard", False),
        ("rpz/basic.rpz", {"format": "rpz"}, "www.nxdomain.org", "", 12, "rpz", False),
        ("rpz/basic.rpz", {"format": "rpz"}, "mail.nxdomain.org", "", 16, "rpz", True),
        ("ut1", {"member": "ai"}, "www.anthropic.com", "ai/domains", 3, "squidguard", False),
    ],
)
def test_lists_of_the_world_are_built_looked_up_and_explained(
    place: str,
    keys: dict[str, str],
    host: str | None,
    member: str,
    line: int,
    form: str,
    is_allowed: bool,
    tmp_path: Path,
) -> None:
    assert CORPUS
    path = CORPUS / "lists" / place
    if host is None:
        host = gzip.decompress(path.read_bytes()).split(b"\n")[line - 1].decode().strip("|^")
    source = ListSource.model_validate({"category": "bad", "path": path, **keys})
    made = World(Configuration(lists=(source,), database=tmp_path / "names.db"), tmp_path)
    assert (made.find_categories(host.encode()) == {"bad"}) == (not is_allowed)
    found = find(source, host.encode())
    assert (found.path, found.member, found.line, found.format) == (path, member, line, form)
    assert found.is_allowed == is_allowed
    made.snapshot.close()


names = st.lists(st.sampled_from(["a", "a", "a", "b"]), min_size=2, max_size=4).map(".".join)
lines = st.tuples(st.sampled_from(["", "*.", "."]), names).map("".join)
listing = st.lists(lines, min_size=1, max_size=6).map("\n".join)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.sampled_from(["exact", None]), listing), min_size=1, max_size=4), names)
def test_it_is_the_entry_that_the_database_goes_by(lists: list[tuple[bool, str | None, str]], host: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory, sources = Path(name), []
        for number, (allow, match, text) in enumerate(lists):
            (directory / str(number)).write_text(text)
            source = {"category": "bad", "path": directory / str(number), "allow": allow, "match": match}
            sources.append(ListSource.model_validate(source))
        made = World(Configuration(lists=tuple(sources), database=directory / "names.db"), directory)
        found = find_entry(made.configuration, "bad", Asked(host.encode()))
        assert (made.find_categories(host.encode()) == {"bad"}) == (found is not None and not found.is_allowed)
        made.snapshot.close()

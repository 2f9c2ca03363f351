"""Each list format in a box in line: what is refused and what is not, what `explain` says of it, and a list that broke."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.demo.box import run_penstock, write_configuration
from penstock.demo.servers import Certificate
from penstock.demo.topology import HOME
from tests.corpus import CORPUS
from tests.live.line import Line, build_line, live
from tests.live.processes import hear_reload

pytestmark = live("curl")

RELOAD_S = 60.0
SERVICES = {
    "web-protection": {"categories": dict.fromkeys(("phishing", "malware", "tracking"), "block")},
    "parental-control": {"categories": dict.fromkeys(("adult", "gambling"), "block")},
    "ad-blocking": {"categories": {"advertising": "block"}},
}
FILES = {
    "phishing.rules": b"! rules\n||rules.test^\n@@||good.rules.test^\n||only-scripts.test^$script\n",
    "malware.zone": (
        b"@ 60 SOA a. b. 1 1 1 1 1\nzone.test CNAME .\n*.zone.test CNAME .\ngood.zone.test CNAME rpz-passthru.\n"
    ),
    "tree/adult/domains": b"tree.test\n",
    "gambling.csv": b'id,name\n1,"feed.test"\n',
    "tracking.txt": "exact.test\n*.below.test\nbüro.test\n".encode(),
    "advertising.hosts.gz": gzip.compress(b"0.0.0.0 hosts.test\n"),
    "good.txt": b"good.tree.test\n",
}
LISTS: list[dict[str, Any]] = [
    {"category": "phishing", "path": "phishing.rules"},
    {"category": "malware", "path": "malware.zone", "format": "rpz"},
    {"category": "adult", "path": "tree", "member": "adult"},
    {"category": "adult", "path": "good.txt", "allow": True},
    {"category": "gambling", "path": "gambling.csv", "format": "csv", "csv": {"column": "name"}},
    {"category": "tracking", "path": "tracking.txt", "match": "exact"},
    {"category": "advertising", "path": "advertising.hosts.gz", "format": "hosts"},
]
REFUSED = {  # host: list, line
    "www.rules.test": "phishing.rules:2",
    "zone.test": "malware.zone:2",
    "www.zone.test": "malware.zone:3",
    "www.tree.test": "tree(adult/domains):1",
    "www.feed.test": "gambling.csv:2",
    "exact.test": "tracking.txt:1",
    "www.below.test": "tracking.txt:2",
    "xn--bro-hoa.test": "tracking.txt:3",
    "www.hosts.test": "advertising.hosts.gz:1",
}
EXCEPTIONS = {
    "www.good.rules.test": "phishing.rules:3",
    "good.zone.test": "malware.zone:4",
    "good.tree.test": "good.txt:1",
}
ALLOWED = (*EXCEPTIONS, "only-scripts.test", "www.exact.test", "below.test", "www.xn--bro-hoa.test")


def write_lists(here: Path) -> None:
    """The lists, as they are meant."""
    for name, content in FILES.items():
        path = here / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@pytest.fixture(scope="module")
def line(here: Path, pair: Certificate) -> Iterator[Line]:
    write_lists(here)
    with build_line(here, pair, services=SERVICES, lists=LISTS) as found:
        yield found


def status_of(line: Line, host: str) -> str:
    """The HTTP status that the subscriber gets."""
    return str(line.curl(f"http://{host}/", HOME, 4, "-w", "%{http_code}", "-o", "/dev/null").stdout)


def explain(line: Line, host: str) -> str:
    """What `penstock explain` says, in one line of text."""
    told = run_penstock(line.topology, ["explain", host, "--subscriber", HOME.name, "--config", line.configuration])
    assert told.returncode == 0, told.stderr
    return " ".join(told.stdout.split())


@pytest.mark.parametrize("host", REFUSED)
def test_what_a_list_has_is_refused_and_explained(line: Line, host: str) -> None:
    assert status_of(line, host) == "403"
    assert f"{line.here}/{REFUSED[host]} " in explain(line, host)


@pytest.mark.parametrize("host", ALLOWED)
def test_what_it_has_not_goes_on(line: Line, host: str) -> None:
    assert status_of(line, host) == "200"
    if host in EXCEPTIONS:
        assert f"{line.here}/{EXCEPTIONS[host]} takes it out of" in explain(line, host)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("malware.zone", b"<html>no such zone</html>\n", "not a zone file"),
        ("phishing.rules", b"||only-scripts.test^$script\n", "no line has a name (line 1: a rule with `$script`)"),
        ("gambling.csv", b"id,host\n1,feed.test\n", "no column `name`; there are id, host"),
        ("advertising.hosts.gz", FILES["advertising.hosts.gz"][:-9], "end-of-stream"),
        ("tree/adult/domains", b"<html>\n", "no line has a name (line 1: `<html>` is no name)"),
    ],
)
def test_a_list_that_broke_changes_nothing_and_says_why(line: Line, name: str, content: bytes, reason: str) -> None:
    (line.here / name).write_bytes(content)
    try:
        said = hear_reload(line, RELOAD_S)
    finally:
        write_lists(line.here)
    assert "not reloaded" in said
    assert reason in said
    assert {host: status_of(line, host) for host in REFUSED} == dict.fromkeys(REFUSED, "403")


@pytest.mark.skipif(CORPUS is None, reason="the corpus is not there")
def test_lists_of_the_world_take_their_place(line: Line) -> None:
    assert CORPUS
    lists = CORPUS / "lists"
    sources: list[dict[str, Any]] = [
        {"category": "phishing", "path": str(lists / "adguardhome" / "dns.txt")},
        {"category": "malware", "path": str(lists / "rpz" / "basic.rpz"), "format": "rpz"},
        {"category": "adult", "path": str(lists / "ut1"), "member": "gambling"},
        {"category": "gambling", "path": str(lists / "hagezi" / "hosts_doh-vpn-proxy-bypass.txt"), "format": "hosts"},
        {"category": "tracking", "path": str(lists / "hagezi" / "3p_easylist.adblock.txt.gz")},
        {"category": "advertising", "path": "advertising.hosts.gz", "format": "hosts"},
    ]
    write_configuration(line.here, services=SERVICES, lists=sources, guard={"requests": 1_000_000})
    assert "not reloaded" not in hear_reload(line, RELOAD_S)
    for host, where in (
        ("www.007-gateway.com", "adguardhome/dns.txt:13"),
        ("www.nxdomain.org", "rpz/basic.rpz:12"),
        ("12vpx.com", "hagezi/hosts_doh-vpn-proxy-bypass.txt:14"),
    ):
        assert status_of(line, host) == "403"
        assert f"{lists}/{where}" in explain(line, host).replace(" ", "")  # a long path is folded
    for host, where in (("www.licdn.com", "adguardhome/dns.txt:12810"), ("mail.nxdomain.org", "rpz/basic.rpz:16")):
        assert status_of(line, host) == "200"
        assert f"{lists}/{where} takes it out of" in explain(line, host)

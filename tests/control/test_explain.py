"""Why a name is refused: the judge's own answer, and the line behind it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from penstock.control.explain import ExplainError, explain, parse_host, render
from tests.policy.worlds import World, world

SETTINGS = {
    "services": {"web": {"categories": {"phishing": "block"}}, "parental": {"categories": {"gambling": "block"}}},
    "profiles": {"web": {"services": ["web"]}, "nothing": {}},
    "subscribers": [
        {"id": "home", "prefixes": ["10.0.0.0/8"], "profile": "web"},
        {"id": "office", "prefixes": ["192.0.2.0/24"], "profile": "nothing"},
    ],
}
LISTS = {"phishing": "# head\n??\ngood.example.net\nbad.example\n", "gambling": "0.0.0.0 x.example casino.example\n"}


@pytest.fixture(scope="module")
def made() -> Iterator[World]:
    with world(SETTINGS, LISTS) as built:
        yield built


def test_a_refused_name_has_its_list_and_line(made: World) -> None:
    found = explain(made.configuration, made.snapshot, "https://WWW.bad.example:8443/x?y", "home")
    assert (found.host, found.action, found.category, found.service) == ("www.bad.example", "block", "phishing", "web")
    assert (found.list_path, found.line, found.entry) == (made.configuration.lists[0].path, 4, "bad.example")
    assert found.reason == "it is listed as phishing, and web is switched on"
    assert (found.subscriber, found.profile) == ("home", "web")


def test_a_name_that_no_chosen_service_acts_on(made: World) -> None:
    for subscriber, profile in (("home", "web"), ("office", "nothing")):
        found = explain(made.configuration, made.snapshot, "casino.example", subscriber)
        assert (found.action, found.category, found.line) == ("forward", None, None)
        assert found.reason == f"it is listed as gambling, on which no service of profile {profile} acts"


def test_a_name_that_no_list_has(made: World) -> None:
    found = explain(made.configuration, made.snapshot, "notbad.example", "home")
    assert (found.action, found.reason) == ("forward", "no list has it or a name above it")


def test_an_exception_has_its_list_and_line(tmp_path: Path) -> None:
    (tmp_path / "rules.txt").write_text("! head\n||bad.example^\n@@||good.bad.example^\n")
    lists = [{"category": "phishing", "path": str(tmp_path / "rules.txt")}]
    with world({**SETTINGS, "lists": lists, "services": {"web": SETTINGS["services"]["web"]}}, {}) as made:
        found = explain(made.configuration, made.snapshot, "www.good.bad.example", "home")
        assert (found.action, found.category, found.line) == ("forward", None, 3)
        assert found.reason == f"{tmp_path}/rules.txt:3 takes it out of phishing"
        shown = show(found)
        assert "@@||good.bad.example^ (adguard)" in shown
        assert explain(made.configuration, made.snapshot, "bad.example", "home").line == 2
        (tmp_path / "rules.txt").write_text("||bad.example^\n")  # the exception is gone since the build
        found = explain(made.configuration, made.snapshot, "good.bad.example", "home")
        assert (found.action, found.list_path) == ("forward", None)


def test_a_name_in_another_script_is_asked_for_as_browsers_do(made: World) -> None:
    assert explain(made.configuration, made.snapshot, "faß.example", "home").host == "xn--fa-hia.example"


def test_an_unknown_subscriber_is_named(made: World) -> None:
    with pytest.raises(ExplainError, match=r"there is no subscriber `hom`: did you mean `home`\?"):
        explain(made.configuration, made.snapshot, "bad.example", "hom")


def test_report_only_says_what_would_be() -> None:
    with world({**SETTINGS, "report_only": True}, LISTS) as made:
        found = explain(made.configuration, made.snapshot, "bad.example", "home")
        assert (found.action, found.would) == ("report", "block")
        assert found.reason.endswith("; the box only reports")


def test_a_list_that_is_gone_since_the_build() -> None:
    with world(SETTINGS, LISTS) as made:
        made.configuration.lists[0].path.unlink()
        found = explain(made.configuration, made.snapshot, "bad.example", "home")
        assert (found.action, found.list_path) == ("block", None)
        assert "no line of the lists as they are now" in show(found)


def show(explanation: object) -> str:
    console = Console(width=100, no_color=True)
    with console.capture() as captured:
        console.print(render(explanation))
    return captured.get()


def test_what_people_read(made: World) -> None:
    lines = show(explain(made.configuration, made.snapshot, "bad.example", "home")).split("\n")
    assert lines[0].strip() == "bad.example: block, the request is refused with a page that says why"
    rows = dict(line.strip().split("   ", 1) for line in lines[1:] if "   " in line.strip())
    assert rows["category"].strip() == "phishing"
    assert "phishing.txt:4" in "".join(lines)
    assert "subscriber" in rows


@pytest.mark.parametrize(("action", "page"), [("block", "page"), ("redirect", "302"), ("empty", "empty")])
def test_what_the_client_gets(action: str, page: str) -> None:
    services = {**SETTINGS["services"], "web": {"categories": {"phishing": action}}}
    more = {"page": {"redirect_url": "https://help.example/blocked"}}
    with world({**SETTINGS, **more, "services": services}, LISTS) as made:
        lines = show(explain(made.configuration, made.snapshot, "bad.example", "home")).split("\n")
    names = ("over DNS", "over HTTP ", "over HTTPS", "over QUIC")
    rows = {name: line for line in lines for name in names if name in line}
    assert "NXDOMAIN, with the Extended DNS Error Blocked" in rows["over DNS"]
    assert page in rows["over HTTP "]
    assert "alert" in rows["over HTTPS"]
    assert "closed at once" in rows["over QUIC"]


@pytest.mark.parametrize("settings", [{}, {"report_only": True}])
def test_a_request_that_goes_on_gets_no_answer_of_ours(settings: dict[str, object]) -> None:
    host = "bad.example" if settings else "notbad.example"
    with world({**SETTINGS, **settings}, LISTS) as made:
        text = show(explain(made.configuration, made.snapshot, host, "home"))
    assert "over QUIC" not in text
    assert "over DNS" not in text


@pytest.mark.parametrize(
    ("dns", "answer"),
    [
        ({"answer": "null", "error": "filtered"}, "0.0.0.0 and ::, with the Extended DNS Error Filtered"),
        ({"answer": "address", "addresses": ["192.0.2.9"]}, "192.0.2.9, with the Extended DNS Error Blocked"),
        ({"judge": False}, "the server's own answer: DNS is not judged (dns.judge)"),
    ],
)
def test_what_dns_says_of_a_refused_name(dns: dict[str, object], answer: str) -> None:
    with world({**SETTINGS, "dns": dns}, LISTS) as made:
        assert explain(made.configuration, made.snapshot, "bad.example", "home").dns == answer


SAFE = {"services": ["web"], "safe_search": "moderate", "youtube": "strict"}
SAFE_SETTINGS = {**SETTINGS, "profiles": {"web": SAFE, "nothing": {}}, "dns": {"resolvers": ["127.0.0.1"]}}


@pytest.fixture(scope="module")
def safe() -> Iterator[World]:
    with world(SAFE_SETTINGS, {**LISTS, "phishing": "bad.example\nwww.bing.com\n"}) as built:
        yield built


@pytest.mark.parametrize(
    ("host", "target", "reason"),
    [
        ("https://www.Google.com/search?q=x", "forcesafesearch.google.com", "SafeSearch is moderate in profile web"),
        ("m.youtube.com", "restrict.youtube.com", "YouTube's restricted mode is strict in profile web"),
    ],
)
def test_a_name_that_leads_elsewhere(safe: World, host: str, target: str, reason: str) -> None:
    found = explain(safe.configuration, safe.snapshot, host, "home")
    assert (found.action, found.would, found.category) == ("rewrite", "rewrite", None)
    assert (found.reason, found.dns) == (reason, f"an alias to {target}, with its addresses")
    text = show(found)
    assert "over DNS" in text
    assert "over HTTP" not in text, "only the answer is another one"


@pytest.mark.parametrize("host", ["use-application-dns.net", "mask.icloud.com", "_dns.resolver.arpa"])
def test_a_canary(safe: World, host: str) -> None:
    found = explain(safe.configuration, safe.snapshot, host, "home")
    assert (found.action, found.dns) == ("rewrite", "NXDOMAIN")
    assert found.reason.startswith("it asks whether filtering is in place")
    assert explain(safe.configuration, safe.snapshot, host, "office").action == "forward"


def test_a_refused_name_is_not_rewritten(safe: World) -> None:
    found = explain(safe.configuration, safe.snapshot, "www.bing.com", "home")
    assert (found.action, found.category) == ("block", "phishing")
    assert explain(safe.configuration, safe.snapshot, "www.google.com", "office").action == "forward"
    assert explain(safe.configuration, safe.snapshot, "maps.google.com", "home").action == "forward"


def test_rewrites_where_the_box_only_reports() -> None:
    with world({**SAFE_SETTINGS, "report_only": True}, LISTS) as made:
        found = explain(made.configuration, made.snapshot, "www.google.com", "home")
    assert (found.action, found.would, found.dns) == ("forward", "rewrite", None)
    assert found.reason.endswith("; the box only reports")


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("Bad.Example.", "bad.example"),
        ("bad.example:443", "bad.example"),
        ("http://user@bad.example/path", "bad.example"),
        ("//bad.example/x", "bad.example"),
        ("bad.example/x", "bad.example"),
        ("büro.example", "xn--bro-hoa.example"),
        ("2001:DB8::1", "[2001:db8::1]"),
        ("https://[2001:db8::1]:8/", "[2001:db8::1]"),
        ("192.0.2.1", "192.0.2.1"),
    ],
)
def test_hosts_however_they_are_written(text: str, host: str) -> None:
    assert parse_host(text) == host


@given(st.text(max_size=40))
def test_no_text_raises_anything_else(text: str) -> None:
    try:
        host = parse_host(text)
    except ExplainError:
        return
    assert host.isascii()
    assert host == host.lower()


CATEGORIES = [category for service in SETTINGS["services"].values() for category in service["categories"]]


def test_a_web_address_by_its_path_where_it_can_be_seen() -> None:
    crooks = {"phishing": "# crooks\nhttp://shared.example/~crook/\n"}
    with world(SETTINGS, dict.fromkeys(CATEGORIES, "") | crooks) as made:
        found = explain(made.configuration, made.snapshot, "http://shared.example/x/../%7ecrook/login?a=b", "home")
        assert (found.action, found.category, found.line) == ("block", "phishing", 2)
        for other in ("http://shared.example/", "https://shared.example/~crook/login", "shared.example"):
            assert explain(made.configuration, made.snapshot, other, "home").action == "forward"

"""The warned go on by the link of their page; courts' lists know no such link; a trial only tells what it would do."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from penstock.demo.box import run_penstock
from penstock.demo.servers import Certificate
from penstock.demo.topology import HOME, OFFICE, SERVER_IPV4, Subscriber
from tests.live.browser import open_browser, take_picture
from tests.live.line import Line, build_line, live
from tests.live.processes import find_packet_processes, kill

pytestmark = live("curl", "chromium")

SERVICES = {
    "web protection": {"categories": {"risky": "warn", "phishing": "block"}},
    "trial": {"categories": {"new": "block"}, "report_only": True},
}
NAMES = {
    "risky": "risky.test\nalso.test\nthird.test\n",
    "phishing": "bad.test\n",
    "new": "new.test\n",
    "ordered": "ordered.test\n",
}
PROFILES = {"all": {"services": list(SERVICES)}, "none": {}}
GUEST = Subscriber("guest", OFFICE.ipv4, OFFICE.ipv6)


def configure(here: Path) -> dict[str, Any]:
    for category, names in NAMES.items():
        (here / f"{category}.txt").write_text(names)
    chosen = ((HOME, "all", 4), (GUEST, "all", 4), (Subscriber("bare", "", OFFICE.ipv6), "none", 6))
    return {
        "services": SERVICES,
        "lists": [{"category": category, "path": f"{category}.txt"} for category in NAMES],
        "profiles": PROFILES,
        "subscribers": [
            {"id": one.name, "prefixes": [f"{one.address(family)}/{32 if family == 4 else 128}"], "profile": profile}
            for one, profile, family in chosen
        ],
        "court_orders": {"categories": ["ordered"]},
    }


@pytest.fixture(scope="module")
def line(here: Path, pair: Certificate) -> Iterator[Line]:
    with build_line(here, pair, **configure(here)) as found:
        yield found


def ask(line: Line, url: str, who: Subscriber = HOME, family: int = 4, *words: str) -> tuple[str, str]:
    """The HTTP status, 000 for none, and what comes with it."""
    said = str(line.curl(url, who, family, "-w", "\n%{http_code}", *words).stdout)
    body, _, status = said.rpartition("\n")
    return status, body


def find_link(page: str) -> str:
    (link,) = re.findall(r'href="(\?penstock-continue=[0-9a-f]{40})"', page)
    return str(link)


def test_the_link_leads_where_he_wanted_to_go(line: Line) -> None:
    status, page = ask(line, "http://risky.test/a/b?x=1")
    assert status == "403"
    link = find_link(page)
    assert ask(line, "https://risky.test/", HOME, 4, "-k")[0] == "000", "no page can be shown there, so nothing is"
    assert ask(line, f"http://risky.test/a/b{link}")[0] == "302"
    status, body = ask(line, f"http://risky.test/a/b{link}", HOME, 4, "-L")
    assert status == "200"
    assert "penstock-continue" not in body
    assert ask(line, "http://www.risky.test/")[0] == "200"
    assert ask(line, "https://risky.test/", HOME, 4, "-k")[0] == "200", "he went on: that holds for the site"
    (event,) = line.events(host="risky.test", reason="continued")[:1]
    assert (event["subscriber"], event["category"], event["service"]) == ("home", "risky", "web protection")
    assert line.events(host="www.risky.test", overridden=True)
    assert ask(line, "http://risky.test/", GUEST)[0] == "403", "it is his alone"
    assert ask(line, "http://also.test/")[0] == "403"
    assert "penstock-continue" not in ask(line, "http://bad.test/")[1], "there is no way on from what is refused"


def test_a_person_goes_on_in_a_browser(line: Line, tmp_path: Path) -> None:
    with open_browser(line, "client", f"--host-resolver-rules=MAP * {SERVER_IPV4}") as browser:
        page = browser.new_context().new_page()
        page.goto("http://third.test/a/page?x=1")
        expect(page.get_by_role("heading")).to_have_text("This site may harm you")
        take_picture(page, "warning", tmp_path)
        page.get_by_role("link", name="Go on").click()
        expect(page.locator("body")).to_contain_text("This is third.test.")
        assert page.url == "http://third.test/a/page?"
        page.goto("http://www.third.test/")
        expect(page.locator("body")).to_contain_text("This is www.third.test.")
    assert line.events(host="third.test", reason="continued", proto="http")


def test_no_other_link_leads_there(line: Line) -> None:
    link = find_link(ask(line, "http://also.test/")[1])
    foreign = find_link(ask(line, "http://also.test/", GUEST)[1])
    forged = link[:-1] + ("0" if link[-1] != "0" else "1")
    for wrong in (foreign, forged, link[:-1], link.replace("=", "=0"), "?penstock-continue=" + "0" * 40):
        assert ask(line, f"http://also.test/{wrong}")[0] == "403", wrong
    assert ask(line, f"http://risky.test/{link}", GUEST)[0] == "403"
    assert ask(line, f"http://also.test/{link}")[0] == "302"


def test_a_restart_of_the_packet_process_ends_it(line: Line) -> None:
    link = find_link(ask(line, "http://also.test/", GUEST)[1])
    assert ask(line, f"http://also.test/{link}", GUEST)[0] == "302"
    kill(line)
    line.restart()
    assert find_packet_processes(line.box.program.pid)
    assert ask(line, "http://also.test/", GUEST)[0] == "403"
    assert ask(line, f"http://also.test/{link}", GUEST)[0] == "403", "its key went with it"


@pytest.mark.parametrize(("who", "family"), [(HOME, 4), (GUEST, 4), (OFFICE, 6)])
def test_what_a_court_ordered_holds_for_everybody(line: Line, who: Subscriber, family: int) -> None:
    status, page = ask(line, "http://www.ordered.test/", who, family)
    assert status == "451"
    assert "by order of a court" in page
    assert "penstock-continue" not in page
    assert ask(line, "https://ordered.test/", who, family, "-k")[0] == "000"
    assert ask(line, "http://free.test/", who, family)[0] == "200"
    assert line.events(host="www.ordered.test", reason="court_order", action="block")


def test_a_service_on_trial_tells_what_it_would_do(line: Line) -> None:
    assert ask(line, "http://new.test/")[0] == "200"
    (event,) = line.events(host="new.test", subscriber="home")[:1]
    assert (event["action"], event["would"], event["service"]) == ("report", "block", "trial")


def test_what_it_does_is_explained(line: Line) -> None:
    told = {}
    for host in ("risky.test", "ordered.test", "new.test"):
        done = run_penstock(line.topology, ["explain", host, "--subscriber", "home", "--config", line.configuration])
        told[host] = " ".join(done.stdout.split())
        assert done.returncode == 0, done.stderr
    assert "risky.test: warn" in told["risky.test"]
    assert "a court orders" in told["ordered.test"]
    assert "the service only reports" in told["new.test"]

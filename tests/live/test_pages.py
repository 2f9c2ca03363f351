"""The pages as their users use them, in headless Chromium: what is done there holds for the next request on the line."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from penstock.demo.box import BLOCKED, GOOD
from penstock.demo.servers import Certificate
from penstock.demo.topology import HOME, OFFICE
from penstock.portal.languages import TEXTS
from tests.live.browser import NARROW_PX, WIDE_PX, find_faults, find_overflow, open_browser, take_picture, visit
from tests.live.line import BAD, Line, build_line, live
from tests.live.portal import SETTINGS, await_portal, make_token

pytestmark = live("openssl", "chromium")

CASINO, ADS = BLOCKED["gambling"], BLOCKED["advertising"]
TABLET = "home/tablet"
SHEET_BYTES = 12_000  # an empty page of this size is smaller
LOOKS = [("en", WIDE_PX, False), ("es", NARROW_PX, False), ("es", WIDE_PX, True), ("en", NARROW_PX, True)]
DRAWN = {"me": "#week svg", "support": "#events table", "operator": "#chart-bits path.stroke"}
SHORT = 9  # shorter texts may be parts of others


@pytest.fixture(scope="module")
def line(here: Path, pair: Certificate) -> Iterator[Line]:
    """A line with a portal, whose subscriber `home` has a device and was refused something."""
    people = [
        {"id": HOME.name, "prefixes": [f"{HOME.ipv4}/32", f"{HOME.ipv6}/128"], "profile": "everything"},
        {"id": OFFICE.name, "prefixes": [f"{OFFICE.ipv4}/32", f"{OFFICE.ipv6}/128"], "profile": "nothing"},
        {"id": TABLET, "prefixes": ["10.77.0.40/32"], "profile": "everything"},
    ]
    with build_line(here, pair, api=SETTINGS, subscribers=people) as found:
        for host in (BAD, CASINO, CASINO, ADS):
            found.curl(f"http://{host}/")
        yield found


@pytest.fixture(scope="module")
def tokens(line: Line) -> dict[str, str]:
    """A token for each page."""
    found = {
        "operator": make_token(line, "operator", "--name", "control room"),
        "support": make_token(line, "support", "--name", "help desk"),
        "me": make_token(line, "selfcare", "--subscriber", HOME.name, "--name", "ana"),
    }
    await_portal(line, found["operator"])
    return found


@pytest.fixture(scope="module")
def browser(line: Line) -> Iterator[Browser]:
    with open_browser(line) as found:
        yield found


def passes(line: Line, host: str) -> bool:
    """Does the next request of `home` reach the server?"""
    return f"This is {host}." in line.curl(f"http://{host}/").stdout


def hear(page: Page, text: str | re.Pattern[str]) -> None:
    """Wait until the page says that, where screen readers hear it."""
    expect(page.locator("#news")).to_contain_text(text)


# ---- the subscriber -----------------------------------------------------------------------------------------------------
def test_a_subscriber_turns_a_service_off_and_on(line: Line, browser: Browser, tokens: dict[str, str]) -> None:
    assert not passes(line, CASINO)
    with visit(browser, tokens["me"]) as page:
        assert page.url.endswith("/me")
        switch = page.get_by_role("switch", name="parental-control")
        expect(switch).to_be_checked()
        switch.press("Space")
        hear(page, "Saved")
        assert passes(line, CASINO)
        expect(switch).to_be_focused()
        switch.press("Space")
        expect(page.locator("#state")).to_contain_text("3 services")
        assert not passes(line, CASINO)


def test_a_subscriber_has_names_of_his_own(line: Line, browser: Browser, tokens: dict[str, str]) -> None:
    with visit(browser, tokens["me"]) as page:
        page.get_by_label("Never open", exact=True).fill(f"https://{GOOD}/some/page")
        page.keyboard.press("Enter")
        hear(page, f"{GOOD} does not open")
        assert not passes(line, GOOD)
        page.get_by_label("Always open", exact=True).fill(BAD)
        page.keyboard.press("Enter")
        hear(page, f"{BAD} always opens")
        assert passes(line, BAD)
        for host in (GOOD, BAD):
            page.get_by_role("button", name=f"Remove {host}").click()
            hear(page, f"{host} is no longer")
        assert passes(line, GOOD)
        assert not passes(line, BAD)
        page.get_by_label("Never open", exact=True).fill("not a name")
        page.keyboard.press("Enter")
        expect(page.locator("#news-bad")).to_contain_text("no name of a site")
        expect(page.locator("#names li")).to_have_count(0)


def test_a_subscriber_pauses_and_resumes(line: Line, browser: Browser, tokens: dict[str, str]) -> None:
    with visit(browser, tokens["me"]) as page:
        page.get_by_role("button", name="Off for 30 min").click()
        hear(page, "Internet is off")
        expect(page.locator("#pause")).to_contain_text(re.compile(r"off until \d\d:\d\d"))
        assert not passes(line, GOOD)
        page.get_by_role("button", name="Switch on now").click()
        hear(page, "Internet is on again")
        assert passes(line, GOOD)


def test_a_subscriber_makes_a_schedule(line: Line, browser: Browser, tokens: dict[str, str]) -> None:
    with visit(browser, tokens["me"]) as page:
        page.get_by_role("button", name="Add a schedule").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("button", name="Save").click()
        expect(dialog.get_by_role("alert")).to_have_text("Give it a name.")
        assert find_faults(page) == []
        dialog.get_by_label("Name").fill("All day")
        for day in ("Sat", "Sun"):
            dialog.get_by_label(day).check(force=True)
        dialog.get_by_label("From").fill("00:00")
        dialog.get_by_label("To", exact=True).fill("00:00")
        dialog.get_by_role("button", name="Save").click()
        hear(page, "“All day” is saved")
        expect(page.locator("#pause")).to_contain_text("by the schedule “All day”")
        assert not passes(line, GOOD)
        assert page.locator("#schedules rect.off").count() == 7
        page.get_by_role("button", name="Remove “All day”").click()
        hear(page, "removed")
        assert passes(line, GOOD)


def test_a_subscriber_sees_his_week_and_his_devices(line: Line, browser: Browser, tokens: dict[str, str]) -> None:
    with visit(browser, tokens["me"]) as page:
        expect(page.locator("#week svg rect").first).to_be_visible()
        page.get_by_text("Show the figures as a table").click()
        table = page.locator("#week table")
        assert table.locator("tbody tr").count() == 7
        assert "gambling" in table.locator("thead").inner_text()
        expect(page.locator("#recent")).to_contain_text(CASINO)
        page.get_by_role("button", name="tablet").click()
        expect(page.locator("#name")).to_have_text(TABLET)
        page.goto(page.url.replace("/me", "/operator"))
        expect(page.locator("main")).to_contain_text("another role")


# ---- the help desk ------------------------------------------------------------------------------------------------------
def test_support_finds_explains_and_lets_through(line: Line, browser: Browser, tokens: dict[str, str]) -> None:
    with visit(browser, tokens["support"]) as page:
        assert page.url.endswith("/support")
        page.get_by_label("Subscriber, by").fill(HOME.ipv4)
        page.keyboard.press("Enter")
        expect(page.locator("#name")).to_have_text(HOME.name)
        expect(page.locator("#places")).to_contain_text(HOME.ipv4)
        expect(page.locator("#events")).to_contain_text(CASINO)
        page.get_by_role("button", name=f"Explain {CASINO}").first.click()
        expect(page.locator("#explain")).to_contain_text("gambling.txt")
        page.get_by_label("Site", exact=True).fill(CASINO)
        page.get_by_role("button", name="Let through").click()
        hear(page, f"{CASINO} opens for him")
        assert passes(line, CASINO)
        page.get_by_role("button", name=f"Take {CASINO} back").click()
        hear(page, "as before")
        expect(page.locator("#overrides :focus")).to_have_count(1)
        assert not passes(line, CASINO)
        page.get_by_label("Subscriber, by").fill("192.0.2.77")
        page.keyboard.press("Enter")
        expect(page.locator("#results")).to_contain_text("Nobody was found")
        page.get_by_label("Subscriber, by").fill("ho")
        page.get_by_role("button", name="Find").click()
        expect(page.locator("#results")).to_contain_text("2 subscribers")
        page.get_by_role("button", name=TABLET).first.click()
        expect(page.locator("#name")).to_have_text(TABLET)
        page.go_back()
        expect(page.locator("#name")).to_have_text(HOME.name)


def test_support_records_what_is_refused(line: Line, browser: Browser, tokens: dict[str, str], tmp_path: Path) -> None:
    with visit(browser, tokens["support"]) as page:
        page.goto(f"{page.url}?id={HOME.name}")
        page.get_by_label("For at most").select_option("15")
        page.get_by_role("button", name="Begin recording").click()
        expect(page.locator("#captures li")).to_contain_text("recording until")
        assert not passes(line, CASINO)
        link = page.get_by_role("link", name="Download")
        link.wait_for(timeout=60_000)
        with page.expect_download() as download:
            link.click()
        pcap = tmp_path / "refused.pcap"
        download.value.save_as(pcap)
        assert CASINO.encode() in pcap.read_bytes()
        page.get_by_role("button", name="Delete the recording").click()
        page.get_by_role("dialog").get_by_role("button", name="Remove").click()
        hear(page, "deleted")
        expect(page.locator("#captures")).to_contain_text("There is no recording")


# ---- the operator -------------------------------------------------------------------------------------------------------
def test_the_operator_watches_and_switches(line: Line, browser: Browser, tokens: dict[str, str]) -> None:
    with visit(browser, tokens["operator"]) as page:
        assert page.url.endswith("/operator")
        expect(page.locator("#us")).to_contain_text("Judging")
        expect(page.locator("#us .bad")).to_have_count(0)
        expect(page.locator("#chart-packets path.stroke").first).to_be_attached()
        before = page.locator("#reasons tr", has_text="handshake").locator("td").nth(2).inner_text()
        line.curl(f"http://{GOOD}/")
        expect(page.locator("#reasons tr", has_text="handshake").locator("td").nth(2)).not_to_have_text(before)
        page.get_by_role("button", name="Switch off").click()
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
        page.keyboard.press("Escape")
        assert not passes(line, BAD)
        page.get_by_role("button", name="Switch off").click()
        dialog.get_by_role("button", name="Switch off").click()
        hear(page, "Penstock is off")
        expect(page.locator("#us .bad")).to_contain_text("Switched off")
        assert passes(line, BAD)
        page.get_by_role("button", name="Switch on").click()
        page.get_by_role("dialog").get_by_role("button", name="Switch on").click()
        hear(page, "judges again")
        assert not passes(line, BAD)


def test_the_operator_makes_and_revokes_a_token(line: Line, browser: Browser, tokens: dict[str, str]) -> None:
    with visit(browser, tokens["operator"]) as page:
        page.locator("#tokens").get_by_label("Name").fill("shift two")
        page.get_by_role("button", name="Make the token").click()
        made = page.locator("#tokens code.once").inner_text()
        with visit(browser, made) as other:
            assert other.url.endswith("/support")
            page.get_by_role("button", name="Revoke shift two").click()
            page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
            hear(page, "opens nothing any more")
            other.reload()
            other.wait_for_url("**/login?next=*")
        page.locator("#audit-again").click()
        expect(page.locator("#audit")).to_contain_text("DELETE /api/v1/tokens/")


# ---- all of them --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize(("language", "width", "dark"), LOOKS)
def test_looks(
    browser: Browser, tokens: dict[str, str], tmp_path: Path, name: str, language: str, width: int, dark: bool
) -> None:
    with visit(browser, tokens[name], language=language, width=width, dark=dark) as page:
        if name == "support":
            page.goto(f"{page.url}?id={HOME.name}")
        page.locator(DRAWN[name]).first.wait_for(state="attached")
        picture = take_picture(page, f"{name}-{language}-{width}{'-dark' if dark else ''}", tmp_path)
        assert picture.stat().st_size > SHEET_BYTES
        assert find_overflow(page) == 0
        assert find_faults(page) == []
        assert find_foreign(page.locator("body").inner_text(), language) == []


def find_foreign(shown: str, language: str) -> list[str]:
    """Texts of other languages that a page shows."""
    texts = {path.stem: json.loads(path.read_text()) for path in TEXTS.glob("*.json")}
    own = {text for text in texts[language].values() if isinstance(text, str)}
    others = {
        text for code, all_of in texts.items() if code != language for text in all_of.values() if isinstance(text, str)
    }
    foreign = [text for text in others - own if len(text) >= SHORT and "{" not in text]
    assert sum(text in shown for text in own) > 10
    return sorted(text for text in foreign if re.search(rf"(?<![\w/]){re.escape(text)}(?!\w|[.]\w)", shown))


def test_a_wrong_token_and_the_language(browser: Browser, tokens: dict[str, str], tmp_path: Path) -> None:
    with visit(browser, tokens["me"], language="es") as page:
        expect(page.locator("h1")).to_have_text("Su protección")
        page.select_option("#language", "en")
        expect(page.locator("h1")).to_have_text("Your protection")
        page.goto(page.url.split("?")[0])
        expect(page.locator("h1")).to_have_text("Your protection")
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url("**/login")
        take_picture(page, "login-en", tmp_path)
        assert find_faults(page) == []
        page.fill("#token", "no such token")
        page.click("#login button")
        expect(page.get_by_role("alert").first).to_have_text("This token is not known, or it has expired.")

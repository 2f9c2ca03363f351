"""Chromium for the tests of pages: driven as a user would, in the namespace of the box, its pictures kept, axe asked.

`PENSTOCK_PICTURES` names a directory that keeps the screenshots.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.live.line import Line
from tests.live.portal import LISTEN

URL = f"http://{LISTEN}"
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-sync")
STILL = ("--disable-background-networking", "--disable-component-update")
WIDE_PX, NARROW_PX, HIGH_PX = 1280, 360, 800
PATIENCE_MS = 20_000
WRONG = ("serious", "critical")


@contextmanager
def open_browser(line: Line, where: str = "box", *words: str) -> Iterator[Browser]:
    """Chromium in a namespace; further words for it."""
    with line.topology.inside(where):
        driver = sync_playwright().start()
    try:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=[*QUIET, *STILL, *words])
        try:
            yield browser
        finally:
            browser.close()
    finally:
        driver.stop()


@contextmanager
def visit(
    browser: Browser, token: str, *, language: str = "en", width: int = WIDE_PX, dark: bool = False
) -> Iterator[Page]:
    """A visitor behind the door, on the page of his role; whatever a page's script says wrongly fails the test."""
    context: BrowserContext = browser.new_context(
        viewport={"width": width, "height": HIGH_PX},
        locale=language,
        timezone_id="Europe/Madrid",
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",
    )
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if "Content Security Policy" in said.text else None)
    try:
        page.goto(f"{URL}/login")
        page.fill("#token", token)
        page.click("#login button")
        page.wait_for_selector("#out:enabled")
        page.wait_for_selector("main:not([inert])")
        yield page
        assert not errors, errors
    finally:
        context.close()


def find_faults(page: Page) -> list[str]:
    """What axe finds that is serious or critical."""
    found: list[dict[str, Any]] = Axe().run(page).response["violations"]
    return [f"{one['id']}: {[node['target'] for node in one['nodes']]}" for one in found if one["impact"] in WRONG]


def find_overflow(page: Page) -> int:
    """By how many pixels the page is wider than the window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def take_picture(page: Page, name: str, here: Path) -> Path:
    """A picture of the whole page."""
    picture = Path(os.environ.get("PENSTOCK_PICTURES") or here) / f"{name}.png"
    page.screenshot(path=picture, full_page=True)
    return picture

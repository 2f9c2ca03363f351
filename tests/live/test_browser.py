"""A real browser: its own hello with a post-quantum key share, and the page as a subscriber sees it."""

import os
import re
import shutil
from pathlib import Path

from penstock.demo.box import GOOD
from penstock.demo.servers import hosts_seen, read_log
from penstock.demo.topology import SERVER_IPV4
from tests.live.line import BAD, Line, live
from tests.live.packets import Tap

pytestmark = live("openssl", "chromium")

SHEET_BYTES = 8_000  # an empty white sheet of this size is smaller
SEGMENT_BYTES = 1448
PICTURES = os.environ.get("PENSTOCK_PICTURES")  # a directory that keeps the screenshots


def browse(line: Line, url: str, profile: Path, *words: str) -> str:
    """Let headless Chromium load a page; what it prints."""
    shutil.rmtree(profile, ignore_errors=True)
    quiet = ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    argv = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", *quiet]
    place = [f"--user-data-dir={profile}", f"--host-resolver-rules=MAP * {SERVER_IPV4}", "--window-size=900,700"]
    done = line.topology.run("client", [*argv, *place, *words, url], timeout_s=90)
    text: str = done.stdout
    return text


def test_allowed_pages_over_http_and_https(line: Line, tmp_path: Path) -> None:
    for scheme in ("http", "https"):
        text = browse(line, f"{scheme}://{GOOD}/", tmp_path / "p", "--dump-dom", "--ignore-certificate-errors")
        assert f"This is {GOOD}." in text
    assert {"http", "https"} <= {entry.get("scheme") for entry in read_log(line.site)}


def test_the_block_page_and_its_picture(line: Line, tmp_path: Path) -> None:
    text = browse(line, f"http://{BAD}/", tmp_path / "p", "--dump-dom")
    assert "phishing" in text
    assert re.search(r"Reference</dt><dd><code>[0-9a-f]{16}", text), text
    picture = Path(PICTURES or tmp_path) / "block-page.png"
    browse(line, f"http://{BAD}/", tmp_path / "p", f"--screenshot={picture}")
    assert picture.stat().st_size > SHEET_BYTES
    print(f"screenshot: {picture}")
    assert BAD not in hosts_seen(line.site)


def test_a_blocked_https_page_fails_at_once(line: Line, tmp_path: Path) -> None:
    with Tap(line.topology) as tap:
        text = browse(line, f"https://{BAD}/", tmp_path / "p", "--dump-dom", "--ignore-certificate-errors")
        assert max(tap.find_hello_sizes()) > SEGMENT_BYTES, "no post-quantum hello: it fits a segment"
    assert "This is" not in text
    assert line.events(host=BAD, proto="tls", action="block", subscriber="home")
    assert BAD not in hosts_seen(line.site)

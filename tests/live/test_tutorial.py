"""docs/tutorial.md does what it says: its commands are run from the page, and say what stands there."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.live.line import live
from tests.scripts import load_script

pytestmark = live("curl", "ip")

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "tutorial.py"


@pytest.fixture(scope="module")
def script() -> Any:
    return load_script("tutorial")


def test_other_moments_and_sizes_are_no_difference_and_other_words_are(script: Any) -> None:
    page = "```sh\necho a\n```\n\n```text\n17 packets of 1f00aa00bb00cc\n```\n\n<!-- not run -->\n```sh\nreboot\n```\n"
    assert script.find_differences(page, ["18 packets of 2f00aa00bb00cc\n", None]) == ""
    assert "-N packets" in script.find_differences(page, ["18 parcels of 2f00aa00bb00cc\n", None])
    assert script.find_differences(page, ["", None])
    status = "```sh\nvisit\n```\n\n```text\n403 15 bytes at 2026-11-26T05:24:33.639103+0000\n```\n"
    assert script.find_differences(status, ["403 99 bytes at 2027-01-01T00:00:00.000000+0000\n"]) == ""
    assert script.find_differences(status, ["200 15 bytes at 2026-11-26T05:24:33.639103+0000\n"])
    assert script.find_differences(status, ["403 0 bytes at 2026-11-26T05:24:33.639103+0000\n"])
    assert [step.is_run for step in script.read_steps(page)] == [True, False]
    assert "```text\nnew\n```\n" in script.write_page(page, ["new\n", None])


@pytest.mark.timeout(600)
def test_the_page_says_what_comes_out(script: Any) -> None:
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len([step for step in script.read_steps(script.PAGE.read_text("utf-8")) if step.is_run]) > 12

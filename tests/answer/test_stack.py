"""Linux's own TCP takes the page, closes in order, and obeys the reset."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a network namespace"),
    pytest.mark.skipif(not os.path.exists("/dev/net/tun"), reason="needs /dev/net/tun"),
    pytest.mark.skipif(shutil.which("ip") is None, reason="needs ip of iproute2"),
]


@pytest.mark.parametrize("version", [4, 6])
def test_linux_takes_the_answers(version: int) -> None:
    command = [sys.executable, "-m", "tests.answer.stack", str(version)]
    run = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    seen = json.loads(run.stdout)
    assert (seen["page"], seen["reset"]) == ("page", "ConnectionResetError")
    assert not any(seen["counters"].values()), seen["counters"]

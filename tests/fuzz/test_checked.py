"""The corpus once more on the checked build, in a process of its own: there no load or store leaves its region unseen."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.compile.memory import CHECKED
from tests.fuzz import test_corpus, test_machines

ROOT = Path(__file__).parents[2]
PATIENCE_S = 250


@pytest.mark.skipif(CHECKED, reason="this is the process of its own")
def test_the_corpus_on_the_checked_build() -> None:
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts="]
    argv += [test_corpus.__file__, test_machines.__file__]
    environment = os.environ | {"PENSTOCK_CHECKED": "1"}
    done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-500:]

"""Each back end that this machine has beside its best one, and the checked build: the same tests, each in a process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.cipher.features import NO_SHA, PORTABLE, VARIABLE
from penstock.compile.memory import CHECKED

TREE = Path(__file__).parents[2]
EVERYTHING = ["tests/cipher", "tests/request/test_initial.py"]
WHOLE = ["tests/cipher/test_vectors.py", "tests/request/test_initial.py"]

pytestmark = pytest.mark.skipif(CHECKED or bool(os.environ.get(VARIABLE)), reason="this is the process of its own")


@pytest.mark.parametrize(
    ("forced", "checked", "tests"),
    [(NO_SHA, "0", EVERYTHING), (PORTABLE, "0", EVERYTHING), ("", "1", WHOLE), (PORTABLE, "1", WHOLE)],
)
def test_the_same_tests_pass(forced: str, checked: str, tests: list[str], tmp_path: Path) -> None:
    environment = {**os.environ, VARIABLE: forced, "PENSTOCK_CHECKED": checked, "PENSTOCK_CACHE": str(tmp_path)}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *tests]
    child = subprocess.run(command, cwd=TREE, env=environment, capture_output=True, text=True, timeout=250)
    assert child.returncode == 0, child.stdout + child.stderr

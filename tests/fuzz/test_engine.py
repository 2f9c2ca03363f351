"""The fuzzer itself, where it is installed: it sees branches of a plain reader, and a broken promise ends it."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.fuzz import campaign, seeds
from tests.fuzz.machines import Pure
from tests.fuzz.readers import READERS, read_purely

PATIENCE_S = 120


@pytest.mark.parametrize("name", READERS)
def test_every_seed_is_read(name: str) -> None:
    machine, count = Pure(), 0
    for content in seeds.MAKERS[name]():
        read_purely(name, machine, content)
        count += 1
    assert count >= 3


@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris is not installed: penstock[fuzz]")
def test_the_engine_follows_branches(tmp_path: Path) -> None:
    found = tmp_path / "found"
    found.mkdir()
    campaign.write_inputs(found, seeds.MAKERS["hello"]())
    before = len(list(found.iterdir()))
    argv = [sys.executable, "-m", "tests.fuzz.engine", "hello", "-runs=500", "-seed=1", f"{found}"]
    done = subprocess.run(argv, cwd=campaign.ROOT, capture_output=True, text=True, errors="replace", timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr[-2000:]
    states = campaign.STATE.findall(done.stderr)
    assert int(states[-1][1]) > 80, "edges"
    assert len(list(found.iterdir())) > before
    ended = campaign.DONE.search(done.stderr)
    assert ended is not None
    assert int(ended[1]) >= 500

"""What the register process may still do once it hears its sources."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.demo.demo import find_obstacle

PROGRAM = """
import sys
from pathlib import Path
from penstock.control.configuration import Configuration
from penstock.control.subscribers.process import RegisterProcess
from penstock.control.subscribers.settings_register import RegisterSettings
from penstock.line.privileges import keep_file_rights

inside, outside = map(Path, sys.argv[1:])
process = object.__new__(RegisterProcess)  # no tables are needed for this
process._is_confined = False
process.configuration = Configuration(register=RegisterSettings(database=inside / "subscribers.db"))
keep_file_rights()
process._confine()
(inside / "subscribers.db-wal").write_text("")
print((outside / "readable").read_text())
for attempt in (lambda: (outside / "new").write_text(""), (outside / "readable").unlink, (outside / "directory").mkdir):
    try:
        attempt()
    except PermissionError:
        print("refused")
"""


@pytest.mark.live
def test_it_writes_beside_the_store_alone(tmp_path: Path) -> None:
    if obstacle := find_obstacle():
        pytest.skip(obstacle)
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    outside.mkdir()
    (outside / "readable").write_text("read")
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    argv = [sys.executable, "-c", PROGRAM, str(inside), str(outside)]
    done = subprocess.run(argv, capture_output=True, text=True, env=environment)
    assert done.stdout.split() == ["read", "refused", "refused", "refused"], done.stderr

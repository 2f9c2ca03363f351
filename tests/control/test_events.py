"""The log of events where its disk is full."""

import os
from pathlib import Path

import pytest

from penstock.control.events import EventLog, LogFile


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_loses_lines_and_no_more() -> None:
    with LogFile("/dev/full") as sink:
        log = EventLog(sink)
        for _ in range(3):
            log.write({"host": "bad.test"})
        assert log.lost == 3


def test_lines_are_added(tmp_path: Path) -> None:
    path = tmp_path / "events"
    for host in ("a.test", "b.test"):
        with LogFile(str(path)) as sink:
            EventLog(sink).write({"host": host})
    assert path.read_text() == '{"host": "a.test"}\n{"host": "b.test"}\n'


def test_a_new_log_is_for_root_and_its_group(tmp_path: Path) -> None:
    """Who asked for what is in it. A log that is there keeps the mode that somebody gave it."""
    path = tmp_path / "events"
    before = os.umask(0)
    try:
        with LogFile(str(path)):
            assert path.stat().st_mode & 0o777 == 0o640
        path.chmod(0o644)
        with LogFile(str(path)):
            assert path.stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(before)

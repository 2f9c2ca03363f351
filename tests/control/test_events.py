"""The log of events where its disk is full."""

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

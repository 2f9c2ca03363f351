"""The log of events where its disk is full; events of a packet process that may write anything."""

import os
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.control.events import EventLog, EventReader, LogFile, decode_foreign
from penstock.path import events as e
from penstock.path.memory import SharedMemory
from tests.path.boxes import owners, policy


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


WORDS = st.lists(st.one_of(st.integers(0, 130), st.integers(-(1 << 63), (1 << 63) - 1)), min_size=12, max_size=12)


@settings(deadline=None)
@given(WORDS, st.binary(max_size=300))
def test_whatever_stands_in_the_ring_ends_nothing(words: list[int], rest: bytes) -> None:
    raw = struct.pack("<12q", *words) + rest
    fields = decode_foreign(raw.ljust(e.EVENT_BYTES, b"\0")[: e.EVENT_BYTES], policy().snapshot, owners(), 0)
    assert fields is None or set(fields) >= {"proto", "action", "reason"}


def test_a_forged_count_gives_no_more_than_the_ring_holds() -> None:
    shared = SharedMemory(1)
    reader = EventReader(shared)
    for forged in (1 << 62, -5):
        reader._words(0)[e.RING_WRITTEN // 8] = forged
        reader._words(0)[e.RING_READ // 8] = 0
        assert len(list(reader.read())) <= e.EVENT_COUNT

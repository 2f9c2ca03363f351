"""A disk that is full: the log, the lists, the snapshots, the register, the cache of compiled code.

Nothing breaks, the loss is said or counted, and it is over when there is room again.
"""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from penstock.control.subscribers.calls import CallError
from penstock.demo.box import Box, BoxError, start_box
from penstock.demo.servers import Certificate
from penstock.demo.topology import HOME
from tests.live.line import BAD, Line, build_line, live
from tests.live.metrics import LISTEN, read_metrics, wait_for
from tests.live.processes import find_packet_processes, is_blocked, kill, reload, sees_page, wait_for_word
from tests.live.register import tell

pytestmark = live("openssl", "curl")

DISK_BYTES = 4 << 20
PAGES = 40
CALLS = 1000  # what is left of a page has room for some
LATE = "late.example.test"  # on a list later


class Disk:
    """A small file system of its own that a test fills and empties."""

    def __init__(self, place: Path) -> None:
        self.place = place
        place.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", place], check=True)

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", self.place], check=True)

    @contextmanager
    def full(self) -> Iterator[None]:
        """Not a byte is free for the time of the block."""
        filler = self.place / "filler"
        with filler.open("wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)) == 4096:
                    pass
            except OSError:
                pass
        assert os.statvfs(self.place).f_bavail == 0
        try:
            yield
        finally:
            filler.unlink()


@pytest.fixture(scope="module")
def disk(here: Path) -> Iterator[Disk]:
    found = Disk(here / "disk")
    yield found
    found.unmount()


@pytest.fixture(scope="module")
def line(here: Path, pair: Certificate, disk: Disk) -> Iterator[Line]:
    places = {
        "database": str(disk.place / "names.db"),
        "register": {"database": str(disk.place / "subscribers.db")},
        "log": {"all_requests": True, "path": str(disk.place / "events.json")},
    }
    with build_line(here, pair, metrics={"listen": LISTEN}, **places) as found:
        found.box = Box(found.box.program, found.box.output, disk.place / "events.json")
        yield found


def count_lines(log: Path) -> int:
    """How many events are written."""
    return len(log.read_text().splitlines())


def test_the_log_is_on_a_full_disk(line: Line, disk: Disk) -> None:
    """Lines are lost and counted, none is written by half, and the log goes on when there is room."""
    log = disk.place / "events.json"
    assert is_blocked(line, line.site)
    wait_for(line, lambda found: count_lines(log) > 0)
    before, lost = count_lines(log), read_metrics(line).lost
    with disk.full():
        assert all(is_blocked(line, line.site) for _ in range(PAGES))
        wait_for(line, lambda found: found.lost - lost > PAGES / 2)
    assert all(is_blocked(line, line.site) for _ in range(PAGES))
    now_lost = wait_for(line, lambda found: found.lost - lost + count_lines(log) - before == 2 * PAGES).lost
    rows = log.read_text().splitlines()
    print(f"{len(rows) - before} of {2 * PAGES} events written, {now_lost - lost} counted as lost")
    assert now_lost > lost
    assert len(rows) - before + now_lost - lost == 2 * PAGES
    assert all(json.loads(row)["host"] for row in rows)


def test_a_reload_finds_a_full_disk(line: Line, disk: Disk) -> None:
    """What was in force stays, and it says so."""
    path = line.here / "phishing.txt"
    path.write_text(f"{BAD}\n{LATE}\n")
    with disk.full():
        said = reload(line, "not reloaded")
        assert "No space left" in said.splitlines()[-1]
        assert is_blocked(line, line.site)
        assert not sees_page(line, HOME, LATE)
    reload(line)
    assert sees_page(line, HOME, LATE)
    assert is_blocked(line, line.site)


def test_the_register_finds_a_full_disk(line: Line, disk: Disk) -> None:
    """What it answered holds, what it could not write down it refuses, and it writes again when there is room."""
    profile, refusal = "everything", ""
    with disk.full():
        for number in range(CALLS):
            wanted = ("nothing", "everything")[number % 2]
            try:
                tell(line, "set", subscriber="home", profile=wanted)
            except CallError as error:
                refusal = str(error)
                break
            profile = wanted
        assert "no room on the disk" in refusal
        assert is_blocked(line, line.site) == (profile == "everything")
        assert read_metrics(line)["penstock_register_batches_failed_total"] > 0
    kill(line)
    line.restart()
    assert is_blocked(line, line.site) == (profile == "everything")
    for wanted in ("nothing", "everything"):
        tell(line, "set", subscriber="home", profile=wanted)
        assert is_blocked(line, line.site) == (wanted == "everything")


def test_the_packet_process_dies_on_a_full_disk(line: Line, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is started again: that takes no room, and nothing that a disk has lost meanwhile."""
    monkeypatch.setenv("TMPDIR", str(disk.place))
    kill(line)
    line.restart()
    assert is_blocked(line, line.site)
    database, aside = disk.place / "names.db", disk.place / "aside.db"
    times = line.box.output.read_text().count("judging again")
    with disk.full():
        database.rename(aside)
        for process in find_packet_processes(line.box.program.pid):
            os.kill(process, signal.SIGKILL)
        said = wait_for_word(line, "judging again", times + 1)
        assert is_blocked(line, line.site), said[-800:]
    aside.rename(database)


def test_a_start_on_a_full_disk(line: Line, disk: Disk) -> None:
    """Without a names database it has to make one: it says in one line why it cannot, and the cable carries on."""
    line.topology.end(line.box.program)
    (disk.place / "names.db").unlink()
    with disk.full():
        with pytest.raises(BoxError, match="No space left"):
            start_box(line.topology, line.configuration)
        assert not is_blocked(line, line.site)
    line.restart()
    assert is_blocked(line, line.site)


def test_compiled_code_finds_no_room(line: Line, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start compiles once more, and judges."""
    cache = disk.place / "cache"
    cache.mkdir()
    monkeypatch.setenv("PENSTOCK_CACHE", str(cache))
    line.topology.end(line.box.program)
    with disk.full():
        print(f"from start to judging without a cache: {line.restart():.1f} s")
        assert is_blocked(line, line.site)
    assert [path for path in cache.rglob("*") if path.is_file()] == []

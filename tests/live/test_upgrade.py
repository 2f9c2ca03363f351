"""One version takes over from another under load, on the same tables and on others, and back; or fails and harms nobody."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock import __version__
from penstock.demo.box import PENSTOCK, BoxError, lay_cable, run_penstock, start_box, write_configuration
from penstock.demo.servers import Server
from penstock.demo.topology import EGRESS, INGRESS
from penstock.kernel.declared import Map
from penstock.kernel.tables import LAYOUT_VERSION
from penstock.line.handover import Caller, HandoverError, find_doors, take_lock
from penstock.line.inline import Pair, attach_steer, load_steer, open_tables
from penstock.line.pins import Pins, Size, find_root
from tests.live.crossing import LATE_LIMIT, Crossing, count_reason
from tests.live.line import Line, live
from tests.live.processes import is_blocked

pytestmark = live("openssl", "nginx", "curl", alone=True)

FLOWS = 65536  # as the line's configuration has it
LAST_S = 1.0  # of traffic behind a take-over
LATER = "99.1"  # a version of this very source, with another layout
END_S = 10.0
SOURCES = Path(__file__).parents[2] / "src"
BETWEEN = ["--ingress", INGRESS, "--egress", EGRESS]


@pytest.fixture
def judging(line: Line) -> Iterator[Line]:
    """The line with Penstock alive, whatever the test before did to it; afterwards it is ended, whoever runs."""
    if line.box.program.poll() is not None:
        line.restart()
    lay_cable(line.topology)
    yield line
    if line.box.program.poll() is not None:
        end_run(line)


def call(line: Line) -> Caller:
    """The run that holds the pair."""
    with line.topology.inside("box"):
        (door,) = find_doors()
        return Caller(door)


def end_run(line: Line) -> None:
    """SIGTERM to whoever holds the pair, and wait until the pair is free."""
    with call(line) as caller:
        os.kill(int(caller.who()["pid"]), signal.SIGTERM)
    end_s = time.monotonic() + END_S
    while is_held(line):
        assert time.monotonic() < end_s
        time.sleep(0.05)


def is_held(line: Line) -> bool:
    """Does a run hold the pair?"""
    with line.topology.inside("box"):
        lock = take_lock(Pins(INGRESS, EGRESS, find_root()))
    if lock is not None:
        os.close(lock)
    return lock is None


def see_refusals(crossing: Crossing, late: int) -> None:
    """No blocked request passed, but for as many as the kernel let pass because the pulse was `late`."""
    passed = crossing.passed()
    print(f"{len(crossing.probes)} blocked requests, {len(passed)} passed, {late} packets met a late pulse")
    assert len(passed) <= late < LATE_LIMIT, passed


def test_a_second_run_is_told_who_runs(judging: Line, nginx: Server) -> None:
    done = run_penstock(judging.topology, ["run", *BETWEEN, "--config", judging.configuration])
    assert done.returncode == 1
    assert f"process {judging.box.program.pid}, version {__version__}, is in line" in done.stderr
    assert "--take-over" in done.stderr
    assert f"process {judging.box.program.pid}" in run_penstock(judging.topology, ["status"]).stdout
    assert is_blocked(judging, nginx)


def test_take_over_on_the_same_tables(judging: Line, nginx: Server, tmp_path: Path) -> None:
    old, late = judging.box, count_reason(judging, "stale_open")
    allowed = count_reason(judging, "allowed")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(END_S)
        told = ["env", f"NOTIFY_SOCKET={tmp_path / 'notify'}", *PENSTOCK]
        with Crossing(judging, nginx) as crossing:
            judging.box = start_box(judging.topology, judging.configuration, penstock=told, more=["--take-over"])
            assert old.program.wait(END_S) == 0
            time.sleep(LAST_S)
        assert f"MAINPID={judging.box.program.pid}" in systemd.recv(1024).decode().split()
    crossing.finish()
    see_refusals(crossing, count_reason(judging, "stale_open") - late)
    assert is_blocked(judging, nginx)
    assert count_reason(judging, "allowed") >= allowed + len(crossing.asked), "the ledger goes on"
    assert "the same" in old.output.read_text()


def test_an_heir_that_cannot_start_changes_nothing(judging: Line, nginx: Server, tmp_path: Path) -> None:
    wrong = tmp_path / "penstock.yaml"
    wrong.write_text(judging.configuration.read_text().replace("events.json", "/nowhere/events.json"))
    with pytest.raises(BoxError, match="nowhere"):
        start_box(judging.topology, wrong, more=["--take-over"])
    assert judging.box.program.poll() is None
    assert is_blocked(judging, nginx)


def test_an_heir_that_dies_in_the_midst_is_followed_by_its_predecessor(judging: Line, nginx: Server) -> None:
    with Crossing(judging, nginx) as crossing:
        time.sleep(LAST_S)
        with call(judging) as heir, call(judging) as other:
            heir.come("0")
            with pytest.raises(HandoverError, match="another one is taking over"):
                other.come("0")
            heir.ask_leave(drain=False)
        dead_s = time.monotonic()
        while not any(probe.is_refused and probe.start_s > dead_s for probe in crossing.probes):
            assert time.monotonic() < dead_s + END_S, "nobody judges again"
            time.sleep(0.01)
        time.sleep(LAST_S)
    crossing.finish()
    assert judging.box.program.poll() is None


def test_an_heir_that_dies_behind_the_swap_is_followed_too(
    judging: Line, nginx: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had its programs in place, over tables whose rings nobody reads."""
    for table in Map.ALL:
        monkeypatch.setattr(table, "fd", table.fd)
        monkeypatch.setattr(table, "entries", table.entries)
    with call(judging) as heir, judging.topology.inside("box"):
        heir.come("0")
        pins = Pins(INGRESS, EGRESS, find_root())
        theirs = pins.in_use()
        open_tables(pins, Size(2 * FLOWS, 1))
        pair = Pair(INGRESS, EGRESS)
        assert not attach_steer(pair, pins, load_steer(pair, pins)), "it hung there already"
        assert pins.in_use() == pins.tables != theirs
    end_s = time.monotonic() + END_S
    while pins.in_use() != theirs:
        assert time.monotonic() < end_s
        time.sleep(0.01)
    pins.remove_tables(pins.tables)
    assert is_blocked(judging, nginx)


def test_another_table_size_is_another_set_of_tables(judging: Line, nginx: Server) -> None:
    old, text = judging.box, judging.configuration.read_text()
    run_penstock(judging.topology, ["off"])
    judging.configuration.write_text(text.replace(f"capacity: {FLOWS}", f"capacity: {2 * FLOWS}"))
    try:
        judging.box = start_box(judging.topology, judging.configuration, more=["--take-over"])
    finally:
        judging.configuration.write_text(text)
    assert old.program.wait(END_S) == 0
    with judging.topology.inside("box"):
        pins = Pins(INGRESS, EGRESS, find_root())
        pins.choose(Size(2 * FLOWS, 1))
        assert (pins.in_use(), pins.others()) == (pins.tables, [])
    assert not is_blocked(judging, nginx), "who switched it off wants it off"
    run_penstock(judging.topology, ["on"])
    assert is_blocked(judging, nginx)


# ---- versions side by side ----------------------------------------------------------------------------------------------
def build_wheel(directory: Path, version: str, sources: Path) -> Path:
    """A wheel of the package below `sources`, which names no dependencies: those of the tests serve it."""
    wheel, info = directory / f"penstock-{version}-py3-none-any.whl", f"penstock-{version}.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path in sorted((sources / "penstock").rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                archive.write(path, path.relative_to(sources))
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: penstock\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/entry_points.txt", "[console_scripts]\npenstock = penstock.cli:main\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheel


def replace_once(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def wheels(here: Path) -> list[Path]:
    """This version and a later one, whose tables have another layout; both compiled already."""
    later = here / "later"
    shutil.copytree(SOURCES, later, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    replace_once(later / "penstock/__init__.py", f'"{__version__}"', f'"{LATER}"')
    replace_once(later / "penstock/kernel/tables.py", f"LAYOUT_VERSION = {LAYOUT_VERSION}\n", "LAYOUT_VERSION = 99\n")
    subprocess.run([*PENSTOCK, "compile"], cwd=later, env=plain_environment(), check=True)
    return [build_wheel(here, __version__, SOURCES), build_wheel(here, LATER, later)]


def plain_environment() -> dict[str, str]:
    """Ours, with the dependencies of the tests for every environment, and none of the sources."""
    return os.environ | {"PYTHONPATH": sysconfig.get_path("purelib")}


def run_here(line: Line, *words: str | Path) -> "subprocess.CompletedProcess[Any]":
    """A command of Penstock's from the sources, in the box, whose children do not see them."""
    options: dict[str, Any] = {"cwd": SOURCES, "env": plain_environment(), "timeout_s": 240}
    return line.topology.run("box", [sys.executable, "-m", "penstock", *words], **options)


@pytest.mark.timeout(600)
def test_upgrade_to_another_layout_and_back(line: Line, nginx: Server, wheels: list[Path]) -> None:
    root, settings = line.here / "installation", line.here / "etc"
    settings.mkdir()  # the servers' user owns the one above, which `check` would not have
    line.configuration = write_configuration(settings)
    where: list[str | Path] = ["--root", root, "--no-deps", "--no-index"]
    if line.box.program.poll() is None:
        line.topology.end(line.box.program)
    done = run_here(line, "upgrade", wheels[0], *where)
    assert done.returncode == 0, done.stderr
    current: list[str | Path] = ["env", f"PYTHONPATH={sysconfig.get_path('purelib')}", root / "current/bin/penstock"]
    line.box = start_box(line.topology, line.configuration, penstock=current)
    try:
        for words, version in (
            (["upgrade", wheels[1], *where], LATER),
            (["rollback", "--root", root], __version__),
        ):
            with Crossing(line, nginx) as crossing:
                done = run_here(line, *words)
                assert done.returncode == 0, done.stdout + done.stderr
                time.sleep(LAST_S)
            print(done.stdout)
            with call(line) as caller:
                assert caller.who()["version"] == version
            assert (root / "current").readlink().name == version
            crossing.finish()
            see_refusals(crossing, count_reason(line, "stale_open", current))  # the tables are fresh: from nothing on
            assert is_blocked(line, nginx)
    finally:
        end_run(line)

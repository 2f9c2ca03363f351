"""Versions side by side: what is installed, what the links say, and that one run that refuses brings the others back."""

import os
import select
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from penstock.control.succession import Succession
from penstock.line import handover
from penstock.line.handover import Caller, Door, find_door, take_lock
from penstock.line.pins import Pins
from penstock.upgrade import Installation, UpgradeError, rollback, upgrade


def quiet(line: str) -> None:
    """What an upgrade tells."""


def make_version(root: Path, version: str) -> Path:
    """An environment whose command has nothing to say against anything."""
    environment = root / "versions" / version
    (environment / "bin").mkdir(parents=True)
    (environment / "bin/penstock").write_text("#!/bin/sh\nexit 0\n")
    (environment / "bin/penstock").chmod(0o755)
    return environment


def name_wheel(directory: Path, version: str) -> Path:
    """A wheel's name over what is none."""
    wheel = directory / f"penstock-{version}-py3-none-any.whl"
    wheel.write_bytes(b"no wheel")
    return wheel


class Holder:
    """One run of a pair as its door shows it: real lock, door and messages; its heir is another one of these."""

    def __init__(self, directory: Path, ingress: str, lock: int | None = None, refuses: bool = False) -> None:
        self.directory, self.ingress, self.refuses = directory, ingress, refuses
        self.pins = Pins(ingress, "out", directory)
        self.lock = lock if lock is not None else take_lock(self.pins)
        assert self.lock is not None
        self.succession = Succession(Door(find_door(self.pins)), self.lock, self)
        self.programs: list[str] = []
        self.left = False
        self.heirs: list[Holder] = []
        self.stops = False
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self) -> None:
        while not self.stops and not self.succession.is_over:
            ready, _, _ = select.select(self.succession.door.sockets(), [], [], 0.01)
            self.succession.serve(ready)

    def describe(self) -> dict[str, Any]:
        return {"pid": os.getpid(), "ingress": self.ingress, "egress": "out", "config": "/dev/null"}

    def leave(self, drain: bool) -> None:
        self.left = True

    def take_back(self, had_left: bool) -> None:
        self.left = False

    def hand_over(self) -> None:
        assert self.left

    def start_heir(self, program: Sequence[str]) -> "subprocess.Popen[Any]":
        self.programs.append(program[0])
        if self.refuses:
            return subprocess.Popen(["false"])
        threading.Thread(target=self.inherit).start()
        return subprocess.Popen(["sleep", "5"])

    def inherit(self) -> None:
        with Caller(self.succession.door.path) as caller:
            caller.come("2")
            caller.ask_leave(drain=False)
            heir = Holder(self.directory, self.ingress, caller.finish(self.pins))
            heir.programs = self.programs  # what all of this pair were asked to start
            self.heirs.append(heir)

    def end(self) -> None:
        self.stops = True
        self.thread.join()
        for heir in self.heirs:
            heir.end()
        if self.succession.child is not None:
            self.succession.child.kill()
            self.succession.child.wait()
        self.succession.door.close()
        assert self.lock is not None
        os.close(self.lock)


@pytest.fixture
def doors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(handover, "DOORS", tmp_path / "doors")
    return tmp_path


@pytest.fixture
def holders(doors: Path) -> Iterator[list[Holder]]:
    made = [Holder(doors, "a"), Holder(doors, "b", refuses=True)]
    yield made
    for holder in made:
        holder.end()


def test_without_a_run_the_links_change(doors: Path) -> None:
    old, fresh = make_version(doors, "1.0"), make_version(doors, "2.0")
    installation = Installation(doors)
    upgrade(doors, name_wheel(doors, "1.0"), [], True, quiet)
    assert (installation.find("current"), installation.find("previous")) == (old, None)
    upgrade(doors, name_wheel(doors, "2.0"), [], True, quiet)
    assert (installation.find("current"), installation.find("previous")) == (fresh, old)
    rollback(doors, quiet)
    assert (installation.find("current"), installation.find("previous")) == (old, fresh)
    rollback(doors, quiet)
    assert (installation.find("current"), installation.find("previous")) == (fresh, old)
    upgrade(doors, name_wheel(doors, "2.0"), [], True, quiet)
    assert (installation.find("current"), installation.find("previous")) == (fresh, old), "the way back is kept"


def test_one_run_that_refuses_brings_the_others_back(holders: list[Holder], doors: Path) -> None:
    old, fresh = make_version(doors, "1.0"), make_version(doors, "2.0")
    installation = Installation(doors)
    installation.point("current", old)
    with pytest.raises(UpgradeError, match=r"2\.0 did not take over: .*ended with status 1"):
        upgrade(doors, name_wheel(doors, "2.0"), [], True, quiet)
    assert holders[0].programs == [str(fresh / "bin/penstock"), str(old / "bin/penstock")]
    assert holders[1].programs == [str(fresh / "bin/penstock")]
    assert installation.find("current") == old


def test_what_the_new_version_finds_bad_stops_it(holders: list[Holder], doors: Path) -> None:
    fresh = make_version(doors, "2.0")
    (fresh / "bin/penstock").write_text(
        '#!/bin/sh\n[ "$1" = compile ] && exit 0\necho "good x"; echo "bad y"; exit 1\n'
    )
    with pytest.raises(UpgradeError, match=r"check --ingress a --egress out --config /dev/null: status 1\nbad y$"):
        upgrade(doors, name_wheel(doors, "2.0"), [], True, quiet)
    assert holders[0].programs == []
    assert Installation(doors).find("current") is None
    assert fresh.exists(), "it was there before"


def test_what_cannot_be_installed_leaves_nothing(doors: Path) -> None:
    with pytest.raises(UpgradeError, match="pip install"):
        upgrade(doors, name_wheel(doors, "3.0"), ["--no-index"], True, quiet)
    assert list((doors / "versions").iterdir()) == []


@pytest.mark.parametrize("name", ["penstock.whl", "other-1.0-py3-none-any.whl", "penstock-1.0.tar.gz"])
def test_what_is_no_wheel_of_ours(doors: Path, name: str) -> None:
    (doors / name).write_bytes(b"")
    with pytest.raises(UpgradeError, match="expected the file of a wheel"):
        upgrade(doors, doors / name, [], True, quiet)


def test_one_upgrade_at_a_time(doors: Path) -> None:
    with Installation(doors).locked(), pytest.raises(UpgradeError, match="another upgrade is going on"):
        rollback(doors, quiet)


def test_no_way_back(doors: Path) -> None:
    with pytest.raises(UpgradeError, match="no previous version"):
        rollback(doors, quiet)

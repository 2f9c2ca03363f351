"""The lock of a pair, the door, and what is said at it: real descriptors and sockets."""

import fcntl
import os
import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.line import handover
from penstock.line.handover import AbsentError, Caller, Door, HandoverError, find_door, find_holder, take_lock
from penstock.line.pins import Pins

NOBODY = 65534


@pytest.fixture
def pins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pins:
    monkeypatch.setattr(handover, "DOORS", tmp_path / "doors")
    return Pins("in", "out", tmp_path)


@pytest.fixture
def door(pins: Pins) -> Iterator[Door]:
    made = Door(find_door(pins))
    yield made
    made.close()


def answer_once(door: Door, word: str, lock: int | None = None, **words: object) -> threading.Thread:
    """Answer the next message from a thread."""

    def answer() -> None:
        while True:
            ready, _, _ = select.select(door.sockets(), [], [], 5)
            for visitor, said in door.answer(ready):
                if said is not None:
                    visitor.say(word, lock, **words)
                return

    thread = threading.Thread(target=answer)
    thread.start()
    return thread


def test_a_pair_has_one_holder(pins: Pins) -> None:
    first = take_lock(pins)
    assert first is not None
    assert take_lock(pins) is None
    os.close(first)
    second = take_lock(pins)
    assert second is not None
    os.close(second)


def test_the_lock_dies_with_its_process(pins: Pins) -> None:
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        take_lock(pins)
        os.write(theirs, b"x")
        os.kill(os.getpid(), 9)
    os.read(ours, 1)
    os.waitpid(child, 0)
    lock = take_lock(pins)
    assert lock is not None
    for descriptor in (lock, ours, theirs):
        os.close(descriptor)


def test_the_lock_is_handed_on_without_a_moment_between(pins: Pins, door: Door) -> None:
    lock = take_lock(pins)
    assert lock is not None
    thread = answer_once(door, "yours", lock)
    with Caller(door.path) as caller:
        ours = caller.finish(pins)
    thread.join()
    os.close(lock)  # the holder ends
    assert take_lock(pins) is None, "it is ours"
    assert ours is not None
    os.close(ours)
    again = take_lock(pins)
    assert again is not None
    os.close(again)


def test_the_lock_of_a_holder_that_died_is_free(pins: Pins, door: Door) -> None:
    with Caller(door.path) as caller:
        door.close()
        lock = caller.finish(pins)
    assert lock is not None
    os.close(lock)


@pytest.mark.parametrize(
    ("word", "words", "complaint"),
    [
        ("told", {"speaks": 0, "version": "7"}, "version 7 cannot hand its place on"),
        ("no", {"why": "busy"}, "the running one says no: busy"),
    ],
)
def test_a_holder_that_cannot(door: Door, word: str, words: dict[str, object], complaint: str) -> None:
    thread = answer_once(door, word, **words)
    with Caller(door.path) as caller, pytest.raises(HandoverError, match=complaint):
        caller.who()
    thread.join()


def test_a_holder_that_hangs(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    with Caller(door.path) as caller, pytest.raises(HandoverError, match="does not answer"):
        caller.ask("who", 0.05)


def test_nobody_behind_the_door(pins: Pins) -> None:
    with pytest.raises(HandoverError, match="answers nobody until it judges"):
        find_holder(pins)
    with pytest.raises(AbsentError):
        Caller(handover.DOORS / "other")


def test_a_door_is_for_the_same_user_alone(pins: Pins, door: Door) -> None:
    assert handover.DOORS.stat().st_mode & 0o777 == 0o700
    if os.geteuid() != 0:
        pytest.skip("needs root, to be another user")
    for path in (door.path, *door.path.parents):
        if path == Path("/tmp"):
            break
        path.chmod(0o777)  # even if somebody opened it
    child = os.fork()
    if child == 0:
        os.setuid(NOBODY)
        talk = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        talk.connect(str(door.path))
        os._exit(0 if talk.recv(16) == b"" else 1)
    ready, _, _ = select.select(door.sockets(), [], [], 5)
    assert list(door.answer(ready)) == []
    assert len(door.sockets()) == 1
    assert os.waitpid(child, 0)[1] == 0


def test_no_place_for_doors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(handover, "DOORS", tmp_path / "file")
    with pytest.raises(HandoverError, match="file: File exists: it must be a directory"):
        handover.make_doors()


def test_a_door_that_another_one_made_again_stays(pins: Pins, door: Door) -> None:
    again = Door(find_door(pins))
    door.close()
    assert again.path.exists()
    again.close()
    assert not again.path.exists()


def test_locks_are_of_descriptions_not_of_processes(pins: Pins) -> None:
    """What the hand-over stands on: a copy of the descriptor holds the lock as well."""
    lock = take_lock(pins)
    assert lock is not None
    copy = os.dup(lock)
    os.close(lock)
    assert take_lock(pins) is None
    fcntl.flock(copy, fcntl.LOCK_UN)
    os.close(copy)

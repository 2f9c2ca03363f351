"""The portal's keeper: it never waits, answers so much and no more, and starts again what died."""

import json
import os
import pickle
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.control.configuration import Configuration
from penstock.control.portal import keeper as module
from penstock.control.portal.keeper import CALLS_PER_S, PortalKeeper
from penstock.control.portal.settings import ApiSettings
from penstock.errors import PenstockError

LISTENING = Configuration(api=ApiSettings(listen="127.0.0.1:1"))
SLEEPER = "import select; end = select.poll(); end.register(0, 0); end.poll(600_000)"
"""A program that ends when its input does, and reads nothing of it."""


class FakeSnapshot:
    """What of a snapshot is handed over."""

    def __init__(self) -> None:
        self.descriptors = tuple(os.open("/dev/null", os.O_RDONLY) for _ in range(2))


class OutOfReach(PenstockError):
    """What cannot be answered."""


def answer(word: str, said: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
    if word == "no":
        raise OutOfReach("it cannot be")
    return {"word": word, **said}, []


@pytest.fixture
def keeper(monkeypatch: pytest.MonkeyPatch) -> Iterator[PortalKeeper]:
    """One whose process sleeps, and whose other ends are in `theirs` and `events`."""
    pairs: list[tuple[socket.socket, socket.socket]] = []
    make = socket.socketpair

    def make_pair(*words: Any) -> tuple[socket.socket, socket.socket]:
        ours, theirs = make(*words)
        pairs.append((ours, theirs.dup()))
        return ours, theirs

    start = module.subprocess.Popen

    def start_sleeper(argv: list[str], **words: Any) -> Any:
        return start([sys.executable, "-c", SLEEPER], **words)

    monkeypatch.setattr(module.socket, "socketpair", make_pair)
    monkeypatch.setattr(module.subprocess, "Popen", start_sleeper)
    made = PortalKeeper(answer)
    made.pairs = pairs  # type: ignore[attr-defined]
    made.start({"ingress": "a"}, LISTENING, FakeSnapshot())  # type: ignore[arg-type]
    yield made
    made.end()
    for _, theirs in pairs:
        theirs.close()


def ends(keeper: PortalKeeper) -> tuple[socket.socket, socket.socket]:
    """The other ends of orders and events."""
    pairs = keeper.pairs  # type: ignore[attr-defined]
    return pairs[-2][1], pairs[-1][1]


def test_without_an_address_there_is_none() -> None:
    keeper = PortalKeeper(answer)
    keeper.start({}, Configuration(), FakeSnapshot())  # type: ignore[arg-type]
    keeper.look_after()
    keeper.tell([{"reason": "blocked"}])
    assert keeper.output() == []
    keeper.end()


def test_what_is_in_force_comes_first_and_again(keeper: PortalKeeper) -> None:
    talk, _ = ends(keeper)
    for _ in range(2):
        content, descriptors, _, _ = socket.recv_fds(talk, 100, 4)
        assert content == b"follow"
        with open(descriptors[0], "rb") as file:
            assert pickle.load(file) == LISTENING
        assert len(descriptors) == 3
        keeper.follow(LISTENING, FakeSnapshot())  # type: ignore[arg-type]


def test_words_are_answered_with_their_number(keeper: PortalKeeper) -> None:
    talk, _ = ends(keeper)
    talk.recv(100)
    for said, wanted in (
        ({"say": "tell", "number": 7, "x": 1}, {"number": 7, "word": "tell", "x": 1}),
        ({"say": "no", "number": 8}, {"number": 8, "no": "it cannot be"}),
    ):
        talk.send(json.dumps(said).encode())
        keeper.look_after()
        assert json.loads(talk.recv(1000)) == wanted
    for garbage in (
        b"x",
        b"[]",
        b"{}",
        b'{"say": 1, "number": "x"}',
        b'{"say": "tell", "number": 1e999}',
        b'{"say": "tell", "number": NaN}',
        b"[" * 60_000,
    ):
        talk.send(garbage)
        keeper.look_after()
    with pytest.raises(BlockingIOError):
        talk.recv(1000, socket.MSG_DONTWAIT)


def test_a_flood_of_words_is_answered_slowly(keeper: PortalKeeper) -> None:
    talk, _ = ends(keeper)
    talk.recv(100)
    for _ in range(int(3 * CALLS_PER_S)):
        talk.send(b'{"say": "tell", "number": 1}')
    begin_s = time.monotonic()
    keeper.look_after()
    assert time.monotonic() - begin_s < 1
    answered = 0
    while True:
        try:
            talk.recv(1000, socket.MSG_DONTWAIT)
        except BlockingIOError:
            break
        answered += 1
    assert 1 <= answered <= CALLS_PER_S + 1
    assert keeper.output() == [], "it is not looked at again at once"


def test_events_are_handed_over_in_batches_without_those_that_passed(keeper: PortalKeeper) -> None:
    _, events = ends(keeper)
    keeper.tell([{"reason": "blocked", "n": n} for n in range(3)] + [{"reason": "allowed"}])
    assert [json.loads(line)["n"] for line in events.recv(1 << 17).split(b"\n")] == [0, 1, 2]
    keeper.tell([{"reason": "allowed"}])
    keeper.tell([{"reason": "blocked", "host": "x" * 1000} for _ in range(100)])
    sizes = []
    while True:
        try:
            sizes.append(len(events.recv(1 << 17, socket.MSG_DONTWAIT)))
        except BlockingIOError:
            break
    assert len(sizes) > 1
    assert max(sizes) <= module.BATCH_BYTES


def test_one_who_does_not_read_loses_events_and_nobody_waits(keeper: PortalKeeper) -> None:
    many = [{"reason": "blocked", "host": "x" * 1000} for _ in range(1000)]
    begin_s = time.monotonic()
    for _ in range(50):
        keeper.tell(many)
    assert keeper.lost_events > 0
    assert time.monotonic() - begin_s < 10


def test_one_that_died_is_started_again_later_and_later(keeper: PortalKeeper, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [time.monotonic()]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    for pause_s in (1.0, 2.0, 4.0):
        process = keeper._program
        assert process is not None
        talk, events = ends(keeper)
        talk.send(b'{"say": "failed", "why": "because"}')
        process.send_signal(signal.SIGKILL)
        process.wait()
        talk.close()
        events.close()
        clock[0] += 0.01
        keeper.look_after()
        assert keeper._orders is None
        assert keeper._last_words == "because"
        clock[0] += pause_s - 0.02
        keeper.look_after()
        assert keeper._orders is None
        clock[0] += 0.03
        keeper.look_after()
        assert keeper._orders is not None


def test_its_process_is_ended_with_it(keeper: PortalKeeper) -> None:
    process = keeper._program
    assert process is not None
    begin_s = time.monotonic()
    keeper.end()
    assert process.returncode is not None
    assert time.monotonic() - begin_s < 10
    assert not Path(f"/proc/{process.pid}").exists()

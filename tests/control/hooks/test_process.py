"""The hook process by its keeper, with real rings in shared memory: what a worker of the path asks is answered there."""

import mmap
import os
import signal
import statistics
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from penstock.control.configuration import Configuration
from penstock.control.hooks.counts import HookCollector
from penstock.control.hooks.keeper import HookKeeper
from penstock.control.hooks.process import map_rings
from penstock.control.hooks.rings import NO_HOOK, Ring, hook_tag
from penstock.control.hooks.settings import PolicySettings
from penstock.path.ask_rings import (
    ANSWER_ACTION,
    ANSWER_BYTES,
    ANSWER_HOOK,
    ANSWER_ID,
    ANSWERS_BYTES,
    ASK_BYTES,
    ASKS_BYTES,
    NO_ACTION,
)
from penstock.policy.actions import BLOCK
from tests.control.hooks.test_asks import make_ask

WORKERS = 2
BOUND_S = 60.0
CODE = """
import os, time
from penstock.hooks import Verdict, on_request, on_subscriber, on_verdict

@on_request(hosts="example")
def answer(request):
    return Verdict.{0}

@on_verdict(hosts="example")
def hear(outcome):
    raise ValueError(outcome.reason)

@on_subscriber
def choose(subscriber):
    return "pupils"
"""


@dataclass
class Path_:
    """The path's side of both rings."""

    asks: list[Ring]
    answers: list[Ring]
    number: int = 0
    heard: dict[int, tuple[int, int]] = field(default_factory=dict)
    """By identity: the action, and the worker in whose ring it came."""

    def ask(self, host: bytes) -> int:
        self.number += 1
        now_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        worker = self.number % WORKERS
        assert self.asks[worker].write(make_ask(self.number * WORKERS + worker, host, time_ns=now_ns))
        return self.number * WORKERS + worker

    def hear(self) -> None:
        for worker, ring in enumerate(self.answers):
            for raw in ring.read():
                identity, action, hook = (
                    struct.unpack_from("<q", raw, at)[0] for at in (ANSWER_ID, ANSWER_ACTION, ANSWER_HOOK)
                )
                assert hook == (NO_HOOK if action == NO_ACTION else hook_tag("answer"))
                assert identity not in self.heard
                self.heard[identity] = action, worker

    def answer(self, host: bytes) -> int:
        identity = self.ask(host)
        wait_for(lambda: self.hear() or identity in self.heard, 0.0001)
        action, worker = self.heard[identity]
        assert worker == identity % WORKERS
        return action


def wait_for(is_over: Callable[[], Any], step_s: float = 0.01) -> None:
    end_s = time.monotonic() + BOUND_S
    while not is_over():
        assert time.monotonic() < end_s
        time.sleep(step_s)


@dataclass
class Site:
    """A keeper whose process runs, and the path beside it."""

    keeper: HookKeeper
    path: Path_
    project: Path

    def configure(self, **policy: Any) -> None:
        settings = PolicySettings(**({"project": self.project} | policy)).model_copy(update={"budget_ms": 500})
        configuration = Configuration(policy=settings, profiles={})
        self.keeper.follow(configuration, ["new"])
        wait_for(lambda: self.keeper.look_after() or self.keeper.is_following)

    def await_generation(self, generation: int) -> None:
        def is_there() -> bool:
            self.keeper.look_after()
            return bool(self.keeper.state) and self.keeper.state["generation"] == generation

        wait_for(is_there)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    asks, answers = (os.memfd_create(name, os.MFD_CLOEXEC) for name in ("asks", "answers"))
    places = {}
    for name, number, size in (("asks", asks, ASKS_BYTES), ("answers", answers, ANSWERS_BYTES)):
        stride = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        os.ftruncate(number, 4096 + WORKERS * stride)
        places[name] = {"fd": number, "offset": 4096, "stride": stride, "workers": WORKERS}
    path = Path_(
        map_rings(places["asks"], ASK_BYTES, ASKS_BYTES), map_rings(places["answers"], ANSWER_BYTES, ANSWERS_BYTES)
    )
    project = tmp_path / "example_policy.py"
    project.write_text(CODE.format("block()"))
    keeper = HookKeeper()
    keeper.start(places, Configuration(), [])
    try:
        yield Site(keeper, path, project)
    finally:
        keeper.end()
        os.close(asks)
        os.close(answers)


def test_asks_are_answered_in_the_ring_of_who_asked(site: Site) -> None:
    assert site.path.answer(b"www.example") == NO_ACTION  # no project yet
    site.configure()
    site.await_generation(1)
    assert site.path.answer(b"www.example") == BLOCK
    assert site.path.answer(b"example.org") == NO_ACTION
    took_s = []
    for _ in range(300):
        begin_s = time.monotonic()
        assert site.path.answer(b"www.example") == BLOCK
        took_s.append(time.monotonic() - begin_s)
    times = statistics.quantiles(took_s, n=100)
    print(f"ring to ring: p50 {times[49] * 1000:.2f} ms, p99 {times[98] * 1000:.2f} ms")
    assert times[49] < 0.1
    many = [site.path.ask(b"www.example") for _ in range(200)]
    wait_for(lambda: site.path.hear() or all(identity in site.path.heard for identity in many))
    assert {site.path.heard[identity] for identity in many} == {(BLOCK, 0), (BLOCK, 1)}


def test_a_project_that_changes_is_loaded_again(site: Site) -> None:
    site.configure()
    site.await_generation(1)
    site.project.write_text("raise ValueError('half an edit')\n")
    time.sleep(2.0)  # as long as it takes to be seen, and to fail
    assert site.path.answer(b"www.example") == BLOCK
    site.project.write_text(CODE.format("allow()"))
    site.await_generation(2)
    assert site.path.answer(b"www.example") == 0
    state = site.keeper.state
    assert state is not None
    assert state["hooks"][0] == {
        "kind": "on_request", "name": "answer", "place": f"{site.project}:5", "filter": {"hosts": ["example"]}
    }  # fmt: skip


def test_other_settings_take_over_and_no_project_ends_it(site: Site) -> None:
    site.configure()
    site.await_generation(1)
    site.configure(workers=4)
    wait_for(lambda: site.keeper.look_after() or (site.keeper.state and site.keeper.state["workers"] == 5))
    assert site.path.answer(b"www.example") == BLOCK
    site.configure(project=None)
    assert site.path.answer(b"www.example") == NO_ACTION
    site.project = site.project.with_name("absent.py")
    site.configure()
    assert site.path.answer(b"www.example") == NO_ACTION


def test_outcomes_and_subscribers_reach_the_hooks(site: Site) -> None:
    site.configure()
    site.await_generation(1)
    site.keeper.introduce({"id": "tablet", "profile": None, "addresses": ["10.0.0.9"], "is_new": True})
    heard: list[tuple[str, str]] = []
    wait_for(lambda: site.keeper.look_after() or heard.extend(site.keeper.profiles()) or heard)
    assert heard == [("tablet", "pupils")]
    site.keeper.tell({"host": "www.example", "action": "block", "reason": "blocked"})
    site.keeper.tell({"nonsense": True})

    def count() -> int:
        site.keeper.look_after()
        return site.keeper.state["counts"]["failed"].get("hear", 0) if site.keeper.state else 0

    wait_for(lambda: count() == 1)


def test_it_is_started_again_when_it_dies(site: Site) -> None:
    site.configure()
    site.await_generation(1)
    program = site.keeper._program
    assert program is not None
    children = Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text().split()
    assert len(children) == 4
    os.kill(program.pid, signal.SIGKILL)
    wait_for(lambda: site.keeper.look_after() or site.keeper.state is None)
    wait_for(lambda: not any(os.path.exists(f"/proc/{number}") for number in children))
    site.await_generation(1)
    wait_for(lambda: site.path.answer(b"www.example") == BLOCK)


def test_what_is_counted_is_told(site: Site) -> None:
    site.configure()
    site.await_generation(1)
    for _ in range(3):
        assert site.path.answer(b"www.example") == BLOCK
    wait_for(lambda: site.keeper.look_after() or (site.keeper.state or {"counts": {}})["counts"].get("asked") == 3)
    registry = CollectorRegistry()
    registry.register(HookCollector(lambda: site.keeper.state))
    text = generate_latest(registry).decode()
    for line in (
        "penstock_hook_requests_total 3.0",
        'penstock_hook_answers_total{end="answered"} 3.0',
        'penstock_hook_answers_total{end="late"} 0.0',
        'penstock_hook_workers_replaced_total{cause="late"} 0.0',
        'penstock_hook_seconds_bucket{le="+Inf"} 3.0',
        "penstock_hook_workers 3.0",
    ):
        assert f"\n{line}\n" in text

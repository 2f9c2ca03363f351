"""Driving a pool of real worker processes from a test: a project that runs what a request's path says, and a clock."""

import select
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from penstock.control.hooks.pool import HookPool
from penstock.control.hooks.settings import PolicySettings
from penstock.control.hooks.sources import Sources
from penstock.hooks import Request, Verdict

BOUND_S = 60.0
STEP_S = 0.005

RUN_PATH = '''
"""A hook that does what the request's path says."""
import os, socket, subprocess, sys, threading, time, ctypes
from penstock.hooks import Outcome, Request, Subscriber, Verdict, on_request, on_subscriber, on_verdict

kept = []

@on_request(hosts="misbehaves.example")
def misbehave(request):
    scope = {**globals(), "request": request}
    exec(request.path or "", scope)
    return scope.get("verdict")

@on_request(hosts="behaves.example")
def behave(request):
    return Verdict.block("good", request.host)

@on_verdict(hosts="told.example")
def hear(outcome):
    exec(outcome.request.path or "", {**globals(), "outcome": outcome})

@on_subscriber
def choose(subscriber):
    if subscriber.id.startswith("sleep"):
        time.sleep(60)
    return {"pupil": "pupils", "wrong": 3}.get(subscriber.id)
'''


def make_request(host: str, path: str | None = None, subscriber: str | None = "home", **more: Any) -> Request:
    """A request; what it does not say is as usual."""
    usual: dict[str, Any] = {
        "protocol": "http",
        "port": 80,
        "client": ip_address("10.0.0.1"),
        "time": datetime.now(UTC),
    }
    return Request(host=host, path=path, subscriber=subscriber, **(usual | more))


@dataclass
class Driver:
    """A pool, and what it said."""

    pool: HookPool
    said: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    answers: dict[int, Verdict | None] = field(default_factory=dict)
    deciders: dict[int, tuple[int, str]] = field(default_factory=dict)
    asked_s: dict[int, float] = field(default_factory=dict)
    took_s: dict[int, float] = field(default_factory=dict)
    number: int = 0

    def turn(self, wait_s: float = STEP_S) -> None:
        """Wait for something to happen, for so long at most, and take answers."""
        next_s = self.pool.next_s()
        if next_s is not None:
            wait_s = min(wait_s, max(next_s - time.monotonic(), 0.0))
        select.select(self.pool.fds(), [], [], wait_s)
        now_s = time.monotonic()
        for identity, verdict in self.pool.answers(now_s):
            assert identity not in self.answers, "answered twice"
            self.answers[identity] = verdict
            self.took_s[identity] = now_s - self.asked_s[identity]
        self.deciders |= self.pool.deciders

    def wait(self, is_over: Callable[[], bool], bound_s: float = BOUND_S) -> None:
        """Go on until it is over."""
        end_s = time.monotonic() + bound_s
        while not is_over():
            assert time.monotonic() < end_s, f"still not over; said: {self.said[-5:]}"
            self.turn()

    def ask(self, request: Request) -> int:
        """Ask; the identity of the answer."""
        self.number += 1
        self.asked_s[self.number] = now_s = time.monotonic()
        self.pool.ask(request, self.number, now_s)
        return self.number

    def answer(self, request: Request) -> Verdict | None:
        """Ask, and wait for the answer."""
        identity = self.ask(request)
        self.wait(lambda: identity in self.answers)
        return self.answers[identity]

    def misbehave(self, code: str, subscriber: str | None = "home") -> Verdict | None:
        """Have a hook run this code, with a worker ready for it."""
        self.wait(lambda: self.pool.is_ready)
        return self.answer(make_request("misbehaves.example", code, subscriber))

    def events(self, event: str) -> list[dict[str, Any]]:
        """What was said under this name."""
        return [fields for name, fields in self.said if name == event]


@contextmanager
def drive(project: Path, **settings: Any) -> Iterator[Driver]:
    """A pool over a project, without waiting for it to be ready."""
    said: list[tuple[str, dict[str, Any]]] = []
    usual = {"project": project, "budget_ms": 1000, "workers": 2}
    pool = HookPool(
        PolicySettings().model_copy(update=usual | settings),  # a test may give more time than the line has
        Sources.read(project),
        lambda event, **fields: said.append((event, fields)),
    )
    try:
        yield Driver(pool, said)
    finally:
        pool.close()


@contextmanager
def drive_code(directory: Path, code: str = RUN_PATH, **settings: Any) -> Iterator[Driver]:
    """A pool that is ready, over a project of one file."""
    project = directory / "example_policy.py"
    project.write_text(code)
    with drive(project, **settings) as driver:
        driver.wait(lambda: driver.pool.is_ready)
        yield driver

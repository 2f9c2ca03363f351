"""The worker processes of one version of a project: as many as are wanted, replaced when they end, loaded or not yet.

One that ends is replaced at once, one of many that end at once later and later. Knows how a worker begins and ends. Refuses
to know jobs.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass

from penstock.control.hooks.messages import Declaration, MessageError, decode_declarations
from penstock.control.hooks.settings import PolicySettings
from penstock.control.hooks.sources import Sources
from penstock.control.hooks.worker_process import WorkerProcess, open_sources

START_S = 30.0  # for importing everything on a slow machine
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 10.0  # between starts of workers that end without having answered anything

Report = Callable[..., None]
"""Say what happened: an event, and its fields."""


class Version:
    """A project as it was at one moment, and what it declares, once a worker has loaded it."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self.descriptor = open_sources(sources)
        self.declarations: tuple[Declaration, ...] = ()

    def close(self) -> None:
        """Workers that were started keep their own descriptor."""
        os.close(self.descriptor)


@dataclass(frozen=True)
class LoadFailure:
    """Why a worker could not load the project."""

    error: str
    place: str | None = None
    text: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.error}" if self.place else self.error


class Crew:
    """`size` workers of one version."""

    def __init__(self, version: Version, settings: PolicySettings, size: int, report: Report) -> None:
        self.version, self.settings, self.size, self.report = version, settings, size, report
        self.workers: list[WorkerProcess] = []
        self.leaving: list[WorkerProcess] = []
        self.failure: LoadFailure | None = None
        """Of the last worker that could not load the project."""
        self.is_dismissed = False
        self._pause_s = FIRST_PAUSE_S
        self._next_s = 0.0

    @property
    def loaded(self) -> list[WorkerProcess]:
        """Those that can be given jobs."""
        return [worker for worker in self.workers if worker.is_loaded]

    @property
    def is_complete(self) -> bool:
        return len(self.loaded) >= self.size

    def tend(self, now_s: float) -> None:
        """Hear who has loaded, let go of who has ended, start who is missing."""
        for worker in [worker for worker in self.workers if not worker.is_loaded]:
            self._hear_start(worker, now_s)
        for worker in [worker for worker in self.leaving if worker.has_ended()]:
            self.leaving.remove(worker)
        while not self.is_dismissed and len(self.workers) < self.size and now_s >= self._next_s:
            try:
                self.workers.append(WorkerProcess.start(self.version.descriptor, self.settings, now_s))
            except OSError as error:
                self.failure = LoadFailure(f"a worker process cannot be started: {error}")
                self.report("a worker process of the policy cannot be started", error=str(error))
                self._wait(now_s)

    def _hear_start(self, worker: WorkerProcess, now_s: float) -> None:
        try:
            message = worker.hear()
            if message is None:
                if now_s - worker.started_s > START_S:
                    self._give_up(worker, LoadFailure(f"not loaded after {START_S:.0f} s"), now_s)
                return
            if "error" in message:
                place = message.get("place")
                failure = LoadFailure(
                    str(message["error"]), None if place is None else str(place), str(message.get("text", ""))
                )
                return self._give_up(worker, failure, now_s)
            declarations = decode_declarations(message)
        except EOFError:
            return self._give_up(worker, LoadFailure(f"it ended while it loaded{_quote(worker)}"), now_s)
        except MessageError as error:
            return self._give_up(worker, LoadFailure(f"it said nonsense: {error}"), now_s)
        if self.version.declarations not in ((), declarations):
            return self._give_up(worker, LoadFailure("it declares other hooks each time it is loaded"), now_s)
        if message.get("printed") and not self.version.declarations:
            self.report("printed by the policy", text=str(message["printed"]))
        self.version.declarations, worker.is_loaded = declarations, True

    def _give_up(self, worker: WorkerProcess, failure: LoadFailure, now_s: float) -> None:
        self.failure = failure
        self.report("the policy cannot be loaded", error=str(failure), traceback=failure.text)
        self._wait(now_s)
        self.let_go(worker)

    def _wait(self, now_s: float) -> None:
        self._next_s = now_s + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    def praise(self) -> None:
        """A worker has answered: the next one that ends is replaced at once."""
        self._pause_s = FIRST_PAUSE_S

    def replace(self, worker: WorkerProcess, now_s: float) -> None:
        """Another one shall take its place."""
        if self._pause_s > FIRST_PAUSE_S or now_s < self._next_s:
            self._wait(now_s)
        else:
            self._pause_s *= 2
        self.let_go(worker)

    def let_go(self, worker: WorkerProcess) -> None:
        """End it."""
        self.workers.remove(worker)
        worker.kill()
        worker.close()
        if not worker.has_ended():
            self.leaving.append(worker)

    def dismiss(self) -> None:
        """Start nobody any more, and end who does nothing; who has a job goes when it is done."""
        self.is_dismissed = True
        for worker in [worker for worker in self.workers if worker.job is None]:
            self.let_go(worker)

    def close(self) -> None:
        """End all of them, and wait for their end."""
        self.is_dismissed = True
        for worker in list(self.workers):
            self.let_go(worker)
        for worker in self.leaving:
            worker.program.wait()
        self.leaving.clear()


def _quote(worker: WorkerProcess) -> str:
    words = worker.read_last_words().strip()
    return f": {words}" if words else ""

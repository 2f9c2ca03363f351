"""Jobs on their way through a crew: given to who is free, answered in time or not.

    ask ─► queue ─► a free worker ─► reply ─► end(job, ...)
             └─ budget over ─► end(job, late); a worker that has had it for a whole budget is killed and replaced

A job waits one budget at most, from when it was asked, wherever it is then. Each ends once. Knows jobs and time, which is
given. Refuses to know what an answer is for.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from penstock.control.hooks.crew import Crew
from penstock.control.hooks.messages import Declaration, MessageError, Reply, Value, decode_reply, encode, encode_value
from penstock.control.hooks.turns import Turns
from penstock.control.hooks.worker_process import WorkerProcess
from penstock.hooks.request import Request

ANSWERED, SILENT, LATE, DIED, UNASKED = "answered", "silent", "late", "died", "unasked"
HANGING = 0.2  # of a budget: who has a job for longer is not counted on
ENDS = (ANSWERED, SILENT, LATE, DIED, UNASKED)
"""How a job ends: with an opinion; without one; not in time; with its process; without any hook that could be asked."""


@dataclass(eq=False)
class Job:
    """Something that hooks are asked or told."""

    number: int
    kind: str
    value: Value
    asked_s: float
    token: Any
    """The asker's."""
    declared: tuple[Declaration, ...] = ()
    """The hooks of the version for which it was planned."""
    hooks: list[int] = field(default_factory=list)
    """Those to ask, by their numbers there."""
    is_over: bool = False

    @property
    def asker(self) -> Hashable:
        """Who asks; without a subscriber his address."""
        return self.value.subscriber or self.value.client if isinstance(self.value, Request) else None

    def find_hook(self, number: int) -> Declaration | None:
        """The hook that a worker means."""
        return self.declared[number] if 0 <= number < len(self.declared) else None


End = Callable[[Job, str, Reply | None, float], None]
"""Told once for each job: how it ended, the reply, when."""
Fault = Callable[[Job | None, int, str, str], None]
"""Told of each worker that was replaced: its job if it had one, the hook that ran, the cause, its last words."""


class Lane:
    """One crew at a time, at most `limit` of it at work."""

    def __init__(self, limit: int, budget_s: float, room: int, end: End, fault: Fault) -> None:
        self.limit, self.budget_s, self.room = limit, budget_s, room
        self._end, self._fault = end, fault
        self.crew: Crew | None = None
        self.former: list[Crew] = []
        self._turns: Turns[Job] = Turns(max(1, limit // 2))
        self._waiting: dict[int, Job] = {}  # in the order in which they were asked

    @property
    def waiting(self) -> int:
        """Jobs that have not ended."""
        return len(self._waiting)

    @property
    def crews(self) -> list[Crew]:
        return [*self.former, *([self.crew] if self.crew else [])]

    def ask(self, job: Job, now_s: float) -> None:
        """Take a job. When there is no room for it, it ends at once."""
        self._waiting[job.number] = job
        if not job.hooks and job.declared:
            return self._finish(job, UNASKED, None, now_s)
        if len(self._waiting) > self.room:
            return self._finish(job, LATE, None, now_s)
        self._turns.put(job)
        self._dispatch(now_s)

    def turn(self, now_s: float) -> None:
        """Take replies, end what is late, give out what waits. Call it when a socket can be read, and at `next_s`."""
        for crew in self.crews:
            for worker in list(crew.workers):
                if worker.is_loaded:
                    self._hear(crew, worker, now_s)
        self._expire(now_s)
        self._dispatch(now_s)
        for crew in [crew for crew in self.former if not crew.workers]:
            crew.tend(now_s)
            if not crew.leaving:
                self.former.remove(crew)

    def next_s(self) -> float | None:
        """When a budget ends next."""
        ends = [job.asked_s for job in self._waiting.values()][:1]
        ends += [worker.job_s for crew in self.crews for worker in crew.workers if worker.job is not None]
        return min(ends) + self.budget_s if ends else None

    def take_crew(self, crew: Crew | None, plan: Callable[[Job], None]) -> None:
        """Have another crew do what comes from here on, and what waits; who works finishes."""
        if self.crew is not None and self.crew is not crew:
            self.dismiss(self.crew)
        self.crew = crew
        for job in self._turns:
            plan(job)

    def dismiss(self, crew: Crew) -> None:
        """Let a crew go in its own time."""
        crew.dismiss()
        self.former.append(crew)

    def close(self) -> None:
        for crew in self.crews:
            crew.close()

    def _finish(self, job: Job, how: str, reply: Reply | None, now_s: float) -> None:
        if not job.is_over:
            job.is_over = True
            del self._waiting[job.number]
            self._end(job, how, reply, now_s)

    def _hear(self, crew: Crew, worker: WorkerProcess, now_s: float) -> None:
        try:
            message = worker.hear()
            if message is None:
                return
            job = worker.job
            if job is None or message.get("n") != job.number:
                raise MessageError("an answer that nobody waits for")
            reply = decode_reply(message, job.kind, job.hooks)
        except EOFError:
            return self._lose(crew, worker, "ended", now_s)
        except MessageError:
            return self._lose(crew, worker, "nonsense", now_s)
        worker.job = None
        self._turns.release(job)
        crew.praise()
        self._finish(job, ANSWERED if reply.answer is not None else SILENT, reply, now_s)
        if reply.is_last:
            self._fault(job, reply.failures[-1].hook if reply.failures else -1, "memory", "")
            crew.replace(worker, now_s)
        elif crew.is_dismissed:
            crew.let_go(worker)

    def _lose(self, crew: Crew, worker: WorkerProcess, cause: str, now_s: float) -> None:
        """A worker is of no use any more."""
        job = worker.job
        if job is not None:
            self._turns.release(job)
            self._fault(job, worker.hook, cause, worker.read_last_words())
            self._finish(job, LATE if cause == "late" else DIED, None, now_s)
        else:
            self._fault(None, -1, cause, worker.read_last_words())
        crew.replace(worker, now_s)

    def _expire(self, now_s: float) -> None:
        for crew in self.crews:
            for worker in list(crew.workers):
                if worker.job is not None and now_s - worker.job_s >= self.budget_s:
                    self._lose(crew, worker, "late", now_s)
        while self._waiting:
            job = next(iter(self._waiting.values()))
            if now_s - job.asked_s < self.budget_s:
                break
            self._finish(job, LATE, None, now_s)

    def _dispatch(self, now_s: float) -> None:
        while (worker := self._find_free(now_s)) is not None and (job := self._turns.take()) is not None:
            self._give(worker, job, now_s)

    def _find_free(self, now_s: float) -> WorkerProcess | None:
        """Who can take a job. A worker that seems to hang does not count: a spare one works in its place."""
        loaded = self.crew.loaded if self.crew is not None else []
        busy = sum(worker.job is not None and now_s - worker.job_s < self.budget_s * HANGING for worker in loaded)
        return next((worker for worker in loaded if worker.job is None), None) if busy < self.limit else None

    def _give(self, worker: WorkerProcess, job: Job, now_s: float) -> None:
        assert self.crew is not None
        try:
            content = encode({"n": job.number, "kind": job.kind, "hooks": job.hooks, "value": encode_value(job.value)})
        except MessageError:
            content = b""
        if not job.hooks or not content:
            self._turns.release(job)
            self._finish(job, UNASKED, None, now_s)
        elif worker.give(content):
            worker.job, worker.job_s = job, now_s
        else:
            self._turns.release(job)
            self._turns.put(job)
            self._lose(self.crew, worker, "ended", now_s)

"""The pool: requests in, verdicts out, in time or not at all; and an operator's code never in this process.

    ask ──► which hooks want it? ──► lane of requests ──► answers        one answer for each ask
    tell, introduce ───────────────► lane behind it   ──► profiles       nobody waits for these
    sources ─► a new crew loads them ─► complete ─► it takes over, the old one finishes

Nothing here waits, raises because of a hook, or reads a clock: whoever drives it waits on `fds` until `next_s`, and calls
`answers`. One thread.
"""

from collections.abc import Callable
from typing import Any

import structlog

from penstock.control.hooks.conduct import Conduct
from penstock.control.hooks.counts import Counts
from penstock.control.hooks.crew import Crew, LoadFailure, Version
from penstock.control.hooks.lane import ANSWERED, LATE, UNASKED, Job, Lane
from penstock.control.hooks.messages import Declaration, Failure, Reply
from penstock.control.hooks.reports import Reports
from penstock.control.hooks.settings import PolicySettings
from penstock.control.hooks.sources import Sources
from penstock.hooks.project import REQUEST, SUBSCRIBER, VERDICT
from penstock.hooks.request import Outcome, Request, Subscriber
from penstock.hooks.verdict import Verdict

SPARES = 1  # workers that have loaded the project and wait for another's end
BEHIND_BUDGET_S = 1.0
ROOM, BEHIND_ROOM = 4096, 1024  # jobs that wait

log = structlog.get_logger()


class HookPool:
    """The worker processes of one project."""

    def __init__(self, settings: PolicySettings, sources: Sources, sink: Callable[..., Any] | None = None) -> None:
        """Begin to load it; what is asked before the first worker is there waits for its budget."""
        self.settings, self.counts, self.conduct, self.reports = (
            settings,
            Counts(),
            Conduct(),
            Reports(sink or log.warning),
        )
        self.version, self.generation = Version(sources), 0
        self._coming: Crew | None = None
        self._answers: list[tuple[int, Verdict | None]] = []
        self._deciders: dict[int, tuple[int, str]] = {}
        self.deciders: dict[int, tuple[int, str]] = {}
        """Which hook gave a verdict of the last `answers`, by identity: its number in `declarations`, and its name."""
        self._profiles: list[tuple[str, str]] = []
        self._number = 0
        self._lane = Lane(settings.workers, settings.budget_ms / 1000, ROOM, self._end_request, self._blame)
        self._behind = Lane(1, BEHIND_BUDGET_S, BEHIND_ROOM, self._end_behind, self._blame)
        self._lane.crew = self._make_crew(self.version, settings.workers + SPARES)
        self._now_s = 0.0

    # ---- what the asker calls -----------------------------------------------------------------------------------------
    def ask(self, request: Request, identity: int, now_s: float) -> None:
        """Ask about a request. Its answer comes by `answers`, under this identity, within the budget."""
        self.counts.asked += 1
        self._now_s = now_s
        self._lane.ask(self._make_job(REQUEST, request, identity, now_s), now_s)

    def answers(self, now_s: float) -> list[tuple[int, Verdict | None]]:
        """What was decided since the last call: the verdict, or None where lists and profiles decide."""
        self._turn(now_s)
        answers, self._answers = self._answers, []
        self.deciders, self._deciders = self._deciders, {}
        return answers

    def tell(self, outcome: Outcome, now_s: float) -> None:
        """Tell hooks what became of a request, if there is room for that."""
        self._tell(VERDICT, outcome, None, now_s)

    def introduce(self, subscriber: Subscriber, now_s: float) -> None:
        """Tell hooks of a subscriber who appears or changes. What they choose comes by `profiles`."""
        self._tell(SUBSCRIBER, subscriber, subscriber.id, now_s)

    def profiles(self) -> list[tuple[str, str]]:
        """Subscribers for whom a hook chose a profile since the last call, and which."""
        profiles, self._profiles = self._profiles, []
        return profiles

    def fds(self) -> list[int]:
        """What can be read when there is something to do; others after each call of `answers`."""
        return [worker.connection.fileno() for crew in self._crews() for worker in crew.workers]

    def next_s(self) -> float | None:
        """When `answers` is to be called at the latest."""
        return min((at for lane in (self._lane, self._behind) if (at := lane.next_s()) is not None), default=None)

    def take_sources(self, sources: Sources) -> None:
        """Load another version. It takes over when all its workers have loaded it; if one cannot, nothing changes."""
        if self._coming is not None:
            self._drop_coming()
        self._coming = self._make_crew(Version(sources), self.settings.workers + SPARES)

    # ---- what is there ------------------------------------------------------------------------------------------------
    @property
    def declarations(self) -> tuple[Declaration, ...]:
        """The hooks of the version in force; none before it was loaded."""
        return self.version.declarations

    @property
    def is_ready(self) -> bool:
        """Can it answer as fast as it ever will?"""
        crews = [crew for crew in (self._lane.crew, self._behind.crew) if crew is not None]
        return self.generation > 0 and self._coming is None and all(crew.is_complete for crew in crews)

    @property
    def is_busy(self) -> bool:
        """Is there anything that it was asked or told, and has not come to an end with?"""
        return self._lane.waiting > 0 or self._behind.waiting > 0

    @property
    def failure(self) -> LoadFailure | None:
        """Why the first version could not be loaded; None: it was, or is being loaded."""
        return self._lane.crew.failure if self._lane.crew and self.generation == 0 else None

    def read_state(self) -> dict[str, Any]:
        """Everything that is counted and declared, as plain values."""
        hooks = [
            {"kind": hook.kind, "name": hook.name, "place": hook.place, "filter": hook.filter.to_data()}
            for hook in self.declarations
        ]
        crew = self._lane.crew
        return {
            "generation": self.generation,
            "hooks": hooks,
            "counts": self.counts.to_data(),
            "waiting": self._lane.waiting,
            "workers": len(crew.loaded) if crew else 0,
            "paused": self.conduct.count_paused(self._now_s),
        }

    def close(self) -> None:
        """End all processes."""
        self._drop_coming()
        self._lane.close()
        self._behind.close()
        self.version.close()

    # ---- inside -------------------------------------------------------------------------------------------------------
    def _make_crew(self, version: Version, size: int) -> Crew:
        return Crew(version, self.settings, size, self.reports.say)

    def _crews(self) -> list[Crew]:
        return [*self._lane.crews, *self._behind.crews, *([self._coming] if self._coming else [])]

    def _make_job(self, kind: str, value: Request | Outcome | Subscriber, token: Any, now_s: float) -> Job:
        self._number += 1
        job = Job(self._number, kind, value, now_s, token)
        self._plan(job)
        return job

    def _plan(self, job: Job) -> None:
        """Choose the hooks to ask, in their order; again when another version takes over what waits."""
        value = job.value
        whose = value.subscriber if isinstance(value, Request) else None
        job.declared = self.declarations
        job.hooks = [
            number
            for number, hook in enumerate(self.declarations)
            if hook.wants(value) and not self.conduct.is_paused(hook.name, whose, self._now_s)
        ]

    def _tell(self, kind: str, value: Outcome | Subscriber, token: Any, now_s: float) -> None:
        self._now_s = now_s
        job = self._make_job(kind, value, token, now_s)
        if job.hooks:
            self._behind.ask(job, now_s)

    def _turn(self, now_s: float) -> None:
        self._now_s = now_s
        for crew in self._crews():
            crew.tend(now_s)
        self._look_at_versions()
        self._lane.turn(now_s)
        self._behind.turn(now_s)

    def _look_at_versions(self) -> None:
        if self._coming is not None:
            if self._coming.failure is not None:
                self.reports.say(
                    "the policy was not reloaded: what was in force stays", error=str(self._coming.failure)
                )
                self._drop_coming()
            elif self._coming.is_complete:
                self._switch(self._coming)
        elif self.generation == 0 and self.declarations:
            self._begin()

    def _begin(self) -> None:
        self.generation += 1
        self._lane.take_crew(self._lane.crew, self._plan)
        self._want_behind()

    def _switch(self, coming: Crew) -> None:
        self._coming = None
        self.version.close()
        self.version = coming.version
        self.generation += 1
        self.conduct.clear()
        self.counts.replaced["reload"] += coming.size
        self._lane.take_crew(coming, self._plan)
        self._want_behind()
        self.reports.say("the policy was reloaded", hooks=len(self.declarations))

    def _want_behind(self) -> None:
        """A worker for what nobody waits for, if there are hooks of that kind."""
        wanted = any(hook.kind != REQUEST for hook in self.declarations)
        self._behind.take_crew(self._make_crew(self.version, 1) if wanted else None, self._plan)

    def _drop_coming(self) -> None:
        if self._coming is not None:
            self._lane.dismiss(self._coming)
            self._coming.version.close()
            self._coming = None

    def _end_request(self, job: Job, how: str, reply: Reply | None, now_s: float) -> None:
        self.counts.ends[how] += 1
        if how not in (LATE, UNASKED):
            self.counts.take_time(now_s - job.asked_s)
        verdict = reply.answer if reply is not None and isinstance(reply.answer, Verdict) else None
        self._answers.append((job.token, verdict))
        self._take_reply(job, reply, now_s)
        number = reply.hook if reply is not None and how == ANSWERED else None
        hook = job.find_hook(number) if number is not None else None
        if number is not None and hook is not None:
            self._deciders[job.token] = number, hook.name

    def _end_behind(self, job: Job, how: str, reply: Reply | None, now_s: float) -> None:
        if reply is None:
            self.counts.untold += 1
            return
        self.counts.told += 1
        self._take_reply(job, reply, now_s)
        if isinstance(reply.answer, str):
            self._profiles.append((job.token, reply.answer))

    def _take_reply(self, job: Job, reply: Reply | None, now_s: float) -> None:
        for failure in reply.failures if reply else ():
            self._take_failure(job.find_hook(failure.hook), failure, now_s)
        if reply and reply.printed.strip():
            self.reports.say_once("printed", now_s, "printed by the policy", text=reply.printed)

    def _take_failure(self, hook: Declaration | None, failure: Failure, now_s: float) -> None:
        if hook is None:
            return
        self.counts.failed[hook.name] += 1
        kind = (hook.place, failure.error.partition(":")[0], failure.text[-200:])
        self.reports.say_once(
            kind, now_s, "a hook failed", hook=hook.name, place=hook.place, error=failure.error, traceback=failure.text
        )

    def _blame(self, job: Job | None, number: int, cause: str, last_words: str) -> None:
        self.counts.replaced[cause] += 1
        hook = job.find_hook(number) if job else None
        name = hook.name if hook else None
        self.reports.say_once(
            (cause, name), self._now_s, "a worker process of the policy is replaced",
            cause=cause, hook=name, place=hook.place if hook else None, last_words=last_words,
        )  # fmt: skip
        if job is None or hook is None or not isinstance(job.value, Request):
            return
        whom = self.conduct.strike(hook.name, job.value.subscriber, self._now_s)
        if whom:
            self.reports.say_once(
                ("paused", hook.name, whom), self._now_s, "a hook is left out for 30 s", hook=hook.name, subscriber=whom
            )

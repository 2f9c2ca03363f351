"""Trying a project at a desk: what it declares, and what it says of recorded requests. `penstock policy show` and `test`.

Each line of a recording is a line of the event log, or like one: `host` at least, with `path`, `profile` and `categories`
where hooks want them, and `expect` with what shall come of it: `allow`, `block`, `redirect`, `report`, or `none` for no
opinion; or several of `action`, `category`, `text`, `url` and `hook`. A line with `introduce` in the place of a host is a
subscriber, of whom a profile is expected.

Hooks run in the same processes, with the same limits, as in `run`.
"""

import json
import select
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.control.hooks.asks import RecordError, read_line
from penstock.control.hooks.messages import Declaration
from penstock.control.hooks.pool import HookPool
from penstock.control.hooks.settings import PolicySettings
from penstock.control.hooks.sources import ProjectError, Sources
from penstock.hooks.request import Outcome, Request, Subscriber
from penstock.hooks.verdict import ACTIONS, Verdict

LOAD_S = 60.0
WAIT_S = 0.05
BEHIND_S = 3.0
PARTS = ("action", "category", "text", "url", "hook")

Say = Callable[[str], Any]


@dataclass(frozen=True)
class Entry:
    """A line of a recording."""

    place: str
    value: Request | Subscriber
    expected: Any


@dataclass(frozen=True)
class Answer:
    """What hooks said of it."""

    entry: Entry
    verdict: Verdict | str | None
    hook: str | None
    place: str | None

    def find_difference(self) -> str | None:
        """What was expected in its place; None: this, or nothing."""
        expected = self.entry.expected
        if expected is None:
            return None
        if isinstance(self.entry.value, Subscriber):
            return None if expected == (self.verdict or "none") else str(expected)
        if isinstance(expected, dict):
            found = {name: getattr(self.verdict, name, None) for name in PARTS[:-1]} | {"hook": self.hook}
            found["action"] = found["action"] or "none"
            wrong = {name: value for name, value in expected.items() if found[name] != value}
            return ", ".join(f"{name} {value}" for name, value in wrong.items()) or None
        default = {"forward": "allow"}.get(self.entry.value.default, self.entry.value.default)
        is_met = expected in ((self.verdict.action,) if isinstance(self.verdict, Verdict) else ("none", default))
        return None if is_met else str(expected)

    def __str__(self) -> str:
        value, verdict = self.entry.value, self.verdict
        if isinstance(value, Subscriber):
            what, said = f"subscriber {value.id}", str(verdict or "none")
        else:
            what = f"{value.protocol} {value.host or value.client}{value.path or ''}"
            said = verdict.action if isinstance(verdict, Verdict) else f"none, so {value.default}"
            more = [getattr(verdict, name, None) for name in ("category", "text", "url")]
            said += "".join(f" {part}" for part in more if part)
        return f"{self.entry.place}: {what}: {said}" + (f" by {self.hook} ({self.place})" if self.hook else "")


@contextmanager
def load_pool(settings: PolicySettings, sources: Sources, sink: Callable[..., Any]) -> Iterator[HookPool]:
    """A pool that has loaded the project. Raises ProjectError when it cannot be: where, and with the traceback."""
    pool = HookPool(settings, sources, sink)
    try:
        end_s = time.monotonic() + LOAD_S
        while not pool.is_ready:
            pool.answers(time.monotonic())
            if pool.failure is not None:
                raise ProjectError(f"{pool.failure}\n{pool.failure.text}".rstrip())
            if time.monotonic() > end_s:
                raise ProjectError(f"{sources.path}: not loaded after {LOAD_S:.0f} s")
            select.select(pool.fds(), [], [], WAIT_S)
        yield pool
    finally:
        pool.close()


def read_declarations(settings: PolicySettings) -> tuple[Declaration, ...]:
    """What the project of these settings declares, none where there is no project. Raises ProjectError."""
    if settings.project is None:
        return ()
    with load_pool(settings.model_copy(update={"workers": 1}), Sources.read(settings.project), _ignore) as pool:
        return pool.declarations


def _ignore(event: str, **fields: Any) -> None:
    """What is said while a project is only looked at: its failure is told by an exception."""


def read_recording(path: Path) -> list[Entry]:
    """The lines of a recording. Raises ProjectError for one that is none."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ProjectError(f"{path}: expected a recording, JSON lines: {error}") from None
    return [_read_entry(f"{path}:{number}", line) for number, line in enumerate(lines, 1) if line.strip()]


def _read_entry(place: str, line: str) -> Entry:
    try:
        fields = json.loads(line)
        if not isinstance(fields, dict):
            raise RecordError("expected an object of JSON")
        expected = fields.get("expect")
        if "introduce" in fields:
            plain = fields["introduce"]
            return Entry(place, Subscriber(**(plain | {"addresses": tuple(plain.get("addresses", ()))})), expected)
        if isinstance(expected, dict) and not set(expected) <= set(PARTS):
            raise RecordError(f"expect: expected keys of {', '.join(PARTS)}")
        if isinstance(expected, str) and expected not in (*ACTIONS, "none"):
            raise RecordError(f"expect: expected one of {', '.join(ACTIONS)}, none, not {expected!r}")
        return Entry(place, read_line(fields), expected)
    except (TypeError, ValueError) as error:
        raise ProjectError(f"{place}: {error}") from None


def ask_pool(pool: HookPool, entry: Entry, number: int) -> Answer:
    """Ask the pool about one line, and tell it what came of it."""
    now_s = time.monotonic()
    verdict: Verdict | str | None = None
    if isinstance(entry.value, Subscriber):
        pool.introduce(entry.value, now_s)
        wait_for(pool, lambda: not pool.is_busy)
        verdict = dict(pool.profiles()).get(entry.value.id)
        return Answer(entry, verdict, None, None)
    pool.ask(entry.value, number, now_s)
    answers = wait_for(pool, lambda: False)
    verdict, hook = answers[number], pool.deciders.get(number, (0, None))[1]
    place = next((one.place for one in pool.declarations if one.name == hook), None)
    action = verdict.action if isinstance(verdict, Verdict) else entry.value.default
    reason = {"block": "blocked", "redirect": "blocked", "report": "reported"}.get(action, "allowed")
    category = verdict.category if isinstance(verdict, Verdict) else None
    pool.tell(Outcome(entry.value, action, reason, category, hook=hook), time.monotonic())
    return Answer(entry, verdict, hook, place)


def wait_for(pool: HookPool, is_over: Callable[[], bool]) -> dict[int, Verdict | None]:
    """Drive a pool until there are answers, or it is over."""
    while True:
        answers = dict(pool.answers(time.monotonic()))
        if answers or is_over():
            return answers
        next_s = pool.next_s()
        wait_s = WAIT_S if next_s is None else min(max(next_s - time.monotonic(), 0.0), WAIT_S)
        select.select(pool.fds(), [], [], wait_s)


def run_recording(
    settings: PolicySettings, sources: Sources, recording: list[Entry], say: Say, warn: Callable[..., Any]
) -> int:
    """Say what hooks make of each line, and where something else was expected. Returns 0; 1 when something was, or when a
    hook failed or was late. Raises ProjectError."""
    differences = 0
    with load_pool(settings, sources, warn) as pool:
        for number, entry in enumerate(recording):
            answer = ask_pool(pool, entry, number)
            difference = answer.find_difference()
            differences += difference is not None
            say(f"{answer}" + (f"   EXPECTED {difference}" if difference else ""))
            wait_for(pool, lambda: pool.is_ready)  # one that was ended by the last line is not to be missed by the next
        end_s = time.monotonic() + BEHIND_S
        wait_for(pool, lambda: not pool.is_busy or time.monotonic() > end_s)
        counts = pool.counts
        failures = sum(counts.failed.values()) + sum(counts.replaced.values()) + counts.ends["late"]
        lost = counts.replaced.total()
        say(
            f"{len(recording)} lines, {differences} differences, {counts.failed.total()} failures, "
            f"{counts.ends['late']} late, {lost} worker processes lost"
        )
    return 1 if differences or failures else 0

"""An operator's project: the hooks that its modules declare, in the order of their declaration.

Knows functions and their filters. Refuses to know who calls them (`control.hooks.worker`).
"""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from penstock.hooks.filters import Filter, FilterError
from penstock.hooks.request import Outcome, Request, Subscriber
from penstock.hooks.verdict import Verdict

REQUEST, SUBSCRIBER, VERDICT = "on_request", "on_subscriber", "on_verdict"
KINDS = (REQUEST, SUBSCRIBER, VERDICT)
HOOK_LIMIT = 256

Words = Iterable[str] | str | None
Ports = Iterable[int | str] | int | str | None
RequestHook = TypeVar("RequestHook", bound=Callable[[Request], Verdict | None])
SubscriberHook = TypeVar("SubscriberHook", bound=Callable[[Subscriber], str | None])
VerdictHook = TypeVar("VerdictHook", bound=Callable[[Outcome], None])


@dataclass(frozen=True)
class Hook:
    """One declared function."""

    kind: str
    name: str
    file: str
    line: int
    filter: Filter
    function: Callable[[Any], Any] = field(repr=False)

    @property
    def place(self) -> str:
        """Where it stands."""
        return f"{self.file}:{self.line}"


class Project:
    """The hooks of a project."""

    def __init__(self) -> None:
        self.hooks: list[Hook] = []

    def filters(self) -> list[Filter]:
        """The filters of all hooks on requests: what none of them matches never needs to leave compiled code."""
        return [hook.filter for hook in self.hooks if hook.kind == REQUEST]

    def add(self, kind: str, function: Callable[[Any], Any], declared: Filter) -> None:
        """Take a hook. Raises FilterError for what cannot be called with one value."""
        code = getattr(function, "__code__", None)
        name = getattr(function, "__qualname__", repr(function))
        if code is None or inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
            raise FilterError(f"@{kind}: expected a plain function, not {name}")
        try:
            inspect.signature(function).bind(None)
        except TypeError:
            raise FilterError(f"@{kind}: expected a function of one value: {name}") from None
        if len(self.hooks) >= HOOK_LIMIT:
            raise FilterError(f"expected at most {HOOK_LIMIT} hooks")
        self.hooks.append(Hook(kind, name, code.co_filename, code.co_firstlineno, declared, function))


project = Project()
"""The project of this process: what the decorators fill."""


def on_request(
    *,
    categories: Words = None,
    ports: Ports = None,
    profiles: Words = None,
    protocols: Words = None,
    hosts: Words = None,
) -> Callable[[RequestHook], RequestHook]:
    """Ask the function about each request that matches. The first hook that returns a Verdict decides."""
    return _declare(REQUEST, Filter.declare(categories, ports, profiles, protocols, hosts))


def on_verdict(
    *,
    categories: Words = None,
    ports: Ports = None,
    profiles: Words = None,
    protocols: Words = None,
    hosts: Words = None,
) -> Callable[[VerdictHook], VerdictHook]:
    """Tell the function what became of each request that matches. Nobody waits for it; under load some are left out."""
    return _declare(VERDICT, Filter.declare(categories, ports, profiles, protocols, hosts))


def on_subscriber(function: SubscriberHook) -> SubscriberHook:
    """Tell the function of each subscriber who appears or changes. It may return the name of the profile that he gets."""
    project.add(SUBSCRIBER, function, Filter())
    return function


def _declare(kind: str, declared: Filter) -> Callable[[Any], Any]:
    def take(function: Any) -> Any:
        project.add(kind, function, declared)
        return function

    return take

"""What decorators take, and what they refuse."""

from collections.abc import Iterator
from typing import Any

import pytest

from penstock.hooks import (
    Filter,
    FilterError,
    Outcome,
    Request,
    Subscriber,
    Verdict,
    on_request,
    on_subscriber,
    on_verdict,
)
from penstock.hooks.project import HOOK_LIMIT, Project, project


@pytest.fixture(autouse=True)
def _empty_project() -> Iterator[None]:
    kept, project.hooks = project.hooks, []
    yield
    project.hooks = kept


def test_hooks_are_kept_in_their_order_with_their_places() -> None:
    @on_request(categories="new", ports="8000-8001")
    def first(request: Request) -> Verdict | None:
        return None

    @on_subscriber
    def second(subscriber: Subscriber) -> str | None:
        return None

    @on_verdict()
    def third(outcome: Outcome) -> None:
        pass

    assert [(hook.kind, hook.function, hook.file) for hook in project.hooks] == [
        ("on_request", first, __file__),
        ("on_subscriber", second, __file__),
        ("on_verdict", third, __file__),
    ]
    assert [hook.line for hook in project.hooks] == sorted(hook.line for hook in project.hooks)
    assert project.filters() == [Filter.declare(categories="new", ports="8000-8001")]


async def _asynchronous(request: Request) -> None:
    pass


def _generator(request: Request) -> Any:
    yield None


def _without() -> None:
    pass


def _of_two(request: Request, more: int) -> None:
    pass


@pytest.mark.parametrize("function", [_asynchronous, _generator, _without, _of_two, 3, len])
def test_what_cannot_be_called_is_refused(function: Any) -> None:
    with pytest.raises(FilterError, match="@on_request: expected a"):
        on_request()(function)


def test_there_is_an_end() -> None:
    many = Project()
    for _ in range(HOOK_LIMIT):
        many.add("on_request", lambda request: None, Filter())
    with pytest.raises(FilterError, match="at most"):
        many.add("on_request", lambda request: None, Filter())

"""Saying what goes wrong without saying it ten thousand times: the first of a kind at once, the others as a number later.

Knows a sink. Refuses to know what is said.
"""

from collections.abc import Callable, Hashable
from typing import Any

QUIET_S = 60.0
KINDS_LIMIT = 1000


class Reports:
    """Lines for people. `sink` takes an event and its fields, as structlog's `warning`."""

    def __init__(self, sink: Callable[..., Any]) -> None:
        self._sink = sink
        self._said: dict[Hashable, tuple[float, int]] = {}

    def say(self, event: str, **fields: Any) -> None:
        """Say it, always."""
        self._sink(event, **{name: value for name, value in fields.items() if value not in (None, "")})

    def say_once(self, kind: Hashable, now_s: float, event: str, **fields: Any) -> None:
        """Say it, unless one of this kind was said within a minute; then how many it were comes with the next one."""
        if len(self._said) > KINDS_LIMIT:
            self._said.clear()
        since_s, kept = self._said.get(kind, (-QUIET_S, 0))
        if now_s - since_s < QUIET_S:
            self._said[kind] = since_s, kept + 1
            return
        self._said[kind] = now_s, 0
        self.say(event, **fields, repeated=kept or None)

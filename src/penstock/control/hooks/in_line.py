"""Hooks in line: the hook process of one `run`, and what its filters and names mean for path and events.

    project ─► hook process ─► state ─► filters ─► a new snapshot ─► the path asks about what matches
    events of requests ─► hooks that want to know what became of them

While the hook process is not there, nobody is asked: the tables decide at once. Refuses to know how hooks run.
"""

from collections.abc import Mapping
from typing import Any

import structlog

from penstock.control.configuration import Configuration
from penstock.control.hooks.keeper import HookKeeper
from penstock.control.hooks.rings import hook_tag
from penstock.control.policy_in_force import PolicyInForce
from penstock.hooks.filters import Filter, FilterError
from penstock.hooks.project import REQUEST, VERDICT
from penstock.path.memory import AskMemory

NAME_LIMIT = 4096  # hooks of all versions of a project whose names events may show

log = structlog.get_logger()


class HooksInLine:
    """The hooks of one `run`. `memory` has the rings, which the packet process gets too."""

    def __init__(self, workers: int) -> None:
        self.memory, self.keeper = AskMemory(workers), HookKeeper()
        self.filters: tuple[Filter, ...] = ()
        self.names: dict[int, str] = {}
        """Of hooks, by their tags."""
        self._state: dict[str, Any] | None = None
        self._is_started = self._hears = False

    def follow(self, configuration: Configuration, categories: list[str]) -> None:
        """Have this configuration hold, and these categories by their numbers in the snapshot; the first one with a project
        starts the process."""
        if self._is_started:
            self.keeper.follow(configuration, categories)
        elif configuration.policy.project is not None:
            self._is_started = True
            self.keeper.start(self.memory.places(), configuration, categories)

    def look_after(self, policy: PolicyInForce) -> None:
        """Hear what the process says, start it again when it died, and have the policy ask about what it wants."""
        self.keeper.look_after()
        self.keeper.profiles()  # nobody introduces subscribers yet
        if self.keeper.state is not self._state:
            self._state = self.keeper.state
            self._read_state()
        policy.ask_about(self.filters)

    def _read_state(self) -> None:
        hooks = self._state["hooks"] if self._state else []
        try:
            self.filters = tuple(Filter.from_data(hook["filter"]) for hook in hooks if hook["kind"] == REQUEST)
        except FilterError as error:  # it says what a worker process said, and that runs an operator's code
            log.error("hooks are asked about what they were before", error=str(error))
        self._hears = any(hook["kind"] == VERDICT for hook in hooks)
        if len(self.names) > NAME_LIMIT:
            self.names.clear()
        self.names |= {hook_tag(hook["name"]): hook["name"] for hook in hooks}

    def tell(self, fields: Mapping[str, Any]) -> None:
        """Tell hooks what became of a request, if one wants to know."""
        if self._hears and "proto" in fields:
            self.keeper.tell(dict(fields))

    def read_state(self) -> dict[str, Any] | None:
        """What is counted and declared; for the metrics."""
        state = self.keeper.state
        return state | {"unasked": self.memory.count_unasked()} if state else None

    def end(self) -> None:
        """End the process."""
        self.keeper.end()

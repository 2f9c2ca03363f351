"""Policy as Python: what an operator's project imports. These names are stable.

    from penstock.hooks import Request, Verdict, on_request

    @on_request(categories=["games"], profiles=["school"])
    def close_games_in_class(request: Request) -> Verdict | None:
        if 8 <= request.time.astimezone(MADRID).hour < 14:
            return Verdict.block(text="Games open at 14:00.")
        return None                               # no opinion: the next hook, then lists and profiles decide

A hook is called in one of several processes that share nothing, have no rights, and are replaced at any time: what a module
remembers in its globals is a cache at best. docs/policies.md says how to write, try and run a project.
"""

from penstock.hooks.filters import Filter, FilterError
from penstock.hooks.project import Hook, Project, on_request, on_subscriber, on_verdict
from penstock.hooks.request import Outcome, Request, Subscriber
from penstock.hooks.verdict import Verdict

__all__ = [
    "Filter",
    "FilterError",
    "Hook",
    "Outcome",
    "Project",
    "Request",
    "Subscriber",
    "Verdict",
    "on_request",
    "on_subscriber",
    "on_verdict",
]

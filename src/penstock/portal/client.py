"""A thin client of the API, for programs: its calls, their answers as JSON, problems as exceptions.

    with Client("https://box.example.net:8443", token) as box:
        box.change_choices("line-7", services={"ad blocking": True})

It knows addresses and words, and refuses to know what they mean: that is the OpenAPI's.
"""

from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from penstock.errors import PenstockError

PREFIX = "/api/v1"
WAIT_S = 30.0


class ApiError(PenstockError):
    """A problem: its status, and in words what is wrong."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{status}: {detail}")
        self.status, self.detail = status, detail


class Client:
    """The API of one box. `verify`: as httpx has it, for a certificate of one's own."""

    def __init__(self, url: str, token: str, verify: Any = True, wait_s: float = WAIT_S) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        self._client = httpx.Client(base_url=url.rstrip("/") + PREFIX, headers=headers, verify=verify, timeout=wait_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def ask(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """Any call: what it answers. Raises ApiError, httpx.HTTPError."""
        given = {name: value for name, value in query.items() if value is not None}
        answer = self._client.request(method, path, json=body, params=given)
        if answer.is_error:
            problem = answer.json() if "json" in answer.headers.get("content-type", "") else {}
            raise ApiError(answer.status_code, str(problem.get("detail", answer.reason_phrase)))
        return answer.json() if answer.content else None

    # ---- the box ------------------------------------------------------------------------------------------------------
    def read_status(self) -> Any:
        """How the box is."""
        return self.ask("GET", "/status")

    def read_counters(self) -> Any:
        """What it counts."""
        return self.ask("GET", "/counters")

    def turn(self, on: bool) -> Any:
        """The emergency switch."""
        return self.ask("PUT", "/switch", {"on": on})

    # ---- subscribers --------------------------------------------------------------------------------------------------
    def list_subscribers(self, prefix: str = "", after: str = "", limit: int = 100) -> Any:
        """Subscribers in the order of their ids."""
        return self.ask("GET", "/subscribers", prefix=prefix, after=after, limit=limit)

    def find_subscriber(self, address: str, port: int = 0, scope: str | None = None) -> Any:
        """Who is at an address."""
        return self.ask("GET", "/subscribers/by-address", address=address, port=port, scope=scope)

    def read_subscriber(self, subscriber: str) -> Any:
        """All that is known of one."""
        return self.ask("GET", self._place(subscriber))

    def change_subscriber(self, subscriber: str, **changes: Any) -> Any:
        """Profile, fail, packets_per_s, addresses."""
        return self.ask("PATCH", self._place(subscriber), changes)

    def read_choices(self, subscriber: str) -> Any:
        """What he chose, and what that comes to."""
        return self.ask("GET", self._place(subscriber, "choices"))

    def change_choices(self, subscriber: str, **choices: Any) -> Any:
        """Replace the fields that are given."""
        return self.ask("PATCH", self._place(subscriber, "choices"), choices)

    def pause(self, subscriber: str, minutes: int) -> Any:
        """No internet for so long."""
        return self.ask("POST", self._place(subscriber, "pause"), {"minutes": minutes})

    def resume(self, subscriber: str) -> Any:
        """End the pause."""
        return self.ask("DELETE", self._place(subscriber, "pause"))

    def grant_override(self, subscriber: str, name: str, minutes: int) -> Any:
        """Let a name through for a while."""
        return self.ask("POST", self._place(subscriber, "overrides"), {"name": name, "minutes": minutes})

    def list_events(self, subscriber: str, before: int | None = None, limit: int = 100) -> Any:
        """His last refused requests."""
        return self.ask("GET", self._place(subscriber, "events"), before=before, limit=limit)

    def explain(self, subscriber: str, host: str) -> Any:
        """What would happen to a request, and why."""
        return self.ask("GET", "/explain", host=host, subscriber=subscriber)

    @staticmethod
    def _place(subscriber: str, *rest: str) -> str:
        return "/".join(("/subscribers", quote(subscriber, safe=""), *rest))

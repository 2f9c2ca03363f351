"""The portal of a line's box: its address, its process, its tokens, and calls from within the box."""

import json
import time
from typing import Any

from penstock.demo.box import run_penstock
from tests.live.line import Line
from tests.live.processes import await_child

LISTEN = "127.0.0.1:8443"
SETTINGS: dict[str, Any] = {
    "listen": LISTEN,
    "database": "portal/portal.db",
    "journal": "portal/journal.db",
    "calls_per_s": 1000,
}
PATIENCE_S = 60.0


def find_portal(line: Line) -> int:
    """The portal process, as soon as there is one."""
    return await_child(line, b"penstock.portal.process", PATIENCE_S)


def make_token(line: Line, role: str, *words: str) -> str:
    """A token, as an operator makes it."""
    done = run_penstock(line.topology, ["token", "create", "--config", str(line.configuration), "--role", role, *words])
    assert done.returncode == 0, done.stderr
    return str(done.stdout).strip()


def call(line: Line, token: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """A call by curl from within the box: status and what was said."""
    words = ["curl", "-q", "-sS", "--max-time", "20", "-X", method, "-H", f"Authorization: Bearer {token}"]
    words += ["-w", "\n%{http_code}", f"http://{LISTEN}{path}"]
    if body is not None:
        words += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
    done = line.topology.run("box", words)
    text, _, status = str(done.stdout).rpartition("\n")
    return int(status or 0), json.loads(text) if text else done.stderr


def await_portal(line: Line, token: str) -> None:
    """Wait until it answers."""
    end_s = time.monotonic() + PATIENCE_S
    while call(line, token, "GET", "/api/v1/status")[0] != 200:
        assert time.monotonic() < end_s, line.box.output.read_text()[-2000:]
        time.sleep(0.05)

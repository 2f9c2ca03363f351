"""The people's browsers: one program in the client's namespace that makes visits, told which.

Knows how to ask it and how long to wait. Refuses to know whether what comes is right.
"""

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterable
from typing import Any

from penstock.demo.lab import Lab
from penstock.demo.people import Visit
from penstock.demo.servers import ServerError

PATIENCE_S = 60.0  # for one answer: each visit has a few seconds, and others may be before it


class Visitors:
    """The program. Its answers come in any order, and are put to their visits by a number."""

    def __init__(self, lab: Lab) -> None:
        argv = [sys.executable, "-m", "penstock.demo.visits", f"--certificate={lab.certificate}"]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._program = lab.topology.spawn("client", argv, stderr=subprocess.DEVNULL, **pipes)
        self._answers: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def visit(self, visits: Iterable[Visit]) -> dict[Visit, str]:
        """Make visits; what came of each. Raises ServerError."""
        asked = list(visits)
        lines = [json.dumps({"number": number, **one.write()}) + "\n" for number, one in enumerate(asked)]
        assert self._program.stdin is not None
        try:
            self._program.stdin.write("".join(lines))
            self._program.stdin.flush()
        except OSError:
            raise ServerError("the visitors' program has ended") from None
        got: dict[Visit, str] = dict.fromkeys(asked, "")
        for _ in asked:
            try:
                answer = self._answers.get(timeout=PATIENCE_S)
            except queue.Empty:
                raise ServerError(f"the visitors' program says nothing for {PATIENCE_S:.0f} s") from None
            if answer is None:
                raise ServerError("the visitors' program has ended")
            got[asked[answer["number"]]] = answer["got"]
        return got

    def _read(self) -> None:
        assert self._program.stdout is not None
        try:
            for line in self._program.stdout:
                self._answers.put(json.loads(line))
        except ValueError:  # closed
            pass
        self._answers.put(None)

"""The place of a run on its pair: free or taken, asked for, and the heir to whom it goes.

    find ── free ──► held
      └──── taken ──► not held; the run that is there is asked to leave at last, and `finish` makes it held

Knows the lock and the run before us. Refuses to know what either does in its place (`succession.py`, `run.py`).
"""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from penstock import __version__
from penstock.kernel.tables import LAYOUT_VERSION
from penstock.line.handover import ANSWER_S, BUSY_S, Caller, HandoverError, find_holder, make_doors, take_lock
from penstock.line.inline import Pair
from penstock.line.pins import Pins


class Seat:
    """The place of one run. `lock` is the descriptor that holds it; `predecessor` has it as long as we have not."""

    def __init__(self, pair: Pair, pins: Pins, configuration: Path, ready: Path | None) -> None:
        self.pair, self.pins, self.configuration, self.ready = pair, pins, configuration, ready
        self.lock: int | None = None
        self.predecessor: Caller | None = None
        self.label = f"{pair.ingress}-{pair.egress}"  # under which this run keeps files that the one before us has too
        self.other_label = f"{self.label}.heir"

    def find(self, takes_over: bool) -> None:
        """Take the place if it is free, else announce that we want it. Raises HandoverError."""
        make_doors()  # without them nobody could take over one day: better to know now
        self.lock = take_lock(self.pins)
        if self.lock is not None:
            return
        self.predecessor = find_holder(self.pins)
        told = self.predecessor.who(BUSY_S if takes_over else ANSWER_S)
        if not takes_over:
            raise HandoverError(
                f"process {told['pid']}, version {told['version']}, is in line between {self.pair.ingress} and "
                f"{self.pair.egress} already: end it, or start with --take-over"
            )
        self.predecessor.come(__version__)
        if told.get("label") == self.label:
            self.label, self.other_label = self.other_label, self.label

    def finish(self) -> None:
        """Tell the run before us that it may end: the place is ours. Raises HandoverError."""
        assert self.predecessor is not None
        self.lock = self.predecessor.finish(self.pins)
        if self.lock is None:
            raise HandoverError("a third run took the place")
        self.give_up()

    def give_up(self) -> None:
        """End the talk with the run before us: if it has not ended, it judges again."""
        if self.predecessor is not None:
            self.predecessor.close()
            self.predecessor = None

    def describe(self) -> dict[str, Any]:
        """Who we are, for whoever asks at the door."""
        return {
            "pid": os.getpid(),
            "ingress": self.pair.ingress,
            "egress": self.pair.egress,
            "config": str(self.configuration.absolute()),
            "layout": LAYOUT_VERSION,
            "label": self.label,
        }

    def start_heir(self, program: Sequence[str]) -> "subprocess.Popen[Any]":
        """Start another program as the run that takes over, as we were started."""
        words = ["run", "--ingress", self.pair.ingress, "--egress", self.pair.egress]
        words += ["--config", str(self.configuration), "--take-over"]
        words += ["--ready-file", str(self.ready)] if self.ready else []
        return subprocess.Popen([*program, *words], stdin=subprocess.DEVNULL)

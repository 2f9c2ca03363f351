"""The register of a line's box: its process, and its door."""

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from penstock.control.subscribers.calls import call_register, find_register_doors
from tests.live.line import Line
from tests.live.processes import find_children

PATIENCE_S = 40.0


def find_register(line: Line) -> int:
    """The register process, as soon as there is one."""
    end_s = time.monotonic() + PATIENCE_S
    while True:
        for process in find_children(line.box.program.pid):
            with suppress(OSError):
                if b"subscribers.process" in Path(f"/proc/{process}/cmdline").read_bytes():
                    return process
        assert time.monotonic() < end_s, "no register"
        time.sleep(0.02)


def tell(line: Line, word: str, **words: object) -> dict[str, Any]:
    """Say something at the register's door. Raises CallError."""
    with line.topology.inside("box"):
        (door,) = find_register_doors()
        return call_register(door, word, **words)

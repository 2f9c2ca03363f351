"""The register of a line's box: its process, and its door."""

from typing import Any

from penstock.control.subscribers.calls import call_register, find_register_doors
from tests.live.line import Line
from tests.live.processes import await_child

PATIENCE_S = 40.0


def find_register(line: Line) -> int:
    """The register process, as soon as there is one."""
    return await_child(line, b"subscribers.process", PATIENCE_S)


def tell(line: Line, word: str, **words: object) -> dict[str, Any]:
    """Say something at the register's door. Raises CallError."""
    with line.topology.inside("box"):
        (door,) = find_register_doors()
        return call_register(door, word, **words)

"""Declarations: tables and load-time constants that programs name, without any compiler.

Compiled code holds their numbers; `bpf` puts descriptors and values in when a program is loaded.
"""

from typing import ClassVar


class Map:
    """A declared table. `entries` may be set until it is created."""

    ALL: ClassVar[list["Map"]] = []

    def __init__(self, name: str, kind: str, key_bytes: int, value_bytes: int, entries: int, flags: int = 0) -> None:
        self.name, self.kind, self.key_bytes, self.value_bytes = name, kind, key_bytes, value_bytes
        self.entries, self.flags, self.number, self.fd = entries, flags, len(Map.ALL), -1
        Map.ALL.append(self)


class Constant:
    """A number that a program learns when it is loaded."""

    ALL: ClassVar[list["Constant"]] = []

    def __init__(self, name: str) -> None:
        self.name, self.number = name, len(Constant.ALL)
        Constant.ALL.append(self)

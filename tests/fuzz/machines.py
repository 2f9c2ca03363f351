"""What a reader runs on: plain Python over `arena`, or native code, with the same words for both.

    start = machine.lend(stream)      state = machine.room(512)
    machine.run("request.http.read_request", start, start + len(stream), 0, state)      machine.word(state + 8)

`close` takes the memory back and fails when anything else was touched, if the machine sees that: Pure and the checked
build of Native do. Memory that is not asked to be zero is full of FILL, the same on both, so that a reader that uses
what it did not write shows.
"""

from importlib import import_module
from types import FunctionType
from typing import Any, Protocol

import numpy as np

from penstock.compile.memory import CHECKED, allow, forbid, take_fault
from penstock.compile.native import Kernel, kernel
from tests.fuzz import arena, pure

FILL = 0xA5


class Machine(Protocol):
    """One input's memory, and the readers on it."""

    def run(self, name: str, *args: int) -> int:
        """Call `module.function` of the package; addresses and numbers in, an int64 out."""

    def lend(self, content: bytes, is_written: bool = False) -> int:
        """The address of a copy of `content`, which may be written only if that is said."""

    def view(self, address: int, size: int) -> bytes:
        """The bytes at an address."""

    def close(self) -> None:
        """Take all memory back."""

    def put_word(self, address: int, value: int) -> None:
        """Store an int64."""

    def room(self, size: int, fill: int = 0) -> int:
        """The address of `size` bytes of memory that may be written."""
        return self.lend(bytes([fill]) * size, is_written=True)

    def word(self, address: int) -> int:
        """The int64 at an address."""
        return int.from_bytes(self.view(address, 8), "little", signed=True)


class Pure(Machine):
    """Plain Python: every access checked, every load and store counted."""

    def __init__(self) -> None:
        self._functions: dict[str, FunctionType] = {}
        arena.clear()

    def run(self, name: str, *args: int) -> int:
        function = self._functions.get(name)
        if function is None:
            module, _, word = name.rpartition(".")
            function = self._functions[name] = vars(pure.load_readers()[f"penstock.{module}"])[word]
        return int(function(*args))

    def lend(self, content: bytes, is_written: bool = False) -> int:
        return arena.lend(bytearray(content) if is_written else content)

    def view(self, address: int, size: int) -> bytes:
        return arena.view(address, size)

    def put_word(self, address: int, value: int) -> None:
        arena.MEMORY["put64"](address, value)

    @property
    def turns(self) -> int:
        """Loads and stores since the last `close`."""
        return arena.turns[0]

    def close(self) -> None:
        arena.clear()


class Native(Machine):
    """Compiled code, on arrays of exactly the size that was asked for; in the checked build each access is checked."""

    _kernels: dict[str, Kernel] = {}

    def __init__(self) -> None:
        self._rooms: list[tuple[np.ndarray[Any, Any], bytes | None]] = []
        self._numbers: list[int] = []

    def run(self, name: str, *args: int) -> int:
        if name not in self._kernels:
            module, _, word = name.rpartition(".")
            self._kernels[name] = kernel(vars(import_module(f"penstock.{module}"))[word])
        return int(self._kernels[name](*args))

    def lend(self, content: bytes, is_written: bool = False) -> int:
        array = np.frombuffer(content + bytes([FILL]), np.uint8).copy()
        self._rooms.append((array, None if is_written else content))
        address = int(array.ctypes.data)
        if CHECKED and content:
            self._numbers.append(allow(address, address + len(content)))
        return address

    def view(self, address: int, size: int) -> bytes:
        for array, _ in self._rooms:
            start = address - int(array.ctypes.data)
            if 0 <= start <= start + size < len(array):
                return array[start : start + size].tobytes()
        raise arena.Fault(f"{size} bytes at an address that belongs to nobody")

    def put_word(self, address: int, value: int) -> None:
        for array, _ in self._rooms:
            start = address - int(array.ctypes.data)
            if 0 <= start < len(array) - 8:
                array[start : start + 8] = np.frombuffer(value.to_bytes(8, "little", signed=True), np.uint8)

    def close(self) -> None:
        fault = take_fault()
        while self._numbers:
            forbid(self._numbers.pop())
        rooms, self._rooms = self._rooms, []
        assert fault is None, f"an access outside of every region: {fault}"
        for array, content in rooms:
            assert array[-1] == FILL, "the byte behind a region was written"
            assert content is None or array[:-1].tobytes() == content, "memory lent to be read was written"

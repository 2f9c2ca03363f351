"""A register that another process keeps, as far as tables can be filled with it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from penstock.control.subscribers.effective import NameAction
from penstock.control.subscribers.loading import read_lines, read_names, read_places
from penstock.control.subscribers.schema import explain_errors, open_reader
from penstock.control.subscribers.terms import Terms
from penstock.control.subscribers.updates import Line


class KeptRegister:
    """What the store at `path` says. `terms`: what the configuration says of everybody."""

    def __init__(self, path: Path, terms: Terms) -> None:
        """Raises StoreError."""
        self._path, self._terms = path, terms
        self._connection = open_reader(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def load_places(self) -> Iterator[tuple[NDArray[Any], NDArray[np.uint32]]]:
        """Every place and its number, in parts."""
        with explain_errors(self._path):
            yield from read_places(self._connection)

    def load_lines(self, now_s: float) -> Iterator[tuple[Line, NDArray[np.uint32]]]:
        """What holds, and for which numbers, in parts."""
        with explain_errors(self._path):
            yield from read_lines(self._connection, self._terms, now_s)

    def load_names(self, now_s: float) -> Iterator[tuple[int, str, NameAction]]:
        """Every own name that holds, and whose."""
        with explain_errors(self._path):
            yield from read_names(self._connection, self._terms, now_s)

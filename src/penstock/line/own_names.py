"""The writer of the table of own names: `policy.own_names` reads it in the path. One process writes.

It knows neither why a subscriber allows or denies a name, nor until when.
"""

from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np

from penstock.compile.memory import CHECKED, INT, allow, forbid
from penstock.compile.native import kernel
from penstock.policy.judge import OWN_ALLOW, OWN_DENY, OWN_NOTHING
from penstock.policy.own_names import ACTION_BITS, ACTION_MASK, HOST_LIMIT, WORD_BYTES, put_own

__all__ = ["OWN_ALLOW", "OWN_DENY", "OwnNames", "compile_own_names"]

Row = tuple[int, str, int]
"""A subscriber's number, a name in lower case, OWN_ALLOW or OWN_DENY."""


@cache
def _put_kernel() -> Any:
    return kernel(put_own)


def compile_own_names() -> None:
    """Have the code of OwnNames in memory, from the cache or compiled."""
    one = _put_kernel()
    one.compile((INT,) * one.py_func.__code__.co_argcount)


class OwnNames:
    """The table of one interface pair, as memory that this process may write. Half of its words are in use at most."""

    def __init__(self, table: Any, secret: int) -> None:
        """`table`: the mapped table; `secret`: the key of the tables that say who is where."""
        self._table = np.frombuffer(table, np.uint8)
        self._mask = len(self._table) // WORD_BYTES - 1
        self._secret = secret
        self._name = np.zeros(HOST_LIMIT + 1, np.uint8)
        self.count = int(np.count_nonzero(self._words() & np.uint64(ACTION_MASK)))

    @property
    def capacity(self) -> int:
        """Names that there is room for."""
        return (self._mask + 1) // 2

    def _words(self) -> Any:
        return self._table.view(np.uint64)

    def put(self, number: int, name: str, action: int) -> bool:
        """Say what a subscriber's list says of a name from now on. False when there is no room: nothing was said."""
        before = self._put(number, name, action)
        if before == OWN_NOTHING:
            self.count += 1
            if self.count > self.capacity:
                self.take_away(number, name)
                return False
        return before >= 0

    def take_away(self, number: int, name: str) -> None:
        """Say that his list does not have it."""
        if self._put(number, name, OWN_NOTHING) > OWN_NOTHING:
            self.count -= 1

    def replace_all(self, rows: Iterable[Row]) -> int:
        """Make the table say exactly this. Returns how many found no room.

        At no moment is a name missed that is there before and behind.
        """
        fresh = OwnNames(np.zeros(len(self._table), np.uint8), self._secret)
        waiting: list[Row] = []
        lost = 0
        for row in rows:
            if not fresh.put(*row):
                lost += 1
            elif self._put(*row) < 0:
                waiting.append(row)  # until those that are over have gone
        words, wanted = self._words(), fresh._words()
        is_over = ~np.isin(words >> np.uint64(ACTION_BITS), wanted >> np.uint64(ACTION_BITS))
        words[is_over & (words != 0)] &= ~np.uint64(ACTION_MASK)
        lost += sum(self._put(*row) < 0 for row in waiting)
        self.count = int(np.count_nonzero(words & np.uint64(ACTION_MASK)))
        return lost

    def _put(self, number: int, name: str, action: int) -> int:
        raw = name.encode("ascii")[-HOST_LIMIT:]
        self._name[: len(raw)] = np.frombuffer(raw, np.uint8)
        arrays = (self._table, self._name)
        regions = [allow(a.ctypes.data, a.ctypes.data + a.nbytes) for a in arrays] if CHECKED else []
        at, name_at = int(self._table.ctypes.data), int(self._name.ctypes.data)
        before = _put_kernel()(at, self._mask, self._secret, number, name_at, len(raw), action)
        for region in regions:
            forbid(region)
        return int(before)

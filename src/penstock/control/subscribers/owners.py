"""Who has which number, and who would get another profile, by what the register keeps: for events and for the guard.

A box writes many events a second, of few subscribers at a time: names are kept for a moment. It knows no rule.
"""

import time
from collections.abc import Collection
from pathlib import Path

from penstock.control.configuration import Configuration
from penstock.control.subscribers.known import KnownSubscribers
from penstock.control.subscribers.schema import StoreError
from penstock.policy.layout import profile_tag

KEPT_S = 1.0  # a number is given to somebody else as late as possible
KEPT_LIMIT = 10_000


class RegisteredOwners:
    """The subscribers of a store, which may not be there yet."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._known: KnownSubscribers | None = None
        self._names: dict[int, str | None] = {}
        self._since_s = 0.0

    def name_of(self, number: int) -> str | None:
        """The subscriber with this number; None: nobody, or nobody can tell."""
        now_s = time.monotonic()
        if now_s - self._since_s > KEPT_S or len(self._names) > KEPT_LIMIT:
            self._names, self._since_s = {}, now_s
        if number not in self._names:
            self._names[number] = self._read_name(number)
        return self._names[number]

    def _read_name(self, number: int) -> str | None:
        if number <= 0:
            return None
        try:
            return self._open().names_of([number]).get(number)
        except StoreError:
            self.close()
            return None

    def find_moves(self, configuration: Configuration, numbers: Collection[int]) -> dict[int, int]:
        """Which of these numbers get another profile by a configuration: its tag."""
        try:
            changes = self._open().find_profile_changes(numbers, configuration)
        except StoreError:
            self.close()
            return {}
        return {number: profile_tag(profile) if profile else 0 for number, profile in changes.items()}

    def _open(self) -> KnownSubscribers:
        if self._known is None:
            self._known = KnownSubscribers(self._database)
        return self._known

    def close(self) -> None:
        """Close the store, if it was open."""
        if self._known is not None:
            self._known.close()
            self._known = None

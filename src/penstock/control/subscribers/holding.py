"""What holds for a subscriber at a moment, as the store's reader and its writer speak of it."""

from collections.abc import Mapping
from typing import NamedTuple

from penstock.control.subscribers.effective import Effective, NameAction
from penstock.control.subscribers.updates import Line


class Holding(NamedTuple):
    """His line, and what his choices come to."""

    line: Line
    effective: Effective

    @property
    def names(self) -> Mapping[str, NameAction]:
        """His own names."""
        return self.effective.names

    def disagrees(self, other: "Holding") -> bool:
        """Are open flows judged otherwise by the other one?"""
        mine, others = self.line, other.line
        return (mine.profile, mine.is_paused, mine.services, self.names) != (
            others.profile,
            others.is_paused,
            others.services,
            other.names,
        )

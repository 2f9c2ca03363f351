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

    def is_stricter(self, other: "Holding") -> bool:
        """May it refuse what the other one allows?"""
        is_denied = any(said == "deny" and other.names.get(name) != "deny" for name, said in self.names.items())
        is_allowed_no_more = any(
            said == "allow" and self.names.get(name) != "allow" for name, said in other.names.items()
        )
        return bool(self.line.services - other.line.services) or is_denied or is_allowed_no_more

    def disagrees(self, other: "Holding") -> bool:
        """Are open flows judged otherwise by the other one?"""
        mine, others = self.line, other.line
        return (mine.profile, mine.is_paused, mine.services, self.names) != (
            others.profile,
            others.is_paused,
            others.services,
            other.names,
        )

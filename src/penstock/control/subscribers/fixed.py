"""The subscribers of the configuration alone, numbered in its order: for replay, and wherever no register runs.

Knows no other source, and nothing of what changes while a box runs.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from penstock.control.configuration import Configuration, Subscriber
from penstock.line.directory import LINE_DTYPE, Directory, Held, Numbers, Places, make_places, pack_line, pack_place


class Owners(Protocol):
    """Who has which number."""

    def name_of(self, number: int) -> str | None:
        """The subscriber with this number."""


class FixedOwners:
    """The configuration's subscribers; the first has number 1."""

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self._names = [None, *(subscriber.id for subscriber in configuration.subscribers)]

    def name_of(self, number: int) -> str | None:
        return self._names[number] if 0 <= number < len(self._names) else None

    def number_of(self, name: str) -> int:
        """The number of a subscriber. Raises ValueError."""
        return self._names.index(name)

    def lines(self) -> NDArray[np.void]:
        """What holds for each, for the kernel."""
        rows = [self._pack(number, one) for number, one in enumerate(self.configuration.subscribers, 1)]
        return np.array(rows, LINE_DTYPE)

    def _pack(self, number: int, one: Subscriber) -> tuple[int, ...]:
        configuration = self.configuration
        services, switches = configuration.resolve_profile(one.profile)
        rate = one.packets_per_s or configuration.limits.packets_per_s
        is_read = configuration.reads_everybody
        return pack_line(number, one.profile, Held(services, switches, one.fail == "closed", rate, is_read=is_read))

    def places(self) -> tuple[Places, Numbers]:
        """Where each is, for the kernel."""
        rows, numbers = [], []
        for number, subscriber in enumerate(self.configuration.subscribers, 1):
            for prefix in subscriber.prefixes:
                packed, bits = prefix.network_address.packed, prefix.prefixlen
                if prefix.version == 4:
                    packed, bits = bytes(10) + b"\xff\xff" + packed, bits + 96
                rows.append(pack_place(subscriber.scope, packed, bits))
                numbers.append(number)
        return make_places(rows), np.array(numbers, np.uint32)

    def fill(self, directory: Directory) -> None:
        """Make the kernel's tables say exactly this."""
        directory.set_lines(self.lines())
        places, numbers = self.places()
        directory.replace_all(places, numbers)

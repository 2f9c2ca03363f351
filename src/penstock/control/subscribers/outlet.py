"""What the register says, as the kernel's two tables are told it: `line.directory` writes them.

Places that are over go first, for they make room; then what holds for numbers, before the first place of a number is
put. It knows profiles by what the configuration says of them, and no rule of the register.
"""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from penstock.control.configuration import Configuration
from penstock.control.subscribers.updates import Line, Updates
from penstock.line.directory import LINE_DTYPE, Directory, DirectoryError, Held, pack_line

log = structlog.get_logger()


class Loadable(Protocol):
    """All that a register says, in parts: itself, or what another process keeps of it."""

    def load_places(self) -> Iterator[tuple[NDArray[Any], NDArray[np.uint32]]]:
        """Places and their numbers."""

    def load_lines(self) -> Iterator[tuple[Line, NDArray[np.uint32]]]:
        """What holds, and for which numbers."""


class Outlet:
    """The tables of one pair."""

    def __init__(self, directory: Directory, configuration: Configuration) -> None:
        self.directory, self.configuration = directory, configuration
        self.lost = 0
        """Places that found no room, since the start."""

    def fill(self, register: Loadable) -> None:
        """Make the tables say what the register says."""
        self._set_all_lines(register)
        try:
            self._note_lost(self.directory.replace_parts(register.load_places()))
        except DirectoryError as error:
            log.error("the kernel's table of places stays as it was", error=str(error))

    def follow(self, register: Loadable, configuration: Configuration) -> None:
        """Another configuration holds: profiles may mean something else."""
        old, self.configuration = self.configuration, configuration
        if _resolve(old) != _resolve(configuration):
            self._set_all_lines(register)

    def write(self, register: Loadable, updates: Updates) -> None:
        """Tell the tables what changed."""
        gone = updates.taken_away_array()
        if len(gone):
            self.directory.take_away(gone)
        if updates.are_all_lines_new:
            self._set_all_lines(register)
        elif updates.lines:
            rows = [self._pack(number, line) for number, line in updates.lines.items()]
            self.directory.set_lines(np.array(rows, LINE_DTYPE))
        places, numbers = updates.put_arrays()
        if len(places):
            try:
                self._note_lost(len(self.directory.put(places, numbers)))
            except DirectoryError as error:
                self._note_lost(len(places), str(error))

    def _set_all_lines(self, register: Loadable) -> None:
        for line, numbers in register.load_lines():
            rows: NDArray[Any] = np.full(len(numbers), np.array(self._pack(0, line), LINE_DTYPE))
            rows["number"] = numbers
            self.directory.set_lines(rows)

    def _pack(self, number: int, line: Line) -> tuple[int, ...]:
        services, switches = self.configuration.resolve_profile(line.profile)
        is_read = bool(self.configuration.court_orders.categories)
        held = Held(services, switches, line.fails_closed, line.packets_per_s, line.is_paused, is_read=is_read)
        return pack_line(number, line.profile, held)

    def _note_lost(self, count: int, why: str = "the table is full: see `register.addresses`") -> None:
        self.lost += count
        if count:
            log.error("places found no room in the kernel's table", places=count, why=why)


def _resolve(configuration: Configuration) -> tuple[Any, ...]:
    """All of a configuration that lines say."""
    profiles = {name: configuration.resolve_profile(name) for name in configuration.profiles}
    return profiles, bool(configuration.court_orders.categories)

"""What the register says, as the tables of a pair are told it: `line.directory` and `line.own_names` write them.

Places that are over go first, for they make room; then own names and what holds for numbers, before the first place of a
number is put. It knows services by the bits that the configuration gives them, and no rule of the register.
"""

import time
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from penstock.control.configuration import Configuration
from penstock.control.subscribers.effective import NameAction
from penstock.control.subscribers.updates import Line, NamesChange, Switches, Updates
from penstock.line.directory import LINE_DTYPE, Directory, DirectoryError, Held, pack_line
from penstock.line.own_names import OWN_ALLOW, OWN_DENY, OwnNames
from penstock.policy.switches import pack_switches

log = structlog.get_logger()

ACTIONS: dict[NameAction, int] = {"allow": OWN_ALLOW, "deny": OWN_DENY}


class Loadable(Protocol):
    """All that a register says, in parts: itself, or what another process keeps of it."""

    def load_places(self) -> Iterator[tuple[NDArray[Any], NDArray[np.uint32]]]:
        """Places and their numbers."""

    def load_lines(self, now_s: float) -> Iterator[tuple[Line, NDArray[np.uint32]]]:
        """What holds, and for which numbers."""

    def load_names(self, now_s: float) -> Iterator[tuple[int, str, NameAction]]:
        """Own names: whose, the name, and what he says of it."""


class Outlet:
    """The tables of one pair."""

    def __init__(self, directory: Directory, own_names: OwnNames, configuration: Configuration) -> None:
        self.directory, self.own_names, self.configuration = directory, own_names, configuration
        self.lost = 0
        """Places that found no room, since the start."""
        self.names_lost = 0
        """Own names that found none."""

    def fill(self, register: Loadable) -> None:
        """Make the tables say what the register says."""
        names = register.load_names(time.time())
        rows = ((number, name, ACTIONS[action]) for number, name, action in names)
        self._note_names_lost(self.own_names.replace_all(rows))
        self._set_all_lines(register)
        try:
            self._note_lost(self.directory.replace_parts(register.load_places()))
        except DirectoryError as error:
            log.error("the kernel's table of places stays as it was", error=str(error))

    def follow(self, register: Loadable, configuration: Configuration) -> None:
        """Another configuration holds: what lines say of a service may be another bit, or be said of everybody."""
        old, self.configuration = self.configuration, configuration
        if _find_common(old) != _find_common(configuration):
            self._set_all_lines(register)

    def write(self, register: Loadable, updates: Updates) -> None:
        """Tell the tables what changed."""
        gone = updates.taken_away_array()
        if len(gone):
            self.directory.take_away(gone)
        for number, change in updates.names.items():
            self._set_names(number, change)
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
        for line, numbers in register.load_lines(time.time()):
            rows: NDArray[Any] = np.full(len(numbers), np.array(self._pack(0, line), LINE_DTYPE))
            rows["number"] = numbers
            self.directory.set_lines(rows)

    def _pack(self, number: int, line: Line) -> tuple[int, ...]:
        services, switches = resolve_line(self.configuration, line)
        is_read = self.configuration.reads_everybody
        rate, is_paused = line.packets_per_s, line.is_paused
        held = Held(services, switches, line.fails_closed, rate, is_paused, line.has_names, is_read)
        return pack_line(number, line.profile, held)

    def _set_names(self, number: int, change: NamesChange) -> None:
        for name in change.gone:
            self.own_names.take_away(number, name)
        lost = sum(not self.own_names.put(number, name, ACTIONS[said]) for name, said in change.names.items())
        self._note_names_lost(lost)

    def _note_names_lost(self, count: int) -> None:
        self.names_lost += count
        if count:
            why = "the table is full: see `register.own_names`"
            log.error("own names of subscribers found no room in the kernel's table", names=count, why=why)

    def _note_lost(self, count: int, why: str = "the table is full: see `register.addresses`") -> None:
        self.lost += count
        if count:
            log.error("places found no room in the kernel's table", places=count, why=why)


def resolve_line(configuration: Configuration, line: Line) -> tuple[int, int]:
    """The services of a line, a bit for each, and its switches; (0, 0) where nothing holds."""
    services = configuration.pack_services(line.services & configuration.services.keys())
    acts = services or line.has_names or line.switches != Switches()
    return services, pack_switches(*line.switches) if acts else 0


def _find_common(configuration: Configuration) -> tuple[Any, ...]:
    """All of a configuration that lines say, and the register does not know."""
    return configuration.service_bits, configuration.reads_everybody

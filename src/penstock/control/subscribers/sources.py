"""Everything that says something of subscribers, while a register listens: RADIUS, the watched file, calls.

    collect ──► Batch ──► the register's commit ──► settle: all that came is answered, or comes again

Knows which sources there are. Refuses to know what becomes of what they say.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from penstock.control.configuration import Configuration
from penstock.control.subscribers.calls import Calls, Find, Said, Tell
from penstock.control.subscribers.file_listener import FileListener
from penstock.control.subscribers.model import Event
from penstock.control.subscribers.radius_listener import Heard, RadiusListener

BATCH_PACKETS = 500  # of RADIUS in one transaction


@dataclass(slots=True)
class Batch:
    """What came at one turn."""

    heard: list[Heard] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)
    of_file: list[Event] = field(default_factory=list)

    def events(self) -> list[Event]:
        """All of it, in the order of the sources."""
        events = [event for one in self.heard for event in one.events]
        events += [event for one in self.said for event in one.events]
        return events + self.of_file


class Sources:
    """All sources of one register, which listens from here on. The configuration is `follow`ed."""

    def __init__(self, door: Path, configuration: Configuration, find: Find, tell: Tell) -> None:
        """Raises HandoverError, OSError."""
        self.radius, self.file = RadiusListener(), FileListener()
        self.calls = Calls(door, configuration, find, tell)
        self.follow(configuration)

    def follow(self, configuration: Configuration) -> None:
        """Listen by this configuration."""
        self.calls.configuration = configuration
        self.radius.follow(configuration.radius, configuration.scopes)
        settings = configuration.subscriber_register
        memory = settings.database.with_name(f"{settings.database.name}.file")
        self.file.follow(settings.file, memory, configuration.scopes)

    def waiting(self) -> list[Any]:
        """What can be read from when somebody says something."""
        return [*self.radius.fds(), *self.calls.sockets()]

    @property
    def is_busy(self) -> bool:
        """There is more to say than what was collected."""
        return self.file.is_busy

    def collect(self, ready: list[Any], is_tick: bool) -> Batch:
        """What was said. `is_tick`: look also at what nobody tells of."""
        now_s = time.time()
        batch = Batch(said=self.calls.hear(ready, now_s))
        if is_tick:
            self.radius.look_after(time.monotonic())
        if is_tick or self.file.is_busy:
            batch.of_file = self.file.look(now_s)
        batch.heard = self.radius.read(BATCH_PACKETS)
        return batch

    def settle(self, batch: Batch, why: str | None = None) -> None:
        """Tell all that said something that it is written down; or, with `why`, that it is not."""
        self.radius.settle(batch.heard, why is None)
        for one in batch.said:
            if why is None:
                one.visitor.say("done")
            else:
                one.visitor.say("no", why=why)
        self.file.settle(why is None)

    def close(self) -> None:
        """Listen no more."""
        self.radius.close()
        self.calls.close()

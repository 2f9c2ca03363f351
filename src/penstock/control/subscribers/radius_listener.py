"""RADIUS as long as it is wanted: a server for each address; they follow the settings, and what fails is tried again.

An address may come after the start (an interface that is brought up late), a secret may be mended; meanwhile everything
else goes on. Settings that cannot be used leave in force what was. It does not know what packets say.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from penstock.control.subscribers.model import Event
from penstock.control.subscribers.radius import Decoder
from penstock.control.subscribers.radius_server import RadiusServer, Received
from penstock.control.subscribers.settings import Listen, Radius, Scope
from penstock.errors import PenstockError

RETRY_S = 1.0  # between attempts to listen

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Heard:
    """A request, and the server that is to answer it."""

    server: RadiusServer
    received: Received

    @property
    def events(self) -> tuple[Event, ...]:
        """What it says."""
        return self.received.events

    def settle(self, is_written: bool) -> None:
        """It is written down, or could not be."""
        (self.server.answer if is_written else self.server.give_up)(self.received)


class RadiusListener:
    """The RADIUS side of a register. Nobody listens until `follow`."""

    def __init__(self) -> None:
        self._servers: dict[Listen, RadiusServer] = {}
        self._wanted: tuple[Listen, ...] = ()
        self._settings: tuple[Radius, Mapping[str, Scope]] | None = None
        """What is to be read, until it is."""
        self._decoder: Decoder | None = None
        self._due_s = 0.0
        self._failed: list[str] = []
        self._before: Counter[str] = Counter()

    @property
    def is_listening(self) -> bool | None:
        """As the settings say? None: they want nobody to."""
        if self._settings is None and not self._wanted:
            return None
        return self._settings is None and self._servers.keys() == set(self._wanted)

    @property
    def counters(self) -> Counter[str]:
        """Packets by what became of them, those of servers before included."""
        total = Counter(self._before)
        for server in self._servers.values():
            total.update(server.counters)
        return total

    def follow(self, settings: Radius, scopes: Mapping[str, Scope]) -> None:
        """Listen by these settings. Secrets and dictionaries are read again."""
        self._settings, self._due_s = (settings, scopes), 0.0
        self.look_after(time.monotonic())

    def look_after(self, now_s: float) -> None:
        """Do what there is to do, and try again what failed. `now_s`: of a clock that only goes forward."""
        if now_s < self._due_s or (self._settings is None and self._servers.keys() == set(self._wanted)):
            return
        self._due_s = now_s + RETRY_S
        failed = [*self._read_settings(), *self._listen()]
        for error in failed:
            if error not in self._failed:
                log.error("RADIUS is not heard as it should be; trying on", error=error)
        self._failed = failed

    def _read_settings(self) -> list[str]:
        """Take settings that came; what is wrong with them."""
        if self._settings is None:
            return []
        settings, scopes = self._settings
        try:
            decoder = Decoder(settings, scopes) if settings.listen else None
        except (PenstockError, OSError) as error:
            return [str(error)]
        self._settings, self._decoder, self._wanted = None, decoder, settings.listen
        for listen in self._servers.keys() - set(self._wanted):
            self._close(listen)
        for server in self._servers.values():
            assert decoder is not None
            server.decoder = decoder
        return []

    def _listen(self) -> list[str]:
        """Listen where nobody does yet; what failed."""
        failed = []
        for listen in self._wanted:
            if listen not in self._servers and self._decoder is not None:
                try:
                    self._servers[listen] = RadiusServer(self._decoder, [listen], time.time)
                except (PenstockError, OSError) as error:
                    failed.append(str(error))
                else:
                    log.info("hearing RADIUS accounting", address=listen[0], port=listen[1])
        return failed

    def fds(self) -> list[int]:
        """What can be read from when something came."""
        return [number for server in self._servers.values() for number in server.fds]

    def read(self, limit: int) -> list[Heard]:
        """What came and says something, at most `limit` packets at each address."""
        return [Heard(server, one) for server in self._servers.values() for one in server.read(limit)]

    def settle(self, heard: Sequence[Heard], is_written: bool) -> None:
        """It is written down, or could not be."""
        for one in heard:
            one.settle(is_written)

    def tell(self) -> dict[str, Any]:
        """Is it heard, and what came."""
        return {"is_listening": self.is_listening, "packets": dict(self.counters)}

    def _close(self, listen: Listen) -> None:
        server = self._servers.pop(listen)
        self._before.update(server.counters)
        server.close()

    def close(self) -> None:
        """Listen no more."""
        for listen in list(self._servers):
            self._close(listen)

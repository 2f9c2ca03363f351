"""RADIUS as long as it is wanted: a server that follows the settings, and is tried again where it cannot listen.

An address may come after the start (an interface that is brought up late), a secret may be mended; meanwhile everything
else goes on. Settings that cannot be used leave the server that there is. It does not know what packets say.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from penstock.control.subscribers.radius import Decoder
from penstock.control.subscribers.radius_server import RadiusServer, Received
from penstock.control.subscribers.settings import Radius, Scope
from penstock.errors import PenstockError

RETRY_S = 1.0  # between attempts to listen

log = structlog.get_logger()


class RadiusListener:
    """The RADIUS side of a register. Nobody listens until `follow`."""

    def __init__(self) -> None:
        self._server: RadiusServer | None = None
        self._wanted: tuple[Radius, Mapping[str, Scope]] | None = None
        self._is_due = False
        self._due_s = 0.0
        self._failed = ""
        self._before: Counter[str] = Counter()
        self._listen: Sequence[tuple[str, int]] = ()

    @property
    def is_listening(self) -> bool | None:
        """None: it is not wanted."""
        if self._wanted is None or not self._wanted[0].listen:
            return None
        return self._server is not None and not self._is_due

    @property
    def counters(self) -> Counter[str]:
        """Packets by what became of them, those of servers before included."""
        return self._before + Counter(self._server.counters if self._server else {})

    def follow(self, settings: Radius, scopes: Mapping[str, Scope]) -> None:
        """Listen by these settings. Secrets and dictionaries are read again."""
        self._wanted, self._is_due, self._due_s = (settings, scopes), True, 0.0
        self.look_after(time.monotonic())

    def look_after(self, now_s: float) -> None:
        """Try again what failed. `now_s`: of a clock that only goes forward."""
        if not self._is_due or self._wanted is None or now_s < self._due_s:
            return
        settings, scopes = self._wanted
        self._due_s = now_s + RETRY_S
        try:
            decoder = Decoder(settings, scopes) if settings.listen else None
            if self._server is not None and decoder is not None and settings.listen == self._listen:
                self._server.decoder = decoder
            else:
                self._replace(decoder, settings)
        except (PenstockError, OSError) as error:
            if str(error) != self._failed:
                self._failed = str(error)
                log.error("RADIUS is not heard as it should be; trying on", error=self._failed)
            return
        self._is_due, self._failed = False, ""

    def _replace(self, decoder: Decoder | None, settings: Radius) -> None:
        """Another server: the one before goes first, for both may want an address. Raises ListenError."""
        self.close()
        if decoder is None:
            return
        self._listen = settings.listen
        self._server = RadiusServer(decoder, settings.listen, time.time)
        where = [f"{host}:{port}" for host, port in self._server.addresses]
        log.info("hearing RADIUS accounting", listen=where)

    def fds(self) -> list[int]:
        """What can be read from when something came."""
        return self._server.fds if self._server else []

    def read(self, limit: int) -> list[Received]:
        """What came and says something."""
        return self._server.read(limit) if self._server else []

    def answer(self, received: Sequence[Received], is_written: bool) -> None:
        """It is written down, or could not be."""
        if self._server is None:
            return
        settle = self._server.answer if is_written else self._server.give_up
        for one in received:
            settle(one)

    def tell(self) -> dict[str, Any]:
        """Is it heard, and what came."""
        return {"is_listening": self.is_listening, "packets": dict(self.counters)}

    def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._before += Counter(self._server.counters)
            self._server.close()
            self._server = None

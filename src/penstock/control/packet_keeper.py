"""The keeper of the packet process: starts it, waits for it, and starts it again when it died.

Refuses to know what else happens meanwhile: the kernel passes packets that nobody judges.
"""

import time
from collections.abc import Callable
from typing import IO, Any

import structlog

from penstock.control.packet_process import READY_S, PacketProcess
from penstock.errors import PenstockError
from penstock.policy.snapshot import Snapshot

START_S = 10.0  # for workers that only have to begin, or to wait until others have stopped
RESTART_S = 1.0  # between starts of a packet process that dies at once

log = structlog.get_logger()


class PacketKeeper:
    """The packet process of one `run`. `is_stopped`: are we told to stop, so that nothing is worth waiting for?"""

    def __init__(self, is_stopped: Callable[[], bool]) -> None:
        self.is_stopped = is_stopped
        self._standing: dict[str, Any] = {}
        self._process: PacketProcess | None = None

    @property
    def process(self) -> PacketProcess:
        assert self._process is not None
        return self._process

    @property
    def output(self) -> IO[str]:
        """What can be read from when the process says something, its end above all."""
        return self.process.output

    @property
    def is_alive(self) -> bool:
        return self.process.is_alive

    def start(self, standing: dict[str, Any]) -> None:
        """Start one; it imports and maps while we go on."""
        self._standing = standing
        self._process = PacketProcess.start(standing)

    def give(self, snapshot: Snapshot) -> None:
        """Have it take a snapshot, once it is there to do so."""
        self.process.give(snapshot)

    def await_taken(self) -> bool:
        """Wait until it has taken the first snapshot, and compiled. False when we are told to stop before. Raises
        PacketProcessError."""
        return self._wait_for("taken", READY_S)

    def replace(self, snapshot: Snapshot) -> None:
        """Have its workers take another snapshot, and wait for them."""
        self.process.give(snapshot)
        self.process.hear()  # nothing when it died just now: it is started again with this snapshot

    def begin(self) -> None:
        """Let the workers serve as soon as nobody else reads the rings."""
        self.process.say("start")

    def await_ready(self) -> bool:
        """Wait until they serve. False when we are told to stop before. Raises PacketProcessError."""
        return self._wait_for("ready", START_S)

    def leave(self, drain: bool) -> None:
        """Stop the workers for another process; with `drain` once the rings are empty."""
        self.process.say("drain" if drain else "leave")
        self.process.hear()  # nothing when it died just now: then there is nothing to stop

    def revive(self, snapshot: Snapshot) -> None:
        """Start the process again, as often as it takes: it may die again before it is ready."""
        while not self.is_stopped():
            try:
                return self._restart(snapshot)
            except (PenstockError, OSError) as error:
                log.error("nobody judges; trying again", error=str(error))
                time.sleep(RESTART_S)

    def _restart(self, snapshot: Snapshot) -> None:
        """It died: the kernel passes packets meanwhile; start it again at once."""
        log.error("the packet process died; starting it again", status=self.process.program.returncode)
        if time.monotonic() - self.process.started_s < RESTART_S:
            time.sleep(RESTART_S)
        self.process.close()
        self.start(self._standing)
        self.give(snapshot)  # it has its names database with it, whatever stands under that one's name
        if self.await_taken():
            self.begin()
            self.await_ready()
        log.info("judging again")

    def end(self) -> None:
        """Have it end in order, or else."""
        if self._process is not None:
            self._process.end()

    def _wait_for(self, word: str, within_s: float) -> bool:
        return self.process.wait_for(word, self.is_stopped, within_s)

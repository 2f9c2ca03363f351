"""The keeper of the hook process: starts it, tells it what holds, keeps what it says last, starts it again when it died.

No packet waits for it, and nothing here waits but for its end. It knows the orders' form (`process` has their meaning).
"""

import json
import os
import pickle
import socket
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

import structlog

from penstock.control.configuration import Configuration
from penstock.control.whole_file import seal_file

END_S = 3.0
RESTART_S, RESTART_LIMIT_S = 1.0, 30.0  # between starts of one that dies at once
HEAR_BYTES = 65_536

log = structlog.get_logger()


class HookKeeper:
    """The hook process of one `run`."""

    def __init__(self) -> None:
        self.state: dict[str, Any] | None = None
        """What it said last: `HookPool.read_state`. Its `generation` changes when the project was loaded again, and so may
        the filters of its `hooks`."""
        self.is_following = False
        self._standing: dict[str, Any] = {}
        self._followed: tuple[Configuration, list[str]] | None = None
        self._program: subprocess.Popen[bytes] | None = None
        self._orders: socket.socket | None = None
        self._profiles: list[tuple[str, str]] = []
        self._due_s, self._pause_s = 0.0, RESTART_S

    def start(self, standing: dict[str, Any], configuration: Configuration, categories: list[str]) -> None:
        """Start it, with the places of its rings: `asks` and `answers`, each as `process.map_rings` takes it."""
        self._standing, self._followed = standing, (configuration, categories)
        self._start()

    def _start(self) -> None:
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._orders.setblocking(False)
        with theirs:
            self._program = subprocess.Popen(
                [sys.executable, "-m", "penstock.control.hooks.process", json.dumps(self._standing)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                pass_fds=sorted({self._standing["asks"]["fd"], self._standing["answers"]["fd"]}),
                env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},  # a thread of NumPy's would keep the rights of root
            )
        self._give()

    def _give(self) -> None:
        self.is_following = False
        descriptor = seal_file("penstock-configuration", [pickle.dumps(self._followed)])
        self._say(b"follow", descriptor)
        os.close(descriptor)

    def _say(self, message: bytes, *descriptors: int) -> None:
        """Say something. A process that died, or is busy, takes nothing."""
        if self._orders is not None:
            with suppress(OSError):
                socket.send_fds(self._orders, [message], descriptors)

    def follow(self, configuration: Configuration, categories: list[str]) -> None:
        """Have this configuration hold, and these categories by their numbers in the snapshot."""
        self._followed = configuration, categories
        self._give()

    def tell(self, fields: dict[str, Any]) -> None:
        """Say what became of a request: a line of the event log."""
        self._say(b"tell " + json.dumps(fields).encode())

    def introduce(self, fields: dict[str, Any]) -> None:
        """Say that a subscriber appears or changes: `id`, `profile`, `addresses`, `is_new`."""
        self._say(b"introduce " + json.dumps(fields).encode())

    def profiles(self) -> list[tuple[str, str]]:
        """Subscribers for whom a hook chose a profile since the last call, and which."""
        profiles, self._profiles = self._profiles, []
        return profiles

    def output(self) -> list[socket.socket]:
        """What can be read from when it says something, its end above all."""
        return [self._orders] if self._orders is not None else []

    def look_after(self) -> None:
        """Hear what it says; start it again when it died. Never waits."""
        while self._orders is not None and self._hear():
            pass
        if self._orders is None and self._standing and time.monotonic() >= self._due_s:
            log.info("starting the hooks again")
            self._start()

    def _hear(self) -> bool:
        assert self._orders is not None
        try:
            message, descriptors, _, _ = socket.recv_fds(self._orders, HEAR_BYTES, 1)
        except BlockingIOError:
            return False
        except OSError:
            message, descriptors = b"", []
        word, _, content = message.partition(b" ")
        if word == b"state":
            with open(descriptors[0], "rb") as file:
                self.state = json.load(file)
        elif word == b"profiles":
            self._profiles.append(tuple(json.loads(content)))
        elif word == b"followed":
            self.is_following, self._pause_s = True, RESTART_S
        elif not message:
            self._note_death()
        return bool(message)

    def _note_death(self) -> None:
        assert self._orders is not None
        assert self._program is not None
        self._orders.close()
        self._orders, self.state = None, None
        status = self._program.wait()
        self._due_s = time.monotonic() + self._pause_s
        log.error("the hooks died; default verdicts apply", status=status, again_in_s=self._pause_s)
        self._pause_s = min(2 * self._pause_s, RESTART_LIMIT_S)

    def end(self) -> None:
        """Have it end in order, or else."""
        self._standing = {}
        if self._orders is not None:
            self._orders.close()
            self._orders = None
        if self._program is not None:
            try:
                self._program.wait(END_S)
            except subprocess.TimeoutExpired:
                self._program.kill()
                self._program.wait()

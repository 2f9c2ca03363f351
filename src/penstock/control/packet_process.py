"""The packet process as the control process has it: a program, a socket that is its standard input, its standard output.

Knows the orders' form (`engine.py` has their meaning). Refuses to know when to give which.
"""

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any, Self

import structlog

from penstock.errors import PenstockError
from penstock.policy.snapshot import Snapshot

READY_S = 600.0  # the first start compiles the path
LONG_S = 3.0  # for a start without anything to compile
END_S = 3.0
HEAR_S = 6.0  # a worker takes its orders once per batch

log = structlog.get_logger()


class PacketProcessError(PenstockError):
    """It ended, or does not come to an end with something."""


@dataclass
class PacketProcess:
    """A packet process that was started."""

    program: subprocess.Popen[str]
    orders: socket.socket
    started_s: float

    @classmethod
    def start(cls, standing: dict[str, Any]) -> Self:
        """Start one; it imports, maps and compiles, and then waits for orders."""
        orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            program = subprocess.Popen(
                [sys.executable, "-m", "penstock.engine", json.dumps(standing)],
                stdin=theirs.fileno(),
                stdout=subprocess.PIPE,
                text=True,
                pass_fds=[standing["shared_fd"], standing["asks_fd"], *standing["wire_fds"]],
                env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},  # a thread of NumPy's would keep root's rights
            )
        return cls(program, orders, time.monotonic())

    @property
    def output(self) -> IO[str]:
        assert self.program.stdout is not None
        return self.program.stdout

    @property
    def is_alive(self) -> bool:
        return self.program.poll() is None

    def say(self, order: str) -> None:
        """Give it an order. A process that died meanwhile takes none."""
        with contextlib.suppress(OSError):
            self.orders.send(order.encode())

    def give(self, snapshot: Snapshot) -> None:
        """Have it take a snapshot."""
        with contextlib.suppress(OSError):
            socket.send_fds(self.orders, [b"snapshot"], list(snapshot.descriptors))

    def hear(self) -> str:
        """Wait for what it says; empty when it died. One that stands still for HEAR_S is ended: nobody judges meanwhile
        anyhow, and whoever waits for it could do nothing else."""
        readable, _, _ = select.select([self.output], [], [], HEAR_S)
        if readable:
            return self.output.readline().strip()
        log.error("the packet process does not answer and is ended")
        self.program.kill()
        return ""

    def wait_for(self, word: str, is_stopped: Callable[[], bool], within_s: float = READY_S) -> bool:
        """Wait until it says that word; False when we are told to stop before. Raises PacketProcessError when it ends."""
        end = time.monotonic() + within_s
        told = False
        while time.monotonic() < end and not is_stopped():
            readable, _, _ = select.select([self.output], [], [], 0.2)
            if readable:
                if self.output.readline().startswith(word):
                    return True
                status = self.program.wait()
                raise PacketProcessError(f"the packet process ended with status {status} before it was ready")
            if not told and time.monotonic() - self.started_s > LONG_S:
                told = True
                log.info("compiling the packet path, once for this version")
        if is_stopped():
            return False
        raise PacketProcessError(f"the packet process was not ready after {within_s:.0f} s")

    def close(self) -> None:
        """Give up both ends: a process that still lives ends."""
        self.orders.close()
        self.output.close()

    def end(self) -> None:
        """Have it end in order, or else."""
        self.orders.close()
        try:
            self.program.wait(END_S)
        except subprocess.TimeoutExpired:
            self.program.kill()

"""Network namespaces of this machine: made and configured by iproute2, entered by setns(2).

Entering by setns(2) alone keeps the caller's mounts (bpffs among them), unlike `ip netns exec`.
Knows names, and the programs that live in a namespace. Refuses to know what is connected to what.
"""

import ctypes
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from penstock.errors import PenstockError

NAMESPACES = Path("/run/netns")
END_S = 3.0  # how long a program may take to end after SIGTERM before it is killed
_CLONE_NEWNET = 0x4000_0000
_libc = ctypes.CDLL(None, use_errno=True)


class TopologyError(PenstockError):
    """The namespaces could not be built: one line, what the tool said."""


@contextmanager
def enter_namespace(name: str) -> Iterator[None]:
    """The calling thread is in the namespace for the time of the block; sockets and children made there stay there."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(NAMESPACES / name, os.O_RDONLY)
    try:
        _set_namespace(there)
        try:
            yield
        finally:
            _set_namespace(before)
    finally:
        os.close(there)
        os.close(before)


def configure_links(name: str | None, lines: list[str]) -> None:
    """Give `ip` a batch of lines, in a namespace or in the caller's. Raises TopologyError."""
    where = [] if name is None else ["-n", name]
    try:
        done = subprocess.run(["ip", *where, "-batch", "-"], input="\n".join(lines), capture_output=True, text=True)
    except FileNotFoundError:
        raise TopologyError("the program `ip` is missing: apt-get install iproute2") from None
    if done.returncode:
        raise TopologyError(f"ip: {done.stderr.strip().splitlines()[0]}")


def end_programs(programs: Sequence[subprocess.Popen[Any]], patience_s: float = END_S) -> None:
    """SIGTERM to each, SIGKILL to what is left after `patience_s`; all are waited for, their pipes closed."""
    for program in programs:
        program.terminate()
    deadline = time.monotonic() + patience_s
    for program in programs:
        try:
            program.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()
        for stream in (program.stdout, program.stderr):
            if stream is not None:
                stream.close()


def remove_namespace(name: str) -> None:
    """Kill what runs in a namespace and remove it; nothing when it is gone."""
    if not (NAMESPACES / name).exists():
        return
    pids = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True).stdout.split()
    for pid in map(int, pids):
        if pid != os.getpid():  # a thread of ours may still be inside
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    subprocess.run(["ip", "netns", "delete", name], capture_output=True)


def sweep(prefix: str) -> list[str]:
    """Remove the namespaces `PREFIX-PID-…`, and end the programs in them, that a dead process left; their names."""
    swept = []
    for path in NAMESPACES.glob(f"{prefix}-*"):
        found = re.match(rf"{re.escape(prefix)}-(\d+)-", path.name)
        if found and not Path("/proc", found[1]).exists():
            remove_namespace(path.name)
            swept.append(path.name)
    return swept


def _set_namespace(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), f"setns: {os.strerror(ctypes.get_errno())}")

"""A worker process as the pool has it: a program, a socket, the file of its sources, and what it is doing.

Nothing here waits. Refuses to know what an answer means, and when there was enough time for one.
"""

import contextlib
import json
import marshal
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, Self

from penstock.control.hooks.messages import MESSAGE_LIMIT_BYTES, MessageError, decode
from penstock.control.hooks.settings import PolicySettings
from penstock.control.hooks.sources import Sources
from penstock.control.whole_file import seal_file

PLACE_BYTES, PAGE_BYTES = 2, 4096
NO_HOOK = 0xFFFF
LAST_WORDS_BYTES = 4000


def open_sources(sources: Sources) -> int:
    """A sealed file in memory with the project's bytes; every worker of this version gets its descriptor."""
    return seal_file("penstock-policy", [marshal.dumps((str(sources.path), sources.name, sources.files))])


@dataclass(eq=False)
class WorkerProcess:
    """One worker."""

    program: subprocess.Popen[bytes]
    connection: socket.socket
    place: int
    last_words: int
    started_s: float
    is_loaded: bool = False
    job: Any = None
    """What it works on: the lane's."""
    job_s: float = 0.0
    """Since when."""

    @classmethod
    def start(cls, sources_fd: int, settings: PolicySettings, now_s: float) -> Self:
        """Start one. Raises OSError when the system has no room for another process."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        place = os.memfd_create("penstock-place", os.MFD_CLOEXEC)
        os.ftruncate(place, PAGE_BYTES)
        reading, writing = os.pipe2(
            os.O_NONBLOCK | os.O_CLOEXEC
        )  # a full pipe takes no more: nobody waits for a reader
        sources = os.open(f"/proc/self/fd/{sources_fd}", os.O_RDONLY)  # read from its beginning, whoever else reads
        standing = {"socket": theirs.fileno(), "sources": sources, "place": place}
        standing |= {"memory_mb": settings.memory_mb, "network": settings.network}
        try:
            program = subprocess.Popen(
                [sys.executable, "-P", "-m", "penstock.control.hooks.worker", json.dumps(standing)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=writing,
                pass_fds=[theirs.fileno(), sources, place],
                start_new_session=True,
                # Threads of libraries would keep root's rights. Pools of memory for each of them cost address space.
                env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"},
            )
        except BaseException:
            ours.close()
            os.close(place)
            os.close(reading)
            raise
        finally:
            theirs.close()
            os.close(writing)
            os.close(sources)
        return cls(program, ours, place, reading, now_s)

    def give(self, content: bytes) -> bool:
        """Give it a job. False when it takes none: it died."""
        try:
            os.pwrite(self.place, NO_HOOK.to_bytes(PLACE_BYTES, "little"), 0)
            self.connection.send(content)
        except OSError:
            return False
        return True

    def hear(self) -> dict[str, Any] | None:
        """What it says; None: nothing yet. Raises MessageError for nonsense, EOFError when it is gone."""
        try:
            content = self.connection.recv(MESSAGE_LIMIT_BYTES + 1)
        except BlockingIOError:
            return None
        except OSError:
            content = b""
        if not content:
            raise EOFError
        if len(content) > MESSAGE_LIMIT_BYTES:
            raise MessageError("too long")
        return decode(content)

    @property
    def hook(self) -> int:
        """The hook that it runs for its job, or ran last; NO_HOOK before the first."""
        return int.from_bytes(os.pread(self.place, PLACE_BYTES, 0), "little")

    def read_last_words(self) -> str:
        """What stands on its standard error: the interpreter's own cry, if any."""
        with contextlib.suppress(OSError):
            return os.read(self.last_words, LAST_WORDS_BYTES).decode("utf-8", "replace")
        return ""

    def kill(self) -> None:
        """End it, whatever it does."""
        with contextlib.suppress(OSError):
            self.program.send_signal(signal.SIGKILL)

    def has_ended(self) -> bool:
        """Is it gone, and its entry taken from the system's table?"""
        return self.program.poll() is not None

    def close(self) -> None:
        """Let go of everything that is ours; one that waits for jobs ends."""
        self.connection.close()
        for number in (self.place, self.last_words):
            with contextlib.suppress(OSError):
                os.close(number)
        self.place = self.last_words = -1

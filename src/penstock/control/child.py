"""Programs of ours that read what others wrote: started by the control process, with few rights, and answered in frames.

    parent ──order (standard input)──► child ──frames──► parent      a frame: | kind: 1 | bytes: 4 | payload |

The child gives up its rights before it looks at anything foreign; the parent bounds the frames, and the time. Neither side
knows here what an order means.
"""

import ctypes
import os
import resource
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import IO

from penstock.errors import PenstockError
from penstock.line.privileges import (
    CAPABILITIES,
    NO_NEW_PRIVILEGES,
    give_up_everything,
    keep_capabilities,
    read_permitted,
)

DATA, SAID, FAILED = b"D", b"S", b"F"  # bytes; JSON; why it came to nothing
FRAME_LIMIT_BYTES = 1 << 20
HEAD = struct.Struct("<cI")
DIES_WITH_PARENT = 1  # prctl(2): PR_SET_PDEATHSIG
END_S = 5.0
TEXT_LIMIT = 2000

_libc = ctypes.CDLL(None, use_errno=True)


class ChildError(PenstockError):
    """It came to nothing; the text says why."""


class Child:
    """A child at work. As a context: it is over with the block."""

    def __init__(self, module: str, order: bytes, within_s: float) -> None:
        self._end_s = time.monotonic() + within_s
        self._within_s = within_s
        self._program = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},  # a thread of NumPy's would keep root's rights
        )
        # It may be busy with imports, or dead: an order that is larger than a pipe must not hold anybody up.
        threading.Thread(target=self._write, args=(order,), daemon=True).start()

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def frames(self) -> Iterator[tuple[bytes, bytes]]:
        """What it answers, until it ends. Raises ChildError: it failed, is late, or says what no child of ours would."""
        assert self._program.stdout is not None
        while head := self._read(self._program.stdout, HEAD.size):
            kind, size_bytes = HEAD.unpack(head)
            if kind not in (DATA, SAID, FAILED) or size_bytes > FRAME_LIMIT_BYTES:
                raise ChildError("a frame that none should be: a defect to report")
            payload = self._read(self._program.stdout, size_bytes) if size_bytes else b""
            if kind == FAILED:
                text = payload.decode("utf-8", "replace")[:TEXT_LIMIT]
                raise ChildError("".join(letter if letter.isprintable() else "?" for letter in text))
            yield kind, payload
        status = self._program.wait(END_S)
        if status:
            raise ChildError(f"the process that did it ended {_word_status(status)}")

    def end(self) -> None:
        """Have it end now."""
        if self._program.poll() is None:
            self._program.kill()
        self._program.wait()
        assert self._program.stdout is not None
        self._program.stdout.close()

    def _write(self, order: bytes) -> None:
        assert self._program.stdin is not None
        try:
            with self._program.stdin as pipe:
                pipe.write(order)
        except OSError:
            return  # it died, which its status tells

    def _read(self, pipe: IO[bytes], size_bytes: int) -> bytes:
        """So many bytes; none at the end."""
        content = b""
        while len(content) < size_bytes:
            left_s = self._end_s - time.monotonic()
            if left_s <= 0 or not select.select([pipe], [], [], left_s)[0]:
                raise ChildError(f"it took longer than {self._within_s:.0f} s")
            piece = os.read(pipe.fileno(), size_bytes - len(content))
            if not piece:
                if content:
                    raise ChildError("the process that did it ended in the middle")
                break
            content += piece
        return content


def _word_status(status: int) -> str:
    if status < 0:
        return f"by {signal.Signals(-status).name}"
    return f"with status {status}"


# ---- in the child -----------------------------------------------------------------------------------------------------
def send_frame(kind: bytes, payload: bytes) -> None:
    """Answer with a frame. A parent that is gone ends us (SIGPIPE)."""
    content = memoryview(HEAD.pack(kind, len(payload)) + payload)
    while content:
        content = content[os.write(1, content) :]


def confine(memory_bytes: int, is_nobody: bool) -> None:
    """Give up what this process does not need; as root become nobody, where asked to. Before NumPy is imported.

    Without the rights of root there is nothing to give up: then only no_new_privs holds. Raises PrivilegeError.
    """
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal: whoever started us ends us
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    limit = resource.getrlimit(resource.RLIMIT_AS)[1]
    if limit == resource.RLIM_INFINITY or memory_bytes < limit:
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    if os.geteuid() != 0:
        _libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    elif is_nobody:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        give_up_everything()
    else:
        # Where somebody's home directory has the configuration, root's access to everybody's files reads the lists.
        bit = CAPABILITIES["dac_override"]
        keep_capabilities(["dac_override"] if read_permitted() >> bit & 1 else [])
    _libc.prctl(DIES_WITH_PARENT, int(signal.SIGKILL), 0, 0, 0)  # it is forgotten when the user changes: so at last

"""Writing a file that others map: it appears whole or not at all, and the old one stays until then; or it has no name.

It does not know what is written.
"""

import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL


def write_whole(path: Path, parts: Iterable[Any], mode: int = 0o644) -> int:
    """Put `parts` (buffers) one after the other into `path`, in one step. Returns the file's size in bytes.

    A name beside `path` is filled, forced to disk and renamed. Writers of one directory wait for each other, so that a
    killed one leaves nothing but that name, which the next one uses. Raises OSError (disk full, no permission, ...);
    the file that was there is untouched then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.unfinished")
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        size_bytes = _fill(unfinished, parts, mode)
        os.replace(unfinished, path)
        os.fsync(directory)
        return size_bytes
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    finally:
        os.close(directory)


def _fill(path: Path, parts: Iterable[Any], mode: int) -> int:
    size_bytes = 0
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode), "wb") as file:
        for part in parts:
            size_bytes += file.write(part)
        file.flush()
        os.fsync(file.fileno())
    return size_bytes


def seal_file(name: str, parts: Iterable[Any]) -> int:
    """Put `parts` into a file in memory that has no name and that nobody can change any more, root included.

    Returns a descriptor to read it. Raises OSError. `name` is what /proc shows.
    """
    writing = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(writing, "wb", buffering=0) as file:
        for part in parts:
            rest = memoryview(part).cast("B")
            while rest:
                rest = rest[file.write(rest) :]
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, SEALS)
        # Linux before 6.7 lets nobody share a sealed file's memory who could write to it by his descriptor.
        return os.open(f"/proc/self/fd/{writing}", os.O_RDONLY | os.O_CLOEXEC)

"""Numba to native code: one decorator, and a disk cache that cannot go stale.

Numba's own cache notices an edit of the file that holds the function, not of the files it calls. So the cache directory
is named by a hash over every source of the package and the versions of everything that takes part: an edit anywhere is
another directory. Without a writable place the kernels are compiled at each start, which `check` reports.
"""

import hashlib
import os
import platform
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numba
from numba import config, njit

from penstock.compile.memory import CHECKED

PACKAGE = Path(__file__).resolve().parent.parent


@cache
def source_hash() -> str:
    """A hash of the package's sources, the compilers' versions and the processor, as 16 hex digits."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(str(path.relative_to(PACKAGE)).encode())
        digest.update(path.read_bytes())
    for part in (numba.__version__, llvmlite.__version__, platform.python_version(), llvm.get_host_cpu_name()):
        digest.update(str(part).encode() + b"\0")
    return digest.hexdigest()[:16]


@cache
def cache_directory() -> Path | None:
    """Where compiled code is kept; None where no place is writable.

    `$PENSTOCK_CACHE`, else `/var/cache/penstock` for root, else `$XDG_CACHE_HOME/penstock` or `~/.cache/penstock`.
    """
    named = os.environ.get("PENSTOCK_CACHE")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "penstock"
    places = [Path(named)] if named else [Path("/var/cache/penstock"), home]
    for place in places:
        directory = place / source_hash()
        try:
            directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(directory, os.W_OK):
            return directory
    return None


def _numba_cache() -> bool:
    directory = cache_directory()
    if directory is None or CHECKED:  # the checked build has addresses of this process in its code
        return False
    config.CACHE_DIR = str(directory / "native")
    return True


CACHED = _numba_cache()


def kernel(function: Any) -> Any:
    """Compile for the process: no GIL, no exceptions from arithmetic, kept on disk."""
    return njit(nogil=True, cache=CACHED, error_model="numpy")(function)

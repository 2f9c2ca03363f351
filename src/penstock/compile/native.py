"""The native compiler as the rest of the package sees it: `kernel(function)`, and a disk cache that cannot go stale.

The cache directory is named by a hash over every source of the package and the versions of everything that takes part:
an edit anywhere is another directory. In it stands one object file per kernel. Without a writable place the kernels are
compiled at each start, which `check` reports.

It knows nothing of how a function becomes an object (`machine`, `object_file`).
"""

import ctypes
import hashlib
import operator
import os
import platform
import struct
from collections.abc import Callable
from functools import cache, update_wrapper
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numba
from numba.core.compiler_lock import global_compiler_lock

from penstock.compile import machine, object_file
from penstock.compile.memory import CHECKED, INT

PACKAGE = Path(__file__).resolve().parent.parent
RESULTS = {"int64": ctypes.c_int64, "bool": ctypes.c_bool, "none": None}
HEAD = struct.Struct("32s8s")  # of a kept file: SHA-256 of all that follows it, then the result's type


@cache
def source_hash() -> str:
    """A hash of the package's sources, the compilers' versions, the processor and the choice of a cipher: 16 hex digits."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(str(path.relative_to(PACKAGE)).encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    processor = llvm.get_host_cpu_name(), object_file.features(), os.environ.get("PENSTOCK_CIPHER", "")
    for part in (numba.__version__, llvmlite.__version__, platform.python_version(), *processor):
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


def _find_kept(function: Any) -> Path | None:
    """Where a function's object file is kept; None for one that the directory's hash does not cover, and for the checked
    build, which has addresses of this process in its code."""
    directory = cache_directory()
    inside = Path(function.__code__.co_filename).resolve().is_relative_to(PACKAGE)
    if directory is None or CHECKED or not inside or "<" in function.__qualname__:
        return None
    return directory / f"{function.__module__}.{function.__qualname__}.o"


def _read_kept(path: Path) -> tuple[bytes, str] | None:
    """The object and its result's type; None if the file is missing or damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if len(content) < HEAD.size or hashlib.sha256(content[32:]).digest() != content[:32]:
        return None
    return content[HEAD.size :], HEAD.unpack_from(content)[1].rstrip(b"\0").decode()


def keep(path: Path, content: bytes) -> None:
    """Put a file into the cache whole or not at all; a full disk costs a compilation at the next start, no more."""
    partial = path.with_suffix(f".{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)


def _write_kept(path: Path, content: bytes, result: str) -> None:
    body = HEAD.pack(b"", result.encode())[32:] + content
    keep(path, hashlib.sha256(body).digest() + body)


class Kernel:
    """A function in native code: called with integers (taken modulo 2^64), without the interpreter's lock."""

    def __init__(self, function: Any) -> None:
        update_wrapper(self, function)
        self.py_func = function
        self._arity = function.__code__.co_argcount
        self._entry: Callable[..., Any] | None = None

    def compile(self, signature: tuple[Any, ...]) -> None:
        """Have the code in memory, from the cache or compiled. The signature is int64 for each parameter."""
        if tuple(signature) != (INT,) * self._arity:
            raise TypeError(f"{self.py_func.__qualname__} takes {self._arity} int64, not {signature}")
        self._load()

    @global_compiler_lock
    def _load(self) -> Callable[..., Any]:
        if self._entry is None:
            kept = _find_kept(self.py_func)
            found = _read_kept(kept) if kept else None
            content, result = found or machine.emit(self.py_func, self._arity)
            if kept and not found:
                _write_kept(kept, content, result)
            prototype = ctypes.CFUNCTYPE(RESULTS[result], *[ctypes.c_int64] * self._arity)
            self._entry = prototype(object_file.load_object(content))
        return self._entry

    def __call__(self, *args: Any) -> Any:
        entry = self._entry or self._load()
        if len(args) != self._arity:
            raise TypeError(f"{self.py_func.__qualname__} takes {self._arity} integers, not {len(args)}")
        try:
            return entry(*args)
        except ctypes.ArgumentError:  # ctypes takes int only, not what can become one (numpy's integers)
            return entry(*map(operator.index, args))


def kernel(function: Any) -> Kernel:
    """Compile for the process at the first call: every argument an int64, no GIL, no exceptions, kept on disk."""
    return Kernel(function)

"""The files of an operator's project, read whole: every process of one version runs the same bytes, whatever is edited.

A project is a Python file, or a package with what lies in it (`pkgutil.get_data` finds data files). Knows files and when
they changed. Refuses to know what they say: nothing of them runs here.
"""

import keyword
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from penstock.errors import PenstockError

FILE_LIMIT = 1000
SIZE_LIMIT_BYTES = 32 << 20
STILL_S = 1.0  # for so long nothing may change before a change is taken: an editor writes, a copy goes on

Signature = tuple[tuple[str, int, int, int], ...]
"""Name, inode, time of change and size of each file."""


class ProjectError(PenstockError):
    """A project that cannot be used; the text says where, and what was expected."""


@dataclass(frozen=True)
class Sources:
    """A project as it was at one moment."""

    path: Path
    name: str
    """Of the module to import."""
    files: dict[str, bytes]
    """By absolute name."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the project at `path`. Raises ProjectError."""
        path = path.absolute()
        name = path.name if path.is_dir() else path.stem
        if path.is_dir() and not (path / "__init__.py").is_file():
            raise ProjectError(f"{path}: expected a package: a directory with an __init__.py")
        if not path.is_dir() and path.suffix != ".py":
            raise ProjectError(f"{path}: expected a Python file, *.py, or a package")
        if not name.isidentifier() or keyword.iskeyword(name):
            raise ProjectError(f"{path}: expected a name that Python can import, of letters, digits and _")
        if name in sys.stdlib_module_names or name == "penstock":
            raise ProjectError(f"{path}: expected another name: `{name}` is a module of its own")
        files, size = {}, 0
        for file in _list_files(path):
            try:
                files[str(file)] = file.read_bytes()
            except OSError as error:
                raise ProjectError(f"{file}: {error.strerror}") from None
            size += len(files[str(file)])
            if len(files) > FILE_LIMIT or size > SIZE_LIMIT_BYTES:
                raise ProjectError(
                    f"{path}: expected at most {FILE_LIMIT:,} files and {SIZE_LIMIT_BYTES >> 20} MB in all"
                )
        return cls(path, name, files)


def _list_files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for directory, names, files in os.walk(path):
        names[:] = sorted(name for name in names if name != "__pycache__" and not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and not name.endswith((".pyc", "~")) and os.path.isfile(f"{directory}/{name}"):
                yield Path(directory, name)


class SourceWatch:
    """Says when a project changed and stands still. Ask it as often as you like: it looks about four times a second."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._taken = self._seen = self._sign()
        self._since_s = self._looked_s = 0.0

    def has_changed(self, now_s: float) -> bool:
        """Has it changed since it was last said to, or since the start?"""
        if now_s - self._looked_s < STILL_S / 4:
            return False
        self._looked_s = now_s
        signature = self._sign()
        if signature != self._seen:
            self._seen, self._since_s = signature, now_s
        if signature == self._taken or now_s - self._since_s < STILL_S:
            return False
        self._taken = signature
        return True

    def _sign(self) -> Signature:
        rows = []
        try:
            for number, file in enumerate(_list_files(self.path.absolute())):
                found = file.stat()
                rows.append((str(file), found.st_ino, found.st_mtime_ns, found.st_size))
                if number > FILE_LIMIT:
                    break
        except OSError:
            pass  # it goes while we look: another look sees it gone
        return tuple(rows)

"""Importing a project from the bytes that were read of it: who runs it opens none of its files, and may not be allowed to.
Tracebacks show its lines and `pkgutil.get_data` finds its data files all the same.

Runs in a worker process. Knows Python's import protocol; refuses to know hooks.
"""

import ast
import contextlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from types import ModuleType

ALWAYS = ("zoneinfo", "encodings.idna", "linecache", "pkgutil", "datetime", "ipaddress")


class SourceFinder(importlib.abc.MetaPathFinder):
    """Finds a project's modules, before anything else is looked for."""

    def __init__(self, path: str, name: str, files: dict[str, bytes]) -> None:
        self.root, self.name, self.files = PurePath(path), name, files

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        parts = fullname.split(".")
        if parts[0] != self.name:
            return None
        if self.root.suffix == ".py":
            return self._make_spec(fullname, str(self.root), False) if len(parts) == 1 else None
        below = self.root.joinpath(*parts[1:])
        for file, is_package in ((below / "__init__.py", True), (below.with_name(f"{below.name}.py"), False)):
            if str(file) in self.files:
                return self._make_spec(fullname, str(file), is_package)
        return None

    def _make_spec(self, name: str, file: str, is_package: bool) -> importlib.machinery.ModuleSpec | None:
        locations = [str(PurePath(file).parent)] if is_package else None
        loader = SourceBytesLoader(file, self.files)
        return importlib.util.spec_from_file_location(name, file, loader=loader, submodule_search_locations=locations)


class SourceBytesLoader(importlib.abc.SourceLoader):
    """Loads one module."""

    def __init__(self, file: str, files: dict[str, bytes]) -> None:
        self.file, self.files = file, files

    def get_filename(self, fullname: str) -> str:
        return self.file

    def get_data(self, path: bytes | str) -> bytes:
        try:
            return self.files[str(PurePath(str(path)))]
        except KeyError:
            raise FileNotFoundError(2, "not a file of the project", str(path)) from None


def import_others(files: dict[str, bytes], name: str) -> None:
    """Import what a project's modules name at their top that is not its own, while our own files can still be read: an
    environment may lie in a home directory that is closed to others. What fails here is said when the project fails."""
    with contextlib.suppress(SyntaxError, ValueError):
        wanted = list(ALWAYS)
        for file, content in files.items():
            if file.endswith(".py"):
                wanted += [found for found in _find_imports(content) if found.split(".")[0] != name]
        for module in dict.fromkeys(wanted):
            with contextlib.suppress(Exception):
                importlib.import_module(module)


def _find_imports(content: bytes) -> Iterator[str]:
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


def import_project(finder: SourceFinder) -> None:
    """Import the project. Raises whatever it raises."""
    sys.meta_path.insert(0, finder)
    importlib.import_module(finder.name)

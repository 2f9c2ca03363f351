"""The cache of native code: what it depends on, what it survives, and the checked build."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.compile import machine, native
from penstock.compile.memory import CHECKED, INT
from penstock.compile.native import Kernel, kernel
from penstock.wire import checksum

LOAD_S = 0.2  # to have a kernel from the cache; a compilation of `verify_tcp` alone takes longer
FRESH = """
import time
import numpy as np
from penstock.compile import machine, native
from penstock.compile.memory import INT
from penstock.wire.checksum import verify_tcp
room = np.zeros(64)
place = int(room.ctypes.data), int(room.ctypes.data) + 20, 40, 0
native.source_hash()
start = time.process_time()
run = native.kernel(verify_tcp)
run.compile((INT,) * 4)
print(time.process_time() - start, len(machine._dispatchers), run(*place) is not None)
"""
CHECKED_RUN = """
import numpy as np
from penstock.compile.memory import allow, take_fault, u64
from penstock.compile.native import kernel

def read(address):
    return u64(address)

room = np.arange(2)
allow(room.ctypes.data, room.ctypes.data + 16)
run = kernel(read)
print(run(room.ctypes.data + 8), take_fault(), run(room.ctypes.data + 9), take_fault()[1:], take_fault())
"""

kept_only = pytest.mark.skipif(CHECKED, reason="the checked build keeps nothing")


def run_fresh(script: str, **environment: str) -> list[str]:
    """The words that a script prints in a process of its own."""
    inherited = {name: value for name, value in os.environ.items() if name != "PENSTOCK_CHECKED"}
    found = [str(native.PACKAGE.parent), os.environ.get("PYTHONPATH", "")]
    child = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False,
        env=inherited | {"PYTHONPATH": os.pathsep.join(found)} | environment,
    )  # fmt: skip
    assert child.returncode == 0, child.stderr
    return child.stdout.split()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the package that the hash is taken over."""
    copied = copytree(native.PACKAGE, tmp_path / "penstock", ignore=lambda *_: ["__pycache__"])
    monkeypatch.setattr(native, "PACKAGE", copied)
    native.source_hash.cache_clear()
    yield copied
    native.source_hash.cache_clear()


def hash_again() -> str:
    native.source_hash.cache_clear()
    return native.source_hash()


def test_an_edit_anywhere_is_another_directory(package: Path) -> None:
    seen = {hash_again()}
    assert hash_again() in seen
    for number, path in enumerate(sorted(package.rglob("*.py")), 2):
        path.write_bytes(path.read_bytes() + b"\n")
        seen.add(hash_again())
        assert len(seen) == number, f"an edit of {path.name} went unseen"
    (package / "wire" / "headers.py").rename(package / "wire" / "head.py")
    seen.add(hash_again())
    (package / "wire" / "added.py").touch()
    seen.add(hash_again())
    assert len(seen) == number + 2


def test_a_file_that_grows_at_the_cost_of_the_next_is_an_edit(package: Path) -> None:
    first, second = package / "wire" / "aa.py", package / "wire" / "ab.py"
    first.write_text("x = 1\n")
    second.write_text("y = 1\n")
    before = hash_again()
    first.write_text("x = 1\nwire/ab.pyy = 1\n")
    second.unlink()
    assert hash_again() != before


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(native, "cache_directory", lambda: tmp_path)
    return tmp_path


def forbid_compilation(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("compiled")

    monkeypatch.setattr(machine, "emit", refuse)


@kept_only
def test_a_kept_kernel_is_not_compiled_again(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = kernel(checksum.fold)
    value = first(5)
    assert [path.name for path in directory.iterdir()] == ["penstock.wire.checksum.fold.o"]
    forbid_compilation(monkeypatch)
    assert kernel(checksum.fold)(5) == value


@kept_only
@settings(max_examples=30, deadline=None)
@given(st.data())
def test_a_damaged_file_is_not_loaded(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("kept") / "kernel.o"
    native._write_kept(path, b"object" * 10, "int64")
    assert native._read_kept(path) == (b"object" * 10, "int64")
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[at] ^= data.draw(st.integers(1, 255))
    else:
        del content[at:]
    path.write_bytes(content)
    assert native._read_kept(path) is None


@kept_only
def test_a_damaged_file_is_replaced(directory: Path) -> None:
    kept = directory / "penstock.wire.checksum.fold.o"
    kept.write_bytes(b"not an object")
    kernel(checksum.fold)(5)
    assert native._read_kept(kept) is not None


def test_a_full_disk_is_no_error(tmp_path: Path) -> None:
    native._write_kept(tmp_path / "missing" / "kernel.o", b"object", "int64")
    assert not (tmp_path / "missing").exists()


def outside(value):  # type: ignore[no-untyped-def]
    return value + 1


def test_what_the_hash_does_not_cover_is_not_kept(directory: Path) -> None:
    assert kernel(outside)(1) == 2
    assert list(directory.iterdir()) == []


@kept_only
def test_a_fresh_process_loads_what_another_compiled(tmp_path: Path) -> None:
    compiled = run_fresh(FRESH, PENSTOCK_CACHE=str(tmp_path))
    loaded = run_fresh(FRESH, PENSTOCK_CACHE=str(tmp_path))
    assert int(compiled[1]) > 0
    assert loaded[1:] == ["0", "True"]
    assert float(loaded[0]) < LOAD_S


def test_without_a_writable_place_every_process_compiles(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for _ in range(2):
        assert int(run_fresh(FRESH, PENSTOCK_CACHE=str(tmp_path / "file" / "cache"))[1]) > 0


def test_the_checked_build_tells_a_read_outside_and_keeps_nothing(tmp_path: Path) -> None:
    words = run_fresh(CHECKED_RUN, PENSTOCK_CACHE=str(tmp_path), PENSTOCK_CHECKED="1")
    assert words[:2] == ["1", "None"]
    assert words[-3:] == ["(8,", "1)", "None"]
    assert not list(tmp_path.rglob("*.o"))
    run_fresh(FRESH, PENSTOCK_CACHE=str(tmp_path), PENSTOCK_CHECKED="1")
    assert not list(tmp_path.rglob("*.o"))


def test_a_kernel_says_what_it_takes() -> None:
    run = kernel(outside)
    assert isinstance(run, Kernel)
    assert run.__name__ == "outside"
    assert run.py_func is outside
    with pytest.raises(TypeError, match="takes 1 int64"):
        run.compile((INT, INT))
    for arguments in ((), (1, 2)):
        with pytest.raises(TypeError, match="takes 1 integers"):
            run(*arguments)
    with pytest.raises(TypeError):
        run("1")

"""A file appears whole or not at all, whatever ends the writer."""

import errno
import mmap
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from penstock.control import whole_file
from penstock.control.whole_file import seal_file, write_whole

SOURCE = str(Path(whole_file.__file__).parents[2])


def run_writer(body: str, path: Path) -> int:
    """Run Python in a process of its own with `write_whole` and `path`. Returns its exit status."""
    script = f"""
        import os, resource, signal, sys
        from pathlib import Path
        from penstock.control.whole_file import write_whole
        path = Path(sys.argv[1])
        {textwrap.indent(textwrap.dedent(body), " " * 8).strip()}
    """
    argv = [sys.executable, "-c", textwrap.dedent(script), str(path)]
    return subprocess.run(argv, env={**os.environ, "PYTHONPATH": SOURCE}, check=False, timeout=60).returncode


def test_parts_follow_each_other(tmp_path: Path) -> None:
    path = tmp_path / "made" / "on the way" / "file"
    assert write_whole(path, [b"one", memoryview(b"two")]) == 6
    assert path.read_bytes() == b"onetwo"
    assert os.listdir(path.parent) == ["file"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def refuse(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(whole_file.os, "fsync", refuse)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, [b"new"])
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_write_that_the_kernel_refuses_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    body = """\
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            write_whole(path, [bytes(1000)] * 200)
        except OSError:
            sys.exit(3)
    """
    assert run_writer(body, path) == 3
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_killed_writer_leaves_the_old_file_and_the_next_one_succeeds(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    body = """\
        os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
        write_whole(path, [b"new, and longer than the next"])
    """
    assert run_writer(body, path) == -9
    assert path.read_bytes() == b"old"
    write_whole(path, [b"next"])
    assert path.read_bytes() == b"next"
    assert os.listdir(tmp_path) == ["file"]


def test_a_reader_keeps_the_file_that_it_opened(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, [b"old"])
    with path.open("rb") as reader:
        write_whole(path, [b"new"])
        assert reader.read() == b"old"


def test_a_sealed_file_is_read_and_never_written() -> None:
    number = seal_file("test", [b"12345678", memoryview(b"abc"), b""])
    try:
        with mmap.mmap(number, 0, mmap.MAP_SHARED, mmap.PROT_READ) as mapped:
            assert mapped[:] == b"12345678abc"
        assert os.readlink(f"/proc/self/fd/{number}").endswith("test (deleted)")
        for change in (lambda: os.write(number, b"x"), lambda: os.ftruncate(number, 0)):
            with pytest.raises(OSError, match=r"Bad file descriptor|Invalid argument"):
                change()
        again = os.open(f"/proc/self/fd/{number}", os.O_RDWR)
        for change in (lambda: os.write(again, b"x"), lambda: os.ftruncate(again, 0), lambda: os.ftruncate(again, 99)):
            with pytest.raises(PermissionError):
                change()
        os.close(again)
    finally:
        os.close(number)

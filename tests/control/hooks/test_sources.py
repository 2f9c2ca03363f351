"""A project is read whole, refused with its place, and watched until it stands still."""

import os
from pathlib import Path

import pytest

from penstock.control.hooks import sources
from penstock.control.hooks.sources import STILL_S, ProjectError, Sources, SourceWatch


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "exam.py"
    path.write_text("x = 1\n")
    assert Sources.read(path) == Sources(path, "exam", {str(path): b"x = 1\n"})


def test_a_package_with_all_that_is_of_it(tmp_path: Path) -> None:
    package = tmp_path / "exam"
    for name in ("__init__.py", "a.py", "names.txt", "deep/b.py", ".git/config", "__pycache__/a.pyc", "a.py~"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(name)
    os.mkfifo(package / "pipe")
    read = Sources.read(package)
    assert (read.name, sorted(Path(name).relative_to(package).as_posix() for name in read.files)) == (
        "exam", ["__init__.py", "a.py", "deep/b.py", "names.txt"]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("absent.py", "No such file"),
        ("policy.txt", r"expected a Python file, \*\.py"),
        ("my-policy.py", "expected a name that Python can import"),
        ("class.py", "expected a name that Python can import"),
        ("json.py", "expected another name: `json`"),
        ("penstock.py", "expected another name"),
        ("empty", "expected a package: a directory with an __init__.py"),
    ],
)
def test_what_is_no_project_is_refused(tmp_path: Path, name: str, error: str) -> None:
    (tmp_path / "empty").mkdir()
    for other in ("policy.txt", "my-policy.py", "class.py", "json.py", "penstock.py"):
        (tmp_path / other).write_text("")
    with pytest.raises(ProjectError, match=error) as raised:
        Sources.read(tmp_path / name)
    assert str(raised.value).startswith(str(tmp_path / name))


def test_there_is_an_end_of_files_and_of_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "many").mkdir()
    for name in ("__init__.py", "a.py", "b.py"):
        (tmp_path / "many" / name).write_text("#" * 100)
    assert len(Sources.read(tmp_path / "many").files) == 3
    for name, limit in (("FILE_LIMIT", 2), ("SIZE_LIMIT_BYTES", 299)):
        with monkeypatch.context() as patch:
            patch.setattr(sources, name, limit)
            with pytest.raises(ProjectError, match="expected at most"):
                Sources.read(tmp_path / "many")


def test_a_change_is_told_once_when_it_stands_still(tmp_path: Path) -> None:
    package = tmp_path / "exam"
    package.mkdir()
    (package / "__init__.py").write_text("x = 1\n")
    watch, told, step_s = SourceWatch(package), [], STILL_S / 4
    changes = {
        10: lambda: (package / "__init__.py").write_text("x = 22\n"),
        12: lambda: (package / "b.py").write_text("y = 1\n"),
        13: lambda: (package / "b.py").write_text("y = 12\n"),
        30: lambda: (package / "b.py").unlink(),
        50: lambda: os.utime(package / "__init__.py", ns=(1, 1)),
    }
    for turn in range(70):
        changes.get(turn, lambda: None)()
        if watch.has_changed(100 + turn * step_s):
            told.append(turn)
    assert told == [17, 34, 54]


def test_a_project_that_is_gone_is_a_change_too(tmp_path: Path) -> None:
    path = tmp_path / "exam.py"
    path.write_text("x = 1\n")
    watch = SourceWatch(path)
    path.unlink()
    assert [watch.has_changed(second) for second in (1.0, 1.9, 2.2, 9.0)] == [False, False, True, False]

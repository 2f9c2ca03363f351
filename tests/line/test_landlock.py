"""What a confined process can still write to: asked of the kernel, in children."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

CONFINED = """
import sys
from pathlib import Path
from penstock.line.landlock import confine_writing
from penstock.line.privileges import NO_NEW_PRIVILEGES, _libc
_libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
if not confine_writing([Path(sys.argv[1])]):
    sys.exit(77)
exec(sys.argv[2])
"""


def do(place: Path, statement: str) -> str:
    """The exception that a statement raises in a process that may write below `place` alone; empty: none."""
    words = [sys.executable, "-c", CONFINED, str(place), statement]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode == 77:
        pytest.skip("this kernel has no Landlock")
    return done.stderr.strip().rpartition("\n")[2].partition(":")[0]


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("free", "held"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("content")
    return tmp_path / "free", tmp_path / "held"


STATEMENTS: list[Callable[[Path], str]] = [
    lambda at: f"Path('{at}/new').write_text('x')",
    lambda at: f"Path('{at}/file').write_text('x')",
    lambda at: f"open('{at}/file', 'a')",
    lambda at: f"Path('{at}/file').unlink()",
    lambda at: f"Path('{at}/new').mkdir()",
    lambda at: f"Path('{at}/file').rename('{at}/other')",
    lambda at: f"Path('{at}/new').symlink_to('/')",
    lambda at: f"import os; os.truncate('{at}/file', 0)",
]


@pytest.mark.parametrize("statement", STATEMENTS)
def test_writing_is_free_in_one_place(places: tuple[Path, Path], statement: Callable[[Path], str]) -> None:
    free, held = places
    assert do(free, statement(free)) == ""
    assert do(free, statement(held)) == "PermissionError"
    assert [path.name for path in held.iterdir()] == ["file"]
    assert (held / "file").read_text() == "content"


def test_what_leads_out_is_closed(places: tuple[Path, Path]) -> None:
    free, held = places
    assert do(free, f"Path('{free}/file').rename('{held}/file')") in ("OSError", "PermissionError")
    assert (held / "file").read_text() == "content"
    (free / "link").symlink_to(held / "file")
    assert do(free, f"Path('{free}/link').write_text('x')") == "PermissionError"


def test_reading_is_as_it_was(places: tuple[Path, Path]) -> None:
    free, held = places
    assert do(free, f"assert Path('{held}/file').read_text() == 'content'") == ""


def test_no_connection_can_be_made(places: tuple[Path, Path]) -> None:
    version = os.uname().release.split(".")[:2]
    if tuple(map(int, version)) < (6, 7):
        pytest.skip("this kernel's Landlock knows no TCP")
    with socket.create_server(("127.0.0.1", 0)) as server:
        where = server.getsockname()
        assert do(places[0], f"import socket; socket.create_connection({where})") == "PermissionError"

"""Children that read what others wrote: what the parent takes of them, and what they can do; with real ones."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.control.child import DATA, SAID, Child, ChildError
from penstock.line.privileges import find_user

Make = Callable[[str], str]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Make a module of a child's statements. Returns its name."""
    path = os.pathsep.join([str(tmp_path), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    monkeypatch.setenv("PYTHONPATH", path)

    def write(statements: str) -> str:
        head = "import os, sys, time\nfrom penstock.control.child import confine, send_frame\n"
        (tmp_path / "a_child.py").write_text(head + statements)
        return "a_child"

    return write


def hear(module: str, order: bytes = b"", within_s: float = 20.0) -> list[tuple[bytes, bytes]]:
    with Child(module, order, within_s) as child:
        return list(child.frames())


def test_it_says_what_it_was_told(make: Make) -> None:
    module = make(
        "content = sys.stdin.buffer.read()\nsend_frame(b'D', content[:9])\nsend_frame(b'S', b'%d' % len(content))\n"
    )
    assert hear(module, b"x" * 3_000_000) == [(DATA, b"x" * 9), (SAID, b"3000000")]


@pytest.mark.parametrize(
    ("statements", "reason"),
    [
        ("send_frame(b'F', 'it is\\nbad'.encode())", "it is?bad"),
        ("os.write(1, b'X\\0\\0\\0\\0')", "a frame that none should be: a defect to report"),
        ("os.write(1, b'D\\xff\\xff\\xff\\xff')", "a frame that none should be: a defect to report"),
        ("os.write(1, b'D\\x10\\0\\0\\0abc')", "the process that did it ended in the middle"),
        ("sys.exit(3)", "the process that did it ended with status 3"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "the process that did it ended by SIGSEGV"),
    ],
)
def test_what_it_does_wrong_is_told(make: Make, statements: str, reason: str) -> None:
    with pytest.raises(ChildError) as caught:
        hear(make(statements))
    assert str(caught.value) == reason


def test_one_that_is_late_is_ended(make: Make) -> None:
    begin_s = time.monotonic()
    with Child(make("send_frame(b'S', b'%d' % os.getpid())\ntime.sleep(60)\n"), b"", 3.0) as child:
        frames = child.frames()
        _, pid = next(frames)
        with pytest.raises(ChildError, match="longer than 3 s"):
            next(frames)
    assert time.monotonic() - begin_s < 20
    assert not Path(f"/proc/{pid.decode()}").exists()


def test_one_whose_order_nobody_reads_holds_nobody_up(make: Make) -> None:
    assert hear(make("os.close(0)\n"), b"x" * 3_000_000) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="not root: there is nothing to give up")
def test_nobody_has_no_rights_and_bounded_memory(make: Make, tmp_path: Path) -> None:
    (tmp_path / "a_child.py").touch(0o644)
    secret = tmp_path / "secret"
    secret.write_text("secret")
    secret.chmod(0o600)
    statements = f"""
confine(300 << 20, True)
fields = dict(row.split(':\\t', 1) for row in open('/proc/thread-self/status').read().splitlines() if ':\\t' in row)
send_frame(b'S', ' '.join([fields['Uid'].split()[1], fields['CapPrm'], fields['CapBnd'], fields['NoNewPrivs']]).encode())
try:
    open({str(secret)!r})
except PermissionError:
    send_frame(b'S', b'closed')
try:
    bytearray(1 << 30)
except MemoryError:
    send_frame(b'S', b'small')
"""
    said = [payload.decode() for kind, payload in hear(make(statements)) if kind == SAID]
    assert said == [f"{find_user()[0]} {'0' * 16} {'0' * 16} 1", "closed", "small"]

"""What a process has given up is gone: each test does it to a process of its own."""

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.line import privileges, system_calls
from penstock.line.privileges import CAPABILITIES, RUNNING

SOURCE = str(Path(privileges.__file__).parents[2])
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to give up")

PREAMBLE = """
    import ctypes, json, mmap, os, socket, subprocess, sys, threading, time
    from pathlib import Path
    from penstock.line.privileges import *
    from penstock.line.system_calls import confine_process
    def attempt(what, *words, **more):
        try:
            what(*words, **more)
        except OSError as error:
            return error.errno
        except PenstockError as error:
            return str(error)
        except RuntimeError:
            return "no thread"
        return 0
    def read_status(path="/proc/self/status"):
        rows = [row.split(":") for row in Path(path).read_text().splitlines()]
        return {row[0]: row[1].split() for row in rows if len(row) == 2}
"""


def run_script(body: str, *words: object) -> Any:
    """Run Python in a process of its own; what it puts into `said`."""
    script = "\n".join([textwrap.dedent(PREAMBLE), textwrap.dedent(body), "os.write(1, json.dumps(said).encode())"])
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, words)],
        env={**os.environ, "PYTHONPATH": SOURCE},
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def bits_of(names: list[str] | tuple[str, ...]) -> int:
    return sum(1 << CAPABILITIES[name] for name in names)


def test_nothing_is_left_and_nothing_comes_back() -> None:
    said = run_script("""
        os.setgroups([7, 8])
        give_up_everything()
        said = {"status": read_status(), "root": attempt(os.setuid, 0), "file": attempt(open, "/etc/shadow"),
                "raw": attempt(socket.socket, socket.AF_PACKET, socket.SOCK_RAW, 0),
                "owner": os.stat("/proc/self/mem").st_uid, "user": list(find_user())}
    """)
    status = said["status"]
    assert {int(status[name][0], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapInh", "CapAmb")} == {0}
    assert status["NoNewPrivs"] == ["1"]
    assert set(status["Uid"]) == {str(said["user"][0])}
    assert set(status["Gid"]) == {str(said["user"][1])}
    assert said["user"][0] > 0
    assert status["Groups"] == []
    assert (said["root"], said["file"], said["raw"]) == (1, 13, 1)
    assert said["owner"] == 0, "others of the same user can read its memory"


def test_run_keeps_what_it_names_also_for_its_children(tmp_path: Path) -> None:
    said = run_script(
        """
        keep_running_rights(Path(sys.argv[1]))
        child = subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True).stdout
        Path(sys.argv[1]).write_text(child)
        said = [read_status(), read_status(sys.argv[1]), attempt(os.chown, sys.argv[1], 1, 1)]
        """,
        tmp_path / "status",
    )
    for status in said[:2]:
        for name in ("CapPrm", "CapEff", "CapBnd"):
            assert int(status[name][0], 16) & ~bits_of(["dac_override"]) == bits_of(RUNNING), name
        assert int(status["CapInh"][0], 16) == int(status["CapAmb"][0], 16) == 0
    assert said[2] == 1


@pytest.mark.parametrize(("owner", "kept"), [(0, False), (1234, True)])
def test_files_of_others_are_open_only_where_somebody_else_owns_the_configuration(
    owner: int, kept: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[str] = []
    (tmp_path / "penstock.yaml").touch()
    os.chown(tmp_path, owner, owner)
    here = Path("/usr/bin/env")
    monkeypatch.setattr(privileges, "__file__", str(here))
    monkeypatch.setattr(sys, "executable", str(here))
    monkeypatch.setattr(privileges, "keep_capabilities", asked.extend)
    monkeypatch.setattr(privileges, "find_root", lambda: privileges.BPFFS)
    privileges.keep_running_rights(tmp_path / "penstock.yaml")
    assert asked == [*RUNNING, *["dac_override"] * kept]
    asked.clear()
    monkeypatch.setattr(privileges, "find_root", lambda: Path("/proc/1/root/sys/fs/bpf"))
    privileges.keep_running_rights(tmp_path / "penstock.yaml")
    assert "sys_ptrace" in asked


def test_another_thread_would_keep_its_rights() -> None:
    said = run_script("""
        ends = threading.Event()
        threading.Thread(target=ends.wait).start()
        said = [attempt(give_up_everything), attempt(keep_capabilities, RUNNING), os.getuid()]
        ends.set()
    """)
    assert all("1 more thread(s) would keep" in text for text in said[:2])
    assert said[2] == 0


def test_a_right_that_is_missing_is_named() -> None:
    said = run_script("""
        keep_capabilities(["net_raw", "setpcap"])
        said = attempt(keep_capabilities, ["net_raw", "net_admin", "bpf"])
    """)
    assert said == "missing: CAP_NET_ADMIN, CAP_BPF: run it as root"


def test_a_confined_process_does_what_it_must_and_no_more() -> None:
    said = run_script("""
        give_up_everything()
        reader, writer = os.pipe()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        begins, found = threading.Event(), []
        worker = threading.Thread(target=lambda: (begins.wait(), found.append(attempt(os.open, "/dev/null", 0))))
        worker.start()
        shared = os.memfd_create("x")
        os.truncate(shared, 4096)
        subprocess.Popen  # imported before
        assert confine_process()
        begins.set()
        worker.join()
        said = {
            "allowed": [
                attempt(os.write, writer, b"x"), attempt(os.read, reader, 1), attempt(time.sleep, 0.001),
                attempt(mmap.mmap, shared, 4096, mmap.MAP_SHARED, mmap.PROT_READ),
                attempt(mmap.mmap, -1, 1 << 24), attempt(socket.send_fds, ours, [b"x"], [shared]),
                attempt(socket.recv_fds, theirs, 9, 1), attempt(os.close, shared),
            ],
            "refused": [
                attempt(os.open, "/dev/null", 0), attempt(os.open, "/tmp", os.O_RDONLY), attempt(socket.socket),
                attempt(os.execv, "/bin/true", ["true"]), attempt(os.fork), attempt(os.kill, os.getpid(), 0),
                attempt(os.memfd_create, "y"), attempt(os.unlink, "/nowhere"), attempt(os.mkdir, "/nowhere"),
                attempt(mmap.mmap, -1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ | mmap.PROT_EXEC),
                *found,
            ],
            "thread": attempt(threading.Thread(target=print).start),
        }
    """)
    assert set(said["allowed"]) == {0}
    assert set(said["refused"]) == {1}
    assert said["thread"] == "no thread"


# ---- the filter itself --------------------------------------------------------------------------------------------
def run_filter(content: bytes, architecture: int, number: int, protection: int = 0) -> int:
    """What the kernel would answer: classic BPF with the four instructions that the filter has."""
    lines = list(iterate(content))
    at, value = 0, 0
    read = {0: number, 4: architecture, 32: protection}
    while True:
        code, if_true, if_false, operand = lines[at]
        at += 1
        if code == system_calls.LOAD:
            value = read[operand]
        elif code == system_calls.RETURN:
            return operand
        else:
            holds = value == operand if code == system_calls.IF_EQUAL else value & operand != 0
            at += if_true if holds else if_false


def iterate(content: bytes) -> Iterator[tuple[int, int, int, int]]:
    for at in range(0, len(content), 8):
        line = content[at : at + 8]
        yield int.from_bytes(line[:2], "little"), line[2], line[3], int.from_bytes(line[4:], "little")


@pytest.mark.parametrize("machine", system_calls.ARCHITECTURES)
def test_the_filter_of_every_machine(machine: str) -> None:
    content = system_calls.build_filter(machine)
    architecture, column = system_calls.ARCHITECTURES[machine]
    free = {numbers[column] for numbers in system_calls.FREE.values()} - {None}
    memory = {numbers[column] for numbers in system_calls.MEMORY.values()}
    for number in range(600):
        expected = system_calls.ALLOW if number in free | memory else system_calls.REFUSE
        assert run_filter(content, architecture, number, 3) == expected, number
        executable = system_calls.ALLOW if number in free else system_calls.REFUSE
        assert run_filter(content, architecture, number, 7) == executable, number
        assert run_filter(content, architecture ^ 1, number) == system_calls.REFUSE
    assert run_filter(content, architecture, 1 << 30) == system_calls.REFUSE

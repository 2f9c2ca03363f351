"""`penstock policy show` and `test`: what they say, and what they end with."""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[3] / "examples" / "policies"
CODE = """
import time
from penstock.hooks import Verdict, on_request, on_subscriber, on_verdict

@on_request(categories="new", ports=[80, "8000-8100"])
def close(request):
    return Verdict.block("new")

@on_request(hosts="odd.example")
def fail(request):
    raise ValueError("odd")

@on_request(hosts="slow.example")
def wait(request):
    time.sleep(60)

@on_request(hosts="loud.example")
def speak(request):
    print("loud")

@on_subscriber
def choose(subscriber):
    return "pupils" if subscriber.id == "tablet" else None
"""


def run(*words: str | Path, **whose: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "penstock", "policy", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **whose)


def record(path: Path, *lines: dict[str, Any]) -> Path:
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


@pytest.fixture
def project(tmp_path: Path) -> Path:
    path = tmp_path / "example_policy.py"
    path.write_text(CODE)
    return path


def find_examples() -> list[Path]:
    return sorted(EXAMPLES.glob("*.recorded.json"))


def test_there_are_examples() -> None:
    assert len(find_examples()) >= 3


@pytest.mark.parametrize("recording", find_examples(), ids=lambda path: path.name)
def test_examples_do_what_they_say(recording: Path) -> None:
    name = recording.name.removesuffix(".recorded.json")
    package = EXAMPLES / name
    tried = run("test", package if package.is_dir() else EXAMPLES / f"{name}.py", recording)
    assert (tried.returncode, tried.stderr) == (0, "")
    assert "EXPECTED" not in tried.stdout
    assert all("expect" in json.loads(line) for line in recording.read_text().splitlines())


def test_differences_are_shown_and_end_it_with_1(project: Path, tmp_path: Path) -> None:
    recording = record(
        tmp_path / "recorded.json",
        {"host": "a.example", "dest_port": 80, "categories": ["new"], "expect": "block"},
        {"host": "a.example", "dest_port": 80, "categories": ["new"], "expect": "allow"},
        {"host": "a.example", "expect": "block"},
        {"host": "a.example", "action": "block", "expect": "block"},
        {"host": "a.example", "expect": "allow"},
        {"host": "a.example", "action": "block", "expect": "none"},
        {"host": "a.example", "dest_port": 80, "categories": ["new"], "expect": {"category": "old", "hook": "close"}},
        {"introduce": {"id": "tablet"}, "expect": "none"},
        {"introduce": {"id": "phone"}, "expect": "none"},
        {"host": "a.example"},
    )
    tried = run("test", project, recording)
    wrong = {
        int(match[1]): match[2] for match in re.finditer(r"\.json:(\d+): .*EXPECTED (.*)$", tried.stdout, re.MULTILINE)
    }
    assert wrong == {2: "allow", 3: "block", 7: "category old", 8: "none"}
    assert tried.stdout.splitlines()[-1].startswith("10 lines, 4 differences, 0 failures")
    assert f"block new by close ({project}:5)" in tried.stdout
    assert tried.returncode == 1


@pytest.mark.parametrize(
    ("host", "said", "summary"),
    [
        ("odd.example", "ValueError: odd", "0 differences, 1 failures, 0 late"),
        ("slow.example", "cause=late", "0 differences, 0 failures, 1 late, 1 worker processes lost"),
    ],
)
def test_failures_are_told_and_end_it_with_1(project: Path, tmp_path: Path, host: str, said: str, summary: str) -> None:
    tried = run("test", project, record(tmp_path / "recorded.json", {"host": host}))
    assert said in tried.stderr
    assert summary in tried.stdout
    assert tried.returncode == 1


def test_what_hooks_print_is_shown(project: Path, tmp_path: Path) -> None:
    tried = run("test", project, record(tmp_path / "recorded.json", {"host": "loud.example"}))
    assert "loud" in tried.stderr
    assert tried.returncode == 0


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("nonsense", "Expecting value"),
        ("[]", "expected an object"),
        ('{"host": 3}', "host: expected a name"),
        ('{"host": "a", "expect": "drop"}', "expect: expected one of allow"),
        ('{"host": "a", "expect": {"reason": "x"}}', "expect: expected keys of"),
        ('{"introduce": {"name": "x"}}', "unexpected keyword"),
    ],
)
def test_a_line_that_is_none_is_named(project: Path, tmp_path: Path, line: str, error: str) -> None:
    recording = tmp_path / "recorded.json"
    recording.write_text(f'{{"host": "a.example"}}\n\n{line}\n')
    tried = run("test", project, recording)
    assert re.fullmatch(rf"penstock: {recording}:3: .*{re.escape(error)}.*\n", tried.stderr)
    assert (tried.returncode, tried.stdout) == (1, "")


def test_show_names_hooks_filters_and_places(project: Path) -> None:
    shown = run("show", project)
    assert shown.stdout.splitlines() == [
        f"{project}:5: @on_request (categories new; ports 80, 8000-8100) close",
        f"{project}:9: @on_request (hosts odd.example) fail",
        f"{project}:13: @on_request (hosts slow.example) wait",
        f"{project}:17: @on_request (hosts loud.example) speak",
        f"{project}:21: @on_subscriber choose",
    ]


def test_a_project_that_cannot_be_loaded_says_where(project: Path) -> None:
    project.write_text("import json\n\nx = json.loads('{')\n")
    shown = run("show", project)
    assert shown.stderr.startswith(f"penstock: {project}:3: JSONDecodeError: ")
    assert "Traceback" in shown.stderr
    assert shown.returncode == 1
    assert run("show", project.with_name("absent.py")).returncode == 1


def test_it_works_for_who_is_not_root() -> None:
    """At a desk: the same without the change of the user; skipped where nobody else can read this environment."""
    nobody: dict[str, Any] = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
    try:
        subprocess.run([sys.executable, "-c", "import penstock.cli"], check=True, capture_output=True, **nobody)
    except (PermissionError, subprocess.CalledProcessError):
        pytest.skip("this environment is closed to others")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        (directory / "example_policy.py").write_text(CODE)
        recording = record(directory / "recorded.json", {"host": "a.example", "expect": "none"})
        tried = run("test", directory / "example_policy.py", recording, **nobody)
    assert (tried.returncode, tried.stderr) == (0, "")


def test_modules_in_a_closed_directory_can_be_imported(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who tries Penstock from a home directory: an environment that the user of the hooks could not open."""
    closed = tmp_path / "closed"
    (closed / "ours").mkdir(parents=True)
    (closed / "ours" / "__init__.py").write_text("word = 'imported'\n")
    closed.chmod(0o700)
    monkeypatch.setenv("PYTHONPATH", f"{closed}:{os.environ.get('PYTHONPATH', '')}")
    project.write_text(
        "from penstock.hooks import Verdict, on_request\n@on_request()\ndef f(request):\n"
        "    from ours import word\n    return Verdict.block(word)\n"
    )
    recording = record(tmp_path / "recorded.json", {"host": "a.example", "expect": {"category": "imported"}})
    assert run("test", project, recording).returncode == 0

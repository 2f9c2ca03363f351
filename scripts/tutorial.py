"""Run docs/tutorial.md as its reader would, as root, and compare what comes out; `--write` writes what came into it.

Each block of `sh` goes into one shell, and what that says belongs into the block of `text` behind it. What changes from
run to run (times, identifiers, sizes, the home directory) is not compared. Its namespaces have other names here, so that
several can run at a time; they are removed, and what runs in them is ended, whatever happens.
"""

import argparse
import os
import re
import selectors
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path

from penstock.demo.namespaces import NAMESPACES, remove_namespace

PAGE = Path(__file__).resolve().parents[1] / "docs" / "tutorial.md"
NOT_RUN = "<!-- not run -->"
BLOCK = re.compile(rf"({NOT_RUN}\n)?```sh\n(.*?)```\n(?:\n```text\n(.*?)```\n)?", re.DOTALL)
PATIENCE_S = 300.0  # for one block: the first one may compile
VARIABLE = (
    r"\d{4}-\d\d-\d\d([T ][\d:.]+)?( UTC|Z|\+\d+)?",
    r"\b[\d:]{8} UTC",  # in a narrow column, without its date
    r"\b(?=[0-9a-f]*\d)[0-9a-f]{12,}\b",  # reference numbers
    r"(?<=_port\": )\d+",
    r"[1-9][\d,]*(?= bytes)",
    r"\d+(?= packets)",
    r"[\d.]+(?= s$)",
)
"""What is another one in each run."""
MARK = "the-end-of-a-block"


@dataclass
class Step:
    """A block of commands and what is said of what it prints; None: nothing."""

    commands: str
    said: str | None
    is_run: bool


class Shell:
    """One bash, in a home and with names of its own."""

    def __init__(self, home: Path) -> None:
        self.home, self.stem = home, f"lab{os.getpid()}-"
        executables = home / "bin"
        executables.mkdir()
        (executables / "penstock").write_text(f'#!/bin/sh\nexec {sys.executable} -m penstock "$@"\n')
        (executables / "penstock").chmod(0o755)
        path = f"{executables}:{os.environ['PATH']}"
        surroundings = {
            name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
        }
        self.program = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=surroundings | {"HOME": str(home), "PATH": path, "COLUMNS": "80", "TERM": "dumb"},
            start_new_session=True,
        )

    def run(self, commands: str) -> str:
        """What the commands print, with the names and the home of the page. Raises TimeoutError."""
        assert self.program.stdin is not None
        assert self.program.stdout is not None
        self.program.stdin.write(f"{commands.replace('lab-', self.stem)}\necho {MARK}\n".encode())
        self.program.stdin.flush()
        got, end_s = b"", time.monotonic() + PATIENCE_S
        with selectors.DefaultSelector() as selector:
            selector.register(self.program.stdout, selectors.EVENT_READ)
            while f"{MARK}\n".encode() not in got:
                if not selector.select(max(0.0, end_s - time.monotonic())):
                    raise TimeoutError(f"no end of:\n{commands}\n{got.decode(errors='replace')}")
                piece = os.read(self.program.stdout.fileno(), 65_536)
                if not piece:
                    raise TimeoutError(f"the shell ended in:\n{commands}\n{got.decode(errors='replace')}")
                got += piece
        text = got.decode(errors="replace").replace(f"{MARK}\n", "")
        text = text.replace(self.stem, "lab-").replace(str(self.home), "/root")
        return "".join(line.rstrip() + "\n" for line in text.splitlines()) if text else ""

    def end(self) -> None:
        """End it, and all that it left."""
        for path in NAMESPACES.glob(f"{self.stem}*"):
            remove_namespace(path.name)
        self.program.kill()
        self.program.wait()


def read_steps(text: str) -> list[Step]:
    """The blocks of a page."""
    return [Step(match[2], match[3], match[1] is None) for match in BLOCK.finditer(text)]


def blur(text: str) -> list[str]:
    """What is compared of an output: no moments, no identifiers, no sizes, no widths of tables."""
    for pattern in VARIABLE:
        text = re.sub(pattern, "N", text)
    return [re.sub(r"[─━]+|  +", " ", line) for line in text.splitlines()]


def write_page(text: str, outputs: list[str | None]) -> str:
    """The page with these outputs in the place of its own."""
    found = iter(outputs)

    def replace(match: re.Match[str]) -> str:
        said = next(found)
        if match[3] is None or said is None:
            return match[0]
        return match[0][: match.start(3) - match.start()] + said + "```\n"

    return BLOCK.sub(replace, text)


def run_page(text: str) -> list[str | None]:
    """What each block printed; None for those that are not run. Raises TimeoutError."""
    with tempfile.TemporaryDirectory(prefix="penstock-tutorial-") as home:
        shell = Shell(Path(home))
        try:
            return [shell.run(step.commands) if step.is_run else None for step in read_steps(text)]
        finally:
            shell.end()


def find_differences(text: str, outputs: list[str | None]) -> str:
    """What came out otherwise than the page says."""
    parts = []
    for step, got in zip(read_steps(text), outputs, strict=True):
        if got is not None and blur(step.said or "") != blur(got):
            difference = unified_diff(blur(step.said or ""), blur(got), "page", "run", lineterm="")
            parts.append(f"{step.commands}\n" + "\n".join(difference) + f"\n{got}")
    return "\n".join(parts)


def main() -> int:
    """Run the page; the exit status."""
    words = argparse.ArgumentParser(description="Run docs/tutorial.md.")
    words.add_argument("--write", action="store_true", help="write what came into the page")
    text = PAGE.read_text("utf-8")
    is_write = words.parse_args().write
    if os.geteuid() != 0:
        print("scripts/tutorial.py: network namespaces need root", file=sys.stderr)
        return 1
    try:
        outputs = run_page(text)
    except TimeoutError as error:
        print(f"scripts/tutorial.py: {error}", file=sys.stderr)
        return 1
    if is_write:
        PAGE.write_text(write_page(text, outputs), "utf-8")
        return 0
    differences = find_differences(text, outputs)
    if differences:
        print(differences, file=sys.stderr)
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())

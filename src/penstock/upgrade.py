"""`penstock upgrade` and `penstock rollback`: versions lie side by side, and one takes over from the other.

    ROOT/versions/0.2.0/             a virtual environment for each, never changed once it is whole
    ROOT/current  -> versions/0.2.0  what is started, at boot as well
    ROOT/previous -> versions/0.1.0  where `rollback` leads

    wheel → environment beside → compile → check → each run here starts its heir → links

The links are last: until the new version judges, `current` is the one that did. Without a run in this network namespace
only the links change. Knows environments, links, and doors. Refuses to know how a place is handed on.
"""

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from penstock.errors import PenstockError
from penstock.line.handover import BUSY_S, AbsentError, Caller, find_doors

HEIR_S = 900.0  # from the wish to the hand-over: a start that has to compile, and its time limit
Tell = Callable[[str], None]


class UpgradeError(PenstockError):
    """Nothing was changed, or what was is said; the text names the cure."""


class Installation:
    """The versions below a root."""

    def __init__(self, root: Path) -> None:
        self.root, self.versions = root, root / "versions"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One at a time."""
        self.versions.mkdir(parents=True, exist_ok=True)
        fd = os.open(self.versions, os.O_RDONLY | os.O_DIRECTORY)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UpgradeError(f"another upgrade is going on below {self.root}") from None
            yield
        finally:
            os.close(fd)

    def find(self, link: str) -> Path | None:
        """The environment that `current` or `previous` leads to."""
        path = self.root / link
        return self.versions / path.readlink().name if path.is_symlink() and program_of(path).exists() else None

    def point(self, link: str, environment: Path | None) -> None:
        """Have a link lead to an environment, at once."""
        if environment is not None:
            fresh = self.root / f".{link}"
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(Path("versions") / environment.name)
            fresh.replace(self.root / link)

    def install(self, wheel: Path, options: Sequence[str]) -> tuple[Path, bool]:
        """The environment of the wheel's version, and whether it was made now. `options` are pip's."""
        found = re.match(r"penstock-([^-]+)-.*\.whl$", wheel.name)
        if found is None or not wheel.is_file():
            raise UpgradeError(f"{wheel}: expected the file of a wheel, penstock-VERSION-py3-none-any.whl")
        environment = self.versions / found[1]
        if program_of(environment).exists():
            return environment, False
        try:
            shutil.rmtree(environment, ignore_errors=True)  # half of one, of an upgrade that was killed
            _run([sys.executable, "-m", "venv", environment])
            pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            _run([environment / "bin/python", *pip, wheel.absolute(), *options])
        except BaseException:
            shutil.rmtree(environment, ignore_errors=True)
            raise
        return environment, True


def program_of(environment: Path) -> Path:
    """The command of an environment."""
    return environment / "bin/penstock"


def upgrade(root: Path, wheel: Path, options: Sequence[str], checks: bool, tell: Tell) -> None:
    """Install a wheel beside what is there, and have it take over from each run of this network namespace."""
    installation = Installation(root)
    with installation.locked():
        environment, is_made = installation.install(wheel, options)
        tell(f"{environment.name}: {'installed' if is_made else 'is there already'} at {environment}")
        try:
            _switch(installation, environment, checks, tell)
        except PenstockError:
            if is_made and environment != installation.find("current"):
                shutil.rmtree(environment)  # so that a mended wheel of the same version is taken
            raise


def rollback(root: Path, tell: Tell) -> None:
    """Have the previous version take over; a second time leads back again."""
    installation = Installation(root)
    with installation.locked():
        previous = installation.find("previous")
        if previous is None:
            raise UpgradeError(f"there is no previous version: {root / 'previous'} leads nowhere")
        _switch(installation, previous, False, tell)


def _switch(installation: Installation, environment: Path, checks: bool, tell: Tell) -> None:
    """Have every run here replaced by one of `environment`, and the links moved. All or none."""
    program, old = program_of(environment), installation.find("current")
    _run([program, "compile"])
    runs = find_runs()
    if checks:
        for told in runs:
            _run([program, "check", *_between(told), "--config", told["config"]])
    replaced: list[dict[str, Any]] = []
    try:
        for told in runs:
            tell(f"{_name(told)}: {environment.name} takes over from {told['version']}")
            _replace(told, program)
            replaced.append(told)
    except PenstockError as error:
        for told in replaced if old else []:
            tell(f"{_name(told)}: back to {told['version']}")
            _replace(told, program_of(old or environment))
        raise UpgradeError(f"{environment.name} did not take over: {error}") from None
    if old != environment:
        installation.point("previous", old)
    installation.point("current", environment)
    tell(f"{environment.name} is current" + (f"; `penstock rollback` leads to {old.name}" if old else ""))


def find_runs() -> list[dict[str, Any]]:
    """What the runs of this network namespace say of themselves, and their doors. Raises HandoverError for one that
    hangs."""
    found = []
    for door in find_doors():
        with suppress(AbsentError), Caller(door) as caller:  # else it is the door of one that is dead
            found.append(caller.who(BUSY_S) | {"door": door})
    return found


def _replace(told: dict[str, Any], program: Path) -> None:
    with Caller(told["door"]) as caller:
        if caller.ask("succeed", HEIR_S, program=[str(program)])["say"] != "succeeded":
            raise UpgradeError(f"{_name(told)}: the run ended meanwhile")


def _name(told: dict[str, Any]) -> str:
    return f"{told['ingress']}-{told['egress']}"


def _between(told: dict[str, Any]) -> list[str]:
    return ["--ingress", told["ingress"], "--egress", told["egress"]]


def _run(words: Sequence[str | Path]) -> None:
    """Run a command to its end. Raises UpgradeError with what it said."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    if done.returncode:
        said = "\n".join(line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("good"))
        raise UpgradeError(f"{' '.join(map(str, words))}: status {done.returncode}\n{said}".rstrip())

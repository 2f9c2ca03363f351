"""What `check` says of the configuration's file; what it says of interfaces is for the live tests."""

import os
from pathlib import Path

import pytest

from penstock.doctor import check_configuration


@pytest.fixture
def path(tmp_path: Path) -> Path:
    here = tmp_path / "etc"
    here.mkdir(mode=0o755)
    made = here / "penstock.yaml"
    made.write_text("report_only: true\n")
    made.chmod(0o640)
    return made


def find_problem(path: Path) -> str:
    return "; ".join(finding.problem for finding in check_configuration(path) if not finding.is_good)


def test_a_file_of_ones_own(path: Path) -> None:
    assert find_problem(path) == ""


@pytest.mark.parametrize("of_directory", [False, True])
def test_a_file_that_everybody_may_write(path: Path, of_directory: bool) -> None:
    place = path.parent if of_directory else path
    place.chmod(0o777)
    assert find_problem(path) == f"everybody may write {place}"
    place.chmod(0o1777)
    assert find_problem(path) == ("" if of_directory else f"everybody may write {place}")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("of_directory", [False, True])
def test_a_file_of_somebody_else(path: Path, of_directory: bool) -> None:
    place = path.parent if of_directory else path
    os.chown(place, 1234, 0)
    assert find_problem(path) == f"user 1234 owns {place}"
    os.chown(place, 0, 55)
    place.chmod(0o775)
    assert find_problem(path) == f"group 55 may write {place}"


def test_a_configuration_with_a_mistake_is_named_first(path: Path) -> None:
    path.write_text("reprot_only: true\n")
    path.chmod(0o666)
    assert "reprot_only" in find_problem(path)

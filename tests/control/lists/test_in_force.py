"""The names database of one `run`: what it is built with, and what a start would find."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from penstock.control.configuration import Configuration
from penstock.control.lists.build import build_names
from penstock.control.lists.builder import build_apart
from penstock.control.lists.in_force import NamesInForce
from penstock.control.lists.names_file import NamesError


@contextmanager
def build(names: NamesInForce, configuration: Configuration) -> Iterator[Path]:
    """A candidate, built as `run` has it built."""
    candidate = names.place_candidate(configuration.database)
    with names.try_candidate(candidate):
        build_apart(configuration, candidate, {})
        yield candidate


@pytest.fixture
def configuration(tmp_path: Path) -> Iterator[Configuration]:
    path = tmp_path / "phishing.txt"
    path.write_text("a.test\n")
    found = Configuration.model_validate(
        {"lists": [{"category": "phishing", "path": path}], "database": tmp_path / "names.db"}
    )
    build_names(found)
    yield found
    left = {path.name for path in tmp_path.iterdir()}
    assert left <= {"names.db", "names.db.eth1-eth2.0", "names.db.eth1-eth2.1", "other.db", "phishing.txt"}


def test_a_database_that_is_built_meanwhile_is_not_in_force(configuration: Configuration) -> None:
    names = NamesInForce(configuration.database, "eth1-eth2")
    before = names.path.read_bytes()
    assert configuration.database.read_bytes() == before
    build_names(configuration)
    assert names.path.read_bytes() == before != configuration.database.read_bytes()
    names.release()
    assert not names.path.exists()
    assert configuration.database.exists()


def test_a_candidate_that_is_taken_has_the_common_name(configuration: Configuration) -> None:
    names = NamesInForce(configuration.database, "eth1-eth2")
    for _ in range(3):
        old = names.path
        with build(names, configuration) as candidate:
            assert candidate not in (old, configuration.database)
            names.take(candidate, configuration.database)
        assert names.path == candidate
        assert candidate.samefile(configuration.database)
        assert not old.exists()


@pytest.mark.parametrize("built_meanwhile", [True, False])
def test_one_that_is_given_up_leaves_what_was_in_force(configuration: Configuration, built_meanwhile: bool) -> None:
    names = NamesInForce(configuration.database, "eth1-eth2")
    before = names.path.read_bytes()
    if built_meanwhile:
        build_names(configuration)
    with build(names, configuration) as candidate:
        assert candidate.exists()
    assert not candidate.exists()
    assert names.path.read_bytes() == configuration.database.read_bytes() == before


def test_a_list_that_cannot_be_read_leaves_what_was_in_force(configuration: Configuration) -> None:
    names = NamesInForce(configuration.database, "eth1-eth2")
    before = names.path.read_bytes()
    configuration.lists[0].path.unlink()
    with pytest.raises(NamesError), build(names, configuration):
        pass
    assert names.path.read_bytes() == configuration.database.read_bytes() == before


def test_another_database_may_be_named(configuration: Configuration) -> None:
    names = NamesInForce(configuration.database, "eth1-eth2")
    before = configuration.database.read_bytes()
    other = configuration.model_copy(update={"database": configuration.database.with_name("other.db")})
    with build(names, other) as candidate:
        names.take(candidate, other.database)
    assert other.database.samefile(names.path)
    assert configuration.database.read_bytes() == before
    names.release()


def test_what_a_killed_run_left_goes(configuration: Configuration) -> None:
    killed = NamesInForce(configuration.database, "eth1-eth2")
    with build(killed, configuration) as candidate:
        killed.take(candidate, configuration.database)
    names = NamesInForce(configuration.database, "eth1-eth2")
    assert not candidate.exists()
    assert names.path.samefile(configuration.database)


def test_without_links_the_database_has_one_name(configuration: Configuration) -> None:
    long = configuration.database.with_name("n" * 250)  # no name beside it is short enough
    configuration.database.rename(long)
    names = NamesInForce(long, "eth1-eth2")
    assert names.path == long
    names.release()
    assert long.exists()
    long.unlink()

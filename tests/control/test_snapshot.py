"""Writing snapshots; what they hold is tested where it is read (`tests.policy`)."""

import os
from pathlib import Path

import pytest

from penstock.control.configuration import Configuration, Service
from penstock.control.lists.build import build_names
from penstock.control.lists.settings import ListSource
from penstock.control.snapshot import build_snapshot, seal_snapshot
from penstock.policy.snapshot import Snapshot, SnapshotError


def configure(tmp_path: Path, *categories: str) -> Configuration:
    (tmp_path / "list.txt").write_text("bad.example\n")
    return Configuration(
        services={"web": Service(categories=dict.fromkeys(categories, "block"))},
        lists=tuple(ListSource(category=category, path=tmp_path / "list.txt") for category in categories),
        database=tmp_path / "names.db",
    )


def test_a_category_that_the_database_lacks_names_the_cure(tmp_path: Path) -> None:
    build_names(configure(tmp_path, "phishing"))
    with pytest.raises(SnapshotError, match="has no category `malware`: run `penstock lists build`"):
        build_snapshot(configure(tmp_path, "phishing", "malware"), tmp_path / "names.db", 1, tmp_path)


def test_categories_keep_the_numbers_of_the_database(tmp_path: Path) -> None:
    build_names(configure(tmp_path, "phishing", "malware"))
    path = build_snapshot(configure(tmp_path, "malware", "phishing"), tmp_path / "names.db", 1, tmp_path)
    snapshot = Snapshot.open(path)
    assert snapshot.category_names == ["phishing", "malware"]
    snapshot.close()


def test_generations_are_files_of_their_own(tmp_path: Path) -> None:
    configuration = configure(tmp_path, "phishing")
    build_names(configuration)
    paths = [build_snapshot(configuration, configuration.database, number, tmp_path / "made") for number in (1, 2)]
    assert [Snapshot.open(path).generation for path in paths] == [1, 2]


def test_a_sealed_snapshot_is_mapped_by_descriptors_alone(tmp_path: Path) -> None:
    """As the packet process does: no path is opened, and what is there under the names meanwhile is another."""
    configuration = configure(tmp_path, "phishing")
    build_names(configuration)
    mine = Snapshot.open(Path("one"), (seal_snapshot(configuration, configuration.database, 9, {}), None))
    handed = os.dup(mine.descriptors[0]), os.dup(mine.descriptors[1])
    configuration.database.unlink()
    theirs = Snapshot.open(Path("two"), handed)
    mine.close()
    assert (theirs.generation, theirs.category_names, theirs.name_count) == (9, ["phishing"], 1)
    theirs.close()
    for number in handed:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)


def test_a_descriptor_of_something_else_is_refused(tmp_path: Path) -> None:
    number = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(SnapshotError):
        Snapshot.open(Path("one"), (number, None))
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)

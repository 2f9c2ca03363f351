"""Mapped files: what they hold, and what happens when they are not what they should be."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.control.lists.build import build_names
from penstock.policy.actions import BLOCK, EMPTY, REDIRECT
from penstock.policy.snapshot import (
    COLUMN_CONTINUED,
    COLUMN_COUNT,
    COLUMN_OWN_LIST,
    REFERENCE,
    RESPONSE_LIMIT_BYTES,
    Snapshot,
    SnapshotError,
)

from .worlds import World, world

SETTINGS = {
    "services": {
        "web": {
            "categories": {"phishing": "block", "malware": "redirect"},
            "redirect_url": "https://help.example/?a=b",
        },
        "ads": {"categories": {"advertising": "empty", "tracking": "report"}},
    },
    "profiles": {"all": {"services": ["web", "ads"]}, "none": {}},
    "subscribers": [
        {"id": "home", "prefixes": ["10.0.0.0/8"], "profile": "all"},
        {"id": "office", "prefixes": ["fd00::/8"], "profile": "none", "fail": "closed"},
    ],
}
LISTS = {name: f"{name}.example\n" for name in ("phishing", "malware", "advertising", "tracking")}


@pytest.fixture
def made() -> World:
    with world(SETTINGS, LISTS) as built:
        yield built


def test_what_python_reads(made: World) -> None:
    snapshot = made.snapshot
    assert snapshot.generation == 7
    assert snapshot.profile_names == ["all", "none"]
    assert snapshot.category_names == ["phishing", "malware", "advertising", "tracking"]
    assert snapshot.service_names == {0: "web", 1: "ads"}
    assert (snapshot.name_count, snapshot.report_only) == (4, False)
    assert [source["category"] for source in snapshot.names_metadata["sources"]] == list(LISTS)


def test_each_action_has_its_template(made: World) -> None:
    found = {
        (category, action): made.read_template(category, action)
        for category in range(-1, 65)
        for action in range(-1, COLUMN_COUNT + 1)
    }
    present = {place: response for place, response in found.items() if response is not None}
    assert set(present) == {
        (0, BLOCK), (1, REDIRECT), (2, EMPTY), (-1, BLOCK), (-1, COLUMN_OWN_LIST), (-1, COLUMN_CONTINUED)
    }  # fmt: skip
    assert present[0, BLOCK].startswith(b"HTTP/1.1 403 ")
    assert b"\r\nLocation: https://help.example/?a=b&category=malware&reference=" + REFERENCE in present[1, REDIRECT]
    assert all(len(response) <= RESPONSE_LIMIT_BYTES for response in present.values())


def test_a_database_that_was_built_again_is_another(made: World) -> None:
    build_names(made.configuration)
    with pytest.raises(SnapshotError, match="built again since"):
        Snapshot.open(made.path)


def test_an_open_snapshot_outlives_a_new_database(made: World) -> None:
    build_names(made.configuration)
    assert made.judge(b"phishing.example").action == BLOCK


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_a_damaged_file_is_refused(data: st.DataObject) -> None:
    with world(SETTINGS, LISTS) as built:
        path = data.draw(st.sampled_from([built.path, built.configuration.database]))
        whole = path.read_bytes()
        shorter = whole[: data.draw(st.integers(0, len(whole) - 1))]
        path.unlink()
        damaged = [shorter, b"x" + whole[1:], whole + b"\0", whole[:8] + b"\7" + whole[9:]]
        path.write_bytes(data.draw(st.sampled_from(damaged)))
        with pytest.raises(SnapshotError, match=r"damaged|empty"):
            Snapshot.open(built.path)


def test_an_absent_file_names_the_cure(made: World, tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match=r"gone: No such file or directory: build the snapshot again"):
        Snapshot.open(tmp_path / "gone")
    made.configuration.database.unlink()
    with pytest.raises(SnapshotError, match=r"names\.db: No such file or directory: run `penstock lists build`"):
        Snapshot.open(made.path)

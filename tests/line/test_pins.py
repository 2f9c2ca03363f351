"""Sets of tables side by side on a real bpffs: whose they are, which are in use, and the switch that all versions share."""

import os
from collections.abc import Iterator

import pytest

from penstock.demo.demo import find_obstacle
from penstock.kernel import bpf, tables
from penstock.kernel.declared import Map
from penstock.line import inline, pins
from penstock.line.pins import PinError, Pins, Size, find_own_tables, find_root, find_tables, open_switches

pytestmark = [pytest.mark.live, pytest.mark.skipif(bool(find_obstacle()), reason=find_obstacle() or "")]
FLOWS = 1024


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pins]:
    """A pair without interfaces: tables alone. The declared tables are as they were afterwards."""
    for table in Map.ALL:
        monkeypatch.setattr(table, "fd", table.fd)
        monkeypatch.setattr(table, "entries", table.entries)
    made = Pins(f"in{os.getpid()}", "out", find_root())
    made.make()
    yield made
    made.remove_all()


def pretend_version(monkeypatch: pytest.MonkeyPatch, version: int) -> None:
    monkeypatch.setattr(pins, "LAYOUT_VERSION", version)
    monkeypatch.setattr(pins, "VERSION_WORD", f"v{version}_")
    monkeypatch.setattr(tables, "VERSION_WORD", f"v{version}_")


def test_every_table_bears_its_version(pair: Pins) -> None:
    assert inline.open_tables(pair, Size(FLOWS, 2))
    names = {path.name: bpf.map_name(bpf.open_pin(str(path))) for path in pair.tables.iterdir()}
    assert len(names) == len(inline.TABLES) + 3, "rings, ring_0, ring_1"
    for pinned, name in names.items():
        assert name.startswith(tables.VERSION_WORD), pinned
        assert f"{tables.VERSION_WORD}{pinned}".startswith(name), pinned
    assert not inline.open_tables(pair, Size(FLOWS, 2)), "they are there by now"


def test_a_table_of_another_version_is_never_opened(pair: Pins, monkeypatch: pytest.MonkeyPatch) -> None:
    inline.open_tables(pair, Size(FLOWS, 1))
    ours = pair.tables
    pretend_version(monkeypatch, 99)
    inline.open_tables(pair, Size(FLOWS, 1))
    assert find_tables(pair.directory) == [ours, pair.tables]
    assert find_own_tables(pair.directory) == pair.tables
    (pair.tables / "pulse").unlink()
    (ours / "pulse").rename(pair.tables / "pulse")  # as if it had got there
    with pytest.raises(PinError, match=r"pulse is no table of layout 99, but v\d+_pulse"):
        pair.open_table("pulse")
    with pytest.raises(PinError, match="cable down"):
        inline.open_tables(pair, Size(FLOWS, 1))


def test_tables_that_a_killed_start_left_are_made_again(pair: Pins) -> None:
    inline.open_tables(pair, Size(FLOWS, 1))
    bpf.map_memory(tables.flows)[0] = 7
    assert not inline.open_tables(pair, Size(FLOWS, 1))
    assert bpf.map_memory(tables.flows)[0] == 7
    (pair.tables / "rings").unlink()
    assert inline.open_tables(pair, Size(FLOWS, 1))
    assert bpf.map_memory(tables.flows)[0] == 0


def test_off_means_every_version(pair: Pins, monkeypatch: pytest.MonkeyPatch) -> None:
    inline.open_tables(pair, Size(FLOWS, 1))
    pretend_version(monkeypatch, 99)
    inline.open_tables(pair, Size(FLOWS, 1))
    switches = open_switches(find_tables(pair.directory))
    assert [switch.is_on for switch in switches] == [True, True]
    assert all([switch.turn(False) for switch in switches])
    assert not any(switch.turn(False) for switch in switches)
    assert not inline.Control().is_on


def test_what_was_switched_off_stays_off_on_other_tables(pair: Pins) -> None:
    inline.open_tables(pair, Size(FLOWS, 1))
    (switch,) = open_switches([pair.tables])
    switch.turn(False)
    inline.open_tables(pair, Size(2 * FLOWS, 1))
    assert not inline.Control().is_on
    for directory in pair.others():
        pair.remove_tables(directory)
    inline.open_tables(pair, Size(4 * FLOWS, 2))
    assert not inline.Control().is_on


def test_nothing_is_in_use_without_steer(pair: Pins) -> None:
    inline.open_tables(pair, Size(FLOWS, 1))
    assert pair.in_use() is None

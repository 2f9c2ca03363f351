"""The demo's configuration is one that Penstock takes."""

from pathlib import Path

from penstock.control.configuration import load_configuration
from penstock.demo.box import BLOCKED, write_configuration
from penstock.demo.topology import HOME, OFFICE


def test_the_configuration_loads_and_home_alone_is_protected(tmp_path: Path) -> None:
    found = load_configuration(write_configuration(tmp_path, report_only=True))
    assert found.report_only
    services = {one.id: found.profiles[one.profile].services for one in found.subscribers}
    assert services == {HOME.name: tuple(found.services), OFFICE.name: ()}
    assert {one.category for one in found.lists} == set(BLOCKED)
    for source in found.lists:
        assert BLOCKED[source.category] in source.path.read_text().splitlines()

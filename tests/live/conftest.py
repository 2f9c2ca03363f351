"""Fixtures of the live tests: each module has its own line, since some of them end it."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.demo.box import lay_cable, run_penstock
from penstock.demo.servers import Certificate, Server, write_certificate
from tests.live.exceptions import policy_in_force
from tests.live.line import Line, build_line
from tests.live.servers import start_apache, start_nginx, start_node


@pytest.fixture(scope="module")
def here() -> Iterator[Path]:
    """A directory that the servers' own users may read."""
    with tempfile.TemporaryDirectory(prefix="penstock-live-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def pair(here: Path) -> Certificate:
    return write_certificate(here)


@pytest.fixture(scope="module")
def line(here: Path, pair: Certificate) -> Iterator[Line]:
    with build_line(here, pair) as found:
        yield found


@pytest.fixture(scope="module")
def servers(line: Line) -> dict[str, Server]:
    """CPython, nginx, Apache and Node, all in the server namespace."""
    for start in (start_nginx, start_apache, start_node):
        server = start(line.topology, line.here, line.pair)
        line.servers[server.name] = server
    return line.servers


@pytest.fixture(scope="module")
def nginx(line: Line) -> Server:
    return start_nginx(line.topology, line.here, line.pair)


@pytest.fixture
def judging(line: Line) -> Line:
    """The line with its cable laid, Penstock alive and the switch on, whatever the test before did to it."""
    if line.box.program.poll() is not None:
        line.restart()
    lay_cable(line.topology)
    run_penstock(line.topology, ["on"])
    return line


@pytest.fixture
def policy(line: Line, request: pytest.FixtureRequest) -> Iterator[str]:
    """The policy of the test's parameter is in force for its causes."""
    causes, found = request.param
    with policy_in_force(line, request.module.SETTINGS, found, *causes):
        yield found

"""A flow table smaller than the day's connections: what has ended makes room, and nothing stalls."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.demo.box import GOOD
from penstock.demo.servers import Certificate, hosts_seen
from penstock.demo.topology import HOME
from tests.live.clients import Response, ask
from tests.live.line import BAD, Line, build_line, live

pytestmark = live("openssl")

FLOWS = 1024
CONNECTIONS = 3 * FLOWS


@pytest.fixture(scope="module")
def small(here: Path, pair: Certificate) -> Iterator[Line]:
    with build_line(here, pair, flows={"capacity": FLOWS}) as found:
        yield found


@pytest.mark.timeout(60)
def test_connections_that_ended_make_room(small: Line) -> None:
    for number in range(CONNECTIONS):
        with small.connect(HOME) as conversation:
            conversation.send(ask(GOOD))
            answer = conversation.read()
            assert isinstance(answer, Response), f"connection {number}: {answer}"
    with small.connect(HOME) as conversation:
        conversation.send(ask(BAD))
        answer = conversation.read()
        assert isinstance(answer, Response)
        assert answer.is_page
    assert BAD not in hosts_seen(small.site)

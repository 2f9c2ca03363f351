"""A flow table that is full of connections that live: those without a place wait, or are judged on sight."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from penstock.demo.servers import Certificate, Server
from penstock.demo.topology import HOME
from tests.live.clients import Conversation, Response, ask
from tests.live.exceptions import by_policy, provoked, start_connecting, wait_until_connected
from tests.live.line import BAD, Line, build_line, live
from tests.live.metrics import LISTEN

pytestmark = live("openssl", "nginx", "curl")

FLOWS = 1024
MORE_FLOWS = 1100
PATIENCE_S = 20.0
SETTINGS: dict[str, Any] = {"metrics": {"listen": LISTEN}, "flows": {"capacity": FLOWS}}


@pytest.fixture(scope="module")
def line(here: Path, pair: Certificate) -> Iterator[Line]:
    with build_line(here, pair, **SETTINGS) as found:
        yield found


@by_policy(("table_full",), "drop", "forward")
def test_table_full(line: Line, nginx: Server, policy: str) -> None:
    """More connections than the table has places. Those without one wait, or are judged on sight."""
    with ExitStack() as opened:
        with provoked(line, "table_full", "table_full" if policy == "drop" else "table_full_passed"):
            channels = [opened.enter_context(start_connecting(line, HOME, nginx)) for _ in range(MORE_FLOWS)]
            waiting = wait_until_connected(channels, 0.5 if policy == "drop" else PATIENCE_S)
        if policy == "forward":
            assert not waiting
            listed = [Conversation(channel) for channel in channels]
            for one in listed:
                one.channel.settimeout(PATIENCE_S)
                one.send(ask(BAD))
            answers = [one.read() for one in listed]
            assert [one for one in answers if isinstance(one, Response) and not one.is_page] == []
            return
        assert waiting
        while waiting:
            for channel in set(channels) - waiting:
                channel.close()
            before, waiting = waiting, wait_until_connected(list(waiting), PATIENCE_S, len(waiting) - 1)
            assert waiting < before, "they get a place when others end"

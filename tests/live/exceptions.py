"""Causes of the exception table as tests see them: a policy put in force, and what a cause leaves in counter, metric and
log; and many connections begun at once.

Knows the names of causes, reasons and events. Refuses to know how a cause is provoked.
"""

import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from penstock.demo.box import write_configuration
from penstock.demo.servers import Server
from penstock.demo.topology import SERVER_IPV4, Subscriber
from tests.live.line import Line
from tests.live.metrics import Metrics, read_metrics, wait_for
from tests.live.processes import reload


@contextmanager
def policy_in_force(line: Line, settings: dict[str, Any], policy: str, *causes: str) -> Iterator[None]:
    """These causes have this policy for the time of the block. `settings`: those of the line besides."""
    write_configuration(line.here, **settings, exceptions=dict.fromkeys(causes, policy))
    reload(line)
    try:
        yield
    finally:
        write_configuration(line.here, **settings)
        reload(line)


def by_policy(causes: tuple[str, ...], *policies: str) -> pytest.MarkDecorator:
    """Give a test's fixture `policy` these causes, and one policy after the other."""
    return pytest.mark.parametrize("policy", [(causes, policy) for policy in policies], indirect=True, ids=policies)


def find_events(line: Line, cause: str, state: str) -> list[dict[str, Any]]:
    """The events of a cause's begin or end."""
    return line.events(event="exception", cause=cause, state=state)


def count_packets(found: Metrics, cause: str) -> int:
    """The metric of a cause's packets."""
    return int(found[f'penstock_exception_packets_total{{cause="{cause}"}}'])


def is_active(found: Metrics, cause: str) -> bool:
    """Does the metric say that the cause goes on?"""
    return found[f'penstock_exception_active{{cause="{cause}"}}'] == 1


@contextmanager
def provoked(line: Line, cause: str, *reasons: str) -> Iterator[None]:
    """What the block does is counted under these reasons, in the metric of the cause, and told by an event."""
    before = read_metrics(line)

    def has_come(found: Metrics) -> bool:
        return is_active(found, cause) and all(found.reason(one) > before.reason(one) for one in reasons)

    yield
    after = wait_for(line, has_come)
    for reason in reasons:
        assert after.reason(reason) > before.reason(reason), f"no packet was counted as {reason}"
    assert count_packets(after, cause) > count_packets(before, cause)
    assert is_active(after, cause)
    assert find_events(line, cause, "begin")


def start_connecting(line: Line, who: Subscriber, server: Server) -> socket.socket:
    """A connection that is not there yet."""
    with line.topology.inside("client"):
        channel = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    channel.setblocking(False)
    channel.bind((who.ipv4, 0))
    channel.connect_ex((SERVER_IPV4, server.http_port))
    return channel


def wait_until_connected(channels: list[socket.socket], patience_s: float, left_over: int = 0) -> set[socket.socket]:
    """Wait until so many are left, or that long without one more that is connected; those that are not."""
    left, poll = {channel.fileno(): channel for channel in channels}, select.poll()
    for number in left:
        poll.register(number, select.POLLOUT)
    while len(left) > left_over and (ready := poll.poll(patience_s * 1000)):
        for number, _ in ready:
            assert left.pop(number).getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
            poll.unregister(number)
    return set(left.values())

"""Ports that a client uses again while nobody reads: the record of the connection before says nothing of the new one.

Linux's sequence numbers for the same ports go round once in 274 s, so those of the new connection lie anywhere beside those
of the old one: here they are chosen (TCP_REPAIR).
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from penstock.demo.box import GOOD, run_penstock
from penstock.demo.topology import HOME, SERVER_IPV4
from tests.live.clients import RESET, Conversation, Response, ask
from tests.live.line import BAD, Line, live

pytestmark = live("openssl")

TCP_REPAIR, TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ = 19, 20, 21  # linux/tcp.h
SEND_QUEUE, REPAIR_ON, REPAIR_OFF = 2, 1, -1
FIRST = 2_000_000_000
BODY_BYTES = 200_000
PATIENCE_S = 5.0


@contextmanager
def connect_from(line: Line, port: int, sequence: int) -> Iterator[Conversation]:
    """A connection of home from this port, its first byte with this sequence number; the server closes it first."""
    with line.topology.inside("client"):
        channel = socket.socket()
    with channel:
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        channel.bind((HOME.ipv4, port))
        for option, value in (
            (TCP_REPAIR, REPAIR_ON),
            (TCP_REPAIR_QUEUE, SEND_QUEUE),
            (TCP_QUEUE_SEQ, sequence),
            (TCP_REPAIR, REPAIR_OFF),
        ):
            channel.setsockopt(socket.IPPROTO_TCP, option, value)
        channel.settimeout(PATIENCE_S)
        channel.connect((SERVER_IPV4, 80))
        yield Conversation(channel)


def tell(conversation: Conversation, content: bytes) -> int | str:
    """Say something; the status of the answer, or how it ended."""
    conversation.send(content)
    try:
        answer = conversation.read()
    except TimeoutError:
        return "nothing"
    return answer.status if isinstance(answer, Response) else answer


def switch(line: Line, word: str) -> None:
    """`penstock off` or `on`."""
    done = run_penstock(line.topology, [word])
    assert done.returncode == 0, done.stderr


CLOSE = "Connection: close"
BODY = ask(GOOD, "/", CLOSE, f"Content-Length: {BODY_BYTES}", method="POST") + bytes(BODY_BYTES)


@pytest.mark.parametrize(
    ("port", "before", "sequence"),
    [
        pytest.param(40_000, ask(GOOD, "/", CLOSE), FIRST + 100_000_000, id="ended"),
        pytest.param(40_001, ask(GOOD, "/", CLOSE), FIRST - 100_000_000, id="ended, numbers before"),
        pytest.param(40_002, BODY, FIRST + 1_000, id="ended, numbers within"),
        pytest.param(40_003, ask(BAD), FIRST + 100_000_000, id="refused"),
        pytest.param(40_004, b"SSH-2.0-none\r\n\r\n", FIRST + 100_000_000, id="free"),
    ],
)
def test_ports_again(line: Line, port: int, before: bytes, sequence: int) -> None:
    """A connection that ended, was refused, or free; another one of its ports while the switch is off; then it is on."""
    with connect_from(line, port, FIRST) as first:
        tell(first, before)
        first.read_all(PATIENCE_S)
    switch(line, "off")
    try:
        with connect_from(line, port, sequence) as again:
            assert tell(again, ask(GOOD)) == 200
            switch(line, "on")
            assert tell(again, ask(GOOD)) == 200, "nothing breaks"
            assert tell(again, ask(BAD)) == RESET, "nothing slips through"
    finally:
        switch(line, "on")

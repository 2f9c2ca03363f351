"""A segment with a wrong checksum stays wrong: no byte of it reaches an application."""

import time

import pytest

from penstock.demo.box import GOOD
from penstock.demo.topology import HOME, OFFICE, Subscriber
from tests.live.clients import ask
from tests.live.line import Line, live
from tests.live.packets import Beside, Tap
from tests.live.sink import Sink

pytestmark = live("openssl")

PORT = 8090
FORGED, TRUE = ask(GOOD, "/forged"), ask(GOOD, "/true00")
ARRIVE_S = 0.3


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("who", [HOME, OFFICE], ids=lambda who: who.name)
def test_a_right_checksum_arrives(line: Line, who: Subscriber, family: int) -> None:
    assert send_beside(line, who, family, None) == FORGED


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("who", [HOME, OFFICE], ids=lambda who: who.name)
@pytest.mark.parametrize("checksum", [0xDEAD, 0x0000, 0xFFFF], ids=hex)
def test_a_wrong_checksum_does_not(line: Line, checksum: int, who: Subscriber, family: int) -> None:
    assert send_beside(line, who, family, checksum) == TRUE


def send_beside(line: Line, who: Subscriber, family: int, checksum: int | None) -> bytes:
    """Connect, send FORGED by a frame of our own making, then TRUE at the same place by the kernel; what arrived."""
    assert len(FORGED) == len(TRUE)
    with Tap(line.topology) as tap, Sink(line.topology, PORT, len(TRUE)) as sink:
        with line.connect(who, PORT, family) as conversation:
            frame = Beside(tap.find_syn_ack(conversation.channel.getsockname()[1])).build(FORGED, checksum)
            tap.channel.send(frame)
            time.sleep(ARRIVE_S)
            if checksum is not None:
                assert sink.received in ([], [b""])
            conversation.send(TRUE)
            conversation.read_all(ARRIVE_S)
        return sink.received[0]

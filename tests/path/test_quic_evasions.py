"""Evasions over QUIC, each as short as it can be: what a server would act on never reaches it whole."""

from functools import cache

import pytest

from penstock.flow.connection import PAIR_LIMIT
from penstock.line.native import Outcome
from tests.path.boxes import Box, name_of
from tests.quic import (
    ACK_FRAME,
    HANDSHAKE,
    PING,
    SERVER,
    V1,
    crypto,
    datagram,
    hello,
    initial,
    long_packet,
    read_datagram,
)
from tests.vocabulary import TO_CLIENT, TO_SERVER, Flow, ethernet, ipv4, packed

BAD, GOOD = hello("bad.test"), hello("good.test")
HALF = len(BAD) // 2
MINUTE_NS = 61_000_000_000 * 1_048_576 // 1_000_000  # the path counts milliseconds of 2^20 ns


@cache
def shared_box() -> Box:
    return Box()


@pytest.fixture
def box() -> Box:
    """A box that has forgotten the test before."""
    made = shared_box()
    made.now_ns += MINUTE_NS
    return made


def client(number: int = 1, port: int = 30000) -> Flow:
    return Flow(client=f"10.1.3.{number}", client_port=port, server_port=443)


def send(box: Box, flow: Flow, data: bytes, gso_size: int = 0) -> Outcome:
    return box.take_raw(datagram(flow, data), TO_SERVER, gso_size)


def reached(outcome: Outcome) -> list[bytes]:
    return [read_datagram(content).data for to_server, content in outcome.sent if to_server]


def short(dcid: bytes, frames: bytes, number: int = 0) -> bytes:
    """An Initial that leaves room for another one in its datagram."""
    return initial(dcid, frames, number=number, size=0)


def carry(box: Box, flow: Flow, wanted: bytes, vehicle: bytes, is_super: bool) -> bytes:
    """Get an Initial of an unfinished hello past the box: it travels with one of a connection whose hello is allowed.

    Returns: what reached the server.
    """
    first, rest = crypto(0, GOOD[:50]), crypto(50, GOOD[50:])
    if is_super:
        packet = initial(b"wanted-1", wanted) + initial(vehicle, first)
    else:
        packet = short(b"wanted-1", wanted) + initial(vehicle, first, size=900)
    outcomes = [send(box, flow, packet, 1200 if is_super else 0), send(box, flow, initial(vehicle, rest, number=1))]
    return b"".join(data for outcome in outcomes for data in reached(outcome))


@pytest.mark.parametrize("is_super", [False, True])
def test_a_packet_waits_for_every_hello_that_it_carries(box: Box, is_super: bool) -> None:
    """Otherwise half of a refused hello passes from one address, the other half from another."""
    packets = [crypto(0, BAD[:HALF]), crypto(HALF, BAD[HALF:])]
    passed = [carry(box, client(n), part, b"vehicle%d" % n, is_super) for n, part in enumerate(packets, 1)]
    assert [b"wanted-1" in data for data in passed] != [True, True]


def test_a_packet_waits_for_every_hello_though_its_bytes_are_forgotten(box: Box) -> None:
    first = carry(box, client(), crypto(0, BAD[:HALF]), b"vehicle1", False)
    box.now_ns += MINUTE_NS
    second = carry(box, client(), crypto(HALF, BAD[HALF:]), b"vehicle2", False)
    assert not (b"wanted-1" in first and b"wanted-1" in second)


def second_hello(number: int = 1, at: int = 0) -> bytes:
    """What follows a HelloRetryRequest, to the connection ID that the server chose."""
    return initial(b"server-1", crypto(at or len(GOOD), BAD), number=number, key_cid=b"client-1")


def test_a_second_hello_comes_from_another_address(box: Box) -> None:
    """A server that finds its connections by ID takes it; here nobody knows it, so nobody may let it pass."""
    assert name_of(send(box, client(1), initial(b"client-1", crypto(0, GOOD)))) == "allowed"
    assert not reached(send(box, client(2), second_hello()))


def test_a_second_hello_comes_late(box: Box) -> None:
    """A client that keeps its connection alive with PING, and a server without a limit for handshakes."""
    assert name_of(send(box, client(), initial(b"client-1", crypto(0, GOOD)))) == "allowed"
    for number in range(1, 4):
        box.now_ns += MINUTE_NS // 3
        send(box, client(), initial(b"server-1", PING, number=number, key_cid=b"client-1"))
    assert not reached(send(box, client(), second_hello(9)))


def test_a_number_that_only_the_server_completes(box: Box) -> None:
    """The first hello had a high number, and a short one is read near it; at another address the box takes it as it is."""
    high = 1 << 20
    assert (
        name_of(send(box, client(1), initial(b"client-1", crypto(0, GOOD), number=high, number_bytes=4))) == "allowed"
    )
    late = initial(b"client-1", crypto(len(GOOD), BAD), number=high + 1, number_bytes=1)
    assert not reached(send(box, client(2), late))


def test_a_hello_that_is_lost_behind_the_box_is_repeated(box: Box) -> None:
    """However many others came meanwhile: as many as a worker may take in a second."""
    packet = initial(b"client-1", crypto(0, GOOD))
    assert name_of(send(box, client(), packet)) == "allowed"
    for number in range(5000):
        other = Flow(client=f"10.1.{number >> 8 | 16}.{number & 255}", server_port=443)
        assert name_of(send(box, other, initial(number.to_bytes(8), crypto(0, GOOD), version=V1))) == "allowed"
    box.now_ns += 300_000_000
    assert name_of(send(box, client(), packet)) == "judged_connection"


def test_bytes_behind_a_judged_packet_leave_it_its_reason(box: Box) -> None:
    """The ledger counts it: up = released + ... ."""
    assert name_of(send(box, client(), initial(b"client-1", crypto(0, GOOD)))) == "allowed"
    again = initial(b"client-1", PING, number=1)
    assert name_of(send(box, client(), again)) == "judged_connection"
    assert name_of(send(box, client(), again + bytes(9))) == "judged_connection"


FRONTS = {
    "handshake": (long_packet(HANDSHAKE, b"server-1", bytes(30)), 0),
    "allowed": (initial(b"vehicle1", crypto(0, GOOD)), 1200),
    "held": (initial(b"vehicle1", crypto(0, GOOD[:50])), 1200),
}


@pytest.mark.parametrize("front", FRONTS)
def test_what_no_key_opens_does_not_pass_behind_another_packet(box: Box, front: str) -> None:
    """The packet in front gives the whole its reason; the second hello to a connection of another address goes with it."""
    assert name_of(send(box, client(1), initial(b"client-1", crypto(0, GOOD)))) == "allowed"
    content, gso_size = FRONTS[front]
    outcomes = [send(box, client(2), content + second_hello(), gso_size)]
    outcomes.append(send(box, client(2), initial(b"vehicle1", crypto(50, GOOD[50:]), number=1)))
    assert not any(second_hello() in data for outcome in outcomes for data in reached(outcome))


def send_fragments(box: Box, flow: Flow, data: bytes) -> list[Outcome]:
    """A datagram in two fragments."""
    content = datagram(flow, data)[34:]
    ends, cut_at = (packed(flow.client), packed(flow.server)), 800
    heads = [
        ipv4(*ends, 17, cut_at, fragment=0x2000, identity=7),
        ipv4(*ends, 17, len(content) - cut_at, fragment=cut_at // 8, identity=7),
    ]
    parts = content[:cut_at], content[cut_at:]
    return [
        box.take_raw(ethernet(TO_SERVER, False) + head + part, TO_SERVER)
        for head, part in zip(heads, parts, strict=True)
    ]


def test_an_answer_to_fragments_makes_nobody_a_server(box: Box) -> None:
    """Fragments make no record; the server's answer to them makes one, and must not make it that of an inbound flow."""
    assert name_of(send(box, client(1, 31001), initial(b"client-1", crypto(0, GOOD)))) == "allowed"
    assert name_of(send_fragments(box, client(2, 31001), initial(b"client-2", crypto(0, GOOD)))[-1]) == "allowed"
    answer = initial(b"", ACK_FRAME, scid=b"server-2", key_cid=b"client-2", side=SERVER)
    box.take_raw(datagram(client(2, 31001), answer, TO_CLIENT), TO_CLIENT)
    assert not reached(send(box, client(2, 31001), second_hello()))


def test_an_answer_to_fragments_makes_nobody_a_server_later(box: Box) -> None:
    """The same from one address, when the connection is forgotten."""
    assert name_of(send_fragments(box, client(1, 31002), initial(b"client-1", crypto(0, GOOD)))[-1]) == "allowed"
    answer = initial(b"", ACK_FRAME, scid=b"server-1", key_cid=b"client-1", side=SERVER)
    box.take_raw(datagram(client(1, 31002), answer, TO_CLIENT), TO_CLIENT)
    box.now_ns += MINUTE_NS
    assert not reached(send(box, client(1, 31002), second_hello()))


def test_a_neighbour_of_the_server_has_room_of_its_own(box: Box) -> None:
    """A household that opens PAIR_LIMIT connections to one server opens one to another whose address is near."""
    flow = Flow(client="10.1.4.1", server="192.0.2.1", server_port=443)
    for number in range(PAIR_LIMIT):
        assert name_of(send(box, flow, initial(number.to_bytes(8), crypto(0, GOOD)))) == "allowed"
    other = flow._replace(server="192.0.77.2")
    assert name_of(send(box, other, initial(b"client-1", crypto(0, GOOD)))) == "allowed"

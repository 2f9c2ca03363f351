"""Whose a packet is: by its VLAN's scope, by a block of ports, and of packets that come in pieces."""

import struct

import pytest

from penstock.kernel import tables as t
from penstock.line.directory import Held, make_places, pack_place
from tests.path.boxes import Box, Conversation, name_of, owners, policy, request
from tests.policy.worlds import packed
from tests.vocabulary import FLOW4, TO_SERVER

PROFILE = owners().configuration.subscribers[0].profile
CUSTOMER, NEIGHBOUR = 20, 21
SHARED = "203.0.113.7"


def set_scope(box: Box, vlan: int, scope: int) -> None:
    struct.pack_into("<H", box.path.control, t.CONTROL_SCOPES + 2 * vlan, scope)


def put(box: Box, number: int, address: str, profile: str | None = PROFILE, scope: int = 0, **port: int) -> None:
    box.path.directory.set_line(number, profile, Held(*policy().configuration.resolve_profile(profile)))
    box.path.directory.put(make_places([pack_place(scope, packed(address), 128, **port)]), [number])


def ask(box: Box, host: str, **flow: object) -> str:
    return name_of(Conversation(box, FLOW4._replace(**flow)).open().client(request(host)))


def test_one_address_in_two_vlans_is_two_subscribers() -> None:
    box = Box()
    set_scope(box, 100, 1)
    set_scope(box, 200, 2)
    put(box, CUSTOMER, "100.64.0.1", scope=1)
    put(box, NEIGHBOUR, "100.64.0.1", None, scope=2)
    said = {vlan: ask(box, "bad.test", client="100.64.0.1", tags=((0x8100, vlan),)) for vlan in (100, 200, 300)}
    assert said == {100: "blocked", 200: "free", 300: "free"}
    assert ask(box, "bad.test", client="100.64.0.1", tags=()) == "free"
    assert ask(box, "good.test", client="100.64.0.1", tags=((0x8100, 100),), client_port=7) == "allowed"


def test_the_outer_tag_says_which_scope() -> None:
    box = Box()
    set_scope(box, 100, 1)
    put(box, CUSTOMER, "100.64.0.1", scope=1)
    assert ask(box, "bad.test", client="100.64.0.1", tags=((0x88A8, 100), (0x8100, 7))) == "blocked"
    assert ask(box, "bad.test", client="100.64.0.1", tags=((0x88A8, 7), (0x8100, 100))) == "free"


@pytest.mark.parametrize(("port", "said"), [(1024, "blocked"), (1535, "blocked"), (1536, "free"), (1023, "free")])
def test_a_block_of_ports_is_a_subscriber(port: int, said: str) -> None:
    box = Box()
    put(box, CUSTOMER, SHARED, port=1024, port_bits=7)
    put(box, NEIGHBOUR, SHARED, None, port=1536, port_bits=7)
    assert ask(box, "bad.test", client=SHARED, client_port=port) == said


@pytest.mark.parametrize(("port", "said"), [(1024, "blocked"), (1536, "fragment_judged"), (9, "fragment_judged")])
def test_of_a_packet_in_pieces_the_whole_says_whose_it_is(port: int, said: str) -> None:
    box = Box()
    put(box, CUSTOMER, SHARED, port=1024, port_bits=7)
    flow = FLOW4._replace(client=SHARED, client_port=port)
    talk = Conversation(box, flow).open()
    whole = talk.client_frame(request("bad.test", "GET", "/" + "x" * 300))
    names = [name_of(box.take_raw(piece, TO_SERVER)) for piece in cut(whole)]
    assert names == ["held", said]


def cut(whole: bytes, size: int = 160) -> list[bytes]:
    """Two IPv4 fragments of a frame."""
    header, payload = bytearray(whole[14:34]), whole[34:]
    pieces = []
    for offset, part in ((0, payload[:size]), (size, payload[size:])):
        field = offset >> 3 | (0x2000 if offset == 0 else 0)
        struct.pack_into(">HHH", header, 2, 20 + len(part), 77, field)
        struct.pack_into(">H", header, 10, 0)
        total = sum(struct.unpack(">10H", header))
        total = (total & 0xFFFF) + (total >> 16)
        struct.pack_into(">H", header, 10, ~(total + (total >> 16)) & 0xFFFF)
        pieces.append(whole[:14] + bytes(header) + part)
    return pieces

"""Layers 2 and 3 of authored frames, and the room they take."""

from hypothesis import given
from hypothesis import strategies as st
from scapy.all import IP, Ether, IPv6

from penstock.answer.frame import write_frame_head
from penstock.compile.memory import shared
from penstock.compile.native import kernel
from penstock.wire.headers import PROTOCOL_TCP
from tests.answer.buffers import compiled
from tests.answer.packets import Origin, an_origin, author, build_origin, with_vlan_tag


@shared
def write_head(out, packet, l3_off, l4_off, is_ipv6, vlan_tag, reverse, l4_bytes):  # type: ignore[no-untyped-def]
    return write_frame_head(out, packet, l3_off, is_ipv6, reverse, PROTOCOL_TCP, l4_bytes, vlan_tag) - out


run_head = kernel(write_head)


@compiled
@given(an_origin, st.integers(0, 1), st.integers(20, 1_500))
def test_head_is_as_long_as_its_layers(origin: Origin, reverse: int, l4_bytes: int) -> None:
    link_bytes = origin.l3_off + (4 if origin.vlan_tag else 0)
    head = author(run_head, origin, reverse, l4_bytes, room_bytes=link_bytes + (40 if origin.is_ipv6 else 20))
    assert len(head) == link_bytes + (40 if origin.is_ipv6 else 20)
    l3 = Ether(head + bytes(l4_bytes))[IPv6 if origin.is_ipv6 else IP]
    assert (l3.plen if origin.is_ipv6 else l3.len - 20) == l4_bytes


def test_metadata_tag_is_the_outer_one() -> None:
    origin = with_vlan_tag(build_origin(tags=((0x8100, 0x2064),)), 0x88A8, 0x00C8)
    head = author(run_head, origin, 1, 20)
    assert head[12:22].hex() == "88a800c8" + "81002064" + "0800"


def test_congestion_marks_are_not_mirrored() -> None:
    head = author(run_head, build_origin(traffic_class=0xB8 | 3), 1, 20)
    assert head[15] == 0xB8
    head = author(run_head, build_origin(is_ipv6=True, traffic_class=0xB8 | 3), 1, 20)
    assert head[14:18].hex() == "6b800000"

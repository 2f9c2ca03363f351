"""The vocabulary of these tests: a packet at hand, a request to author one, and scapy as the judge of the result."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st
from scapy.all import IP, TCP, Dot1AD, Dot1Q, Ether, IPv6, Raw
from scapy.layers.inet6 import IPv6ExtHdrHopByHop

from tests.answer.buffers import lend_arrays

TPID = {0x8100: Dot1Q, 0x88A8: Dot1AD}
CLIENT_MAC, SERVER_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"
GUARD_BYTES = 64  # behind the room: copies are not seen by the checked build
MOST_HEADERS_BYTES = 14 + 4 * 4 + 40 + 32


@dataclass(frozen=True)
class Origin:
    """A packet at hand, from the client, and where its layers start."""

    frame: bytes
    l3_off: int
    l4_off: int
    is_ipv6: int
    vlan_tag: int

    def parse(self) -> Any:
        return Ether(self.frame)

    @property
    def args(self) -> tuple[int, int, int, int]:
        return self.l3_off, self.l4_off, self.is_ipv6, self.vlan_tag


def build_origin(
    *,
    is_ipv6: bool = False,
    tags: tuple[tuple[int, int], ...] = (),
    vlan_tag: int = 0,
    traffic_class: int = 0,
    ip_options: bool = False,
    ports: tuple[int, int] = (40000, 80),
    payload: bytes = b"GET / HTTP/1.1\r\n\r\n",
) -> Origin:
    """A client's packet. `tags` are (TPID, TCI) in the bytes; `vlan_tag` is the one in the metadata."""
    link = Ether(src=CLIENT_MAC, dst=SERVER_MAC)
    for tpid, tci in tags:
        link = link / TPID[tpid](prio=tci >> 13, dei=tci >> 12 & 1, vlan=tci & 0xFFF)
    if tags:
        link.type = tags[0][0]
        for number, (tpid, _) in enumerate(tags[1:]):
            link[number + 1].type = tpid
    link.lastlayer().type = 0x86DD if is_ipv6 else 0x0800
    l3_off = 14 + 4 * len(tags)
    if is_ipv6:
        l3 = IPv6(src="fd77::2", dst="2001:db8::5", tc=traffic_class, fl=0x12345, hlim=3)
        l3 = l3 / IPv6ExtHdrHopByHop() if ip_options else l3
    else:
        options = [b"\x94\x04\x00\x00"] if ip_options else []
        l3 = IP(src="10.77.0.2", dst="192.0.2.5", tos=traffic_class, id=77, ttl=3, options=options)
    l3_bytes = len(bytes(l3))
    tcp = TCP(sport=ports[0], dport=ports[1], flags="PA", seq=1000, ack=2000, options=[("Timestamp", (7, 9))])
    return Origin(bytes(link / l3 / tcp / Raw(payload)), l3_off, l3_off + l3_bytes, int(is_ipv6), vlan_tag)


u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFFFFFF)
a_tag = st.tuples(st.sampled_from([0x8100, 0x88A8]), u16)
an_origin = st.builds(
    build_origin,
    is_ipv6=st.booleans(),
    tags=st.lists(a_tag, max_size=2).map(tuple),
    vlan_tag=st.one_of(st.just(0), a_tag.map(lambda tag: tag[0] << 16 | tag[1])),
    traffic_class=st.integers(0, 255),
    ip_options=st.booleans(),
    ports=st.tuples(u16, u16),
    payload=st.binary(max_size=40),
)


def author(run: Any, origin: Origin, *args: int | bytes, room_bytes: int = MOST_HEADERS_BYTES) -> bytes:
    """Call a compiled writer with an exact room for its frame; byte strings become addresses. Returns the frame."""
    held = [np.frombuffer(arg + b"\0", np.uint8)[:-1] for arg in args if isinstance(arg, bytes)]
    guarded = np.full(room_bytes + GUARD_BYTES, 0xAA, np.uint8)
    out = guarded[:room_bytes]
    packet = np.frombuffer(origin.frame, np.uint8).copy()
    with lend_arrays(out, packet, *held) as addresses:
        at = iter(addresses[2:])
        numbers = [next(at) if isinstance(arg, bytes) else arg for arg in args]
        size = run(addresses[0], addresses[1], *origin.args, *numbers)
    assert 0 <= size <= room_bytes
    assert bytes(packet) == origin.frame
    assert (guarded[size:] == 0xAA).all()
    return out[:size].tobytes()


def check_mirror(frame: bytes, origin: Origin, reverse: int) -> Any:
    """Assert layers 2 and 3 and every checksum; returns scapy's TCP layer."""
    hand, mine = origin.parse(), Ether(frame)
    assert (mine.src, mine.dst) == ((hand.dst, hand.src) if reverse else (hand.src, hand.dst))
    tag = origin.vlan_tag.to_bytes(4, "big") if origin.vlan_tag else b""
    assert frame[12 : origin.l3_off + len(tag)] == tag + origin.frame[12 : origin.l3_off]
    l3, l3_at_hand = (mine[IPv6], hand[IPv6]) if origin.is_ipv6 else (mine[IP], hand[IP])
    here, there = (l3_at_hand.dst, l3_at_hand.src) if reverse else (l3_at_hand.src, l3_at_hand.dst)
    assert (l3.src, l3.dst) == (here, there)
    if origin.is_ipv6:
        assert (l3.version, l3.tc, l3.fl, l3.hlim, l3.nh) == (6, l3_at_hand.tc & 0xFC, 0, 64, 6)
        assert l3.plen == len(l3.payload)
    else:
        assert (l3.version, l3.ihl, l3.tos, l3.id, l3.flags, l3.frag) == (4, 5, l3_at_hand.tos & 0xFC, 0, "DF", 0)
        assert (l3.ttl, l3.proto, l3.len, len(l3.options)) == (64, 6, len(l3), 0)
    tcp, tcp_at_hand = mine[TCP], hand[TCP]
    ports = (tcp_at_hand.dport, tcp_at_hand.sport) if reverse else (tcp_at_hand.sport, tcp_at_hand.dport)
    assert (tcp.sport, tcp.dport) == ports
    assert rebuild(mine) == frame
    return tcp


def rebuild(packet: Any) -> bytes:
    """The same packet with every checksum and length computed by scapy."""
    copy = packet.copy()
    if IP in copy:
        del copy[IP].chksum, copy[IP].len
    else:
        del copy[IPv6].plen
    del copy[TCP].chksum
    return bytes(copy)


def with_vlan_tag(origin: Origin, tpid: int, tci: int) -> Origin:
    """The same packet with a tag in its metadata."""
    return replace(origin, vlan_tag=tpid << 16 | tci)

"""What IP may put around a segment: options, extension headers, odd fields. The request itself is whole."""

from tests.evasion.catalogue.segments import pieces
from tests.evasion.recipe import Segment, Strategy, Tcp

PAD6 = b"\0\1\4\0\0\0\0"  # length 0, PadN of four
HOP, ROUTING, DESTINATION = 0, 43, 60
FOUR, SIX, ALL = ("IPv4", "VLAN"), ("IPv6",), ("IPv4", "IPv6", "VLAN")
PLAIN = ("IPv4", "IPv6")

FOUND: tuple[tuple[str, str, str, dict[str, object], tuple[str, ...]], ...] = (
    ("nop-options", "fragroute ip_opt", "eight NOP options", {"ip_options": b"\1" * 8}, FOUR),
    ("router-alert", "RFC 2113", "the router alert option", {"ip_options": b"\x94\4\0\0"}, FOUR),
    ("record-route", "fragroute ip_opt rr", "the record route option", {"ip_options": b"\7\x0b\4" + bytes(8) + b"\0"},
     FOUR),
    ("time-stamp", "RFC 791", "the timestamp option", {"ip_options": b"\x44\x0c\5\0" + bytes(8)}, FOUR),
    ("options-full", "Ptacek and Newsham, IP options", "40 bytes of NOP", {"ip_options": b"\1" * 40}, FOUR),
    ("end-of-options", "Ptacek and Newsham, IP options", "junk behind the end of the options",
     {"ip_options": b"\0\xff\xff\xff"}, FOUR),
    ("loose-route", "fragroute ip_opt lsrr", "a loose source route that ends here",
     {"ip_options": b"\x83\7\x08\xcb\0\x71\x0a\0"}, FOUR),
    ("evil-bit", "RFC 3514", "the reserved bit of IPv4", {"ip": (("flags", 0xC000),)}, FOUR),
    ("may-fragment", "Geneva, tamper flags", "no DF", {"ip": (("flags", 0),)}, FOUR),
    ("dscp", "Geneva, tamper tos", "traffic class 0xE0", {"tos": 0xE0}, ALL),
    ("congested", "RFC 3168", "congestion experienced", {"tos": 3}, ALL),
    ("high-ttl", "Geneva, tamper ttl", "a TTL of 255 where the handshake had 64", {"ttl": 255}, ALL),
    ("trailer", "Ptacek and Newsham, link layer", "nine bytes behind the IP packet", {"trailer": b"Host: any"}, ALL),
    ("priority-tag", "IEEE 802.1Q", "a tag of VLAN 0", {"tags": (0,)}, PLAIN),
    ("two-priority-tags", "IEEE 802.1Q", "two tags of VLAN 0", {"tags": (0, 0)}, PLAIN),
    ("service-tag", "IEEE 802.1ad", "a service tag of VLAN 0", {"tags": (0x88A8 << 16,)}, PLAIN),
    ("service-and-priority", "IEEE 802.1ad", "a service tag and a tag, both of VLAN 0", {"tags": (0x88A8 << 16, 0)},
     PLAIN),
    ("priority-bits", "IEEE 802.1p", "a tag of VLAN 0 with the highest priority", {"tags": (0xE000,)}, PLAIN),
    ("three-priority-tags", "IEEE 802.1Q", "three tags of VLAN 0, more than are read", {"tags": (0, 0, 0)}, PLAIN),
    ("low-ttl", "zapret orig-ttl", "a TTL of 58 where the handshake had 64", {"ttl": 58}, ALL),
    ("near-ttl", "routes that change", "a TTL of 62 where the handshake had 64", {"ttl": 62}, ALL),
    ("hop-by-hop", "zapret hopbyhop", "a hop-by-hop header", {"extensions": ((HOP, PAD6),)}, SIX),
    ("destination", "zapret destopt", "a destination options header", {"extensions": ((DESTINATION, PAD6),)}, SIX),
    ("two-destinations", "RFC 8200", "two destination options headers", {"extensions": ((DESTINATION, PAD6),) * 2},
     SIX),
    ("long-destination", "RFC 8200", "264 bytes of destination options",
     {"extensions": ((DESTINATION, b"\x20" + b"\1\xfe" + bytes(254) + b"\1\2\0\0" + b"\0"),)}, SIX),
    ("hop-and-destination", "RFC 8200", "hop-by-hop, then destination options",
     {"extensions": ((HOP, PAD6), (DESTINATION, PAD6))}, SIX),
    ("routing-empty", "RFC 8200", "a routing header with no segments left",
     {"extensions": ((ROUTING, b"\0\4\0\0\0\0\0"),)}, SIX),
    ("unknown-option", "RFC 8200", "an unknown option that is to be skipped",
     {"extensions": ((DESTINATION, b"\0\x1e\4\0\0\0\0"),)}, SIX),
    ("many-headers", "RFC 8200", "seven destination options headers", {"extensions": ((DESTINATION, PAD6),) * 7}, SIX),
    ("more-headers", "RFC 8200", "nine destination options headers, more than are read",
     {"extensions": ((DESTINATION, PAD6),) * 9}, SIX),
    ("wrong-order", "RFC 8200", "hop-by-hop behind destination options",
     {"extensions": ((DESTINATION, PAD6), (HOP, PAD6))}, SIX),
)  # fmt: skip
DOUBT = {
    "low-ttl": "a TTL so far below the handshake's is how decoys are made that die before the server",
    "three-priority-tags": "more than two VLAN tags are refused as malformed, a limit that is stated",
    "more-headers": "more than eight extension headers are refused as malformed, a limit that is stated",
}


def _steps(how: dict[str, object]) -> tuple[Segment, ...]:
    first, last = pieces("mid")
    halves = [Segment(one.start, one.end, **how) for one in (first, last)]  # type: ignore[arg-type]
    return tuple(halves)


STRATEGIES = [
    Strategy(f"header.{name}", "header", source, what, Tcp(_steps(how)), nets=nets, ambiguous=DOUBT.get(name, ""))
    for name, source, what, how, nets in FOUND
]

"""Where a subscriber is, of the attributes of an accounting packet: addresses, prefixes, port blocks of shared addresses.

    Framed-IP-Address                          an address           RFC 2865 5.8: 255.255.255.254 and .255 are none
    Framed-IPv6-Address and vendors' like it   an address           RFC 6911 3.1
    Framed-IPv6-Prefix, Delegated-IPv6-Prefix  a prefix             RFC 3162 2.3, RFC 4818 3
    IP-Port-Range                              a block of ports     RFC 8045 3.1.2
    Alc-Nat-Port-Range                         blocks               "203.0.113.1 1024-2047,4096-5119 router base"
    ...-NAT-Public-Address, -Start-, -End-Port a block              Huawei and others

Framed-IP-Netmask is not read: for many a NAS it is the mask of the network that all subscribers share. Knows what an
attribute says of places. It does not know whose they are, nor whether the packet is genuine.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address
from typing import Literal

from penstock.control.subscribers.model import Place
from penstock.control.subscribers.places import PlaceError, build_blocks, build_place4, build_place6
from penstock.control.subscribers.radius_dictionary import Attributes, Key
from penstock.control.subscribers.radius_packet import Fields

Nat = Literal["both", "inside", "outside"]

PORT_RANGE: Key = (-241, 6)
"""IP-Port-Range, extended type 241.6; a minus marks what is no vendor's (RFC 6929 2.1)."""
ADDRESSES6 = ("Framed-IPv6-Address", "Alc-Ipv6-Address", "Huawei-Framed-IPv6-Address", "NetElastic-Framed-IPv6-Address")
PREFIXES6 = ("Framed-IPv6-Prefix", "Delegated-IPv6-Prefix", "ERX-IPv6-NdRa-Prefix")
TRIPLES = (
    ("Huawei-NAT-Public-Address", "Huawei-NAT-Start-Port", "Huawei-NAT-End-Port"),
    ("NetElastic-NAT-Public-Address", "NetElastic-NAT-Start-Port", "NetElastic-NAT-End-Port"),
    ("TP-NAT-IP-Address", "TP-NAT-Port-Start", "TP-NAT-Port-End"),
)
NAT_FREE, NAT_MAP = 19, 20  # Alc-Acct-Triggered-Reason: this block was given back, this one was given in addition
GIVEN_BACK = 2  # IP-Port-Alloc, RFC 8045 3.2.8
PLACE_LIMIT = 32  # of one packet: a packet has room for hundreds, a subscriber has none
NOKIA_RANGES = re.compile(r"(?:\d{1,5}(?:-|\.\.)\d{1,5},)*\d{1,5}(?:-|\.\.)\d{1,5}")


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """What a packet says of places."""

    places: tuple[Place, ...]
    freed: tuple[Place, ...]
    """Those that the session had and has no more."""
    adds: bool
    """`places` are further ones; else they are all of the session's."""
    notes: tuple[str, ...]
    """What of it could not be taken."""


class PlaceReader:
    """Reads places of packets by the attributes that the dictionaries name. `keys` are those it looks at."""

    def __init__(self, attributes: Attributes, nat: Nat) -> None:
        def key(name: str) -> Key:
            return attributes.find(name).key

        self._nat = nat
        self._framed = key("Framed-IP-Address")
        self._addresses = tuple(map(key, ADDRESSES6))
        self._prefixes = tuple(map(key, PREFIXES6))
        self._triples = tuple(tuple(map(key, names)) for names in TRIPLES)
        self._nokia, self._nokia_reason = key("Alc-Nat-Port-Range"), key("Alc-Acct-Triggered-Reason")
        of_triples = {each for triple in self._triples for each in triple}
        plain = {self._framed, *self._addresses, *self._prefixes}
        self._of_blocks = frozenset({self._nokia, PORT_RANGE, *(triple[0] for triple in self._triples)})
        self.keys = frozenset(plain | of_triples | self._of_blocks | {self._nokia_reason})

    def read(self, fields: Fields, scope: int) -> Whereabouts:
        """The places that `fields` name. Never raises: what cannot be taken is in `notes`."""
        found: list[Place] = []
        freed: list[Place] = []
        notes: list[str] = []
        adds = False
        if self._nat != "inside" and not self._of_blocks.isdisjoint(fields):
            adds = self._read_blocks(fields, scope, found, freed, notes)
        if not (found and self._nat == "outside"):
            _take(_read_address4, fields.get(self._framed, ()), scope, found, notes)
        for key in self._addresses:
            _take(_read_address6, fields.get(key, ()), scope, found, notes)
        for key in self._prefixes:
            _take(_read_prefix6, fields.get(key, ()), scope, found, notes)
        if len(found) > PLACE_LIMIT or len(freed) > PLACE_LIMIT:
            notes.append("too_many_places")
            del found[PLACE_LIMIT:], freed[PLACE_LIMIT:]
        return Whereabouts(tuple(dict.fromkeys(found)), tuple(freed), adds, tuple(notes))

    def _read_blocks(
        self, fields: Fields, scope: int, found: list[Place], freed: list[Place], notes: list[str]
    ) -> bool:
        """Blocks into `found` and `freed`. Returns whether the session has others beside them."""
        adds = False
        if self._nokia in fields:
            reason = int.from_bytes(fields.get(self._nokia_reason, [b""])[0], "big")
            adds = reason in (NAT_FREE, NAT_MAP)
            _take(_read_nokia, fields[self._nokia], scope, freed if reason == NAT_FREE else found, notes)
        for address, first, last in self._triples:
            for values in zip(fields.get(address, ()), fields.get(first, ()), fields.get(last, ()), strict=False):
                _take(_read_triple, [b"".join(values)], scope, found, notes)
        for value in fields.get(PORT_RANGE, ()):
            adds = True
            _take(_read_port_range, [value], scope, freed if _is_given_back(value) else found, notes)
        return adds


def _take(
    read: Callable[[bytes, int], list[Place]],
    values: tuple[()] | list[bytes],
    scope: int,
    found: list[Place],
    notes: list[str],
) -> None:
    for value in values:
        try:
            found += read(value, scope)
        except PlaceError as error:
            notes.append(error.name)


def _read_address4(value: bytes, scope: int) -> list[Place]:
    if len(value) != 4:
        raise PlaceError("bad_address", "expected four bytes")
    place = build_place4(value, scope)
    return [place] if place else []


def _read_address6(value: bytes, scope: int) -> list[Place]:
    if len(value) != 16:
        raise PlaceError("bad_address", "expected 16 bytes")
    place = build_place6(value, 128, scope)
    return [place] if place else []


def _read_prefix6(value: bytes, scope: int) -> list[Place]:
    """Bits behind the length are ignored, and bytes that are not there are zero: RFC 3162 2.3."""
    if not 2 <= len(value) <= 18 or value[1] > 128:
        raise PlaceError("bad_prefix", "expected a reserved byte, a length up to 128, and up to 16 bytes")
    place = build_place6(value[2:].ljust(16, b"\0"), value[1], scope)
    return [place] if place else []


def _read_nokia(value: bytes, scope: int) -> list[Place]:
    """`<address> <first>-<last>[,<first>-<last>]... <routing instance>`; `..` stands for `-` too."""
    words = value.decode("ascii", "replace").split()
    if len(words) < 2 or not NOKIA_RANGES.fullmatch(words[1]):
        raise PlaceError("bad_port_range", "expected an address and ranges of ports")
    try:
        address = IPv4Address(words[0]).packed
    except AddressValueError:
        raise PlaceError("bad_address", "expected an IPv4 address") from None
    places: list[Place] = []
    for text in words[1].split(","):
        first, last = text.replace("..", "-").split("-")
        places += build_blocks(address, int(first), int(last), scope)
    return places


def _read_triple(value: bytes, scope: int) -> list[Place]:
    if len(value) != 12:
        raise PlaceError("bad_port_range", "expected an address and two numbers, four bytes each")
    return build_blocks(value[:4], int.from_bytes(value[4:8], "big"), int.from_bytes(value[8:], "big"), scope)


def _split_tlvs(value: bytes) -> dict[int, bytes]:
    """Type, length, value, as RFC 6929 2.3 has them; ends where they do not add up."""
    found: dict[int, bytes] = {}
    at = 0
    while at + 2 <= len(value) and 2 <= value[at + 1] <= len(value) - at:
        found[value[at]] = value[at + 2 : at + value[at + 1]]
        at += value[at + 1]
    return found


def _is_given_back(value: bytes) -> bool:
    return int.from_bytes(_split_tlvs(value).get(8, b""), "big") == GIVEN_BACK


def _read_port_range(value: bytes, scope: int) -> list[Place]:
    """IP-Port-Ext-IPv4-Addr (3), -Range-Start (9) and -Range-End (10): RFC 8045 3.2.3, 3.2.9, 3.2.10."""
    tlvs = _split_tlvs(value)
    return _read_triple(b"".join(tlvs.get(number, b"") for number in (3, 9, 10)), scope)

"""Places as people write and read them: 192.0.2.1, 2001:db8::/56, 203.0.113.1:1024-2047.

It does not know who is there.
"""

import re
from ipaddress import IPv6Address, IPv6Network, ip_network

from penstock.control.subscribers.model import PORTS, Place
from penstock.control.subscribers.places import PlaceError, build_places
from penstock.control.values import parse_prefix

WITH_PORTS = re.compile(r"\[?([0-9a-fA-F:.]+?)\]?:(\d{1,5})-(\d{1,5})")
WITH_PORT = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):(\d{1,5})")
MAPPED_BITS = 96


def parse_place(text: str, scope: int) -> list[Place]:
    """The places written as an address, a prefix, or ports of an address. Raises ValueError with what was expected."""
    found = WITH_PORTS.fullmatch(text)
    try:
        if found is None:
            return build_places(parse_prefix(text), None, scope)
        return build_places(ip_network(found[1]), (int(found[2]), int(found[3])), scope)
    except PlaceError as error:
        raise ValueError(f"{error}: `{text}`") from None
    except ValueError:
        raise ValueError(f"expected an address, a prefix or 203.0.113.1:1024-2047, not `{text}`") from None


def parse_endpoint(text: str) -> tuple[bytes, int]:
    """An address, as 16 bytes, and a port, 0 where none is said: 192.0.2.1, [2001:db8::1]:443. Raises ValueError."""
    found = WITH_PORT.fullmatch(text)
    address, port = (found[1] or found[2], int(found[3])) if found else (text.strip("[]"), 0)
    try:
        network = parse_prefix(address)
        if network.prefixlen != network.max_prefixlen or port >= PORTS:
            raise ValueError
    except ValueError:
        raise ValueError(f"expected an address such as 192.0.2.1 or [2001:db8::1]:443, not `{text}`") from None
    packed = network.network_address.packed
    return (packed if network.version == 6 else bytes(10) + b"\xff\xff" + packed), port


def word_place(place: Place) -> str:
    """A place for people; the number of its scope behind it, unless it is 0."""
    address = IPv6Address(place.address)
    if address.ipv4_mapped and place.bits >= MAPPED_BITS:
        text, is_whole = str(ip_network((address.ipv4_mapped, place.bits - MAPPED_BITS))), place.bits == 128
    else:
        text, is_whole = str(IPv6Network((place.address, place.bits))), place.bits == 128
    if is_whole:
        text = text.rpartition("/")[0]
    if place.port_bits:
        last = place.port + (PORTS >> place.port_bits) - 1
        text = f"[{text}]" if ":" in text else text
        text += f":{place.port}-{last}"
    return f"{text} in scope {place.scope}" if place.scope else text

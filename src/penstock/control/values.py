"""How single values of the configuration are written: prefixes, ports, addresses, names.

Each `parse_` takes what YAML made of the text and raises ValueError with what was expected. It does not know keys.
"""

import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

PORT_LIMIT = 65_535

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address


def parse_prefix(value: Any) -> Network:
    """The prefix written as `value`; an address alone is a prefix of its full length."""
    expected = "expected a prefix such as 10.0.0.0/8 or fd00::/8"
    if not isinstance(value, str) or "%" in value:
        raise ValueError(expected)
    try:
        network = ip_network(value, strict=False)
    except ValueError:
        raise ValueError(expected) from None
    if network.network_address != ip_network(value.partition("/")[0]).network_address:
        raise ValueError(f"expected no bits behind the prefix's length: {network}")
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped:
        raise ValueError("expected an IPv4-mapped prefix in its IPv4 form")
    return network


def parse_address(value: Any) -> Address:
    """An IPv4 or IPv6 address."""
    try:
        if isinstance(value, str) and "%" not in value:
            return ip_address(value)
    except ValueError:
        pass
    raise ValueError("expected an address such as 192.0.2.1 or 2001:db8::1")


def parse_ports(value: Any) -> tuple[tuple[int, int], ...]:
    """Port ranges, first and last, from `all`, a port, a range `8000-8100`, or a list of ports and ranges."""
    expected = f"expected `all`, or TCP ports and ranges from 1 to {PORT_LIMIT} such as [80, 443, 8000-8100]"
    if value == "all":
        return ((1, PORT_LIMIT),)
    items = value if isinstance(value, list) else [value]
    matches = [re.fullmatch(r"(\d{1,5})(?: *- *(\d{1,5}))?", str(item)) for item in items]
    ranges = [(int(match[1]), int(match[2] or match[1])) for match in matches if match]
    if not items or len(ranges) < len(items) or not all(1 <= first <= last <= PORT_LIMIT for first, last in ranges):
        raise ValueError(expected)
    return tuple(sorted(ranges))


def parse_url(value: Any) -> str:
    """An absolute web address in ASCII, fit for a header line."""
    if not isinstance(value, str) or not re.fullmatch(r"https?://[!-~]{1,1024}", value):
        raise ValueError("expected a web address in ASCII such as https://help.example.net/blocked")
    return value


def parse_listen(value: Any) -> str:
    """Address and port to listen on."""
    pattern = r"(?:[0-9.]+|\[[0-9a-fA-F:.]+\]|localhost):(\d{1,5})"
    match = re.fullmatch(pattern, value) if isinstance(value, str) else None
    if not match or not 1 <= int(match[1]) <= PORT_LIMIT:
        raise ValueError('expected an address and a port such as "127.0.0.1:9464" or "[::1]:9464"')
    return match[0]


def build_name_parser(pattern: str, expected: str) -> Callable[[Any], str]:
    """A `parse_` for text that matches `pattern`."""

    def parse_name(value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError(f"expected text: put `{value}` in quotes")
        if not re.fullmatch(pattern, value):
            raise ValueError(expected)
        return value

    return parse_name


parse_category = build_name_parser(r"[a-z0-9_-]{1,63}", "expected a category: 1 to 63 of a-z, 0-9, _ and -")
parse_label = build_name_parser(
    r"(?! )[^\x00-\x1f\x7f]{1,63}(?<! )", "expected 1 to 63 characters, no space at either end"
)

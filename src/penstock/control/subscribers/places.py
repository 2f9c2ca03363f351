"""Places as they are written: an address, a prefix, a range of ports of an address; and which can be somebody's.

    203.0.113.1, ports 1000 to 1535  ->  1000/8  1008/16  1024/512

A block of ports is a power of two long and begins at a multiple of that, as the kernel's table has them.

Knows addresses and ports. It does not know who says so.
"""

from penstock.control.subscribers.model import PORTS, Place
from penstock.control.values import Network

MAPPED = bytes(10) + b"\xff\xff"  # RFC 4291 2.5.5.2
BLOCK_LIMIT = 8  # blocks that one range may come to: each is a row of the table, and its size takes one of eight shapes
SHORTEST = 32  # bits of an IPv6 prefix: shorter ones belong to networks, not to subscribers


class PlaceError(ValueError):
    """Nobody can be at that place. `name` is one word for counters."""

    def __init__(self, name: str, expected: str) -> None:
        super().__init__(expected)
        self.name = name


def build_place4(address: bytes, scope: int = 0) -> Place | None:
    """The place of an IPv4 address of four bytes; None for one that nobody has (0/8, loopback, multicast, 240/4)."""
    first = address[0]
    if first == 0 or first == 127 or first >= 224:
        return None
    return Place(scope, MAPPED + address, 128)


def build_place6(address: bytes, bits: int, scope: int = 0) -> Place | None:
    """The place of an IPv6 prefix, given by 16 bytes; None for one that nobody has (::/8, link-local, multicast).

    Raises PlaceError for one that is too short.
    """
    first = address[0]
    if first == 0 or first == 0xFF or (first == 0xFE and address[1] & 0xC0 == 0x80):
        return None
    if bits < SHORTEST:
        raise PlaceError("wide_prefix", f"expected an IPv6 prefix of at least {SHORTEST} bits")
    if bits < 128:
        behind = 128 - bits
        address = (int.from_bytes(address, "big") >> behind << behind).to_bytes(16, "big")
    return Place(scope, address, bits)


def split_ports(first: int, last: int) -> list[tuple[int, int]]:
    """The range of ports as blocks: the first port and `port_bits` of each. Raises PlaceError."""
    if not 0 <= first <= last < PORTS:
        raise PlaceError("bad_port_range", f"expected a range of ports from 0 to {PORTS - 1}, not {first} to {last}")
    blocks = []
    while first <= last:
        size = first & -first or PORTS
        while size > last - first + 1:
            size //= 2
        blocks.append((first, 17 - size.bit_length()))
        first += size
    if len(blocks) > BLOCK_LIMIT:
        wanted = f"expected a range of ports that comes to at most {BLOCK_LIMIT} blocks, not {len(blocks)}"
        raise PlaceError("too_many_blocks", f"{wanted}: each is a power of two long and begins at a multiple of that")
    return blocks


def build_blocks(address: bytes, first: int, last: int, scope: int = 0) -> list[Place]:
    """The places of a range of ports of an IPv4 address. Raises PlaceError."""
    whole = build_place4(address, scope)
    if whole is None:
        raise PlaceError("bad_address", "expected an address that somebody can have")
    return [Place(scope, whole.address, 128, port, bits) for port, bits in split_ports(first, last)]


def build_places(network: Network, ports: tuple[int, int] | None = None, scope: int = 0) -> list[Place]:
    """The places that a person writes as a prefix, and perhaps ports of one address. Raises PlaceError."""
    packed = network.network_address.packed
    if ports:
        if network.prefixlen != network.max_prefixlen:
            raise PlaceError("bad_port_range", "expected ports of one address, not of a prefix")
        split = split_ports(*ports)
        address = packed if network.version == 6 else MAPPED + packed
        return [Place(scope, address, 128, port, bits) for port, bits in split]
    if network.version == 4:
        return [Place(scope, MAPPED + packed, 96 + network.prefixlen)]
    return [Place(scope, packed, network.prefixlen)]

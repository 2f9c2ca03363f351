"""A place as few bytes, the form in which the store keeps it: 5 bytes for an IPv4 address, 8 for an IPv6 /56.

    | kind 1 | address 0..16 | scope 4, unless 0 | first port 2, port bits 1, unless 0 |

Kind 0 to 128 is the length of an IPv6 prefix, 129 to 161 that of an IPv4 prefix and 129. Of the address as many bytes are
kept as the length needs. The size of the whole says which of the rest is there. It does not know who is at a place.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penstock.control.subscribers.model import Place
from penstock.control.values import Network
from penstock.line.directory import PLACE_DTYPE

MAPPED = bytes(10) + b"\xff\xff"  # RFC 4291 2.5.5.2
MAPPED_BITS = 96
IPV4_KIND = 129
KINDS = IPV4_KIND + 33
SCOPE_LIMIT = 1 << 32

_SIZES = [1 + (bits + 7) // 8 for bits in range(IPV4_KIND)] + [1 + (bits + 7) // 8 for bits in range(33)]
"""Of kind and address, by kind."""
_BITS = [*range(IPV4_KIND), *range(MAPPED_BITS, 129)]
_BEHIND = [(1 << (128 - bits)) - 1 for bits in range(129)]
_PORTS, _SCOPE = 3, 4
_KEY_LIMIT = 1 + 16 + _SCOPE + _PORTS


def pack_place(place: Place) -> bytes:
    """The key of a place. Raises ValueError when it is none: bits behind its length, a block that is not aligned."""
    address, bits, port_bits = place.address, place.bits, place.port_bits
    if len(address) != 16 or not 0 <= bits <= 128 or int.from_bytes(address) & _BEHIND[bits]:
        raise ValueError("expected 16 bytes of address, zero behind its bits")
    if bits >= MAPPED_BITS and address.startswith(MAPPED):
        kind = IPV4_KIND + bits - MAPPED_BITS
        key = bytes((kind,)) + address[12 : 11 + _SIZES[kind]]
    else:
        key = bytes((bits,)) + address[: _SIZES[bits] - 1]
    if not 0 <= place.scope < SCOPE_LIMIT:
        raise ValueError(f"expected a scope of 32 bits, not {place.scope}")
    if place.scope:
        key += place.scope.to_bytes(_SCOPE)
    if port_bits or place.port:
        if bits != 128 or not 0 < port_bits <= 16 or place.port >> 16 or place.port & ((1 << (16 - port_bits)) - 1):
            raise ValueError("expected an aligned block of ports of one address")
        key += place.port.to_bytes(2) + bytes((port_bits,))
    return key


def unpack_place(key: bytes) -> Place:
    """The place of a key."""
    kind = key[0]
    end = _SIZES[kind]
    address = key[1:end] if kind < IPV4_KIND else MAPPED + key[1:end]
    scope, port, port_bits = 0, 0, 0
    if len(key) - end >= _SCOPE:
        scope = int.from_bytes(key[end : end + _SCOPE])
        end += _SCOPE
    if len(key) - end == _PORTS:
        port, port_bits = int.from_bytes(key[end : end + 2]), key[-1]
    return Place(scope, address.ljust(16, b"\0"), _BITS[kind], port, port_bits)


def find_shape(key: bytes) -> tuple[int, int]:
    """Its bits and port bits."""
    kind = key[0]
    return _BITS[kind], key[-1] if (len(key) - _SIZES[kind]) % _SCOPE == _PORTS else 0


def unpack_places(keys: Sequence[bytes]) -> NDArray[Any]:
    """Rows of PLACE_DTYPE, without an object for each."""
    rows = np.zeros(len(keys), PLACE_DTYPE)
    if not len(keys):
        return rows
    sizes = np.fromiter(map(len, keys), np.int64, len(keys))
    # Behind the last key there is room to read, so that each row can be taken as wide as the widest.
    memory = np.frombuffer(b"".join(keys) + bytes(_KEY_LIMIT), np.uint8)
    starts = np.cumsum(sizes) - sizes
    forms = memory[starts].astype(np.int64) << 8 | sizes
    addresses = np.zeros((len(keys), 16), np.uint8)
    for form in np.unique(forms):
        at = np.flatnonzero(forms == form)
        kind, size = int(form) >> 8, int(form) & 0xFF
        raw = memory[starts[at][:, None] + np.arange(size)]
        end = _SIZES[kind]
        first = 0 if kind < IPV4_KIND else 12
        rest = size - end
        part = np.zeros((len(at), 16), np.uint8)
        part[:, :first] = np.frombuffer(MAPPED, np.uint8)[:first]
        part[:, first : first + end - 1] = raw[:, 1:end]
        addresses[at] = part
        rows["bits"][at] = _BITS[kind]
        if rest >= _SCOPE:
            rows["scope"][at] = np.ascontiguousarray(raw[:, end : end + _SCOPE]).view(">u4")[:, 0]
            end += _SCOPE
        if size - end == _PORTS:
            rows["port"][at] = np.ascontiguousarray(raw[:, end : end + 2]).view(">u2")[:, 0]
            rows["port_bits"][at] = raw[:, end + 2]
    rows["address"] = np.ascontiguousarray(addresses).view("V16")[:, 0]
    return rows


def make_place(network: Network, scope: int = 0) -> Place:
    """All ports of a prefix."""
    address = network.network_address.packed
    if network.version == 4:
        return Place(scope, MAPPED + address, MAPPED_BITS + network.prefixlen)
    return Place(scope, address, network.prefixlen)

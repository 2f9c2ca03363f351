"""A packet socket that sees what some addresses send and get on one interface, and nothing else, for good.

    the program: ethertype, then each prefix against source and destination; what matches is copied, the rest is not

The filter is attached before the socket is bound, and locked: whoever gets the socket cannot widen it. It does not know
who reads. Frames are as they come in from the subscriber and go out to him, an offloaded VLAN tag aside.

Source: packet(7), socket(7) SO_LOCK_FILTER; linux/filter.h; the BSD Packet Filter (McCanne, Jacobson 1993).
"""

import ctypes
import socket
import struct
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network

from penstock.control.values import Network, parse_prefix
from penstock.errors import PenstockError

SO_ATTACH_FILTER, SO_LOCK_FILTER, SO_RCVBUFFORCE = 26, 44, 33
LOAD_HALF, LOAD_WORD, AND, JUMP_EQUAL, JUMP, RETURN = 0x28, 0x20, 0x54, 0x15, 0x05, 0x06
ETHERTYPE_OFF, IPV4, IPV6 = 12, 0x0800, 0x86DD
IPV4_OFFS, IPV6_OFFS = (26, 30), (22, 38)  # of source and destination in the frame
SNAP_BYTES = 262_144
PREFIX_LIMIT = 16
ALL_PROTOCOLS = 0x0003
BUFFER_BYTES = 4 << 20

Step = tuple[int, int, int, int]
"""One instruction: code, jumps if true and if false, k."""


class TapError(PenstockError):
    """The socket cannot be had; the text says why."""


def open_tap(interface: str, prefixes: Iterable[str]) -> socket.socket:
    """A socket that sees these prefixes on an interface. Needs CAP_NET_RAW. Raises TapError."""
    try:
        networks = [parse_prefix(prefix) for prefix in prefixes]
    except ValueError as error:
        raise TapError(str(error)) from None
    if not 1 <= len(networks) <= PREFIX_LIMIT:
        raise TapError(f"expected 1 to {PREFIX_LIMIT} prefixes, not {len(networks)}")
    try:
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # protocol 0: it sees nothing before it is bound
    except OSError as error:
        raise TapError(f"a packet socket: {error.strerror}") from None
    try:
        lock_filter(tap, build_filter(networks))
        with suppress(OSError):
            tap.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
        tap.bind((interface, ALL_PROTOCOLS))
    except OSError as error:
        tap.close()
        raise TapError(f"{interface}: {error.strerror}") from None
    return tap


def lock_filter(tap: socket.socket, steps: list[Step]) -> None:
    """Attach a program to a socket, for good. Raises OSError."""
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    tap.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("@HP", len(steps), ctypes.addressof(program)))
    tap.setsockopt(socket.SOL_SOCKET, SO_LOCK_FILTER, 1)


def build_filter(networks: Iterable[Network]) -> list[Step]:
    """The program that copies frames from or to one of these networks whole, and no others."""
    ipv4: list[Step] = []
    ipv6: list[Step] = []
    for network in networks:
        if isinstance(network, IPv4Network):
            for offset in IPV4_OFFS:
                ipv4 += _match(offset, network)
        else:
            for offset in IPV6_OFFS:
                ipv6 += _match(offset, network)
    drop: Step = (RETURN, 0, 0, 0)
    return [
        (LOAD_HALF, 0, 0, ETHERTYPE_OFF),
        (JUMP_EQUAL, 0, 1, IPV4),
        (JUMP, 0, 0, 3),
        (JUMP_EQUAL, 0, 1, IPV6),
        (JUMP, 0, 0, len(ipv4) + 2),
        drop,
        *ipv4,
        drop,
        *ipv6,
        drop,
    ]


def _match(offset: int, network: IPv4Network | IPv6Network) -> list[Step]:
    """Copy the frame if the address at an offset is in a network; else go on behind."""
    size = network.max_prefixlen // 32
    masks = struct.unpack(f">{size}I", network.netmask.packed)
    words = struct.unpack(f">{size}I", network.network_address.packed)
    wanted = [(number, mask, word) for number, (mask, word) in enumerate(zip(masks, words, strict=True)) if mask]
    steps: list[Step] = []
    for place, (number, mask, word) in enumerate(wanted):
        behind = 3 * (len(wanted) - place - 1) + 1  # the words that follow, and the return
        steps += [(LOAD_WORD, 0, 0, offset + 4 * number), (AND, 0, 0, mask), (JUMP_EQUAL, 0, behind, word)]
    return [*steps, (RETURN, 0, 0, SNAP_BYTES)]

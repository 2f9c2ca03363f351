"""One interface of the line as the kernel describes it: what it is like, what is wrong with it, what became of it.

It knows rtnetlink's words (`Link`) and what an interface in line must be like (`find_faults`). It compares two looks
(`find_changes`) and says when another look is due (`Notices`). It changes nothing, and does not know what to do about it.

Source: rtnetlink(7); IFF_* of include/uapi/linux/if.h; ETHTOOL_GFLAGS of include/uapi/linux/ethtool.h.
"""

import ctypes
import errno
import fcntl
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

UP, PROMISCUOUS, LOWER_UP = 0x1, 0x100, 0x10000  # IFF_UP, IFF_PROMISC, IFF_LOWER_UP
SIOCETHTOOL = 0x8946
ETHTOOL_GFLAGS, FLAG_LRO = 0x25, 1 << 15
GSO_LIMIT = 65536
BIG_TCP = ("IFLA_GSO_MAX_SIZE", "IFLA_GSO_IPV4_MAX_SIZE", "IFLA_GRO_MAX_SIZE")
RTMGRP_LINK = 1
NOTICE_BYTES = 1 << 16

GONE, RETURNED, DOWN, UP_AGAIN = "gone", "returned", "down", "up"
CARRIER_LOST, CARRIER_BACK, MTU = "carrier_lost", "carrier_back", "mtu"
CHANGES = (GONE, RETURNED, DOWN, UP_AGAIN, CARRIER_LOST, CARRIER_BACK, MTU)


@dataclass(frozen=True)
class Link:
    """An interface at one look."""

    name: str
    ifindex: int
    is_up: bool
    """Administratively: `ip link set up`."""
    has_carrier: bool
    """Somebody is at the other end of the wire. Never of an interface that is down."""
    mtu: int
    is_promiscuous: bool = True
    has_lro: bool = False
    sizes: tuple[tuple[str, int], ...] = ()
    """The sizes of super-packets, by the names that `ip link` has for them."""
    losses: int = 0
    """How often the carrier went, counted by the kernel: also between two looks."""


class Fault(NamedTuple):
    """What an interface, or the pair, must not be like; `what` says what is looked at."""

    what: str
    problem: str
    cure: str


def read_link(route: IPRoute, name: str) -> Link | None:
    """The interface of this name in the route's network namespace, or None."""
    try:
        found = route.link("get", ifname=name)[0]
    except NetlinkError:
        return None
    return parse_link(found)


def parse_link(message: Any) -> Link:
    """A message of rtnetlink about a link."""
    flags, name = message["flags"], message.get_attr("IFLA_IFNAME")
    is_up = bool(flags & UP)
    sizes = ((attribute.removeprefix("IFLA_").lower(), message.get_attr(attribute) or 0) for attribute in BIG_TCP)
    return Link(
        name=name,
        ifindex=message["index"],
        is_up=is_up,
        has_carrier=is_up and bool(flags & LOWER_UP),
        mtu=message.get_attr("IFLA_MTU"),
        is_promiscuous=bool(flags & PROMISCUOUS),
        has_lro=_has_lro(name),
        sizes=tuple(sizes),
        losses=message.get_attr("IFLA_CARRIER_DOWN_COUNT") or 0,
    )


def _has_lro(name: str) -> bool:
    """Large receive offload by ethtool's ioctl; a driver that does not answer has none."""
    room = bytearray(struct.pack("<II", ETHTOOL_GFLAGS, 0))
    address = ctypes.addressof(ctypes.c_char.from_buffer(room))
    request = struct.pack("16sQ16x", name.encode(), address)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            fcntl.ioctl(probe, SIOCETHTOOL, request)
        except OSError:
            return False
    return bool(struct.unpack_from("<I", room, 4)[0] & FLAG_LRO)


def find_faults(link: Link) -> Iterator[Fault]:
    """What keeps this interface from carrying everything as it came, but for being down."""
    name = link.name
    if not link.is_promiscuous:
        yield Fault(f"{name} promiscuous", "it is not (`penstock run` sets it)", f"ip link set {name} promisc on")
    if link.has_lro:
        yield Fault(f"{name} without LRO", "LRO merges packets beyond repair", f"ethtool -K {name} lro off")
    for word, size in link.sizes:
        if size > GSO_LIMIT:
            yield Fault(f"{name} without BIG TCP", f"{word} is {size}", f"ip link set {name} {word} {GSO_LIMIT}")


def find_pair_faults(ingress: Link, egress: Link) -> Iterator[Fault]:
    """What the two must have in common and have not."""
    if ingress.mtu != egress.mtu:
        mtus = {"ingress": ingress.mtu, "egress": egress.mtu}
        yield Fault("equal MTUs", f"{mtus}: larger packets vanish", "ip link set IF mtu N on both sides")


def find_changes(before: Link | None, after: Link | None) -> list[str]:
    """What became of an interface between two looks, as words of CHANGES in the order in which it happened."""
    if before is None:
        return [RETURNED] if after is not None else []
    if after is None:
        return [GONE]
    if before.ifindex != after.ifindex:
        return [GONE, RETURNED]
    found = []
    if before.is_up and not after.is_up:
        found.append(DOWN)
    elif after.is_up and not before.is_up:
        found.append(UP_AGAIN)
    elif before.has_carrier and (not after.has_carrier or after.losses != before.losses):
        found.append(CARRIER_LOST)
    if after.has_carrier and after.is_up and (CARRIER_LOST in found or (before.is_up and not before.has_carrier)):
        found.append(CARRIER_BACK)
    if before.mtu != after.mtu:
        found.append(MTU)
    return found


class Notices:
    """The kernel's notices that a link of this network namespace changed. What changed is for the next look to say: so a
    notice that is lost, or comes twice, does no harm."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
        self.socket.bind((0, RTMGRP_LINK))

    def fileno(self) -> int:
        return self.socket.fileno()

    def drain(self) -> bool:
        """Take all notices away. Returns whether there was one, or too many to be kept."""
        found = False
        while True:
            try:
                self.socket.recv(NOTICE_BYTES)
            except BlockingIOError:
                return found
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
            found = True

    def close(self) -> None:
        self.socket.close()

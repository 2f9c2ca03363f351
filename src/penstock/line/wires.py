"""The wires: one packet socket for each side, through which the workers send.

The control process opens them and keeps them; the packet process inherits their descriptors, so that it needs neither
rights nor the interfaces to start. A wire whose interface was deleted sends nothing (ENXIO) until it is bound to the new
one, which the control process does to the same open socket: no worker has to be told. Of an interface that is down it
sends nothing (ENETDOWN) and goes on by itself.

Source: packet(7); packet_notifier and packet_do_bind of net/packet/af_packet.c.
"""

import socket
from contextlib import suppress

from penstock.line.inline import SIDES, Pair

SOL_PACKET, PACKET_VNET_HDR = 263, 15
SO_SNDBUFFORCE = 32
SEND_BUFFER_BYTES = 1 << 23


class Wires:
    """The packet sockets of a pair. They receive nothing; each frame that is sent stands behind a virtio-net header."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self._sockets = {side: _open_socket() for side in SIDES}
        self.bind()

    @property
    def fds(self) -> list[int]:
        """The descriptors: towards the subscribers, towards the internet."""
        return [self._sockets[side].fileno() for side in SIDES]

    @property
    def are_bound(self) -> bool:
        """Are both bound to the interfaces that have the names now, as the kernel sees it?"""
        return all(self._sockets[side].getsockname()[0] == self.pair.name(side) for side in SIDES)

    def bind(self) -> None:
        """Bind both to the interfaces that have the names now. Raises LineError, OSError when one is not there."""
        for side in SIDES:
            self.pair.ifindex(side)  # which says what is missing, and what there is
            self._sockets[side].bind((self.pair.name(side), 0))


def _open_socket() -> socket.socket:
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    wire.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    with suppress(OSError):
        wire.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER_BYTES)
    return wire

"""The raw client's interface: frames out, and what comes back for each of its addresses.

Knows AF_PACKET. Refuses to know connections: whoever registers an address gets its packets.
"""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from penstock.demo.topology import CLIENT_INTERFACE
from tests.evasion.ground import Ground

SOL_PACKET, PACKET_IGNORE_OUTGOING = 263, 23
SO_RCVBUFFORCE = 33
RECEIVE_BYTES = 1 << 24
TAGS = (b"\x81\x00", b"\x88\xa8")


class Arrival(NamedTuple):
    """A packet for one of our addresses: its protocol, and what IP carries."""

    protocol: int
    content: bytes


Taker = Callable[[Arrival], None]


class Wire:
    """A raw socket on the client's interface, read by the running loop."""

    def __init__(self, ground: Ground) -> None:
        self.takers: dict[bytes, Taker] = {}
        with ground.road.inside("client"):
            self.channel = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            self.channel.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
            self.channel.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BYTES)
            self.channel.bind((CLIENT_INTERFACE, 0))
            self.sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            self.sender.bind((CLIENT_INTERFACE, 0))
        self.channel.setblocking(False)

    def __enter__(self) -> "Wire":
        asyncio.get_running_loop().add_reader(self.channel, self._read)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self.channel)
        self.channel.close()
        self.sender.close()

    def send(self, frame: bytes) -> None:
        """Send a frame as it is."""
        self.sender.send(frame)

    def _read(self) -> None:
        with suppress(BlockingIOError):
            for _ in range(256):
                self._take(self.channel.recv(1 << 17))

    def _take(self, frame: bytes) -> None:
        at = 12
        while frame[at : at + 2] in TAGS:
            at += 4
        kind, ip = frame[at : at + 2], frame[at + 2 :]
        if kind == b"\x08\x00" and len(ip) >= 20:
            head = (ip[0] & 15) * 4
            address, protocol, content = ip[16:20], ip[9], ip[head : int.from_bytes(ip[2:4])]
            if int.from_bytes(ip[6:8]) & 0x3FFF:
                return
        elif kind == b"\x86\xdd" and len(ip) >= 40:
            address, protocol, content = ip[24:40], ip[6], ip[40 : 40 + int.from_bytes(ip[4:6])]
        else:
            return
        if taker := self.takers.get(address):
            taker(Arrival(protocol, content))

"""The flood's interface: rows of frames out by sendmmsg(2), and what servers send back to the flood's clients.

Knows AF_PACKET. Refuses to know which frames.
"""

import ctypes
import fcntl
import os
import socket
import struct
from typing import Any, NamedTuple

import numpy as np

from bench.flood_packets import CROWD, MESSAGE, VECTOR, Frames
from penstock.demo.topology import CLIENT_INTERFACE

SOL_PACKET, PACKET_QDISC_BYPASS, PACKET_IGNORE_OUTGOING = 263, 20, 23
SO_ATTACH_FILTER, SO_RCVBUFFORCE = 26, 33
ETH_P_IP, SIOCGIFHWADDR = 0x0800, 0x8927
RECEIVE_BYTES = 1 << 24
REPLIES, REPLY_BYTES = 256, 64  # the headers; the rest is cut off
_libc = ctypes.CDLL(None, use_errno=True)


class Replies(NamedTuple):
    """TCP segments of servers, column by column."""

    hosts: Any
    ports: Any
    seqs: Any
    acks: Any
    flags: Any


class Wire:
    """Raw sockets on the client's interface. `listens`: replies are wanted."""

    def __init__(self, listens: bool) -> None:
        self.sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.sender.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
        self.sender.bind((CLIENT_INTERFACE, 0))
        self.listener = open_listener() if listens else None
        self.room = np.zeros((REPLIES, REPLY_BYTES), np.uint8)
        self.vectors = np.zeros(REPLIES, VECTOR)
        self.vectors["base"] = self.room.ctypes.data + np.arange(REPLIES) * REPLY_BYTES
        self.vectors["size"] = REPLY_BYTES
        self.messages = np.zeros(REPLIES, MESSAGE)
        self.messages["vector"] = self.vectors.ctypes.data + np.arange(REPLIES) * VECTOR.itemsize
        self.messages["vectors"] = 1

    def send(self, frames: Frames, first: int, count: int) -> int:
        """Send `count` rows from `first` on. Returns how many the interface took. Raises OSError."""
        place, done = frames.messages.ctypes.data + first * MESSAGE.itemsize, 0
        while done < count:
            place_now = ctypes.c_void_p(place + done * MESSAGE.itemsize)
            sent = _libc.sendmmsg(self.sender.fileno(), place_now, count - done, 0)
            if sent < 0:
                raise OSError(ctypes.get_errno(), f"sendmmsg: {os.strerror(ctypes.get_errno())}")
            done += sent
        return done

    def receive(self) -> Replies:
        """The replies that came, at most REPLIES."""
        count = 0
        if self.listener is not None:
            place = ctypes.c_void_p(self.messages.ctypes.data)
            count = max(_libc.recvmmsg(self.listener.fileno(), place, REPLIES, socket.MSG_DONTWAIT, None), 0)
        rows = self.room[:count].astype(np.int64)

        def number(at: int, size: int) -> Any:
            return rows[:, at : at + size] @ (256 ** np.arange(size - 1, -1, -1))

        return Replies(number(32, 2), number(36, 2), number(38, 4), number(42, 4), rows[:, 47])


def open_listener() -> socket.socket:
    """A socket that hears TCP to the flood's clients and nothing else."""
    network = int.from_bytes(socket.inet_aton(CROWD)) >> 16
    program = [  # classic BPF: is the target's upper half the prefix, and the protocol TCP?
        (0x28, 0, 0, 30), (0x15, 0, 3, network), (0x30, 0, 0, 23), (0x15, 0, 1, socket.IPPROTO_TCP),
        (0x06, 0, 0, REPLY_BYTES), (0x06, 0, 0, 0),
    ]  # fmt: skip
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in program))
    channel = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    channel.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(program), ctypes.addressof(code)))
    channel.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    channel.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BYTES)
    channel.bind((CLIENT_INTERFACE, ETH_P_IP))
    return channel


def read_station(interface: str) -> bytes:
    """The hardware address of an interface of this namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        return fcntl.ioctl(channel, SIOCGIFHWADDR, struct.pack("256s", interface.encode()))[18:24]

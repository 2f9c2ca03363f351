"""A Linux TCP stack and no server: this program owns a TAP device in a network namespace of its own and answers on it.

Run as a program it fetches one page and meets one reset, with the address family given, and prints what the client saw
and what the kernel counted as JSON. It writes every frame with the writers under test. Needs root.
"""

import ctypes
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import threading
from typing import Any

from scapy.all import IP, TCP, Ether, IPv6

from penstock.answer.http import FRAME_ROOM_BYTES, find_room_bytes, write_answer_segment
from penstock.answer.tcp import write_reset, write_segment
from penstock.compile.native import kernel
from penstock.wire.checksum import RIGHT, verify_tcp
from penstock.wire.headers import ACK, SYN
from tests.answer.buffers import lend
from tests.answer.packets import Origin, author, build_origin

CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
PEER_MAC = "02:00:00:00:00:09"
PEERS = {4: ("10.77.0.2/24", "10.77.0.9"), 6: ("fd77::2/64", "fd77::9")}
BODY = bytes(range(256)) * 14
PAGE = b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
ISN = 0xFFFFFF00  # the page crosses the wrap of the sequence numbers
PAGE_PORT, RESET_PORT = 80, 81

run_segment, run_answer, run_reset = (kernel(writer) for writer in (write_segment, write_answer_segment, write_reset))
run_verify, run_room = kernel(verify_tcp), kernel(find_room_bytes)


def open_tap(version: int) -> int:
    """A TAP device, up, with the peer as a permanent neighbour, in a network namespace that ends with the process."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", b"answer0", IFF_TAP | IFF_NO_PI))
    address, peer = PEERS[version]
    nodad = ["nodad"] if version == 6 else []
    for command in (
        ["ip", "address", "add", address, "dev", "answer0", *nodad],
        ["ip", "link", "set", "answer0", "up"],
        ["ip", "neighbour", "replace", peer, "lladdr", PEER_MAC, "dev", "answer0", "nud", "permanent"],
    ):
        subprocess.run(command, check=True)
    return device


def answer(frame: bytes) -> list[bytes]:
    """What the absent server says to one frame of the client."""
    packet = Ether(frame)
    if TCP not in packet:
        return []
    tcp, is_ipv6 = packet[TCP], int(IPv6 in packet)
    l4_off = 14 + (40 if is_ipv6 else packet[IP].ihl * 4)
    length = packet[IPv6].plen if is_ipv6 else packet[IP].len - packet[IP].ihl * 4
    with lend(frame) as (at,):
        assert run_verify(at + 14, at + l4_off, length, is_ipv6) == RIGHT
    origin = Origin(frame, 14, l4_off, is_ipv6, 0)
    options = dict(option for option in tcp.options if option[0] == "Timestamp")
    their_tsval, their_tsecr = options["Timestamp"]
    if tcp.flags.S:
        return [author(run_segment, origin, 1, ISN, tcp.seq + 1, SYN | ACK, 65_535, 1_000, their_tsval, b"", 0)]
    size = length - 4 * tcp.dataofs
    end = tcp.seq + size
    if size and tcp.dport == RESET_PORT:
        return [author(run_reset, origin, 1, ISN + 1, end)]
    if size:
        offsets = range(0, len(PAGE), run_room(1_460, their_tsecr, their_tsval))
        args = 1_460, ISN + 1, end, 500, their_tsecr, their_tsval, 1
        return [author(run_answer, origin, PAGE, len(PAGE), off, *args, room_bytes=FRAME_ROOM_BYTES) for off in offsets]
    if tcp.flags.F:
        seq = ISN + 2 + len(PAGE)
        return [author(run_segment, origin, 1, seq, end + 1, ACK, 500, their_tsecr, their_tsval, b"", 0)]
    return []


def serve(device: int) -> None:
    """Answer until the process ends."""
    while True:
        for frame in answer(os.read(device, 65_536)):
            os.write(device, frame)


def fetch(peer: str, port: int) -> str:
    """What a client sees: the page as text, or the name of its error."""
    with socket.create_connection((peer, port), timeout=5) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: bad.example.test\r\n\r\n")
        received = b""
        try:
            while part := client.recv(65_536):
                received += part
        except OSError as error:
            return type(error).__name__
        return "page" if received == PAGE else f"{len(received)} other bytes"


def read_counters() -> dict[str, int]:
    """The namespace's TCP counters that a bad frame would move."""
    counters: dict[str, int] = {}
    for path in ("/proc/thread-self/net/snmp", "/proc/thread-self/net/netstat"):
        with open(path) as table:
            lines = table.read().splitlines()
        for names, values in zip(lines[::2], lines[1::2], strict=True):
            counters.update(zip(names.split()[1:], map(int, values.split()[1:]), strict=True))
    wanted = "InErrs", "InCsumErrors", "RetransSegs", "TCPOFOQueue", "PAWSEstab", "TCPAbortOnTimeout"
    return {name: counters[name] for name in wanted}


def warm_up() -> None:
    """Compile before the first packet: a second of silence makes the client repeat its SYN."""
    origin = build_origin()
    author(run_segment, origin, 1, 0, 0, ACK, 0, 0, 0, b"", 0)
    author(run_answer, origin, b"", 0, 0, run_room(0, 0, 0), 0, 0, 0, 0, 0, 1)
    author(run_reset, origin, 1, 0, 0)
    with lend(origin.frame) as (at,):
        run_verify(at + 14, at + origin.l4_off, len(origin.frame) - origin.l4_off, 0)


def main(version: int) -> dict[str, Any]:
    warm_up()
    device = open_tap(version)
    threading.Thread(target=serve, args=(device,), daemon=True).start()
    peer = PEERS[version][1]
    return {"page": fetch(peer, PAGE_PORT), "reset": fetch(peer, RESET_PORT), "counters": read_counters()}


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]))))

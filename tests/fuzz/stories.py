"""Conversations of real clients with real servers, taken off the wire: what packets are mutated from.

`office`, who is not protected, asks by every protocol that Penstock reads; each conversation is kept as its packets in
order. A story is told again between two ends that nobody owns, frame by frame on both sides of the line, so that Penstock
meets a whole connection, any packet of which may be another than it was.
"""

import json
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

from penstock.demo.box import GOOD
from penstock.demo.topology import CLIENT_INTERFACE, OFFICE, SERVER_INTERFACE, Place, Subscriber, server_address
from tests.fuzz.mutations import TCP, UDP, Packet, is_harmless, mutate
from tests.live.line import BAD, Line
from tests.live.packets import ETH_P_ALL

OUTGOING = 4  # sll_pkttype of linux/if_packet.h
ENDS: tuple[tuple[Place, str], ...] = (("client", CLIENT_INTERFACE), ("server", SERVER_INTERFACE))
PORTS = 2000  # of the clients in stories, so that their number of connections is bounded
FIRST_PORT = 20_000
LONGEST = 40  # packets of a conversation that are kept
MUTATED, LOST = 0.25, 0.03  # shares of the packets

Story = list[Packet]


@contextmanager
def single_frames(line: Line) -> Iterator[None]:
    """No frame is larger than the wire takes while stories are recorded."""
    for place, interface in ENDS:
        line.topology.set_offloads(place, interface, tso=False, gso=False, gro=False)
    try:
        yield
    finally:
        for place, interface in ENDS:
            line.topology.set_offloads(place, interface, tso=True, gso=True, gro=True)


def record_stories(line: Line) -> list[Story]:
    """Everything that office asks, as stories."""
    with line.topology.inside("client"):
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
        tap.bind((CLIENT_INTERFACE, 0))
    with tap, single_frames(line):
        for family in (4, 6):
            ask_everything(line, family)
        tap.setblocking(False)
        frames = list(drain_tap(tap))
    found: dict[tuple[int, int, int], Story] = {}
    for to_server, frame in frames:
        taken = take_packet(frame, to_server)
        if taken is not None:
            key, packet = taken
            found.setdefault(key, []).append(packet)
    return [story[:LONGEST] for story in found.values()]


def ask_everything(line: Line, family: int) -> None:
    """The questions of office; every name leads to the line's server."""
    server = server_address(family)
    for host in (GOOD, BAD):
        line.curl(f"http://{host}/", OFFICE, family)
        line.curl(f"http://{host}/", OFFICE, family, "--data", "x" * 3000, "--next", "-sS", f"http://{host}/")
        line.curl(f"http://{host}/", OFFICE, family, "-H", "Transfer-Encoding: chunked", "--data", "hello")
        line.curl(f"https://{host}/", OFFICE, family)
        for words in ([], ["+tcp"], ["HTTPS"], ["+dnssec", "AAAA"]):
            argv = ["dig", f"@{server}", "-b", OFFICE.address(family), "+tries=1", "+time=2", host, *words]
            line.topology.run("client", argv)
    ask_quic(line, OFFICE, family, [GOOD, BAD])


def ask_quic(line: Line, who: Subscriber, family: int, hosts: list[str]) -> dict[str, str]:
    """What a subscriber gets by HTTP/3, by host: `site`, `refused`, or what happened instead."""
    server, source = server_address(family), who.address(family)
    questions = [{"host": host, "source": source, "server": server} for host in hosts]
    argv = [
        sys.executable,
        "-m",
        "penstock.demo.quic",
        "ask",
        "--port",
        "443",
        "--certificate",
        str(line.pair.certificate),
    ]
    done = line.topology.run("client", argv, input="".join(json.dumps(one) + "\n" for one in questions), stdin=None)
    told = [json.loads(row) for row in done.stdout.splitlines()]
    return {host: next((one["got"] for one in told if one["host"] == host), done.stderr[-200:]) for host in hosts}


def drain_tap(tap: socket.socket) -> Iterator[tuple[bool, bytes]]:
    """What a tap holds: did the client send it, and the frame."""
    while True:
        try:
            frame, address = tap.recvfrom(1 << 16)
        except BlockingIOError:
            return
        yield address[2] == OUTGOING, frame


def take_packet(frame: bytes, to_server: bool) -> tuple[tuple[int, int, int], Packet] | None:
    """The packet in a frame and what its conversation goes by; None for other things than TCP and UDP."""
    if frame[12:14] == b"\x08\0":
        family, protocol, content = 4, frame[23], frame[34 : 14 + int.from_bytes(frame[16:18])]
    elif frame[12:14] == b"\x86\xdd":
        family, protocol, content = 6, frame[20], frame[54 : 54 + int.from_bytes(frame[18:20])]
    else:
        return None
    if protocol not in (TCP, UDP) or len(content) < 8:
        return None
    port = int.from_bytes(content[:2] if to_server else content[2:4])
    return (family, protocol, port), Packet(to_server, family, protocol, content)


def tell_story(story: Story, random: Random, serial: int) -> Iterator[tuple[bool, bytes]]:
    """The frames of a story told anew: on the client's side or the server's, and the frame."""
    port = FIRST_PORT + serial % PORTS
    tags = random.choice(((), (), (), ((0x8100, 100),), ((0x88A8, 7), (0x8100, 100))))
    is_plain = random.random() < 0.1
    for packet in story:
        told = Packet(packet.to_server, packet.family, packet.protocol, packet.content, port, tags=tags)
        if is_plain or random.random() > MUTATED:
            frames = [told.build()] if is_plain or random.random() > LOST else []
        else:
            frames = mutate(told, random)
        for frame in frames:
            if is_harmless(frame):
                yield told.to_server, frame

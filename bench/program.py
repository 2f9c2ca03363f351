"""What `steer` costs per packet, by BPF_PROG_TEST_RUN: free flows beside a bare redirect, hot, and of many at random.

    python -m bench.program [--flows 1000000] [--rounds 11]

Fixed work in interleaved rounds; medians. The figures are those of this machine's kernel, without devices.
"""

import argparse
import random
import statistics
import struct
import time
from mmap import mmap

from penstock.compile.ebpf import build
from penstock.kernel import bpf
from penstock.kernel import tables as t
from penstock.kernel.cable import cable_instructions
from penstock.kernel.steer import steer
from penstock.line.directory import Directory, Held, make_places, pack_place

REPEAT = 100_000
REDIRECT = 7  # TCX_REDIRECT
CAPACITY = 1 << 21
KEY = 0x5DEECE66D
SERVER = 0x01020304
ASKED = 0xAC100001  # a protected subscriber whom the server asks over UDP, so that his flow is free
UP, DOWN = 1024 << 16 | 443, 443 << 16 | 1024  # ports of a client's packet, and of a server's
OPENING = bytes.fromhex("c000000001 08") + bytes(100)  # what may open a QUIC connection
SHORT_HEADER, NO_QUIC = b"\x41" + bytes(99), b"\x80" + bytes(99)  # QUIC behind its handshake; RTP, say


def write_segment(source: int, target: int, ports: int, seq: int, ack: int, flags: int, payload: bytes) -> bytes:
    """An IPv4 TCP segment in Ethernet, checksums left at zero: `steer` does not read them."""
    ip = struct.pack(">BBHHHBBHII", 0x45, 0, 40 + len(payload), 0, 0x4000, 64, 6, 0, source, target)
    tcp = struct.pack(">IIIBBHHH", ports, seq, ack, 0x50, flags, 65535, 0, 0)
    return bytes(12) + b"\x08\x00" + ip + tcp + payload


def write_datagram(source: int, target: int, ports: int, payload: bytes) -> bytes:
    """An IPv4 UDP datagram in Ethernet, without checksum."""
    ip = struct.pack(">BBHHHBBHII", 0x45, 0, 28 + len(payload), 0, 0x4000, 64, 17, 0, source, target)
    return bytes(12) + b"\x08\x00" + ip + struct.pack(">IHH", ports, 8 + len(payload), 0) + payload


def protect(control: mmap, address: int) -> None:
    """Make one address a protected subscriber's: over UDP only such a one has a record."""
    directory = Directory(control, bpf.map_memory(t.addresses), bpf.map_memory(t.subscribers))
    directory.set_line(1, None, Held(is_read=True))
    mapped = bytes(10) + b"\xff\xff" + address.to_bytes(4, "big")
    directory.put(make_places([pack_place(0, mapped, 128)]), [1])


def load() -> tuple[int, int, int]:
    """Tables and programs without an interface: (ingress, egress, bare redirect)."""
    t.flows.entries = CAPACITY // t.WAYS
    ring = bpf.create_ring(t.RING_BYTES)
    for table in (
        t.flows,
        t.control,
        t.pulse,
        t.counters,
        t.path_counters,
        t.scratch,
        t.addresses,
        t.subscribers,
        t.handshakes,
        t.health,
    ):
        bpf.create_map(table)
    bpf.create_map(t.rings, ring)
    bpf.update_element(t.rings.fd, struct.pack("<I", 0), struct.pack("<I", ring))
    control = bpf.map_memory(t.control)
    control[:8] = struct.pack("<Q", 1)
    control[t.CONTROL_PORTS : t.CONTROL_PORTS + 8192] = b"\xff" * 8192
    control[t.CONTROL_HASH_KEY : t.CONTROL_HASH_KEY + 8] = struct.pack("<Q", KEY)
    protect(control, ASKED)
    constants = {"bucket_mask": t.flows.entries - 1, "ring_mask": 0, "peer_ifindex": 1, "hash_key": KEY}
    constants |= {"address_mask": t.addresses.entries - 1, "subscriber_mask": t.subscribers.entries - 1}
    program = build(steer)
    sides = [bpf.load_program(program, {**constants, "from_client": side}) for side in (1, 0)]
    return sides[0], sides[1], bpf.load_instructions("bare", cable_instructions(1))


def build_kinds(ingress: int, egress: int, bare: int) -> dict[str, tuple[int, bytes]]:
    """What is measured: the program and its packet."""
    client = write_segment(0x0A000000, SERVER, UP, 101, 2, 0x10, b"x" * 100)
    return {
        "bare redirect": (bare, client),
        "free flow, client's data": (ingress, client),
        "free flow, server's data": (
            egress,
            write_segment(SERVER, 0x0A000000, DOWN, 2, 201, 0x10, b"x" * 100),
        ),
        "free UDP flow, client's": (ingress, write_datagram(ASKED, SERVER, UP, NO_QUIC)),
        "free QUIC flow, client's": (ingress, write_datagram(ASKED, SERVER, UP, SHORT_HEADER)),
        "QUIC flow, server's": (egress, write_datagram(SERVER, ASKED, DOWN, SHORT_HEADER)),
        "UDP, not protected": (ingress, write_datagram(0x0B000000, SERVER, UP, SHORT_HEADER)),
        "no flow, client's ACK": (ingress, write_segment(0x0B000000, SERVER, 1 << 16 | 443, 1, 1, 0x10, b"")),
        "not IP": (ingress, bytes(12) + b"\x08\x06" + bytes(46)),
    }


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=11)
    options = parser.parse_args()
    ingress, egress, bare = load()
    syn_ack = [write_segment(SERVER, 0x0A000000 + n, DOWN, 1, 101, 0x12, b"") for n in range(options.flows)]
    began = time.perf_counter()
    for packet in syn_ack:
        bpf.test_run(egress, packet)
    print(f"{options.flows:,} flows made in {time.perf_counter() - began:.1f} s, one system call each")
    bpf.test_run(egress, write_datagram(SERVER, ASKED, DOWN, OPENING))
    kinds = build_kinds(ingress, egress, bare)
    for name, (program, packet) in kinds.items():
        if bpf.test_run(program, packet)[0] != REDIRECT:
            raise RuntimeError(f"{name}: not forwarded")
    times: dict[str, list[int]] = {name: [] for name in kinds}
    for _ in range(options.rounds):
        for name, (program, packet) in kinds.items():
            times[name].append(bpf.test_run(program, packet, REPEAT)[1])
    base = statistics.median(times["bare redirect"])
    for name, ns in times.items():
        print(f"{name:28} {statistics.median(ns):5.0f} ns   {statistics.median(ns) - base:+5.0f} over a bare redirect")
    print_random(egress, bare, options.flows)


def print_random(egress: int, bare: int, flows: int) -> None:
    """One packet of a random flow each time: the cache misses that a full table costs. A test run of one packet is a system
    call each, so the difference to the bare redirect, run the same way, is what counts."""
    chosen = [random.randrange(flows) for _ in range(20_000)]
    packets = [write_segment(SERVER, 0x0A000000 + n, DOWN, 2, 101, 0x10, b"x" * 100) for n in chosen]
    results = {}
    for name, program in (("bare", bare), ("steer", egress), ("bare", bare), ("steer", egress)):
        spent = [bpf.test_run(program, packet, 1)[1] for packet in packets]
        results[name] = statistics.median(spent)
    print(
        f"one of {flows:,} flows at random    {results['steer'] - results['bare']:+5.0f} ns over a bare redirect, cold"
    )


if __name__ == "__main__":
    main()

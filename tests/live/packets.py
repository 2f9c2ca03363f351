"""Single frames by hand: watch an interface of a namespace, learn a connection's numbers, send a segment beside it."""

import socket
import time
from dataclasses import dataclass

from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from penstock.demo.topology import CLIENT_INTERFACE, Place, Topology

ETH_P_ALL = 3


class Tap:
    """A raw socket on one interface."""

    def __init__(self, topology: Topology, place: Place = "client", interface: str = CLIENT_INTERFACE) -> None:
        with topology.inside(place):
            self.channel = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            self.channel.bind((interface, 0))

    def __enter__(self) -> "Tap":
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()

    def find_syn_ack(self, client_port: int, patience_s: float = 3.0) -> Packet:
        """The SYN-ACK that answered the connection from this port."""
        end_s = time.monotonic() + patience_s
        while time.monotonic() < end_s:
            self.channel.settimeout(max(0.01, end_s - time.monotonic()))
            frame = Ether(self.channel.recv(1 << 16))
            if TCP in frame and frame[TCP].dport == client_port and frame[TCP].flags == "SA":
                return frame
        raise TimeoutError(f"no SYN-ACK for port {client_port}")

    def find_hello_sizes(self, quiet_s: float = 0.2) -> list[int]:
        """The size of the first record of each ClientHello among the frames that were seen."""
        self.channel.settimeout(quiet_s)
        sizes = []
        try:
            while True:
                frame = Ether(self.channel.recv(1 << 16))
                payload = bytes(frame[TCP].payload) if TCP in frame else b""
                if payload[:2] == b"\x16\x03" and payload[5:6] == b"\x01":
                    sizes.append(int.from_bytes(payload[3:5]))
        except TimeoutError:
            return sizes


@dataclass(frozen=True)
class Beside:
    """The connection that a SYN-ACK belongs to: frames that its client could send."""

    syn_ack: Packet

    def build(self, payload: bytes, checksum: int | None = None) -> bytes:
        """The segment with the client's first bytes; with the checksum given, else with the right one."""
        seen, ours = self.syn_ack, Ether(src=self.syn_ack.dst, dst=self.syn_ack.src)
        if IPv6 in seen:
            ours /= IPv6(src=seen[IPv6].dst, dst=seen[IPv6].src, hlim=64)
        else:
            ours /= IP(src=seen[IP].dst, dst=seen[IP].src, ttl=64)
        tcp = TCP(sport=seen[TCP].dport, dport=seen[TCP].sport, seq=seen[TCP].ack, ack=seen[TCP].seq + 1, flags="PA")
        options = dict(seen[TCP].options)
        if "Timestamp" in options:
            theirs, mine = options["Timestamp"]
            tcp.options = [("NOP", None), ("NOP", None), ("Timestamp", (mine + 1, theirs))]
        frame = ours / tcp / payload
        if checksum is not None:
            frame[TCP].chksum = checksum
        return bytes(frame)


def read_record_kinds(stream: bytes) -> list[int]:
    """The content types of the TLS records that start in these bytes."""
    kinds, start = [], 0
    while start + 5 <= len(stream):
        kinds.append(stream[start])
        start += 5 + int.from_bytes(stream[start + 3 : start + 5])
    return kinds

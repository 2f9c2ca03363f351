"""A healthy QUIC client over a bad line: all that it asks for must be answered, and nothing refused."""

from random import Random

from tests.flow.quic_evader import OTHER
from tests.flow.quic_server import Connection, QuicServer
from tests.quic import ACK_FRAME, HANDSHAKE, PING, V1, V2, ZERO_RTT, crypto, hello, initial, long_packet
from tests.vocabulary import Flow


class Client:
    """Cuts its hello as it likes, repeats what is missing, follows Retry, HelloRetryRequest and a change of version."""

    def __init__(self, random: Random, server: QuicServer, flow: Flow) -> None:
        self.random, self.server, self.flow = random, server, flow
        self.dcid = self.cid = random.randbytes(random.choice([8, 8, 20]))
        self.scid = random.randbytes(random.choice([0, 8]))
        self.version, self.token = random.choice([V1, V1, V2]), b""
        self.number = random.choice([0, 0, 1, random.randrange(1 << 16)])
        self.stream = hello(OTHER.decode(), random.choice([0, 0, 1800, 5000, 20_000]))
        self.first_end = len(self.stream)
        self.cut = random.choice([1000, 1000, 100])
        self.has_early = random.random() < 0.2
        self.is_told = False
        self.closed = 0

    @property
    def connection(self) -> Connection | None:
        return self.server.connections.get(self.cid)

    @property
    def is_done(self) -> bool:
        return bool(self.connection and self.connection.is_confirmed)

    def hear(self) -> None:
        """What the server said has arrived."""
        if self.connection:
            self.is_told = True
            if self.server.asks_again and self.connection.names and len(self.stream) == self.first_end:
                self.stream += hello(OTHER.decode(), 300)
            if self.server.upgrades and self.connection.names:
                self.version = V2
        elif self.dcid in self.server.retry_cids and not self.token:
            self.cid, self.token = self.server.retry_cids[self.dcid], b"token"

    def flight(self) -> list[bytes]:
        """Everything that the server has not acknowledged, once more."""
        random, known = self.random, self.connection
        at = len(known.stream) if known and self.is_told else 0
        dcid = known.scid if known and self.is_told else self.cid
        if known and known.names and self.is_told and at >= len(self.stream):
            front = self.write(dcid, ACK_FRAME, 300)
            return [front + long_packet(HANDSHAKE, dcid, bytes(60), scid=self.scid)]
        pieces = [(place, self.stream[place : place + self.cut]) for place in range(at, len(self.stream), self.cut)]
        if random.random() < 0.4:
            random.shuffle(pieces)
        packets, frames = [], b"" if random.random() < 0.5 else random.choice([PING, bytes(5), ACK_FRAME])
        for place, content in pieces:
            if len(frames) + len(content) > 1100:
                packets.append(self.write(dcid, frames, 1200))
                frames = b""
            frames += crypto(place, content)
        packets.append(self.write(dcid, frames, 1200))
        if self.has_early:
            packets.insert(random.randrange(len(packets) + 1), long_packet(ZERO_RTT, dcid, bytes(200), scid=self.scid))
        return packets

    def write(self, dcid: bytes, frames: bytes, size: int) -> bytes:
        self.number += 1
        return initial(dcid, frames, scid=self.scid, version=self.version, number=self.number - 1, number_bytes=4,
                       token=self.token, key_cid=self.cid, size=size)  # fmt: skip

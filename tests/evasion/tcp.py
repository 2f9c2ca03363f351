"""A TCP connection of the raw client, which does what a recipe says and then what any client does.

It acknowledges what comes in order, repeats what the server has not acknowledged, answers no reset, and never ends by
itself: `forget` resets it once the servers' logs are read.

Knows sequence numbers. Refuses to judge what comes of them. RFC 9293, RFC 7323.
"""

import asyncio
import random
import struct
import time
from dataclasses import replace

from tests.evasion.frames import TCP, Ends, build_frames, build_tcp, fill_bytes
from tests.evasion.places import TlsClient, cover_of, find_place
from tests.evasion.recipe import AwaitAck, AwaitAnswer, Renew, Segment, Step, Syn, Wait
from tests.evasion.wire import Arrival, Wire
from tests.vocabulary import ACK, FIN, MODULUS, MSS, NOP, RST, SYN, ahead, timestamps

MSS_BYTES = 1400
SYN_S = 1.0
REPEAT_S = (0.25, 0.35, 0.6)  # a client's first retransmissions, hurried
ACK_S, ANSWER_S, QUIET_S = 0.3, 1.0, 0.2
SACK, SCALE = b"\4\2", NOP + b"\3\3\7"


class Connection:
    """One connection to one port of a server."""

    def __init__(
        self, wire: Wire, ends: Ends, port: int, host: str, stream: bytes, tls: TlsClient | None = None
    ) -> None:
        self.wire, self.ends, self.host, self.stream, self.tls = wire, ends, host, stream, tls
        self.cover = cover_of(stream, host)
        self.ports = (random.randrange(20_000, 60_000), port)
        self.isn = random.getrandbits(32)
        self.births = [self.isn]
        self.stamp_base = random.randrange(1 << 20, 1 << 30)
        self.begin_s = time.monotonic()
        self.next = self.echo = self.acked = 0
        self.has_stamps = True
        self.is_open = self.is_reset = self.is_ended = False
        self.came = b""
        self.last_s = self.begin_s
        self.news = asyncio.Event()
        self.identity = random.getrandbits(16)
        self.repeats = 0

    # ---- what comes ------------------------------------------------------------------------------------------------
    def take(self, arrival: Arrival) -> None:
        """A packet for our address."""
        content = arrival.content
        if arrival.protocol != TCP or len(content) < 20:
            return
        source, target, seq, ack, offset, flags = struct.unpack(">HHIIBB", content[:14])
        if (target, source) != self.ports:
            return
        head = (offset >> 4) * 4
        self._read_options(content[20:head])
        self.news.set()
        if flags & SYN:
            if flags & ACK:
                self._take_syn_ack(seq, ack)
            return
        if flags & RST:
            self.is_reset |= (self.is_open and ahead(seq, self.next) in (0, 1)) or not self.is_open
            return
        if not self.is_open:
            return
        if flags & ACK and 0 < ahead(ack, self.isn + 1 + self.acked) <= len(self.stream) + 2:
            self.acked = ahead(ack, self.isn + 1)
        self._take_data(seq, content[head:], flags)

    def _read_options(self, options: bytes) -> None:
        at = 0
        while at + 1 < len(options) and options[at]:
            size = 1 if options[at] == 1 else options[at + 1]
            if options[at] == 8 and at + 10 <= len(options):
                self.echo = int.from_bytes(options[at + 2 : at + 6])
            at += max(size, 1)

    def _take_syn_ack(self, seq: int, ack: int) -> None:
        if not self.is_open and ack == (self.isn + 1) % MODULUS:
            self.is_open, self.next = True, (seq + 1) % MODULUS

    def _take_data(self, seq: int, data: bytes, flags: int) -> None:
        skip = ahead(self.next, seq)
        if 0 <= skip < len(data):
            self.came += data[skip:]
            self.next = (self.next + len(data) - skip) % MODULUS
            self.last_s = time.monotonic()
            if self.tls is not None:
                self.stream += self.tls.advance(data[skip:])
        if flags & FIN and (seq + len(data)) % MODULUS == self.next and not self.is_ended:
            self.is_ended, self.next = True, (self.next + 1) % MODULUS
        if data or flags & FIN:
            self._send(Segment(0, 0, flags="A"), at=min(self.acked, len(self.stream)))

    # ---- what goes -------------------------------------------------------------------------------------------------
    async def play(self, steps: tuple[Step, ...]) -> None:
        """Do what a recipe says."""
        for step in steps:
            if isinstance(step, Segment):
                self._send_segment(step)
            elif isinstance(step, Syn):
                await self._shake(step)
            elif isinstance(step, Wait):
                await asyncio.sleep(step.seconds)
            elif isinstance(step, Renew):
                self.isn = (self.isn + step.distance) % MODULUS
                self.births.append(self.isn)
                self.is_open, self.acked = False, 0
            elif isinstance(step, AwaitAck):
                place = find_place(step.place, self.stream, self.host)
                await self._wait(lambda place=place: self.acked >= place or self.is_over, ACK_S)  # type: ignore[misc]
            elif isinstance(step, AwaitAnswer):
                size = len(self.came)
                await self._wait(lambda size=size: len(self.came) > size or self.is_over, ANSWER_S)  # type: ignore[misc]

    async def settle(self) -> None:
        """Repeat what is not acknowledged, go on with TLS, and wait until it is quiet."""
        sent = len(self.stream)
        for patience_s in REPEAT_S:
            end_s = time.monotonic() + patience_s
            while not self.is_over and time.monotonic() < end_s:
                if len(self.stream) > sent:
                    self._send_plain(sent, len(self.stream))
                    sent, end_s = len(self.stream), time.monotonic() + patience_s
                if self._is_content():
                    return
                await self._wait(lambda sent=sent: len(self.stream) > sent or self.is_over, 0.05)  # type: ignore[misc]
            if self.is_over or not self.is_open:
                return
            if self.acked < len(self.stream):
                self.repeats += 1
                self._send_plain(self.acked, len(self.stream))

    @property
    def is_over(self) -> bool:
        return self.is_reset or self.is_ended

    def forget(self) -> None:
        """Reset what is left of it at the server."""
        for birth in self.births:
            seq = birth + 1 + (self.acked if birth == self.isn else 0)
            self._emit(build_tcp(self.ends, self.ports, seq, self.next, "RA"), Segment())

    def _is_content(self) -> bool:
        is_said = self.acked >= len(self.stream) and bool(self.came)
        if self.tls is not None:
            return is_said and bool(self.tls.answer)
        return is_said and time.monotonic() - self.last_s > QUIET_S

    async def _shake(self, step: Syn) -> None:
        if not step.wait:
            self._send_syn(step)
            return
        for turn in range(3):
            self._send_syn(
                step if turn == 0 else replace(step, fill=None, options=None)
            )  # as Linux repeats a Fast Open
            if await self._wait(lambda: self.is_open or self.is_reset, SYN_S):
                return

    def _send_syn(self, step: Syn) -> None:
        data = fill_bytes(self._cover(step.fill, self.stream, 0), self.stream) if step.fill is not None else b""
        options = step.options
        if options is None:
            options = MSS + SACK + timestamps(self._stamp(step.stamp), 0)[2:] + SCALE
        self.has_stamps = b"\x08\x0a" in options
        segment = build_tcp(
            self.ends,
            self.ports,
            self.isn + step.seq,
            step.ack,
            step.flags,
            data,
            options,
            step.window,
            checksum=step.checksum,
        )
        self._emit(segment, Segment(ttl=step.ttl))

    def _send_segment(self, step: Segment) -> None:
        start, end = (find_place(place, self.stream, self.host) for place in (step.start, step.end))
        for _ in range(step.times):
            if step.fill is None and not step.pieces and end - start > MSS_BYTES:
                self._send_plain(start, end, step)
            else:
                data = fill_bytes(self._cover(step.fill, self.cover, start, end), self.stream[start:end])
                self._send(step, start - len(step.before), step.before + data)

    @staticmethod
    def _cover(fill: bytes | str | None, cover: bytes, start: int, end: int | None = None) -> bytes | str | None:
        return cover[start:end] if fill == "cover" else fill

    def _send_plain(self, start: int, end: int, like: Segment | None = None) -> None:
        for at in range(start, end, MSS_BYTES):
            self._send(like or Segment(), at, self.stream[at : min(end, at + MSS_BYTES)])

    def _send(self, step: Segment, at: int, data: bytes = b"") -> None:
        options = step.options
        if self.has_stamps and step.stamp is not None:
            options = timestamps(self._stamp(step.stamp), self.echo) + options
        ports = self.ports[0], self.ports[1] + step.port
        segment = build_tcp(
            self.ends, ports, self.isn + 1 + at + step.seq, self.next + step.ack if "A" in step.flags else step.ack,
            step.flags, data, options, step.window, self._urgent(step, at), step.checksum, step.header_words, step.reserved,
        )  # fmt: skip
        self._emit(segment, step)

    def _emit(self, segment: bytes, step: Segment) -> None:
        self.identity += 1
        for frame in build_frames(
            self.ends, TCP, segment, ttl=step.ttl or 64, identity=self.identity, ip_options=step.ip_options,
            extensions=step.extensions, untrue=step.ip, pieces=step.pieces, tos=step.tos, tags=step.tags,
            station=step.station,
        ):  # fmt: skip
            self.wire.send(frame + step.trailer)

    def _urgent(self, step: Segment, at: int) -> int:
        place = step.urgent
        return place if isinstance(place, int) else find_place(place, self.stream, self.host) - at

    def _stamp(self, more: int) -> int:
        return self.stamp_base + int((time.monotonic() - self.begin_s) * 1000) + more

    async def _wait(self, condition: object, patience_s: float) -> bool:
        end_s = time.monotonic() + patience_s
        while not condition():  # type: ignore[operator]
            left_s = end_s - time.monotonic()
            if left_s <= 0:
                return False
            self.news.clear()
            try:
                async with asyncio.timeout(left_s):
                    await self.news.wait()
            except TimeoutError:
                return bool(condition())  # type: ignore[operator]
        return True

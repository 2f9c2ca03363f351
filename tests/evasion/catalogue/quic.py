"""First flights of QUIC: the hello in pieces, under other keys, behind and beside other packets, by other ways."""

import random
from collections.abc import Callable
from typing import Any

from tests.evasion.recipe import COVER, Datagram, Piece, Quic, Strategy, Wait
from tests.live.quic import V2, Flight
from tests.quic import ACK_FRAME, CLOSE, crypto, initial, varint

READINGS = "one QUIC library takes it, another refuses it"
TWO = "two hellos are shown, or two versions of one: a server may take either"
PING, PADDING, OTHER, FIRST = b"\1", b"\0", b"otherkey", 50
Shape = Callable[[Any], list[Any]]
FOREIGN = 0x1A2A3A4A


def _mid(flight: Flight) -> int:
    return flight.hello.index(b".test") - 3


def _cover(flight: Flight) -> bytes:
    at = flight.hello.index(b".test") - 11
    return flight.hello[:at] + COVER.encode() + flight.hello[at + 16 :]


def pack(flight: Flight, *contents: bytes, first: int = FIRST) -> list[Any]:
    """A datagram for each of these frames."""
    return [flight.seal(frames, number) for number, frames in enumerate(contents, first)]


def spoil(datagram: bytes) -> bytes:
    """The same with a tag that is wrong."""
    return datagram[:-1] + bytes([datagram[-1] ^ 1])


def shuffled(flight: Flight, size: int, count: int) -> list[Any]:
    """The hello in frames of a few bytes in no order, over some datagrams."""
    parts = [flight.piece(start, start + size) for start in range(0, len(flight.hello), size)]
    random.Random(7).shuffle(parts)
    return pack(flight, *(b"".join(parts[start::count]) for start in range(count)))


def carried(**how: Any) -> Shape:
    """The honest datagrams, carried oddly."""
    return lambda flight: [Datagram(lambda host, one=one: one, port=443, **how) for one in flight.datagrams]  # type: ignore[misc]


def like(content: bytes, **how: Any) -> Datagram:
    return Datagram(lambda host: content, port=443, **how)


def decoy(flight: Flight, size: int = 1200) -> bytes:
    """An Initial of another connection, with the allowed name."""
    return flight.seal(flight.piece(0, hello=_cover(flight)), 0, size, OTHER)


def foreign(flight: Flight) -> bytes:
    head = b"\xc3" + FOREIGN.to_bytes(4) + b"\x08" + flight.server_id + b"\x08" + flight.client_id
    return head.ljust(1200, b"\0")


def long_head(flight: Flight, kind: int, body: int = 40) -> bytes:
    """A packet of another type with this connection's IDs, whose body is junk."""
    first = 0xC0 | kind << 4
    ids = bytes([len(flight.server_id)]) + flight.server_id + bytes([len(flight.client_id)]) + flight.client_id
    return bytes([first]) + b"\0\0\0\1" + ids + (0x4000 | body).to_bytes(2) + bytes(body)


def made(flight: Flight, frames: bytes, **how: Any) -> bytes:
    """This connection's Initial, by hand."""
    return initial(flight.server_id, frames, scid=flight.client_id, **how)


def stretched(flight: Flight) -> bytes:
    """The CRYPTO frame with every number eight bytes long."""
    return b"\6" + varint(0, 8) + varint(len(flight.hello), 8) + flight.hello


def thirds(flight: Flight, *order: int) -> bytes:
    """A datagram of three Initials, each with a third of the hello."""
    size = -(-len(flight.hello) // 3)
    return b"".join(flight.seal(flight.piece(n * size, (n + 1) * size), FIRST + n, 420) for n in order)


LARGE = 2500
FOUND: tuple[tuple[str, str, str, Quic, str], ...] = (
    ("plain", "browsers", "an ordinary first flight", Quic(), ""),
    ("version-2", "RFC 9369", "version 2", Quic(version=V2), ""),
    ("two-datagrams", "browsers, post-quantum", "a hello of two datagrams and more", Quic(hello_bytes=LARGE), ""),
    ("many-datagrams", "browsers", "a hello of eight datagrams", Quic(hello_bytes=8500), ""),
    ("last-first", "zapret, QUIC disorder", "three datagrams, the last first",
     Quic(lambda f: f.datagrams[::-1], hello_bytes=LARGE), ""),
    ("twice", "Geneva, duplicate", "every datagram twice",
     Quic(lambda f: [one for one in f.datagrams for _ in "12"], hello_bytes=LARGE), ""),
    ("first-lost", "SymTCP, lost segment", "the first datagram is lost, the client repeats it",
     Quic(lambda f: f.datagrams[1:], hello_bytes=LARGE), ""),
    ("first-dies", "zapret, TTL on QUIC", "the first datagram dies at the router",
     Quic(lambda f: [like(f.datagrams[0], ttl=1), *f.datagrams[1:]], hello_bytes=LARGE), ""),
    ("cut-name", "RFC 9000 19.6", "two CRYPTO frames that share the name, the second first, in one packet",
     Quic(lambda f: pack(f, f.piece(_mid(f)) + f.piece(0, _mid(f)))), ""),
    ("cut-datagrams", "RFC 9000 19.6", "the same in two datagrams",
     Quic(lambda f: pack(f, f.piece(_mid(f)), f.piece(0, _mid(f)))), ""),
    ("cut-slow", "SymTCP, hole in the stream", "two datagrams, 0.3 s between them: longer than is held here",
     Quic(lambda f: [x for one in pack(f, f.piece(0, _mid(f)), f.piece(_mid(f))) for x in (one, Wait(0.3))]), ""),
    ("pieces", "Chromium's chaos protection", "frames of 31 bytes in no order over four datagrams",
     Quic(lambda f: shuffled(f, 31, 4)), ""),
    ("small-pieces", "Chromium's chaos protection", "frames of 5 bytes in no order", Quic(lambda f: shuffled(f, 5, 3)),
     ""),
    ("pings-between", "Chromium's chaos protection", "PING and PADDING between the frames",
     Quic(lambda f: pack(f, b"".join(f.piece(n, n + 40) + PING + PADDING * 3 for n in range(0, len(f.hello), 40)))),
     ""),
    ("overlap", "SymTCP, consistent overlap", "two frames that overlap with the same bytes",
     Quic(lambda f: pack(f, f.piece(_mid(f) - 5), f.piece(0, _mid(f) + 5))), ""),
    ("contradiction", "Ptacek and Newsham, overlap", "other bytes at the same offsets, then the real ones",
     Quic(lambda f: pack(f, f.piece(0, hello=_cover(f)), f.piece(0))), TWO),
    ("contradiction-frame", "Ptacek and Newsham, overlap", "the same in one packet",
     Quic(lambda f: pack(f, f.piece(_mid(f) - 3, _mid(f), _cover(f)) + f.piece(0))), TWO),
    ("contradiction-behind", "SymTCP, out-of-order overlap",
     "an allowed second half ahead of its turn, then the real whole",
     Quic(lambda f: pack(f, f.piece(_mid(f) - 3, None, _cover(f)), f.piece(0))), TWO),
    ("decoy-before", "zapret fake-quic", "an Initial of another connection with an allowed name before",
     Quic(lambda f: [decoy(f), *f.datagrams]), TWO),
    ("decoy-dies", "zapret fake-quic, ttl", "the same, dying at the router",
     Quic(lambda f: [like(decoy(f), ttl=1), *f.datagrams]), ""),
    ("twin-dies", "zapret fake-quic, own IDs",
     "this connection's Initial with an allowed name, dying at the router, before the real one",
     Quic(lambda f: [like(f.seal(f.piece(0, hello=_cover(f)), FIRST), ttl=1), f.seal(f.piece(0), FIRST + 1)]), TWO),
    ("twin-checksum", "zapret fake-quic, badsum", "the same, with a wrong checksum",
     Quic(lambda f: [like(f.seal(f.piece(0, hello=_cover(f)), FIRST), checksum="wrong"),
     f.seal(f.piece(0), FIRST + 1)]), ""),
    ("decoy-checksum", "zapret fake-quic, badsum", "the same, with a wrong checksum",
     Quic(lambda f: [like(decoy(f), checksum="wrong"), *f.datagrams]), ""),
    ("decoy-many", "zapret fake-quic, repeats", "eleven of them",
     Quic(lambda f: [like(decoy(f), ttl=1, times=11), *f.datagrams]), ""),
    ("decoy-coalesced", "RFC 9000 12.2", "a decoy behind the hello in one datagram",
     Quic(lambda f: [f.seal(f.piece(0), 0, 600) + decoy(f, 600)]), TWO),
    ("decoy-coalesced-first", "RFC 9000 12.2", "a decoy before the hello in one datagram",
     Quic(lambda f: [decoy(f, 600) + f.seal(f.piece(0), 0, 600)]), TWO),
    ("damaged", "Geneva, corrupt", "a damaged Initial before",
     Quic(lambda f: [spoil(f.seal(f.piece(0))), *f.datagrams]), ""),
    ("damaged-cover", "Geneva, corrupt", "a damaged Initial with an allowed name before",
     Quic(lambda f: [spoil(f.seal(f.piece(0, hello=_cover(f)))), *f.datagrams]), ""),
    ("other-keys", "zapret, junk under other keys", "this connection's Initial under other keys before",
     Quic(lambda f: [f.seal(f.piece(0), server_id=OTHER), *f.datagrams]), ""),
    ("junk", "zapret --dpi-desync=fake with noise", "junk before",
     Quic(lambda f: [random.Random(3).randbytes(900), *f.datagrams]), ""),
    ("junk-short", "zapret, short packets", "a short header packet before",
     Quic(lambda f: [b"\x40" + bytes(60), *f.datagrams]), ""),
    ("zeros", "zapret fake 0x00", "zeros before", Quic(lambda f: [bytes(64), *f.datagrams]), ""),
    ("stun", "zapret, other protocols as fakes", "a STUN request before",
     Quic(lambda f: [b"\0\1\0\0\x21\x12\xa4\x42" + bytes(12), *f.datagrams]), ""),
    ("wireguard", "zapret, other protocols as fakes", "a WireGuard handshake before",
     Quic(lambda f: [b"\1\0\0\0" + bytes(144), *f.datagrams]), ""),
    ("version-first", "RFC 8999", "a version that nobody speaks before, with the same IDs",
     Quic(lambda f: [foreign(f), *f.datagrams]),
     "a version that is not read is refused, and its connection with it"),
    ("handshake-first", "RFC 9000 17.2.4", "a Handshake packet of junk before the hello, in its datagram",
     Quic(lambda f: [long_head(f, 2) + f.seal(f.piece(0), 0, 1140)]), ""),
    ("zero-rtt-first", "RFC 9000 17.2.3", "a 0-RTT packet of junk before the hello, in its datagram",
     Quic(lambda f: [long_head(f, 1) + f.seal(f.piece(0), 0, 1140)]), ""),
    ("zero-rtt-behind", "RFC 9000 17.2.3", "a 0-RTT packet of junk behind the hello",
     Quic(lambda f: [f.seal(f.piece(0), 0, 1150) + long_head(f, 1)]), ""),
    ("ping-coalesced", "RFC 9000 12.2", "an Initial with PING, and the hello in a second packet of its datagram",
     Quic(lambda f: [f.seal(f.piece(0, 4), FIRST, 100) + f.seal(f.piece(4), FIRST + 1, 1100)]), ""),
    ("bytes-behind", "RFC 9000 12.2", "bytes behind the packet", Quic(lambda f: [f.seal(f.piece(0)) + b"\xff" * 99]),
     ""),
    ("small", "RFC 9000 14.1", "an Initial of 700 bytes, which no server should take, before the right one",
     Quic(lambda f: [f.seal(f.piece(0), 0, 700), Wait(0.05), *f.datagrams]), ""),
    ("token", "RFC 9000 17.2.2", "with a token that nobody gave",
     Quic(lambda f: [made(f, f.piece(0), number=FIRST, token=b"t" * 40)]), ""),
    ("long-numbers", "RFC 9000 16", "numbers of eight bytes where one is enough",
     Quic(lambda f: [made(f, stretched(f), number=FIRST)]), ""),
    ("long-type", "RFC 9000 12.4", "a frame type of two bytes",
     Quic(lambda f: [made(f, b"\x40\6" + f.piece(0)[1:], number=FIRST)]), READINGS),
    ("number-bytes-1", "RFC 9000 17.1", "a packet number of one byte",
     Quic(lambda f: [made(f, f.piece(0), number=FIRST, number_bytes=1)]), ""),
    ("number-bytes-4", "RFC 9000 17.1", "a packet number of four bytes",
     Quic(lambda f: [made(f, f.piece(0), number=1 << 20, number_bytes=4)]), ""),
    ("fixed-bit", "RFC 9287", "the fixed bit is 0", Quic(lambda f: [made(f, f.piece(0), number=FIRST, first=0x80)]),
     READINGS),
    ("reserved-bits", "RFC 9000 17.2", "reserved bits of the header are set",
     Quic(lambda f: [made(f, f.piece(0), number=FIRST, first=0xCC)]), READINGS),
    ("close-behind", "SymTCP, teardown", "CONNECTION_CLOSE in the same packet behind the hello",
     Quic(lambda f: [made(f, f.piece(0) + CLOSE, number=FIRST)]), READINGS),
    ("close-before", "INTANG, teardown", "an Initial that closes the connection, dying at the router",
     Quic(lambda f: [like(f.seal(CLOSE, FIRST), ttl=1), f.seal(f.piece(0), FIRST + 1)]), ""),
    ("no-padding", "RFC 9000 14.1", "padding behind the packet, not in it",
     Quic(lambda f: [made(f, f.piece(0), number=FIRST, size=0).ljust(1250, b"\0")]), READINGS),
    ("large", "browsers", "a datagram of 1,452 bytes", Quic(lambda f: [made(f, f.piece(0), number=FIRST, size=1452)]),
     ""),
    ("empty-crypto", "Geneva, corrupt", "empty CRYPTO frames around the hello",
     Quic(lambda f: [made(f, f.piece(0, 0) + f.piece(0) + f.piece(9, 9), number=FIRST)]), ""),
    ("far-crypto", "SymTCP, memory", "a CRYPTO frame far beyond the hello before it",
     Quic(lambda f: [made(f, crypto(60_000, b"x") + f.piece(0), number=FIRST)]), READINGS),
    ("hello-twice", "Ptacek and Newsham", "an allowed hello right behind the real one in the stream",
     Quic(lambda f: [made(f, f.piece(0) + crypto(len(f.hello), _cover(f)), number=FIRST)]), TWO),
    ("many-connections", "SymTCP, memory", "forty unfinished connections of the same port before",
     Quic(lambda f: [*(initial(bytes([n]) * 8, crypto(0, f.hello[:40]), scid=b"x") for n in range(40)), *f.datagrams]),
     "unfinished connections of one pair of addresses are counted, and more are refused"),
    ("high-number", "SymTCP, numbers", "packet numbers from 30,000", Quic(lambda f: pack(f, f.piece(0), first=30_000)),
     ""),
    ("number-again", "RFC 9000 12.3", "two halves of the hello under the same packet number",
     Quic(lambda f: [f.seal(f.piece(0, _mid(f)), FIRST), f.seal(f.piece(_mid(f)), FIRST)]), TWO),
    ("numbers-down", "RFC 9000 12.3", "packet numbers that go down",
     Quic(lambda f: [f.seal(f.piece(0, _mid(f)), FIRST + 1), f.seal(f.piece(_mid(f)), FIRST)]), ""),
    ("bytes", "Chromium's chaos protection", "a frame for each byte, in no order", Quic(lambda f: shuffled(f, 1, 3)), ""),
    ("thrice", "Geneva, duplicate", "each frame three times",
     Quic(lambda f: pack(f, (f.piece(0, _mid(f)) * 3), f.piece(_mid(f)) * 3)), ""),
    ("padding-first", "Chromium's chaos protection", "700 bytes of PADDING before the hello",
     Quic(lambda f: pack(f, PADDING * 700 + f.piece(0))), ""),
    ("pings-first", "SymTCP, memory", "600 PINGs before the hello", Quic(lambda f: pack(f, PING * 600 + f.piece(0))), ""),
    ("three-in-one", "RFC 9000 12.2", "a third of the hello in each of three Initials in one datagram",
     Quic(lambda f: [thirds(f, 0, 1, 2)]),
     ""),
    ("three-in-one-turned", "RFC 9000 12.2", "the same, the last first",
     Quic(lambda f: [thirds(f, 2, 1, 0)]),
     ""),
    ("handshake-between", "RFC 9000 12.2", "a Handshake packet of junk between two Initials in one datagram",
     Quic(lambda f: [f.seal(f.piece(0, _mid(f)), FIRST, 500) + long_head(f, 2) + f.seal(f.piece(_mid(f)), FIRST + 1, 700)]),
     ""),
    ("zero-rtt-alone", "RFC 9000 17.2.3", "a datagram of 0-RTT junk before the hello",
     Quic(lambda f: [long_head(f, 1, 1100), *f.datagrams]), ""),
    ("acknowledges", "RFC 9000 19.3", "an ACK of a packet that nobody sent before the hello",
     Quic(lambda f: pack(f, ACK_FRAME + f.piece(0))), READINGS),
    ("stream-frame", "RFC 9000 12.4", "a STREAM frame behind the hello, which no Initial may have",
     Quic(lambda f: pack(f, f.piece(0) + b"\x0a\0\4abcd")), READINGS),
    ("token-changes", "RFC 9000 17.2.2", "another token with the second half",
     Quic(lambda f: [made(f, f.piece(0, _mid(f)), number=FIRST, token=b"a" * 9),
     made(f, f.piece(_mid(f)), number=FIRST + 1, token=b"b" * 30)]), ""),
    ("source-changes", "RFC 9000 7.2", "another source connection ID with the second half",
     Quic(lambda f: [f.seal(f.piece(0, _mid(f)), FIRST),
     initial(f.server_id, f.piece(_mid(f)), scid=b"elsewhere", number=FIRST + 1)]), READINGS),
    ("version-changes", "RFC 9368", "the second half in version 2, under its keys",
     Quic(lambda f: [f.seal(f.piece(0, _mid(f)), FIRST), made(f, f.piece(_mid(f)), number=FIRST + 1, version=V2)]),
     READINGS),
    ("version-changes-twin", "RFC 9368", "an allowed hello in version 2 with the same IDs before the real one",
     Quic(lambda f: [made(f, f.piece(0, hello=_cover(f)), number=FIRST, version=V2), f.seal(f.piece(0), FIRST + 1)]), TWO),
    ("fragments", "zapret ipfrag2 on QUIC", "in IP fragments", Quic(carried(pieces=(Piece(0, 600), Piece(600)))), ""),
    ("fragments-turned", "zapret ipfrag2 on QUIC", "the same, the last first",
     Quic(carried(pieces=(Piece(600), Piece(0, 600)))), ""),
    ("fragments-tiny", "zapret ipfrag1 on QUIC", "a first fragment that holds the UDP header alone",
     Quic(carried(pieces=(Piece(0, 8), Piece(8)))),
     "a first fragment that shows nothing is refused as tiny"),
    ("fragments-overlap", "fragroute ip_frag on QUIC", "overlapping fragments",
     Quic(carried(pieces=(Piece(0, 600), Piece(400, 600, fill=bytes(200), more=True), Piece(600)))),
     "fragments with two versions of a byte"),
    ("hop-by-hop", "zapret hopbyhop on QUIC", "behind a hop-by-hop header",
     Quic(carried(extensions=((0, b"\0\1\4\0\0\0\0"),))), ""),
    ("destination", "zapret destopt on QUIC", "behind a destination options header",
     Quic(carried(extensions=((60, b"\0\1\4\0\0\0\0"),))), ""),
    ("udp-length", "zapret udplen; Geneva", "two bytes behind what UDP says is its length",
     Quic(lambda f: [like(one + b"xx", length=-2) for one in f.datagrams]), "UDP and IP disagree about the length"),
    ("no-checksum", "Geneva, tamper checksum", "no UDP checksum", Quic(carried(checksum="none")), ""),
    ("wrong-port-first", "zapret, other ports", "the first piece also from another port",
     Quic(lambda f: [like(f.seal(f.piece(0, 60), FIRST), source_port=1), f.seal(f.piece(0), FIRST + 1)]), ""),
    ("moves", "RFC 9000 9", "half of the hello from one port, half from another",
     Quic(lambda f: [like(f.seal(f.piece(0, _mid(f)), FIRST), source_port=1),
     like(f.seal(f.piece(_mid(f)), FIRST + 1))]), TWO),
)  # fmt: skip
ONLY = {"hop-by-hop": ("IPv6",), "destination": ("IPv6",), "no-checksum": ("IPv4", "VLAN")}
STRATEGIES = [
    Strategy(
        f"quic.{name}",
        "quic",
        source,
        what,
        play,
        over=("quic",),
        ambiguous=doubt,
        nets=ONLY.get(name, ("IPv4", "IPv6", "VLAN")),
    )
    for name, source, what, play, doubt in FOUND
]

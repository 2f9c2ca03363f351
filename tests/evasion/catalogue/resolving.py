"""Queries for a name: how it is written, what stands beside it, how datagrams and streams carry it."""

from collections.abc import Callable

from tests.evasion.places import dns_query
from tests.evasion.recipe import (
    COVER,
    AwaitAck,
    AwaitAnswer,
    Datagram,
    Datagrams,
    Piece,
    Segment,
    Step,
    Strategy,
    Stream,
    Tcp,
    Wait,
)

READINGS = "one server answers it, another calls it malformed"
Content = Callable[[str], bytes]
OPT = b"\0\0\x29\x10\0\0\0\0\0"


def wire_name(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def query(
    name: bytes,
    *,
    flags: int = 0x0100,
    counts: tuple[int, int, int, int] = (1, 0, 0, 0),
    kind: int = 1,
    net: int = 1,
    rest: bytes = b"",
) -> bytes:
    """A message by hand: the name as it stands on the wire."""
    head = b"QP" + flags.to_bytes(2) + b"".join(count.to_bytes(2) for count in counts)
    return head + name + kind.to_bytes(2) + net.to_bytes(2) + rest


def by_name(**more: object) -> Content:
    return lambda host: query(wire_name(host), **more)  # type: ignore[arg-type]


def mixed(host: str) -> bytes:
    letters = "".join(letter.upper() if place % 3 else letter for place, letter in enumerate(host))
    return query(wire_name(letters))


def pointer(host: str) -> bytes:
    """The name's tail behind the question, and a pointer to it in the question."""
    first, _, tail = host.partition(".")
    label = bytes([len(first)]) + first.encode()
    at = 12 + len(label) + 2 + 4
    return query(label + (0xC000 | at).to_bytes(2), rest=wire_name(tail))


def pointer_back(host: str) -> bytes:
    """Two questions; the second ends in a pointer into the first."""
    first, _, tail = host.partition(".")
    label = bytes([len(first)]) + first.encode()
    return query(b"\1w" + wire_name(tail), counts=(2, 0, 0, 0), rest=label + b"\xc0\x0e\0\1\0\1")


def two(first: str, counts: tuple[int, int, int, int] = (2, 0, 0, 0)) -> Content:
    def make(host: str) -> bytes:
        names = (COVER, host) if first == "cover" else (host, COVER)
        return query(wire_name(names[0]), counts=counts, rest=wire_name(names[1]) + b"\0\1\0\1")

    return make


def answer_section(host: str) -> bytes:
    """A query that brings a record for another name along."""
    return query(wire_name(host), counts=(1, 1, 0, 0), rest=wire_name(COVER) + b"\0\1\0\1\0\0\0\1\0\4\xcb\0\x71\1")


def once(content: Content, **how: object) -> Datagrams:
    return Datagrams((Datagram(content, **how),))  # type: ignore[arg-type]


def after(content: Content, **how: object) -> Datagrams:
    """Behind a decoy with the allowed name that is lost as said."""
    return Datagrams((Datagram(lambda host: dns_query(COVER), **how), Datagram(content)))  # type: ignore[arg-type]


FOUND: tuple[tuple[str, str, str, Datagrams, str], ...] = (
    ("plain", "stubs", "an ordinary query", once(dns_query), ""),
    ("mixed-case", "DNS 0x20", "the name in mixed case", once(mixed), ""),
    ("upper", "DNS 0x20", "the name in upper case", once(lambda host: query(wire_name(host.upper()))), ""),
    ("below", "list evasion", "a name below it", once(lambda host: query(wire_name("www.a." + host))), ""),
    ("edns", "RFC 6891", "EDNS", once(lambda host: dns_query(host, use_edns=0)), ""),
    ("edns-do", "RFC 4035", "EDNS with DNSSEC OK", once(lambda host: dns_query(host, want_dnssec=True)), ""),
    ("edns-tiny", "RFC 6891", "EDNS that takes 0 bytes",
     once(by_name(counts=(1, 0, 0, 1), rest=b"\0\0\x29\0\0\0\0\0\0\0\0")), ""),
    ("edns-padding", "RFC 7830", "EDNS with 400 bytes of padding",
     once(by_name(counts=(1, 0, 0, 1), rest=OPT + (404).to_bytes(2) + b"\0\x0c\1\x90" + bytes(400))), ""),
    ("edns-version", "RFC 6891", "EDNS of version 7", once(by_name(counts=(1, 0, 0, 1),
     rest=b"\0\0\x29\x10\0\0\7\0\0\0\0")), READINGS),
    ("edns-two", "RFC 6891", "two OPT records", once(by_name(counts=(1, 0, 0, 2), rest=(OPT + b"\0\0") * 2)), READINGS),
    ("edns-unknown", "RFC 6891", "an option that nobody knows",
     once(by_name(counts=(1, 0, 0, 1), rest=OPT + b"\0\x08\xfd\xe9\0\4abcd")), ""),
    ("edns-subnet", "RFC 7871", "the client's subnet",
     once(by_name(counts=(1, 0, 0, 1), rest=OPT + b"\0\x0b\0\x08\0\7\0\1\x18\0\xc0\0\2")), ""),
    ("edns-cookie", "RFC 7873", "a cookie",
     once(by_name(counts=(1, 0, 0, 1), rest=OPT + b"\0\x0c\0\x0a\0\x08abcdefgh")), ""),
    ("edns-in-answer", "RFC 6891 6.1.1", "OPT in the answer section",
     once(by_name(counts=(1, 1, 0, 0), rest=OPT + b"\0\0")), READINGS),
    ("signed", "RFC 8945", "a TSIG record of an unknown key",
     once(by_name(counts=(1, 0, 0, 1), rest=b"\1k\0\0\xfa\0\xff\0\0\0\0\0\x10" + bytes(16))), READINGS),
    ("truncated", "RFC 1035", "marked as truncated", once(by_name(flags=0x0300)), READINGS),
    ("response-code", "RFC 1035", "with a response code", once(by_name(flags=0x0103)), READINGS),
    ("authority", "RFC 1035", "a record in the authority section",
     once(by_name(counts=(1, 0, 1, 0), rest=b"\0\0\2\0\1\0\0\0\1\0\1\0")), READINGS),
    ("service-name", "RFC 6698, RFC 9460", "labels of a service below it",
     once(lambda host: query(wire_name("_443._tcp." + host), kind=52)), ""),
    ("wildcard", "RFC 4592", "an asterisk below it", once(lambda host: query(wire_name("*." + host))), ""),
    ("type-axfr", "RFC 5936", "type AXFR", once(by_name(kind=252)), READINGS),
    ("type-any", "RFC 8482", "type ANY", once(by_name(kind=255)), ""),
    ("type-https", "RFC 9460", "type HTTPS", once(by_name(kind=65)), ""),
    ("type-odd", "RFC 3597", "a type without a meaning", once(by_name(kind=65_280)), ""),
    ("class-any", "RFC 1035", "class ANY", once(by_name(net=255)), READINGS),
    ("class-chaos", "RFC 1035", "class CH", once(by_name(net=3)), READINGS),
    ("no-recursion", "RFC 1035", "recursion not desired", once(by_name(flags=0)), ""),
    ("flags", "RFC 1035", "AD, CD and Z set", once(by_name(flags=0x0170)), READINGS),
    ("opcode", "RFC 1035", "opcode 2", once(by_name(flags=0x1100)), READINGS),
    ("notify", "RFC 1996", "opcode NOTIFY", once(by_name(flags=0x2100)), READINGS),
    ("response-flag", "Geneva, tamper qr", "marked as a response", once(by_name(flags=0x8100)), READINGS),
    ("pointer", "Geneva, DNS compression", "the name ends in a pointer to behind the question", once(pointer),
     READINGS),
    ("pointer-back", "Geneva, DNS compression", "a second question that ends in a pointer into the first",
     once(pointer_back), READINGS),
    ("pointer-loop", "SymTCP, parser confusion", "a pointer to itself before the real query",
     Datagrams((Datagram(lambda host: query(b"\xc0\x0c")), Datagram(dns_query))), ""),
    ("two-questions", "Geneva, DNS qdcount", "two questions, the allowed first", once(two("cover")), READINGS),
    ("two-questions-turned", "Geneva, DNS qdcount", "two questions, the real first", once(two("real")), READINGS),
    ("hidden-question", "Geneva, DNS qdcount", "one question counted, a second behind it",
     once(two("cover", (1, 0, 0, 0))), READINGS),
    ("count-zero", "Geneva, DNS qdcount", "no question counted", once(by_name(counts=(0, 0, 0, 0))), READINGS),
    ("count-more", "Geneva, DNS qdcount", "two questions counted, one there", once(by_name(counts=(2, 0, 0, 0))),
     READINGS),
    ("answer-inside", "Geneva, DNS ancount", "an answer for another name inside the query", once(answer_section),
     READINGS),
    ("bytes-behind", "Geneva, corrupt", "bytes behind the message", once(by_name(rest=b"xxxxxxx")), READINGS),
    ("null-label", "Geneva, corrupt", "a null byte in a label",
     once(lambda host: query(b"\x05a\0b.c" + wire_name(host))), ""),
    ("dot-label", "parser confusion", "a label that holds dots",
     once(lambda host: query(bytes([len(host)]) + host.encode() + b"\0")), READINGS),
    ("long", "RFC 1035", "a name of 250 bytes below it", once(lambda host: query(wire_name("a." * 115 + host))), ""),
    ("root-junk", "RFC 1035", "the root, and the name as junk behind it",
     Datagrams((Datagram(lambda host: query(b"\0")), Datagram(dns_query))), ""),
    ("decoy-ttl", "zapret, DNS fakes", "behind a decoy that dies at the router", after(dns_query, ttl=1), ""),
    ("decoy-checksum", "Geneva, tamper checksum", "behind a decoy with a wrong checksum",
     after(dns_query, checksum="wrong"), ""),
    ("decoy-answered", "zapret, DNS fakes", "behind an allowed query of the same port and ID", after(dns_query), ""),
    ("no-checksum", "Geneva, tamper checksum", "no UDP checksum", once(dns_query, checksum="none"), ""),
    ("udp-length", "Geneva, tamper ulen", "three bytes behind what UDP says is its length",
     once(lambda host: dns_query(host) + b"xxx", length=-3), "UDP and IP disagree about the length"),
    ("udp-length-zero", "RFC 2675", "a UDP length of 0",
     once(lambda host: dns_query(host), length=-8 - len(dns_query(COVER))), "a length that is not true"),
    ("fragments", "zapret ipfrag on DNS", "in two fragments", once(dns_query, pieces=(Piece(0, 24), Piece(24))),
     "a first fragment of less than 40 bytes is refused as tiny"),
    ("fragments-long", "zapret ipfrag on DNS", "a padded query in two fragments",
     once(by_name(counts=(1, 0, 0, 1), rest=OPT + (104).to_bytes(2) + b"\0\x0c\0\x64" + bytes(100)),
     pieces=(Piece(0, 48), Piece(48))), ""),
    ("fragments-turned", "fragroute ip_frag on DNS", "the same, the last first",
     once(by_name(counts=(1, 0, 0, 1), rest=OPT + (104).to_bytes(2) + b"\0\x0c\0\x64" + bytes(100)),
     pieces=(Piece(48), Piece(0, 48))), ""),
    ("burst", "stubs", "thirty times at once", once(dns_query, times=30), ""),
    ("junk-first", "zapret, DNS fakes", "junk to the same port before",
     Datagrams((Datagram(lambda host: b"\xff" * 30), Datagram(dns_query))), ""),
    ("hop-by-hop", "zapret hopbyhop on DNS", "behind a hop-by-hop header",
     once(dns_query, extensions=((0, b"\0\1\4\0\0\0\0"),)), ""),
    ("late", "SymTCP, flow timeout", "an allowed query, and 1.5 s later the real one from the same port",
     Datagrams((Datagram(lambda host: dns_query(COVER)), Wait(1.5), Datagram(dns_query))), ""),
)  # fmt: skip


def framed(*messages: bytes) -> bytes:
    return b"".join(len(message).to_bytes(2) + message for message in messages)


def swallowing(host: str) -> bytes:
    """A message whose length takes the next one in."""
    first, second = dns_query(COVER), framed(dns_query(host))
    return (len(first) + len(second)).to_bytes(2) + first + second


ONE: Stream = lambda host: framed(dns_query(host))  # noqa: E731
COVER_BYTES = len(framed(dns_query(COVER)))
STREAMS: tuple[tuple[str, str, str, Stream, tuple[Step, ...], str], ...] = (
    ("whole", "RFC 7766", "a query over TCP", ONE, (Segment(),), ""),
    ("length-apart", "GoodbyeDPI on DNS; INTANG", "the length in a segment of its own", ONE,
     (Segment(0, 2), Segment(2)), ""),
    ("length-cut", "INTANG, DNS over TCP", "the length cut in two", ONE, (Segment(0, 1), Segment(1)), ""),
    ("in-name", "INTANG, DNS over TCP", "cut in the name", ONE, (Segment(0, 17), Segment(17)), ""),
    ("bytes", "fragroute tcp_seg 1", "byte by byte", ONE, (*(Segment(n, n + 1) for n in range(33)), Segment(33)), ""),
    ("disorder", "zapret multidisorder", "the second half first", ONE, (Segment(17), Segment(0, 17)), ""),
    ("slow", "SymTCP, timeouts", "the second half 0.5 s later", ONE, (Segment(0, 17), Wait(0.5), Segment(17)), ""),
    ("decoy", "zapret fake", "behind a decoy that dies at the router", ONE,
     (Segment(0, "end", fill=framed(dns_query(COVER)), ttl=1), Segment()), ""),
    ("second", "RFC 7766, pipelining", "the second query in the stream, at once",
     lambda host: framed(dns_query(COVER), dns_query(host)), (Segment(),), ""),
    ("second-later", "RFC 7766", "the second query, when the first is answered",
     lambda host: framed(dns_query(COVER), dns_query(host)),
     (Segment(0, COVER_BYTES), AwaitAnswer(), Segment(COVER_BYTES)), ""),
    ("second-cut", "INTANG, DNS over TCP", "a segment with the first query and half of the second",
     lambda host: framed(dns_query(COVER), dns_query(host)),
     (Segment(0, COVER_BYTES + 17), AwaitAck(COVER_BYTES + 17), Segment(COVER_BYTES + 17)), ""),
    ("third", "RFC 7766, pipelining", "the third query in a segment, between others",
     lambda host: framed(dns_query(COVER), dns_query(COVER), dns_query(host), dns_query(COVER)), (Segment(),), ""),
    ("edns", "RFC 7828", "with EDNS and a keep-alive option",
     lambda host: framed(query(wire_name(host), counts=(1, 0, 0, 1), rest=OPT + b"\0\4\0\x0b\0\0")), (Segment(),), ""),
    ("half-closed", "RFC 7766", "FIN behind it, before the answer", ONE,
     (Segment(), Segment("end", "end", flags="FA")), ""),
    ("between-reset", "INTANG, teardown", "a reset that dies at the router behind the length", ONE,
     (Segment(0, 2), Segment(2, 2, flags="RA", ttl=1), Segment(2)), ""),
    ("length-more", "Geneva, corrupt", "a length that is longer than the message, the next one inside",
     swallowing, (Segment(),), READINGS),
    ("length-zero", "Geneva, corrupt", "a message of length 0 before it",
     lambda host: b"\0\0" + framed(dns_query(host)), (Segment(),), READINGS),
    ("fin", "INTANG, FIN", "FIN with the last byte", ONE, (Segment(0, 17), Segment(17, flags="FPA")), ""),
)  # fmt: skip
ONLY = {"no-checksum": ("IPv4", "VLAN"), "hop-by-hop": ("IPv6",)}
STRATEGIES = [
    *(
        Strategy(
            f"dns.{name}",
            "dns",
            source,
            what,
            play,
            over=("dns",),
            ambiguous=doubt,
            nets=ONLY.get(name, ("IPv4", "IPv6", "VLAN")),
        )
        for name, source, what, play, doubt in FOUND
    ),
    *(
        Strategy(f"dns-tcp.{name}", "dns-tcp", source, what, Tcp(steps, made), over=("dns-tcp",), ambiguous=doubt)
        for name, source, what, made, steps, doubt in STREAMS
    ),
]

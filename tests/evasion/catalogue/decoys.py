"""Segments that say something else and that the server discards or never sees: the fakes of zapret, GoodbyeDPI and byedpi.

First how a decoy is lost (one way each, all with the allowed request in it), then what it holds, then where it stands.
"""

from tests.evasion.catalogue.segments import TWO, pieces
from tests.evasion.recipe import AwaitAck, Piece, Segment, Step, Strategy, Syn, Tcp, Wait
from tests.hellos import plain_hello, record
from tests.vocabulary import MSS

MD5 = bytes([19, 18]) + bytes(range(16)) + b"\1\1"
FAR = 1 << 30
FOUR, SIX = ("IPv4", "VLAN"), ("IPv6",)
HTTP_FAKE = b"GET / HTTP/1.1\r\nHost: www.example.net\r\n\r\n"
TLS_FAKE = record(plain_hello(b"www.example.net"))


def lost(**how: object) -> Segment:
    """The allowed request, discarded on its way or by the server."""
    return Segment(fill="cover", **how)  # type: ignore[arg-type]


WAYS: tuple[tuple[str, str, str, Segment, str, tuple[str, ...]], ...] = (
    ("ttl", "GoodbyeDPI --set-ttl; zapret ttl", "it dies at the router", lost(ttl=1), "", ()),
    ("checksum", "GoodbyeDPI --wrong-chksum; zapret badsum", "wrong TCP checksum", lost(checksum="wrong"), "", ()),
    ("checksum-zero", "Geneva, tamper checksum", "TCP checksum 0", lost(checksum="zero"), "", ()),
    ("checksum-bare", "Geneva, tamper checksum",
     "the pseudo-header's sum alone as TCP checksum, as a sender's offload leaves it",
     lost(checksum="bare"),
     "the box cannot tell it from a sender's offload, completes it, and so it is delivered (a known defect)", ()),
    ("other-station", "Ptacek and Newsham, link layer", "a frame for another station than the router",
     lost(station=b"\2\0\0\0\xde\xad"), "behind the box there may be a network where that station is", ()),
    ("md5", "zapret md5sig; byedpi --md5sig", "MD5 signature option", lost(options=MD5), "", ()),
    ("old-stamp", "zapret ts", "a timestamp from before the connection", lost(stamp=-600_000), "", ()),
    ("no-ack-flag", "zapret datanoack", "no ACK flag", lost(flags="P"), "", ()),
    ("no-flags", "Geneva, tamper flags to nothing", "no flag at all", lost(flags=""), "", ()),
    ("seq-old", "GoodbyeDPI --wrong-seq; zapret badseq", "a number 10,000 before the window", lost(seq=-10_000), "",
     ()),
    ("seq-far", "zapret badseq", "a number far beyond the window", lost(seq=FAR), "", ()),
    ("ack-ahead", "zapret badseq, ack increment", "it acknowledges what the server never sent", lost(ack=100_000), "",
     ()),
    ("ack-old", "GoodbyeDPI --wrong-seq", "an acknowledgement 66,000 before the window", lost(ack=-66_000 - (1 << 20)),
     "", ()),
    ("seq-and-ack", "GoodbyeDPI --wrong-seq", "both numbers in the past", lost(seq=-10_000, ack=-66_000 - (1 << 20)),
     "", ()),
    ("syn-flag", "Geneva, tamper flags to SYN", "SYN, with data", lost(flags="S"), "", ()),
    ("syn-ack-flag", "Geneva, tamper flags to SYN-ACK", "SYN and ACK, with data", lost(flags="SA"), "", ()),
    ("header-long", "Geneva, tamper dataofs", "a data offset beyond its end", lost(header_words=15, end=4), "", ()),
    ("header-short", "Geneva, tamper dataofs", "a data offset of 4 words", lost(header_words=4), "", ()),
    ("ip-checksum", "Ptacek and Newsham, IP checksum", "wrong IPv4 header checksum", lost(ip=(("checksum", 1),)), "",
     ("IPv4", "VLAN")),
    ("ip-version", "Ptacek and Newsham, IP version", "IP version 5", lost(ip=(("version", 5),)), "", ("IPv4", "VLAN")),
    ("ip-length", "Ptacek and Newsham, IP length", "IP says more than came", lost(ip=(("length", 400),)), "", ()),
    ("ip-length-less", "Geneva, tamper IP len", "IP says less than came", lost(ip=(("length", -9),)), "", ()),
    ("ip-words", "Ptacek and Newsham, IP header length", "an IPv4 header of 4 words", lost(ip=(("words", 4),)), "",
     ("IPv4", "VLAN")),
    ("protocol", "SymTCP, other protocol", "protocol 255 in the IP header", lost(ip=(("protocol", 255),)), "", ()),
    ("ip-option-bad", "fragroute ip_opt", "an IPv4 option that is longer than the header",
     lost(ip_options=b"\7\x20\4\0"), "", FOUR),
    ("ip-option-strict", "fragroute ip_opt ssrr", "a strict source route that leads nowhere",
     lost(ip_options=bytes([137, 7, 4, 203, 0, 113, 99, 0])), "", FOUR),
    ("hop-discard", "RFC 8200 4.2", "an unknown hop-by-hop option that says to discard",
     lost(extensions=((0, b"\0\x7e\4\0\0\0\0"),)), "", SIX),
    ("destination-discard", "RFC 8200 4.2; zapret destopt", "an unknown destination option that says to discard",
     lost(extensions=((60, b"\0\x7e\4\0\0\0\0"),)), "", SIX),
    ("destination-report", "RFC 8200 4.2", "an unknown destination option that says to discard and report",
     lost(extensions=((60, b"\0\xbe\4\0\0\0\0"),)), "", SIX),
    ("option-overlong", "RFC 8200 4.2", "a destination option longer than its header",
     lost(extensions=((60, b"\0\1\x40\0\0\0\0"),)), "", SIX),
    ("routing-left", "RFC 5095", "a routing header of type 0 with a segment left",
     lost(extensions=((43, b"\0\0\1\0\0\0\0"),)), "", SIX),
    ("routing-unknown", "RFC 8200 4.4", "a routing header of an unknown type with a segment left",
     lost(extensions=((43, b"\0\x63\1\0\0\0\0"),)), "", SIX),
    ("no-next-header", "RFC 8200 4.7", "no next header, the segment behind it", lost(ip=(("protocol", 59),)), "", SIX),
    ("hop-option", "zapret hopbyhop2", "two hop-by-hop headers",
     lost(extensions=((0, b"\0\1\4\0\0\0\0"), (0, b"\0\1\4\0\0\0\0"))), "", ("IPv6",)),
    ("ip-option", "fragroute ip_opt", "a source route that leads nowhere",
     lost(ip_options=bytes([137, 7, 4, 192, 0, 2, 9, 0])), "", ("IPv4",)),
)  # fmt: skip

CONTENTS: tuple[tuple[str, str, str, bytes | str], ...] = (
    ("zeros", "zapret fake 0x00", "zeros", "zeros"),
    ("noise", "byedpi --fake-data", "noise", "noise"),
    ("http", "zapret fake-http", "another site's request", HTTP_FAKE),
    ("hello", "zapret fake-tls", "another site's hello", TLS_FAKE),
    (
        "garbage-records",
        "zapret fake-tls mod rnd",
        "a hello whose length promises more",
        TLS_FAKE[:3] + b"\x3f\xff" + TLS_FAKE[5:],
    ),
    ("application-data", "INTANG, decoy payload", "records of TLS application data", b"\x17\3\3\0\x20" + bytes(32)),
    ("ssh", "SymTCP, protocol confusion", "a protocol that nobody reads", b"SSH-2.0-OpenSSH_9.2\r\n"),
    ("response", "Geneva, tamper load", "a server's response", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ("one-byte", "byedpi, one byte of fake", "one byte", b"x"),
    ("bulk", "GoodbyeDPI, long fakes", "1,300 bytes", b"A" * 1300),
)


def _ways() -> list[Strategy]:
    found = []
    for name, source, what, decoy, doubt, nets in WAYS:
        found.append(Strategy(
            f"decoy.{name}", "decoy", source, f"a decoy before the request: {what}", Tcp((decoy, Segment())),
            ambiguous=doubt,
            nets=nets or ("IPv4", "IPv6", "VLAN"),
        ))  # fmt: skip
    return found


def _contents() -> list[Strategy]:
    return [
        Strategy(
            f"decoy.of-{name}",
            "decoy",
            source,
            f"a decoy that dies at the router: {what}",
            Tcp((Segment(fill=fill, ttl=1), Segment())),
        )
        for name, source, what, fill in CONTENTS
    ]


FIRST, LAST = pieces("mid")
NAME = ("host", "tail")
NEAR = "the hops of one path differ by up to three in honest traffic, so the decoy may be the one that is delivered"
PLACES: tuple[tuple[str, str, str, tuple[Step, ...], str], ...] = (
    ("twice", "zapret repeats", "six decoys, then the request", (Segment(fill="cover", ttl=1, times=6), Segment()), ""),
    ("mixed", "GoodbyeDPI -6", "three decoys, lost in three ways",
     (lost(ttl=1), lost(checksum="wrong"), lost(seq=-10_000), Segment()), ""),
    ("behind", "Geneva, duplicate", "a decoy behind the request", (Segment(), lost(ttl=1)), ""),
    ("between", "zapret fakedsplit", "a decoy of each half before and behind it",
     (Segment(0, "mid", fill="cover", ttl=1), FIRST, Segment(0, "mid", fill="cover", ttl=1),
      Segment("mid", fill="cover", ttl=1), LAST, Segment("mid", fill="cover", ttl=1)), ""),
    ("between-turned", "zapret fakeddisorder", "the same, the second half first",
     (Segment("mid", fill="cover", ttl=1), LAST, Segment("mid", fill="cover", ttl=1),
      Segment(0, "mid", fill="cover", ttl=1), FIRST, Segment(0, "mid", fill="cover", ttl=1)), ""),
    ("between-md5", "zapret fakedsplit, md5sig", "the same decoys in order, lost by an MD5 option",
     (Segment(0, "mid", fill="cover", options=MD5), FIRST, Segment("mid", fill="cover", options=MD5), LAST), ""),
    ("between-stamp", "zapret fakeddisorder, ts", "the second half first, decoys lost by old timestamps",
     (Segment("mid", fill="cover", stamp=-600_000), LAST, Segment(0, "mid", fill="cover", stamp=-600_000), FIRST), ""),
    ("name", "zapret hostfakesplit", "a decoy of the name alone before and behind it",
     (Segment(0, "host"), Segment(*NAME, fill="cover", ttl=1), Segment(*NAME), Segment(*NAME, fill="cover", ttl=1),
      Segment("tail")), ""),
    ("name-sum", "zapret hostfakesplit, badsum", "the same, with wrong checksums",
     (Segment(0, "host"), Segment(*NAME, fill="cover", checksum="wrong"), Segment(*NAME), Segment("tail")), ""),
    ("first-byte", "byedpi --fake 1", "a decoy of the first byte", (Segment(0, 1, fill=b"\0", ttl=1), *pieces(1)), ""),
    ("waits", "zapret, delayed request", "a decoy, and 0.3 s later the request", (lost(ttl=1), Wait(0.3), Segment()),
     ""),
    ("second-half", "byedpi --fake -1", "a decoy of the second half between the halves",
     (FIRST, Segment("mid", fill="cover", ttl=1), LAST), ""),
    ("acknowledged-half", "INTANG, decoy behind the ACK", "the first half is acknowledged, then a decoy, then the rest",
     (FIRST, AwaitAck("mid"), Segment("mid", fill="cover", checksum="wrong"), LAST), ""),
    ("longer", "byedpi, long fake", "a decoy longer than the request, with a whole second request in it",
     (Segment(fill=HTTP_FAKE * 20, ttl=1), Segment()), ""),
    ("fin", "INTANG, FIN decoy", "a decoy with FIN that dies at the router", (lost(ttl=1, flags="FPA"), Segment()), ""),
    ("rst-data", "SymTCP, RST with data", "a decoy with RST that dies at the router",
     (lost(ttl=1, flags="RPA"), Segment()), ""),
    ("urgent", "SymTCP, urgent decoy", "a decoy with an urgent pointer and a wrong checksum",
     (lost(checksum="wrong", flags="UPA", urgent=9), Segment()), ""),
    ("own-twin", "zapret fake with the real name", "a decoy of the request itself, dying at the router",
     (Segment(ttl=1), Wait(0.02), Segment()), ""),
    ("fragments", "zapret ipfrag with fakes", "a decoy in two fragments that die at the router",
     (Segment(fill="cover", ttl=1, pieces=(Piece(0, 48), Piece(48))), Segment()), ""),
    ("near-ttl", "zapret autottl",
     "all of the connection reaches the server with a TTL of 1, the decoy dies one hop before",
     (Syn(ttl=2), Segment(0, 0, flags="A", ttl=2), lost(ttl=1), Segment(ttl=2), Wait(0.1), Segment(ttl=2)), NEAR),
    ("stale-stamp", "SymTCP, PAWS; zapret ts",
     "a decoy whose timestamp is newer than the handshake's and older than the last that the server took",
     (Segment(0, "mid", stamp=5_000), AwaitAck("mid"), Segment("mid", fill="cover", stamp=100),
      Segment("mid", stamp=6_000),
      Wait(0.1), Segment("mid", stamp=7_000)), ""),
    ("lost-syn-ttl", "SymTCP, SYN decoy",
     "a SYN that dies at the router, the handshake, and a decoy with the lost SYN's TTL",
     (Syn(ttl=1, wait=False), Syn(), Segment(0, 0, flags="A"), lost(ttl=1), Segment()), ""),
    ("lost-syn-stamp", "SymTCP, SYN decoy",
     "a SYN that dies with an old timestamp, the handshake, and a decoy with that timestamp",
     (Syn(ttl=1, wait=False, stamp=-900_000), Syn(), Segment(0, 0, flags="A"), lost(stamp=-600_000), Segment()), ""),
    ("lost-syn-md5", "SymTCP, SYN decoy",
     "a SYN with an MD5 option, which the server drops, the handshake, and a decoy with the option",
     (Syn(options=MSS + MD5, wait=False), Wait(0.05), Syn(), Segment(0, 0, flags="A"), lost(options=MD5), Segment()),
      ""),
    ("delivered", "zapret, TTL too high", "another site's request arrives in its place, then the request",
     (Segment(0, 0, fill=HTTP_FAKE), Segment()), TWO),
    ("delivered-sums", "zapret, TTL too high", "a decoy of half the request that arrives, in two versions",
     (Segment(0, "mid", fill="zeros"), Segment()), TWO),
)  # fmt: skip
STRATEGIES = [
    *_ways(),
    *_contents(),
    *(
        Strategy(f"decoy.at-{name}", "decoy", source, what, Tcp(steps), ambiguous=doubt)
        for name, source, what, steps, doubt in PLACES
    ),
]

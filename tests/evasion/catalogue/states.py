"""What tells a reader that a connection is over, or begins, or is another one, while the server thinks otherwise.

INTANG's and SymTCP's desynchronisation, Geneva's state attacks, and handshakes that are not the usual three segments.
"""

from tests.evasion.catalogue.decoys import MD5
from tests.evasion.catalogue.segments import pieces
from tests.evasion.places import MARK
from tests.evasion.recipe import AwaitAck, AwaitAnswer, Renew, Segment, Step, Strategy, Syn, Tcp, Wait
from tests.vocabulary import MPTCP_CAPABLE, MSS

FIRST, LAST = pieces("mid")
ACKED = Segment(0, 0, flags="A")
SSH = b"SSH-2.0-OpenSSH_9.2\r\n"
BAND = "a server with SO_OOBINLINE keeps the byte out of band in the name, others take it out"
REAL = Segment()


def empty(flags: str, **how: object) -> Segment:
    """A segment without data at the start of the stream."""
    return Segment(0, 0, flags=flags, **how)  # type: ignore[arg-type]


def late(flags: str, **how: object) -> Segment:
    """The same between the halves."""
    return Segment("mid", "mid", flags=flags, **how)  # type: ignore[arg-type]


TEARDOWN: tuple[tuple[str, str, str, tuple[Step, ...], str], ...] = (
    ("rst-ttl", "INTANG, teardown by RST", "a reset that dies at the router", (empty("R", ttl=1), REAL), ""),
    ("rst-ack-ttl", "INTANG, teardown by RST/ACK", "a reset with ACK that dies at the router",
     (empty("RA", ttl=1), REAL), ""),
    ("rst-checksum", "SymTCP, RST with a wrong checksum", "a reset with a wrong checksum",
     (empty("RA", checksum="wrong"), REAL), ""),
    ("rst-md5", "INTANG, RST with MD5", "a reset with an MD5 option", (empty("RA", options=MD5), REAL), ""),
    ("rst-stamp", "SymTCP, RST with an old timestamp", "a reset with an old timestamp",
     (empty("RA", stamp=-600_000), REAL), ""),
    ("rst-seq-old", "SymTCP, RST out of window", "a reset before the window", (empty("R", seq=-20_000), REAL), ""),
    ("rst-seq-next", "SymTCP, RST in the window",
     "a reset inside the window, not at its start: a challenge is the answer",
     (empty("R", seq=7), REAL), ""),
    ("rst-half", "Geneva, RST between segments", "a reset that dies at the router between the halves",
     (FIRST, late("R", ttl=1), LAST), ""),
    ("rst-ack-wrong", "SymTCP, RST/ACK with a wrong ACK",
     "between the halves a reset that acknowledges too much, lost by its checksum",
     (FIRST, late("RA", ack=90_000, checksum="wrong"), LAST), ""),
    ("rst-many", "INTANG, TCB teardown", "five resets around the start, all dying at the router",
     (*(empty("R", ttl=1, seq=n) for n in range(5)), REAL), ""),
    ("fin-ttl", "INTANG, teardown by FIN", "a FIN that dies at the router", (empty("FA", ttl=1), REAL), ""),
    ("fin-checksum", "SymTCP, FIN with a wrong checksum", "a FIN with a wrong checksum",
     (empty("FA", checksum="wrong"), REAL), ""),
    ("fin-no-ack", "SymTCP, FIN without ACK", "a FIN without ACK", (empty("F"), REAL), ""),
    ("fin-half", "Geneva, FIN between segments", "a FIN that dies at the router between the halves",
     (FIRST, late("FA", ttl=1), LAST), ""),
    ("fin-seq-far", "SymTCP, FIN out of window", "a FIN far beyond the window", (empty("FA", seq=1 << 29), REAL), ""),
    ("fin-rst", "Geneva, FRAPUN flags", "every flag there is, dying at the router", (empty("FRAPU", ttl=1), REAL), ""),
    ("fin-delivered", "SymTCP, data behind FIN",
     "a FIN in place of the request's first byte that arrives, then the request",
     (empty("FA"), REAL), "a FIN at the start and data at the same number are two versions of one place"),
    ("rst-delivered", "INTANG, TCB reuse", "a reset that arrives, then the request on the dead connection",
     (empty("R"), REAL), ""),
)  # fmt: skip
OPENINGS: tuple[tuple[str, str, str, tuple[Step, ...], str], ...] = (
    ("second-syn-ttl", "INTANG, TCB creation", "after the handshake a SYN with another number, dying at the router",
     (Syn(), ACKED, Syn(seq=50_000, wait=False, ttl=1), REAL), ""),
    ("second-syn", "INTANG, TCB creation",
     "after the handshake a SYN with another number, that arrives: a challenge is the answer",
     (Syn(), ACKED, Syn(seq=50_000, wait=False), REAL), ""),
    ("early-syn-ttl", "INTANG, TCB creation before",
     "before the handshake a SYN with another number, dying at the router",
     (Syn(seq=50_000, wait=False, ttl=1), Syn(), ACKED, REAL), ""),
    ("early-syn-checksum", "SymTCP, SYN with a wrong checksum", "the same, lost by its checksum",
     (Syn(seq=50_000, wait=False, checksum="wrong"), Syn(), ACKED, REAL), ""),
    ("syn-ack-first", "Geneva, turned roles; zapret synack", "the client sends a SYN-ACK before its SYN",
     (Syn(flags="SA", ack=99, wait=False), Syn(), ACKED, REAL), ""),
    ("syn-ack-ttl", "zapret synack", "the same, dying at the router",
     (Syn(flags="SA", ack=99, ttl=1, wait=False), Syn(), ACKED, REAL), ""),
    ("syn-ack-after", "SymTCP, SYN-ACK of the client", "a SYN-ACK of the client behind the handshake",
     (Syn(), ACKED, empty("SA", ttl=1), REAL), ""),
    ("syn-ack-instead", "zapret synack-split", "a SYN-ACK in place of the last ACK of the handshake, then that",
     (Syn(), empty("SA", seq=-1), ACKED, REAL), ""),
    ("syn-data-ttl", "zapret syndata", "a SYN with the allowed request in it, dying at the router",
     (Syn(fill=b"GET / HTTP/1.1\r\nHost: www.example.net\r\n\r\n", ttl=1, wait=False), Syn(), ACKED, REAL), ""),
    ("syn-data", "zapret syndata; Geneva", "a SYN with other data, which a server without Fast Open drops",
     (Syn(fill=bytes(16), wait=False), Wait(0.05), Syn(), ACKED, REAL), ""),
    ("syn-fin", "Ptacek and Newsham, SYN/FIN", "a SYN with FIN before the handshake",
     (Syn(flags="SF", wait=False), Syn(), ACKED, REAL), ""),
    ("syn-rst", "Geneva, SYN/RST", "a SYN with RST before the handshake",
     (Syn(flags="SR", wait=False), Syn(), ACKED, REAL), ""),
    ("syn-ecn", "Geneva, SYN with odd flags", "a SYN with ECE and CWR", (Syn(flags="SEC"), ACKED, REAL), ""),
    ("rst-before", "INTANG, RST before the handshake", "a reset before the SYN", (empty("R"), Syn(), ACKED, REAL), ""),
    ("rst-in-handshake", "SymTCP, RST in SYN_RECV", "between SYN-ACK and ACK a reset that dies at the router",
     (Syn(), empty("R", ttl=1), ACKED, REAL), ""),
    ("no-third", "Geneva, drop of the ACK", "no ACK of its own: the first data completes the handshake", (Syn(), REAL),
     ""),
    ("no-third-halves", "SymTCP, data in SYN_RECV", "the same, the second half first", (Syn(), LAST, FIRST), ""),
    ("third-data", "RFC 9293", "the handshake's ACK carries the first half", (Syn(), FIRST, LAST), ""),
    ("wrong-third", "SymTCP, ACK in SYN_RECV",
     "an ACK of a wrong number first: the server answers with a reset and waits on",
     (Syn(), empty("A", ack=5_000), ACKED, REAL), ""),
    ("fin-third", "SymTCP, FIN in SYN_RECV", "a FIN without ACK in place of the handshake's ACK",
     (Syn(), empty("F"), ACKED, REAL), ""),
    ("two-syns", "SymTCP, SYN repeated with another number",
     "two SYNs with different numbers at once; the first handshake is completed",
     (Syn(wait=False), Syn(seq=1_000_000, wait=False), Wait(0.1), ACKED, REAL), ""),
    ("two-syns-below", "SymTCP, SYN repeated with another number", "the same, the other number being lower",
     (Syn(wait=False), Syn(seq=-1_000, wait=False), Wait(0.1), ACKED, REAL), ""),
    ("reuse-after-free", "SymTCP, reuse of ports",
     "a protocol that nobody reads, a reset, and a new connection of the same ports",
     (Syn(), ACKED, Segment(0, 0, fill=SSH), AwaitAnswer(), Segment(0, 0, flags="RA", seq=len(SSH)), Wait(0.1),
      Renew(), Syn(), ACKED, REAL), ""),
    ("reuse-below", "SymTCP, reuse of ports", "the same, with a first number below the first connection's",
     (Syn(), ACKED, Segment(0, 0, fill=SSH), AwaitAnswer(), Segment(0, 0, flags="RA", seq=len(SSH)), Wait(0.1),
      Renew(-5), Syn(), ACKED, REAL), ""),
    ("two-handshakes", "INTANG, TCB reuse", "a handshake that is reset, then another of the same ports",
     (Syn(), ACKED, empty("RA"), Wait(0.05), Renew(), Syn(), ACKED, REAL), ""),
    ("reuse-after-request", "SymTCP, reuse of ports", "half a request, a reset, and a new connection of the same ports",
     (Syn(), ACKED, FIRST, AwaitAck("mid"), late("RA"), Wait(0.1), Renew(), Syn(), ACKED, REAL), ""),
    ("no-stamps", "SymTCP, options", "no timestamps at all", (Syn(options=MSS), ACKED, REAL), ""),
    ("stamp-alone-later", "Geneva, options", "no timestamps in the handshake, an old one in a decoy",
     (Syn(options=MSS), ACKED, Segment(fill="cover", ttl=1, options=b"\1\1\x08\x0a" + bytes(8)), REAL), ""),
    ("small-window", "byedpi, small window; GoodbyeDPI", "a window of 40 bytes in the handshake and after",
     (Syn(window=40), Segment(0, 0, flags="A", window=40), Segment(window=40)), ""),
    ("odd-scale", "Geneva, tamper wscale", "a window scale of 255", (Syn(options=MSS + b"\1\3\3\xff"), ACKED, REAL),
     ""),
    ("odd-options", "Geneva, tamper uto and altchksum", "options that nobody uses in the SYN",
     (Syn(options=MSS + b"\x1c\4\x80\5" + b"\x0e\3\1\1"), ACKED, REAL), ""),
    ("multipath", "RFC 8684", "MPTCP offered in the SYN", (Syn(options=MSS + MPTCP_CAPABLE), ACKED, REAL), ""),
    ("md5-syn", "SymTCP, MD5 from the start", "an MD5 option in the SYN", (Syn(options=MSS + MD5), ACKED, REAL), ""),
    ("fast-open", "RFC 7413", "a SYN with a Fast Open cookie and the whole request",
     (Syn(options=MSS + bytes([34, 10]) + bytes(8) + b"\1\1", fill="cover"), ACKED, REAL), ""),
    ("keep-alive-byte", "SymTCP, keep-alive", "a keep-alive probe with a byte of junk, then the request",
     (Syn(), ACKED, Segment(0, 0, fill=b"\x16", seq=-1), REAL), ""),
    ("mss-tiny", "fragroute; GoodbyeDPI --native-frag", "an MSS of 48", (Syn(options=b"\2\4\0\x30"), ACKED, REAL), ""),
)  # fmt: skip
ODDITIES: tuple[tuple[str, str, str, tuple[Step, ...], str], ...] = (
    ("oob", "byedpi --oob", "a byte out of band in the name",
     (Segment(0, "mark"), Segment("mark", "mark+1", flags="UPA", urgent=1), Segment("mark+1")), BAND),
    ("oob-joined", "byedpi --oob", "the same, at the end of the first half's segment",
     (Segment(0, "mark+1", flags="UPA", urgent="mark+1"), Segment("mark+1")), BAND),
    ("oob-ahead", "byedpi --disoob", "the same, the second half first",
     (Segment("mark+1"), Segment(0, "mark+1", flags="UPA", urgent="mark+1")), BAND),
    ("oob-empty", "SymTCP, URG without data",
     "an empty segment makes a byte of the name urgent, then the request without the flag",
     (Segment(0, 0, flags="UA", urgent="mark+1"), Segment()), BAND),
    ("oob-behind", "SymTCP, URG without data", "half of the request, then the same empty segment, and the rest",
     (Segment(0, "mark"), Segment("mark", "mark", flags="UA", urgent=1), Segment("mark")), BAND),
    ("urgent-zero", "SymTCP, URG", "URG with a pointer of 0 on the whole", (Segment(flags="UPA", urgent=0),), ""),
    ("urgent-far", "SymTCP, URG", "URG with a pointer past the end", (Segment(flags="UPA", urgent=60_000),), ""),
    ("reserved", "Geneva, tamper reserved", "reserved bits of the TCP header set", (Segment(reserved=0xE),), ""),
    ("ecn", "Geneva, tamper flags", "ECE and CWR on the request", (Segment(flags="PAEC"),), ""),
    ("flood-of-acks", "SymTCP, window probes", "twenty empty ACKs, then the request",
     (Segment(0, 0, flags="A", times=20), REAL), ""),
    ("window-zero", "SymTCP, zero window", "the client's window is 0 while it asks",
     (Segment(0, "mid", window=0), Segment("mid", window=0)), ""),
    ("options-full", "Geneva, options", "28 bytes of NOP on the request", (Segment(options=b"\1" * 28),), ""),
    ("option-unknown", "Geneva, options", "an option without a meaning on the request",
     (Segment(options=b"\xfd\6abcd\1\1"),), ""),
    ("option-bad-length", "SymTCP, malformed options", "an option of length 0 on the request",
     (Segment(options=b"\x63\0\1\1"),), ""),
    ("no-stamp-later", "SymTCP, no timestamp", "the request without the timestamps that were agreed",
     (Segment(stamp=None),), ""),
    ("stamp-future", "SymTCP, timestamps", "a timestamp of an hour ahead",
     (Segment(stamp=3_600_000),), ""),
    ("ack-old-real", "SymTCP, ACK below the window", "the request acknowledges less than before", (Segment(ack=-20),),
     ""),
    ("push-each", "Geneva, flags", "PSH on every byte of the name",
     tuple(pieces(*(f"host+{n}" for n in range(0, 17, 2)))), ""),
    ("second-request-late", "INTANG, beyond the first packets", "half a request, an answer's time, and the rest",
     (FIRST, AwaitAnswer(), LAST), ""),
    ("other-port", "Geneva, tamper dport", "the first half also to another port, where nobody listens",
     (Segment(0, "mid", fill="cover", port=1), FIRST, LAST), ""),
)  # fmt: skip


def put_mark(flight: bytes) -> bytes:
    """A byte put into the name, which goes out of band."""
    at = flight.index(b".test")
    return flight[:at] + MARK[:1] + flight[at:]


STRATEGIES = [
    Strategy(
        f"{family}.{name}",
        family,
        source,
        what,
        Tcp(steps, change=put_mark if doubt == BAND else None),
        ambiguous=doubt,
    )
    for family, table in (("teardown", TEARDOWN), ("handshake", OPENINGS), ("segment", ODDITIES))
    for name, source, what, steps, doubt in table
]

"""TCP options and timestamps: what one stack discards for them and another takes, and what a handshake leaves open."""

from tests.evasion.catalogue.decoys import MD5, lost
from tests.evasion.catalogue.segments import pieces
from tests.evasion.recipe import AwaitAck, Segment, Step, Strategy, Syn, Tcp, Wait
from tests.vocabulary import MSS, NOP, timestamps

FIRST, LAST = pieces("mid")
ACKED = Segment(0, 0, flags="A")
REAL = Segment()
PREDICTED = "Linux takes it where its header prediction holds, and discards it elsewhere"
UNSAID = "which of the timestamps the server took it has not said yet"
SACK_OLD = NOP + NOP + bytes([5, 10]) + (1).to_bytes(4) + (9).to_bytes(4)
HALF_TURN = 1 << 31

FOUND: tuple[tuple[str, str, str, tuple[Step, ...], str], ...] = (
    ("md5-twice-decoy", "zapret md5sig, twice", "a decoy with two MD5 options, no timestamps",
     (Syn(options=MSS), ACKED, lost(options=MD5 + MD5[:16] + b"\1\1\1\1"), REAL), ""),
    ("md5-hidden-decoy", "zapret md5sig", "a decoy with an MD5 option behind an option that nobody knows",
     (lost(options=b"\xfd\4ab" + MD5), REAL), ""),
    ("md5-behind-end", "zapret md5sig, Ptacek and Newsham", "the request, with an MD5 option behind the end of options",
     (Segment(options=b"\0\1\1\1" + MD5),), ""),
    ("md5-short", "SymTCP, malformed options", "the request with an MD5 option that is too short",
     (Segment(options=bytes([19, 6]) + b"abcd\1\1"),), ""),
    ("sack-old", "RFC 2018", "the request selectively acknowledges what nobody sent", (Segment(options=SACK_OLD),), ""),
    ("sack-games", "SymTCP, SACK", "the second half first, a selective acknowledgement between, then the first",
     (LAST, Segment(0, 0, flags="A", options=SACK_OLD), FIRST), ""),
    ("sack-hole", "SymTCP, SACK and renege", "the tail, the middle and the head, repeated until the hole is filled",
     (Segment("tail"), Segment("mid", "tail"), Segment("tail"), Segment("mid", "tail"), Segment(0, "mid")), ""),
    ("stamp-zero", "RFC 7323 5.3", "a timestamp of 0 in the SYN",
     (Syn(options=MSS + timestamps(0, 0)), ACKED, FIRST, LAST), ""),
    ("stamp-zero-decoy", "RFC 7323 5.3", "a timestamp of 0 in the SYN, then a decoy with one that is older than the ACK's",
     (Syn(options=MSS + timestamps(0, 0)), ACKED, lost(stamp=-600_000), REAL), UNSAID),
    ("stamp-wraps", "RFC 7323 5.2", "timestamps that run half around between the halves of the request, and on",
     (Segment(0, 4, stamp=HALF_TURN - 5_000), AwaitAck(4), Segment(4, "mid", stamp=HALF_TURN + 90_000),
      AwaitAck("mid"), Segment("mid", stamp=HALF_TURN + 95_000), Wait(0.05), Segment("mid", stamp=HALF_TURN + 99_000)), ""),
    ("stamp-wraps-decoy", "RFC 7323 5.2", "the same, and a decoy of the second half with the handshake's timestamp",
     (Segment(0, 4, stamp=HALF_TURN - 5_000), AwaitAck(4), Segment(4, "mid", stamp=HALF_TURN + 90_000),
      AwaitAck("mid"), Segment("mid", fill="cover", stamp=HALF_TURN), Segment("mid", stamp=HALF_TURN + 95_000),
      Wait(0.05), Segment("mid", stamp=HALF_TURN + 99_000)), ""),
    ("stamp-between", "SymTCP, PAWS",
     "a decoy whose timestamp is older than the last one, before the server says which it took",
     (Segment(0, "mid", stamp=5_000), Segment("mid", fill="cover", stamp=100), Segment("mid", stamp=6_000),
      Wait(0.1), Segment("mid", stamp=7_000)), UNSAID),
    ("stamp-between-empty", "SymTCP, PAWS", "an empty segment raises the timestamp, then a decoy that is older",
     (Segment(0, 0, flags="A", stamp=5_000), Wait(0.05), Segment(fill="cover", stamp=100), Segment(stamp=6_000),
      Wait(0.1), Segment(stamp=7_000)), UNSAID),
    ("stamp-between-name", "zapret hostfakesplit, ts", "a stale decoy of the name, when the head is acknowledged",
     (Segment(0, "host", stamp=5_000), AwaitAck("host"), Segment("host", "tail", fill="cover", stamp=100),
      Segment("host", "tail", stamp=6_000), Segment("tail", stamp=6_100), Wait(0.1), Segment("host", stamp=7_000)), ""),
    ("stamp-between-ahead", "SymTCP, PAWS and order", "a stale decoy of the tail ahead of its turn",
     (Segment(0, "host", stamp=5_000), AwaitAck("host"), Segment("tail", fill="cover", stamp=100),
      Segment("host", stamp=6_000), Wait(0.1), Segment("host", stamp=7_000)), ""),
    ("stamp-far-ahead", "SymTCP, PAWS", "a decoy outside the window with a far timestamp, then the request",
     (Segment(fill="cover", seq=-10_000, stamp=HALF_TURN - 5_000), REAL), ""),
    ("stamp-far-dies", "SymTCP, PAWS", "a decoy with a far timestamp that dies at the router, then the request",
     (Segment(fill="cover", ttl=1, stamp=HALF_TURN - 5_000), REAL), ""),
    ("urgent-end", "byedpi --oob, with FIN", "the last byte urgent, and FIN", (Segment(flags="UFPA", urgent="end"),), ""),
    ("urgent-twice", "SymTCP, URG", "the first half urgent to its end and the second to its own",
     (Segment(0, "mid", flags="UPA", urgent=60_000), Segment("mid", flags="UPA", urgent=60_000)), ""),
    ("urgent-decoy", "SymTCP, URG", "an urgent decoy that arrives before the window",
     (Segment(0, 4, fill=b"xxxx", seq=-4, flags="UPA", urgent=2), REAL), ""),
    ("reset-with-data", "SymTCP, RST with data", "a reset inside the window that carries the allowed request",
     (Segment(fill="cover", seq=3, flags="RPA"), REAL), ""),
    ("reset-challenged", "RFC 5961 3", "resets and SYNs inside the window, each challenged, between the halves",
     (FIRST, Segment("mid", "mid", flags="R", seq=9), Segment("mid", "mid", flags="S", seq=99),
      Segment("mid", "mid", flags="RA", seq=999), LAST), ""),
    ("ack-too-old", "RFC 5961 5", "the second half with an acknowledgement from before the window as a decoy",
     (FIRST, Segment("mid", fill="cover", ack=-(1 << 30)), LAST), PREDICTED),
    ("probe-each", "SymTCP, zero window probes", "a keep-alive probe with a byte of junk behind every piece",
     (Segment(0, 4), AwaitAck(4), Segment(3, 4, fill=b"x"), Segment(4, "mid"), AwaitAck("mid"),
      Segment("mid-1", "mid", fill=b"x"), LAST), ""),
    ("simultaneous", "RFC 9293 3.5", "a SYN, and the SYN-ACK of a simultaneous opening in place of the ACK, with data",
     (Syn(), Segment(0, 0, flags="SA", seq=-1), Segment(0, "mid"), LAST), ""),
    ("fin-inside-dies", "INTANG, FIN decoy", "FIN with the first half, dying at the router",
     (Segment(0, "mid", flags="FPA", ttl=1), FIRST, LAST), ""),
)  # fmt: skip
STRATEGIES = [
    Strategy(f"option.{name}", "option", source, what, Tcp(steps), ambiguous=doubt)
    for name, source, what, steps, doubt in FOUND
]

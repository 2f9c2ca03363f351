"""Where the stream is cut, and in which order, how often and over what its pieces are sent."""

from itertools import pairwise

from tests.evasion.recipe import AwaitAck, Segment, Step, Strategy, Tcp, Wait

TWO = "overlapping segments carry two versions of a byte, and both can be delivered"
LABELS = ("host", "host+4", "host+12", "tail")


def pieces(*places: int | str) -> list[Segment]:
    """Segments between these places, from the start to the end."""
    edges = [0, *places, "end"]
    return [Segment(start, end) for start, end in pairwise(edges)]


def every(step: int, count: int) -> list[Segment]:
    """Segments of `step` bytes, and the rest in one."""
    return pieces(*range(step, step * count + 1, step))


def paused(steps: list[Segment], seconds: float) -> list[Step]:
    return [step for segment in steps for step in (segment, Wait(seconds))]


def rows(family: str, *found: tuple[str, str, str, list[Step] | list[Segment], str]) -> list[Strategy]:
    return [
        Strategy(f"{family}.{name}", family, source, what, Tcp(tuple(steps)), ambiguous=doubt)
        for name, source, what, steps, doubt in found
    ]


HALVES = pieces("mid")
QUARTERS = pieces("host-6", "mid", "tail")
CUTS = rows(
    "split",
    ("first-byte", "GoodbyeDPI -e 1, byedpi --split 1", "the first byte alone", pieces(1), ""),
    ("second-byte", "GoodbyeDPI -f 2", "cut behind the second byte", pieces(2), ""),
    ("record-head", "zapret split-pos 3", "cut inside the record's length or the method", pieces(3), ""),
    ("record-body", "zapret split-pos 5", "cut where the record's body or the target begins", pieces(5), ""),
    ("before-field", "zapret split-pos host-N", "cut before the field that holds the name", pieces("host-6"), ""),
    ("before-name", "zapret split-pos host", "cut where the name begins", pieces("host"), ""),
    ("in-name", "zapret split-pos midsld", "cut in the middle of the name", HALVES, ""),
    ("name-less-one", "Geneva, segmentation", "cut before the name's last byte", pieces("tail-1"), ""),
    ("behind-name", "zapret split-pos endhost", "cut behind the name", pieces("tail"), ""),
    ("last-byte", "INTANG, small segments", "the last byte alone", pieces(-1), ""),
    ("labels", "zapret multisplit", "cut at every label of the name", pieces(*LABELS), ""),
    ("name-alone", "zapret hostfakesplit, without fakes", "the name in a segment of its own", pieces("host", "tail"),
     ""),
    ("quarters", "zapret multisplit", "four pieces around the name", QUARTERS, ""),
    ("bytes", "fragroute tcp_seg 1", "every byte of the first 120 in a segment of its own", every(1, 120), ""),
    ("words", "fragroute tcp_seg 4", "four bytes a segment", every(4, 48), ""),
    ("name-bytes", "byedpi, many --split", "the name byte by byte", pieces(*(f"host+{n}" for n in range(17))), ""),
    ("slow", "Geneva, sleep", "the second half 0.4 s later", [HALVES[0], Wait(0.4), HALVES[1]], ""),
    ("very-slow", "SymTCP, timeouts", "the second half 1.5 s later, past a reader's patience",
     [HALVES[0], Wait(1.5), HALVES[1]], ""),
    ("acknowledged", "INTANG, wait for the ACK", "the second half when the first is acknowledged",
     [HALVES[0], AwaitAck("mid"), HALVES[1]], ""),
    ("slow-quarters", "zapret multisplit with delays", "each quarter 0.15 s after the one before",
     paused(QUARTERS, 0.15), ""),
    ("no-push", "SymTCP, flags", "no PSH flag on either half",
     [Segment(0, "mid", flags="A"), Segment("mid", flags="A")], ""),
    ("with-fin", "INTANG, FIN with the data", "the second half carries FIN", [HALVES[0], Segment("mid", flags="FPA")],
     ""),
    ("fin-apart", "Geneva, FIN behind the data", "both halves, then a FIN alone",
     [*HALVES, Wait(0.05), Segment("end", "end", flags="FA")], ""),
)  # fmt: skip
ORDERS = rows(
    "disorder",
    ("halves", "zapret multidisorder", "the second half first", HALVES[::-1], ""),
    ("quarters", "zapret multidisorder", "four pieces, the last first", QUARTERS[::-1], ""),
    ("byte-last", "byedpi --disorder 1", "the first byte last", pieces(1)[::-1], ""),
    ("last-byte-first", "INTANG, reordering", "the last byte before everything", pieces(-1)[::-1], ""),
    ("bytes", "fragroute tcp_seg 1, order reverse", "the first 60 bytes one by one, backwards", every(1, 60)[::-1], ""),
    ("interleaved", "fragroute order random", "even pieces, then odd ones", every(9, 12)[::2] + every(9, 12)[1::2], ""),
    ("name-last", "zapret hostfakesplit, reordered", "everything but the name, then the name",
     [pieces("host", "tail")[i] for i in (0, 2, 1)], ""),
    ("name-first", "Geneva, duplicate and reorder", "the name before everything",
     [pieces("host", "tail")[i] for i in (1, 0, 2)], ""),
    ("slow", "SymTCP, hole in the stream", "the second half 0.5 s before the first", [HALVES[1], Wait(0.5), HALVES[0]],
     ""),
    ("lost-head", "byedpi --disorder, TTL 1", "the first half dies at the router, the client repeats it",
     [Segment(0, "mid", ttl=1), Segment("mid"), Wait(0.05), Segment(0, "mid")], ""),
    ("lost-tail", "GoodbyeDPI, TTL 1", "the second half dies at the router, the client repeats it",
     [HALVES[0], Segment("mid", ttl=1), Wait(0.05), HALVES[1]], ""),
    ("lost-whole", "byedpi --disorder", "the whole dies at the router, and comes again in halves, reversed",
     [Segment(ttl=1), *HALVES[::-1]], ""),
    ("fin-first", "SymTCP, FIN out of order", "a FIN at its place, before the bytes it follows",
     [Segment("end", "end", flags="FA"), *HALVES], ""),
)  # fmt: skip
REPEATS = rows(
    "repeat",
    ("whole", "Geneva, duplicate", "everything twice", [Segment(times=2)], ""),
    ("first-half", "fragroute dup first", "the first half three times", [Segment(0, "mid", times=3), HALVES[1]], ""),
    ("last-half", "fragroute dup last", "the last half three times", [HALVES[0], Segment("mid", times=3)], ""),
    ("growing", "RFC 9293 retransmission, merged", "each segment begins at the start and is longer",
     [Segment(0, end) for end in ("host-6", "host", "mid", "tail", "end")], ""),
    ("sliding", "Ptacek and Newsham, consistent overlap", "each segment overlaps the one before by half",
     [Segment(max(0, at - 20), at + 20) for at in range(0, 200, 20)] + [Segment(180)], ""),
    ("overlap-same", "fragroute tcp_chaff, consistent", "two halves that share the name",
     [Segment(0, "tail"), Segment("host")], ""),
    ("overlap-turned", "zapret, multidisorder", "the same, the second first", [Segment("host"), Segment(0, "tail")],
     ""),
    ("behind-acknowledged", "SymTCP, old data", "what is acknowledged comes again, with more behind it",
     [HALVES[0], AwaitAck("mid"), Segment()], ""),
)  # fmt: skip
OVERLAPS = rows(
    "overlap",
    ("left-of-window", "zapret seqovl", "junk before the first byte of the stream, the request behind it",
     [Segment(0, 0, fill=bytes(8), seq=-8), Segment()], ""),
    ("left-joined", "zapret seqovl 1", "one byte of junk before the window, in the request's segment",
     [Segment(before=b"x")], ""),
    ("left-many", "zapret seqovl 336", "336 bytes of another hello before the window, in the request's segment",
     [Segment(before=b"\x16\3\1\1\x4b".ljust(336, b"\1"))], ""),
    ("left-acknowledged", "zapret seqovl in the second piece",
     "the second half, with other bytes where the first is acknowledged",
     [HALVES[0], AwaitAck("mid"), Segment("mid", before=b"x" * 9)], ""),
    ("left-unacknowledged", "zapret multidisorder with seqovl",
     "the second half ahead of its turn, other bytes before it",
     [Segment("mid", before=b"x" * 9), Segment(0, "mid")], TWO),
    ("cover-then-real", "Ptacek and Newsham, new data", "the allowed version, then the real one, at once",
     [Segment(fill="cover"), Segment()], TWO),
    ("real-then-cover", "Ptacek and Newsham, old data", "the real version, then the allowed one",
     [Segment(), Segment(fill="cover")], TWO),
    ("cover-behind-gap", "zapret fakeddisorder; SymTCP",
     "the allowed second half ahead of its turn, then the real whole",
     [Segment("mid", fill="cover"), Segment()], TWO),
    ("real-behind-gap", "SymTCP, out-of-order overlap", "the real second half ahead of its turn, then an allowed whole",
     [Segment("mid"), Segment(fill="cover")], TWO),
    ("two-behind-gap", "SymTCP, both out of order",
     "two versions of the second half ahead of their turn, then the first half",
     [Segment("mid", fill="cover"), Segment("mid"), HALVES[0]], TWO),
    ("two-behind-gap-turned", "SymTCP, both out of order", "the same, the real one before",
     [Segment("mid"), Segment("mid", fill="cover"), HALVES[0]], TWO),
    ("name-twice", "zapret hostfakesplit", "the name's bytes in two versions around the rest",
     [Segment(0, "host"), Segment("host", "tail", fill="cover"), Segment("host", "tail"), Segment("tail")], TWO),
    ("name-twice-gap", "zapret hostfakesplit, reordered", "the same behind a gap",
     [Segment("host", "tail", fill="cover"), Segment("host"), Segment(0, "host")], TWO),
    ("one-byte", "fragroute tcp_chaff", "one byte of the name in two versions",
     [Segment(0, "mid"), Segment("mid", "mid+1", fill=b"X"), Segment("mid")], TWO),
    ("after-answer", "SymTCP, late overlap",
     "the allowed request, and when it is acknowledged the real one at its place",
     [Segment(fill="cover"), AwaitAck("end"), Segment()], TWO),
    ("longer", "Ptacek and Newsham, longer segment",
     "an allowed first half, then a real one that begins there and is longer",
     [Segment(0, "tail", fill="cover"), Segment(0, "end")], TWO),
)  # fmt: skip
STRATEGIES = [*CUTS, *ORDERS, *REPEATS, *OVERLAPS]

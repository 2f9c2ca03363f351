"""The request in IP fragments: fragroute's and zapret's, and what Ptacek and Newsham asked of reassembly."""

from tests.evasion.recipe import Piece, Segment, Step, Strategy, Tcp, Wait

TCP_HEAD = 32  # of the payload that is cut: a TCP header with timestamps
DROPPED = "fragments with two versions of a byte: Linux drops the packet, others keep one of them"
FOUR = ("IPv4", "VLAN")


def cut(*places: int) -> tuple[Piece, ...]:
    edges = [0, *places]
    return tuple(Piece(start, end) for start, end in zip(edges, [*places, None], strict=True))


TWO, FOURTH = cut(48), cut(48, 72, 96)
JUNK = b"z" * 24
FOUND: tuple[tuple[str, str, str, tuple[Step, ...], str, tuple[str, ...]], ...] = (
    ("two", "zapret ipfrag2; fragroute ip_frag", "two fragments", (Segment(pieces=TWO),), "", ()),
    ("two-turned", "zapret ipfrag2, disorder", "two fragments, the second first", (Segment(pieces=TWO[::-1]),), "", ()),
    ("four", "fragroute ip_frag 24", "four fragments", (Segment(pieces=FOURTH),), "", ()),
    ("four-turned", "fragroute order reverse", "four fragments, backwards", (Segment(pieces=FOURTH[::-1]),), "", ()),
    ("four-mixed", "fragroute order random", "four fragments, mixed",
     (Segment(pieces=tuple(FOURTH[n] for n in (2, 0, 3, 1))),), "", ()),
    ("many", "fragroute ip_frag 8", "fragments of 8 bytes behind the first 72",
     (Segment(pieces=cut(72, 80, 88, 96, 104, 112)),), "", ()),
    ("header-alone", "RFC 1858, tiny fragment", "the TCP header alone in the first fragment",
     (Segment(pieces=cut(TCP_HEAD)),), "a first fragment without data is refused as tiny, whatever it asks for", ()),
    ("header-cut", "RFC 1858, tiny fragment; Geneva", "the TCP header cut in two",
     (Segment(pieces=cut(8)),), "a first fragment that lacks the flags is refused as tiny, whatever it asks for", ()),
    ("in-halves", "zapret ipfrag with split", "each half of the request in two fragments",
     (Segment(0, "mid", pieces=cut(40)), Segment("mid", pieces=cut(40))), "", ()),
    ("half", "Geneva, fragment one segment", "the first half whole, the second in fragments",
     (Segment(0, "mid"), Segment("mid", pieces=cut(40))), "", ()),
    ("half-turned", "zapret ipfrag and disorder", "the second half in fragments first, then the first",
     (Segment("mid", pieces=cut(40)[::-1]), Segment(0, "mid")), "", ()),
    ("lost-first", "SymTCP, lost fragment", "one fragment dies at the router, and the client repeats it all in one",
     (Segment(pieces=(Piece(0, 48, ttl=1), Piece(48))), Wait(0.2), Segment()), "", ()),
    ("lost-last", "SymTCP, lost fragment", "the last fragment is never sent, then everything in one",
     (Segment(pieces=TWO[:1]), Wait(0.2), Segment()), "", ()),
    ("repeated", "fragroute dup", "every fragment twice", (Segment(pieces=(TWO[0], TWO[0], TWO[1], TWO[1])),),
     "Linux counts a fragment that comes after its packet was whole for another packet", ()),
    ("decoy-first", "zapret ipfrag with fakes",
     "a fragment with other bytes that dies at the router, then the true ones",
     (Segment(pieces=(Piece(48, 72, fill=JUNK, ttl=1, more=True), *TWO)),), DROPPED, ()),
    ("decoy-same-id", "SymTCP, fragment decoy", "a decoy in fragments with another identification, dying at the router",
     (Segment(pieces=(Piece(48, 72, fill=JUNK, ttl=1, more=True, identity=77), *TWO)),), "", ()),
    ("overlap-old", "fragroute ip_frag, favour old", "a fragment that overlaps the one before with other bytes",
     (Segment(pieces=(Piece(0, 72), Piece(48, 72, fill=JUNK, more=True), Piece(72))),), DROPPED, ()),
    ("overlap-new", "fragroute ip_frag, favour new", "other bytes first, then the true ones over them",
     (Segment(pieces=(Piece(0, 48), Piece(48, 72, fill=JUNK, more=True), Piece(48, 72), Piece(72))),), DROPPED, ()),
    ("overlap-same", "Ptacek and Newsham, overlap", "overlapping fragments with the same bytes",
     (Segment(pieces=(Piece(0, 72), Piece(48))),), DROPPED, ()),
    ("teardrop", "Ptacek and Newsham, teardrop", "a fragment inside another",
     (Segment(pieces=(Piece(0, 96), Piece(48, 56), Piece(96))),), DROPPED, ()),
    ("two-lasts", "Ptacek and Newsham, two ends", "two last fragments",
     (Segment(pieces=(Piece(0, 48), Piece(48, 64, more=False), Piece(48))),), DROPPED, ()),
    ("odd-length", "RFC 791", "a fragment of 45 bytes that is not the last",
     (Segment(pieces=(Piece(0, 45, more=True), Piece(45))), ),
     "its length is no multiple of 8: one stack drops it, another rounds", ()),
    ("atomic", "RFC 6946", "one fragment that is the whole packet", (Segment(pieces=(Piece(0),)),), "", ("IPv6",)),
    ("behind-destination", "zapret ipfrag and destopt", "a destination options header before the fragment header",
     (Segment(pieces=TWO, extensions=((60, b"\0\1\4\0\0\0\0"),)),), "", ("IPv6",)),
    ("behind-hop", "zapret ipfrag and hopbyhop", "a hop-by-hop header before the fragment header",
     (Segment(pieces=TWO, extensions=((0, b"\0\1\4\0\0\0\0"),)),), "", ("IPv6",)),
    ("options", "fragroute ip_opt, ip_frag", "fragments with IPv4 options",
     (Segment(pieces=TWO, ip_options=b"\1\1\1\1"),), "", FOUR),
    ("ttl-varies", "SymTCP, fragments by two paths", "the fragments' TTLs differ by ten",
     (Segment(pieces=(Piece(0, 48, ttl=64), Piece(48, ttl=54))),),
     "one of them might die on a longer path, and another be taken in its place", ()),
    ("late", "SymTCP, reassembly timeout", "the second fragment after half a second, past what is held here",
     (Segment(stamp=None, pieces=TWO[:1]), Wait(0.5), Segment(stamp=None, pieces=(Piece(48, identity=-1),))), "", ()),
)  # fmt: skip
STRATEGIES = [
    Strategy(
        f"fragment.{name}", "fragment", source, what, Tcp(steps), ambiguous=doubt, nets=nets or ("IPv4", "IPv6", "VLAN")
    )
    for name, source, what, steps, doubt, nets in FOUND
]

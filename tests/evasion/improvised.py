"""Strategies that nobody wrote down: random steps from the catalogue's language, told by a seed and a number.

    build_improvised(seed, count) ─► `improvised.SEED-NUMBER`, each the same whenever it is built

Real bytes and decoys at random places, in any order, lost in any way or not, in fragments, with resets, second handshakes
and used ports between them. For the allowed name nothing is expected of them: most send two versions of a byte.

Knows the language. Refuses to know what comes of it.
"""

from random import Random

from tests.evasion.catalogue.decoys import MD5
from tests.evasion.recipe import AwaitAck, Fill, Piece, Place, Renew, Segment, Step, Strategy, Syn, Tcp, Wait

ANY = "steps at random: most send two versions of a byte"
PLACES: tuple[Place, ...] = (
    *(0, 1, 3, 5, -1, "half", "line"),
    *("host", "host-6", "mid", "mid+1", "tail", "tail-1", "end") * 3,
)  # fmt: skip
FILLS: tuple[Fill, ...] = (
    *("cover", "cover", "zeros", "noise", b"x", b"SSH-2.0-x\r\n", b"\x17\3\3\0\5abcde"),
    b"GET / HTTP/1.1\r\nHost: any.gallery.test\r\n\r\n",
)  # fmt: skip
LOSSES: tuple[dict[str, object], ...] = (
    *({"ttl": 1}, {"ttl": 62}, {"checksum": "wrong"}, {"checksum": "bare"}, {"options": MD5}),
    *({"stamp": -600_000}, {"stamp": None}, {"flags": "P"}, {"seq": -10_000}, {"ack": 100_000}, {}, {}),
)  # fmt: skip
EMPTY_FLAGS = ("R", "RA", "FA", "SA", "S", "A", "UA")
EMPTY_LOSSES: tuple[dict[str, object], ...] = ({"ttl": 1}, {"checksum": "wrong"}, {"seq": 7}, {"seq": -9_999})
OPEN: tuple[Step, ...] = (Syn(), Segment(0, 0, flags="A"))


def build_improvised(seed: int, count: int) -> list[Strategy]:
    """Strategies from a seed; a longer list begins with the shorter one."""
    return [
        Strategy(
            f"improvised.{seed}-{number}",
            "improvised",
            "chance",
            "random steps",
            Tcp(_improvise(Random(f"{seed}-{number}"))),
            ambiguous=ANY,
        )
        for number in range(count)
    ]


def _improvise(random: Random) -> tuple[Step, ...]:
    steps = [_make_step(random) for _ in range(random.randint(2, 8))]
    if random.random() < 0.1:  # a connection that is given up, and another of the same ports
        resets = (Segment(0, 0, flags="RA"), Segment("mid", "mid", flags="RA"), Wait(0.05))
        again = Renew(random.choice([1_000, -5, 1_000_000]))
        return (*OPEN, *steps[:3], *resets, again, *OPEN, *steps[3:])
    return (*OPEN, *steps)


def _make_step(random: Random) -> Step:
    kind = random.random()
    place = random.choice(PLACES)
    if kind < 0.4:
        flags = random.choice(["PA"] * 12 + ["A"] * 4 + ["FPA", "UPA"])
        stamp = random.choice([0, 0, 0, None, 1_000])
        end = random.choice(["end", "end", "tail", "mid"])
        return Segment(place, end, flags=flags, urgent=random.choice([0, 5]), stamp=stamp, pieces=_cut_packet(random))
    if kind < 0.7:
        return Segment(place, "end", fill=random.choice(FILLS), **random.choice(LOSSES))  # type: ignore[arg-type]
    if kind < 0.75:
        return Wait(random.choice([0.01, 0.1, 0.3]))
    if kind < 0.82:
        return AwaitAck(place)
    if kind < 0.88:
        how = random.choice(EMPTY_LOSSES)
        return Segment(0, 0, flags=random.choice(EMPTY_FLAGS), urgent=random.choice([0, 9, 30]), **how)  # type: ignore[arg-type]
    if kind < 0.93:
        return Segment(place, "end", before=bytes(random.choice([1, 5, 300])))
    flags, ttl = random.choice(["S", "SA", "SF"]), random.choice([None, 1])
    return Syn(seq=random.choice([50_000, -5, 1]), wait=False, ttl=ttl, flags=flags, ack=9)


def _cut_packet(random: Random) -> tuple[Piece, ...]:
    if random.random() < 0.8:
        return ()
    at = random.randrange(24, 73, 8)
    pieces = [Piece(0, at), Piece(at)]
    if random.random() < 0.3:
        other = Piece(at, at + 24, fill=b"z" * 24, more=True, ttl=random.choice([None, 1]))
        pieces.insert(random.randrange(3), other)
    if random.random() < 0.5:
        pieces.reverse()
    return tuple(pieces)

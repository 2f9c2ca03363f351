"""What holds of QUIC whatever comes: cuts change no verdict, nothing faults, the ledger closes, answers are short."""

from ctypes import c_int64
from functools import cache
from itertools import count
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.compile.memory import CHECKED
from penstock.kernel import reasons as r
from penstock.line.native import Outcome
from penstock.path.holds import HOLDS_IN_USE
from penstock.path.layout import HELD, W_HOLDS
from tests.hellos import cut, post_quantum_hello
from tests.path.boxes import Box, name_of
from tests.quic import (
    ACK_FRAME,
    CLOSE,
    HANDSHAKE,
    PING,
    V1,
    V2,
    ZERO_RTT,
    crypto,
    datagram,
    hello,
    initial,
    long_packet,
    read_datagram,
    varint,
)
from tests.vocabulary import BARE, FLOW4, FLOW6, RIGHT, TO_SERVER, WRONG, Flow

MESSAGES = {
    "good": (hello("good.test"), "allowed"),
    "bad": (hello("www.bad.test"), "blocked"),
    "odd": (hello("odd.test"), "reported"),
    "long": (hello("good.test", 5000), "allowed"),
    "long bad": (hello("bad.test", 5000), "blocked"),
    "post-quantum": (post_quantum_hello(b"bad.test"), "blocked"),
}
BETWEEN = [b"", b"", PING, bytes(1), bytes(30), ACK_FRAME, CLOSE, b"\x40\1", b"\6\0\0", b"\2\x09\0\1\0\1\1"]
FOREIGN = 0xFF00001D
PAUSE_NS = 70_000_000_000
flows = st.sampled_from([FLOW4, FLOW6, Flow("10.1.0.3", tags=((0x88A8, 5), (0x8100, 7)))]).map(
    lambda flow: flow._replace(server_port=443)
)
fresh = count(1)


@cache
def box() -> Box:
    return Box(capacity=512, stream_count=32, large_count=8)


def begin() -> bytes:
    """Another connection ID, and a box that has forgotten the ones before."""
    box().now_ns += PAUSE_NS
    return next(fresh).to_bytes(12)


def waiting() -> int:
    return box().held() + c_int64.from_address(box().path.worker.word(W_HOLDS) + HOLDS_IN_USE).value


def check_ledger() -> None:
    up = sum(number for name, number in box().counts().items() if name.startswith("up_"))
    assert up == sum(box().path_counts().values()) + waiting() - box().peeks


def send(flow: Flow, data: bytes, gso_size: int = 0, checksum: str = RIGHT) -> Outcome:
    """A datagram through the box, and what holds of every one."""
    content = datagram(flow, data, checksum=checksum)
    outcome = box().take_raw(content, TO_SERVER, gso_size)
    assert outcome.reason in r.NAMES
    assert outcome.path_reason is None or outcome.path_reason == HELD or outcome.path_reason >= r.PATH_FIRST
    assert sum(len(read_datagram(sent).data) for to_server, sent in outcome.sent if not to_server) <= 3 * len(data)
    if outcome.path_reason is not None and outcome.path_reason != HELD:
        is_released = r.verdict_of(outcome.path_reason) is r.Verdict.RELEASED
        assert is_released == (content in [sent for to_server, sent in outcome.sent if to_server])
    return outcome


class Part(NamedTuple):
    """How one Initial looks."""

    frames: bytes
    number: int
    number_bytes: int


def cut_hello(random: Random, message: bytes) -> list[Part]:
    """A hello in CRYPTO frames in Initials, in any order, with repetitions and other frames between."""
    places = {random.randrange(1, len(message)) for _ in range(random.randrange(9))} | set(
        range(900, len(message), 900)
    )
    pieces, at = [], 0
    for content in cut(message, places):
        pieces.append(crypto(at, content))
        at += len(content)
    if random.random() < 0.7:
        random.shuffle(pieces)
    for _ in range(random.choice([0, 0, 1, 3])):
        pieces.insert(random.randrange(len(pieces) + 1), random.choice(pieces))
    number, found, frames = random.choice([0, 0, 1, 255, 65_000, (1 << 31) - 1]), [], b""
    for piece in pieces:
        if frames and (len(frames) + len(piece) > 1050 or random.random() < 0.5):
            found.append(Part(frames, number, 4))
            frames, number = b"", number + random.randint(1, 3)
        frames += random.choice(BETWEEN) + piece
    found.append(Part(frames + random.choice(BETWEEN), number, 4))
    is_short = found[-1].number < 128
    return [part._replace(number_bytes=random.randint(1, 4) if is_short else 4) for part in found]


def write_packets(random: Random, dcid: bytes, message: bytes, version: int) -> list[bytes]:
    """Its Initials, sometimes behind a Handshake packet."""
    packets = []
    for part in cut_hello(random, message):
        front = (
            long_packet(HANDSHAKE, dcid, bytes(20), scid=b"client", version=version) if random.random() < 0.1 else b""
        )
        packets.append(front + initial(dcid, part.frames, scid=b"client", version=version, number=part.number,
                                       number_bytes=part.number_bytes, size=random.choice([0, 1200])))  # fmt: skip
    return packets


@settings(max_examples=40 if CHECKED else 300, deadline=None)
@given(flows, st.sampled_from(sorted(MESSAGES)), st.sampled_from([V1, V2]), st.integers(0, 1 << 40))
def test_any_cut_has_one_verdict(flow: Flow, name: str, version: int, seed: int) -> None:
    """However a hello is cut into frames, Initials, datagrams and super-packets."""
    random, (message, verdict), dcid = Random(seed), MESSAGES[name], begin()
    packets = write_packets(random, dcid, message, version)
    passed, names, at = [], [], 0
    while at < len(packets):
        taken = random.randint(1, 3)
        group, at = packets[at : at + taken], at + taken
        is_super = len({len(packet) for packet in group}) == 1 and random.random() < 0.6
        behind = b"" if is_super else random.choice([b"", b"", bytes(7), b"\x40" + bytes(30)])
        outcome = send(flow, b"".join(group) + behind, len(group[0]) if is_super else 0)
        names.append(name_of(outcome))
        passed += [read_datagram(sent).data for to_server, sent in outcome.sent if to_server]
    decided = [word for word in names if word != "held"]
    assert decided
    if verdict == "blocked":
        assert decided[0] == "blocked"
        assert not passed
        assert set(decided[1:]) <= {"refused_client"}
    else:
        # Of a Handshake packet in front no connection is known, and its reason stands for both.
        assert decided[0] in (verdict, "allowed", "on_sight")
        assert set(decided[1:]) <= {"judged_connection"}
        assert b"".join(passed).count(dcid) >= len(packets)
    check_ledger()


@settings(max_examples=60, deadline=None)
@given(flows, st.integers(30, 400), st.data())
def test_two_copies_conflict(flow: Flow, size: int, data: st.DataObject) -> None:
    """Another byte at a known place: whatever comes after, nothing of it passes."""
    dcid, message = begin(), hello("good.test", 900)
    place = data.draw(st.integers(0, size - 1))
    other = bytearray(message[:size])
    other[place] ^= 1 << data.draw(st.integers(0, 7))
    start = data.draw(st.integers(0, place))
    assert name_of(send(flow, initial(dcid, crypto(0, message[:size])))) == "held"
    assert name_of(send(flow, initial(dcid, crypto(start, bytes(other[start:])), number=1))) == "conflict"
    outcome = send(flow, initial(dcid, crypto(0, message), number=2))
    assert (name_of(outcome), [to_server for to_server, _ in outcome.sent]) == ("refused_client", [False])


# ---- damage --------------------------------------------------------------------------------------------------------
VALID = [
    initial(b"client-1", crypto(0, hello("good.test"))),
    initial(b"client-2", crypto(0, hello("bad.test")), version=V2, token=b"token"),
    initial(b"client-3", crypto(0, hello("good.test")[:90]), size=300) + initial(b"client-3", PING, number=1, size=300),
    long_packet(ZERO_RTT, b"client-1", bytes(100)) + initial(b"client-1", PING),
    long_packet(0, b"client-4", bytes(1180), version=FOREIGN),
    b"\x40" + bytes(60),
    b"\xc0" + bytes(1200),
]
frames = st.lists(
    st.one_of(
        st.binary(max_size=20),
        st.sampled_from(BETWEEN),
        st.tuples(st.integers(0, 70_000), st.binary(max_size=200)).map(lambda pair: crypto(*pair)),
        st.sampled_from([b"\6" + varint((1 << 62) - 1, 8) + b"\1x", b"\2\0\0" + varint((1 << 62) - 1), b"\x1e"]),
    ),
    max_size=6,
).map(b"".join)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Some of these one behind the other, with bytes changed, cut short, or followed by others."""
    kind = draw(st.integers(0, 3))
    if kind == 0:
        return draw(st.binary(max_size=200))
    if kind == 1:
        number_bytes = draw(st.integers(1, 4))
        return initial(draw(st.sampled_from([b"client-1", b"client-9", b"", bytes(20)])), draw(frames),
                       scid=draw(st.binary(max_size=20)), version=draw(st.sampled_from([V1, V2])),
                       number=draw(st.integers(0, 1 << 40)), number_bytes=number_bytes, size=0)  # fmt: skip
    content = bytearray(b"".join(draw(st.lists(st.sampled_from(VALID), min_size=1, max_size=3))))
    for _ in range(draw(st.integers(0, 3))):
        content[draw(st.integers(0, min(len(content) - 1, 60)))] = draw(st.integers(0, 255))
    if draw(st.booleans()):
        del content[draw(st.integers(0, len(content))) :]
    return bytes(content)


@settings(max_examples=400, deadline=None)
@given(
    flows,
    st.lists(
        st.tuples(damaged(), st.sampled_from([0, 0, 1, 7, 300, 1200]), st.sampled_from([RIGHT, RIGHT, BARE, WRONG])),
        max_size=8,
    ),
    st.sampled_from([0, 0, 150_000_000, PAUSE_NS]),
)
def test_no_datagram_faults(flow: Flow, datagrams: list[tuple[bytes, int, str]], wait_ns: int) -> None:
    box().now_ns += wait_ns
    for data, gso_size, checksum in datagrams:
        send(flow, data, gso_size, checksum)
    check_ledger()


@settings(max_examples=200, deadline=None)
@given(flows, st.integers(0, 1300), st.integers(1, 1300), st.integers(0, 255))
def test_a_damaged_initial_says_nothing(flow: Flow, place: int, size: int, byte: int) -> None:
    """Where its tag does not fit, it neither allows nor refuses; the right one is judged as if it had not been."""
    dcid = begin()
    whole = initial(dcid, crypto(0, hello("bad.test")))
    content = bytearray(whole[:size])
    if place < len(content):
        content[place] ^= byte
    outcome = send(flow, bytes(content))
    assert name_of(outcome) in ("blocked", "free") or name_of(outcome) not in ("allowed", "reported", "conflict")
    assert name_of(send(flow, whole)) in ("blocked", "refused_client")


@pytest.mark.parametrize("count_of", [31, 32, 33, 200])
def test_many_packets_in_one_datagram(count_of: int) -> None:
    """What is behind the last packet that is looked at does not pass unread."""
    dcid = begin()
    front = long_packet(HANDSHAKE, dcid, bytes(1), scid=b"client") * count_of
    outcome = send(FLOW4, front + initial(dcid, crypto(0, hello("bad.test")), size=400))
    assert name_of(outcome) in ("blocked", "bad_initial")


@settings(max_examples=60, deadline=None)
@given(flows, st.binary(max_size=20), st.binary(max_size=20), st.integers(0, 30))
def test_answers_are_short(flow: Flow, dcid: bytes, scid: bytes, more: int) -> None:
    """Many short Initials of refused connections in one datagram: `send` counts what they are answered with."""
    begin()
    start = initial(dcid, crypto(0, hello("bad.test")), scid=scid, size=0)
    assert name_of(send(flow, start)) == "blocked"
    again = b"".join(initial(dcid, PING, scid=scid, number=1 + number, size=0) for number in range(more + 1))
    assert name_of(send(flow, again)) == "refused_client"
    foreign = long_packet(0, dcid, b"", scid=scid, version=FOREIGN)
    send(flow, foreign)

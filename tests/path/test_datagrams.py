"""UDP through the box: QUIC is judged, however its Initials look; everything else passes and is left to the kernel."""

import pytest

from penstock.line.native import Outcome
from tests.path.boxes import Box, name_of, passed
from tests.quic import (
    ACK_FRAME,
    HANDSHAKE,
    PING,
    SERVER,
    V1,
    V2,
    ZERO_RTT,
    crypto,
    datagram,
    hello,
    initial,
    long_packet,
    open_initial,
    read_datagram,
)
from tests.vocabulary import TO_CLIENT, TO_SERVER, WRONG, Flow

DCID, SCID = bytes(range(8)), b"client"


@pytest.fixture(scope="module")
def box() -> Box:
    return Box()


class Talk:
    """One 5-tuple."""

    ports = iter(range(20000, 60000))

    def __init__(self, box: Box, **more: object) -> None:
        self.box, self.flow = box, Flow(client_port=next(self.ports), server_port=443, **more)  # type: ignore[arg-type]
        self.number = self.flow.client_port.to_bytes(2)
        self.dcid = DCID[:6] + self.number

    def client(self, data: bytes, **more: object) -> Outcome:
        gso_size = int(more.pop("gso_size", 0))  # type: ignore[call-overload]
        return self.box.take_raw(datagram(self.flow, data, **more), TO_SERVER, gso_size)  # type: ignore[arg-type]

    def initial(self, frames: bytes, **more: object) -> Outcome:
        return self.client(initial(self.dcid, frames, scid=SCID, **more))  # type: ignore[arg-type]


def data_to(outcome: Outcome, to_server: bool) -> list[bytes]:
    return [read_datagram(content).data for side, content in outcome.sent if side == to_server]


@pytest.mark.parametrize("flow", [{}, {"client": "fd00::7", "server": "2001:db8::1"}, {"tags": ((0x8100, 7),)}])
@pytest.mark.parametrize("version", [V1, V2])
def test_an_initial_is_judged(box: Box, version: int, flow: dict[str, object]) -> None:
    talk = Talk(box, **flow)
    good = initial(talk.dcid, crypto(0, hello("good.test")), scid=SCID, version=version)
    assert (name_of(outcome := talk.client(good)), data_to(outcome, TO_SERVER)) == ("allowed", [good])
    bad = Talk(box, **flow)
    outcome = bad.initial(crypto(0, hello("www.bad.test")), version=version)
    assert name_of(outcome) == "blocked"
    assert data_to(outcome, TO_SERVER) == []
    (frame,) = [content for side, content in outcome.sent if side == TO_CLIENT]
    answer = read_datagram(frame)
    assert (answer.checksum, answer.tags) == ("right", bad.flow.tags)
    opened = open_initial(answer.data, bad.dcid, SERVER)
    assert opened is not None
    assert (opened.version, opened.dcid, opened.scid) == (version, SCID, bad.dcid)
    assert opened.frames.startswith(b"\x1c\x41\x70\x06")


def test_other_udp_is_looked_at_once(box: Box) -> None:
    talk = Talk(box)
    assert name_of(talk.client(b"hello, are you there?")) == "not_a_request"
    assert name_of(talk.client(b"and now?")) == "free"
    assert name_of(talk.client(bytes([0x40]) + bytes(40))) == "free"
    assert name_of(talk.initial(crypto(0, hello("bad.test")))) == "blocked"
    assert name_of(talk.client(b"still here")) == "free"


def test_a_hello_in_two_initials_is_held(box: Box) -> None:
    talk, message = Talk(box), hello("good.test", 1800)
    first = initial(talk.dcid, crypto(0, message[:1000]), scid=SCID)
    second = initial(talk.dcid, crypto(1000, message[1000:]), scid=SCID, number=1)
    assert name_of(talk.client(first)) == "held"
    outcome = talk.client(second)
    assert (name_of(outcome), data_to(outcome, TO_SERVER)) == ("allowed", [first, second])
    assert (
        name_of(talk.client(initial(b"server-id", ACK_FRAME, scid=SCID, number=2, key_cid=talk.dcid)))
        == "judged_connection"
    )
    assert name_of(talk.client(bytes([0x41]) + bytes(60))) == "free"


def test_a_wrong_checksum_goes_no_further(box: Box) -> None:
    talk = Talk(box)
    assert name_of(talk.client(b"hello", checksum=WRONG)) == "bad_checksum"


def test_what_is_not_whole_in_time_is_dropped_and_known(box: Box) -> None:
    talk, message = Talk(box), hello("good.test", 1800)
    assert name_of(talk.initial(crypto(900, message[900:]))) == "held"
    box.now_ns += 200_000_000
    outcome = talk.initial(crypto(0, message[:900]), number=1)
    assert name_of(outcome) == "allowed"
    assert len(data_to(outcome, TO_SERVER)) == 1
    assert box.path_counts()["hello_late"] >= 1


def test_zero_rtt_waits_for_its_hello(box: Box) -> None:
    talk = Talk(box)
    early = long_packet(ZERO_RTT, talk.dcid, bytes(100), scid=SCID)
    assert name_of(talk.client(early)) == "held"
    outcome = talk.initial(crypto(0, hello("good.test")))
    assert (name_of(outcome), data_to(outcome, TO_SERVER)[0]) == ("allowed", early)
    bad = Talk(box)
    assert name_of(bad.client(long_packet(ZERO_RTT, bad.dcid, bytes(100), scid=SCID))) == "held"
    assert data_to(bad.initial(crypto(0, hello("bad.test"))), TO_SERVER) == []
    assert name_of(bad.client(long_packet(ZERO_RTT, bad.dcid, bytes(100), scid=SCID))) == "refused_client"


def test_a_second_copy_with_other_bytes_is_a_conflict(box: Box) -> None:
    talk, message = Talk(box), hello("good.test", 1800)
    other = hello("bad.test", 1800)
    assert name_of(talk.initial(crypto(0, message[:1000]))) == "held"
    assert name_of(talk.initial(crypto(0, other[:1000]), number=1)) == "conflict"
    assert name_of(talk.initial(crypto(1000, message[1000:]), number=2)) == "refused_client"


def test_a_second_hello_is_judged(box: Box) -> None:
    talk, message = Talk(box), hello("good.test")
    assert name_of(talk.initial(crypto(0, message))) == "allowed"
    second = initial(b"server-x", crypto(len(message), hello("bad.test")), scid=SCID, number=1, key_cid=talk.dcid)
    assert name_of(talk.client(second)) == "blocked"


def test_every_initial_has_keys_of_its_own(box: Box) -> None:
    """A decoy under another connection ID changes nothing for the real one, in either order."""
    talk = Talk(box)
    decoy = initial(b"decoy-id", crypto(0, hello("good.test")), scid=b"other")
    assert name_of(talk.client(decoy)) == "allowed"
    assert name_of(talk.initial(crypto(0, hello("bad.test")))) == "blocked"
    assert name_of(talk.client(initial(b"third-id", crypto(0, hello("good.test"))))) == "allowed"


def test_what_no_key_opens_settles_nothing(box: Box) -> None:
    talk = Talk(box, client="10.1.7.7")
    junk = initial(talk.dcid, crypto(0, hello("bad.test")), key_cid=b"somebody")
    assert name_of(talk.client(junk)) == "unsealed"
    assert name_of(talk.client(b"not free yet")) == "not_a_request"
    assert name_of(talk.initial(crypto(0, hello("good.test")))) == "allowed"
    assert name_of(talk.client(junk)) == "unsealed"


def test_a_subscriber_may_be_a_server(box: Box) -> None:
    talk = Talk(box)
    asked = initial(b"remote-1", crypto(0, hello("home.test")), scid=b"remote")
    content = datagram(talk.flow, asked, TO_CLIENT)
    assert passed(content, TO_CLIENT, box.take(content, TO_CLIENT)) == [content]
    assert name_of(talk.client(initial(b"remote", ACK_FRAME, key_cid=b"remote-1", side=SERVER))) == "undecryptable"
    assert name_of(talk.client(bytes([0x41]) + bytes(60))) == "not_a_request"
    assert name_of(talk.client(bytes([0x41]) + bytes(60))) == "free"
    assert name_of(talk.initial(crypto(0, hello("bad.test")))) == "blocked"


def test_what_began_before_us_goes_on() -> None:
    box = Box()
    talk, late = Talk(box), initial(b"server-1", ACK_FRAME, number=3, key_cid=b"long-ago")
    assert name_of(talk.client(late)) == "unsealed"
    box.path.set_epoch(3)
    assert name_of(talk.client(late)) == "undecryptable"
    box.now_ns += 70_000_000_000
    assert name_of(talk.client(late)) == "unsealed"


def test_coalesced_packets_and_trailing_bytes(box: Box) -> None:
    talk = Talk(box)
    front = long_packet(HANDSHAKE, talk.dcid, bytes(40), scid=SCID)
    bad = initial(talk.dcid, PING + crypto(0, hello("bad.test")), scid=SCID, size=900)
    assert name_of(talk.client(front + bad + bytes(50))) == "blocked"
    good = Talk(box)
    assert (
        name_of(good.client(initial(good.dcid, PING + crypto(0, hello("good.test")), size=900) + bytes(300)))
        == "allowed"
    )


def test_a_super_packet_is_looked_at_in_every_datagram(box: Box) -> None:
    talk = Talk(box)
    talk.client(b"free")
    plain = bytes([0x40]) + bytes(1199)
    bad = initial(talk.dcid, crypto(0, hello("bad.test")), scid=SCID)
    assert name_of(talk.client(plain * 3, gso_size=1200)) == "free"
    assert name_of(talk.client(plain * 3 + bad, gso_size=1200)) == "blocked"
    both = Talk(box)
    message = hello("good.test", 1800)
    pair = initial(both.dcid, crypto(0, message[:1000])) + initial(both.dcid, crypto(1000, message[1000:]), number=1)
    assert name_of(both.client(pair, gso_size=1200)) == "allowed"


def test_a_version_that_is_not_read_is_answered(box: Box) -> None:
    talk = Talk(box)
    foreign = long_packet(0, talk.dcid, bytes(1180), scid=SCID, version=0xFF00001D)
    outcome = talk.client(foreign)
    assert name_of(outcome) == "unread_version"
    (answer,) = data_to(outcome, TO_CLIENT)
    assert answer[1:5] == bytes(4)
    assert answer[5:] == bytes([len(SCID)]) + SCID + b"\x08" + talk.dcid + bytes.fromhex("000000016b3343cf")
    assert name_of(talk.initial(crypto(0, hello("good.test")))) == "allowed"


def test_from_the_server_everything_passes(box: Box) -> None:
    talk = Talk(box)
    content = datagram(talk.flow, bytes(1200), TO_CLIENT)
    assert passed(content, TO_CLIENT, box.take(content, TO_CLIENT)) == [content]

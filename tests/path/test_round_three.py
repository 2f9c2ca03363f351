"""The third round of breaking: numbers used again, two cookies, fragments that mix, zero tags, lines without a version."""

import struct
from random import Random
from typing import Any

import pytest

from penstock.flow.record import OPEN
from penstock.kernel import tables as t
from penstock.line.native import Outcome
from tests.path.boxes import Box, Conversation, name_of, passed, request, response
from tests.quic import datagram
from tests.vocabulary import (
    ACK,
    FLOW4,
    FLOW6,
    MODULUS,
    PSH,
    RST,
    SYN,
    TO_CLIENT,
    TO_SERVER,
    Flow,
    ethernet,
    frame,
    ipv4,
    ipv6,
    packed,
    read_frame,
    sum16,
    tcp,
    timestamps,
)

BAD, GOOD = request("bad.test"), request("good.test")
COOKIE_NS = 140_000_000_000
FRAGMENT, MORE_IPV4, MORE_IPV6 = 44, 0x2000, 1


@pytest.fixture(scope="module")
def box() -> Box:
    return Box()


ports, epochs = iter(range(20_000, 60_000, 2)), iter(range(3, 99, 2))


def fresh(flow: Flow = FLOW4, **more: Any) -> Flow:
    """The flow, from ports that no other test has."""
    return flow._replace(client_port=next(ports), **more)


def delivered(content: bytes, outcome: Outcome) -> bytes:
    """The payload that reaches the server (a reset is none)."""
    return b"".join(read_frame(sent).data for sent in passed(content, TO_SERVER, outcome))


def assert_blocked(talk: Conversation, data: bytes = BAD) -> None:
    content = talk.client_frame(data)
    assert b"bad.test" not in delivered(content, talk.box.take(content, TO_SERVER))


# ---- numbers used again ------------------------------------------------------------------------------------------------
def end_first(box: Box, flow: Flow, first: bytes, *more: bytes) -> Conversation:
    """A connection that was read as far as the server acknowledged it, then reset by the client: the server forgets it."""
    talk = Conversation(box, flow).open()
    talk.client(first)
    talk.server(response())
    for data in more:
        talk.client(data)
    talk.client(flags=RST | ACK)
    return talk


@pytest.mark.parametrize("more", [(), (b"G",), (b"GET / HTTP/1.1\r\nHost: bad.te",)])
@pytest.mark.parametrize("server_isn", [990_000, 77_000])
def test_a_connection_with_the_numbers_of_another_is_read_afresh(
    box: Box, more: tuple[bytes, ...], server_isn: int
) -> None:
    """Same ports and client ISN: with SYN cookies (77,000 again) the server's is the same too."""
    flow = fresh()
    end_first(box, flow, request("good.test", "GET", "/" + "x" * 40), *more)
    again = Conversation(box, flow, server_isn=server_isn).open()
    assert again.word() == (OPEN, 0, 0)
    assert name_of(again.client(GOOD)) == "allowed"
    assert name_of(again.client(BAD)) == "blocked"
    assert_blocked(end_first(box, fresh(), GOOD, *more))


def test_a_free_connection_frees_none_with_its_numbers(box: Box) -> None:
    """SYN cookies: same ports and client ISN within a minute give the same server ISN."""
    flow = fresh()
    end_first(box, flow, b"\0junk")
    again = Conversation(box, flow).open()
    assert again.word() == (OPEN, 0, 0)
    assert_blocked(again)


def test_a_handshake_that_is_repeated_forgets_nothing(box: Box) -> None:
    talk = Conversation(box, fresh()).open()
    assert name_of(talk.client(BAD[:30])) == "incomplete"
    talk.syn()
    talk.syn_ack()
    assert_blocked(talk, BAD[30:])


# ---- two cookies -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("order", ["one after the other", "both SYNs first"])
@pytest.mark.parametrize("distance", [1000, 1_000_000, 1 << 31])
def test_of_two_handshakes_only_one_can_be_completed(box: Box, order: str, distance: int) -> None:
    """A server that answers with SYN cookies remembers neither, and takes the bytes of either."""
    flow = fresh()
    first = Conversation(box, flow, client_isn=5_000, server_isn=77_000)
    other = Conversation(box, flow, client_isn=(5_000 - distance) % MODULUS, server_isn=99_000)
    if order == "one after the other":
        first.syn()
        assert first.syn_ack().is_forwarded
        other.syn()
    else:
        other.syn()
        first.syn()
        assert first.syn_ack().is_forwarded
    other.syn_ack()
    is_other = other.word()[1] == 0
    kept, lost = (other, first) if is_other else (first, other)
    for _ in range(2):
        lost.client(flags=ACK)
        assert name_of(lost.client(BAD, 0)) in ("out_of_window", "beyond")
        lost.server()  # the server took it
    assert name_of(kept.client(GOOD)) == "allowed"
    assert_blocked(kept)


@pytest.mark.parametrize(
    "opening", [b"POST / HTTP/1.1\r\nHost: good.test\r\nContent-Length: 9999\r\n\r\n", b"SSH-2.0-x\r\n"]
)
def test_what_is_free_in_one_handshake_is_not_free_in_the_other(box: Box, opening: bytes) -> None:
    """Bytes that the server never takes make room, in the numbers of one handshake, for those of the other."""
    flow = fresh()
    kept = Conversation(box, flow, client_isn=5_000, server_isn=77_000)
    lost = Conversation(box, flow, client_isn=5_000 + len(opening), server_isn=77_000 + len(opening))
    lost.syn()
    lost.syn_ack()
    kept.syn()
    kept.syn_ack()
    kept.client(opening)
    assert name_of(lost.client(BAD)) == "out_of_window"
    lost.server()
    assert name_of(lost.client(BAD, 0)) == "out_of_window"


def test_the_other_handshake_is_taken_when_the_cookie_is_old(box: Box) -> None:
    flow = fresh()
    Conversation(box, flow).open(third=False)
    box.now_ns += COOKIE_NS
    later = Conversation(box, flow, client_isn=9_000, server_isn=99_000).open()
    assert name_of(later.client(GOOD)) == "allowed"


def test_a_handshake_with_the_same_client_number_is_renewed(box: Box) -> None:
    """It makes no difference which one the server completes: its bytes have the same places."""
    flow = fresh()
    first = Conversation(box, flow).open(third=False)
    other = Conversation(box, flow, server_isn=990_000).open()
    assert other.word() == (OPEN, 0, 0)
    assert_blocked(first)
    assert_blocked(other)


# ---- fragments ---------------------------------------------------------------------------------------------------------
def piece(flow: Flow, part: bytes, at: int, more: bool, protocol: int = 6, *, mac: bytes = b"", ttl: int = 64,
          options: bytes = b"") -> bytes:  # fmt: skip
    """One fragment of a packet of the client."""
    ends = packed(flow.client), packed(flow.server)
    if flow.is_ipv6:
        head = struct.pack(">BBHI", protocol, 0, at | (MORE_IPV6 if more else 0), 7)
        ip = ipv6(*ends, FRAGMENT, len(head + part), ttl) + head
    else:
        field = (MORE_IPV4 if more else 0) | at // 8
        ip = ipv4(*ends, protocol, len(part), ttl, fragment=field, options=options, identity=7)
    link = ethernet(TO_SERVER, flow.is_ipv6, flow.tags)
    return (mac + link[6:] if mac else link) + ip + part


def pieces(flow: Flow, packet: bytes, cut: int, protocol: int = 6) -> list[bytes]:
    return [piece(flow, packet[:cut], 0, True, protocol), piece(flow, packet[cut:], cut, False, protocol)]


class Receiver:
    """A server's IP layer (RFC 791): pieces with the same addresses and identification make one packet."""

    def __init__(self, flow: Flow) -> None:
        self.flow, self.parts, self.data = flow, dict[int, bytes](), b""

    def take(self, content: bytes) -> None:
        header = 14 + (48 if self.flow.is_ipv6 else 20)
        if self.flow.is_ipv6:
            field, at_shift = int.from_bytes(content[56:58]) if content[20] == FRAGMENT else 0, 0
        else:
            field, at_shift = int.from_bytes(content[20:22]) & 0x3FFF, 3
        if not field:
            self.data += read_frame(content).data
            return
        at = (field & (0xFFF8 if self.flow.is_ipv6 else 0x1FFF)) << at_shift
        self.parts.setdefault(at, content[header:])
        if len(self.parts) == 2:
            whole = b"".join(part for _, part in sorted(self.parts.items()))
            ends = packed(self.flow.client) + packed(self.flow.server)
            if sum16(ends + struct.pack(">II", len(whole), 6) + whole) == 0xFFFF:
                self.data += whole[20:]
            self.parts.clear()


def tails() -> tuple[bytes, bytes]:
    """Two ends of one request, with the same checksum: an allowed host's, and a refused one's."""
    good, bad = b"okay\r\nB: zz\r\n\r\n", b"test\r\nB: \0\0\r\n\r\n"
    missing = (sum16(good) - sum16(bad)) % 0xFFFF
    bad = b"test\r\nB: " + missing.to_bytes(2)[::-1] + bad[11:]
    assert len(good) == len(bad)
    assert sum16(good) == sum16(bad)
    return good, bad


LOST = {
    "other station": {"mac": bytes.fromhex("02000000dead")},
    "other network": {},
    "refused option": {"options": bytes([131, 7, 4, 1, 2, 3, 4, 0])},
    "fewer hops": {"ttl": 61},
}


@pytest.mark.parametrize("flow", [FLOW4, FLOW6])
@pytest.mark.parametrize("kind", LOST)
def test_pieces_of_two_packets_are_never_put_together(box: Box, flow: Flow, kind: str) -> None:
    """A piece of an allowed request dies behind the box; one of a packet that nobody reads would take its place."""
    flow = fresh(flow)
    talk = Conversation(box, flow).open()
    ends = packed(flow.client), packed(flow.server)
    good, bad = tails()
    head = b"GET / HTTP/1.1\r\nA: " + b"1" * 2 + b"\r\nHost: bad."
    head = head.replace(b"11", b"1" * (2 + -(20 + len(head)) % 8))
    cut = 20 + len(head)
    real = tcp(*ends, flow.client_port, 80, talk.client_first, talk.server_first, ACK | PSH, head + good)
    junk = tcp(*ends, flow.client_port + 1, 81, 5, 5, ACK | PSH, bytes(len(head)) + bad)
    where = flow._replace(tags=((0x8100, 99),)) if kind == "other network" else flow
    lost = piece(where, real[cut:], cut, False, **LOST[kind])  # type: ignore[arg-type]
    server = Receiver(flow)
    for content in (piece(flow, real[:cut], 0, True), lost, *reversed(pieces(flow, junk, cut))):
        for sent in passed(content, TO_SERVER, box.take(content, TO_SERVER)):
            if sent != lost:
                server.take(sent)
    assert b"bad.test" not in server.data


@pytest.mark.parametrize("flow", [FLOW4, FLOW6, FLOW4._replace(tags=((0x8100, 7),))])
@pytest.mark.parametrize("turned", [False, True])
def test_a_segment_in_fragments_arrives_as_one(box: Box, flow: Flow, turned: bool) -> None:
    flow = fresh(flow)
    talk = Conversation(box, flow).open()
    ends = packed(flow.client), packed(flow.server)
    data = request("good.test", "GET", "/" + "x" * 3000)
    segment = tcp(*ends, flow.client_port, 80, talk.client_first, talk.server_first, ACK | PSH, data)
    first, second = pieces(flow, segment, 1480)[:: -1 if turned else 1]
    assert name_of(box.take(first, TO_SERVER)) == "held"
    outcome = box.take(second, TO_SERVER)
    assert name_of(outcome) == "allowed"
    ((side, sent),) = outcome.sent
    expected, arrived = read_frame(talk.client_frame(data)), read_frame(sent)
    assert (side, arrived._replace(checksum="right")) == (TO_SERVER, expected)
    assert arrived.checksum in ("right", "bare")
    refused = tcp(*ends, flow.client_port, 80, talk.client_first + len(data), talk.server_first, ACK | PSH, BAD)
    first, second = pieces(flow, refused, 48)
    assert name_of(box.take(first, TO_SERVER)) == "held"
    assert name_of(box.take(second, TO_SERVER)) == "blocked"


@pytest.mark.parametrize("flow", [FLOW4, FLOW6])
def test_a_datagram_in_fragments_arrives_as_it_came(box: Box, flow: Flow) -> None:
    content = datagram(flow, b"hello, are you there?" * 20)[62 - 8 if flow.is_ipv6 else 34 :]
    first, second = pieces(flow, content, 200, 17)
    assert name_of(box.take(first, TO_SERVER)) == "held"
    assert [sent for _, sent in box.take(second, TO_SERVER).sent] == [first, second]


ATOMIC, WHOLE = bytes([FRAGMENT, 0, 0, 0]), bytes([6, 0, 0, 0])


@pytest.mark.parametrize("outer", [ATOMIC, bytes([FRAGMENT, 0, 0, MORE_IPV6]), bytes([FRAGMENT, 0, 1, 0])])
def test_a_second_fragment_header_goes_no_further(box: Box, outer: bytes) -> None:
    """In the whole packet the first of two would be taken for the one that was removed, and the second read as TCP."""
    flow = fresh(FLOW6)
    talk = Conversation(box, flow).open()
    ends = packed(flow.client), packed(flow.server)
    segment = tcp(*ends, flow.client_port, 80, talk.client_first, talk.server_first, ACK | PSH, BAD)
    for inner, part in (
        (WHOLE, segment),
        (bytes([6, 0, 0, MORE_IPV6]), segment[:48]),
        (bytes([6, 0, 0, 48]), segment[48:]),
    ):
        body = outer + bytes(4) + inner + bytes([0, 0, 0, 7]) + part
        content = ethernet(TO_SERVER, True) + ipv6(*ends, FRAGMENT, len(body)) + body
        outcome = box.take_raw(content, TO_SERVER)
        assert name_of(outcome) in (("malformed",) if outer == ATOMIC else ("held", "fragment_bad", "malformed"))
        assert not passed(content, TO_SERVER, outcome)


def test_nested_fragments_hide_no_request(box: Box) -> None:
    """A client ISN and an identification that make the two readings of one packet agree in their checksums."""
    flow = fresh(FLOW6)
    talk = Conversation(box, flow, client_isn=0x50100000 - 1).open()
    ends = packed(flow.client), packed(flow.server)
    data = request("bad.test", "GET", "/" + "x" * 40)
    segment = tcp(*ends, flow.client_port, 80, talk.client_first, talk.server_first, ACK | PSH, data)
    pseudo = ends[0] + ends[1] + struct.pack(">II", 8 + len(segment), 6)
    head = next(
        head
        for number in range(1 << 16)
        if sum16(pseudo + (head := ATOMIC + struct.pack(">I", number)) + segment) == 0xFFFF
    )
    for at, part, more in ((0, segment[:48], 1), (48, segment[48:], 0)):
        body = head + struct.pack(">BBHI", 6, 0, at | more, 7) + part
        content = ethernet(TO_SERVER, True) + ipv6(*ends, FRAGMENT, len(body)) + body
        assert not passed(content, TO_SERVER, box.take(content, TO_SERVER))


# ---- tags --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("client", ["10.1.0.1", "10.9.0.1", "fd00::1"])
@pytest.mark.parametrize(
    "tags", [(0, 0, 0), (0, 0, 0, 0), (0, 0, 0, 7), (0, 5, 6), (5, 0, 6), (5, 6, 0), (0x2000, 5, 6)]
)
def test_more_tags_than_are_read_with_one_of_vlan_0(box: Box, client: str, tags: tuple[int, ...]) -> None:
    """Linux takes off any number of tags of VLAN 0, so what stands behind them would arrive."""
    flow = Flow(client, "2001:db8::80" if ":" in client else "192.0.2.80", tags=tuple((0x8100, tag) for tag in tags))
    content = frame(flow, TO_SERVER, seq=1, ack=1, data=BAD)
    outcome = box.take_raw(content, TO_SERVER)
    assert name_of(outcome) == "malformed"
    assert not passed(content, TO_SERVER, outcome)


@pytest.mark.parametrize(
    "tags", [((0x8100, 5),) * 3, ((0x88A8, 5), (0x8100, 6), (0x8100, 7)), ((0x8100, 5),) * 3 + ((0x8100, 0),)]
)
def test_other_stacks_of_tags_pass(box: Box, tags: tuple[tuple[int, int], ...]) -> None:
    content = frame(Flow(tags=tags), TO_SERVER, seq=1, ack=1, data=BAD)
    assert name_of(box.take_raw(content, TO_SERVER)) == "not_ip"


@pytest.mark.parametrize("tags", [((0x8100, 0),), ((0x8100, 0),) * 2, ((0x8100, 5), (0x8100, 0))])
def test_tags_of_vlan_0_that_are_read_hide_nothing(box: Box, tags: tuple[tuple[int, int], ...]) -> None:
    talk = Conversation(box, fresh(tags=tags)).open()
    assert name_of(talk.client(BAD)) == "blocked"


# ---- a gap -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("first", [b"\x17\x03", b"\x17\x03\x03\0\x5d", b"\x16\x03\x03\0\4\x10\0\0\0"])
def test_what_looks_like_tls_behind_a_gap_settles_nothing(box: Box, first: bytes) -> None:
    """Half of a body went before the gap (`off` and `on`, a restart, a late worker); the other half is what it likes."""
    talk = Conversation(box, fresh()).open()
    talk.client(request("good.test", "POST", "/", "Content-Length: 200") + bytes(100))
    talk.server()
    box.path.set_epoch(next(epochs))
    talk.client(first + bytes(100 - len(first)))
    talk.server(response())
    talk.client(flags=ACK)
    assert_blocked(talk)


# ---- no harm -----------------------------------------------------------------------------------------------------------
def test_an_upload_that_is_older_than_the_box_goes_on(box: Box) -> None:
    """Segments of random bytes that begin like a handshake record are no hello: one in 65,536 does."""
    random, refused = Random(3), 0
    flow = fresh(server_port=443)
    for number in range(4_000):
        data = b"\x16\x03" + random.randbytes(200)
        refused += (
            name_of(box.take(frame(flow, TO_SERVER, seq=5 + number * 202, ack=9, data=data), TO_SERVER)) != "on_sight"
        )
    assert refused < 30


QUOTED = b'1.2.3.4 - - [25/Nov/2025:10:00:00 +0000] "GET / HTTP/1.1" 200 612\n'
NATS = b'CONNECT {"verbose":false,"tls_required":false,"lang":"go","version":"1.31.0","protocol":1}\r\n'
DIALOGUES = {
    "NATS": (b'INFO {"server_id":"x"}\r\n', NATS + b"PING\r\n", b"SUB a 1\r\n"),
    "NATS, one by one": (b'INFO {"server_id":"x"}\r\n', NATS, b"PING\r\n", b"SUB a 1\r\n"),
    "log": (b"", QUOTED, QUOTED),
    "log in frames": (b"", b"150 <190>1 2025-11-25T10:00:00Z web nginx - - - " + QUOTED, QUOTED),
    "SMTP": (
        b"220 a ESMTP\r\n",
        b"EHLO bad.test\r\n",
        b"MAIL FROM:<a@bad.test>\r\n",
        b"DATA\r\n",
        b"Host: bad.test\r\n\r\n.\r\n",
    ),
    "FTP": (b"220 a\r\n", b"USER anonymous\r\n", b"PASS a:b\r\n"),
    "IRC": (b"", b"NICK a\r\n", b"USER a 0 * :bad.test\r\n", b"PING :bad.test\r\n"),
    "IMAP": (b"* OK\r\n", b"A1 CAPABILITY\r\n", b"A2 LOGIN a b\r\n"),
    "NNTP": (b"200 a\r\n", b"MODE READER\r\n", b"POST\r\n", b"From: a\r\nHost: bad.test\r\n\r\nbody\r\n.\r\n"),
    "NNTP, first article": (
        b"200 a\r\n",
        b"IHAVE <1@bad.test>\r\n",
        b"Path: a\r\nFrom: b\r\n\r\nHello\r\n",
        b"more\r\n.\r\n",
    ),
    "Redis": (b"", b"AUTH a:b\r\n", b"*2\r\n$3\r\nGET\r\n$8\r\nbad.test\r\n"),
    "memcached": (b"", b"set host:a 0 0 14\r\n", b"Host: bad.test\r\n", b"get host:a\r\n"),
    "Gnutella": (b"", b"GNUTELLA CONNECT/0.6\r\nX-Ultrapeer: True\r\n\r\n", b"GNUTELLA/0.6 200 OK\r\n\r\n", b"\1\2\3"),
    "spamd": (b"", b"CHECK SPAMC/1.5\r\nContent-length: 12\r\n\r\n", b"Host: bad.te", b""),
}


@pytest.mark.parametrize("dialogue", DIALOGUES.values(), ids=DIALOGUES)
def test_other_protocols_are_not_refused(box: Box, dialogue: tuple[bytes, ...]) -> None:
    talk = Conversation(box, fresh(server_port=4222)).open()
    greeting, *lines = dialogue
    for answer, line in zip([greeting, *[b"250 ok\r\n"] * len(lines)], lines, strict=False):
        if answer:
            talk.server(answer)
        content = talk.client_frame(line)
        assert delivered(content, talk.client(line)) == line
    assert talk.word()[0] != 2


@pytest.mark.parametrize("value", [0x1000_0000, 0x9000_0000])
def test_a_handshake_that_echoes_no_timestamp(box: Box, value: int) -> None:
    """Linux takes a SYN-ACK that echoes 0; then there is no timestamp to compare later ones with."""
    talk = Conversation(box, fresh()).open(timestamps(value, 0), timestamps(5, 0))
    assert name_of(talk.client(GOOD, options=timestamps(value + 9, 5))) == "allowed"
    assert name_of(talk.client(BAD, options=timestamps(value + 10, 5))) == "blocked"


# ---- lines without a version -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("line", [b"POST x", b"FOO /x", b"DELETE ;x", b" FOO x ", b"FOO http://good.test/", b"EHLO a"])
def test_a_line_without_a_version_hides_no_host(box: Box, line: bytes) -> None:
    head = line + b"\r\nA: b\r\nHost: bad.test\r\n\r\n"
    assert_blocked(Conversation(box, fresh()).open(), head)
    for cut in range(1, len(head)):
        talk = Conversation(box, fresh()).open()
        for part in (head[:cut], head[cut:]):
            talk.client(part)
        assert talk.word()[0] == 2


@pytest.mark.parametrize("body", [b"", b"abc"])
@pytest.mark.parametrize("together", [True, False])
def test_the_request_behind_one_without_a_version_is_judged(box: Box, body: bytes, together: bool) -> None:
    talk = Conversation(box, fresh()).open()
    head = b"FOO /x\r\nHost: good.test\r\nConnection: keep-alive\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    if together:
        assert_blocked(talk, head + BAD)
        return
    assert name_of(talk.client(head)) == "allowed"
    talk.server(response())
    assert name_of(talk.client(GOOD)) == "allowed"
    talk.server(response())
    assert_blocked(talk)


# ---- round four --------------------------------------------------------------------------------------------------------
def test_a_used_cookie_is_not_completed_again(box: Box) -> None:
    """The cookie of a connection that is over, completed once more behind the record of a later handshake."""
    flow = fresh()
    first = Conversation(box, flow, client_isn=50_000, server_isn=77_000).open()
    first.client(GOOD)
    first.server(response())
    first.client(flags=RST | ACK)
    later = Conversation(box, flow, client_isn=49_000, server_isn=76_000)
    later.syn()
    later.syn_ack()
    again = Conversation(box, flow, client_isn=50_000, server_isn=77_000)
    again.client(flags=ACK)
    again.server()
    assert name_of(again.client(BAD)) == "out_of_window"


def test_a_forged_handshake_from_outside_keeps_nobody_away(box: Box) -> None:
    flow = fresh()
    box.take(frame(flow, TO_CLIENT, seq=1, flags=SYN), TO_CLIENT)
    talk = Conversation(box, flow).open()
    assert_blocked(talk)


def test_a_packet_seen_after_the_worker_read_its_clock_is_not_an_old_one() -> None:
    """Else the flow was taken for one that was silent for 50 days, and reset."""
    box = Box()
    waiting, other = Conversation(box).open(), Conversation(box, Flow(client_port=41000)).open()
    waiting.client(b"GET / HTTP/1.1\r\n")
    seen = waiting.record()[t.FLOW_SEEN : t.FLOW_SEEN + 4].view("uint32")
    seen += 5
    other.client(request("good.test"))  # its stream looks at the others
    assert name_of(waiting.client(b"Host: good.test\r\n\r\n")) == "allowed"

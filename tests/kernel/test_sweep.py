"""What changes for a subscriber reaches his open flows, and nobody else's."""

from typing import Any

import dns.message
import pytest

from penstock.kernel import tables as t
from penstock.line.directory import Held, make_places, pack_place
from penstock.path.units import MODE_TLS
from tests.hellos import plain_hello, record
from tests.path.boxes import Box, Conversation, name_of, owners, policy, request, sent_to
from tests.policy.worlds import packed
from tests.quic import datagram
from tests.vocabulary import FLOW4, TO_CLIENT, TO_SERVER, Flow

PROFILE = owners().configuration.subscribers[0].profile
HOME = owners().number_of("home")
OTHER = FLOW4._replace(client="10.2.0.9")
STRANGER = FLOW4._replace(client="192.0.2.200")


def sweep(box: Box) -> int:
    return box.path.directory.sweep(box.path.flows)


def set_home(box: Box, profile: str | None = PROFILE, **more: bool) -> None:
    box.path.directory.set_line(HOME, profile, Held(*policy().configuration.resolve_profile(profile), **more))


def open_tls(box: Box, flow: Flow = FLOW4) -> Conversation:
    """A TLS connection that was judged and is free."""
    talk = Conversation(box, flow).open()
    talk.client(record(plain_hello(b"good.test")))
    talk.server(b"hello")
    assert name_of(talk.client(b"\x17\x03\x03\0\x01x")) in ("free", "second_flight")
    talk.server(b"x")
    assert name_of(talk.client(b"\x17\x03\x03\0\x01x")) == "free"
    return talk


def end_streams(box: Box, *numbers: int) -> Any:
    return box.path.directory.end_streams(box.path.flows, numbers)


def test_tls_of_whom_more_is_refused_to_ends_and_nothing_else() -> None:
    assert t.MODE_TLS == MODE_TLS
    box = Box()
    his, others, request_ = open_tls(box), open_tls(box, OTHER), Conversation(box, FLOW4._replace(client_port=9)).open()
    other_talk = Conversation(box, FLOW4._replace(client_port=10)).open()
    other_talk.client(b"SSH-2.0-OpenSSH_9.2\r\n")
    request_.client(request("good.test"))
    assert len(end_streams(box)) == 0
    ended = end_streams(box, HOME)
    assert len(ended) == 2  # one, in two words
    client_next, server_next = his.client_first + his.client_at, his.server_first + his.server_at
    outcome = his.client(b"\x17\x03\x03\0\x01x")
    assert name_of(outcome) == "refused_client"
    assert [(one.is_reset, one.seq) for one in sent_to(outcome, TO_CLIENT)] == [(True, server_next)]
    assert [(one.is_reset, one.seq) for one in sent_to(outcome, TO_SERVER)] == [(True, client_next)]
    assert name_of(others.client(b"\x17\x03\x03\0\x01x")) == "free"
    assert name_of(request_.client(request("good.test"))) == "allowed"
    assert name_of(other_talk.client(b"x")) in ("settled", "free")
    assert len(end_streams(box, HOME)) == 0, "it is ended"


def test_tls_whose_handshake_goes_on_ends_too() -> None:
    box = Box()
    talk = Conversation(box, FLOW4).open()
    assert name_of(talk.client(record(plain_hello(b"good.test")))) == "allowed"
    begun = Conversation(box, FLOW4._replace(client_port=11)).open()
    assert len(end_streams(box, HOME)) == 2, "its hello was judged, that of the other was not"
    talk.server(b"hello")
    assert name_of(talk.client(b"\x17\x03\x03\0\x01x")) == "refused_client"
    assert name_of(begun.client(record(plain_hello(b"good.test")))) == "allowed"


def test_what_is_ended_stays_so_and_what_begins_then_is_left_alone() -> None:
    box = Box()
    open_tls(box)
    before = box.path.flows.copy()
    ended = end_streams(box, HOME)
    assert box.path.directory.end_again(box.path.flows, ended) == 0
    box.path.flows[:] = before  # somebody wrote over it
    begun = open_tls(box, FLOW4._replace(client_port=9))
    assert box.path.directory.end_again(box.path.flows, ended) == 1
    assert name_of(begun.client(b"\x17\x03\x03\0\x01x")) == "free"


def test_nothing_changes_where_nothing_changed() -> None:
    box = Box()
    talks = [open_tls(box), open_tls(box, OTHER), Conversation(box, STRANGER).open()]
    before = box.path.flows.copy()
    assert sweep(box) == 0
    assert (box.path.flows == before).all()
    assert name_of(talks[0].client(b"x")) == "free"


@pytest.mark.parametrize("first", ["client", "server"])
def test_a_pause_resets_both_sides_of_his_connections_alone(first: str) -> None:
    box = Box()
    his, others, idle = open_tls(box), open_tls(box, OTHER), Conversation(box, FLOW4._replace(client_port=9)).open()
    client_next, server_next = his.client_first + his.client_at, his.server_first + his.server_at
    set_home(box, is_paused=True)
    assert sweep(box) == 2
    # Even an acknowledgement of a download; and what the other side waits for may be all that ever comes.
    outcome = his.client() if first == "client" else his.server(b"more of a film")
    assert name_of(outcome) == f"refused_{first}"
    assert [(one.is_reset, one.seq) for one in sent_to(outcome, TO_CLIENT)] == [(True, server_next)]
    assert [(one.is_reset, one.seq) for one in sent_to(outcome, TO_SERVER)] == [(True, client_next)]
    outcome = his.server(b"more of a film")
    assert [one.is_reset for one in sent_to(outcome, TO_SERVER)] == [True]
    assert sent_to(outcome, TO_CLIENT) == []
    assert name_of(idle.client(request("good.test"))) == "refused_client"
    assert name_of(others.client(b"x")) == "free"
    assert sweep(box) == 0


def test_a_new_connection_of_a_paused_subscriber_is_reset_and_afterwards_one_is_not() -> None:
    box = Box()
    set_home(box, is_paused=True)
    talk = Conversation(box, FLOW4).open()
    outcome = talk.client(request("good.test"))
    assert name_of(outcome) == "paused"
    assert [one.is_reset for one in sent_to(outcome, TO_CLIENT)] == [True]
    assert [one.is_reset for one in sent_to(outcome, TO_SERVER)] == [True]
    set_home(box)
    sweep(box)
    again = Conversation(box, FLOW4._replace(client_port=8)).open()
    assert name_of(again.client(request("good.test"))) == "allowed"


def test_what_is_no_request_is_reset_too() -> None:
    box = Box()
    set_home(box, is_paused=True)
    talk = Conversation(box, FLOW4._replace(server_port=6667)).open()
    assert name_of(talk.client(b"NICK home\r\n")) == "paused"


def test_who_becomes_protected_is_read_from_here_on() -> None:
    box = Box()
    set_home(box, None)
    talk = Conversation(box, FLOW4).open()
    assert name_of(talk.client(request("bad.test"))) == "free"
    talk.server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    set_home(box)
    assert sweep(box) == 1
    assert name_of(talk.client(request("bad.test"))) == "blocked"


def test_who_is_protected_no_more_is_free_at_once() -> None:
    box = Box()
    talk = Conversation(box, FLOW4).open()
    talk.client(request("good.test"))
    set_home(box, None)
    assert sweep(box) == 1
    assert name_of(talk.client(request("bad.test"))) == "free"


def test_an_address_that_becomes_anothers_is_judged_by_his_profile() -> None:
    box = Box()
    talk = Conversation(box, FLOW4).open()
    talk.client(request("good.test"))
    talk.server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    box.path.directory.set_line(9, PROFILE, Held(*policy().configuration.resolve_profile(PROFILE), fails_closed=True))
    box.path.directory.put(make_places([pack_place(0, packed(FLOW4.client), 128)]), [9])
    sweep(box)
    flags = int(talk.record()[t.FLOW_FLAGS : t.FLOW_FLAGS + 4].view("uint32")[0])
    assert (flags >> t.OWNER_SHIFT, bool(flags & t.FAILS_CLOSED)) == (9, True)
    assert name_of(talk.client(request("bad.test"))) == "blocked"


def test_datagrams_of_a_paused_subscriber_are_dropped_but_for_dns() -> None:
    box = Box()
    his, others = Flow(FLOW4.client, "192.0.2.9", 700, 443), Flow(OTHER.client, "192.0.2.9", 700, 443)

    def say(flow: Flow) -> str:
        return name_of(box.take_raw(datagram(flow, b"\x40 of a connection that is older"), TO_SERVER))

    for flow in (his, others):
        assert [say(flow), say(flow)] == ["not_a_request", "free"]
    set_home(box, is_paused=True)
    assert sweep(box) == 1
    assert [say(his), say(his), say(others)] == ["paused", "paused", "free"]
    query = dns.message.make_query("good.test", "A").to_wire()
    assert name_of(box.take_raw(datagram(his._replace(server_port=53), query), TO_SERVER)) == "allowed"
    set_home(box)
    sweep(box)
    assert [say(his), say(his)] == ["not_a_request", "free"]

"""Requests out of records and of lines of the event log, and answers into records."""

import struct
from ipaddress import IPv6Address, ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.control.hooks.asks import Names, RecordError, decode_ask, read_line
from penstock.control.hooks.rings import DEFAULT_TEXT, NO_CATEGORY, Ring, pack_answer
from penstock.hooks import Verdict
from penstock.kernel import tables
from penstock.path import events as e
from penstock.path.ask_rings import (
    ANSWER_ACTION,
    ANSWER_BYTES,
    ANSWER_CATEGORY,
    ANSWER_HOOK,
    ANSWER_ID,
    ANSWER_TEXT,
    ANSWER_TEXT_BYTES,
    ANSWER_URL,
    ANSWER_URL_BYTES,
    ASK_BYTES,
    ASK_PATH,
    ASK_PATH_BYTES,
    EVENT_ASKS,
    NO_ACTION,
)
from penstock.path.layout import PROTO_TLS
from penstock.policy.actions import BLOCK, REDIRECT, REPORT
from penstock.policy.layout import profile_tag

NAMES = Names.of(["new", "games", "adult"], ["kids", "adults"], {5: "home"}.get)
FIELDS = (
    e.EVENT_TIME_NS, e.EVENT_ID, e.EVENT_PROTO, e.EVENT_ACTION, e.EVENT_REASON, e.EVENT_CATEGORY, e.EVENT_SERVICE,
    e.EVENT_WOULD, e.EVENT_SUBSCRIBER, e.EVENT_DETAIL, e.EVENT_FLAGS, e.EVENT_HOST_BYTES,
)  # fmt: skip


def make_ask(identity: int, host: bytes, client: str = "10.0.0.1", port: int = 443, **words: int) -> bytes:
    """A record as the path writes it."""
    given = {e.EVENT_ID: identity, e.EVENT_PROTO: PROTO_TLS, e.EVENT_FLAGS: EVENT_ASKS, e.EVENT_HOST_BYTES: len(host)}
    given |= {getattr(e, f"EVENT_{name.upper()}"): value for name, value in words.items()}
    record = bytearray(ASK_BYTES)
    record[ASK_PATH : ASK_PATH + 5] = b"/path"
    for off, value in given.items():
        struct.pack_into("<q", record, off, value)
    address = ip_address(client)
    key = address.packed if isinstance(address, IPv6Address) else bytes(10) + b"\xff\xff" + address.packed
    record[e.EVENT_KEY : e.EVENT_KEY + 16] = key
    struct.pack_into("<I", record, e.EVENT_KEY + tables.FLOW_PORTS, 50_000 << 16 | port)
    record[e.EVENT_HOST : e.EVENT_HOST + len(host)] = host
    return bytes(record)


def test_the_words_of_an_ask_lie_where_they_are_read() -> None:
    assert tuple(range(0, 96, 8)) == FIELDS


def test_an_ask() -> None:
    words = {"reason": 0b101, "detail": profile_tag("kids"), "subscriber": 5, "action": BLOCK, "time_ns": 10**9}
    identity, request = decode_ask(make_ask(-3, b"WWW.Example.", "10.1.2.3", 8443, **words), NAMES, 5 * 10**9)
    assert (identity, request.protocol, request.host, request.port) == (-3, "tls", "www.example", 8443)
    assert (str(request.client), request.subscriber, request.profile) == ("10.1.2.3", "home", "kids")
    assert (request.categories, request.default, request.time.timestamp()) == (("new", "adult"), "block", 6.0)
    assert request.path is None
    raw = bytearray(make_ask(1, b"", "2001:db8::1"))
    struct.pack_into("<q", raw, ASK_PATH_BYTES, 5)
    _, request = decode_ask(bytes(raw), NAMES, 0)
    assert request.path == "/path"
    assert (str(request.client), request.subscriber, request.profile, request.host) == ("2001:db8::1", None, None, "")


@given(st.binary(min_size=ASK_BYTES, max_size=ASK_BYTES), st.booleans())
def test_bytes_of_a_path_that_was_taken_over_are_an_ask_or_refused(raw: bytes, asks: bool) -> None:
    record = bytearray(raw)
    if asks:
        struct.pack_into("<q", record, e.EVENT_FLAGS, EVENT_ASKS)
        struct.pack_into("<q", record, e.EVENT_PROTO, record[0] % 7)
        struct.pack_into("<q", record, e.EVENT_HOST_BYTES, record[1])
    try:
        _, request = decode_ask(bytes(record), NAMES, 0)
    except RecordError:
        return
    assert len(request.host) <= 4 * e.HOST_LIMIT


@pytest.mark.parametrize(
    ("verdict", "action", "category", "url", "text"),
    [
        (None, NO_ACTION, NO_CATEGORY, b"", b""),
        (Verdict.allow(), 0, NO_CATEGORY, b"", b""),
        (Verdict.block("games", "Später."), BLOCK, 1, b"", "Später.".encode()),
        (Verdict.block("elsewhere", "𝄞" * 500), BLOCK, NO_CATEGORY, b"", "𝄞".encode() * 500),
        (Verdict.block(), BLOCK, NO_CATEGORY, b"", DEFAULT_TEXT.encode()),
        (Verdict.report("new"), REPORT, 0, b"", b""),
        (Verdict.redirect("https://" + "x" * 1024), REDIRECT, NO_CATEGORY, b"https://" + b"x" * 1024, b""),
    ],
)  # fmt: skip
def test_an_answer(verdict: Verdict | None, action: int, category: int, url: bytes, text: bytes) -> None:
    record = pack_answer(-9, verdict, NAMES.categories, 4)
    words = {
        at: struct.unpack_from("<q", record, at)[0] for at in (ANSWER_ID, ANSWER_ACTION, ANSWER_CATEGORY, ANSWER_HOOK)
    }
    assert words == {ANSWER_ID: -9, ANSWER_ACTION: action, ANSWER_CATEGORY: category, ANSWER_HOOK: 4}
    size = {at: struct.unpack_from("<q", record, at)[0] for at in (ANSWER_URL_BYTES, ANSWER_TEXT_BYTES)}
    assert record[ANSWER_URL : ANSWER_URL + size[ANSWER_URL_BYTES]] == url
    assert record[ANSWER_TEXT : ANSWER_TEXT + size[ANSWER_TEXT_BYTES]] == text
    assert len(record) <= ANSWER_BYTES


@given(st.lists(st.sampled_from(["write", "write", "read"]), max_size=60))
def test_a_ring_keeps_order_and_counts_what_is_lost(steps: list[str]) -> None:
    ring = Ring(bytearray(192 + 8 * 16), 16)
    kept: list[bytes] = []
    lost = 0
    for number, step in enumerate(steps):
        if step == "read":
            assert list(ring.read()) == kept
            kept = []
        elif ring.write(number.to_bytes(16, "little")):
            kept.append(number.to_bytes(16, "little"))
        else:
            assert len(kept) == 8
            lost += 1
    assert ring.lost == lost


GOOD: dict[str, Any] = {
    "host": "A.Example.",
    "proto": "http",
    "dest_port": 80,
    "timestamp": "2026-03-29T01:30:00.5+0000",
}


def test_a_line_of_the_event_log() -> None:
    request = read_line(GOOD | {"category": "new", "subscriber": "home", "action": "report", "src_ip": "2001:db8::1"})
    assert (request.host, request.categories, request.default) == ("a.example", ("new",), "report")
    assert (request.subscriber, str(request.client), request.time.timestamp()) == ("home", "2001:db8::1", 1774747800.5)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"proto": "ftp"}, "proto: expected one of"),
        ({"host": 3}, "host"),
        ({"dest_port": "80"}, "dest_port"),
        ({"categories": "new"}, "categories"),
        ({"profile": 3}, "profile: expected text"),
        ({"timestamp": "2026-03-29T01:30:00"}, "timestamp: expected an offset"),
        ({"timestamp": "yesterday"}, "Invalid isoformat"),
        ({"src_ip": "home"}, "home"),
    ],
)
def test_a_line_that_is_none(changes: dict[str, Any], error: str) -> None:
    with pytest.raises(RecordError, match=error):
        read_line(GOOD | changes)
    with pytest.raises(RecordError, match="host"):
        read_line({})

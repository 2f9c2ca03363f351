"""The decoder: what accounting packets say, what is thrown away, and the reply. Packets by pyrad and by hand."""

from ipaddress import IPv4Address, IPv6Network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyrad.packet import AcctPacket, StatusServer

from penstock.control.subscribers.checks import check_event
from penstock.control.subscribers.model import Assign, Release, Restart
from penstock.control.subscribers.radius import ANSWERED, DISCARDED, NOTES, Decoded, Decoder
from penstock.control.subscribers.radius_clients import SecretError
from penstock.control.subscribers.radius_dictionary import DictionaryError
from tests.control.subscribers.radius import (
    DICTIONARY,
    NOW_S,
    SECRET,
    address,
    build_by_hand,
    build_decoder,
    build_request,
    prefix,
    vendor,
)

START, STOP, INTERIM = 1, 2, 3
HERE = {"Framed-IP-Address": "10.1.2.3"}
DECODER = build_decoder()


def decode(raw: bytes, decoder: Decoder = DECODER, source: str = "127.0.0.1") -> Decoded:
    return decoder.decode(raw, source, NOW_S)


def say(status: int, attributes: dict[str, Any] | None = None, decoder: Decoder = DECODER) -> Decoded:
    return decode(build_request({"Acct-Status-Type": status, **(attributes or {})}), decoder)


def assign(status: int, attributes: dict[str, Any] | None = None, decoder: Decoder = DECODER) -> Assign:
    """The only event, which is an Assign."""
    (event,) = say(status, attributes, decoder).events
    assert isinstance(event, Assign)
    return event


# Who and which session


def test_a_start() -> None:
    assert assign(START, HERE) == Assign(
        "radius",
        "192.0.2.1 0001",
        "34600111222",
        (address("10.1.2.3"),),
        NOW_S,
        None,
        NOW_S + 86_400,
        "192.0.2.1",
    )


def test_the_first_attribute_that_is_there_says_who_it_is() -> None:
    decoder = build_decoder(identity=["3GPP-IMSI", "Calling-Station-Id", "User-Name"])
    both = {**HERE, "3GPP-IMSI": "214070000000001", "User-Name": "alice"}
    assert assign(START, both, decoder).subscriber == "214070000000001"
    assert assign(START, {**both, "3GPP-IMSI": None}, decoder).subscriber == "34600111222"
    assert assign(START, {**both, "3GPP-IMSI": " \t"}, decoder).subscriber == "34600111222"
    only = {**both, "3GPP-IMSI": None, "Calling-Station-Id": None}
    assert assign(START, only, decoder).subscriber == "alice"
    assert say(START, {**only, "User-Name": None}, decoder).outcome == "no_identity"


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (b"  alice@example \r\n", "alice@example"),
        (b"Al Ice", "Al Ice"),
        ("Zoë".encode(), "Zoë"),
        (b"\xff\x00", "0xff00"),
        (b"a\x07b", "0x610762"),
        (b"\x00", None),  # RFC 4372 2.1: a Chargeable-User-Identity of one zero only asks for one
    ],
)
def test_an_identity_is_text_or_hexadecimal(value: bytes, read: str | None) -> None:
    decoder = build_decoder(identity=["Chargeable-User-Identity"])
    found = say(START, {**HERE, "Chargeable-User-Identity": value}, decoder)
    assert [event.subscriber for event in found.events if isinstance(event, Assign)] == ([read] if read else [])


@example(values=[bytes(253), bytes(252) + b"\1"])
@given(values=st.lists(st.binary(min_size=1, max_size=253), min_size=2, max_size=2, unique=True))
def test_an_identity_of_bytes_is_a_name_and_his_alone(values: list[bytes]) -> None:
    decoder = build_decoder(identity=["Class"])
    names = []
    for value in (b"\xff" + value[1:] for value in values):
        raw = build_by_hand([(40, b"\0\0\0\1"), (44, b"1"), (8, b"\x0a\1\2\3"), (25, value)])
        (event,) = decode(raw, decoder).events
        assert isinstance(event, Assign)
        check_event(event)
        names.append(event.subscriber)
    assert (names[0] == names[1]) == (values[0][1:] == values[1][1:])


def test_an_identity_of_another_type() -> None:
    decoder = build_decoder(identity=["NAS-Port"])
    assert assign(START, {**HERE, "NAS-Port": 4711}, decoder).subscriber == "4711"
    decoder = build_decoder(identity=["Framed-IPv6-Prefix"])
    assert assign(START, {"Framed-IPv6-Prefix": "2001:db8::/56"}, decoder).subscriber == "2001:db8::/56"


def test_a_profile() -> None:
    decoder = build_decoder(profile="Filter-Id")
    assert assign(START, {**HERE, "Filter-Id": "family "}, decoder).profile == "family"
    assert assign(START, HERE, decoder).profile is None
    assert assign(START, {**HERE, "Filter-Id": "family"}).profile is None


@pytest.mark.parametrize(
    ("attributes", "nas"),
    [
        ({"NAS-Identifier": "bng"}, "192.0.2.1"),
        ({"NAS-IP-Address": None, "NAS-Identifier": "bng", "NAS-IPv6-Address": "2001:db8::1"}, "2001:db8::1"),
        ({"NAS-IP-Address": None, "NAS-Identifier": "bng"}, "bng"),
        ({"NAS-IP-Address": "127.0.0.1", "NAS-Identifier": "bng"}, "bng"),
        ({"NAS-IP-Address": "0.0.0.0"}, "127.0.0.1"),
        ({"NAS-IP-Address": None}, "127.0.0.1"),
    ],
)
def test_sessions_are_those_of_a_nas(attributes: dict[str, Any], nas: str) -> None:
    found = assign(START, {**HERE, **attributes})
    assert (found.nas, found.session) == (nas, f"{nas} 0001")
    (release,) = say(STOP, attributes).events
    assert isinstance(release, Release)
    assert release.session == found.session
    (restart,) = say(7, {**attributes, "Acct-Session-Id": None}).events
    assert restart == Restart("radius", nas, NOW_S)


def test_scopes_by_nas() -> None:
    scopes = {
        "a": {"number": 1, "nas": ["192.0.2.1"]},
        "b": {"number": 2, "nas": ["bng", "2001:DB8::0:1", "127.0.0.1"]},
    }
    decoder = build_decoder(scopes)

    def scope_of(**attributes: Any) -> int:
        named = {name.replace("_", "-"): value for name, value in attributes.items()}
        return assign(START, {**HERE, **named}, decoder).places[0].scope

    assert scope_of() == 1
    assert scope_of(NAS_Identifier="bng") == 1
    assert scope_of(NAS_IP_Address="192.0.2.9", NAS_Identifier="bng") == 2
    assert scope_of(NAS_IP_Address=None, NAS_IPv6_Address="2001:db8::1") == 2
    assert scope_of(NAS_IP_Address="192.0.2.9") == 2, "by the address that it came from"
    assert assign(START, HERE, build_decoder({"b": {"number": 2, "nas": ["bng"]}})).places[0].scope == 0


def test_a_stop_needs_nobody_and_no_place() -> None:
    found = say(STOP, {"Calling-Station-Id": None})
    assert found.events == (Release("radius", "192.0.2.1 0001", NOW_S),)


def test_an_interim_update_without_a_place_says_all_again() -> None:
    found = assign(INTERIM)
    assert (found.places, found.adds, found.expires_s) == ((), True, NOW_S + 86_400)
    assert not assign(INTERIM, HERE).adds
    assert say(START).outcome == "no_place"


def test_what_is_answered_without_an_event() -> None:
    for outcome, attributes in (
        ("unread_status", {"Acct-Status-Type": 9}),
        ("unread_status", {"Acct-Status-Type": None}),
        ("no_session", {"Acct-Status-Type": START, "Acct-Session-Id": None}),
        ("no_identity", {"Acct-Status-Type": START, "Calling-Station-Id": None}),
        ("no_place", {"Acct-Status-Type": START, "Framed-IP-Address": None}),
    ):
        found = decode(build_request({**HERE, **attributes}))
        assert (found.outcome, found.events) == (outcome, ())
        assert found.reply is not None


# When


@pytest.mark.parametrize(
    ("attributes", "at_s", "notes"),
    [
        ({}, NOW_S, ()),
        ({"Acct-Delay-Time": 30}, NOW_S - 30, ()),
        ({"Event-Timestamp": int(NOW_S) - 90, "Acct-Delay-Time": 30}, NOW_S - 90, ()),
        ({"Event-Timestamp": int(NOW_S) + 3600}, NOW_S + 3600, ()),
        ({"Event-Timestamp": int(NOW_S) + 3601}, NOW_S, ("wild_clock",)),
        ({"Event-Timestamp": 86_400, "Acct-Delay-Time": 7}, NOW_S - 7, ("wild_clock",)),
        ({"Event-Timestamp": int(NOW_S) - 7200, "Acct-Delay-Time": 7200}, NOW_S - 7200, ()),
        ({"Acct-Delay-Time": 4_000_000_000}, NOW_S - 86_400, ()),
    ],
)
def test_the_time(attributes: dict[str, Any], at_s: float, notes: tuple[str, ...]) -> None:
    found = say(START, {**HERE, **attributes})
    (event,) = found.events
    assert (event.at_s, found.notes) == (at_s, notes)


# Where


@pytest.mark.parametrize("none", ["255.255.255.254", "255.255.255.255", "0.0.0.0", "127.0.0.1", "224.0.0.1"])
def test_addresses_that_nobody_has(none: str) -> None:
    assert say(START, {"Framed-IP-Address": none}).outcome == "no_place"
    assert assign(START, {"Framed-IP-Address": none, "Framed-IPv6-Prefix": "2001:db8::/64"}).places == (
        prefix("2001:db8::/64"),
    )


def test_prefixes_and_addresses_of_ipv6() -> None:
    found = assign(
        START,
        {
            **HERE,
            "Framed-IPv6-Prefix": ["2001:db8:1::/64", "2001:db8:2::/64"],
            "Delegated-IPv6-Prefix": ["2001:db8:300::/40", "2001:db8:4::/56"],
            "Framed-IPv6-Address": "2001:db8:5::1",
            "Alc-Ipv6-Address": "2001:db8:6::1",
            "Huawei-Framed-IPv6-Address": "2001:db8:7::1",
            "ERX-IPv6-NdRa-Prefix": "2001:db8:8::/64",
        },
    )
    assert set(found.places) == {
        address("10.1.2.3"),
        prefix("2001:db8:1::/64"),
        prefix("2001:db8:2::/64"),
        prefix("2001:db8:300::/40"),
        prefix("2001:db8:4::/56"),
        address("2001:db8:5::1"),
        address("2001:db8:6::1"),
        address("2001:db8:7::1"),
        prefix("2001:db8:8::/64"),
    }


@pytest.mark.parametrize(
    ("value", "place", "note"),
    [
        (b"\x00\x38" + bytes.fromhex("20010db800010000"), prefix("2001:db8:1::/56"), None),
        (b"\x00\x38" + bytes.fromhex("20010db8000100ff"), prefix("2001:db8:1::/56"), None),  # bits behind the length
        (b"\x00\x38" + bytes.fromhex("20010db8"), prefix("2001:db8::/56"), None),  # bytes that are left out are zero
        (b"\x00\x80" + IPv6Network("2001:db8::1/128").network_address.packed, address("2001:db8::1"), None),
        (b"\x00\x81" + bytes(16), None, "bad_prefix"),
        (b"\x00", None, "bad_prefix"),
        (b"\x00\x40" + bytes(17), None, "bad_prefix"),
        (b"\x00\x1f" + bytes.fromhex("20010db8"), None, "wide_prefix"),
        (b"\x00\x00", None, None),
        (b"\x00\x40" + bytes.fromhex("fe80000000000000"), None, None),
    ],
)
def test_prefixes_as_bytes(value: bytes, place: Any, note: str | None) -> None:
    raw = build_by_hand([(40, b"\0\0\0\1"), (44, b"1"), (31, b"1"), (123, value)])
    found = decode(raw)
    assert [event.places for event in found.events if isinstance(event, Assign)] == ([(place,)] if place else [])
    assert found.notes == ((note,) if note else ())


@pytest.mark.parametrize(
    ("text", "blocks", "note"),
    [
        ("203.0.113.1 1024-2047 router base", [(1024, 6)], None),
        ("203.0.113.1 1024..2047 router base", [(1024, 6)], None),
        ("203.0.113.1 1024-1535,4096-4607 vprn 5", [(1024, 7), (4096, 7)], None),
        (
            "203.0.113.1 37674-37723",
            [(37674, 15), (37676, 14), (37680, 12), (37696, 12), (37712, 13), (37720, 14)],
            None,
        ),
        ("203.0.113.1 0-65535", [(0, 0)], None),
        ("203.0.113.1 1-65534", [], "too_many_blocks"),
        ("203.0.113.1 2047-1024 router base", [], "bad_port_range"),
        ("203.0.113.1 1024-70000 router base", [], "bad_port_range"),
        ("203.0.113.1", [], "bad_port_range"),
        ("203.0.113.1 1024-", [], "bad_port_range"),
        ("203.0.113.x 1024-2047", [], "bad_address"),
        ("127.0.0.1 1024-2047", [], "bad_address"),
        ("\N{SUPERSCRIPT ONE} \N{SUPERSCRIPT ONE}-\N{SUPERSCRIPT TWO}", [], "bad_port_range"),
    ],
)
def test_blocks_as_nokia_writes_them(text: str, blocks: list[tuple[int, int]], note: str | None) -> None:
    found = say(START, {**HERE, "Alc-Nat-Port-Range": text})
    (event,) = found.events
    assert isinstance(event, Assign)
    assert event.places == (*(address("203.0.113.1", *block) for block in blocks), address("10.1.2.3"))
    assert found.notes == ((note,) if note else ())


def test_several_attributes_of_nokia_with_blocks() -> None:
    ranges = ["203.0.113.1 1024-1535 router base", "203.0.113.1 2048-2559 router base"]
    found = assign(START, {"Alc-Nat-Port-Range": ranges})
    assert found.places == (address("203.0.113.1", 1024, 7), address("203.0.113.1", 2048, 7))


def test_a_block_more_and_a_block_less() -> None:
    block = {"Alc-Nat-Port-Range": "203.0.113.1 1024-1535 router base"}
    more = assign(INTERIM, {**block, "Alc-Acct-Triggered-Reason": 20})
    assert (more.places, more.adds) == ((address("203.0.113.1", 1024, 7),), True)
    less = say(INTERIM, {**block, "Alc-Acct-Triggered-Reason": 19}).events
    assert less[0] == Release("radius", "192.0.2.1 0001", NOW_S, (address("203.0.113.1", 1024, 7),))
    assert isinstance(less[1], Assign)
    assert (less[1].places, less[1].adds) == ((), True)
    regular = assign(INTERIM, {**block, "Alc-Acct-Triggered-Reason": 21})
    assert not regular.adds


@pytest.mark.parametrize("maker", ["Huawei-NAT-{}", "NetElastic-NAT-{}", "TP-NAT-{}"])
def test_blocks_in_three_attributes(maker: str) -> None:
    names = (
        ("IP-Address", "Port-Start", "Port-End")
        if maker.startswith("TP")
        else ("Public-Address", "Start-Port", "End-Port")
    )
    ip, first, last = (maker.format(name) for name in names)
    found = assign(START, {ip: ["203.0.113.1", "203.0.113.2"], first: [1024, 512], last: [2047, 1023]})
    assert found.places == (address("203.0.113.1", 1024, 6), address("203.0.113.2", 512, 7))
    assert say(START, {ip: "203.0.113.1", first: 1024}).outcome == "no_place"
    assert say(START, {ip: "203.0.113.1", first: 1024, last: 70_000}).notes == ("bad_port_range",)


def test_blocks_as_rfc_8045_has_them() -> None:
    def port_range(ip: str, first: int, last: int, allocation: int = 1) -> tuple[int, bytes]:
        numbers = {8: allocation, 9: first, 10: last}
        tlvs = b"\x03\x06" + IPv4Address(ip).packed
        tlvs += b"".join(bytes((kind, 6)) + number.to_bytes(4, "big") for kind, number in numbers.items())
        return 241, b"\x06" + tlvs

    head = [(40, b"\0\0\0\3"), (44, b"1"), (31, b"1")]
    found = decode(build_by_hand([*head, port_range("203.0.113.1", 1024, 2047), port_range("203.0.113.1", 0, 63, 2)]))
    assert found.events[0] == Release("radius", "127.0.0.1 1", NOW_S, (address("203.0.113.1", 0, 10),))
    assert isinstance(found.events[1], Assign)
    assert (found.events[1].places, found.events[1].adds) == ((address("203.0.113.1", 1024, 6),), True)
    assert decode(build_by_hand([*head, (241, b"\x06\x03\x09abc")])).notes == ("bad_port_range",)


def test_where_the_box_stands() -> None:
    block = {**HERE, "Alc-Nat-Port-Range": "203.0.113.1 1024-2047 router base", "Framed-IPv6-Prefix": "2001:db8::/64"}
    outer, inner, six = address("203.0.113.1", 1024, 6), address("10.1.2.3"), prefix("2001:db8::/64")
    assert set(assign(START, block).places) == {outer, inner, six}
    assert set(assign(START, block, build_decoder(nat="inside")).places) == {inner, six}
    outside = build_decoder(nat="outside")
    assert set(assign(START, block, outside).places) == {outer, six}
    assert assign(START, HERE, outside).places == (inner,), "who has no block has an address of his own"


def test_a_place_that_two_attributes_name_is_one() -> None:
    same = {"Framed-IPv6-Prefix": "2001:db8::/64", "ERX-IPv6-NdRa-Prefix": "2001:db8::/64"}
    assert assign(START, same).places == (prefix("2001:db8::/64"),)


def test_a_packet_with_too_many_places() -> None:
    prefixes = [f"2001:db8:{number:x}::/64" for number in range(40)]
    found = say(START, {"Framed-IPv6-Prefix": prefixes})
    assert found.notes == ("too_many_places",)
    assert isinstance(found.events[0], Assign)
    assert len(found.events[0].places) == 32


# Genuine or not


def test_what_is_thrown_away() -> None:
    request = build_request({"Acct-Status-Type": START, **HERE}, is_signed=True)
    assert decode(request).outcome == "start"
    signed = [(40, b"\0\0\0\1"), (44, b"1"), (31, b"1"), (8, b"\x0a\1\2\3")]
    rows = {
        "unknown_client": decode(request, source="127.0.0.2"),
        "malformed": decode(request[:-1]),
        "unread_code": decode(build_by_hand(signed, code=1)),
        "wrong_secret": decode(build_by_hand(signed, secret=b"another")),
        "unsigned": decode(build_by_hand([], code=12)),
        "wrong_signature": decode(build_by_hand([*signed, (80, bytes(16))])),
    }
    assert tuple(rows) == DISCARDED
    for outcome, found in rows.items():
        assert found == Decoded(outcome)


@pytest.mark.parametrize(
    "attributes",
    [
        [(80, bytes(15))],
        [(80, bytes(16)), (80, bytes(16))],
    ],
)
def test_a_signature_that_is_none(attributes: list[tuple[int, bytes]]) -> None:
    assert decode(build_by_hand([(40, b"\0\0\0\1"), *attributes])).outcome == "malformed"


@pytest.mark.parametrize("tail", [b"\x01", b"\x01\x01", b"\x01\x00", b"\x01\x09abc"])
def test_attributes_that_do_not_add_up(tail: bytes) -> None:
    assert decode(build_by_hand([(40, b"\0\0\0\1")], tail=tail)).outcome == "malformed"
    assert decode(build_by_hand([], code=12, tail=tail)).outcome == "malformed"


def test_what_stands_behind_the_length_is_ignored() -> None:
    assert decode(build_request({"Acct-Status-Type": START, **HERE}) + b"padding").outcome == "start"


def test_attributes_of_vendors_that_are_laid_out_otherwise_are_ignored() -> None:
    head = [(40, b"\0\0\0\1"), (44, b"1"), (31, b"1"), (8, b"\x0a\1\2\3")]
    nokia = (6527).to_bytes(4, "big")
    for odd in (b"", b"\x00\x00", *(nokia + rest for rest in (b"\x79", b"\x79\xffabc", b"\x79\x00ab", b"\x79\x01ab"))):
        assert decode(build_by_hand([*head, (26, odd)])).outcome == "start"
    found = decode(build_by_hand([*head, vendor(10415, 1, b"214070000000001")]), build_decoder(identity=["3GPP-IMSI"]))
    assert isinstance(found.events[0], Assign)
    assert found.events[0].subscriber == "214070000000001"


@settings(max_examples=60, deadline=None)
@given(
    name=st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=60),
    session=st.text("0123456789abcdef", min_size=1, max_size=32),
    ip=st.ip_addresses(v=4, network="10.0.0.0/8"),
    net=st.ip_addresses(v=6, network="2001:db8::/32"),
    bits=st.integers(32, 128),
    is_signed=st.booleans(),
    states=st.lists(st.binary(min_size=1, max_size=40), max_size=4),
)
def test_what_pyrad_says_is_understood_and_pyrad_takes_the_reply(
    name: str, session: str, ip: Any, net: Any, bits: int, is_signed: bool, states: list[bytes]
) -> None:
    network = IPv6Network((net, bits), strict=False)
    attributes = {
        "Acct-Status-Type": START,
        "Calling-Station-Id": None,
        "User-Name": name,
        "Acct-Session-Id": session,
        "Framed-IP-Address": str(ip),
        "Delegated-IPv6-Prefix": str(network),
    }
    packet = AcctPacket(secret=SECRET, dict=DICTIONARY)
    for key, value in attributes.items():
        if value is not None:
            packet.AddAttribute(key, value)
    if states:
        packet[33] = list(states)
    if is_signed:
        packet.add_message_authenticator()
    found = decode(packet.RequestPacket())
    (event,) = found.events
    assert isinstance(event, Assign)
    assert (event.subscriber, event.session) == (name, f"127.0.0.1 {session}")
    assert set(event.places) == {address(str(ip)), prefix(str(network))}
    assert found.reply is not None
    reply = packet.CreateReply(packet=found.reply)
    assert packet.VerifyReply(reply, found.reply, enforce_ma=is_signed)
    assert reply.get(33, []) == states
    assert (80 in reply) == is_signed


def test_a_status_server() -> None:
    packet = AcctPacket(code=StatusServer, secret=SECRET, dict=DICTIONARY)
    found = decode(packet.RequestPacket())
    assert (found.outcome, found.events) == ("status_server", ())
    assert found.reply is not None
    assert packet.VerifyReply(packet.CreateReply(packet=found.reply), found.reply, enforce_ma=True)
    by_hand = build_by_hand([], code=12, signs=True)
    assert decode(by_hand).outcome == "status_server"
    assert decode(by_hand[:-1] + bytes((by_hand[-1] ^ 1,))).outcome == "wrong_signature"


KNOWN = {*ANSWERED, *DISCARDED}


@settings(max_examples=400, deadline=None)
@given(raw=st.binary(max_size=200))
def test_no_bytes_raise(raw: bytes) -> None:
    assert decode(raw).outcome in KNOWN


KINDS = st.sampled_from([1, 4, 8, 11, 31, 32, 33, 40, 41, 44, 55, 80, 87, 95, 97, 123, 168, 241, 245])
VENDORS = st.builds(
    lambda number, kind, length, rest: (26, number.to_bytes(4, "big") + bytes((kind, length)) + rest),
    st.sampled_from([6527, 2011, 10415]),
    st.sampled_from([1, 11, 99, 121, 161, 162, 163]),
    st.integers(0, 20),
    st.binary(max_size=20),
)
STATUS = st.integers(1, 9).map(lambda number: number.to_bytes(4, "big"))


@settings(max_examples=400, deadline=None)
@given(
    attributes=st.lists(st.one_of(st.tuples(KINDS, st.one_of(st.binary(max_size=24), STATUS)), VENDORS), max_size=12),
    status=STATUS,
    range_text=st.text("0123456789.-, r", max_size=40),
)
def test_no_genuine_packet_raises(attributes: list[tuple[int, bytes]], status: bytes, range_text: str) -> None:
    every = [(40, status), *attributes, vendor(6527, 121, range_text.encode())]
    found = decode(build_by_hand([pair for pair in every if pair[0] != 80]))
    assert found.outcome in ANSWERED
    assert found.reply is not None
    assert set(found.notes) <= set(NOTES)


@settings(max_examples=300, deadline=None)
@given(at=st.integers(0, 199), bit=st.integers(0, 7), cut=st.integers(0, 200))
def test_a_damaged_packet_is_thrown_away(at: int, bit: int, cut: int) -> None:
    request = build_request({"Acct-Status-Type": START, **HERE, "User-Name": "x" * 100}, is_signed=True)
    assert decode(request[: cut % len(request)]).outcome == "malformed"
    damaged = bytearray(request)
    damaged[at % len(request)] ^= 1 << bit
    assert decode(bytes(damaged)).outcome in DISCARDED


# Settings


def test_attributes_that_no_dictionary_has(tmp_path: Path) -> None:
    with pytest.raises(DictionaryError, match="not `Calling-Station`: did you mean `Calling-Station-Id`"):
        build_decoder(identity=["Calling-Station"])
    own = tmp_path / "dictionary.ours"
    own.write_text(
        "VENDOR Ours 99999\nBEGIN-VENDOR Ours\nATTRIBUTE Our-Line 3 string\nATTRIBUTE Our-Set 4 tlv\n"
        "ATTRIBUTE Our-Secret 5 string encrypt=2\nATTRIBUTE Our-Tagged 6 string has_tag\nEND-VENDOR Ours\n"
    )
    decoder = build_decoder(identity=["Our-Line"], dictionaries=[str(own)])
    raw = build_by_hand([(40, b"\0\0\0\1"), (44, b"1"), (8, b"\x0a\1\2\3"), vendor(99999, 3, b"line 7")])
    (event,) = decode(raw, decoder).events
    assert isinstance(event, Assign)
    assert event.subscriber == "line 7"
    for name, kind in (("Our-Set", "tlv"), ("Our-Secret", "string"), ("Our-Tagged", "string")):
        with pytest.raises(DictionaryError, match=rf"of a type that is read, not `{name}` \({kind}\)"):
            build_decoder(identity=[name], dictionaries=[str(own)])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ATTRIBUTE A 1 string\nATTRIBUTE B x string\n", r"dictionary\.ours:2: expected a dictionary in Free.*code: x"),
        ("$INCLUDE none\n", r"none: expected a readable file: No such file"),
        ("ATTRIBUTE\n", r"dictionary\.ours:1: expected a dictionary"),
    ],
)
def test_a_dictionary_that_cannot_be_read(tmp_path: Path, text: str, said: str) -> None:
    own = tmp_path / "dictionary.ours"
    own.write_text(text)
    with pytest.raises(DictionaryError, match=said):
        build_decoder(dictionaries=[str(own)])


def test_freeradius_own_dictionaries_are_read() -> None:
    theirs = Path("/usr/share/freeradius/dictionary.wimax")
    if not theirs.exists():
        pytest.skip("needs the dictionaries of freeradius-common")
    build_decoder(dictionaries=[str(theirs)])


def test_secrets_that_others_can_read(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"hidden\n")

    def refuse() -> str:
        with pytest.raises(SecretError) as caught:
            build_decoder(clients=[{"prefix": "127.0.0.1", "secret_file": str(path)}])
        return str(caught.value)

    path.chmod(0o644)
    assert refuse() == (
        f"radius.clients[0].secret_file: expected a file that others cannot read (chmod 600), not 0644: {path}"
    )
    path.chmod(0o600)
    path.write_bytes(b"\n")
    assert "expected one line, the secret alone" in refuse()
    path.unlink()
    assert "expected a readable file: No such file or directory" in refuse()
    path.mkdir()
    assert "expected a " in refuse()


def test_the_longest_prefix_is_the_client() -> None:
    clients = [
        {"prefix": "127.0.0.0/8", "secret": "of many"},
        {"prefix": "127.0.0.1", "secret": SECRET.decode()},
        {"prefix": "::1", "secret": "of six"},
    ]
    decoder = build_decoder(clients=clients)
    request = build_request({"Acct-Status-Type": START, **HERE})
    assert decode(request, decoder).outcome == "start"
    assert decode(request, decoder, "127.0.0.2").outcome == "wrong_secret"
    assert decode(request, decoder, "::1").outcome == "wrong_secret"
    assert decode(request, decoder, "fe80::1%lo").outcome == "unknown_client"
    assert SECRET.decode() not in repr(decoder._clients._clients)

"""Authored answers: dnspython takes each for the response to its query, with what the plan says and nothing else."""

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.answer import dns as writer
from penstock.compile.native import kernel
from penstock.request import dns as reader
from penstock.request.status import COMPLETE
from tests.answer.buffers import compiled, lend_arrays
from tests.request.test_dns import EXAMPLE, TAIL, cookie_of, header, lend_bytes, queries, read, wire

write_answer = kernel(writer.write_answer)

GUARD_BYTES = 64
ROOM_BYTES = 4_096
LONGEST = dns.name.Name((b"x" * 63, b"Y" * 63, b"z" * 63, b"W" * 61, b""))


@dataclass(frozen=True)
class Plan:
    """What is to be answered."""

    rcode: int = 0
    ttl_s: int = 10
    address4: bytes = b""
    address6: bytes = b""
    cname: bytes = b""
    targets4: tuple[bytes, ...] = ()
    targets6: tuple[bytes, ...] = ()
    error: int = -1
    text: bytes = b""
    soa: bool = False
    over_tcp: bool = False

    def limit_bytes(self, query: dns.message.Message, room: int) -> int:
        if self.over_tcp:
            return room
        return min(room, 1232, max(512, query.payload if query.edns >= 0 else 512))

    def says_error(self, query: dns.message.Message) -> bool:
        """Is there an Extended DNS Error for this client?"""
        wants = any((option.otype, option.to_wire()) in ((26, b""), (15, b"\0\0")) for option in query.options)
        return query.edns >= 0 and self.error >= 0 and not (self.error == writer.FORGED_ANSWER and wants)

    def records(self, query: dns.message.Message, most: int = 8) -> list[tuple[str, str, str]]:
        """The answer section, as dnspython writes it, with `most` addresses of each family for an alias."""
        if self.rcode != 0:
            return []
        found = []
        for question in query.question:
            if question.rdclass not in (1, 255):
                continue
            owner, some4, some6 = question.name, [self.address4], [self.address6]
            if self.cname:
                alias, _ = dns.name.from_wire(self.cname, 0)
                found.append((str(owner), "CNAME", str(alias)))
                owner, some4, some6 = alias, list(self.targets4[:most]), list(self.targets6[:most])
            if question.rdtype in (1, 255):
                found += [(str(owner), "A", str(IPv4Address(address))) for address in some4 if address]
            if question.rdtype in (28, 255):
                found += [(str(owner), "AAAA", str(IPv6Address(address))) for address in some6 if address]
        return found


def answer(query: bytes, plan: Plan, room: int = ROOM_BYTES) -> bytes:
    """What is written; not a byte of it lies outside of the room."""
    ours = read(query)
    assert ours.status == COMPLETE
    out, content = np.full(room + GUARD_BYTES, 0xEE, np.uint8), lend_bytes(query)
    pieces = plan.address4, plan.address6, plan.cname, b"".join(plan.targets4), b"".join(plan.targets6), plan.text
    parts = [lend_bytes(piece) for piece in pieces]
    slots = np.zeros(writer.PLAN_BYTES // 8, np.int64)
    with lend_arrays(out[:room], content, ours.state, slots, *parts) as (out_at, p, state_at, plan_at, *places):
        lent = (at if piece else 0 for at, piece in zip(places, pieces, strict=True))
        address4, address6, cname, targets4, targets6, text = lent
        for offset, value in (
            (writer.RCODE, plan.rcode), (writer.TTL_S, plan.ttl_s), (writer.ADDRESS4, address4),
            (writer.ADDRESS6, address6), (writer.PLAN_CNAME, cname), (writer.PLAN_CNAME_BYTES, len(plan.cname)),
            (writer.TARGET4_AT, targets4), (writer.TARGET4_COUNT, len(plan.targets4)),
            (writer.TARGET6_AT, targets6), (writer.TARGET6_COUNT, len(plan.targets6)),
            (writer.EDE_CODE, plan.error), (writer.EDE_TEXT, text), (writer.EDE_TEXT_BYTES, len(plan.text)),
            (writer.NEGATIVE_SOA, plan.soa), (writer.OVER_TCP, plan.over_tcp),
        ):  # fmt: skip
            slots[offset // 8] = value
        size = write_answer(out_at, room, p, state_at, plan_at)
    assert 0 <= size <= room
    assert (out[room:] == 0xEE).all()
    return out[:size].tobytes()


def error_of(message: dns.message.Message) -> tuple[int, bytes] | None:
    found = [(int(option.code), (option.text or "").encode()) for option in message.options if option.otype == 15]
    assert len(found) <= 1
    return found[0] if found else None


address4 = st.binary(min_size=4, max_size=4)
address6 = st.binary(min_size=16, max_size=16)
label = st.binary(min_size=1, max_size=63)
plans = st.builds(
    Plan,
    rcode=st.sampled_from([0, 0, 0, 2, 3, 5, 16]),
    ttl_s=st.integers(0, 0x7FFFFFFF),
    address4=st.just(b"") | address4,
    address6=st.just(b"") | address6,
    cname=st.just(b"") | st.lists(label, max_size=3).map(lambda some: wire(*some)),
    targets4=st.lists(address4, max_size=10).map(tuple),
    targets6=st.lists(address6, max_size=10).map(tuple),
    error=st.sampled_from([-1, 4, 15, 16, 17, 0]),
    text=st.text(max_size=400).map(lambda text: text.rstrip("\0").encode()),  # as dnspython strips it
    soa=st.booleans(),
    over_tcp=st.booleans(),
)


@compiled
@given(queries(count=reader.QUESTIONS_LIMIT), plans, st.just(ROOM_BYTES) | st.integers(0, 1400))
def test_every_answer_is_the_response_to_its_query(query: dns.message.QueryMessage, plan: Plan, room: int) -> None:
    content = query.to_wire(max_size=65535)
    ours = answer(content, plan, room)
    limit_bytes = plan.limit_bytes(query, room)
    questions = b"".join(q.name.to_wire() + struct.pack(">HH", q.rdtype, q.rdclass) for q in query.question)
    assert len(ours) <= limit_bytes
    if len(ours) <= 12:
        assert ours == (b"" if limit_bytes < 12 else content[:2] + ours[2:4] + bytes(8))
        assert limit_bytes < 12 + len(questions)
        return
    theirs = dns.message.from_wire(ours, one_rr_per_rrset=True)
    assert query.is_response(theirs)
    assert ours[12:].startswith(questions)
    kept_flags = dns.flags.RD | dns.flags.CD
    assert theirs.flags & ~dns.flags.TC & 0xFFF0 == dns.flags.QR | dns.flags.RA | query.flags & kept_flags
    check_edns(query, theirs, plan, limit_bytes - len(ours))
    check_records(query, theirs, plan, limit_bytes - len(ours))


def check_edns(query: dns.message.Message, theirs: dns.message.Message, plan: Plan, spare_bytes: int) -> None:
    """An OPT for who sent one, with the cookie as it was and the error as planned."""
    if query.edns < 0 or (theirs.edns < 0 and theirs.flags & dns.flags.TC):
        assert theirs.edns < 0
        assert theirs.rcode() == (plan.rcode if plan.rcode < 16 else dns.rcode.SERVFAIL)
        return
    assert theirs.rcode() == plan.rcode
    assert (theirs.edns, theirs.payload) == (0, 1232)
    assert theirs.ednsflags & 0xFFFF == query.ednsflags & dns.flags.DO
    assert cookie_of(theirs) == cookie_of(query)
    error = error_of(theirs)
    assert (error is not None) == plan.says_error(query)
    if error is not None:
        assert error == (plan.error, plan.text) or (error == (plan.error, b"") and spare_bytes < len(plan.text) + 50)


def check_records(query: dns.message.Message, theirs: dns.message.Message, plan: Plan, spare_bytes: int) -> None:
    """All records of the plan; or one address of each family for an alias, or none and TC, where more do not fit. A SOA
    where there is none, unless it did not fit."""
    found = [(str(r.name), dns.rdatatype.to_text(r.rdtype), str(r[0])) for r in theirs.answer]
    assert {rrset.ttl for rrset in theirs.answer + theirs.authority} <= {plan.ttl_s}
    assert {int(rrset.rdclass) for rrset in theirs.answer + theirs.authority} <= {1}
    expected = plan.records(query)
    if theirs.flags & dns.flags.TC:
        assert found == []
        assert not theirs.authority
    else:
        assert found in (expected, plan.records(query, 1))
        left_bytes = sum(12 + (4 if kind == "A" else 16) for _, kind, _ in expected[len(found) :])
        assert found == expected or spare_bytes < left_bytes
    left_text = bool(plan.says_error(query) and plan.text and error_of(theirs) in (None, (plan.error, b"")))
    if theirs.authority:
        (soa,) = theirs.authority
        assert not expected
        assert plan.soa
        assert soa.name == query.question[0].name
        assert soa[0].minimum == plan.ttl_s
    elif plan.soa and not expected:
        assert spare_bytes < 50
        assert left_text or not (plan.says_error(query) and plan.text)


@pytest.mark.parametrize("edns", [False, True])
@pytest.mark.parametrize("kind", ["A", "AAAA", "HTTPS"])
def test_the_longest_name_fits_into_what_every_client_takes(kind: str, edns: bool) -> None:
    cookie = [dns.edns.GenericOption(10, b"c" * 40)] if edns else None
    query = dns.message.make_query(LONGEST, kind, use_edns=0 if edns else -1, payload=512, options=cookie)
    plan = Plan(address4=b"1234", address6=b"1" * 16, error=15, text=b"t" * 300, soa=True)
    ours = answer(query.to_wire(), plan)
    theirs = dns.message.from_wire(ours)
    assert query.is_response(theirs)
    assert len(ours) <= 512
    assert not theirs.flags & dns.flags.TC
    assert len(theirs.answer) == (kind != "HTTPS")
    assert len(theirs.authority) == (kind == "HTTPS")
    assert error_of(theirs) == ((15, b"") if edns else None)


def test_an_alias_that_does_not_fit_asks_for_tcp() -> None:
    query = dns.message.make_query(LONGEST, "A", use_edns=0, payload=512)
    plan = Plan(cname=LONGEST.to_wire(), targets4=(b"1234",), error=15)
    theirs = dns.message.from_wire(answer(query.to_wire(), plan))
    assert query.is_response(theirs)
    assert (bool(theirs.flags & dns.flags.TC), theirs.answer, error_of(theirs)) == (True, [], (15, b""))
    whole = dns.message.from_wire(answer(query.to_wire(), Plan(**{**vars(plan), "over_tcp": True})))
    assert [str(rrset[0]) for rrset in whole.answer] == [str(LONGEST), "49.50.51.52"]


def test_an_alias_keeps_one_address_of_each_family_before_it_asks_for_tcp() -> None:
    query = dns.message.make_query("www.example", "ANY", use_edns=0, payload=512)
    some4, some6 = [bytes([192, 0, 2, number]) for number in range(8)], [bytes(15) + bytes([n]) for n in range(1, 9)]
    plan = Plan(cname=wire(b"safe", b"example"), targets4=tuple(some4), targets6=tuple(some6), error=15)
    for room, kinds in ((512, ["CNAME", *["A"] * 8, *["AAAA"] * 8]), (140, ["CNAME", "A", "AAAA"]), (90, [])):
        theirs = dns.message.from_wire(answer(query.to_wire(), plan, room), one_rr_per_rrset=True)
        assert [dns.rdatatype.to_text(rrset.rdtype) for rrset in theirs.answer] == kinds
        assert bool(theirs.flags & dns.flags.TC) == (kinds == [])


def test_a_compressed_question_is_written_in_full() -> None:
    query = header(3) + EXAMPLE + TAIL + b"\3BAD\xc0\x10" + TAIL + b"\xc0\x1d" + TAIL
    ours = answer(query, Plan(address4=b"1234"))
    bad = wire(b"BAD", b"example")
    assert ours[12:].startswith(EXAMPLE + TAIL + bad + TAIL + bad + TAIL)
    theirs = dns.message.from_wire(ours, one_rr_per_rrset=True)
    assert [str(rrset.name) for rrset in theirs.answer] == ["www.example.", "BAD.example.", "BAD.example."]


def test_badvers_is_said_in_the_opt_and_failure_without_one() -> None:
    query = dns.message.make_query("www.example", "A", use_edns=0)
    assert dns.message.from_wire(answer(query.to_wire(), Plan(rcode=writer.BADVERS))).rcode() == dns.rcode.BADVERS
    bare = dns.message.make_query("www.example", "A", use_edns=False)
    assert dns.message.from_wire(answer(bare.to_wire(), Plan(rcode=writer.BADVERS))).rcode() == dns.rcode.SERVFAIL


def test_who_wants_structure_is_not_told_of_forgery() -> None:
    plan = Plan(cname=wire(b"safe", b"example"), targets4=(b"1234",), error=writer.FORGED_ANSWER, text=b"safe search")
    for option, told in (((26, b""), None), ((3, b""), (4, b"safe search"))):
        query = dns.message.make_query("www.example", "A", options=[dns.edns.GenericOption(*option)])
        assert error_of(dns.message.from_wire(answer(query.to_wire(), plan))) == told

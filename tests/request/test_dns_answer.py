"""Responses: dnspython finds the same records, and a message whose ECH is gone says everything else as before."""

import struct
from typing import NamedTuple

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.svcbbase as svcb
import dns.rrset
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.compile.native import kernel
from penstock.request import dns_answer as walker
from penstock.request.status import BAD, COMPLETE, NOT_MINE
from tests.answer.buffers import compiled, lend_arrays
from tests.corpus import CORPUS
from tests.request.test_dns import EXAMPLE, TAIL, asked, captured_messages, header, lend_bytes, read, wire

read_answers = kernel(walker.read_answers)
find_records = kernel(walker.find_records)
find_record = kernel(walker.find_record)
find_ech = kernel(walker.find_ech)
remove_ech = kernel(walker.remove_ech)
neutralise_ech = kernel(walker.neutralise_ech)

ECH_VERSION = 0xFE0D


class Record(NamedTuple):
    """One record as the walk says it."""

    kind: int
    network: int
    ttl: int
    data: bytes
    section: int
    ech: bytes | None


def walk(message: bytes) -> list[Record] | None:
    """Every record of a message; None when one is cut off."""
    content, record = lend_bytes(message), np.zeros(walker.RECORD_BYTES // 8, np.int64)
    slots = np.zeros(2, np.int64)
    found = []
    with lend_arrays(content, record, slots) as (p, record_at, slots_at):
        at = find_records(p, p + len(message), record_at)
        while at > 0:
            at = find_record(at, p + len(message), p, record_at)
            if at == 0:
                return found
            if at > 0:
                kind, network, ttl, ttl_at, data_at, size, section = (int(word) for word in record[2:9])
                assert message[ttl_at - p - 4 : ttl_at - p] == struct.pack(">HH", kind, network)
                status = find_ech(record_at, slots_at)
                span = slice(int(slots[0]) - p, int(slots[0] + slots[1]) - p)
                ech = {1: message[span], 0: None, walker.CANNOT: b"malformed"}[status]
                found.append(Record(kind, network, ttl, message[data_at - p : data_at - p + size], section, ech))
    return None


def remove(message: bytes) -> bytes | int:
    """The message without ECH, or what the function returned instead."""
    content, out = lend_bytes(message), lend_bytes(b"\xee" * len(message))
    cuts = np.full(walker.CUTS_BYTES // 8, -7, np.int64)
    with lend_arrays(content, out, cuts) as (p, out_at, cuts_at):
        size = remove_ech(out_at, p, p + len(message), cuts_at)
    assert content.tobytes() == message
    return out[:size].tobytes() if size > 0 else int(size)


def neutralise(message: bytes) -> tuple[int, bytes]:
    content, cuts = lend_bytes(message), np.full(walker.CUTS_BYTES // 8, -7, np.int64)
    with lend_arrays(content, cuts) as (p, cuts_at):
        count = neutralise_ech(p, p + len(message), cuts_at)
    return int(count), content.tobytes()


def ech_list(*versions: int) -> bytes:
    """An ECHConfigList; its configurations are of no use to anybody."""
    content = b"".join(struct.pack(">HH", version, 5) + b"\xfe\x0d\xfe\x0d\0" for version in versions)
    return struct.pack(">H", len(content)) + content


def usable_configs(content: bytes) -> int:
    """How many configurations a client that knows RFC 9849 sees. The list must be well-formed."""
    (size,) = struct.unpack_from(">H", content)
    assert size == len(content) - 2 > 0
    at, usable = 2, 0
    while at < len(content):
        version, length = struct.unpack_from(">HH", content, at)
        usable += version == ECH_VERSION
        at += 4 + length
    assert at == len(content)
    return usable


Key = svcb.ParamKey
labels = st.sampled_from([b"a", b"b", b"example", b"test", b"cdn", b"x" * 40])
names = st.lists(labels, max_size=4).map(lambda some: dns.name.Name((*some, b"")))


@st.composite
def services(draw: st.DrawFn) -> dns.rdata.Rdata:
    """An HTTPS or SVCB record, most of them with ech."""
    offered = {
        Key.ALPN: svcb.ALPNParam([b"h2", b"h3"]), Key.PORT: svcb.PortParam(8443),
        Key.IPV4HINT: svcb.IPv4HintParam(["192.0.2.1"]), Key.IPV6HINT: svcb.IPv6HintParam(["2001:db8::1"]),
        65000: svcb.GenericParam(b"\0\5\0\1x"),
        Key.ECH: svcb.ECHParam(ech_list(*draw(st.lists(st.sampled_from([ECH_VERSION, 0xFE0A, 0]), min_size=1)))),
    }  # fmt: skip
    keys = draw(st.sets(st.sampled_from(sorted(offered)), min_size=1))
    if draw(st.booleans()):
        keys.add(Key.ECH)
    params = {key: offered[key] for key in keys}
    if draw(st.booleans()):
        params[Key.MANDATORY] = svcb.MandatoryParam(sorted(draw(st.sets(st.sampled_from(sorted(keys)), min_size=1))))
    kind = draw(st.sampled_from([dns.rdatatype.HTTPS, dns.rdatatype.SVCB]))
    whole = dns.rdata.get_rdata_class(dns.rdataclass.IN, kind)
    return whole(dns.rdataclass.IN, kind, draw(st.integers(1, 3)), draw(names), params)


def plain(kind: str, text: str, *values: st.SearchStrategy) -> st.SearchStrategy:
    """Records of a type, their text filled in with values."""
    build = lambda *parts: dns.rdata.from_text("IN", kind, text.format(*parts))  # noqa: E731
    return st.builds(build, *values)


datas = st.one_of(
    services(), services(), services(),
    plain("A", "192.0.2.7"), plain("TXT", '"{}"', st.sampled_from(["one", "two" * 50])),
    plain("NS", "{}", names), plain("CNAME", "{}", names), plain("PTR", "{}", names), plain("DNAME", "{}", names),
    plain("MX", "10 {}", names), plain("SRV", "1 2 3 {}", names),
    plain("SOA", "{} {} 1 2 3 4 5", names, names), plain("RP", "{} {}", names, names),
)  # fmt: skip
sections = st.lists(st.tuples(names, st.integers(0, 0x7FFFFFFF), datas), max_size=5)


@st.composite
def responses(draw: st.DrawFn) -> dns.message.Message:
    message = dns.message.QueryMessage(id=draw(st.integers(0, 0xFFFF)))
    message.flags = dns.flags.QR | dns.flags.RD | dns.flags.RA
    for _ in range(draw(st.integers(0, 2))):
        message.question.append(dns.rrset.RRset(draw(names), 1, draw(st.sampled_from([1, 28, 65]))))
    for section in (message.answer, message.authority, message.additional):
        for owner, ttl, data in draw(sections):
            section.append(dns.rrset.from_rdata(owner, ttl, data))
    if draw(st.booleans()):
        message.use_edns(0)
    return message


def flatten(message: dns.message.Message) -> list[list[tuple]]:
    """Per section the records, in a comparable form; dnspython joins what belongs to one set."""
    return [
        sorted(
            (str(rrset.name), rrset.rdclass, rrset.rdtype, repr(data), rrset.ttl) for rrset in section for data in rrset
        )
        for section in message.sections
    ]


def expect_removed(message: dns.message.Message) -> int:
    """Take ECH out of dnspython's objects. Returns how many parameters went."""
    removed = 0
    for section in message.sections[1:]:
        for number, rrset in enumerate(section):
            data = rrset[0]
            if rrset.rdtype not in (64, 65) or Key.ECH not in data.params:
                continue
            params = {key: value for key, value in data.params.items() if key != Key.ECH}
            keys = [key for key in getattr(params.pop(Key.MANDATORY, None), "keys", ()) if key != Key.ECH]
            if keys:
                params[Key.MANDATORY] = svcb.MandatoryParam(keys)
            section[number] = dns.rrset.from_rdata(rrset.name, rrset.ttl, data.replace(params=params))
            removed += 1
    return removed


@compiled
@given(responses())
def test_the_walk_finds_the_records_of_dnspython(message: dns.message.Message) -> None:
    content = message.to_wire(max_size=65535)
    found = walk(content)
    expected = [
        (rrset.rdtype, rrset.rdclass, rrset.ttl, number)
        for number, section in enumerate(message.sections)
        if number > 0
        for rrset in section
    ]
    assert found is not None
    assert [(r.kind, r.network, r.ttl, r.section) for r in found if r.kind != dns.rdatatype.OPT] == expected
    service = (
        data for section in message.sections[1:] for rrset in section for data in rrset if hasattr(data, "params")
    )
    for record in found:
        if record.kind in (64, 65):
            param = next(service).params.get(Key.ECH)
            assert record.ech == (param and struct.pack(">HH", 5, len(param.ech)) + param.ech)
        else:
            assert record.ech is None
    ours = read(content, read_answers)
    assert (ours.status, ours.questions) == (COMPLETE, asked(message))


@compiled
@given(responses())
def test_what_is_left_without_ech_is_what_it_was(message: dns.message.Message) -> None:
    content = message.to_wire(max_size=65535)
    ours = remove(content)
    if expect_removed(message) == 0:
        assert ours == 0
        return
    assert isinstance(ours, bytes)
    theirs = dns.message.from_wire(ours, one_rr_per_rrset=True)
    assert flatten(theirs) == flatten(dns.message.from_wire(message.to_wire(max_size=65535), one_rr_per_rrset=True))
    assert (theirs.id, theirs.flags, theirs.opt) == (message.id, message.flags, message.opt)
    assert remove(ours) == 0


@compiled
@given(responses())
def test_neutralised_configurations_are_of_no_use(message: dns.message.Message) -> None:
    content = message.to_wire(max_size=65535)
    count, ours = neutralise(content)
    theirs = dns.message.from_wire(ours, one_rr_per_rrset=True)
    configs = 0
    for section in theirs.sections[1:]:
        for rrset in section:
            param = rrset[0].params.get(Key.ECH) if rrset.rdtype in (64, 65) else None
            if param:
                assert usable_configs(param.ech) == 0
                configs += param.ech.count(struct.pack(">HH", walker.UNKNOWN_VERSION, 5))
    assert (count, len(ours)) == (configs, len(content))
    expect_removed(message), expect_removed(theirs)
    assert flatten(theirs) == flatten(dns.message.from_wire(message.to_wire(max_size=65535), one_rr_per_rrset=True))


def check_any(content: bytes) -> None:
    """Whatever these bytes are: nothing faults, and what is called clean is clean."""
    read(content, read_answers)
    records = walk(content)
    ours = remove(content)
    count, changed = neutralise(content)
    if isinstance(ours, bytes):
        assert records is not None
        assert len(ours) < len(content)
        assert remove(ours) == 0
        assert len(walk(ours) or []) == len(records)
    if count < 0:
        assert changed == content
        assert ours == walker.CANNOT
    elif records is not None and any(record.ech for record in records):
        assert ours != 0


@compiled
@given(responses(), st.data())
def test_mutations_never_fault(message: dns.message.Message, data: st.DataObject) -> None:
    content = bytearray(message.to_wire(max_size=65535))
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(st.sampled_from([0, 5, 0x0C, 0x40, 0xC0, 0xFF]) | st.integers(0, 255))
    check_any(bytes(content[: data.draw(st.integers(0, len(content)))]))


@compiled
@given(st.binary(max_size=120), st.integers(0, 2), st.integers(0, 3))
def test_random_bytes_never_fault(content: bytes, questions: int, records: int) -> None:
    check_any(header(questions, records, 0, 1, flags=0x8180) + content)
    check_any(content)


def https(value: bytes, owner: bytes = b"\xc0\x0c") -> bytes:
    """A record with this data behind priority and target (the root)."""
    data = b"\0\1\0" + value
    return owner + struct.pack(">HHIH", 65, 1, 60, len(data)) + data


def param(key: int, value: bytes) -> bytes:
    return struct.pack(">HH", key, len(value)) + value


ECH = param(5, ech_list(ECH_VERSION))
HEAD = EXAMPLE + TAIL


def response(*records: bytes) -> bytes:
    return header(1, len(records), flags=0x8180) + HEAD + b"".join(records)


def test_pointers_behind_the_removed_bytes_are_right_again() -> None:
    """A name that was first written behind the ECH, and a pointer to it through another pointer."""
    owner = wire(b"ns", b"other")
    start = len(response(https(ECH)))
    first = owner + struct.pack(">HHIH", 1, 1, 9, 4) + b"1234"
    second = (
        struct.pack(">H", 0xC000 | start)
        + struct.pack(">HHIH", 2, 1, 9, 4)
        + b"\1a"
        + struct.pack(">H", 0xC000 | start)
    )
    ours = remove(response(https(ECH), first, second))
    assert isinstance(ours, bytes)
    names = [rrset for rrset in dns.message.from_wire(ours).answer if rrset.rdtype == 2]
    assert str(names[0]) == "ns.other. 9 IN NS a.ns.other."


def test_keys_out_of_order_or_twice_are_removed_all() -> None:
    ours = remove(response(https(param(1, b"\2h2") + ECH + ECH + param(0, b"\0\5\0\1"))))
    assert ours == response(https(param(1, b"\2h2") + param(0, b"\0\1")))
    assert remove(response(https(param(0, b"\0\5") + ECH))) == response(https(b""))


@pytest.mark.parametrize(
    "message",
    [
        response(https(ECH[:-1] + b"")[:-1]),
        response(https(ECH + b"\0")),
        response(https(param(5, b"\0\1") + b"\0\5\0\2\0")),
        response(*[https(ECH)] * (walker.CUT_LIMIT + 1)),
        header(1, 2, flags=0x8180) + HEAD + https(ECH),
        response(https(ECH), wire(b"key") + struct.pack(">HHIH", 250, 255, 0, 0)),
        response(https(ECH), b"\0" + struct.pack(">HHIH", 24, 255, 0, 2) + b"\0\0"),
        response(https(ECH), b"\xc0\x2e" + struct.pack(">HHIH", 1, 1, 9, 4) + b"1234"),
        response(https(ECH), b"\xc0\x0c" + struct.pack(">HHIH", 15, 1, 9, 1) + b"\0"),
        b"", header(1, flags=0x8180) + b"\3www",
    ],
)  # fmt: skip
def test_what_is_not_understood_is_left_alone(message: bytes) -> None:
    assert remove(message) == walker.CANNOT


def test_a_name_that_would_read_otherwise_is_left_alone() -> None:
    """An owner that points at a TTL, which is a label over ECH; and one at a pointer in data where no names are."""
    ech = param(5, struct.pack(">HHH", 50, ECH_VERSION, 46) + bytes(46))
    over = len(response()) + 9  # the last byte of the TTL: 60
    assert https(ech)[9:10] == b"\x3c"
    assert https(ech)[70:] == b"\0"
    through = len(response(https(ech))) + 12
    inner = struct.pack(">H", 0xC000 | through + 2)
    for target, more in ((over, b""), (through, b"\0" + struct.pack(">HHIH", 16, 1, 9, 6) + b"\1" + inner + b"\1x\0")):
        owner = struct.pack(">H", 0xC000 | target)
        records = [one for one in (more, owner + struct.pack(">HHIH", 1, 1, 9, 4) + b"1234") if one]
        assert isinstance(remove(response(https(ech), *records[:-1])), bytes)
        assert remove(response(https(ech), *records)) == walker.CANNOT


def test_a_ttl_with_its_top_bit_set_is_none() -> None:
    records = walk(response(b"\0" + struct.pack(">HHIH", 1, 1, 0x80000001, 0)))
    assert records is not None
    assert [record.ttl for record in records] == [0]


def test_a_response_may_lack_its_question_and_a_query_is_none() -> None:
    assert read(header(0, flags=0x8181), read_answers).status == COMPLETE
    assert read(header(flags=0x8180) + b"\xc0\x0c" + TAIL, read_answers).status == BAD
    assert read(header() + HEAD, read_answers).status == NOT_MINE


@pytest.mark.skipif(CORPUS is None, reason="the corpus of captures is not there")
def test_captured_responses_walk_as_dnspython_walks_them() -> None:
    both = removed = 0
    for source, message in captured_messages():
        check_any(message)
        try:
            theirs = dns.message.from_wire(message, ignore_trailing=True, one_rr_per_rrset=True)
        except (dns.exception.DNSException, ValueError, struct.error):
            continue
        if not theirs.flags & dns.flags.QR or theirs.opcode() != dns.opcode.QUERY:
            continue
        records = walk(message)
        assert records is not None, source
        counted = [sum(record.section == number and record.kind != 41 for record in records) for number in (1, 2, 3)]
        assert counted == [len(section) for section in theirs.sections[1:]], source
        ours = remove(message)
        both += 1
        removed += isinstance(ours, bytes)
        expected = expect_removed(theirs)
        assert isinstance(ours, bytes) == (expected > 0), source
    assert both > 30
    assert removed > 0

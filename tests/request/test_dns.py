"""Queries: dnspython reads no other name than we do, and what could be read in two ways is refused."""

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rdataclass
import dns.rdatatype
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.compile.native import kernel
from penstock.line.pcap import read_frames, to_ethernet
from penstock.request import dns as reader
from penstock.request.status import BAD, COMPLETE, NOT_MINE
from tests.answer.buffers import compiled, lend_arrays
from tests.corpus import CORPUS

read_query = kernel(reader.read_query)

SLOTS = {
    "identity": reader.MESSAGE_ID, "flags": reader.MESSAGE_FLAGS, "end": reader.QUESTIONS_END,
    "opt_off": reader.OPT_OFF, "udp_bytes": reader.UDP_BYTES, "version": reader.EDNS_VERSION,
    "dnssec_ok": reader.DNSSEC_OK, "structured": reader.WANTS_STRUCTURED, "odd": reader.ODD_BEHIND,
}  # fmt: skip


class Question(NamedTuple):
    host: bytes
    kind: int
    network: int


class Read(NamedTuple):
    """What the reader said."""

    status: int
    detail: int
    questions: list[Question]
    slots: dict[str, int]
    cookie: bytes
    state: np.ndarray
    message: np.ndarray


def lend_bytes(content: bytes) -> np.ndarray:
    """An array of exactly these bytes; a byte that belongs to nobody follows."""
    return np.frombuffer(content + b"\xaa", np.uint8).copy()[:-1]


def read(message: bytes, run: Any = read_query) -> Read:
    """Give it one whole message; nothing else may be touched."""
    content, text = lend_bytes(message), np.full(reader.TEXT_BYTES, 0xEE, np.uint8)
    state = np.full(reader.STATE_SLOTS, -7, np.int64)
    with lend_arrays(content, text, state) as (p, text_at, state_at):
        status = run(p, p + len(message), state_at, text_at)
    slots = {name: int(state[offset // 8]) for name, offset in SLOTS.items()}
    detail = int(state[0])
    assert (detail in reader.DETAILS) == (status == BAD)
    questions = []
    for number in range(int(state[reader.QUESTION_COUNT // 8])):
        words = state[(reader.QUESTIONS + number * reader.QUESTION_BYTES) // 8 :]
        off, size, kind, network = (int(word) for word in words[1:5])
        questions.append(Question(text[off : off + size].tobytes(), kind, network))
    start, size = (int(state[offset // 8]) for offset in (reader.COOKIE_OFF, reader.COOKIE_BYTES))
    return Read(status, detail, questions, slots, message[start : start + size], state, content)


def text_of(name: dns.name.Name) -> bytes:
    """A name as hosts are written."""
    return b".".join(label.replace(b".", b"\\") for label in name.labels[:-1])


def header(questions: int = 1, answers: int = 0, authorities: int = 0, others: int = 0, flags: int = 0x0100) -> bytes:
    return struct.pack(">6H", 0xBEEF, flags, questions, answers, authorities, others)


def wire(*labels: bytes) -> bytes:
    """A name in wire format, whatever is in it."""
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


TAIL = struct.pack(">HH", 1, 1)
EXAMPLE = wire(b"www", b"example")


def fits(labels: list[bytes]) -> bool:
    return sum(len(label) + 1 for label in labels) < 255


label = st.binary(min_size=1, max_size=63) | st.sampled_from([b"www", b"Example", b"a.b", b"_dns", b"x" * 63, b"\0"])
labels = st.lists(label, max_size=8).filter(fits) | st.just([b"1"] * 127)
names = labels.map(lambda some: dns.name.Name((*some, b"")))
kinds = st.integers(1, 0xFFFF).filter(lambda kind: kind != dns.rdatatype.OPT and not 249 <= kind <= 252)
networks = st.sampled_from([1, 1, 1, 3, 4, 255])
options = st.lists(
    st.builds(
        dns.edns.GenericOption,
        st.sampled_from([3, 8, 10, 12, 15, 26, 65001]),
        st.binary(max_size=41) | st.sampled_from([b"", b"\0\0", b"12345678", b"1" * 16]),
    ),
    max_size=4,
)


@st.composite
def queries(draw: st.DrawFn, count: int = 1) -> dns.message.QueryMessage:
    """A query as a client might send it, by dnspython."""
    message = dns.message.QueryMessage(id=draw(st.integers(0, 0xFFFF)))
    message.flags = draw(st.integers(0, 0x07FF)) & 0x07F0
    for _ in range(draw(st.integers(1, count))):
        question = dns.rrset.RRset(draw(names), draw(networks), draw(kinds))
        message.question.append(question)
    if draw(st.booleans()):
        message.use_edns(
            draw(st.integers(0, 3)), draw(st.sampled_from([0, dns.flags.DO])), draw(st.integers(0, 0xFFFF)),
            options=draw(options),
        )  # fmt: skip
    return message


def cookie_of(message: dns.message.Message) -> bytes:
    found = [option.to_wire() for option in message.options if option.otype == 10]
    return next((data for data in found if len(data) == 8 or 16 <= len(data) <= 40), b"")


def asked(message: dns.message.Message) -> list[Question]:
    return [Question(text_of(q.name), int(q.rdtype), int(q.rdclass)) for q in message.question]


def check_alike(ours: Read, message: dns.message.Message) -> None:
    """All that the state says, compared with what dnspython read."""
    assert ours.questions == asked(message)
    assert (ours.slots["identity"], ours.slots["flags"]) == (message.id, int(message.flags) & 0xFFFF)
    assert (ours.slots["opt_off"] != 0) == (message.edns >= 0)
    if message.edns >= 0:
        assert ours.slots["version"] == message.edns
        assert ours.slots["udp_bytes"] == message.payload
        assert ours.slots["dnssec_ok"] == (message.ednsflags & dns.flags.DO != 0)
        assert ours.cookie == cookie_of(message)
        wants = {(26, b""), (15, b"\0\0")} & {(int(o.otype), o.to_wire()) for o in message.options}
        assert ours.slots["structured"] == (1 if wants else 0)


@compiled
@given(queries(count=reader.QUESTIONS_LIMIT), st.binary(max_size=20))
def test_every_query_of_dnspython_reads_back(message: dns.message.QueryMessage, behind: bytes) -> None:
    content = message.to_wire(max_size=65535)
    ours = read(content + behind)
    assert ours.status == COMPLETE
    check_alike(ours, message)
    assert ours.slots["odd"] == 0
    kept = ours.message[12 : ours.slots["end"]].tobytes()
    assert content[12:].startswith(kept)


@compiled
@given(queries(count=3), st.data())
def test_mutations_never_read_another_name(message: dns.message.QueryMessage, data: st.DataObject) -> None:
    """Where both read the questions, they are the same; what dnspython reads, we refuse only for a reason of ours."""
    content = bytearray(message.to_wire(max_size=65535))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(st.sampled_from([0, 1, 0x0C, 0x3F, 0x40, 0x80, 0xC0, 0xFF]) | st.integers(0, 255))
    check_against_dnspython(bytes(content[: data.draw(st.integers(0, len(content)))]))


@compiled
@given(st.binary(max_size=80), st.binary(max_size=300))
@example(b"\1a\xc0\x0c", b"")
@example(b"\xc0\x0c", b"")
def test_random_bytes_read_in_no_other_way(questions: bytes, rest: bytes) -> None:
    check_against_dnspython(header(1) + questions + rest)
    check_against_dnspython(header(2, 1, 0, 1) + questions + rest)
    check_against_dnspython(rest)


def check_against_dnspython(content: bytes) -> None:
    ours = read(content)
    try:
        theirs = dns.message.from_wire(content, question_only=True)
    except (dns.exception.DNSException, ValueError, struct.error):
        # dnspython refuses for reasons that bear on no name too (a class that a type must not have).
        return
    if theirs.flags & dns.flags.QR or theirs.opcode() != dns.opcode.QUERY or not theirs.question:
        assert ours.status == NOT_MINE
    elif ours.status == BAD:
        assert ours.detail in (reader.BAD_POINTER, reader.BAD_QUESTION_COUNT)
    else:
        assert ours.status == COMPLETE
        assert ours.questions == asked(theirs)


@pytest.mark.parametrize(
    ("message", "detail"),
    [
        (header(), reader.BAD_NAME_CUT),
        (header() + b"\3ww", reader.BAD_NAME_CUT),
        (header() + b"\3www", reader.BAD_NAME_CUT),
        (header() + b"\xc0", reader.BAD_NAME_CUT),
        (header() + b"\xc0\x0c" + TAIL, reader.BAD_POINTER),
        (header() + b"\1a\xc0\x0c" + TAIL, reader.BAD_POINTER),
        (header() + b"\xc0\x12" + TAIL + EXAMPLE, reader.BAD_POINTER),
        (header() + b"\xc0\x04" + TAIL, reader.BAD_POINTER),
        (header(2) + EXAMPLE + TAIL + b"\xc0\x02" + TAIL, reader.BAD_POINTER),
        (header() + b"\x40a\0" + TAIL, reader.BAD_LABEL_TYPE),
        (header() + b"\x80a\0" + TAIL, reader.BAD_LABEL_TYPE),
        (header() + wire(*[b"x" * 63] * 4) + TAIL, reader.BAD_NAME_LONG),
        (header() + wire(*[b"x" * 63] * 3, b"y" * 62) + TAIL, reader.BAD_NAME_LONG),
        (header() + EXAMPLE + TAIL[:3], reader.BAD_QUESTION_CUT),
        (header(2) + EXAMPLE + TAIL, reader.BAD_NAME_CUT),
        (header(5) + 5 * (EXAMPLE + TAIL), reader.BAD_QUESTION_COUNT),
    ],
)
def test_what_two_servers_could_read_differently_is_refused(message: bytes, detail: int) -> None:
    ours = read(message)
    assert (ours.status, ours.detail) == (BAD, detail)


@pytest.mark.parametrize(
    "message",
    [b"", header()[:11], header(0), header(flags=0x8180) + EXAMPLE + TAIL, header(flags=0x2000) + EXAMPLE + TAIL,
     header(flags=0x2800) + EXAMPLE + TAIL],
)  # fmt: skip
def test_what_asks_for_no_name_is_not_ours(message: bytes) -> None:
    assert read(message).status == NOT_MINE


def test_pointers_between_questions_are_followed() -> None:
    message = header(3) + EXAMPLE + TAIL + b"\3BAD\xc0\x10" + TAIL + b"\xc0\x1d" + TAIL
    ours = read(message)
    assert [question.host for question in ours.questions] == [b"www.example", b"BAD.example", b"BAD.example"]
    assert ours.state[reader.COMPRESSED // 8] == 1


def test_odd_names_keep_their_labels_apart() -> None:
    hosts = [wire(b"a.b", b"c"), wire(b"a", b"b", b"c"), wire(), wire(b"\0\xff ", b"\\")]
    assert [read(header() + name + TAIL).questions[0].host for name in hosts] == [
        b"a\\b.c",
        b"a.b.c",
        b"",
        b"\0\xff .\\",
    ]
    longest = [b"x" * 63] * 3 + [b"y" * 61]
    assert read(header() + wire(*longest) + TAIL).questions[0].host == b".".join(longest)


def opt(content: bytes, owner: bytes = b"\0", size: int | None = None) -> bytes:
    return owner + struct.pack(">HHIH", 41, 4096, 0x8000, len(content) if size is None else size) + content


@pytest.mark.parametrize(
    ("records", "count", "found"),
    [
        (opt(b""), 1, True),
        (opt(b"", wire(b"a")), 1, False),
        (opt(b"") + opt(b""), 2, True),
        (opt(b"", size=1), 1, False),
        (opt(b"\0\x0a\0\x09" + b"12345678"), 1, True),
        (opt(b"\0"), 1, True),
        (opt(b"") + b"\xc0", 2, True),
        (b"", 1, False),
        (b"", 0xFFFF, False),
    ],
)
def test_odd_records_change_no_name(records: bytes, count: int, found: bool) -> None:
    ours = read(header(1, 0, 0, count) + EXAMPLE + TAIL + records)
    assert (ours.status, ours.questions[0].host) == (COMPLETE, b"www.example")
    assert ours.slots["odd"] == (0 if records == opt(b"") else 1)
    assert (ours.slots["opt_off"] != 0) == found


def test_an_opt_outside_of_the_additional_section_is_none() -> None:
    ours = read(header(1, 1) + EXAMPLE + TAIL + opt(b""))
    assert (ours.slots["odd"], ours.slots["opt_off"]) == (1, 0)


@pytest.mark.parametrize(
    ("option", "wants"),
    [((26, b""), 1), ((26, b"x"), 0), ((15, b"\0\0"), 1), ((15, b"\0\1"), 0), ((15, b"\0\0x"), 0), ((3, b""), 0)],
)
def test_who_asks_for_structured_errors(option: tuple[int, bytes], wants: int) -> None:
    content = struct.pack(">HH", option[0], len(option[1])) + option[1]
    assert read(header(1, 0, 0, 1) + EXAMPLE + TAIL + opt(content)).slots["structured"] == wants


def udp_payload(frame: bytes) -> bytes | None:
    """The content of a whole UDP datagram on a port of DNS in an Ethernet frame; None for all else."""
    kind, at = int.from_bytes(frame[12:14]), 14
    if kind == 0x0800 and len(frame) >= 34:
        if frame[23] != 17 or int.from_bytes(frame[20:22]) & 0x3FFF:
            return None
        at += 4 * (frame[14] & 15)
    elif kind == 0x86DD and len(frame) >= 54 and frame[20] == 17:
        at += 40
    else:
        return None
    size = int.from_bytes(frame[at + 4 : at + 6])
    ports = {int.from_bytes(frame[at : at + 2]), int.from_bytes(frame[at + 2 : at + 4])}
    if size < 8 or at + size > len(frame) or not ports & {53, 5353, 5355, 8053}:
        return None
    return frame[at + 8 : at + size]


def captured_messages() -> Iterator[tuple[str, bytes]]:
    """The DNS messages over UDP of the corpus, each content once."""
    assert CORPUS is not None
    seen = set()
    for folder in ("zeek", "tcpdump"):
        for path in sorted((CORPUS / folder).rglob("dns*")):
            for capture in sorted(path.rglob("*.pcap*")) if path.is_dir() else [path]:
                for frame in read_frames(capture):
                    ethernet = to_ethernet(frame)
                    payload = udp_payload(ethernet) if ethernet else None
                    if payload is not None and payload not in seen:
                        seen.add(payload)
                        yield f"{folder}/{capture.name}", payload


@pytest.mark.skipif(CORPUS is None, reason="the corpus of captures is not there")
def test_captured_queries_read_as_dnspython_reads_them() -> None:
    both = 0
    for source, message in captured_messages():
        check_against_dnspython(message)
        ours = read(message)
        if ours.status != COMPLETE:
            continue
        try:
            theirs = dns.message.from_wire(message, ignore_trailing=True)
        except (dns.exception.DNSException, ValueError, struct.error):
            continue
        both += 1
        assert ours.slots["odd"] == 0, source
        check_alike(ours, theirs)
    assert both > 40

"""Inputs for the readers of DNS messages: queries, and answers from which ECH is taken out."""

from typing import Any

from penstock.request import dns, dns_answer
from penstock.request.status import BAD, COMPLETE, NOT_MINE
from tests.fuzz.machines import FILL, Machine

Said = tuple[Any, ...]
SLOTS = (
    dns.MESSAGE_ID, dns.MESSAGE_FLAGS, dns.QUESTION_COUNT, dns.QUESTIONS_END, dns.COMPRESSED, dns.OPT_OFF, dns.UDP_BYTES,
    dns.EDNS_VERSION, dns.DNSSEC_OK, dns.COOKIE_OFF, dns.COOKIE_BYTES, dns.WANTS_STRUCTURED, dns.ODD_BEHIND,
)  # fmt: skip


def spell_name(message: bytes, at: int) -> bytes:
    """The name at an offset of a message, read the plain way; IndexError for what resolvers do not read: a name that is cut
    off, with a label of another type, or with a pointer that leads into the header or not back."""
    labels: list[bytes] = []
    first = at
    while message[at] != 0:
        size = message[at]
        if size >= dns.POINTER:
            at = (size & 0x3F) << 8 | message[at + 1]
            if not dns.HEADER_BYTES <= at < first:
                raise IndexError(at)
            first = at
        else:
            label = message[at + 1 : at + 1 + size]
            if size > dns.LABEL_LIMIT or len(label) < size:
                raise IndexError(at)
            labels.append(label)
            at += 1 + size
    return b".".join(label.replace(b".", b"\\") for label in labels)


def read_questions(machine: Machine, message: bytes, word: str) -> Said:
    """What `read_query` or `read_answers` says; each host is the name that stands there."""
    start, text = machine.lend(message), machine.room(dns.TEXT_BYTES, FILL)
    state = machine.room(dns.STATE_BYTES, FILL)
    status = machine.run(word, start, start + len(message), state, text)
    detail = machine.word(state)
    assert status in (COMPLETE, NOT_MINE, BAD)
    assert (detail in dns.DETAILS) == (status == BAD)
    if status != COMPLETE:
        return status, detail
    slots = [machine.word(state + at) for at in SLOTS]
    assert 0 <= slots[2] <= dns.QUESTIONS_LIMIT
    assert dns.HEADER_BYTES <= slots[3] <= len(message)
    assert slots[5] == 0 or slots[3] <= slots[5] < len(message)
    assert slots[10] == 0 or slots[5] < slots[9] <= slots[9] + slots[10] <= len(message)
    questions = []
    for number in range(slots[2]):
        question = state + dns.QUESTIONS + number * dns.QUESTION_BYTES
        name_off, host_off, size = (machine.word(question + at) for at in (dns.NAME_OFF, dns.HOST_OFF, dns.HOST_BYTES))
        assert 0 <= size <= 253
        host = machine.view(text + host_off, size)
        assert host == spell_name(message, name_off)
        questions.append((host, machine.word(question + dns.QTYPE), machine.word(question + dns.QCLASS)))
    return status, detail, slots, questions


def read_queries(machine: Machine, message: bytes) -> Said:
    """A client's message."""
    return read_questions(machine, message, "request.dns.read_query")


def list_records(machine: Machine, message: bytes) -> list[Said]:
    """The records of a message, up to one that is cut off, which stands as (CANNOT,)."""
    start, record = machine.lend(message), machine.room(dns_answer.RECORD_BYTES, FILL)
    end, ech = start + len(message), machine.room(dns_answer.ECH_SLOTS_BYTES, FILL)
    found: list[Said] = []
    at = machine.run("request.dns_answer.find_records", start, end, record)
    while at > 0:
        before, at = at, machine.run("request.dns_answer.find_record", at, end, start, record)
        if at > 0:
            assert before < at <= end
            data, size = (machine.word(record + slot) for slot in (dns_answer.DATA_AT, dns_answer.DATA_BYTES))
            assert before < data <= data + size == at
            has_ech = machine.run("request.dns_answer.find_ech", record, ech)
            slots = (dns_answer.TYPE, dns_answer.CLASS, dns_answer.TTL, dns_answer.SECTION)
            owner = machine.word(record + dns_answer.OWNER_AT) - start
            found.append((owner, *(machine.word(record + slot) for slot in slots), has_ech))
    return found if at == 0 else [*found, (dns_answer.CANNOT,)]


def read_answers(machine: Machine, message: bytes) -> Said:
    """A server's message: its records, and itself without ECH, in both ways."""
    asked = read_questions(machine, message, "request.dns_answer.read_answers")
    records = list_records(machine, message)
    return asked, records, neutralise(machine, message), remove(machine, message, records)


def neutralise(machine: Machine, message: bytes) -> Said:
    """Versions of configurations change, two bytes each, and nothing else; a second time there is nothing to change."""
    start, cuts = machine.lend(message, is_written=True), machine.room(dns_answer.CUTS_BYTES, FILL)
    count = machine.run("request.dns_answer.neutralise_ech", start, start + len(message), cuts)
    after = machine.view(start, len(message))
    changed = sum(a != b for a, b in zip(message, after, strict=True))
    assert changed <= 2 * max(count, 0)
    assert machine.run("request.dns_answer.neutralise_ech", start, start + len(message), cuts) == count
    assert machine.view(start, len(message)) == after
    return count, after


def remove(machine: Machine, message: bytes, records: list[Said]) -> Said:
    """The shorter message has the same records, none with ECH, whose owners read as before."""
    start, cuts = machine.lend(message), machine.room(dns_answer.CUTS_BYTES, FILL)
    out = machine.room(len(message), FILL)
    size = machine.run("request.dns_answer.remove_ech", out, start, start + len(message), cuts)
    if size <= 0:
        assert size == 0 or size == dns_answer.CANNOT
        assert size < 0 or machine.view(out, len(message)) == bytes([FILL]) * len(message)
        return (size,)
    assert size < len(message)
    shorter = machine.view(out, size)
    after = list_records(machine, shorter)
    assert [record[1:-1] for record in after] == [record[1:-1] for record in records]
    assert all(record[-1] == 0 for record in after)
    for before, now in zip(records, after, strict=True):
        assert try_spelling(shorter, now[0]) == try_spelling(message, before[0])
    return size, shorter


def try_spelling(message: bytes, at: int) -> bytes | None:
    """The name there; None for one that nobody can read."""
    try:
        return spell_name(message, at)
    except IndexError:
        return None

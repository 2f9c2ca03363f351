"""DNS as the client asks it: the questions of a message, and what its OPT record says of the answer that is wanted.

    ┌────┬───────┬─────────┬─────────┬─────────┬─────────┬─────────────────────┬─────────────────────────────────┐
    │ ID │ flags │ QDCOUNT │ ANCOUNT │ NSCOUNT │ ARCOUNT │ name, QTYPE, QCLASS │ name, TYPE, CLASS, TTL, data... │
    │ 2  │ 2     │ 2       │ 2       │ 2       │ 2       │ for each question   │ records, the OPT among them     │
    └────┴───────┴─────────┴─────────┴─────────┴─────────┴─────────────────────┴─────────────────────────────────┘

Knows one whole message: the content of a datagram, or of a TCP message behind its two bytes of length. Refuses to know
records but the OPT (`dns_answer` walks them), datagrams and streams, and what a name means.

A security reader: it reads each name that some resolver would answer, or says BAD. Older dnsmasq answers every
question of a message, unbound and RFC 9619 one, so all are read. Compression pointers in a question, which unbound
refuses and BIND follows, are followed to what stands before them, never into the header, which a forwarder writes
anew. Bytes behind the last record are allowed, as BIND allows them: no server reads a name there. A malformed record
cannot change the name that is asked for, so it is only noted (ODD_BEHIND).

Only opcode QUERY asks for names. A message without a question is one for a cookie (RFC 7873 5.4) and names nothing.

Source: RFC 1035 4.1 (messages), RFC 2181 11 (any byte in a label), RFC 6891 6.1 (OPT), RFC 7873 4 (COOKIE), RFC 8914 2
(EDE), RFC 9619 (one question), draft-ietf-dnsop-structured-dns-error-22 (SDE).
"""

from penstock.compile.memory import be16, put8, put64, shared, u8, u64
from penstock.request.status import BAD, COMPLETE, NOT_MINE

# ---- the header -------------------------------------------------------------------------------------------------------
ID_OFF, FLAGS_OFF, QDCOUNT_OFF, ANCOUNT_OFF, NSCOUNT_OFF, ARCOUNT_OFF = 0, 2, 4, 6, 8, 10
HEADER_BYTES = 12
QR, OPCODE, TC, RD, RA, CD = 0x8000, 0x7800, 0x0200, 0x0100, 0x0080, 0x0010

# ---- the result: int64 slots; places are offsets from the message's first byte ----------------------------------------
STATUS_DETAIL = 0  # why BAD: one of DETAILS
MESSAGE_ID = 8
MESSAGE_FLAGS = 16  # QR | ...
QUESTION_COUNT = 24
QUESTIONS_END = 32  # offset behind the last question
COMPRESSED = 40  # 1: a question's name ends with a pointer
OPT_OFF = 48  # offset of the OPT record; 0 = none
UDP_BYTES = 56  # what the client takes in a datagram, as its OPT says
EDNS_VERSION = 64
DNSSEC_OK = 72
COOKIE_OFF = 80  # offset of the COOKIE option's data
COOKIE_BYTES = 88  # 0 = no cookie, or one of a length that cannot be
WANTS_STRUCTURED = 96  # 1: EXTRA-TEXT may be JSON, and Forged Answer must not be said
ODD_BEHIND = 104  # 1: what follows the questions contradicts itself; the OPT is read as far as it goes
QUESTIONS = 128  # QUESTIONS_LIMIT times QUESTION_BYTES
NAME_OFF, HOST_OFF, HOST_BYTES, QTYPE, QCLASS = 0, 8, 16, 24, 32  # HOST_OFF: from the start of `text`
QUESTION_BYTES = 64

QUESTIONS_LIMIT = 4  # no client asks two things at once; what asks more is refused
STATE_BYTES = QUESTIONS + QUESTIONS_LIMIT * QUESTION_BYTES
STATE_SLOTS = STATE_BYTES // 8

NAME_BYTES_LIMIT = 255  # RFC 1035 2.3.4: on the wire, with the root's byte
TEXT_STRIDE = 256  # room for one host text, which has 253 bytes at most
TEXT_BYTES = QUESTIONS_LIMIT * TEXT_STRIDE
NAME_STEPS_LIMIT = 256  # labels and pointers of one name: 127 labels, and more pointers than any message needs
LABEL_LIMIT = 63
POINTER = 0xC0
POINTER_MASK = 0x3FFF
DOT = 0x2E
DOT_INSIDE = 0x5C  # a dot inside a label is written as this byte, "\", which no list can hold

QUESTION_TAIL_BYTES = 4
RECORD_HEAD_BYTES = 10  # behind the owner's name: TYPE, CLASS, TTL, RDLENGTH
RECORDS_LIMIT = 5_957  # records of 11 bytes in 65,535
OPTIONS_LIMIT = 16_384  # options of 4 bytes in 65,535

A, CNAME, SOA, SIG, AAAA, OPT, SVCB, HTTPS, TSIG, ANY = 1, 5, 6, 24, 28, 41, 64, 65, 250, 255
CLASS_IN, CLASS_ANY = 1, 255

OPTION_COOKIE = 10
OPTION_EDE = 15
OPTION_SDE = 26
OPTION_HEAD_BYTES = 4
COOKIE_CLIENT_BYTES, COOKIE_LEAST_BYTES, COOKIE_MOST_BYTES = 8, 16, 40  # alone, or with a server's part

# Why a message is BAD. Never renumbered.
BAD_NAME_CUT = 1
BAD_POINTER = 2
BAD_LABEL_TYPE = 3
BAD_NAME_LONG = 4
BAD_QUESTION_CUT = 5
BAD_QUESTION_COUNT = 6
DETAILS = {
    BAD_NAME_CUT: "a name runs out of the message",
    BAD_POINTER: "a compression pointer leads into the header, or not before the name that it ends",
    BAD_LABEL_TYPE: "a label is of a type that no server reads",
    BAD_NAME_LONG: "a name is longer than 255 bytes",
    BAD_QUESTION_CUT: "the message ends inside a question",
    BAD_QUESTION_COUNT: "more questions than are read",
}


@shared
def skip_name(at, end):  # type: ignore[no-untyped-def]
    """Skip the name at `at`, as far as it stands there.

    Reads: [at, end). Returns: the place behind it; 0 when it is cut off or has a label of another type.
    Bounds: NAME_STEPS_LIMIT labels. Source: RFC 1035 4.1.4.
    """
    for _ in range(NAME_STEPS_LIMIT):
        if at >= end:
            return 0
        size = u8(at)
        if size == 0:
            return at + 1
        if size >= POINTER:
            return at + 2 if at + 2 <= end else 0
        if size > LABEL_LIMIT:
            return 0
        at += 1 + size
    return 0


@shared
def read_name(p, end, at, text):  # type: ignore[no-untyped-def]
    """Write the host text of the name at `at`: its labels joined by dots, without the root's; bytes and case as they are,
    but for DOT_INSIDE.

    Reads: [p, end), the message. Writes: TEXT_STRIDE bytes at most.
    Returns: the text's size (0: the root), 2 less than the name has on the wire; -BAD_NAME_CUT to -BAD_NAME_LONG when two
        servers could read it in two ways.
    Bounds: NAME_STEPS_LIMIT labels and pointers, NAME_BYTES_LIMIT bytes; a pointer leads before the labels that it ends.
    Source: RFC 1035 3.1, 4.1.4.
    """
    size = 0
    first = at
    for _ in range(NAME_STEPS_LIMIT):
        if at >= end:
            return -BAD_NAME_CUT
        label = u8(at)
        if label == 0:
            return size
        if label >= POINTER:
            if at + 2 > end:
                return -BAD_NAME_CUT
            at = p + (be16(at) & POINTER_MASK)
            if at >= first or at < p + HEADER_BYTES:
                return -BAD_POINTER
            first = at
        elif label > LABEL_LIMIT:
            return -BAD_LABEL_TYPE
        else:
            if at + 1 + label > end:
                return -BAD_NAME_CUT
            if size > 0:
                put8(text + size, DOT)
                size += 1
            if size + label + 2 > NAME_BYTES_LIMIT:
                return -BAD_NAME_LONG
            for number in range(label):
                byte = u8(at + 1 + number)
                put8(text + size + number, DOT_INSIDE if byte == DOT else byte)
            size += label
            at += 1 + label
    return -BAD_POINTER


@shared
def read_questions(p, end, state, text):  # type: ignore[no-untyped-def]
    """Read the questions of a message that has a whole header.

    Reads: [p, end). Writes: QUESTION_COUNT, QUESTIONS_END, COMPRESSED, the questions; TEXT_BYTES at `text` at most.
    Returns: COMPLETE; BAD with STATUS_DETAIL. Bounds: QUESTIONS_LIMIT names. Source: RFC 1035 4.1.2.
    """
    count = be16(p + QDCOUNT_OFF)
    if count > QUESTIONS_LIMIT:
        put64(state + STATUS_DETAIL, BAD_QUESTION_COUNT)
        return BAD
    at = p + HEADER_BYTES
    for number in range(count):
        question = state + QUESTIONS + number * QUESTION_BYTES
        size = read_name(p, end, at, text + number * TEXT_STRIDE)
        if size < 0:
            put64(state + STATUS_DETAIL, -size)
            return BAD
        behind = skip_name(at, end)
        if behind + QUESTION_TAIL_BYTES > end:
            put64(state + STATUS_DETAIL, BAD_QUESTION_CUT)
            return BAD
        if behind - at != (size + 2 if size > 0 else 1):
            put64(state + COMPRESSED, 1)
        put64(question + NAME_OFF, at - p)
        put64(question + HOST_OFF, number * TEXT_STRIDE)
        put64(question + HOST_BYTES, size)
        put64(question + QTYPE, be16(behind))
        put64(question + QCLASS, be16(behind + 2))
        at = behind + QUESTION_TAIL_BYTES
    put64(state + QUESTION_COUNT, count)
    put64(state + QUESTIONS_END, at - p)
    return COMPLETE


@shared
def _read_option(p, state, at, code, size):  # type: ignore[no-untyped-def]
    """Read one option of the OPT; all but three say nothing that an answer has to heed.

    Reads: its data, [at, at + size). Writes: COOKIE_*, WANTS_STRUCTURED. Returns: 0.
    Source: RFC 7873 4; structured-dns-error-22 5.4: an empty option of its own, to be ignored when it has data. Earlier
    drafts had clients send an EDE of code 0 without text instead, which says the same to us.
    """
    if code == OPTION_COOKIE:
        whole = size >= COOKIE_LEAST_BYTES and size <= COOKIE_MOST_BYTES
        if (whole or size == COOKIE_CLIENT_BYTES) and u64(state + COOKIE_BYTES) == 0:
            put64(state + COOKIE_OFF, at - p)
            put64(state + COOKIE_BYTES, size)
    elif code == OPTION_SDE:
        if size == 0:
            put64(state + WANTS_STRUCTURED, 1)
    elif code == OPTION_EDE:
        if size == 2 and be16(at) == 0:
            put64(state + WANTS_STRUCTURED, 1)
    return 0


@shared
def _read_opt(p, state, owner, head, behind):  # type: ignore[no-untyped-def]
    """Read the OPT record whose owner stands at `owner` and whose fields start at `head`.

    Reads: [owner, behind). Writes: OPT_OFF, UDP_BYTES, EDNS_VERSION, DNSSEC_OK, those of its options, ODD_BEHIND.
    Returns: 0. Bounds: OPTIONS_LIMIT. Source: RFC 6891 6.1.2, 6.1.3; the first of several counts (6.1.1 allows one).
    """
    if u8(owner) != 0 or u64(state + OPT_OFF) != 0:
        put64(state + ODD_BEHIND, 1)
        return 0
    put64(state + OPT_OFF, owner - p)
    put64(state + UDP_BYTES, be16(head + 2))
    put64(state + EDNS_VERSION, u8(head + 5))
    put64(state + DNSSEC_OK, u8(head + 6) >> 7)
    at = head + RECORD_HEAD_BYTES
    for _ in range(OPTIONS_LIMIT):
        if at == behind:
            return 0
        if at + OPTION_HEAD_BYTES > behind or at + OPTION_HEAD_BYTES + be16(at + 2) > behind:
            break
        _read_option(p, state, at + OPTION_HEAD_BYTES, be16(at), be16(at + 2))
        at += OPTION_HEAD_BYTES + be16(at + 2)
    put64(state + ODD_BEHIND, 1)
    return 0


@shared
def read_edns(p, end, state):  # type: ignore[no-untyped-def]
    """Walk the records behind the questions and read the OPT among them.

    Reads: [p, end), QUESTIONS_END. Writes: what `_read_opt` writes. Returns: 0. Bounds: RECORDS_LIMIT.
    """
    before = be16(p + ANCOUNT_OFF) + be16(p + NSCOUNT_OFF)
    count = before + be16(p + ARCOUNT_OFF)
    at = p + u64(state + QUESTIONS_END)
    for number in range(min(count, RECORDS_LIMIT)):
        head = skip_name(at, end)
        if head == 0 or head + RECORD_HEAD_BYTES > end:
            break
        behind = head + RECORD_HEAD_BYTES + be16(head + 8)
        if behind > end:
            break
        if be16(head) == OPT:
            if number >= before:
                _read_opt(p, state, at, head, behind)
            else:
                put64(state + ODD_BEHIND, 1)
        at = behind
        count -= 1
    if count > 0:
        put64(state + ODD_BEHIND, 1)
    return 0


@shared
def read_header(p, end, state):  # type: ignore[no-untyped-def]
    """Clear the state and read the header of a message.

    Reads: [p, end). Writes: all of the state. Returns: COMPLETE; NOT_MINE: shorter than a header, or of another opcode than
    QUERY, which no server answers by a name. Bounds: STATE_SLOTS. Source: RFC 1035 4.1.1.
    """
    for slot in range(STATE_SLOTS):
        put64(state + 8 * slot, 0)
    if end - p < HEADER_BYTES or be16(p + FLAGS_OFF) & OPCODE != 0:
        return NOT_MINE
    put64(state + MESSAGE_ID, be16(p + ID_OFF))
    put64(state + MESSAGE_FLAGS, be16(p + FLAGS_OFF))
    return COMPLETE


@shared
def read_query(p, end, state, text):  # type: ignore[no-untyped-def]
    """Read a query.

    Reads: [p, end), one whole message. Writes: STATE_BYTES of the state; TEXT_BYTES at `text` at most: the host of question
    n at n * TEXT_STRIDE.
    Returns: COMPLETE, with one question at least; NOT_MINE: a response, another opcode, no question, no whole header; BAD:
        servers could differ about a name (STATUS_DETAIL).
    Bounds: each byte of the message is looked at three times at most, but for names behind pointers.
    """
    if read_header(p, end, state) != COMPLETE:
        return NOT_MINE
    if u64(state + MESSAGE_FLAGS) & QR != 0 or be16(p + QDCOUNT_OFF) == 0:
        return NOT_MINE
    if read_questions(p, end, state, text) != COMPLETE:
        return BAD
    read_edns(p, end, state)
    return COMPLETE

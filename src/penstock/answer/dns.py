"""The DNS answer: a response that we author for the query at hand, in the server's place.

    header │ questions as asked │ CNAME, A, AAAA │ SOA of a negative answer │ OPT: COOKIE, Extended DNS Error

Same ID, opcode, RD and CD, the questions' own bytes (resolvers compare their case), QR and RA set, AA and AD clear. An OPT
only to who sent one; its COOKIE comes back as it was sent, because a client drops an answer without the cookie that it
waits for (RFC 7873 5.3), and whose server we are not we do not know a better one.

Never longer than the client takes. What does not fit goes in this order: the error's text, the SOA, the addresses of an
alias but for one of each family, the records (TC set), the OPT, the questions. One question of any name always fits into
512 bytes, with its OPT.

Knows the form of answers. Refuses to know why: code, text, addresses and RCODE are the plan's. Only one rule is kept here
against the plan: who asked for structured errors is not told Forged Answer (structured-dns-error-22 5.2), so that a
rewrite for such a client carries no error at all.

Source: RFC 1035 4.1, RFC 2308 2 and 5 (negative answers), RFC 6891 6.1 and 7, RFC 7873 5.2, RFC 8914 2, RFC 9715 3 (sizes).
"""

from penstock.compile.memory import be16, move, put8, putbe16, putbe32, shared, u8, u64
from penstock.request.dns import (
    AAAA,
    ANCOUNT_OFF,
    ANY,
    ARCOUNT_OFF,
    CD,
    CLASS_ANY,
    CLASS_IN,
    CNAME,
    COMPRESSED,
    COOKIE_BYTES,
    COOKIE_OFF,
    DNSSEC_OK,
    FLAGS_OFF,
    HEADER_BYTES,
    HOST_BYTES,
    ID_OFF,
    LABEL_LIMIT,
    MESSAGE_FLAGS,
    MESSAGE_ID,
    NAME_OFF,
    NAME_STEPS_LIMIT,
    NSCOUNT_OFF,
    OPT,
    OPT_OFF,
    OPTION_COOKIE,
    OPTION_EDE,
    OPTION_HEAD_BYTES,
    POINTER,
    POINTER_MASK,
    QCLASS,
    QDCOUNT_OFF,
    QR,
    QTYPE,
    QUESTION_BYTES,
    QUESTION_COUNT,
    QUESTION_TAIL_BYTES,
    QUESTIONS,
    QUESTIONS_END,
    RA,
    RD,
    RECORD_HEAD_BYTES,
    SOA,
    TC,
    UDP_BYTES,
    WANTS_STRUCTURED,
    A,
)

# ---- the plan: int64 slots --------------------------------------------------------------------------------------------
RCODE = 0  # with its extended bits (BADVERS is 16); without an OPT in the query those become SERVFAIL
TTL_S = 8
ADDRESS4, ADDRESS6 = 16, 24  # addresses of 4 and 16 bytes; 0 = none
PLAN_CNAME, PLAN_CNAME_BYTES = 32, 40  # address of a name in wire format, not compressed; 0 = none
TARGET4_AT, TARGET4_COUNT = 48, 56  # addresses of the CNAME's target, behind each other
TARGET6_AT, TARGET6_COUNT = 64, 72
EDE_CODE = 80  # -1 = none
EDE_TEXT, EDE_TEXT_BYTES = 88, 96  # UTF-8, or JSON for who wants it structured (WANTS_STRUCTURED)
NEGATIVE_SOA = 104  # 1: a SOA with an answer without records, so that stubs cache it for TTL_S
OVER_TCP = 112  # 1: only the room bounds the size
PLAN_BYTES = 120

TARGETS_LIMIT = 8  # of each family; a page behind more has them reached by the next look-up

UDP_LEAST_BYTES = 512  # RFC 1035 2.3.4: what every client takes
UDP_OWN_BYTES = 1_232  # IPv6's least MTU without its headers: what resolvers agreed upon (DNS flag day 2020)
MESSAGE_MOST_BYTES = 65_535

NOERROR, SERVFAIL, NXDOMAIN, REFUSED, BADVERS = 0, 2, 3, 5, 16
FORGED_ANSWER, BLOCKED, CENSORED, FILTERED, PROHIBITED = 4, 15, 16, 17, 18  # RFC 8914 5.2

POINTER_BYTES = 2
OPT_BYTES = 1 + RECORD_HEAD_BYTES
EDE_HEAD_BYTES = OPTION_HEAD_BYTES + 2
RECORD_BYTES = POINTER_BYTES + RECORD_HEAD_BYTES
SOA_REFRESH_S, SOA_RETRY_S, SOA_EXPIRE_S = 3_600, 600, 86_400  # nobody transfers this zone; as resolvers write them
CONTACT = b"\x06nobody\x07invalid\0"  # RFC 6761 6.4: a name that leads nowhere
CONTACT_BYTES = len(CONTACT)
CONTACT_WORDS = tuple(int.from_bytes(CONTACT[at : at + 4]) for at in range(0, CONTACT_BYTES, 4))
SOA_DATA_BYTES = POINTER_BYTES + CONTACT_BYTES + 20

FULL, NO_TEXT, NO_SOA, ONE_ADDRESS, NO_RECORDS, NO_OPT, NO_QUESTIONS = range(7)  # how much is left out


@shared
def _is_internet(question):  # type: ignore[no-untyped-def]
    """Is it asked in the class in which addresses exist?"""
    return u64(question + QCLASS) == CLASS_IN or u64(question + QCLASS) == CLASS_ANY


@shared
def _has_cname(question, plan):  # type: ignore[no-untyped-def]
    """Is the question answered by the plan's alias?"""
    return u64(plan + RCODE) == NOERROR and u64(plan + PLAN_CNAME) != 0 and _is_internet(question)


@shared
def _find_addresses(question, plan, kind, level):  # type: ignore[no-untyped-def]
    """How many records of this type, A or AAAA, answer the question. Returns: TARGETS_LIMIT at most."""
    asked = u64(question + QTYPE) == kind or u64(question + QTYPE) == ANY
    if not asked or u64(plan + RCODE) != NOERROR or not _is_internet(question):
        return 0
    if u64(plan + PLAN_CNAME) != 0:
        most = TARGETS_LIMIT if level < ONE_ADDRESS else 1
        return min(u64(plan + (TARGET4_COUNT if kind == A else TARGET6_COUNT)), most)
    return 1 if u64(plan + (ADDRESS4 if kind == A else ADDRESS6)) != 0 else 0


@shared
def _find_records_bytes(state, plan, level):  # type: ignore[no-untyped-def]
    """The size of the answer section. Reads: state, plan. Bounds: QUESTIONS_LIMIT."""
    size = 0
    for number in range(u64(state + QUESTION_COUNT)):
        question = state + QUESTIONS + number * QUESTION_BYTES
        if _has_cname(question, plan):
            size += RECORD_BYTES + u64(plan + PLAN_CNAME_BYTES)
        size += (RECORD_BYTES + 4) * _find_addresses(question, plan, A, level)
        size += (RECORD_BYTES + 16) * _find_addresses(question, plan, AAAA, level)
    return size


@shared
def _find_questions_bytes(state):  # type: ignore[no-untyped-def]
    """The size of the questions, none compressed. Reads: state. Bounds: QUESTIONS_LIMIT."""
    if u64(state + COMPRESSED) == 0:
        return u64(state + QUESTIONS_END) - HEADER_BYTES
    size = 0
    for number in range(u64(state + QUESTION_COUNT)):
        host_bytes = u64(state + QUESTIONS + number * QUESTION_BYTES + HOST_BYTES)
        size += (host_bytes + 2 if host_bytes > 0 else 1) + QUESTION_TAIL_BYTES
    return size


@shared
def _says_error(state, plan):  # type: ignore[no-untyped-def]
    """Does the answer carry an Extended DNS Error?"""
    code = u64(plan + EDE_CODE)
    return code >= 0 and (code != FORGED_ANSWER or u64(state + WANTS_STRUCTURED) == 0)


@shared
def _find_opt_bytes(state, plan, level):  # type: ignore[no-untyped-def]
    """The size of the OPT record; 0 when there is none."""
    if u64(state + OPT_OFF) == 0 or level >= NO_OPT:
        return 0
    size = OPT_BYTES
    if u64(state + COOKIE_BYTES) != 0:
        size += OPTION_HEAD_BYTES + u64(state + COOKIE_BYTES)
    if _says_error(state, plan):
        size += EDE_HEAD_BYTES + (u64(plan + EDE_TEXT_BYTES) if level < NO_TEXT else 0)
    return size


@shared
def _find_level(room, state, plan):  # type: ignore[no-untyped-def]
    """How much has to be left out for the answer to fit. Returns: FULL to NO_QUESTIONS. Bounds: as many turns."""
    records = _find_records_bytes(state, plan, FULL)
    soa = RECORD_BYTES + SOA_DATA_BYTES if records == 0 and u64(plan + NEGATIVE_SOA) != 0 else 0
    fixed = HEADER_BYTES + _find_questions_bytes(state)
    for level in range(NO_QUESTIONS):
        size = fixed + _find_opt_bytes(state, plan, level)
        if level < NO_SOA:
            size += soa
        if level < NO_RECORDS:
            size += records if level < ONE_ADDRESS else _find_records_bytes(state, plan, level)
        if size <= room:
            return level
    return NO_QUESTIONS


@shared
def find_room_bytes(room, state, plan):  # type: ignore[no-untyped-def]
    """The most bytes that the answer may have: what there is room for, and what the client takes.

    Reads: UDP_BYTES of the state, OVER_TCP. Returns: `room` at most. Source: RFC 6891 6.2.3 to 6.2.5.
    """
    if u64(plan + OVER_TCP) != 0:
        return min(room, MESSAGE_MOST_BYTES)
    return min(room, min(max(u64(state + UDP_BYTES), UDP_LEAST_BYTES), UDP_OWN_BYTES))


@shared
def copy_name(out, p, at):  # type: ignore[no-untyped-def]
    """Copy the name at `at` without compression. It was read before: `read_name` found nothing wrong with it.

    Reads: the message at p. Writes: 255 bytes at most. Returns: the place behind the copy. Bounds: NAME_STEPS_LIMIT.
    """
    for _ in range(NAME_STEPS_LIMIT):
        size = u8(at)
        if size > LABEL_LIMIT:
            at = p + (be16(at) & POINTER_MASK)
        else:
            move(out, at, 1 + size)
            out += 1 + size
            at += 1 + size
            if size == 0:
                break
    return out


@shared
def _write_questions(at, p, state):  # type: ignore[no-untyped-def]
    """Write the questions as they were asked, each name in full. Returns: the place behind. Bounds: QUESTIONS_LIMIT."""
    if u64(state + COMPRESSED) == 0:
        move(at, p + HEADER_BYTES, u64(state + QUESTIONS_END) - HEADER_BYTES)
        return at + u64(state + QUESTIONS_END) - HEADER_BYTES
    for number in range(u64(state + QUESTION_COUNT)):
        question = state + QUESTIONS + number * QUESTION_BYTES
        at = copy_name(at, p, p + u64(question + NAME_OFF))
        putbe16(at, u64(question + QTYPE))
        putbe16(at + 2, u64(question + QCLASS))
        at += QUESTION_TAIL_BYTES
    return at


@shared
def _write_head(at, owner_off, kind, ttl_s, size):  # type: ignore[no-untyped-def]
    """Write what stands before a record's data; its owner is the name at `owner_off`. Returns: the data's place."""
    putbe16(at, POINTER << 8 | owner_off)
    putbe16(at + 2, kind)
    putbe16(at + 4, CLASS_IN)
    putbe32(at + 6, ttl_s)
    putbe16(at + 10, size)
    return at + RECORD_BYTES


@shared
def _write_addresses(at, owner_off, kind, plan, source, count):  # type: ignore[no-untyped-def]
    """Write `count` address records of one type. Returns: the place behind. Bounds: TARGETS_LIMIT."""
    size = 4 if kind == A else 16
    for number in range(count):
        at = _write_head(at, owner_off, kind, u64(plan + TTL_S), size)
        move(at, source + number * size, size)
        at += size
    return at


@shared
def _write_records(out, at, state, plan, level):  # type: ignore[no-untyped-def]
    """Write the answer section, and its count into the header. Returns: the place behind.

    Bounds: QUESTIONS_LIMIT questions with one CNAME and TARGETS_LIMIT addresses of each family.
    """
    records = 0
    owner_off = HEADER_BYTES
    for number in range(u64(state + QUESTION_COUNT)):
        question = state + QUESTIONS + number * QUESTION_BYTES
        alias_off = owner_off
        source4, source6 = u64(plan + ADDRESS4), u64(plan + ADDRESS6)
        if _has_cname(question, plan):
            at = _write_head(at, owner_off, CNAME, u64(plan + TTL_S), u64(plan + PLAN_CNAME_BYTES))
            move(at, u64(plan + PLAN_CNAME), u64(plan + PLAN_CNAME_BYTES))
            alias_off = at - out
            at += u64(plan + PLAN_CNAME_BYTES)
            source4, source6 = u64(plan + TARGET4_AT), u64(plan + TARGET6_AT)
            records += 1
        count4, count6 = _find_addresses(question, plan, A, level), _find_addresses(question, plan, AAAA, level)
        at = _write_addresses(at, alias_off, A, plan, source4, count4)
        at = _write_addresses(at, alias_off, AAAA, plan, source6, count6)
        records += count4 + count6
        host_bytes = u64(question + HOST_BYTES)
        owner_off += (host_bytes + 2 if host_bytes > 0 else 1) + QUESTION_TAIL_BYTES
    putbe16(out + ANCOUNT_OFF, records)
    return at


@shared
def _write_soa(out, at, plan):  # type: ignore[no-untyped-def]
    """Write the SOA of the first question's name, and its count. Returns: the place behind. Source: RFC 2308 3 and 5."""
    at = _write_head(at, HEADER_BYTES, SOA, u64(plan + TTL_S), SOA_DATA_BYTES)
    putbe16(at, POINTER << 8 | HEADER_BYTES)
    at += POINTER_BYTES
    putbe32(at, CONTACT_WORDS[0])
    putbe32(at + 4, CONTACT_WORDS[1])
    putbe32(at + 8, CONTACT_WORDS[2])
    putbe32(at + 12, CONTACT_WORDS[3])
    at += CONTACT_BYTES
    putbe32(at, 1)
    putbe32(at + 4, SOA_REFRESH_S)
    putbe32(at + 8, SOA_RETRY_S)
    putbe32(at + 12, SOA_EXPIRE_S)
    putbe32(at + 16, u64(plan + TTL_S))
    putbe16(out + NSCOUNT_OFF, 1)
    return at + 20


@shared
def _write_opt(out, at, p, state, plan, level):  # type: ignore[no-untyped-def]
    """Write the OPT, and its count into the header. Returns: the place behind. Source: RFC 6891 6.1, RFC 8914 2."""
    put8(at, 0)
    putbe16(at + 1, OPT)
    putbe16(at + 3, UDP_OWN_BYTES)
    putbe32(at + 5, (u64(plan + RCODE) >> 4 & 0xFF) << 24 | u64(state + DNSSEC_OK) << 15)
    putbe16(at + 9, _find_opt_bytes(state, plan, level) - OPT_BYTES)
    at += OPT_BYTES
    cookie_bytes = u64(state + COOKIE_BYTES)
    if cookie_bytes != 0:
        putbe16(at, OPTION_COOKIE)
        putbe16(at + 2, cookie_bytes)
        move(at + OPTION_HEAD_BYTES, p + u64(state + COOKIE_OFF), cookie_bytes)
        at += OPTION_HEAD_BYTES + cookie_bytes
    if _says_error(state, plan):
        text_bytes = u64(plan + EDE_TEXT_BYTES) if level < NO_TEXT else 0
        putbe16(at, OPTION_EDE)
        putbe16(at + 2, 2 + text_bytes)
        putbe16(at + 4, u64(plan + EDE_CODE))
        move(at + EDE_HEAD_BYTES, u64(plan + EDE_TEXT), text_bytes)
        at += EDE_HEAD_BYTES + text_bytes
    putbe16(out + ARCOUNT_OFF, 1)
    return at


@shared
def write_answer(out, room, p, state, plan):  # type: ignore[no-untyped-def]
    """Write the response to the query at p.

    Reads: the query, its state (of `read_query`, COMPLETE), the plan and what it leads to. Writes: `find_room_bytes` at
    most at `out`, which must not overlap the query.
    Returns: the size, never more than the room; 0 when not even a header fits. Bounds: NO_QUESTIONS measurements, then
        QUESTIONS_LIMIT questions.
    """
    room = find_room_bytes(room, state, plan)
    if room < HEADER_BYTES:
        return 0
    level = _find_level(room, state, plan)
    code = u64(plan + RCODE)
    if code > 15 and (u64(state + OPT_OFF) == 0 or level >= NO_OPT):
        code = SERVFAIL
    flags = QR | RA | (u64(state + MESSAGE_FLAGS) & (RD | CD)) | (code & 15)
    if level >= NO_RECORDS:
        flags |= TC
    putbe16(out + ID_OFF, u64(state + MESSAGE_ID))
    putbe16(out + FLAGS_OFF, flags)
    putbe32(out + QDCOUNT_OFF, 0)
    putbe32(out + NSCOUNT_OFF, 0)
    if level == NO_QUESTIONS:
        return HEADER_BYTES
    putbe16(out + QDCOUNT_OFF, u64(state + QUESTION_COUNT))
    at = _write_questions(out + HEADER_BYTES, p, state)
    if level < NO_RECORDS:
        at = _write_records(out, at, state, plan, level)
    if level < NO_SOA and u64(plan + NEGATIVE_SOA) != 0 and be16(out + ANCOUNT_OFF) == 0:
        at = _write_soa(out, at, plan)
    if level < NO_OPT and u64(state + OPT_OFF) != 0:
        at = _write_opt(out, at, p, state, plan, level)
    return at - out

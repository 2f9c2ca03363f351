"""DNS queries of protected subscribers: judged by every name they ask for, answered here when one is refused or rewritten.

    message ─► questions ─► judge each ─► refused? ─► plan of the policy ─► answer in the server's place
                                        └ rewritten (SafeSearch, canaries)? ─► plan of the name ─► the same
                                        └ else it goes on

The same for a datagram and for a message of a stream; who asks with DNSSEC OK gets no forged record but an honest refusal.
RFC 1035 4, RFC 7766 (TCP), RFC 8914 (errors), RFC 4035 3.2.1 (DO).
"""

from penstock.answer.dns import (
    ADDRESS4,
    ADDRESS6,
    EDE_TEXT,
    EDE_TEXT_BYTES,
    OVER_TCP,
    PLAN_BYTES,
    PLAN_CNAME,
    RCODE,
    TARGET4_AT,
    TARGET6_AT,
    write_answer,
)
from penstock.answer.dns import REFUSED as REFUSED_CODE
from penstock.compile.memory import be16, move, put64, putbe16, shared, u32, u64
from penstock.kernel import reasons as r
from penstock.kernel.tables import (
    FLOW_PORTS,
    FLOW_SERVER_NEXT,
    UP_ACK,
    UP_KEY,
)
from penstock.path.events import EVENT_IS_REQUEST, EVENT_RESET, write_event
from penstock.path.hosts import (
    blame_nobody,
    identify,
    judge_host,
    note_resolved,
    reason_of_refusal,
    subscriber_of,
    switches_of,
    tell_allowed,
    wants_ech,
)
from penstock.path.layout import (
    ANSWER_BYTES,
    D_PLAN,
    D_SIZE,
    D_TEXT,
    PROTO_DNS,
    UNIT_DETAIL,
    UNIT_HOST,
    UNIT_HOST_BYTES,
    UNIT_PROTO,
    UNIT_REASON,
    W_ANSWER,
    W_DNS,
    W_JUDGED,
    W_NAMES,
    W_SNAPSHOT,
)
from penstock.path.send import send_payload
from penstock.policy.actions import BLOCK, REPORT, REWRITE, WARN
from penstock.policy.judge import (
    OUT_WOULD,
)
from penstock.policy.layout import (
    DNS_JUDGED,
    DNS_NODATA_OFF,
    DNS_PLAN_OFF,
    DNS_TEXT_BYTES,
    DNS_TEXT_OFF,
    PAGE_ADDRESSES,
    REPORT_ONLY,
)
from penstock.policy.rewrites import find_rewrite
from penstock.request import dns
from penstock.request.status import BAD, COMPLETE

DNS_PORT = 53
NO_QUESTION = -1
MESSAGES_LIMIT = 16  # of a stream, answered at once
DATAGRAM_FACTOR = 4  # the most by which an answer is longer than its query: nobody knows who sent a datagram


@shared
def is_dns(u):  # type: ignore[no-untyped-def]
    """Does the packet go to the port of DNS?"""
    return u32(u + UP_KEY + FLOW_PORTS) & 0xFFFF == DNS_PORT


@shared
def _question_at(state, number):  # type: ignore[no-untyped-def]
    return state + dns.QUESTIONS + number * dns.QUESTION_BYTES


@shared
def _marker(state):  # type: ignore[no-untyped-def]
    """What tells a query from others of its flow, and a repetition not."""
    return u64(state + dns.MESSAGE_ID) << 16 | u64(_question_at(state, 0) + dns.QTYPE)


@shared
def _place(slot, snapshot):  # type: ignore[no-untyped-def]
    """Make an address of an offset into the snapshot; 0 stays 0."""
    if u64(slot):
        put64(slot, snapshot + u64(slot))
    return 0


@shared
def _load_plan(w, offset, state, over_tcp):  # type: ignore[no-untyped-def]
    """Copy a plan out of the snapshot, its places made addresses. Returns: where it is."""
    snapshot, plan = u64(w + W_SNAPSHOT), u64(w + W_DNS) + D_PLAN
    move(plan, snapshot + offset, PLAN_BYTES)
    if u64(state + dns.WANTS_STRUCTURED) and u64(plan + EDE_TEXT):
        put64(plan + EDE_TEXT, u64(snapshot + DNS_TEXT_OFF))
        put64(plan + EDE_TEXT_BYTES, u64(snapshot + DNS_TEXT_BYTES))
    _place(plan + ADDRESS4, snapshot)
    _place(plan + ADDRESS6, snapshot)
    _place(plan + PLAN_CNAME, snapshot)
    _place(plan + TARGET4_AT, snapshot)
    _place(plan + TARGET6_AT, snapshot)
    _place(plan + EDE_TEXT, snapshot)
    put64(plan + OVER_TCP, over_tcp)
    return plan


@shared
def _refuse_honestly(plan):  # type: ignore[no-untyped-def]
    """Who checks signatures would find a forged answer to be none: it gets the code that says what happens."""
    put64(plan + RCODE, REFUSED_CODE)
    put64(plan + ADDRESS4, 0)
    put64(plan + ADDRESS6, 0)
    return 0


@shared
def _note_refusal(w, state, reason, number):  # type: ignore[no-untyped-def]
    """Leave in UNIT_* what the event of this query says."""
    question = _question_at(state, number)
    put64(w + UNIT_REASON, reason)
    put64(w + UNIT_PROTO, PROTO_DNS)
    put64(w + UNIT_DETAIL, u64(question + dns.QTYPE))
    put64(w + UNIT_HOST, u64(w + W_DNS) + D_TEXT + u64(question + dns.HOST_OFF))
    put64(w + UNIT_HOST_BYTES, u64(question + dns.HOST_BYTES))
    return reason


@shared
def _judge_questions(w, u, state):  # type: ignore[no-untyped-def]
    """Judge every name. Returns: the number of the first question that is refused, or NO_QUESTION. A name of which the
    client is to be warned leads to its server, which is where he is, unless the operator has a page of his own.

    Bounds: QUESTIONS_LIMIT."""
    text = u64(w + W_DNS) + D_TEXT
    for number in range(dns.QUESTIONS_LIMIT):
        if number >= u64(state + dns.QUESTION_COUNT):
            break
        question = _question_at(state, number)
        action = judge_host(w, u, text + u64(question + dns.HOST_OFF), u64(question + dns.HOST_BYTES))
        if action > REPORT and (action != WARN or u64(u64(w + W_SNAPSHOT) + PAGE_ADDRESSES)):
            return number
    return NO_QUESTION


@shared
def _find_rewrite(w, u, state):  # type: ignore[no-untyped-def]
    """The plan by which this subscriber wants the query answered, or 0. Bounds: QUESTIONS_LIMIT."""
    snapshot, switches = u64(w + W_SNAPSHOT), switches_of(w, u)
    if switches == 0:
        return 0
    text, names, plan = u64(w + W_DNS) + D_TEXT, u64(w + W_NAMES), 0
    for number in range(dns.QUESTIONS_LIMIT):
        if number >= u64(state + dns.QUESTION_COUNT):
            break
        question = _question_at(state, number)
        host, size = text + u64(question + dns.HOST_OFF), u64(question + dns.HOST_BYTES)
        found = find_rewrite(snapshot, names, switches, host, size)
        plan = found if found else plan
    if plan and u64(state + dns.QUESTION_COUNT) != 1:
        return u64(snapshot + DNS_NODATA_OFF)  # no resolver need answer several questions (RFC 9619)
    return plan


@shared
def _may_offer_ech(w, u, state):  # type: ignore[no-untyped-def]
    """Would the answer bring keys of ECH that this subscriber does not want, to a client that checks no
    signatures? In a stream nobody takes them out of the answer, so that there is none."""
    kind = u64(_question_at(state, 0) + dns.QTYPE)
    if u64(state + dns.QUESTION_COUNT) != 1 or u64(state + dns.DNSSEC_OK):
        return False
    return (kind == dns.HTTPS or kind == dns.SVCB) and not wants_ech(switches_of(w, u))


@shared
def _tell_allowed(w, u, state):  # type: ignore[no-untyped-def]
    """Tell of names that are allowed, where somebody wants that. Returns: a path reason. Bounds: QUESTIONS_LIMIT."""
    text, reported = u64(w + W_DNS) + D_TEXT, 0
    for number in range(dns.QUESTIONS_LIMIT):
        if number >= u64(state + dns.QUESTION_COUNT):
            break
        question = _question_at(state, number)
        host, size = text + u64(question + dns.HOST_OFF), u64(question + dns.HOST_BYTES)
        reported |= tell_allowed(w, u, _marker(state), PROTO_DNS, u64(question + dns.QTYPE), 0, host, size)
    return r.REPORTED if reported else r.ALLOWED


@shared
def read_message(w, u, p, end, out, room, over_tcp):  # type: ignore[no-untyped-def]
    """Read and judge one whole message [p, end).

    Writes: `room` bytes at `out` at most, and UNIT_*, when it is answered here.
    Returns: reason << 32 | size of the answer (0: it goes on). The reason NOT_A_REQUEST: it asks for nothing; AMBIGUOUS: it
        has two readings.
    """
    state, snapshot = u64(w + W_DNS), u64(w + W_SNAPSHOT)
    status = dns.read_query(p, end, state, state + D_TEXT)
    if status == BAD:
        return r.AMBIGUOUS << 32
    if status != COMPLETE or u64(state + dns.QUESTION_COUNT) == 0:
        return r.NOT_A_REQUEST << 32
    if u64(snapshot + DNS_JUDGED) == 0:
        return r.ALLOWED << 32
    refused, plan, reason = _judge_questions(w, u, state), 0, 0
    if refused >= 0:
        reason = _note_refusal(w, state, reason_of_refusal(w), refused)
        plan = _load_plan(w, u64(snapshot + DNS_PLAN_OFF), state, over_tcp)
        if u64(state + dns.DNSSEC_OK):
            _refuse_honestly(plan)
    else:
        offset = _find_rewrite(w, u, state)
        if offset == 0 and over_tcp and _may_offer_ech(w, u, state):
            offset = u64(snapshot + DNS_NODATA_OFF)
        if offset == 0 or u64(snapshot + REPORT_ONLY):
            return _tell_allowed(w, u, state) << 32
        blame_nobody(w, REWRITE)
        reason = _note_refusal(w, state, r.REWRITTEN, 0)
        note_resolved(w, u, u64(w + UNIT_HOST), u64(w + UNIT_HOST_BYTES))
        plan = _load_plan(w, offset, state, over_tcp)
    return reason << 32 | write_answer(out, room, p, state, plan)


@shared
def _tell_refused(w, u, flags):  # type: ignore[no-untyped-def]
    """Write the event of a query that is not the server's to answer."""
    write_event(
        w, u, identify(w, u, _marker(u64(w + W_DNS))), PROTO_DNS, u64(w + W_JUDGED + OUT_WOULD), u64(w + UNIT_REASON),
        subscriber_of(w, u), u64(w + UNIT_DETAIL), EVENT_IS_REQUEST | flags, u64(w + UNIT_HOST), u64(w + UNIT_HOST_BYTES),
    )  # fmt: skip
    return 0


@shared
def is_silent(u, record):  # type: ignore[no-untyped-def]
    """Has the client everything that its server has sent? Then an answer can stand in the stream: those of DNS come in any
    order, and the client asks again for the others (RFC 7766 6.2.1.1, 6.2.4)."""
    return u32(u + UP_ACK) == u32(record + FLOW_SERVER_NEXT)


@shared
def is_query_header(p, end):  # type: ignore[no-untyped-def]
    """Do the bytes at p, behind a length, look like the header of a query? Fewer than 14 say nothing yet.

    Source: RFC 1035 4.1.1: QR 0, opcode 0, one question or a few."""
    if end - p < 14 or be16(p) < 12:
        return False
    return be16(p + 4) & (dns.QR | dns.OPCODE) == 0 and be16(p + 6) >= 1 and be16(p + 6) <= dns.QUESTIONS_LIMIT


@shared
def read_stream(w, u, record, p, end):  # type: ignore[no-untyped-def]
    """Read the message at p of a stream, behind its two bytes of length, and judge it. Where it is answered here, so are
    those behind it that are whole and refused: the connection ends with the answer (a stub asks for A and AAAA at once).

    Writes: W_ANSWER, D_SIZE: the answers with their lengths; their events. Returns: reason << 32 | size of the first
    message with its length; 0 when it is not whole. Bounds: MESSAGES_LIMIT.
    """
    at, first, answers, flags = p, 0, 0, 0 if is_silent(u, record) else EVENT_RESET
    put64(u64(w + W_DNS) + D_SIZE, 0)
    for number in range(MESSAGES_LIMIT):
        if end - at < 2 or end - at < 2 + be16(at):
            break
        size, out = 2 + be16(at), u64(w + W_ANSWER) + answers
        outcome = read_message(w, u, at + 2, at + size, out + 2, ANSWER_BYTES - answers - 2, 1)
        answer_bytes = outcome & 0xFFFFFFFF
        if number == 0:
            first = outcome >> 32 << 32 | size
        if answer_bytes == 0:
            break
        _tell_refused(w, u, flags)
        putbe16(out, answer_bytes)
        answers += 2 + answer_bytes
        put64(u64(w + W_DNS) + D_SIZE, answers)
        at += size
        if flags:
            break
    return first


@shared
def take_query(w, u, p, end):  # type: ignore[no-untyped-def]
    """A datagram to a DNS server. Returns: a path reason; NOT_A_REQUEST when it asks for nothing."""
    outcome = read_message(w, u, p, end, u64(w + W_ANSWER), min(ANSWER_BYTES, (end - p) * DATAGRAM_FACTOR), 0)
    reason, size = outcome >> 32, outcome & 0xFFFFFFFF
    if size:
        _tell_refused(w, u, 0)
        send_payload(w, u, u64(w + W_ANSWER), size)
    elif reason == r.AMBIGUOUS and u64(u64(w + W_SNAPSHOT) + REPORT_ONLY):
        return r.NOT_A_REQUEST
    elif reason == r.AMBIGUOUS:
        write_event(
            w, u, identify(w, u, 0), PROTO_DNS, BLOCK, r.AMBIGUOUS, subscriber_of(w, u), 0, EVENT_IS_REQUEST, u, 0
        )  # fmt: skip
    return reason

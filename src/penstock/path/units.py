"""One unit of a client's stream: the request, hello, record or chunk header that begins at F.

    bytes from F on → reader → judge → where the next unit begins (J, F), or refuse, or set the flow free

What comes next in a flow is its *mode*, kept in the record:

    START ──a DNS message (port 53)──► DNS, message after message
    START ──hello──► TLS ──second hello──► TLS ──handshake or application data──► settling, then free
      │ └─request──► HTTP ◄──────────────────────────────────────────┐
      │               │ Content-Length (POST, PUT, PATCH): F = J + n │
      │               ├─► SKIM (a body that some servers read as a request) ──► GLUED: as HTTP, but the next body is
      │               │                        skimmed too: to those servers its method is another, `{}POST` ────┤
      │               ├─► CHUNKS (chunk header, chunk, ...) ────────────┘
      │               └─Upgrade, CONNECT──► TRY (each segment may begin a request)
      └─neither──► settling, then free

RFC 9112 (HTTP/1.1), RFC 8446 (TLS 1.3).
"""

from penstock.compile.memory import put16, put32, put64, shared, u8, u16, u32, u64
from penstock.flow.record import BODY_LIMIT
from penstock.kernel import reasons as r
from penstock.kernel.tables import FLOW_LEFT, FLOW_MARK, FLOW_MODE, FLOW_SERVER_NEXT, FLOW_WATCH
from penstock.path.asks import (
    HOOK_REFUSES,
    HOOK_REPORTS,
    MAY_NOT_ASK,
    MUST_WAIT,
    NO_WORD,
    consult,
    find_word,
    is_wanted,
    show_decision,
)
from penstock.path.events import EVENT_IS_REQUEST, write_event
from penstock.path.hosts import (
    blame_nobody,
    hello_flags,
    identify,
    judge_hello,
    judge_host,
    judge_spans,
    marker_of,
    reason_of_refusal,
    subscriber_of,
    tell_allowed,
)
from penstock.path.layout import (
    D_SIZE,
    PROTO_DNS,
    PROTO_HTTP,
    PROTO_TCP,
    PROTO_TLS,
    UNIT_ALLOWED,
    UNIT_DETAIL,
    UNIT_F,
    UNIT_HOST,
    UNIT_HOST_BYTES,
    UNIT_IS_HEAD,
    UNIT_J,
    UNIT_PROTO,
    UNIT_REASON,
    UNIT_VERSION,
    W_DNS,
    W_HELLO,
    W_HOOK,
    W_JUDGED,
    W_MAY_ASK,
    W_SNAPSHOT,
    W_TARGET,
    W_TARGET_BYTES,
)
from penstock.path.overrides import has_token, put_override
from penstock.path.queries import is_dns, is_query_header, read_stream
from penstock.path.sample import sample_request
from penstock.policy.actions import FORWARD, REPORT, WARN
from penstock.policy.judge import OUT_WOULD
from penstock.policy.layout import FILTERS_COUNT, REPORT_ONLY
from penstock.request import http_state as hs
from penstock.request import tls
from penstock.request.chunked import CHUNK_BYTES, CHUNK_HEADER_END, read_chunk
from penstock.request.http import read_request
from penstock.request.status import BAD, COMPLETE, NEED_MORE, NOT_MINE

MODE_START, MODE_HTTP, MODE_SKIM, MODE_CHUNK_FIRST, MODE_CHUNK, MODE_TLS, MODE_TRY, MODE_GLUED, MODE_DNS = range(9)
WAITS, ADVANCES, REFUSES, FREES, ASKS = 0, 1, 2, 3, 4
TOLD = -1  # instead of a detail: the events of this refusal are written
WATCH_NONE, WATCH_HEAD, WATCH_HEADLESS, WATCH_UNKNOWN = 0, 1, 2, 3  # for the response that begins at FLOW_MARK
TLS_HANDSHAKE, TLS_CHANGE_CIPHER_SPEC, TLS_APPLICATION_DATA = 22, 20, 23
TLS_HEADER_BYTES = 5
BLANK_BYTES = 32  # the reader's sixteen empty lines
EARLY_DATA_BYTES = 65536  # before it, application data does not free a flow that offered early data


@shared
def advance(w, judged_end, body_bytes):  # type: ignore[no-untyped-def]
    """The unit is done: J and F as offsets from its first byte."""
    put64(w + UNIT_J, judged_end)
    put64(w + UNIT_F, judged_end + body_bytes)
    return ADVANCES


@shared
def refuse_ambiguous(w, u, proto, detail, p):  # type: ignore[no-untyped-def]
    """A unit with two readings: refused; where the box only reports, told and set free (nothing behind it is certain)."""
    if u64(u64(w + W_SNAPSHOT) + REPORT_ONLY) == 0:
        return refuse(w, r.AMBIGUOUS, proto, detail, p, 0)
    blame_nobody(w, REPORT)
    write_event(
        w, u, identify(w, u, marker_of(u)), proto, REPORT, r.AMBIGUOUS, subscriber_of(w, u), detail, EVENT_IS_REQUEST, p, 0
    )  # fmt: skip
    return FREES


@shared
def refuse(w, reason, proto, detail, host, host_bytes):  # type: ignore[no-untyped-def]
    """The unit is refused: what the answer and the event need."""
    put64(w + UNIT_REASON, reason)
    put64(w + UNIT_PROTO, proto)
    put64(w + UNIT_DETAIL, detail)
    put64(w + UNIT_HOST, host)
    put64(w + UNIT_HOST_BYTES, host_bytes)
    return REFUSES


@shared
def read_dns(w, u, record, p, end):  # type: ignore[no-untyped-def]
    """A DNS message of a stream (RFC 7766 8)."""
    outcome = read_stream(w, u, record, p, end)
    reason, size = outcome >> 32, outcome & 0xFFFFFFFF
    if size == 0:
        return WAITS
    if reason == r.AMBIGUOUS:
        return refuse_ambiguous(w, u, PROTO_DNS, 0, p)
    put16(record + FLOW_MODE, MODE_DNS)
    if u64(u64(w + W_DNS) + D_SIZE):
        return refuse(w, reason, PROTO_DNS, TOLD, p, 0)
    put64(w + UNIT_REASON, reason)
    return advance(w, size, 0)


@shared
def start_dns(w, u, record, p, end, other):  # type: ignore[no-untyped-def]
    """The first unit on the port of DNS. `other`: what it is as TLS or HTTP, which some server reads here too: bytes that
    are both have two readings."""
    if other == REFUSES:
        return REFUSES
    if other == FREES:
        return read_dns(w, u, record, p, end)
    if not is_query_header(p, end):
        return other
    return refuse_ambiguous(w, u, PROTO_DNS, 0, p)


@shared
def judge_nameless(w, u):  # type: ignore[no-untyped-def]
    """Judge a flow of another protocol by its server. Returns: FREES or REFUSES."""
    refused = judge_hello(w, u, u, 0, 0)
    return refuse(w, refused, PROTO_TCP, 0, u64(w + UNIT_HOST), u64(w + UNIT_HOST_BYTES)) if refused else FREES


@shared
def tell_passed(w, u, proto, word, flags, host, host_bytes):  # type: ignore[no-untyped-def]
    """Tell of a host that is allowed: by the tables, or by a hook (`word`), which is told always.

    Returns: 1 when it is reported, else 0."""
    if word == NO_WORD:
        return tell_allowed(w, u, marker_of(u), proto, 0, flags, host, host_bytes)
    is_report = word == HOOK_REPORTS
    sample_request(w, u, host, host_bytes)
    show_decision(w)
    write_event(
        w, u, identify(w, u, marker_of(u)), proto, REPORT if is_report else FORWARD, r.REPORTED if is_report else r.ALLOWED,
        subscriber_of(w, u), 0, flags | EVENT_IS_REQUEST, host, host_bytes,
    )  # fmt: skip
    put64(w + W_HOOK, 0)
    return 1 if is_report else 0


@shared
def is_tls(p):  # type: ignore[no-untyped-def]
    """Is the first byte that of a handshake record, or of one that some servers skip before it (alert, cipher change)?"""
    return u8(p) >= TLS_CHANGE_CIPHER_SPEC and u8(p) <= TLS_HANDSHAKE


@shared
def read_tls_hello(w, u, record, p, end, state):  # type: ignore[no-untyped-def]
    """A ClientHello at p. Returns WAITS, ADVANCES (judged and allowed), REFUSES, or FREES (it is none)."""
    status = tls.read_hello(p, end, state, u64(w + W_HELLO))
    put64(w + UNIT_VERSION, u64(state + tls.RECORD_VERSION))
    if status == NEED_MORE:
        return WAITS
    if status == NOT_MINE:
        return FREES
    if status == BAD:
        return refuse_ambiguous(w, u, PROTO_TLS, u64(state + tls.STATUS_DETAIL), p)
    host, host_bytes = u64(state + tls.HOST_AT), u64(state + tls.HOST_LENGTH)
    has_ech = u64(state + tls.FLAGS) & tls.HAS_ECH
    refused = judge_hello(w, u, host, host_bytes, has_ech)
    word = consult(w, u, record, PROTO_TLS, 0, host, host_bytes, refused)
    if word == MUST_WAIT:
        return ASKS
    if word == HOOK_REFUSES:
        return refuse(w, r.BLOCKED, PROTO_TLS, 0, host, host_bytes)
    if refused and word == NO_WORD:
        return refuse(w, refused, PROTO_TLS, 0, u64(w + UNIT_HOST), u64(w + UNIT_HOST_BYTES))
    flags = hello_flags(w, u, host, host_bytes, has_ech)
    reported = tell_passed(w, u, PROTO_TLS, word, flags, host, host_bytes)
    put64(w + UNIT_REASON, r.REPORTED if reported else r.ALLOWED)
    early = EARLY_DATA_BYTES if u64(state + tls.FLAGS) & tls.EARLY_DATA else 0
    put64(record + FLOW_LEFT, early)
    put16(record + FLOW_MODE, MODE_TLS)
    return advance(w, u64(state + tls.HELLO_END), 0)


@shared
def read_tls_flight(w, u, record, p, end, state):  # type: ignore[no-untyped-def]
    """What follows a hello at p: a second hello is judged like the first; a handshake message, application data or what is
    no TLS ends the flow's hellos for every server. (That it gets these bytes and no others, SETTLING sees to.)"""
    status = tls.read_flight(p, end, state)
    if status == NEED_MORE:
        return WAITS
    if status == BAD:
        return FREES
    if u64(state + tls.FLAGS) & tls.IS_HELLO:
        for word in range(0, tls.STATE_BYTES, 8):
            put64(state + word, 0)
        outcome = read_tls_hello(w, u, record, p, end, state)
        if outcome == ASKS:
            for word in range(0, tls.STATE_BYTES, 8):
                put64(state + word, 0)  # it is read from its record on when it is its time
        return outcome
    kind, size = u64(state + tls.RECORD_TYPE), u64(state + tls.RECORD_END)
    put64(w + UNIT_REASON, r.SECOND_FLIGHT)
    if kind == TLS_CHANGE_CIPHER_SPEC:
        if p + size > end:
            return WAITS
        return advance(w, size, 0)
    early = u64(record + FLOW_LEFT)
    if kind == TLS_HANDSHAKE or (kind == TLS_APPLICATION_DATA and early <= 0):
        return FREES  # alerts and heartbeats do not: some servers skip them and take a hello behind them
    put64(record + FLOW_LEFT, max(early - size, 0))
    return advance(w, TLS_HEADER_BYTES, size - TLS_HEADER_BYTES)


@shared
def take_http_head(w, u, record, p, state):  # type: ignore[no-untyped-def]
    """A whole head whose hosts are allowed: tell of them, and say where the next unit begins."""
    count, reported = u64(state + hs.HOST_COUNT), 0
    for number in range(hs.HOST_LIMIT):
        if number >= count and number > 0:
            break
        span = state + hs.HOST_SPANS + number * hs.SPAN_STRIDE
        size = u64(span + hs.SPAN_BYTES) if count else 0
        word = find_word(w, number)
        reported |= tell_passed(w, u, PROTO_HTTP, word, 0, p + u64(span + hs.SPAN_OFF), size)
    put64(w + UNIT_REASON, r.REPORTED if reported else r.ALLOWED)
    put64(w + UNIT_ALLOWED, u64(w + UNIT_ALLOWED) + 1)
    method = state + hs.METHOD_SPAN
    is_head = u64(method + hs.SPAN_BYTES) == 4 and u8(p + u64(method + hs.SPAN_OFF)) == 72
    put64(w + UNIT_IS_HEAD, 1 if is_head else 0)
    head_end, kind, flags = u64(state + hs.HEAD_END), u64(state + hs.BODY_KIND), u64(state + hs.FLAGS)
    length, left, mode = 0, 0, MODE_HTTP
    if kind == hs.BODY_LENGTH:
        length = u64(state + hs.BODY_LENGTH_BYTES)
    if flags & (hs.UPGRADE | hs.CONNECT):
        mode = MODE_TRY
    elif kind == hs.BODY_CHUNKED:
        mode = MODE_CHUNK_FIRST
    elif length and (flags & hs.BODY_TRUSTED == 0 or u16(record + FLOW_MODE) == MODE_GLUED):
        mode, left, length = MODE_SKIM, length, 0
    elif length > BODY_LIMIT:
        left, length = length - BODY_LIMIT, BODY_LIMIT
    put16(record + FLOW_MODE, mode)
    put64(record + FLOW_LEFT, left)
    return advance(w, head_end, length)


@shared
def read_http(w, u, record, p, end, eof, state):  # type: ignore[no-untyped-def]
    """A request at p, judged by its hosts and by the path that it asks them for."""
    outcome = _read_request(w, u, record, p, end, eof, state)
    put64(w + W_TARGET_BYTES, 0)
    return outcome


@shared
def _refuse_host(w, u, host, host_bytes):  # type: ignore[no-untyped-def]
    """A request for a refused host. That by which a warned subscriber goes on is answered by what sends him on."""
    reason = reason_of_refusal(w)
    if u64(w + W_JUDGED + OUT_WOULD) == WARN:
        if has_token(w, u, host, host_bytes, u64(w + W_TARGET), u64(w + W_TARGET_BYTES)):
            put_override(w, u, host, host_bytes)
            reason = r.CONTINUED
    return refuse(w, reason, PROTO_HTTP, 0, host, host_bytes)


@shared
def _read_request(w, u, record, p, end, eof, state):  # type: ignore[no-untyped-def]
    """It is refused as soon as one blocked host was read, and allowed only when the head is whole."""
    status = read_request(p, end, eof, state)
    if status == NOT_MINE:
        return FREES
    put64(w + W_TARGET, p + u64(state + hs.PATH_SPAN + hs.SPAN_OFF))
    put64(w + W_TARGET_BYTES, u64(state + hs.PATH_SPAN + hs.SPAN_BYTES))
    refused = judge_spans(w, u, p, state)
    if refused >= 0 and (status == BAD or not _may_be_allowed(w, u, p, state)):
        span = state + hs.HOST_SPANS + refused * hs.SPAN_STRIDE
        host, size = p + u64(span + hs.SPAN_OFF), u64(span + hs.SPAN_BYTES)
        judge_host(w, u, host, size)  # W_JUDGED may be of another host by now
        return _refuse_host(w, u, host, size)
    if status == BAD:
        return refuse_ambiguous(w, u, PROTO_HTTP, u64(state + hs.STATUS_DETAIL), p)
    if status == NEED_MORE:
        if u64(state + hs.SEEN) & hs.SEEN_NO_VERSION and u32(record + FLOW_WATCH) == WATCH_NONE:
            # A command of another protocol (`USER x`) looks like this too: what the server answers will say which it is.
            put32(record + FLOW_MARK, u32(record + FLOW_SERVER_NEXT))
            put32(record + FLOW_WATCH, WATCH_UNKNOWN)
        return WAITS
    if u64(u64(w + W_SNAPSHOT) + FILTERS_COUNT):
        outcome = _consult_hosts(w, u, record, p, state)
        if outcome != ADVANCES:
            return outcome
    elif u64(state + hs.HOST_COUNT) == 0:
        reason = judge_hello(w, u, p, 0, 0)
        if reason:
            return refuse(w, reason, PROTO_HTTP, 0, u64(w + UNIT_HOST), u64(w + UNIT_HOST_BYTES))
    if u64(state + hs.FLAGS) & (hs.UPGRADE | hs.CONNECT) and u64(state + hs.BODY_KIND) != hs.BODY_NONE:
        # A server that ignores the upgrade reads a body here, another one its new protocol.
        return refuse_ambiguous(w, u, PROTO_HTTP, hs.BAD_BODY_CONNECT, p)
    return take_http_head(w, u, record, p, state)


@shared
def _may_be_allowed(w, u, p, state):  # type: ignore[no-untyped-def]
    """May hooks allow all those hosts of a request that the tables refuse? Then it is decided when its head is whole."""
    if u64(u64(w + W_SNAPSHOT) + FILTERS_COUNT) == 0 or u64(w + W_MAY_ASK) == MAY_NOT_ASK:
        return False
    for number in range(hs.HOST_LIMIT):
        if number >= u64(state + hs.HOST_COUNT):
            break
        span = state + hs.HOST_SPANS + number * hs.SPAN_STRIDE
        host, size = p + u64(span + hs.SPAN_OFF), u64(span + hs.SPAN_BYTES)
        if judge_host(w, u, host, size) <= REPORT:
            continue
        reason = reason_of_refusal(w)
        if reason == r.COURT_ORDER or reason == r.OWN_LIST or not is_wanted(w, u, PROTO_HTTP, host, size):
            return False
    return True


@shared
def _consult_hosts(w, u, record, p, state):  # type: ignore[no-untyped-def]
    """What hooks say of the hosts of a whole head, and the tables of those on which hooks have no opinion.

    Returns: ADVANCES: all are allowed; REFUSES, ASKS."""
    count = u64(state + hs.HOST_COUNT)
    for number in range(hs.HOST_LIMIT):
        if number >= count and number > 0:
            break
        span = state + hs.HOST_SPANS + number * hs.SPAN_STRIDE
        host, size = p + u64(span + hs.SPAN_OFF), u64(span + hs.SPAN_BYTES) if count else 0
        if count:
            refused = reason_of_refusal(w) if judge_host(w, u, host, size) > REPORT else 0
        else:
            refused = judge_hello(w, u, p, 0, 0)
        word = consult(w, u, record, PROTO_HTTP, number, host, size, refused)
        if word == MUST_WAIT:
            return ASKS
        if word == HOOK_REFUSES:
            return refuse(w, r.BLOCKED, PROTO_HTTP, 0, host, size)
        if refused and word == NO_WORD and count:
            return _refuse_host(w, u, host, size)
        if refused and word == NO_WORD:
            return refuse(w, refused, PROTO_HTTP, 0, u64(w + UNIT_HOST), u64(w + UNIT_HOST_BYTES))
    return ADVANCES


@shared
def skim_body(w, u, record, p, end, eof, state):  # type: ignore[no-untyped-def]
    """The body of a method that usually has none: a server that ignores it reads a request here. It passes only when its
    first line is certain to be none."""
    left, size = u64(record + FLOW_LEFT), end - p
    # The body's end is treated as the stream's: a server that reads a request here may stop there.
    status = read_request(p, min(end, p + left), 1 if eof or size >= left else 0, state)
    if status == NEED_MORE:
        return WAITS
    if status != NOT_MINE:
        return refuse_ambiguous(w, u, PROTO_HTTP, hs.BAD_REQUEST_LINE, p)
    body = min(left, BODY_LIMIT)
    put16(record + FLOW_MODE, MODE_GLUED)
    put64(record + FLOW_LEFT, left - body)
    put64(w + UNIT_REASON, r.BODY_READ)
    seen = min(size, body)  # what proved it: fixed until acknowledged, unlike the body of a method that has one
    return advance(w, seen, body - seen)


@shared
def read_chunk_header(w, u, record, p, end, state, first):  # type: ignore[no-untyped-def]
    """A chunk's size line at p: the chunk is a body for the kernel; the last one ends the message."""
    status = read_chunk(p, end, first, state)
    if status == NEED_MORE:
        return WAITS
    size = u64(state + CHUNK_BYTES)
    if status != COMPLETE or size > BODY_LIMIT:
        return refuse_ambiguous(w, u, PROTO_HTTP, u64(state + hs.STATUS_DETAIL), p)
    put16(record + FLOW_MODE, MODE_CHUNK if size else MODE_HTTP)
    put64(w + UNIT_REASON, r.BODY_READ)
    return advance(w, u64(state + CHUNK_HEADER_END), size)


@shared
def try_request(w, u, record, p, end, eof, state):  # type: ignore[no-untyped-def]
    """Bytes that may begin a request, on a flow whose protocol is not certain: tried as hello or request, else skipped."""
    if is_tls(p):
        outcome = read_tls_hello(w, u, record, p, end, state)
    else:
        outcome = read_http(w, u, record, p, end, eof, state)
    if outcome != REFUSES and is_dns(u) and is_query_header(p, end):
        mode = u16(record + FLOW_MODE)
        if read_dns(w, u, record, p, end) == REFUSES:
            return REFUSES
        put16(record + FLOW_MODE, mode)
    if outcome != FREES:
        return outcome
    put64(w + UNIT_REASON, r.ON_SIGHT)
    return advance(w, end - p, 0)


@shared
def is_blank(p, end):  # type: ignore[no-untyped-def]
    """Is there nothing but a few line ends? Bounds: BLANK_BYTES."""
    if end - p > BLANK_BYTES:
        return False
    for at in range(end - p):
        if u8(p + at) != 10 and u8(p + at) != 13:
            return False
    return True


@shared
def read_unit(w, u, record, p, end, eof, state):  # type: ignore[no-untyped-def]
    """Read and judge the unit at p.

    Reads: [p, end); `eof`: the client's FIN stands at `end`; the
        record's mode; `state` (STATE_BYTES of flow.stream, zeroed at the start of a unit and kept between calls).
    Writes: the record's mode and FLOW_LEFT; UNIT_* of the worker's block: J and F from p, or why it is refused.
    Returns: WAITS (for more bytes), ADVANCES (to the next unit), REFUSES, FREES (no request can follow), ASKS (hooks: the
        packet is kept, and this unit is read again).
    """
    mode = u16(record + FLOW_MODE)
    left = u64(record + FLOW_LEFT)
    if (mode == MODE_HTTP or mode == MODE_GLUED) and left:
        body = min(left, BODY_LIMIT)
        put64(record + FLOW_LEFT, left - body)
        put64(w + UNIT_REASON, r.BODY_READ)
        return advance(w, 0, body)
    if p >= end:
        return WAITS
    if mode == MODE_START:
        if is_tls(p):
            outcome = read_tls_hello(w, u, record, p, end, state)
        else:
            outcome = read_http(w, u, record, p, end, eof, state)
        if is_dns(u):
            return start_dns(w, u, record, p, end, outcome)
        return judge_nameless(w, u) if outcome == FREES else outcome
    if mode == MODE_DNS:
        return read_dns(w, u, record, p, end)
    if mode == MODE_HTTP or mode == MODE_GLUED:
        outcome = read_http(w, u, record, p, end, eof, state)
        if outcome == FREES and eof and is_blank(p, end):
            return advance(w, end - p, 0)  # empty lines behind the last request
        if outcome == FREES:
            return refuse_ambiguous(w, u, PROTO_TCP, hs.BAD_REQUEST_LINE, p)
        return outcome
    if mode == MODE_SKIM:
        return skim_body(w, u, record, p, end, eof, state)
    if mode == MODE_TLS:
        return read_tls_flight(w, u, record, p, end, state)
    if mode == MODE_TRY:
        return try_request(w, u, record, p, end, eof, state)
    return read_chunk_header(w, u, record, p, end, state, 1 if mode == MODE_CHUNK_FIRST else 0)

"""The request line: is this HTTP at all, and is it a line that every server reads in the same way?

Knows: `token SP target SP HTTP/1.x` and what each server tolerates instead; RTSP and ICE, because Node serves them as
HTTP. Refuses to know: fields, bodies.

Words are separated as the most tolerant server does (CPython: any Latin-1 white space). What only some servers accept is
remembered as an oddity, and the line is BAD once its "HTTP/" proves that it is a request. A line that ends without is
judged by `penstock.request.http_bare`.

    lead -> method -> gap -> target <-> target gap <-> prefix -> version -> (fields)
"""

from penstock.compile.memory import put64, shared, u8, u64
from penstock.request.http_bare import find_lone_target_end, judge_bare_line, may_hold_words
from penstock.request.http_bytes import CR, DELETE, DOT, LF, SLASH, SPACE, find_control, is_control, is_space, is_token
from penstock.request.http_host import is_digit, read_target
from penstock.request.http_method import PATCH, POST, PUT, SOURCE, is_connect, read_method
from penstock.request.http_state import (
    BAD_BARE_CR,
    BAD_CONTROL,
    BAD_EMPTY_LINES,
    BAD_H2,
    BAD_METHOD,
    BAD_REQUEST_LINE,
    BAD_TARGET,
    BAD_VERSION,
    BAD_VERSION_MISSING,
    BODY_TRUSTED,
    CONNECT,
    EMPTY_LINE_LIMIT,
    EMPTY_LINES,
    FLAGS,
    GAP_HIGH,
    GAP_OFF,
    HTTP_1_0,
    IN_FIELDS,
    IN_GAP,
    IN_LEAD,
    IN_METHOD,
    IN_PREFIX,
    IN_TARGET,
    IN_TARGET_GAP,
    IN_VERSION,
    LINE_OFF,
    MATCHED,
    METHOD_SPAN,
    ODD_DETAIL,
    ODD_METHOD,
    ODD_METHOD_LIMIT,
    PHASE,
    PREFIX,
    PREFIX_LEFT,
    SCAN_OFF,
    SEEN,
    SEEN_CRLF,
    SEEN_LF,
    SEEN_NO_VERSION,
    SPAN_BYTES,
    SPAN_OFF,
    STATUS_DETAIL,
    TARGET_SPAN,
    UPGRADE,
    VERSION,
)
from penstock.request.status import BAD, COMPLETE, NEED_MORE, NOT_MINE


def _word(text: bytes) -> int:
    """The bytes as a number, the first one lowest."""
    return int.from_bytes(text, "little")


HTTP_PREFIX, RTSP_PREFIX, ICE_PREFIX = _word(b"http/"), _word(b"rtsp/"), _word(b"ice/")
"""What a version starts with. Node serves RTSP/1.0 and ICE/1.0 as it serves HTTP."""
FIRST_BYTE = 0xFF
VERSION_BYTES = 3

LINE_OVER, LINE_NOT_MINE, LINE_BAD = 100, 101, 102
"""Beside the phases: what one byte of the request line leads to."""


@shared
def refuse(state, detail):  # type: ignore[no-untyped-def]
    """Write why, and say LINE_BAD."""
    put64(state + STATUS_DETAIL, detail)
    return LINE_BAD


@shared
def note_oddity(state, detail):  # type: ignore[no-untyped-def]
    """Remember the first oddity of the request line."""
    if u64(state + ODD_DETAIL) == 0:
        put64(state + ODD_DETAIL, detail)


@shared
def step_lead(p, at, byte, state):  # type: ignore[no-untyped-def]
    """One byte before the method: empty lines are skipped as nginx, Apache and Node do."""
    if byte == LF:
        put64(state + ODD_DETAIL, 0)
        lines = u64(state + EMPTY_LINES) + 1
        put64(state + EMPTY_LINES, lines)
        return refuse(state, BAD_EMPTY_LINES) if lines > EMPTY_LINE_LIMIT else IN_LEAD
    if is_space(byte):
        note_oddity(state, BAD_REQUEST_LINE)
        return IN_LEAD
    put64(state + METHOD_SPAN + SPAN_OFF, at - p)
    return step_method(p, at, byte, state)


@shared
def step_method(p, at, byte, state):  # type: ignore[no-untyped-def]
    """One byte of the method, or the one that ends it."""
    if byte == LF:
        return LINE_NOT_MINE
    size_bytes = at - p - u64(state + METHOD_SPAN + SPAN_OFF)
    if u64(state + ODD_METHOD) != 0 and size_bytes > ODD_METHOD_LIMIT:
        return LINE_NOT_MINE
    if is_space(byte):
        put64(state + METHOD_SPAN + SPAN_BYTES, size_bytes)
        if byte != SPACE:
            note_oddity(state, BAD_REQUEST_LINE)
        return IN_GAP
    if is_control(byte):
        return LINE_NOT_MINE
    if not is_token(byte):
        note_oddity(state, BAD_METHOD)
        put64(state + ODD_METHOD, 1)
    return IN_METHOD


@shared
def step_gap(p, at, byte, state):  # type: ignore[no-untyped-def]
    """One byte between method and target, or the target's first."""
    if byte == LF:
        return LINE_NOT_MINE
    if is_space(byte):
        if byte != SPACE:
            note_oddity(state, BAD_REQUEST_LINE)
        return IN_GAP
    put64(state + TARGET_SPAN + SPAN_OFF, at - p)
    return step_target(p, at, byte, state)


@shared
def step_target(p, at, byte, state):  # type: ignore[no-untyped-def]
    """One byte of the target, or white space behind it."""
    if byte == LF:
        return end_versionless(p, at, state)
    if is_space(byte):
        put64(state + GAP_OFF, at - p)
        put64(state + GAP_HIGH, 1 if byte >= 0x80 else 0)
        if byte < 0x80 and byte != SPACE:
            note_oddity(state, BAD_REQUEST_LINE)
        return IN_TARGET_GAP
    if is_control(byte):
        note_oddity(state, BAD_CONTROL)
    return IN_TARGET


@shared
def step_target_gap(p, at, byte, state):  # type: ignore[no-untyped-def]
    """One byte behind white space in or after the target: more white space, the version, or one more word."""
    if byte == LF:
        return end_versionless(p, at, state)
    if is_space(byte):
        if u64(state + GAP_HIGH) != 0:
            return step_target(p, at, byte, state)
        if byte != SPACE:
            note_oddity(state, BAD_REQUEST_LINE)
        return IN_TARGET_GAP
    for prefix in (HTTP_PREFIX, RTSP_PREFIX, ICE_PREFIX):
        if byte | 32 == prefix & FIRST_BYTE:
            put64(state + PREFIX, prefix)
            put64(state + PREFIX_LEFT, prefix)
            return step_prefix(p, at, byte, state)
    return step_other_word(p, at, byte, state)


@shared
def step_other_word(p, at, byte, state):  # type: ignore[no-untyped-def]
    """What follows the white space is not the version: the target goes on (old nginx), which others refuse.

    Behind a method that is none three words are all that is tried: XML, JSON and logs have no business here.
    """
    if u64(state + GAP_HIGH) == 0:
        if not may_hold_words(p, at, state):
            return LINE_NOT_MINE
        note_oddity(state, BAD_TARGET)
    return step_target(p, at, byte, state)


@shared
def step_prefix(p, at, byte, state):  # type: ignore[no-untyped-def]
    """One byte of `HTTP/`. From the slash on it is HTTP, and everything odd before it is BAD."""
    left = u64(state + PREFIX_LEFT)
    wanted = left & FIRST_BYTE
    if (byte if wanted == SLASH else byte | 32) != wanted:
        return step_other_word(p, at, byte, state)
    put64(state + PREFIX_LEFT, left >> 8)
    if wanted != SLASH:
        return IN_PREFIX
    prefix = u64(state + PREFIX)
    lower = has_lower(at - (3 if prefix == ICE_PREFIX else 4), at)
    if u64(state + GAP_HIGH) != 0:
        if lower or prefix != HTTP_PREFIX:  # CPython would refuse this version, for others it is the target
            return IN_TARGET
        note_oddity(state, BAD_REQUEST_LINE)
    if lower:
        note_oddity(state, BAD_VERSION)
    gap_off = u64(state + GAP_OFF)
    put64(state + TARGET_SPAN + SPAN_BYTES, gap_off - u64(state + TARGET_SPAN + SPAN_OFF))
    detail = u64(state + ODD_DETAIL)
    return refuse(state, detail) if detail != 0 else IN_VERSION


@shared
def has_lower(at, stop):  # type: ignore[no-untyped-def]
    """Is there a lower-case letter among the letters of [at, stop)?"""
    while at < stop:
        if u8(at) & 32 != 0:
            return True
        at += 1
    return False


@shared
def step_version(p, at, byte, state):  # type: ignore[no-untyped-def]
    """One byte of `1.1`, CR, LF."""
    matched = u64(state + MATCHED)
    put64(state + MATCHED, matched + 1)
    if matched == 0:
        return IN_VERSION if is_digit(byte) else refuse(state, BAD_VERSION)
    if matched == 1:
        return IN_VERSION if byte == DOT else refuse(state, BAD_VERSION)
    if matched == 2:
        return judge_version(p, at, state)
    if byte == LF:
        return LINE_OVER
    if matched == VERSION_BYTES:
        return IN_VERSION if byte == CR else refuse(state, BAD_VERSION)
    return refuse(state, BAD_BARE_CR)


@shared
def judge_version(p, at, state):  # type: ignore[no-untyped-def]
    """`at` is the minor version: 1.0, 1.1 (RTSP: 2.0 too, RFC 7826), or BAD."""
    version = 10 * (u8(at - 2) - 48) + u8(at) - 48
    is_http = u64(state + PREFIX) == HTTP_PREFIX
    if is_http and u8(at - 2) == 50:
        return refuse(state, BAD_H2)
    if not is_digit(u8(at)) or not (version == 10 or version == 11 or (version == 20 and not is_http)):
        return refuse(state, BAD_VERSION)
    put64(state + VERSION, version)
    return IN_VERSION


@shared
def end_versionless(p, stop, state):  # type: ignore[no-untyped-def]
    """The line ends at `stop`; it has a method and a target, but no version.

    Returns LINE_BAD, LINE_NOT_MINE, or LINE_OVER where the fields decide.
    """
    status = judge_bare_line(p, stop, state)
    if status == BAD:
        return refuse(state, BAD_VERSION_MISSING)
    return LINE_OVER if status == COMPLETE else LINE_NOT_MINE


@shared
def step_line(p, at, state):  # type: ignore[no-untyped-def]
    """One byte of the request line. Returns the next phase or LINE_OVER, LINE_NOT_MINE, LINE_BAD."""
    byte, phase = u8(at), u64(state + PHASE)
    if phase == IN_TARGET:
        return step_target(p, at, byte, state)
    if phase == IN_VERSION:
        return step_version(p, at, byte, state)
    if phase == IN_PREFIX:
        return step_prefix(p, at, byte, state)
    if phase == IN_METHOD:
        return step_method(p, at, byte, state)
    if phase == IN_TARGET_GAP:
        return step_target_gap(p, at, byte, state)
    if phase == IN_GAP:
        return step_gap(p, at, byte, state)
    return step_lead(p, at, byte, state)


@shared
def skip_plain(at, stop, phase):  # type: ignore[no-untyped-def]
    """The address of the first byte of [at, stop) that may change the phase."""
    if phase == IN_METHOD:
        while at < stop and is_token(u8(at)):
            at += 1
    elif phase == IN_TARGET:
        while at < stop and u8(at) > SPACE and u8(at) < DELETE:
            at += 1
    return at


@shared
def read_request_line(p, stop, state):  # type: ignore[no-untyped-def]
    """Read on in the request line.

    Reads [p + SCAN_OFF, stop). Writes the spans of method and target, VERSION, FLAGS, the host of the target.
    Returns NEED_MORE (all bytes read), COMPLETE (fields follow at SCAN_OFF), NOT_MINE or BAD (with STATUS_DETAIL).
    Bounds: one turn per byte. Source: RFC 9112 2.2, 3; CPython `http.server.parse_request`.
    """
    at = p + u64(state + SCAN_OFF)
    while True:
        at = skip_plain(at, stop, u64(state + PHASE))
        if at >= stop:
            break
        phase = step_line(p, at, state)
        at += 1
        if phase >= LINE_OVER:
            put64(state + SCAN_OFF, at - p)
            if phase == LINE_OVER:
                return end_request_line(p, at, state)
            return BAD if phase == LINE_BAD else NOT_MINE
        put64(state + PHASE, phase)
    put64(state + SCAN_OFF, at - p)
    method_bytes = at - p - u64(state + METHOD_SPAN + SPAN_OFF)
    if u64(state + PHASE) == IN_METHOD and u64(state + ODD_METHOD) != 0 and method_bytes > ODD_METHOD_LIMIT:
        return NOT_MINE
    return NEED_MORE


@shared
def end_request_line(p, at, state):  # type: ignore[no-untyped-def]
    """The line is whole and ends before `at`: note flags, read the target."""
    put64(state + PHASE, IN_FIELDS)
    put64(state + LINE_OFF, at - p)
    put64(state + SEEN, SEEN_CRLF if u8(at - 2) == CR else SEEN_LF)
    if u64(state + VERSION) == 0:
        return end_bare_line(p, at, state)
    method = read_method(p, state)
    flags = HTTP_1_0 if u64(state + VERSION) == 10 else 0
    if method == POST or method == PUT or method == PATCH:
        flags |= BODY_TRUSTED
    if is_connect(method):
        flags |= CONNECT
    if u64(state + PREFIX) != HTTP_PREFIX or method == SOURCE:
        flags |= UPGRADE
    put64(state + FLAGS, flags)
    detail = read_target(p, state)
    put64(state + STATUS_DETAIL, detail)
    return BAD if detail != 0 else COMPLETE


@shared
def end_bare_line(p, at, state):  # type: ignore[no-untyped-def]
    """The line is whole, ends before `at` and has no version: note so, read the host of a URL. Returns COMPLETE.

    What is odd about it makes it BAD only at the empty line: before, it may be a line of another protocol.
    """
    target_end = find_lone_target_end(p, at - 1, state)
    put64(state + TARGET_SPAN + SPAN_BYTES, target_end - p - u64(state + TARGET_SPAN + SPAN_OFF))
    put64(state + SEEN, SEEN_CRLF | SEEN_NO_VERSION)
    put64(state + FLAGS, HTTP_1_0)
    detail = read_target(p, state)
    if detail == BAD_TARGET:  # what is no URL is only a path for such a server: `IHAVE <a@b.test>`
        detail = 0
    if find_control(p + u64(state + METHOD_SPAN + SPAN_OFF), target_end) < target_end:
        detail = BAD_CONTROL
    put64(state + ODD_DETAIL, detail)
    return COMPLETE


@shared
def cut_request_line(p, at, state):  # type: ignore[no-untyped-def]
    """The stream ends at `at`, within the request line: CPython reads what is there as the whole line.

    Returns COMPLETE, NOT_MINE or BAD.
    """
    phase = u64(state + PHASE)
    if phase == IN_VERSION and u64(state + MATCHED) >= VERSION_BYTES:
        return end_request_line(p, at, state)
    if phase == IN_VERSION:
        refuse(state, BAD_VERSION)
        return BAD
    if phase == IN_TARGET or phase == IN_TARGET_GAP or phase == IN_PREFIX:
        return BAD if end_versionless(p, at, state) == LINE_BAD else NOT_MINE
    return NOT_MINE

"""Request lines without a version, and words that some server might still take for a target.

Knows: which lines without "HTTP/" a server acts on, and whose fields it reads. Refuses to know: the fields.

    GET x | POST /x ...           nginx, Apache, CPython, Node: BAD, for they differ in whether fields follow
    FOO x CR LF  (two words)      waitress 3.0: a request like any other, once fields and an empty line follow
    anything else                 no request

RFC 9112 3; RFC 1945 5.1 (Simple-Request).
"""

from penstock.compile.memory import shared, u8, u64
from penstock.request.http_bytes import CR, HT, LF, SLASH, SPACE
from penstock.request.http_method import is_connect, is_url, is_versionless_request, read_method
from penstock.request.http_state import GAP_OFF, METHOD_SPAN, ODD_METHOD, SPAN_BYTES, SPAN_OFF, TARGET_SPAN
from penstock.request.status import BAD, COMPLETE, NOT_MINE

DASH, LOW_LINE = 45, 95


@shared
def is_lower(byte):  # type: ignore[no-untyped-def]
    """a to z?"""
    return byte >= 97 and byte <= 122


@shared
def is_plain(byte):  # type: ignore[no-untyped-def]
    """May this byte stand in a method of nginx?"""
    return (byte >= 65 and byte <= 90) or byte == LOW_LINE or byte == DASH


@shared
def trim_white(at, stop):  # type: ignore[no-untyped-def]
    """The end of [at, stop) without white space of ASCII at its end."""
    while stop > at and (u8(stop - 1) == SPACE or (u8(stop - 1) >= HT and u8(stop - 1) <= CR)):
        stop -= 1
    return stop


@shared
def find_lone_target_end(p, stop, state):  # type: ignore[no-untyped-def]
    """The target's end in a line of two words, as waitress reads it; 0 if the line is another.

    Reads: METHOD_SPAN, ODD_METHOD; the line from the method to `stop`, where its line feed stands. The method has no
    letter in lower case, one space follows it, none is in the target, and the line ends in CR LF.
    Bounds: one turn per byte. Source: waitress 3.0.2, `parser.py`, `first_line_re` and `crack_first_line`.
    """
    if u64(state + ODD_METHOD) != 0 or u8(stop - 1) != CR:
        return 0
    at = p + u64(state + METHOD_SPAN + SPAN_OFF)
    method_end = at + u64(state + METHOD_SPAN + SPAN_BYTES)
    while at < method_end:
        if is_lower(u8(at)):
            return 0
        at += 1
    if u8(at) != SPACE:
        return 0
    at += 1
    end = trim_white(at, stop)
    while at < end:
        byte = u8(at)
        if byte == SPACE or byte == CR or byte == LF:
            return 0
        at += 1
    return end


@shared
def judge_bare_line(p, stop, state):  # type: ignore[no-untyped-def]
    """The line has a method and a target, and its line feed or the stream's end at `stop`; it has no version.

    Returns: BAD (a server acts on it here and now); COMPLETE (a server reads fields behind it, and takes all of it for a
    request at the empty line; at the stream's end it is none); NOT_MINE.
    """
    target = p + u64(state + TARGET_SPAN + SPAN_OFF)
    if is_versionless_request(read_method(p, state), target, stop):
        return BAD
    return NOT_MINE if find_lone_target_end(p, stop, state) == 0 else COMPLETE


@shared
def is_plain_method(p, state):  # type: ignore[no-untyped-def]
    """Is the method made of such bytes alone?"""
    at = p + u64(state + METHOD_SPAN + SPAN_OFF)
    stop = at + u64(state + METHOD_SPAN + SPAN_BYTES)
    while at < stop:
        if not is_plain(u8(at)):
            return False
        at += 1
    return True


@shared
def may_hold_words(p, at, state):  # type: ignore[no-untyped-def]
    """May a server read on behind the white space before `at`, where neither a version nor the line's end stands?

    nginx before 1.21.1 takes a path or URL with spaces in it, from a method of capitals (and Apache in its unsafe mode does
    not mind what the third word is); waitress takes white space that is no space for a part of the target. A line of a log
    has neither. Bounds: one turn per byte of method and scheme.
    """
    if u64(state + ODD_METHOD) != 0:
        return False
    is_tab = u8(p + u64(state + GAP_OFF)) != SPACE
    if not is_plain_method(p, state):
        method_end = p + u64(state + METHOD_SPAN + SPAN_OFF) + u64(state + METHOD_SPAN + SPAN_BYTES)
        return is_tab and u8(method_end) == SPACE
    target = p + u64(state + TARGET_SPAN + SPAN_OFF)
    return is_tab or u8(target) == SLASH or is_url(target, at) or is_connect(read_method(p, state))

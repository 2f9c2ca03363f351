"""The fields of a request: hosts, the framing of the body, and what makes servers disagree.

Knows: Host, Content-Length, Transfer-Encoding, Upgrade, continuation lines, lines that are no field. Refuses to know: the
request line, the body's bytes, every other field (RFC 9112 2.2, 5, 6; RFC 9110 7.2, 7.8, 8.6).
"""

from penstock.compile.memory import be32, put8, put64, shared, u8, u64
from penstock.request.http_bytes import (
    COLON,
    CR,
    HT,
    LF,
    LOWER_4,
    NAME_BYTES_LIMIT,
    NAME_CODING,
    NAME_HOST,
    NAME_LENGTH,
    NAME_OTHER,
    SPACE,
    find_control,
    find_name,
    is_token,
    skip_spaces,
    trim_spaces,
)
from penstock.request.http_host import add_authority, is_digit
from penstock.request.http_state import (
    BAD_BARE_CR,
    BAD_BODY_CONNECT,
    BAD_BODY_JUNK,
    BAD_BODY_LF,
    BAD_CODING,
    BAD_CODING_TWICE,
    BAD_CODING_VERSION,
    BAD_CONTROL,
    BAD_FOLD,
    BAD_H2C,
    BAD_LENGTH,
    BAD_LENGTH_AND_CODING,
    BAD_LENGTH_TWICE,
    BAD_LINE_END,
    BAD_NAME,
    BODY_CHUNKED,
    BODY_KIND,
    BODY_LENGTH,
    BODY_LENGTH_BYTES,
    BODY_NONE,
    BODY_TRUSTED,
    CONNECT,
    FIELD_KIND,
    FLAGS,
    HEAD_END,
    HTTP_1_0,
    LENGTH_DIGIT_LIMIT,
    LINE_OFF,
    NAME_ROOM,
    ODD_DETAIL,
    SCAN_OFF,
    SEEN,
    SEEN_CODING,
    SEEN_CRLF,
    SEEN_FIELD,
    SEEN_JUNK,
    SEEN_LENGTH,
    SEEN_LF,
    SEEN_NO_VERSION,
    STATUS_DETAIL,
    UPGRADE,
)
from penstock.request.status import BAD, COMPLETE, NEED_MORE, NOT_MINE

CHUN_WORD = int.from_bytes(b"chun", "big")
NKED_WORD = int.from_bytes(b"nked", "big")
CHUNKED_BYTES = 7
H2C_WORD = int.from_bytes(b"h2c", "big")


@shared
def read_fields(p, stop, eof, state):  # type: ignore[no-untyped-def]
    """Read whole lines until the empty one.

    Reads [p + SCAN_OFF, stop), and back to LINE_OFF once per line. Writes hosts, BODY_*, FLAGS, HEAD_END.
    Returns NEED_MORE, COMPLETE, BAD (with STATUS_DETAIL) or, behind a line without a version, NOT_MINE. With `eof` the
    stream's end ends the line and the head.
    Bounds: at most four visits per byte. Source: RFC 9112 2.2, 5.
    """
    at = p + u64(state + SCAN_OFF)
    while at < stop:
        at = find_control(at, stop)
        if at == stop:
            break
        byte = u8(at)
        if byte == HT:
            at += 1
            continue
        line_end = at
        if byte == CR:
            if at + 1 == stop:
                break
            at += 1
        elif byte != LF:
            return judge_stray(state, BAD_CONTROL)
        if u8(at) != LF:
            return judge_stray(state, BAD_BARE_CR)
        at += 1
        status = end_line(p, line_end, at, state)
        put64(state + SCAN_OFF, at - p)
        if status != NEED_MORE:
            return status
    put64(state + SCAN_OFF, at - p)
    if eof == 0:
        return NEED_MORE
    return cut_head(p, at, stop, state)


@shared
def refuse_head(state, detail):  # type: ignore[no-untyped-def]
    """Write why. Returns BAD."""
    put64(state + STATUS_DETAIL, detail)
    return BAD


@shared
def judge_stray(state, detail):  # type: ignore[no-untyped-def]
    """A byte or line end that belongs to no field. Returns BAD, or NOT_MINE behind a line without a version."""
    return refuse_head(state, detail) if u64(state + SEEN) & SEEN_NO_VERSION == 0 else NOT_MINE


@shared
def is_field(start, line_end, state):  # type: ignore[no-untyped-def]
    """Is the line `token ":"`, or the continuation of such a line?"""
    at = start
    if u8(at) == SPACE or u8(at) == HT:
        return u64(state + SEEN) & SEEN_FIELD != 0
    while at < line_end and is_token(u8(at)):
        at += 1
    return at > start and at < line_end and u8(at) == COLON


@shared
def end_line(p, line_end, at, state):  # type: ignore[no-untyped-def]
    """The line [LINE_OFF, line_end) is whole, the next one starts at `at`. Returns as `read_fields`."""
    seen = u64(state + SEEN) | (SEEN_CRLF if at - line_end == 2 else SEEN_LF)
    put64(state + SEEN, seen)
    if seen & SEEN_CRLF != 0 and seen & SEEN_LF != 0:
        return judge_stray(state, BAD_LINE_END)
    start = p + u64(state + LINE_OFF)
    put64(state + LINE_OFF, at - p)
    if start == line_end:
        return end_head(p, at, state)
    if seen & SEEN_NO_VERSION != 0 and not is_field(start, line_end, state):
        return NOT_MINE
    detail = read_line(p, start, line_end, state)
    return refuse_head(state, detail) if detail != 0 else NEED_MORE


@shared
def cut_head(p, at, stop, state):  # type: ignore[no-untyped-def]
    """The stream ends at `stop`; [LINE_OFF, at) is what there is of a line, but for one CR. CPython reads it as a line.
    (No server does behind a request line without a version.)"""
    if u64(state + SEEN) & SEEN_NO_VERSION != 0:
        return NOT_MINE
    start = p + u64(state + LINE_OFF)
    if start < at:
        detail = read_line(p, start, at, state)
        if detail != 0:
            return refuse_head(state, detail)
    return end_head(p, stop, state)


@shared
def read_line(p, start, line_end, state):  # type: ignore[no-untyped-def]
    """Read one line that is not empty. Returns 0 or why it is BAD."""
    first = u8(start)
    if first == SPACE or first == HT:
        return judge_fold(start, line_end, state)
    put64(state + SEEN, u64(state + SEEN) | SEEN_FIELD)
    at = start
    while at < line_end and is_token(u8(at)):
        at += 1
    if at == start or at == line_end or u8(at) != COLON:
        put64(state + FIELD_KIND, NAME_OTHER)
        return judge_odd_line(start, line_end, state)
    kind = find_name(start, at - start)
    put64(state + FIELD_KIND, kind)
    if kind == NAME_OTHER:
        return 0
    value = skip_spaces(at + 1, line_end)
    value_end = trim_spaces(value, line_end)
    if kind == NAME_HOST:
        return add_authority(p, value, value_end, state)
    if kind == NAME_LENGTH:
        return read_length(value, value_end, state)
    if kind == NAME_CODING:
        return read_coding(value, value_end, state)
    return read_upgrade(value, value_end, state)


@shared
def judge_fold(start, line_end, state):  # type: ignore[no-untyped-def]
    """A continuation line: harmless only behind a field that does not matter, and if it looks like none that does."""
    at = skip_spaces(start, line_end)
    if at == line_end or u64(state + SEEN) & SEEN_FIELD == 0 or u64(state + FIELD_KIND) != NAME_OTHER:
        return BAD_FOLD
    name = at
    while at < line_end and is_token(u8(at)):
        at += 1
    colon = skip_spaces(at, line_end)
    if colon < line_end and u8(colon) == COLON and find_name(name, at - name) != NAME_OTHER:
        return BAD_FOLD
    return 0


@shared
def judge_odd_line(start, line_end, state):  # type: ignore[no-untyped-def]
    """A line that is not `token ":"`: might any server read a field in it that matters?

    Its first word, and its name without the bytes that do not belong into one, must not be such a field. CPython stops
    to read fields at a line whose name is not printable ASCII up to the colon (SEEN_JUNK).
    """
    word = start
    while word < line_end and not is_token(u8(word)):
        word += 1
    word_end = word
    while word_end < line_end and is_token(u8(word_end)):
        word_end += 1
    if find_name(word, word_end - word) != NAME_OTHER:
        return BAD_NAME
    colon = start
    kept_bytes = 0
    printable = True
    while colon < line_end and u8(colon) != COLON:
        byte = u8(colon)
        printable = printable and byte > SPACE and byte < 127
        if is_token(byte):
            if kept_bytes < NAME_BYTES_LIMIT:
                put8(state + NAME_ROOM + kept_bytes, byte)
            kept_bytes += 1
        colon += 1
    if colon == line_end or not printable:
        put64(state + SEEN, u64(state + SEEN) | SEEN_JUNK)
    if colon < line_end and kept_bytes <= NAME_BYTES_LIMIT and find_name(state + NAME_ROOM, kept_bytes) != NAME_OTHER:
        return BAD_NAME
    return 0


@shared
def read_length(at, value_end, state):  # type: ignore[no-untyped-def]
    """Content-Length: once, and nothing but digits. Returns 0, BAD_LENGTH or BAD_LENGTH_TWICE."""
    seen = u64(state + SEEN)
    if seen & SEEN_LENGTH != 0:
        return BAD_LENGTH_TWICE
    put64(state + SEEN, seen | SEEN_LENGTH)
    if at == value_end or value_end - at > LENGTH_DIGIT_LIMIT:
        return BAD_LENGTH
    length_bytes = 0
    while at < value_end:
        byte = u8(at)
        if not is_digit(byte):
            return BAD_LENGTH
        length_bytes = 10 * length_bytes + byte - 48
        at += 1
    put64(state + BODY_LENGTH_BYTES, length_bytes)
    return 0


@shared
def read_coding(at, value_end, state):  # type: ignore[no-untyped-def]
    """Transfer-Encoding: once, `chunked` and nothing else, not in HTTP/1.0. Returns 0 or why it is BAD."""
    seen = u64(state + SEEN)
    if seen & SEEN_CODING != 0:
        return BAD_CODING_TWICE
    put64(state + SEEN, seen | SEEN_CODING)
    if u64(state + FLAGS) & HTTP_1_0 != 0:
        return BAD_CODING_VERSION
    if value_end - at != CHUNKED_BYTES:
        return BAD_CODING
    if be32(at) | LOWER_4 != CHUN_WORD or be32(at + 3) | LOWER_4 != NKED_WORD:
        return BAD_CODING
    return 0


@shared
def read_upgrade(at, value_end, state):  # type: ignore[no-untyped-def]
    """Upgrade: noted; "h2c" anywhere in it is BAD. Returns 0 or BAD_H2C."""
    put64(state + FLAGS, u64(state + FLAGS) | UPGRADE)
    while at + 3 <= value_end:
        if (u8(at) | 32) << 16 | u8(at + 1) << 8 | (u8(at + 2) | 32) == H2C_WORD:
            return BAD_H2C
        at += 1
    return 0


@shared
def end_head(p, at, state):  # type: ignore[no-untyped-def]
    """The head ends before `at`: how is the body framed? Returns COMPLETE or BAD.

    A body hides bytes from the reader, so whatever makes servers disagree about the head's end or its fields is BAD here.
    """
    put64(state + HEAD_END, at - p)
    seen = u64(state + SEEN)
    kind = BODY_NONE
    if seen & SEEN_CODING != 0:
        if seen & SEEN_LENGTH != 0:
            return refuse_head(state, BAD_LENGTH_AND_CODING)
        kind = BODY_CHUNKED
    elif u64(state + BODY_LENGTH_BYTES) > 0:
        kind = BODY_LENGTH
    put64(state + BODY_KIND, kind)
    if seen & SEEN_NO_VERSION != 0:
        return end_bare_head(state, kind)
    if kind == BODY_NONE:
        return COMPLETE
    if seen & SEEN_JUNK != 0:
        return refuse_head(state, BAD_BODY_JUNK)
    if seen & SEEN_LF != 0:
        return refuse_head(state, BAD_BODY_LF)
    if u64(state + FLAGS) & CONNECT != 0:
        return refuse_head(state, BAD_BODY_CONNECT)
    return COMPLETE


@shared
def end_bare_head(state, kind):  # type: ignore[no-untyped-def]
    """The head ends, and its first line has no version. Returns COMPLETE or BAD.

    The server that takes it reads a body by its length, whatever the method (and so does spamd, which is no server of
    HTTP). Other protocols have such heads too (Gnutella, NNTP's IHAVE): without a length, what follows may be theirs.
    """
    detail = u64(state + ODD_DETAIL)
    if detail != 0:
        return refuse_head(state, detail)
    put64(state + FLAGS, u64(state + FLAGS) | (UPGRADE if kind == BODY_NONE else BODY_TRUSTED))
    return COMPLETE

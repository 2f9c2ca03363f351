"""The lines between the chunks of a body: where the next chunk ends, and where the message does.

Knows: `[CR LF] size [extension] CR LF`, and behind size 0 the trailer (RFC 9112 7.1). Refuses to know: the chunks' bytes.
Far stricter than any server: what two of them read differently would let a request hide in a body.

    CR LF | size ; extension CR LF | chunk ...        CR LF | 0 CR LF | trailer fields | CR LF | next request
    ^ p (first = 0)                ^ CHUNK_HEADER_END   ^ p                                     ^ CHUNK_HEADER_END
"""

from penstock.compile.memory import put64, shared, u8, u64
from penstock.request.http_bytes import (
    COLON,
    CR,
    DELETE,
    HT,
    LF,
    NAME_OTHER,
    SPACE,
    find_control,
    find_name,
    is_token,
)
from penstock.request.http_host import is_digit
from penstock.request.http_state import (
    BAD_CHUNK_END,
    BAD_CHUNK_EXTENSION,
    BAD_CHUNK_LONG,
    BAD_CHUNK_SIZE,
    BAD_TRAILER,
    BAD_TRAILER_LONG,
    STATUS_DETAIL,
)
from penstock.request.status import BAD, COMPLETE, NEED_MORE

CHUNK_STATE_BYTES = 64

# STATUS_DETAIL is the first slot here too.
CHUNK_HEADER_END = 8  # offset of the chunk's first byte; after the last chunk, of what follows the message
CHUNK_BYTES = 16  # 0: the last one
CHUNK_SCAN_OFF = 24
CHUNK_PHASE = 32
CHUNK_STATUS = 40
CHUNK_DIGITS = 48
TRAILER_LINE_OFF = 56

CHUNK_LINE_LIMIT = 8_192  # bytes of a size line; Node allows 16 KB of extensions in all, nginx 4 KB or less
CHUNK_DIGIT_LIMIT = 15  # below 2^60
TRAILER_LIMIT = 65_536

AT_START, AT_CR, AT_SIZE, AT_EXTENSION, AT_LF, AT_TRAILER, AT_END = range(7)
SEMICOLON, QUOTE = 59, 34


@shared
def read_chunk(p, end, first, state):  # type: ignore[no-untyped-def]
    """Read on in the line before a chunk.

    Reads [p, end): from the first chunk's size on (`first` = 1), or from the CR LF that ends the chunk before (`first` =
    0, so the caller skips CHUNK_BYTES only). Writes CHUNK_STATE_BYTES at `state`, zeroed before the first call.
    Returns NEED_MORE; COMPLETE (CHUNK_HEADER_END, CHUNK_BYTES); BAD (STATUS_DETAIL). The last two are final.
    Bounds: CHUNK_LINE_LIMIT + TRAILER_LIMIT bytes over all calls, each read at most twice. Source: RFC 9112 7.1.
    """
    if u64(state + CHUNK_PHASE) == AT_END:
        return u64(state + CHUNK_STATUS)
    status = NEED_MORE
    if u64(state + CHUNK_PHASE) != AT_TRAILER:
        status = read_size_line(p, end, first, state)
    if u64(state + CHUNK_PHASE) == AT_TRAILER:
        status = read_trailer(p, end, state)
    if status != NEED_MORE:
        put64(state + CHUNK_PHASE, AT_END)
        put64(state + CHUNK_STATUS, status)
    return status


@shared
def refuse_chunk(state, detail):  # type: ignore[no-untyped-def]
    """Write why. Returns BAD."""
    put64(state + STATUS_DETAIL, detail)
    return BAD


@shared
def read_size_line(p, end, first, state):  # type: ignore[no-untyped-def]
    """Read on in the size line. Returns NEED_MORE (also with AT_TRAILER as the phase), COMPLETE or BAD."""
    at = p + u64(state + CHUNK_SCAN_OFF)
    stop = p + CHUNK_LINE_LIMIT if end - p > CHUNK_LINE_LIMIT else end
    phase = u64(state + CHUNK_PHASE)
    if phase == AT_START and first != 0:
        phase = AT_SIZE
    while at < stop:
        byte = u8(at)
        at += 1
        if phase == AT_SIZE or phase == AT_EXTENSION:
            phase = step_size(byte, phase, state)
            if phase == AT_END:
                return BAD
        elif phase == AT_START:
            if byte != CR:
                return refuse_chunk(state, BAD_CHUNK_END)
            phase = AT_CR
        elif byte != LF:
            return refuse_chunk(state, BAD_CHUNK_END)
        elif phase == AT_CR:
            phase = AT_SIZE
        else:
            put64(state + CHUNK_HEADER_END, at - p)
            put64(state + CHUNK_SCAN_OFF, at - p)
            if u64(state + CHUNK_BYTES) > 0:
                return COMPLETE
            put64(state + TRAILER_LINE_OFF, at - p)
            put64(state + CHUNK_PHASE, AT_TRAILER)
            return NEED_MORE
    put64(state + CHUNK_SCAN_OFF, at - p)
    put64(state + CHUNK_PHASE, phase)
    return refuse_chunk(state, BAD_CHUNK_LONG) if at - p == CHUNK_LINE_LIMIT else NEED_MORE


@shared
def step_size(byte, phase, state):  # type: ignore[no-untyped-def]
    """One byte of the size or its extension. Returns the next phase; AT_END (with STATUS_DETAIL) for BAD."""
    if phase == AT_EXTENSION:
        if byte == CR:
            return AT_LF
        if byte == LF:
            refuse_chunk(state, BAD_CHUNK_END)
            return AT_END
        if byte <= SPACE or byte >= DELETE or byte == QUOTE:
            refuse_chunk(state, BAD_CHUNK_EXTENSION)
            return AT_END
        return AT_EXTENSION
    digits = u64(state + CHUNK_DIGITS)
    lower = byte | 32
    letter = lower >= 97 and lower <= 102
    if (is_digit(byte) or letter) and digits < CHUNK_DIGIT_LIMIT:
        value = lower - 87 if letter else byte - 48
        put64(state + CHUNK_BYTES, u64(state + CHUNK_BYTES) << 4 | value)
        put64(state + CHUNK_DIGITS, digits + 1)
        return AT_SIZE
    if digits > 0 and byte == CR:
        return AT_LF
    if digits > 0 and byte == SEMICOLON:
        return AT_EXTENSION
    refuse_chunk(state, BAD_CHUNK_END if digits > 0 and byte == LF else BAD_CHUNK_SIZE)
    return AT_END


@shared
def read_trailer(p, end, state):  # type: ignore[no-untyped-def]
    """Read whole trailer lines until the empty one. Returns NEED_MORE, COMPLETE or BAD."""
    at = p + u64(state + CHUNK_SCAN_OFF)
    limit = p + u64(state + CHUNK_HEADER_END) + TRAILER_LIMIT
    stop = limit if end > limit else end
    while at < stop:
        at = find_control(at, stop)
        if at == stop:
            break
        byte = u8(at)
        if byte == HT:
            at += 1
            continue
        if byte != CR:
            return refuse_chunk(state, BAD_TRAILER)
        if at + 1 == stop:
            break
        if u8(at + 1) != LF:
            return refuse_chunk(state, BAD_TRAILER)
        start = p + u64(state + TRAILER_LINE_OFF)
        if start == at:
            put64(state + CHUNK_HEADER_END, at + 2 - p)
            return COMPLETE
        if not is_plain_field(start, at):
            return refuse_chunk(state, BAD_TRAILER)
        at += 2
        put64(state + TRAILER_LINE_OFF, at - p)
    put64(state + CHUNK_SCAN_OFF, at - p)
    return refuse_chunk(state, BAD_TRAILER_LONG) if stop == limit else NEED_MORE


@shared
def is_plain_field(start, line_end):  # type: ignore[no-untyped-def]
    """Is [start, line_end) `token ":" ...`, and of no concern to host or framing?"""
    at = start
    while at < line_end and is_token(u8(at)):
        at += 1
    return at > start and at < line_end and u8(at) == COLON and find_name(start, at - start) == NAME_OTHER

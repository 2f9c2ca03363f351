"""The head of a server's response, as far as it must be known: where the response ends.

It is looked at in passing (the packet itself was forwarded), only to learn whether the server is quiet when a later
request is refused. Whatever is not plain here counts as not known, and then both sides are reset instead of answered.
RFC 9112 6.3.
"""

from penstock.compile.memory import shared, u8

UNKNOWN = -1
CONTINUES = -2  # an interim response: another head follows
SWITCHES = -3  # 101: the connection is no longer HTTP
FOREIGN = -4  # no response of HTTP at all: RTSP, ICY, ...
FIELD_LIMIT = 100  # fields looked at; what sends more is not known
LENGTH_DIGITS = 15
FIRST_BYTES = 13  # "HTTP/1.1 200" and what ends the status
CONTENT_LENGTH = b"content-length:"
TRANSFER_ENCODING = b"transfer-encoding:"


@shared
def _starts_with(p, end, name):  # type: ignore[no-untyped-def]
    """Does a line start with this lower-case name, in any case?"""
    if end - p < len(name):
        return False
    for at in range(len(name)):
        byte = u8(p + at)
        if byte >= 65 and byte <= 90:
            byte += 32
        if byte != name[at]:
            return False
    return True


@shared
def _find_line_end(p, end):  # type: ignore[no-untyped-def]
    """The address of the line feed of the line at p, or 0."""
    at = p
    while at < end:
        if u8(at) == 10:
            return at
        at += 1
    return 0


@shared
def _read_length(p, end):  # type: ignore[no-untyped-def]
    """The number of a Content-Length field's value, or UNKNOWN."""
    value, digits = 0, 0
    for _ in range(end - p):
        byte = u8(p)
        p += 1
        if byte == 32 or byte == 9 or byte == 13:
            continue
        if byte < 48 or byte > 57 or digits == LENGTH_DIGITS:
            return UNKNOWN
        value, digits = value * 10 + byte - 48, digits + 1
    return value if digits else UNKNOWN


@shared
def _read_status(p):  # type: ignore[no-untyped-def]
    """The status behind the version: a space, three digits, and no fourth. Reads: five bytes at p. Returns: 0 for none."""
    if u8(p) != 32 or (u8(p + 4) != 32 and u8(p + 4) != 13 and u8(p + 4) != 10):
        return 0
    status = 0
    for at in range(1, 4):
        byte = u8(p + at)
        if byte < 48 or byte > 57:
            return 0
        status = status * 10 + byte - 48
    return status


@shared
def read_response(p, end, is_head):  # type: ignore[no-untyped-def]
    """How many bytes the response at p has, head included.

    Reads: [p, end), the first bytes of a response; `is_head`: it answers HEAD.
    Returns: the size; UNKNOWN; SWITCHES; FOREIGN; or, for an interim response, CONTINUES - the size of its head.
    Bounds: the bytes given; FIELD_LIMIT lines.
    """
    if end - p >= 5 and not _starts_with(p, end, b"http/"):
        return FOREIGN
    if end - p < FIRST_BYTES or not _starts_with(p, end, b"http/1."):
        return UNKNOWN
    status = _read_status(p + 8)
    if status == 0:
        return UNKNOWN
    if status == 101:
        return SWITCHES
    line, length, has_length, has_coding = p, 0, False, False
    for _ in range(FIELD_LIMIT):
        stop = _find_line_end(line, end)
        if stop == 0:
            return UNKNOWN
        if stop == line or (stop == line + 1 and u8(line) == 13):
            head = stop + 1 - p
            if status >= 100 and status < 200:
                return CONTINUES - head
            if is_head or status == 204 or status == 304:
                return head
            return head + length if has_length and not has_coding else UNKNOWN
        if _starts_with(line, stop, TRANSFER_ENCODING):
            has_coding = True
        if _starts_with(line, stop, CONTENT_LENGTH):
            value = _read_length(line + len(CONTENT_LENGTH), stop)
            if value < 0 or has_length:
                return UNKNOWN
            length, has_length = value, True
        line = stop + 1
    return UNKNOWN

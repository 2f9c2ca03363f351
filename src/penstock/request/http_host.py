"""From a Host field or a request target to bare hosts.

Knows: authority and target forms (RFC 9112 3.2, RFC 3986 3.2). Refuses to know: which name is blocked.

Only letters, digits, "-", "_" and single dots make a host, or hexadecimal digits, ":" and "." in brackets. Anything
else (user information, percent signs, commas, raw UTF-8) is a byte that servers treat differently, so it is BAD.
"""

from penstock.compile.memory import put64, shared, u8, u64
from penstock.request.http_bytes import COLON, DOT, SLASH
from penstock.request.http_state import (
    BAD_HOST,
    BAD_HOST_COUNT,
    BAD_HOST_LONG,
    BAD_TARGET,
    CONNECT,
    FLAGS,
    HOST_BYTES_LIMIT,
    HOST_COUNT,
    HOST_LIMIT,
    HOST_SPANS,
    PATH_SPAN,
    SPAN_BYTES,
    SPAN_OFF,
    SPAN_STRIDE,
    TARGET_SPAN,
)

OPEN, CLOSE, QUESTION, HASH, STAR = 91, 93, 63, 35, 42


@shared
def is_digit(byte):  # type: ignore[no-untyped-def]
    """0 to 9?"""
    return byte >= 48 and byte <= 57


@shared
def is_letter(byte):  # type: ignore[no-untyped-def]
    """A to Z in any case?"""
    lower = byte | 32
    return lower >= 97 and lower <= 122


@shared
def is_host_byte(byte):  # type: ignore[no-untyped-def]
    """May this byte stand in a label?"""
    return is_letter(byte) or is_digit(byte) or byte == 45 or byte == 95


@shared
def put_span(at, off, size_bytes):  # type: ignore[no-untyped-def]
    """Write one span at the address `at`."""
    put64(at + SPAN_OFF, off)
    put64(at + SPAN_BYTES, size_bytes)


@shared
def find_literal_end(at, stop):  # type: ignore[no-untyped-def]
    """The address behind the "]" of an IPv6 literal that starts at `at`; 0 if it is none."""
    here = at + 1
    while here < stop:
        byte = u8(here)
        if byte == CLOSE:
            return here + 1 if here > at + 2 else 0
        lower = byte | 32
        if not (is_digit(byte) or (lower >= 97 and lower <= 102) or byte == COLON or byte == DOT):
            return 0
        here += 1
    return 0


@shared
def find_name_end(at, stop):  # type: ignore[no-untyped-def]
    """The address of the first byte in [at, stop) that is no part of a name; 0 if a label is empty."""
    label = 0
    while at < stop:
        byte = u8(at)
        if byte == DOT:
            if label == 0:
                return 0
            label = 0
        elif is_host_byte(byte):
            label += 1
        else:
            return at
        at += 1
    return at


@shared
def add_authority(p, start, stop, state):  # type: ignore[no-untyped-def]
    """Remember the host of `host[:port]`.

    Reads [start, stop), free of white space at both ends. Writes HOST_COUNT, HOST_SPANS.
    Returns 0, BAD_HOST, BAD_HOST_LONG or BAD_HOST_COUNT. Nothing at all is no host and not BAD.
    Bounds: one turn per byte. Source: RFC 3986 3.2.2, 3.2.3.
    """
    if start == stop:
        return 0
    if u8(start) == OPEN:
        host_end = find_literal_end(start, stop)
    else:
        host_end = find_name_end(start, stop)
    if host_end == 0 or host_end == start:
        return BAD_HOST
    if host_end < stop:
        if u8(host_end) != COLON:
            return BAD_HOST
        at = host_end + 1
        while at < stop and is_digit(u8(at)):
            at += 1
        if at < stop:
            return BAD_HOST
    if u8(host_end - 1) == DOT:
        host_end -= 1
    if host_end - start > HOST_BYTES_LIMIT:
        return BAD_HOST_LONG
    count = u64(state + HOST_COUNT)
    if count == HOST_LIMIT:
        return BAD_HOST_COUNT
    put_span(state + HOST_SPANS + SPAN_STRIDE * count, start - p, host_end - start)
    put64(state + HOST_COUNT, count + 1)
    return 0


@shared
def find_path_end(at, stop):  # type: ignore[no-untyped-def]
    """The address of the "#" in [at, stop), or `stop`."""
    while at < stop and u8(at) != HASH:
        at += 1
    return at


@shared
def find_authority_end(at, stop):  # type: ignore[no-untyped-def]
    """The address of the "/", "?" or "#" that ends an authority, or `stop`."""
    while at < stop and u8(at) != SLASH and u8(at) != QUESTION and u8(at) != HASH:
        at += 1
    return at


@shared
def find_scheme_end(at, stop):  # type: ignore[no-untyped-def]
    """The address of the first byte that cannot stand in a scheme; `at` if none starts here."""
    if at < stop and not is_letter(u8(at)):
        return at
    while at < stop and (is_letter(u8(at)) or is_digit(u8(at)) or u8(at) == 43 or u8(at) == 45 or u8(at) == DOT):
        at += 1
    return at


@shared
def read_target(p, state):  # type: ignore[no-untyped-def]
    """Split the target into host and path.

    Reads the TARGET_SPAN (not empty, without control bytes) and FLAGS. Writes PATH_SPAN and what `add_authority` writes.
    Returns 0 or why it is BAD. Bounds: one turn per byte and search. Source: RFC 9112 3.2.1 to 3.2.4.
    """
    start = p + u64(state + TARGET_SPAN + SPAN_OFF)
    stop = start + u64(state + TARGET_SPAN + SPAN_BYTES)
    first = u8(start)
    path = start
    detail = 0
    if first != SLASH and not (first == STAR and stop == start + 1):
        scheme_end = find_scheme_end(start, stop)
        if (
            scheme_end > start
            and scheme_end + 3 < stop
            and u8(scheme_end) == COLON
            and u8(scheme_end + 1) == SLASH
            and u8(scheme_end + 2) == SLASH
        ):
            path = find_authority_end(scheme_end + 3, stop)
            if path == scheme_end + 3:
                return BAD_TARGET
            detail = add_authority(p, scheme_end + 3, path, state)
        elif u64(state + FLAGS) & CONNECT != 0:
            path = stop
            detail = add_authority(p, start, stop, state)
        elif has_host_mark(start, stop):
            return BAD_TARGET
    put_span(state + PATH_SPAN, path - p, find_path_end(path, stop) - path)
    return detail


@shared
def has_host_mark(at, stop):  # type: ignore[no-untyped-def]
    """Is there a ":", "@" or backslash before the first "/", "?" or "#"? Lenient readers find a host in such a target."""
    end = find_authority_end(at, stop)
    while at < end:
        byte = u8(at)
        if byte == COLON or byte == 64 or byte == 92:
            return True
        at += 1
    return False

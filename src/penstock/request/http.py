"""The HTTP/1 reader: bytes of a client's stream in, the hosts that are asked for and the request's end out.

Knows: what nginx, Apache, Node, CPython and more lenient servers take for a request. Refuses to know: policy, and which
reading is the right one. What two servers read differently, in framing or in host, is BAD, never guessed.

    request line | fields | empty line | body ...  (chunks: `penstock.request.chunked`)
    ^ p                                ^ HEAD_END

The reader resumes where it stopped, so any cutting costs the same (RFC 9112; RFC 9110 7.2).
"""

from penstock.compile.memory import put64, shared, u64
from penstock.request.http_head import read_fields
from penstock.request.http_line import cut_request_line, read_request_line
from penstock.request.http_state import (
    BAD_HEAD_LONG,
    BODY_CHUNKED,
    BODY_KIND,
    BODY_LENGTH,
    BODY_LENGTH_BYTES,
    BODY_NONE,
    BODY_TRUSTED,
    CONNECT,
    DETAIL_TEXT,
    ENDED,
    FLAGS,
    HEAD_END,
    HEAD_LIMIT,
    HOST_COUNT,
    HOST_LIMIT,
    HOST_SPANS,
    HTTP_1_0,
    IN_FIELDS,
    IN_METHOD,
    METHOD_SPAN,
    ODD_METHOD,
    PATH_SPAN,
    PHASE,
    SPAN_BYTES,
    SPAN_OFF,
    SPAN_STRIDE,
    STATE_BYTES,
    STATUS,
    STATUS_DETAIL,
    TARGET_SPAN,
    UPGRADE,
    VERSION,
)
from penstock.request.status import BAD, COMPLETE, NEED_MORE, NOT_MINE

__all__ = [
    "BODY_CHUNKED",
    "BODY_KIND",
    "BODY_LENGTH",
    "BODY_LENGTH_BYTES",
    "BODY_NONE",
    "BODY_TRUSTED",
    "CONNECT",
    "DETAIL_TEXT",
    "FLAGS",
    "HEAD_END",
    "HEAD_LIMIT",
    "HOST_COUNT",
    "HOST_LIMIT",
    "HOST_SPANS",
    "HTTP_1_0",
    "METHOD_SPAN",
    "PATH_SPAN",
    "SPAN_BYTES",
    "SPAN_OFF",
    "SPAN_STRIDE",
    "STATE_BYTES",
    "STATUS_DETAIL",
    "TARGET_SPAN",
    "UPGRADE",
    "VERSION",
    "read_request",
]


@shared
def read_request(p, end, eof, state):  # type: ignore[no-untyped-def]
    """Read on in the request that starts at `p`.

    Reads [p, end): contiguous bytes from the request's first one, never less than at the call before; `eof` = 1 when the
    client's FIN stands at `end`. Only the first request is read.
    Writes STATE_BYTES at `state` (zeroed before the first call). HOST_COUNT and HOST_SPANS are valid whatever is returned.
    Returns NEED_MORE; COMPLETE (HEAD_END, BODY_*, FLAGS, VERSION, spans); NOT_MINE (also for a stream that ends before
    a request begins); BAD (STATUS_DETAIL). The last three are final: another call returns the same.
    Bounds: HEAD_LIMIT bytes per request over all calls, each read at most seven times.
    Source: RFC 9112 2, 3, 5, 6.
    """
    phase = u64(state + PHASE)
    if phase == ENDED:
        return u64(state + STATUS)
    stop = end
    cut = eof
    if end - p > HEAD_LIMIT:
        stop = p + HEAD_LIMIT
        cut = 0
    status = COMPLETE
    if phase < IN_FIELDS:
        status = read_request_line(p, stop, state)
        if status == NEED_MORE and cut != 0:
            status = cut_request_line(p, stop, state)
    if status == COMPLETE:
        status = read_fields(p, stop, cut, state)
    if status == NEED_MORE and stop - p == HEAD_LIMIT:
        status = judge_long(state)
    if status != NEED_MORE:
        put64(state + PHASE, ENDED)
        put64(state + STATUS, status)
    return status


@shared
def judge_long(state):  # type: ignore[no-untyped-def]
    """64 KB without the head's end: one endless word, or an odd method and no version, is no request for any server."""
    phase = u64(state + PHASE)
    if phase == IN_METHOD or (phase < IN_FIELDS and u64(state + ODD_METHOD) != 0):
        return NOT_MINE
    put64(state + STATUS_DETAIL, BAD_HEAD_LONG)
    return BAD

"""Methods: which ones matter to framing, and which make a line without a version a request.

Knows: Node's list of methods (it serves a line without a version for each of them, and reads fields behind it).
Refuses to know: how the line was split.
"""

from penstock.compile.memory import shared, u8, u64
from penstock.request.http_bytes import COLON, SLASH
from penstock.request.http_host import STAR, find_scheme_end
from penstock.request.http_state import METHOD_SPAN, SPAN_BYTES, SPAN_OFF

BRACE = 123
WORD_BYTES = 7
SIZE_SHIFT = 8 * WORD_BYTES
SIZE_LIMIT = 127
LOWER_WORD = 0x20_2020_2020_2020


def _number(method: bytes) -> int:
    """A method as a number: its first seven bytes, the first one lowest, and its length."""
    return int.from_bytes(method[:WORD_BYTES], "little") | len(method) << SIZE_SHIFT


GET, POST, PUT, PATCH = _number(b"GET"), _number(b"POST"), _number(b"PUT"), _number(b"PATCH")
SOURCE = _number(b"SOURCE")
CONNECT_LOWER = _number(b"connect")

_NAMES = (
    b"DELETE GET HEAD POST PUT CONNECT OPTIONS TRACE PATCH COPY LOCK MKCOL MOVE PROPFIND PROPPATCH SEARCH "
    b"UNLOCK BIND REBIND UNBIND ACL REPORT MKACTIVITY CHECKOUT MERGE M-SEARCH NOTIFY SUBSCRIBE UNSUBSCRIBE "
    b"PURGE MKCALENDAR LINK UNLINK SOURCE QUERY PRI DESCRIBE ANNOUNCE SETUP PLAY PAUSE TEARDOWN GET_PARAMETER "
    b"SET_PARAMETER REDIRECT RECORD FLUSH"
)
METHODS = tuple(_number(name) for name in _NAMES.split())


@shared
def read_method(p, state):  # type: ignore[no-untyped-def]
    """The method as a number (see `_number`); 0 if it is longer than SIZE_LIMIT. Reads METHOD_SPAN."""
    start = p + u64(state + METHOD_SPAN + SPAN_OFF)
    size_bytes = u64(state + METHOD_SPAN + SPAN_BYTES)
    if size_bytes > SIZE_LIMIT:
        return 0
    number = size_bytes << SIZE_SHIFT
    for place in range(min(size_bytes, WORD_BYTES)):
        number |= u8(start + place) << (8 * place)
    return number


@shared
def is_connect(method):  # type: ignore[no-untyped-def]
    """CONNECT in any case?"""
    return method | LOWER_WORD == CONNECT_LOWER


@shared
def is_url(start, stop):  # type: ignore[no-untyped-def]
    """Does [start, stop) begin with a scheme and a slash?"""
    scheme_end = find_scheme_end(start, stop)
    return scheme_end > start and scheme_end + 1 < stop and u8(scheme_end) == COLON and u8(scheme_end + 1) == SLASH


@shared
def is_versionless_request(method, start, stop):  # type: ignore[no-untyped-def]
    """Would a server take a method and the target (and more words) in [start, stop), without a version, for a request?

    nginx, Apache and CPython do so for GET, Node for each of its methods if the target is a path, "*" or a URL. (Apache in
    its unsafe mode does not mind what the third word is.) `stop` is the line's end, behind the target's first byte.
    """
    if method == GET:
        return True
    known = False
    for other in METHODS:
        known = known or method == other
    if not known:
        return False
    if is_connect(method):
        return u8(start) != BRACE  # NATS: `CONNECT {...}`; no server takes an object for an authority
    return u8(start) == SLASH or u8(start) == STAR or is_url(start, stop)

"""The memory in which the HTTP/1 reader keeps what it found and where it stopped.

Knows: the slots (int64 each, zeroed by the caller at the start of a request), flags, and every reason for BAD with its
text. Refuses to know: how bytes are read. Offsets count from the request's first byte, so the bytes may move between
two calls.

    0             16                    80        96        112       128        136    ...    168            512
    | detail count | 4 x (offset, length) | method  | target  | path    | head end | body, flags | the reader's own |
"""

STATE_BYTES = 512

# ---- the result -------------------------------------------------------------------------------------------------------
STATUS_DETAIL = 0  # why BAD, else 0
HOST_COUNT = 8
HOST_SPANS = 16  # HOST_LIMIT spans
METHOD_SPAN = 80
TARGET_SPAN = 96
PATH_SPAN = 112  # path and query of the target, without a fragment
HEAD_END = 128  # offset behind the empty line (or the end of the stream)
BODY_KIND = 136
BODY_LENGTH_BYTES = 144
FLAGS = 152
VERSION = 160  # 10 or 11 (RTSP: 20 too); 0 in a line without one

SPAN_OFF, SPAN_BYTES, SPAN_STRIDE = 0, 8, 16

BODY_NONE, BODY_LENGTH, BODY_CHUNKED = 0, 1, 2

BODY_TRUSTED = 1  # POST, PUT, PATCH: every server takes what follows for a body
UPGRADE = 2  # what follows may be another protocol (so after RTSP, ICE and SOURCE, which Node serves, or no version)
CONNECT = 4
HTTP_1_0 = 8

# ---- limits -----------------------------------------------------------------------------------------------------------
HEAD_LIMIT = 65_536  # bytes; CPython's limit for one line, above Node's 16 KB and nginx's 32 KB for all
HOST_LIMIT = 4  # spans: one in the target, and more Host fields than any honest client sends
HOST_BYTES_LIMIT = 255  # a name of DNS has at most 253
EMPTY_LINE_LIMIT = 16  # before the request line; Apache skips 10, nginx any number
LENGTH_DIGIT_LIMIT = 18  # digits of Content-Length: below 2^62
ODD_METHOD_LIMIT = 64  # bytes of a method that is no token

# ---- where the reader stopped -----------------------------------------------------------------------------------------
SCAN_OFF = 168  # the next byte to read
LINE_OFF = 176  # the first byte of the line it belongs to
PHASE = 184
STATUS = 192  # once PHASE is ENDED
EMPTY_LINES = 200
ODD_DETAIL = 208  # the request line is odd in this way: BAD as soon as it proves to be HTTP
ODD_METHOD = 216  # the method is no token
GAP_OFF = 224  # where the last white space of the request line began
GAP_HIGH = 232  # it is 0x85 or 0xA0: white space for CPython, part of a UTF-8 character for others
MATCHED = 240  # bytes of "1.1", CR that were read
SEEN = 248
FIELD_KIND = 256  # the field that a continuation line would continue
PREFIX = 264  # which protocol the version names
PREFIX_LEFT = 272  # what is still to come of it
NAME_ROOM = 280  # 24 bytes: a field name without its odd bytes

IN_LEAD, IN_METHOD, IN_GAP, IN_TARGET, IN_TARGET_GAP, IN_PREFIX, IN_VERSION, IN_FIELDS, ENDED = range(9)

SEEN_FIELD = 1
SEEN_LENGTH = 2
SEEN_CODING = 4
SEEN_CRLF = 8
SEEN_LF = 16
SEEN_JUNK = 32  # a line at which CPython stops to read fields
SEEN_NO_VERSION = 64  # the request line has none: whatever is no field proves that this is no request

# ---- why BAD ----------------------------------------------------------------------------------------------------------
BAD_HEAD_LONG = 1
BAD_EMPTY_LINES = 2
BAD_REQUEST_LINE = 3
BAD_METHOD = 4
BAD_TARGET = 5
BAD_VERSION = 6
BAD_VERSION_MISSING = 7
BAD_H2 = 8
BAD_H2C = 9
BAD_CONTROL = 10
BAD_BARE_CR = 11
BAD_LINE_END = 12
BAD_FOLD = 13
BAD_NAME = 14
BAD_HOST = 15
BAD_HOST_LONG = 16
BAD_HOST_COUNT = 17
BAD_LENGTH = 18
BAD_LENGTH_TWICE = 19
BAD_CODING = 20
BAD_CODING_TWICE = 21
BAD_CODING_VERSION = 22
BAD_LENGTH_AND_CODING = 23
BAD_BODY_JUNK = 24
BAD_BODY_LF = 25
BAD_BODY_CONNECT = 26
BAD_CHUNK_LONG = 27
BAD_CHUNK_SIZE = 28
BAD_CHUNK_EXTENSION = 29
BAD_CHUNK_END = 30
BAD_TRAILER = 31
BAD_TRAILER_LONG = 32

DETAIL_TEXT = {
    BAD_HEAD_LONG: "the head is longer than 64 KB",
    BAD_EMPTY_LINES: "more than 16 empty lines before the request line",
    BAD_REQUEST_LINE: "white space in the request line that only some servers take for a separator",
    BAD_METHOD: "the method is not a token",
    BAD_TARGET: "the target holds a space, or is neither a path nor a whole URL",
    BAD_VERSION: "the version is neither HTTP/1.0 nor HTTP/1.1",
    BAD_VERSION_MISSING: "the request line has no version (HTTP/0.9): servers differ in whether fields follow",
    BAD_H2: "HTTP/2 without TLS, with prior knowledge",
    BAD_H2C: "an upgrade to HTTP/2 without TLS",
    BAD_CONTROL: "a control byte in the head",
    BAD_BARE_CR: "a carriage return without a line feed",
    BAD_LINE_END: "lines of one head end in different ways",
    BAD_FOLD: "a continuation line after a field that matters, as first line, or that looks like such a field",
    BAD_NAME: "a line that some servers take for Host, Content-Length, Transfer-Encoding or Upgrade",
    BAD_HOST: "the host holds a byte that no host has",
    BAD_HOST_LONG: "the host is longer than 255 bytes",
    BAD_HOST_COUNT: "more than four hosts in one request",
    BAD_LENGTH: "Content-Length is not a plain number below 10^18",
    BAD_LENGTH_TWICE: "Content-Length twice",
    BAD_CODING: "Transfer-Encoding is not exactly chunked",
    BAD_CODING_TWICE: "Transfer-Encoding twice",
    BAD_CODING_VERSION: "Transfer-Encoding in HTTP/1.0",
    BAD_LENGTH_AND_CODING: "Content-Length with Transfer-Encoding",
    BAD_BODY_JUNK: "a body, and a line without a field name: servers differ in whether they read the fields behind it",
    BAD_BODY_LF: "a body, and lines that end in a line feed alone: servers differ in where the head ends",
    BAD_BODY_CONNECT: "CONNECT or Upgrade with a body",
    BAD_CHUNK_LONG: "a chunk's size line is longer than 8 KB",
    BAD_CHUNK_SIZE: "a chunk size that is not 1 to 15 hexadecimal digits",
    BAD_CHUNK_EXTENSION: "a chunk extension with white space, quotes or bytes outside ASCII",
    BAD_CHUNK_END: "a chunk line or chunk that does not end in CR LF",
    BAD_TRAILER: "a trailer field that concerns host or framing, or a line that is no field",
    BAD_TRAILER_LONG: "the trailer is longer than 64 KB",
}
"""One line per detail, for events and the documentation."""

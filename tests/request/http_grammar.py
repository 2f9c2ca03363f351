"""A grammar of requests, right and wrong: every alternative is one that some server is known to tolerate, or refuse."""

from collections.abc import Callable, Sequence
from random import Random
from typing import TypeVar

from hypothesis import strategies as st

T = TypeVar("T")
Choose = Callable[[Sequence[T]], T]

LEADS = [b""] * 12 + [
    b"\r\n", b"\n", b"\r\n\r\n", b" ", b"\t", b"\r", b" \r\n", b"\x0b", b"\xa0", b"\x00", b"\xef\xbb\xbf",
]  # fmt: skip
METHODS = [b"GET"] * 8 + [b"POST"] * 4 + [
    b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"get", b"Post", b"FOO", b"CONNECT", b"G@T", b"GE\x7fT",
    b'"GET', b"GET:", b"M-SEARCH", b"SOURCE", b"SETUP", b"PROPFIND", b"PRI", b"GET\xa0", b"\x85GET", b"G\xa0T",
    b"X" * 80, b"",
]  # fmt: skip
GAPS = [b" "] * 12 + [
    b"  ", b"\t", b" \t ", b"\x0b", b"\x0c", b"\r", b"\x1c", b"\x1f", b"\x85", b"\xa0", b" \xa0", b"\xa0 ", b"",
]  # fmt: skip
TARGETS = [b"/"] * 10 + [
    b"/a?b=c", b"*", b"http://bad.test/", b"http://good.test/", b"HTTP://bad.test:80/x", b"http://bad.test",
    b"http://bad.test?x", b"http://good.test@bad.test/", b"http://bad.test#@good.test/", b"http:bad.test/",
    b"http:/bad.test/", b"http:///bad.test/", b"//bad.test/", b"bad.test:80", b"bad.test",
    b"http://good.test\\@bad.test/", b"http://good.test\t@bad.test/", b"/a b", b"/\xc3\xa0", b"/\xc3\xa0h",
    b"/caf\xc3\x85", b"/a HTTP/1.1", b"/\x00", b"/\x01", b"https://bad.test/", b"ws://bad.test/", b"HTTP/1.1",
    b"http://bad.test.:8080/", b"http://[::1]/", b"http://bad.test/a/http://good.test/", b"/http", b"/ h",
    b"\\\\bad.test\\", b"",
]  # fmt: skip
VERSIONS = [b"HTTP/1.1"] * 14 + [b"HTTP/1.0"] * 4 + [
    b"HTTP/1.1 ", b"HTTP/0.9", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/1", b"http/1.1", b"HTTP/01.1", b"HTTP/1.10",
    b"HTTP/1.1.1", b"HTTP/1_1", b"HTTP/+1.1", b"HTTP /1.1", b"ICY/1.0", b"RTSP/1.0", b"RTSP/2.0", b"ICE/1.0",
    b"hTTP/1.1", b"rtsp/1.0", b"HTTP/1.1\t", b"HTTP/1.1\x0b", b"HTTP/\xb9.1", b"",
]  # fmt: skip
LINE_ENDS = (
    [b"\r\n"] * 24 + [b"\n"] * 3 + [b"\r", b"\r\r\n", b"\n\r", b"\r\n ", b"\r\n\t", b"\x0b", b"\x85", b"\x00\r\n"]
)
NAMES = [b"Host"] * 8 + [
    b"host", b"hOsT", b"Content-Length", b"content-length", b"Transfer-Encoding", b"Upgrade", b"X", b"Accept",
    b"Content_Length", b"From ", b"Host ", b"Host\t", b" Host", b"\tHost", b"Host\x0b", b"Host\xa0", b"\xa0Host",
    b"\x85Host", b"Ho st", b"Host\x00", b"Hos\x80t", b"X Host", b"Host X", b"Content-Length ", b"Content-Length\x0c",
    b"Transfer-Encoding ", b"Transfer-Encoding\x1c", b"", b'"Host"', b"X-Forwarded-Host", b"Content-Length\xa0",
    b"X Y", b"X\x80", b"(X)", b"Expect", b"Connection",
]  # fmt: skip
COLONS = [b": "] * 12 + [b":", b":  ", b":\t", b" : ", b"", b" ", b"=", b"::", b":\r\n ", b":\x0b", b": \x00", b"\t:"]
VALUES = [b"good.test"] * 6 + [b"bad.test"] * 6 + [
    b"bad.test:80", b"bad.test.", b"BAD.test", b"good.test, bad.test", b"bad.test good.test", b"bad.test\t",
    b"bad.test  ", b"", b"0", b"5", b"20", b"40", b"+5", b"5, 5", b"0x5", b"5 ", b"1_0", b"-1", b"\xb2",
    b"99999999999999999999", b"chunked", b"Chunked", b"identity", b"chunked, identity", b"identity, chunked",
    b"xchunked", b"chunked;q=1", b"h2c", b"websocket", b"websocket, h2c", b"http://bad.test",
    b"good.test\r\n bad.test", b"a\rHost: bad.test", b"a\nHost: bad.test", b"a\x0bHost: bad.test",
    b"a\x85Host: bad.test", b"a\x00b", b"@bad.test", b"bad.test@good.test", b"bad.test/", b"[::1]", b"[::1]:80",
    b"[bad.test]", b"bad.test:x", b"bad..test", b".bad.test", b"\xa0bad.test", b"bad.test\xa0", b"bad_test",
    b"b%61d.test", b"bad.test;", b"bad.test\\", b"100-continue", b"close", b"keep-alive",
]  # fmt: skip
ENDS = [b"\r\n"] * 16 + [b"\n", b"\r", b"\r\r\n", b" \r\n", b"\t\n", b""]
BODIES = [b""] * 8 + [
    b"hello", b"0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n", b"5;x=y\r\nhello\r\n0\r\n\r\n",
    b"5;a /b HTTP/1.1\r\nhello\r\n0\r\n\r\n", b"0\r\nHost: bad.test\r\n\r\n", b"5\nhello\r\n0\r\n\r\n",
    b"05\r\nhello\r\n00\r\n\r\n", b"0x5\r\nhello\r\n0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: bad.test\r\n\r\n",
    b"Host: bad.test\r\n\r\n", b"\r\nHost: bad.test\r\n\r\n", b"x / HTTP/1.1\r\nHost: bad.test\r\n\r\n",
    b"5\r\nhello\r\n0\r\nX: y\r\n\r\nGET / HTTP/1.1\r\nHost: bad.test\r\n\r\n", b"5\r\nhelloX\r\n0\r\n\r\n",
    b"5 \r\nhello\r\n0\r\n\r\n",
]  # fmt: skip
COUNTS = [b"0", b"1", b"1", b"2", b"2", b"3", b"4", b"5"]
STREAM_COUNTS = [b"1", b"2", b"2", b"3"]


def build_request(choose: Choose[bytes]) -> bytes:
    """One request, most likely with an oddity or two."""
    line = (
        choose(LEADS)
        + choose(METHODS)
        + choose(GAPS)
        + choose(TARGETS)
        + choose(GAPS)
        + choose(VERSIONS)
        + choose(LINE_ENDS)
    )
    fields = b""
    for _ in range(int(choose(COUNTS))):
        fields += choose(NAMES) + choose(COLONS) + choose(VALUES) + choose(LINE_ENDS)
    return line + fields + choose(ENDS) + choose(BODIES)


def build_stream(choose: Choose[bytes]) -> bytes:
    """One to three requests on one connection."""
    return b"".join(build_request(choose) for _ in range(int(choose(STREAM_COUNTS))))


ALWAYS_OPEN = (NAMES, VALUES, COUNTS)


@st.composite
def odd_streams(draw: st.DrawFn) -> bytes:
    """Streams of the grammar above; nine of ten parts are plain, so that some oddities stand alone."""

    def choose(options: Sequence[bytes]) -> bytes:
        plain = not any(options is part for part in ALWAYS_OPEN) and draw(st.integers(0, 9)) > 0
        return options[0] if plain else draw(st.sampled_from(options))

    return build_stream(choose)


def random_stream(seed: int) -> bytes:
    """The same without Hypothesis, for bulk."""
    random = Random(seed)
    odd = random.choice([0.01, 0.03, 0.1, 0.2, 0.5])

    def choose(options: Sequence[bytes]) -> bytes:
        plain = not any(options is part for part in ALWAYS_OPEN) and random.random() > odd
        return options[0] if plain else random.choice(options)

    return build_stream(choose)


_names = st.from_regex(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,20}", fullmatch=True).filter(
    lambda name: (
        name.lower() not in (b"host", b"content-length", b"transfer-encoding", b"upgrade", b"connection", b"expect")
    )
)
_values = st.from_regex(rb"([!-~\x80-\xff]([ \t!-~\x80-\xff]{0,38}[!-~\x80-\xff])?)?", fullmatch=True)
_labels = st.from_regex(rb"[A-Za-z0-9_]([A-Za-z0-9_-]{0,20}[A-Za-z0-9])?", fullmatch=True)
hosts = st.lists(_labels, min_size=1, max_size=5).map(b".".join)


class Right:
    """A valid request and what there is to know about it."""

    def __init__(self, method: bytes, target: bytes, version: bytes, host: bytes, fields: list[bytes], at: int) -> None:
        self.method, self.target, self.version, self.host = method, target, version, host
        lines = [b" ".join((method, target, version)), *fields]
        lines.insert(1 + at % (len(fields) + 1), host)
        self.bytes = b"\r\n".join(lines) + b"\r\n\r\n"

    def __repr__(self) -> str:
        return repr(self.bytes)


@st.composite
def right_requests(draw: st.DrawFn) -> Right:
    """Valid requests: origin or absolute form, any fields, one framing or none."""
    host = draw(hosts)
    port = draw(st.sampled_from([b"", b":80", b":65535"]))
    path = draw(st.from_regex(rb"/[!-~]{0,60}", fullmatch=True))
    target = draw(st.sampled_from([path, path, b"http://" + host + port + path]))
    version = draw(st.sampled_from([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0"]))
    space = draw(st.sampled_from([b"", b" ", b" ", b"\t", b"  "]))
    fields = [name + b":" + space + value for name, value in draw(st.lists(st.tuples(_names, _values), max_size=6))]
    framing = [b"", b"Content-Length: %d" % draw(st.integers(0, 10**6))]
    framing += [b"Transfer-Encoding: chunked", b"transfer-encoding:CHUNKED"] if version == b"HTTP/1.1" else []
    fields += [line for line in [draw(st.sampled_from(framing))] if line]
    method = draw(st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"PROPFIND", b"OPTIONS"]))
    name = draw(st.sampled_from([b"Host", b"host", b"HOST", b"hoSt"]))
    return Right(method, target, version, name + b":" + space + host + port, fields, draw(st.integers(0, 9)))

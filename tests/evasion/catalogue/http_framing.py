"""Where one request ends and the next begins: a reader that counts otherwise than the server misses the second one.

In each, an allowed request stands in front, and the one for the host behind it or inside of it.
"""

from tests.evasion.catalogue.http_names import C, H, get, lines
from tests.evasion.recipe import AwaitAnswer, Segment, Step, Strategy, Tcp, Wait

SMUGGLING = "two servers frame it in two ways: for one of them a request stands where the other sees a body"
WHOLE = get(b"Host: " + H)
WHOLE_BYTES = len(WHOLE) - len(H) + len(C)
LAST = b"0\r\n\r\n"
SIZE, HEX = b"%d" % WHOLE_BYTES, b"%x" % WHOLE_BYTES
CHUNKED = b"Transfer-Encoding: chunked"


def post(*fields: bytes, body: bytes = b"", method: bytes = b"POST", version: bytes = b"HTTP/1.1") -> bytes:
    return lines(method + b" / " + version, b"Host: " + C, *fields) + body


def chunk(content: bytes, size: bytes) -> bytes:
    return size + b"\r\n" + content + b"\r\n"


ABC = chunk(b"abc", b"3")
Row = tuple[str, str, str, bytes, str]
LENGTHS: tuple[Row, ...] = (
    ("pipelined", "INTANG, beyond the first request", "behind an allowed request, at once", get(b"Host: " + C) + WHOLE,
     ""),
    ("third", "INTANG, beyond the first request", "behind two allowed requests", get(b"Host: " + C) * 2 + WHOLE, ""),
    ("empty-line-between", "RFC 9112 2.2", "an empty line between the requests", get(b"Host: " + C) + b"\r\n" + WHOLE,
     ""),
    ("empty-body", "RFC 9112 6", "behind an empty body", post(b"Content-Length: 0", body=WHOLE), ""),
    ("body", "RFC 9112 6", "behind a body of 5 bytes", post(b"Content-Length: 5", body=b"abcde" + WHOLE), ""),
    ("large-body", "Geneva, insert", "behind a body of 3,000 bytes",
     post(b"Content-Length: 3000", body=b"y" * 3000 + WHOLE), ""),
    ("get-body", "request smuggling", "as the body of a GET, which CPython ignores",
     get(b"Host: " + C, b"Content-Length: " + SIZE) + WHOLE, SMUGGLING),
    ("head-body", "request smuggling", "as the body of a HEAD",
     get(b"Host: " + C, b"Content-Length: " + SIZE, method=b"HEAD") + WHOLE, SMUGGLING),
    ("delete-body", "request smuggling", "as the body of a DELETE",
     get(b"Host: " + C, b"Content-Length: " + SIZE, method=b"DELETE") + WHOLE, SMUGGLING),
    ("own-method-body", "request smuggling", "as the body of a method of one's own",
     get(b"Host: " + C, b"Content-Length: " + SIZE, method=b"FROB") + WHOLE, SMUGGLING),
    ("no-length", "request smuggling", "behind a POST without a length", post(body=WHOLE), SMUGGLING),
    ("two-lengths", "request smuggling, CL.CL", "two lengths, 0 first",
     post(b"Content-Length: 0", b"Content-Length: " + SIZE, body=WHOLE), SMUGGLING),
    ("two-lengths-turned", "request smuggling, CL.CL", "two lengths, 0 last",
     post(b"Content-Length: " + SIZE, b"Content-Length: 0", body=WHOLE), SMUGGLING),
    ("length-list", "request smuggling, CL.CL", "two lengths in one field",
     post(b"Content-Length: 0, " + SIZE, body=WHOLE), SMUGGLING),
    ("length-plus", "request smuggling", "a length with a plus", post(b"Content-Length: +" + SIZE, body=WHOLE),
     SMUGGLING),
    ("length-minus", "request smuggling", "a length of -1", post(b"Content-Length: -1", body=WHOLE), SMUGGLING),
    ("length-hex", "request smuggling", "a length in hexadecimal", post(b"Content-Length: 0x" + HEX, body=WHOLE),
     SMUGGLING),
    ("length-65-bits", "request smuggling", "a length of 2^64",
     post(b"Content-Length: 18446744073709551616", body=WHOLE), SMUGGLING),
    ("length-32-bits", "request smuggling", "a length of 2^32 and 5 more",
     post(b"Content-Length: 4294967301", body=b"abcde" + WHOLE), SMUGGLING),
    ("length-underscore", "request smuggling", "1_0, which CPython's int() takes",
     post(b"Content-Length: 1_0", body=b"0123456789" + WHOLE), SMUGGLING),
    ("length-folded", "request smuggling", "a length on a folded line",
     post(b"Content-Length:\r\n " + SIZE, body=WHOLE), SMUGGLING),
    ("length-space-colon", "request smuggling", "a space before the length's colon",
     post(b"Content-Length : " + SIZE, body=WHOLE), SMUGGLING),
    ("length-arabic", "request smuggling", "a length in Arabic digits",
     post("Content-Length: \u0665".encode(), body=b"abcde" + WHOLE), SMUGGLING),
    ("length-zeros", "request smuggling", "a length with leading zeros",
     post(b"Content-Length: 0005", body=b"abcde" + WHOLE), ""),
    ("expect-unknown", "request smuggling", "an expectation that nobody knows",
     post(b"Expect: nothing", b"Content-Length: 0", body=WHOLE), ""),
    ("middle", "INTANG, beyond the first request", "between two allowed requests",
     get(b"Host: " + C) + WHOLE + get(b"Host: " + C), ""),
    ("twentieth", "INTANG, beyond the first request", "behind twenty allowed requests", get(b"Host: " + C) * 20 + WHOLE,
     ""),
    ("put-body", "RFC 9112 6", "behind the body of a PUT",
     post(b"Content-Length: 5", body=b"abcde" + WHOLE, method=b"PUT"), ""),
    ("patch-body", "RFC 9112 6", "behind the body of a PATCH",
     post(b"Content-Length: 5", body=b"abcde" + WHOLE, method=b"PATCH"), ""),
    ("same-lengths", "request smuggling, CL.CL", "the same length twice",
     post(b"Content-Length: 5", b"Content-Length: 5", body=b"abcde" + WHOLE), SMUGGLING),
    ("after-close", "request smuggling", "behind a request that ends the connection",
     get(b"Host: " + C, b"Connection: close") + WHOLE, ""),
)  # fmt: skip
CHUNKS: tuple[Row, ...] = (
    ("behind", "RFC 9112 7.1", "behind chunks", post(CHUNKED, body=ABC + LAST + WHOLE), ""),
    ("trailers", "RFC 9112 7.1.2", "behind chunks with trailers",
     post(CHUNKED, body=ABC + b"0\r\nX: y\r\n\r\n" + WHOLE), ""),
    ("size-zeros", "RFC 9112 7.1", "sizes with leading zeros",
     post(CHUNKED, body=chunk(b"abc", b"0003") + b"000\r\n\r\n" + WHOLE), ""),
    ("size-letters", "RFC 9112 7.1", "sizes in letters of both cases",
     post(CHUNKED, body=chunk(b"0123456789", b"A") + chunk(b"0123456789a", b"b") + LAST + WHOLE), ""),
    ("extension-quoted", "RFC 9112 7.1.1", "an extension with a semicolon in quotes",
     post(CHUNKED, body=chunk(b"abc", b'3;a="b;c"') + LAST + WHOLE), SMUGGLING),
    ("extension-spaces", "RFC 9112 7.1.1", "spaces around an extension's semicolon",
     post(CHUNKED, body=chunk(b"abc", b"3 ; a=b") + LAST + WHOLE), SMUGGLING),
    ("extension-long", "RFC 9112 7.1.1", "an extension of 3,000 bytes",
     post(CHUNKED, body=chunk(b"abc", b"3;a=" + b"x" * 3000) + LAST + WHOLE), SMUGGLING),
    ("many", "RFC 9112 7.1", "behind 300 chunks of a byte", post(CHUNKED, body=chunk(b"a", b"1") * 300 + LAST + WHOLE), ""),
    ("trailers-many", "RFC 9112 7.1.2", "behind chunks with forty trailers",
     post(CHUNKED, body=ABC + b"0\r\n" + b"X: y\r\n" * 40 + b"\r\n" + WHOLE), ""),
    ("trailer-length", "request smuggling", "a trailer that is a length",
     post(CHUNKED, body=ABC + b"0\r\nContent-Length: " + SIZE + b"\r\n\r\n" + WHOLE), SMUGGLING),
    ("trailer-folded", "request smuggling", "a trailer on a folded line",
     post(CHUNKED, body=ABC + b"0\r\nX: y\r\n z\r\n\r\n" + WHOLE), SMUGGLING),
    ("inside", "request smuggling, TE ignored", "as a chunk's content, which CPython reads as a request",
     post(CHUNKED, body=chunk(WHOLE, HEX) + LAST), SMUGGLING),
    ("get-chunks", "request smuggling", "as a chunk of a GET", get(b"Host: " + C, CHUNKED) + chunk(WHOLE, HEX) + LAST,
     SMUGGLING),
    ("and-length", "request smuggling, CL.TE", "a length and chunks",
     post(b"Content-Length: %d" % (WHOLE_BYTES + 5), CHUNKED, body=LAST + WHOLE), SMUGGLING),
    ("and-length-turned", "request smuggling, TE.CL", "chunks and a length",
     post(CHUNKED, b"Content-Length: 5", body=LAST + WHOLE), SMUGGLING),
    ("extension", "request smuggling", "a chunk extension in quotes with a line end",
     post(CHUNKED, body=chunk(b"abc", b'3;x="\r\n"') + LAST + WHOLE), SMUGGLING),
    ("extension-lf", "request smuggling, TERM.EXT", "a chunk extension with a lone LF",
     post(CHUNKED, body=chunk(b"abc", b"3;x\n") + LAST + WHOLE), SMUGGLING),
    ("zeros", "request smuggling", "a last chunk of many zeros", post(CHUNKED, body=b"0" * 19 + b"\r\n\r\n" + WHOLE),
     SMUGGLING),
    ("size-65-bits", "request smuggling", "a size of 2^64 and some",
     post(CHUNKED, body=chunk(WHOLE, b"1" + HEX.rjust(16, b"0")) + LAST), SMUGGLING),
    ("size-0x", "request smuggling", "a size that begins with 0x", post(CHUNKED, body=chunk(WHOLE, b"0x0") + LAST),
     SMUGGLING),
    ("size-minus", "request smuggling", "a size of -1", post(CHUNKED, body=chunk(WHOLE, b"-1") + LAST), SMUGGLING),
    ("size-space", "request smuggling", "a space behind the size",
     post(CHUNKED, body=chunk(b"abc", b"3 ") + LAST + WHOLE), SMUGGLING),
    ("bare-lf", "request smuggling", "chunks with lone LFs", post(CHUNKED, body=b"3\nabc\n0\n\n" + WHOLE), SMUGGLING),
    ("too-long", "request smuggling", "a chunk longer than it says",
     post(CHUNKED, body=b"3\r\nabcde\r\n" + LAST + WHOLE), SMUGGLING),
    ("no-end", "request smuggling", "a chunk without the line end behind it",
     post(CHUNKED, body=b"3\r\nabcXX" + LAST + WHOLE), SMUGGLING),
    ("xchunked", "request smuggling, TE.TE", "xchunked", post(b"Transfer-Encoding: xchunked", body=WHOLE), SMUGGLING),
    ("identity", "request smuggling, TE.TE", "identity", post(b"Transfer-Encoding: identity", body=WHOLE), SMUGGLING),
    ("chunked-identity", "request smuggling, TE.TE", "chunked, identity",
     post(b"Transfer-Encoding: chunked, identity", body=LAST + WHOLE), SMUGGLING),
    ("identity-chunked", "request smuggling, TE.TE", "identity, chunked",
     post(b"Transfer-Encoding: identity, chunked", body=LAST + WHOLE), SMUGGLING),
    ("two-codings", "request smuggling, TE.TE", "two fields of codings",
     post(CHUNKED, b"Transfer-Encoding: identity", body=LAST + WHOLE), SMUGGLING),
    ("vertical-tab", "request smuggling, TE.TE", "a vertical tab before chunked",
     post(b"Transfer-Encoding: \x0bchunked", body=LAST + WHOLE), SMUGGLING),
    ("space-colon", "request smuggling, TE.TE", "a space before the colon",
     post(b"Transfer-Encoding : chunked", body=LAST + WHOLE), SMUGGLING),
    ("quoted", "request smuggling, TE.TE", "chunked in quotes",
     post(b'Transfer-Encoding: "chunked"', body=LAST + WHOLE), SMUGGLING),
    ("in-1-0", "request smuggling", "chunks in HTTP/1.0",
     post(b"Connection: keep-alive", CHUNKED, body=LAST + WHOLE, version=b"HTTP/1.0"), SMUGGLING),
    ("folded-coding", "request smuggling, TE.TE", "chunked on a folded line",
     post(b"Transfer-Encoding:\r\n chunked", body=LAST + WHOLE), SMUGGLING),
    ("underscore", "request smuggling, TE.TE", "Transfer_Encoding",
     post(b"Transfer_Encoding: chunked", b"Content-Length: 5", body=LAST + WHOLE), ""),
)  # fmt: skip
CHANGES: tuple[Row, ...] = (
    ("http-0-9", "RFC 1945", "behind an HTTP/0.9 request", b"GET /\r\n" + WHOLE, SMUGGLING),
    ("h2-preface", "RFC 9113 3.4", "behind the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + WHOLE,
     SMUGGLING),
    ("h2c", "RFC 7540 3.2", "behind an upgrade to h2c",
     get(b"Host: " + C, b"Upgrade: h2c", b"Connection: Upgrade, HTTP2-Settings", b"HTTP2-Settings: ") + WHOLE,
     "HTTP/2 in the clear is refused, as the limits say"),
    ("websocket", "RFC 6455", "behind an upgrade that the server does not take",
     get(b"Host: " + C, b"Upgrade: websocket", b"Connection: Upgrade") + WHOLE, ""),
    ("upgrade-body", "request smuggling", "behind an upgrade with a body",
     get(b"Host: " + C, b"Upgrade: x", b"Connection: Upgrade", b"Content-Length: 3") + b"\0\0\0" + WHOLE, SMUGGLING),
    ("connect", "RFC 9110 9.3.6", "behind a CONNECT that the server does not take",
     lines(b"CONNECT " + C + b":80 HTTP/1.1", b"Host: " + C) + WHOLE, SMUGGLING),
    ("junk-before", "SymTCP, protocol confusion", "behind a line that is no request", b"NICK a\r\n" + WHOLE, SMUGGLING),
    ("ssh-before", "SymTCP, protocol confusion", "behind the greeting of SSH", b"SSH-2.0-x\r\n" + WHOLE, SMUGGLING),
    ("null-before", "SymTCP, protocol confusion", "behind a null byte", b"\0" + WHOLE, SMUGGLING),
    ("record-before", "SymTCP, protocol confusion", "behind what begins like a TLS record", b"\x16\3\1\0\1\0" + WHOLE,
     SMUGGLING),
    ("proxy-line", "HAProxy's PROXY protocol", "behind a line of the PROXY protocol",
     b"PROXY TCP4 192.0.2.1 192.0.2.2 1 80\r\n" + WHOLE, SMUGGLING),
)  # fmt: skip
TIMED: tuple[tuple[str, str, str, bytes, tuple[Step, ...], str], ...] = (
    ("kept-alive", "INTANG, beyond the first request",
     "when the answer to an allowed request is there, on the same connection",
     get(b"Host: " + C) + WHOLE, (Segment(0, -WHOLE_BYTES), AwaitAnswer(), Segment(-WHOLE_BYTES)), ""),
    ("kept-alive-cut", "INTANG, beyond the first request", "the same, cut in the name", get(b"Host: " + C) + WHOLE,
     (Segment(0, -WHOLE_BYTES), AwaitAnswer(), Segment(-WHOLE_BYTES, "mid"), Segment("mid")), ""),
    ("kept-alive-late", "SymTCP, timeouts", "the same, 1.5 s later", get(b"Host: " + C) + WHOLE,
     (Segment(0, -WHOLE_BYTES), AwaitAnswer(), Wait(1.5), Segment(-WHOLE_BYTES)), ""),
    ("body-then-request", "INTANG, beyond a body", "a body, its answer, then the request",
     post(b"Content-Length: 5", body=b"abcde") + WHOLE,
     (Segment(0, -WHOLE_BYTES), AwaitAnswer(), Segment(-WHOLE_BYTES)), ""),
    ("body-and-request-turned", "zapret multidisorder, in a body", "the request ahead of the body before it",
     post(b"Content-Length: 5", body=b"abcde") + WHOLE,
     (Segment(0, -WHOLE_BYTES - 5), Segment(-WHOLE_BYTES), Segment(-WHOLE_BYTES - 5, -WHOLE_BYTES)), ""),
    ("decoy-in-body", "zapret fake, later in the stream",
     "a decoy in place of the second request, dying at the router", get(b"Host: " + C) + WHOLE,
     (Segment(0, -WHOLE_BYTES), AwaitAnswer(), Segment(-WHOLE_BYTES, fill="cover", ttl=1), Segment(-WHOLE_BYTES)), ""),
    ("head-answer", "RFC 9112 6.3", "when the answer to a HEAD is there, which has a length and no body",
     get(b"Host: " + C, method=b"HEAD") + WHOLE,
     (Segment(0, -WHOLE_BYTES), AwaitAnswer(), Segment(-WHOLE_BYTES)), ""),
    ("half-early", "INTANG, beyond the first request", "half of it right behind an allowed request, half behind the answer",
     get(b"Host: " + C) + WHOLE, (Segment(0, "mid"), AwaitAnswer(), Segment("mid")), ""),
    ("continued", "RFC 9110 10.1.1", "behind a body that waited for the server's 100",
     post(b"Content-Length: 5", b"Expect: 100-continue", body=b"abcde") + WHOLE,
     (Segment(0, -WHOLE_BYTES - 5), AwaitAnswer(), Segment(-WHOLE_BYTES - 5, -WHOLE_BYTES), AwaitAnswer(),
      Segment(-WHOLE_BYTES)), ""),
    ("not-continued", "RFC 9110 10.1.1", "behind a body that did not wait for it",
     post(b"Content-Length: 5", b"Expect: 100-continue", body=b"abcde") + WHOLE, (Segment(),), ""),
    ("body-edge", "SymTCP, merged segments", "one segment with the body's last byte and the request",
     post(b"Content-Length: 500", body=b"y" * 500) + WHOLE,
     (Segment(0, -WHOLE_BYTES - 1), Segment(-WHOLE_BYTES - 1)), ""),
)  # fmt: skip


def _rows(family: str, found: tuple[Row, ...]) -> list[Strategy]:
    return [
        Strategy(
            f"{family}.{name}",
            family,
            source,
            what,
            Tcp((Segment(0, "mid"), Segment("mid")), stream),
            over=("http",),
            ambiguous=doubt,
        )
        for name, source, what, stream, doubt in found
    ]


STRATEGIES = [
    *_rows("http-length", LENGTHS),
    *_rows("http-chunks", CHUNKS),
    *_rows("http-change", CHANGES),
    *(
        Strategy(f"http-later.{name}", "http-later", source, what, Tcp(steps, stream), over=("http",), ambiguous=doubt)
        for name, source, what, stream, steps, doubt in TIMED
    ),
]

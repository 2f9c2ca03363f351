"""A table of tricks: requests for a blocked host that some server reads and some box does not.

After each, no log of CPython, nginx, Apache or Node names the host. What the client gets is not asked here.
"""

import time

import pytest

from penstock.demo.box import GOOD
from penstock.demo.servers import Server
from penstock.demo.topology import HOME, OFFICE, Subscriber
from tests.live.clients import ask
from tests.live.line import BAD, Line, live

pytestmark = live("openssl", "nginx", "apache2", "node")

QUIET_S = 0.12  # a server that has not begun to answer by then is waiting for more
LOG_S = 0.03
G, B = GOOD.encode(), BAD.encode()
WHOLE = ask(BAD)


def lines(*parts: bytes, end: bytes = b"\r\n") -> bytes:
    """Header lines with their ends, and the empty line."""
    return end.join((*parts, b"", b""))


def get(*headers: bytes, target: bytes = b"/") -> bytes:
    return lines(b"GET " + target + b" HTTP/1.1", *headers)


def post(*headers: bytes, body: bytes = b"") -> bytes:
    return lines(b"POST / HTTP/1.1", b"Host: " + G, *headers) + body


def chunk(content: bytes, size: bytes | None = None) -> bytes:
    return (b"%x" % len(content) if size is None else size) + b"\r\n" + content + b"\r\n"


LAST = b"0\r\n\r\n"
HOST_FORMS = {
    "upper case": get(b"HOST: " + B.upper()),
    "mixed case": get(b"hOsT: BaD.ExAmPlE.tEsT"),
    "no space": get(b"Host:" + B),
    "tab": get(b"Host:\t" + B),
    "many spaces": get(b"Host:    " + B + b"   "),
    "trailing dot": get(b"Host: " + B + b"."),
    "port": get(b"Host: " + B + b":80"),
    "trailing dot and port": get(b"Host: " + B + b".:80"),
    "space before the colon": get(b"Host : " + B),
    "folded": get(b"Host:\r\n " + B),
    "folded later": get(b"X: y\r\n z", b"Host: " + B),
    "two hosts, good first": get(b"Host: " + G, b"Host: " + B),
    "two hosts, bad first": get(b"Host: " + B, b"Host: " + G),
    "two hosts in one": get(b"Host: " + G + b", " + B),
    "userinfo": get(b"Host: " + G + b"@" + B),
    "percent": get(b"Host: b%61d.example.test", b"Host: " + B),
    "NUL before": get(b"X: \0", b"Host: " + B),
    "line without a colon": get(b"nonsense", b"Host: " + B),
    "leading space on the first header": lines(b"GET / HTTP/1.1", b" X: y", b"Host: " + B),
    "vertical tab": get(b"Host:\x0b" + B),
    "CR alone": get(b"X: y\rHost: " + B, b"Host: " + G),
}
LINE_FORMS = {
    "bare LF": lines(b"GET / HTTP/1.1", b"Host: " + B, end=b"\n"),
    "mixed ends": b"GET / HTTP/1.1\nHost: " + B + b"\r\n\n",
    "empty lines first": b"\r\n\r\n\n" + WHOLE,
    "many empty lines": b"\r\n" * 40 + WHOLE,
    "absolute target": get(b"Host: " + G, target=b"http://" + B + b"/"),
    "absolute target, no host": get(target=b"http://" + B + b"/"),
    "absolute target, upper case": get(b"Host: " + G, target=b"HTTP://" + B.upper() + b":80/"),
    "absolute target with userinfo": get(b"Host: " + G, target=b"http://" + G + b"@" + B + b"/"),
    "good target, bad host": get(b"Host: " + B, target=b"http://" + G + b"/"),
    "two spaces": lines(b"GET  /  HTTP/1.1", b"Host: " + B),
    "tabs": lines(b"GET\t/\tHTTP/1.1", b"Host: " + B),
    "lower-case method": lines(b"get / HTTP/1.1", b"Host: " + B),
    "own method": lines(b"FROB / HTTP/1.1", b"Host: " + B),
    "long method": lines(b"M" * 40 + b" / HTTP/1.1", b"Host: " + B),
    "HTTP/1.0": lines(b"GET / HTTP/1.0", b"Host: " + B),
    "HTTP/1.9": lines(b"GET / HTTP/1.9", b"Host: " + B),
    "HTTP/01.1": lines(b"GET / HTTP/01.1", b"Host: " + B),
    "space behind the version": lines(b"GET / HTTP/1.1 ", b"Host: " + B),
    "long target": get(b"Host: " + B, target=b"/" + b"a" * 5000),
    "8-bit target": get(b"Host: " + B, target=b"/\xff\xfe"),
    "target with a space": get(b"Host: " + B, target=b"/a b"),
    "options star": lines(b"OPTIONS * HTTP/1.1", b"Host: " + B),
    "connect": lines(b"CONNECT " + B + b":80 HTTP/1.1", b"Host: " + B),
    "connect good, then": lines(b"CONNECT " + G + b":80 HTTP/1.1", b"Host: " + G) + WHOLE,
    "http/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + WHOLE,
    "h2c upgrade, then": get(
        b"Host: " + G, b"Upgrade: h2c", b"Connection: Upgrade, HTTP2-Settings", b"HTTP2-Settings: "
    )
    + WHOLE,
    "upgrade, then": get(b"Host: " + G, b"Upgrade: websocket", b"Connection: Upgrade") + WHOLE,
    "HTTP/0.9, then": b"GET /\r\n" + WHOLE,
    "no version": lines(b"GET /", b"Host: " + B),
    "no version, POST": lines(b"POST x", b"Host: " + B),
    "no version, own method": lines(b"FROB /", b"Host: " + B),
    "no version, folded": lines(b"FROB /", b"X: y", b" z", b"Host: " + B),
    "no version, then": lines(b"FROB /", b"Host: " + G, b"Connection: keep-alive") + WHOLE,
    "spaces behind an own method": lines(b"F.O /a b HTTP/1.1", b"Host: " + B),
    "tab behind an own method": lines(b"F.O /a\tb", b"Host: " + B),
}
BODY_FORMS = {
    "behind an empty body": post(b"Content-Length: 0", body=WHOLE),
    "behind a body": post(b"Content-Length: 5", body=b"abcde" + WHOLE),
    "body of a GET": get(b"Host: " + G, b"Content-Length: %d" % len(WHOLE)) + WHOLE,
    "body of a HEAD": lines(b"HEAD / HTTP/1.1", b"Host: " + G, b"Content-Length: %d" % len(WHOLE)) + WHOLE,
    "body of a DELETE": lines(b"DELETE / HTTP/1.1", b"Host: " + G, b"Content-Length: %d" % len(WHOLE)) + WHOLE,
    "chunked body of a GET": get(b"Host: " + G, b"Transfer-Encoding: chunked") + chunk(WHOLE) + LAST,
    "no length": post(body=WHOLE),
    "two lengths": post(b"Content-Length: 0", b"Content-Length: %d" % len(WHOLE), body=WHOLE),
    "two lengths, turned": post(b"Content-Length: %d" % len(WHOLE), b"Content-Length: 0", body=WHOLE),
    "lengths in one": post(b"Content-Length: 0, %d" % len(WHOLE), body=WHOLE),
    "length with plus": post(b"Content-Length: +%d" % len(WHOLE), body=WHOLE),
    "length minus": post(b"Content-Length: -1", body=WHOLE),
    "length in hex": post(b"Content-Length: 0x%x" % len(WHOLE), body=WHOLE),
    "length beyond 64 bits": post(b"Content-Length: 18446744073709551616", body=WHOLE),
    "length with a space before the colon": post(b"Content-Length : %d" % len(WHOLE), body=WHOLE),
    "length with an underscore": post(b"Content-Length: 1_0", body=b"0123456789" + WHOLE),
    "folded length": post(b"Content-Length:\r\n %d" % len(WHOLE), body=WHOLE),
    "length and chunked": post(
        b"Content-Length: %d" % (len(WHOLE) + 5), b"Transfer-Encoding: chunked", body=LAST + WHOLE
    ),
    "chunked and length": post(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=LAST + WHOLE),
    "behind chunks": post(b"Transfer-Encoding: chunked", body=chunk(b"abc") + LAST + WHOLE),
    "behind chunks with trailers": post(
        b"Transfer-Encoding: chunked", body=chunk(b"abc") + b"0\r\nX: y\r\n\r\n" + WHOLE
    ),
    "chunk extension": post(b"Transfer-Encoding: chunked", body=chunk(b"abc", b'3;x="\r\n"') + LAST + WHOLE),
    "chunk extension with LF": post(b"Transfer-Encoding: chunked", body=chunk(b"abc", b"3;x\n") + LAST + WHOLE),
    "chunk size zeros": post(b"Transfer-Encoding: chunked", body=b"0000000000000000000\r\n\r\n" + WHOLE),
    "chunk size in 65 bits": post(b"Transfer-Encoding: chunked", body=chunk(WHOLE, b"10000000000000003") + LAST),
    "chunk size with 0x": post(b"Transfer-Encoding: chunked", body=chunk(WHOLE, b"0x0") + LAST),
    "chunk size minus": post(b"Transfer-Encoding: chunked", body=chunk(WHOLE, b"-1") + LAST),
    "chunk with bare LF": post(b"Transfer-Encoding: chunked", body=b"3\nabc\n0\n\n" + WHOLE),
    "chunk too short": post(b"Transfer-Encoding: chunked", body=b"3\r\nabcde\r\n" + LAST + WHOLE),
    "xchunked": post(b"Transfer-Encoding: xchunked", body=WHOLE),
    "identity": post(b"Transfer-Encoding: identity", body=WHOLE),
    "chunked, identity": post(b"Transfer-Encoding: chunked, identity", body=LAST + WHOLE),
    "identity, chunked": post(b"Transfer-Encoding: identity, chunked", body=LAST + WHOLE),
    "two encodings": post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", body=LAST + WHOLE),
    "chunked, upper case": post(b"TRANSFER-ENCODING: CHUNKED", body=LAST + WHOLE),
    "chunked with tab": post(b"Transfer-Encoding:\tchunked", body=LAST + WHOLE),
    "chunked with vertical tab": post(b"Transfer-Encoding: \x0bchunked", body=LAST + WHOLE),
    "chunked with a space before the colon": post(b"Transfer-Encoding : chunked", body=LAST + WHOLE),
    "chunked in quotes": post(b'Transfer-Encoding: "chunked"', body=LAST + WHOLE),
    "chunked in HTTP/1.0": lines(
        b"POST / HTTP/1.0", b"Host: " + G, b"Connection: keep-alive", b"Transfer-Encoding: chunked"
    )
    + LAST
    + WHOLE,
    "expect": post(b"Expect: 100-continue", b"Content-Length: %d" % len(WHOLE), body=WHOLE),
    "expect something else": post(b"Expect: nothing", b"Content-Length: 0", body=WHOLE),
    "connection close, then": get(b"Host: " + G, b"Connection: close") + WHOLE,
}
TRICKS = HOST_FORMS | LINE_FORMS | BODY_FORMS


def find_witnesses(line: Line, servers: dict[str, Server], who: Subscriber, trick: bytes) -> list[str]:
    """Play a trick on every server; those whose logs then name the blocked host."""
    marks = {name: server.log.stat().st_size for name, server in servers.items()}
    for cut in (trick, *_halves(trick)):
        opened = [line.connect(who, server.http_port) for server in servers.values()]
        talks = [each.__enter__() for each in opened]
        for talk in talks:
            talk.send(*([cut] if isinstance(cut, bytes) else cut))
        for turn, talk in enumerate(talks):  # they wait side by side: the first to be read has waited for all
            talk.read_all(QUIET_S if turn == 0 else QUIET_S / 20)
        for each in opened:
            each.__exit__(None, None, None)
    time.sleep(LOG_S)
    grown = {name: _read_from(server, marks[name]) for name, server in servers.items()}
    return [name for name, text in grown.items() if BAD in text.lower()]


@pytest.mark.parametrize("trick", TRICKS.values(), ids=TRICKS)
def test_no_server_acts_on_a_blocked_request(line: Line, servers: dict[str, Server], trick: bytes) -> None:
    assert find_witnesses(line, servers, HOME, trick) == []


@pytest.mark.parametrize("trick", ["no space", "behind a body", "behind chunks", "body of a GET"])
def test_the_tricks_are_real(line: Line, servers: dict[str, Server], trick: str) -> None:
    assert find_witnesses(line, servers, OFFICE, TRICKS[trick]), "no server takes this for a request"


def _halves(trick: bytes) -> list[tuple[bytes, bytes]]:
    middle = trick.lower().rfind(B) + 3
    return [(trick[:middle], trick[middle:])]


def _read_from(server: Server, mark: int) -> str:
    with server.log.open("rb") as log:
        log.seek(mark)
        return log.read().decode(errors="replace")

"""Request lines without a version, other protocols' first words, lines of logs: what is a request, what never is."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.request import http
from penstock.request import http_state as slots
from penstock.request.status import BAD, COMPLETE, NEED_MORE, NOT_MINE
from tests.request.http_grammar import random_stream
from tests.request.http_reader import Read, Reader, judge_against, read, read_connection, read_cut
from tests.request.http_waitress import WAITRESS, requests_served


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([b"FOO /x", b"EHLO a", b"POST x", b"FOO http://bad.test/ ", b"F.O /x\ty", b"CONNECT {}"]),
    st.lists(st.sampled_from([b"Host: bad.test", b"A: b", b" c", b"x", b"Content-Length: 3", b"\0", b""]), max_size=4),
    st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n"]),
    st.booleans(),
)
def test_any_cutting_reads_the_same(line: bytes, fields: list[bytes], end: bytes, eof: bool) -> None:
    stream = line + b"\r\n" + end.join([*fields, b""])
    assert read_cut(stream, list(range(len(stream))), eof) == read(stream, eof)


LOG_LINES = [
    b'150 <190>1 2025-11-25T10:00:00Z web nginx - - - 1.2.3.4 - - "GET / HTTP/1.1" 200 612\n',
    b'1.2.3.4 - - [25/Nov/2025:10:00:00 +0000] "GET / HTTP/1.1" 200 612\n',
    b'<190>Nov 25 10:00:00 web nginx: 1.2.3.4 - - "GET / HTTP/1.1" 200 612\n',
    b'Nov 25 10:00:00 web nginx: 1.2.3.4 - - "GET / HTTP/1.1" 200 612\n',
    b'2025-11-25 10:00:00 web "POST http://bad.test/ HTTP/1.1" 200\n',
    b'INFO:     127.0.0.1:53124 - "GET / HTTP/1.1" 200 OK\n',
    b'ERROR request "GET / HTTP/1.1" failed\n',
    b"1.2.3.4\t-\tGET / HTTP/1.1\t200\n",
]


@pytest.mark.parametrize("line", LOG_LINES)
def test_a_log_that_quotes_a_request_is_none(line: bytes) -> None:
    assert read(line).status == NOT_MINE


MAIL = b"Path: a!b\r\nFrom: a@b.test\r\nSubject: x\r\n"
DIALOGUES = {
    "SMTP": [b"EHLO bad.test\r\n", b"MAIL FROM:<a@bad.test>\r\n"],
    "SMTP, old": [b"HELO bad.test\r\n", b"RSET\r\n"],
    "SMTP with STARTTLS": [b"EHLO [10.1.0.1]\r\n", b"STARTTLS\r\n"],
    "LMTP": [b"LHLO bad.test\r\n", b"MAIL FROM:<> BODY=8BITMIME\r\n"],
    "FTP": [b"USER anonymous\r\n", b"PASS a@bad.test\r\n"],
    "FTP over TLS": [b"AUTH TLS\r\n", b"\x16\x03\x01"],
    "POP3": [b"USER a\r\n", b"PASS b:c\r\n"],
    "POP3 with APOP": [b"APOP a c4c9334bac560ecc979e58001b3e22fb\r\n"],
    "IMAP": [b"A1 CAPABILITY\r\n", b"A2 LOGIN a b\r\n"],
    "IMAP, small letters": [b"a1 CAPABILITY\r\n"],
    "NNTP, reader": [b"MODE READER\r\n", b"GROUP alt.test\r\n"],
    "NNTP, posting": [b"MODE READER\r\n", b"POST\r\n", MAIL],
    "NNTP, peer": [b"MODE STREAM\r\n", b"CHECK <1@bad.test>\r\n"],
    "IRC": [b"NICK a\r\n", b"USER a 0 * :bad.test\r\n"],
    "IRC, pass": [b"PASS x\r\n", b"NICK a\r\n"],
    "IRC, cap": [b"CAP LS 302\r\n"],
    "IRC, ping": [b"PING :bad.test\r\n", b":a PRIVMSG #b :c\r\n"],
    "STOMP": [b"CONNECT\naccept-version:1.2\nhost:bad.test\n\n\0"],
    "STOMP, CR LF": [b"STOMP\r\naccept-version:1.2\r\nhost:bad.test\r\n\r\n\0"],
    "memcached": [b"set host:a 0 0 12\r\n", b"Host: bad.tes\r\n"],
    "memcached, meta": [b"mg bad.test\r\n"],
    "Redis": [b"*1\r\n$4\r\nPING\r\n"],
    "Redis, inline": [b"AUTH a:b\r\n", b"INCR host:bad\r\n"],
    "Redis, inline, then RESP": [b"SELECT 1\r\n", b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n"],
    "NATS": [b'CONNECT {"verbose":false,"lang":"go","protocol":1}\r\n', b"PING\r\n", b"SUB a 1\r\n"],
    "NATS, spaces": [b'CONNECT {"verbose": false}\r\n'],
    "SIP": [b"REGISTER sip:bad.test SIP/2.0\r\n", b"Via: SIP/2.0/TCP a\r\nHost: bad.test\r\n\r\n"],
    "MSRP": [b"MSRP d93 SEND\r\n"],
    "VNC": [b"RFB 003.008\n"],
    "NTRIP": [b"SOURCE pw /MOUNT\r\n"],
    "FreeSWITCH": [b"auth ClueCon\n\n"],
    "Asterisk": [b"Action: Login\r\nUsername: a\r\nHost: bad.test\r\n\r\n"],
    "language server": [b"Content-Length: 20\r\n\r\n{}"],
    "managesieve": [b'AUTHENTICATE "PLAIN" "AGE="\r\n'],
    "DICT": [b"SHOW DB\r\n", b"DEFINE * host\r\n"],
    "beanstalkd": [b"use tube\r\n"],
    "Graphite": [b"HOST.cpu 3.2 1700000000\n"],
    "ClamAV": [b"SCAN /tmp/a\n"],
    "Tor": [b"AUTHENTICATE 0A\r\n", b"GETINFO version\r\n"],
    "PROXY": [b"PROXY TCP4 10.1.0.1 192.0.2.80 1 2\r\n"],
    "binary behind a line": [b"HELLO 1\r\n", b"Host: \x00"],
    "a bare line feed behind a line": [b"HELLO 1\r\n", b"Host: bad\n"],
    "a blank behind a line": [b"HELLO 1\r\n", b" Host: bad.test\r\n"],
    "rsync": [b"@RSYNCD: 31.0\n"],
    "Gopher": [b"/x\r\n"],
}


@pytest.mark.parametrize("dialogue", DIALOGUES.values(), ids=DIALOGUES)
def test_dialogues_of_other_protocols_are_never_refused(dialogue: list[bytes]) -> None:
    """NOT_MINE in the end, nothing but NEED_MORE before, wherever the stream is cut or ends."""
    stream = b"".join(dialogue)
    reader = Reader()
    for end in range(len(stream)):
        assert reader.see(stream[:end]).status in (NEED_MORE, NOT_MINE)
        assert read(stream[:end], eof=True).status in (NOT_MINE, NEED_MORE)
    assert reader.see(stream).status == read(stream).status == NOT_MINE


ACTED_ON = [
    b"POST x",
    b"POST ?q",
    b"POST ;x",
    b"FOO /x",
    b"FOO *",
    b"EHLO a",
    b"FOO bad.test:80",
    b"X-Y_Z.1 /",
    b"FOO HTTP/1.1",
]
ACTED_ON += [
    b"FOO {}",
    b"FOO <a@b.test>",
    b"FOO http:///x",
    b"FOO /caf\xc3\xa9",
    b"FOO /x ",
    b" FOO /x",
    b"\r\nFOO /x",
    b"FOO /\xa0h",
]


@pytest.mark.parametrize("line", ACTED_ON)
def test_a_line_without_a_version_is_a_request_if_fields_follow(line: bytes) -> None:
    """Waitress serves it; other servers answer 400 and close."""
    assert read(line + b"\r\n").status == NEED_MORE
    assert read(line + b"\r\nHost: bad.test\r\n") == Read(NEED_MORE, hosts=(b"bad.test",))
    said = read(line + b"\r\nA: b\r\n c\r\nHost: bad.test\r\n\r\n")
    assert (said.status, said.hosts, said.version, said.flags & http.UPGRADE) == (
        COMPLETE,
        (b"bad.test",),
        0,
        http.UPGRADE,
    )
    assert (said.method, said.target) == tuple(line.split()[:2]) or said.target.startswith(b"/\xa0")
    assert read(line + b"\r\nHost: bad.test\r\n", eof=True).status == NOT_MINE
    assert read(line + b"\r\n\r\n").status == COMPLETE
    assert read(line + b"\r\nHost bad.test\r\n").status == NOT_MINE


@pytest.mark.parametrize(
    ("stream", "detail"),
    [
        (b"FOO\t/x", 0),
        (b"FOO  /x", 0),
        (b"foo /x", 0),
        (b"FOO /x y", 0),
        (b"FOO /x\ty", slots.BAD_CONTROL),
        (b"F.O /x\ty", slots.BAD_CONTROL),
        (b"FOO \t/x", slots.BAD_CONTROL),
        (b"FOO /x\x01", slots.BAD_CONTROL),
        (b"FOO http://a@bad.test/", slots.BAD_HOST),
        (b"FOO http://a,b/", slots.BAD_HOST),
        (b"FOO /x\r\nTransfer-Encoding: chunked", slots.BAD_CODING_VERSION),
        (b"FOO /x\r\nHost: a,b", slots.BAD_HOST),
        (b"FOO /x\r\nUpgrade: h2c", slots.BAD_H2C),
        (b"FOO /x\r\nHost:\r\n bad.test", slots.BAD_FOLD),
    ],
)
def test_odd_lines_without_a_version(stream: bytes, detail: int) -> None:
    """What a server acts on all the same is BAD, at the empty line at the latest."""
    said = read(stream + b"\r\nHost: bad.test\r\n\r\n")
    assert (said.status, said.detail) == ((BAD, detail) if detail else (NOT_MINE, 0))
    assert read(stream.partition(b"\r\n")[0] + b"\r\n").status == (NEED_MORE if detail else NOT_MINE)


def test_a_body_behind_a_line_without_a_version_has_its_length() -> None:
    """So it does for waitress, whatever the method, and for spamd."""
    said = read(b"CHECK SPAMC/1.5\r\nContent-length: 9\r\n\r\nSubject: ")
    assert (said.status, said.body_kind, said.body_bytes) == (COMPLETE, http.BODY_LENGTH, 9)
    assert said.flags & (http.BODY_TRUSTED | http.UPGRADE | http.CONNECT) == http.BODY_TRUSTED
    assert read(b"IHAVE <a@b.test>\r\n" + MAIL + b"\r\nbody").flags & http.UPGRADE
    assert read(b"GNUTELLA CONNECT/0.6\r\nX-Ultrapeer: True\r\n\r\n").flags & http.UPGRADE


@pytest.mark.skipif(WAITRESS is None, reason="waitress is not installed")
def test_waitress_serves_no_host_that_is_not_seen() -> None:
    words = [b"FOO", b"GET", b"POST", b"foo", b"F.O", b"X_Y", b"CONNECT", b"A:", b"\xa0FOO", b"SCAN"]
    targets = [
        b"/x",
        b"x",
        b"*",
        b"{}",
        b"http://bad.test/",
        b"//bad.test",
        b"a:b",
        b"/x y",
        b"/\ty",
        b"/\x01",
        b"\xa0h",
    ]
    ends = [b"", b" ", b"\t", b"\r", b" HTTP/1.1", b" HTTP/7.7", b"\tHTTP/1.1", b" HTTP", b" x", b"\th"]
    host = b"Host: bad.test\r\n"
    fields = [b"", host, b"A: b\r\n c\r\n" + host, b" x: y\r\n" + host, b"Connection: keep-alive\r\n", b"x\r\n" + host]
    fields += [b"Content-Length: 3\r\nConnection: keep-alive\r\n"]
    behind = [b"", b"GET / HTTP/1.1\r\nHost: other.test\r\n\r\n", b"abcFOO /y\r\nHost: other.test\r\n\r\n"]
    lines = product((b"", b"\r\n", b" "), words, (b" ", b"  ", b"\t", b" \t"), targets, ends)
    streams = [
        b"".join(line) + b"\r\n" + fields[n % len(fields)] + b"\r\n" + behind[n % len(behind)]
        for n, line in enumerate(lines)
    ]
    served = 0
    for stream in streams + [random_stream(seed) for seed in range(80_000, 84_000)]:
        said = read_connection(stream)
        seen = requests_served(stream)
        judge_against(stream, said, [host for _, _, hosts in seen for host in hosts], len(seen))
        served += len(seen) if said.status != BAD else 0
    assert served > 600

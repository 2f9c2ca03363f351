"""The blocked name where nobody asks for it: what these say must arrive, unchanged."""

from tests.evasion.catalogue.http_names import C, get, lines
from tests.evasion.recipe import Segment, Strategy, Tcp
from tests.hellos import (
    alpn,
    extension,
    groups_and_signatures,
    hello,
    key_share,
    record,
    server_name,
    supported_versions,
)

N = b"{host}"  # where a strategy usually asks for the host, these only mention it


def post(body: bytes) -> bytes:
    size = len(body) + body.count(N) * (len(C) - len(N))
    return lines(b"POST / HTTP/1.1", b"Host: " + C, b"Content-Length: %d" % size) + body


FORM = b"url=http%3A%2F%2F" + N + b"%2F&q=" + N
JSON_TEXT = b'{"text":"GET / HTTP/1.1\\r\\nHost: ' + N + b'"}'
RAW = b"GET / HTTP/1.1\r\nHost: " + N + b"\r\n\r\n"
REQUESTS: tuple[tuple[str, str, bytes], ...] = (
    ("path", "the name in the path", get(b"Host: " + C, target=b"/" + N + b"/")),
    ("query", "a whole URL in the query", get(b"Host: " + C, target=b"/?to=http://" + N + b"/")),
    ("referer", "the name in Referer", get(b"Host: " + C, b"Referer: http://" + N + b"/")),
    ("origin", "the name in Origin", get(b"Host: " + C, b"Origin: http://" + N)),
    ("cookie", "a line like a Host field in a cookie", get(b"Host: " + C, b"Cookie: a=Host: " + N)),
    ("agent", "the name in User-Agent", get(b"Host: " + C, b"User-Agent: " + N)),
    ("forwarded", "the name in X-Forwarded-Host", get(b"Host: " + C, b"X-Forwarded-Host: " + N)),
    ("authority", "the name in a field of one's own", get(b"Host: " + C, b"X-Host: " + N, b"Hostname: " + N)),
    ("form", "the name in a form", post(FORM)),
    ("json", "a request as text in a JSON body", post(JSON_TEXT)),
    ("raw-body", "a whole request as the body of a POST", post(RAW)),
    ("expect", "a whole request as the body that a server was asked to expect",
     post(RAW).replace(b"Content", b"Expect: 100-continue\r\nContent", 1)),
    ("similar", "a name that begins like it", get(b"Host: " + N + b".example.org")),
    ("prefix", "a name that ends like it", get(b"Host: my" + N)),
)  # fmt: skip
DIALOGUES: tuple[tuple[str, str, bytes], ...] = (
    ("smtp", "mail to the name", b"EHLO " + N + b"\r\nMAIL FROM:<a@" + N + b">\r\n"),
    ("irc", "IRC", b"NICK a\r\nUSER a 0 * :" + N + b"\r\n"),
    ("redis", "Redis", b"*2\r\n$3\r\nGET\r\n$16\r\n" + N + b"\r\n"),
    ("log", "a line of a log", b'1.2.3.4 - - "GET http://' + N + b'/ HTTP/1.1" 200 612\n'),
    ("binary", "a protocol of binary numbers", b"\0\0\0\x20\7" + N + bytes(12)),
    ("ssh", "SSH", b"SSH-2.0-" + N + b"\r\n" + bytes(40)),
    ("mqtt", "MQTT", b"\x10\x20\0\4MQTT\4\2\0\x3c\0\x10" + N + b"\0\0"),
    ("bittorrent", "BitTorrent", b"\x13BitTorrent protocol" + bytes(8) + N + bytes(24)),
)  # fmt: skip


def _hello(host: str) -> bytes:
    name = host.encode()
    rest = (supported_versions(0x0304), groups_and_signatures(), key_share())
    return record(hello(server_name(C), alpn(name, b"http/1.1"), extension(0x4141, server_name(name)), *rest))


STRATEGIES = [
    *(
        Strategy(f"harmless.{name}", "harmless", "honest traffic", what, Tcp((Segment(),), stream), over=("http",),
        harmless=True)
        for name, what, stream in REQUESTS
    ),
    *(
        Strategy(f"harmless.{name}", "harmless", "honest traffic", f"the name in {what}", Tcp((Segment(),), stream),
        over=("sink",), harmless=True)
        for name, what, stream in DIALOGUES
    ),
    Strategy("harmless.hello", "harmless", "honest traffic",
    "a hello for an allowed name with the blocked one in other extensions",
             Tcp((Segment(),), _hello), over=("tls",), harmless=True),
]  # fmt: skip

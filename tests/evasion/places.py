"""What an honest client says, for each protocol, and the places in it that recipes name.

    host   first byte of the name      mid    its middle      tail   behind its last byte      end   behind everything
    line   behind the first line       mark   a byte that was put into the name               half   of everything

A name carries a distance: `host-6`, `mid+1`. Numbers count from the start or, below zero, from the end.

Knows one request, one hello, one query. Refuses to know how they are carried.
"""

import re
import ssl
from functools import cache

import dns.message

from tests.evasion.recipe import ALLOWED, BLOCKED, COVER, Place, Stream

NAME_BYTES = len(BLOCKED)
MARK = b"\x7f.test"  # behind a byte that a recipe put into the name


FIELDS = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\nAccept-Language: en,de;q=0.5\r\nDNT: 1\r\n"
)


def build_stream(stream: Stream, host: str) -> bytes:
    """A template with its host, or what is made of the host."""
    return stream(host) if callable(stream) else stream.replace(b"{host}", host.encode())


def http_request(host: str, path: str = "/") -> bytes:
    """A request as browsers write it."""
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{FIELDS}\r\n".encode()


def dns_query(host: str, kind: str = "A", **more: object) -> bytes:
    """A query for the host."""
    return dns.message.make_query(host, kind, id=0x5150, **more).to_wire()  # type: ignore[arg-type]


@cache
def _context(tls12: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if tls12:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


class TlsClient:
    """OpenSSL's client without a socket: its first flight, and what follows what came."""

    def __init__(self, host: str, tls12: bool = False) -> None:
        self.host = host
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.engine = _context(tls12).wrap_bio(self.incoming, self.outgoing, server_hostname=host)
        self.is_done = self.is_broken = False
        self.answer = b""

    def advance(self, came: bytes = b"") -> bytes:
        """Take what came; what is to be sent, the request included once the handshake is done."""
        self.incoming.write(came)
        try:
            if not self.is_done:
                self.engine.do_handshake()
                self.is_done = True
                self.engine.write(http_request(self.host))
            self.answer += self.engine.read(1 << 16)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            self.is_broken = True
        return self.outgoing.read()


def cover_of(stream: bytes, host: str) -> bytes:
    """The same bytes for the name that decoys ask for."""
    assert len(host) == NAME_BYTES
    return re.sub(re.escape(host.encode()), COVER.encode(), stream, flags=re.IGNORECASE)


def find_place(place: Place, stream: bytes, host: str) -> int:
    """Where in the stream a place is. Raises ValueError for a word that is none."""
    if isinstance(place, int):
        return place if place >= 0 else len(stream) + place
    found = re.fullmatch(r"([a-z]+)([+-]\d+)?", place)
    if found is None:
        raise ValueError(place)
    at = stream.lower().find(host.encode())
    at = len(stream) // 2 if at < 0 else at
    words = {
        "host": at, "mid": at + NAME_BYTES // 2, "tail": at + NAME_BYTES, "end": len(stream),
        "mark": stream.find(MARK), "line": stream.find(b"\n") + 1, "half": len(stream) // 2,
    }  # fmt: skip
    return max(0, words[found[1]] + int(found[2] or 0))


assert len(ALLOWED) == len(COVER) == NAME_BYTES

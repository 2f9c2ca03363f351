"""ClientHellos for tests, in words: extensions, a message of them, records around it; a real client's; and odd ones."""

import ssl
from collections.abc import Iterable, Sequence
from contextlib import suppress
from hashlib import sha256
from itertools import pairwise

from hypothesis import strategies as st

HANDSHAKE, ALERT, CHANGE_CIPHER_SPEC, APPLICATION_DATA = 22, 21, 20, 23
GREASE = 0x3A3A
SECP521R1 = b"\0\x19"
CIPHERS = b"\x13\x01\x13\x02\x13\x03\xc0\x2f\xc0\x30\x00\x2f"


def vector8(content: bytes) -> bytes:
    return len(content).to_bytes(1) + content


def vector16(content: bytes) -> bytes:
    return len(content).to_bytes(2) + content


def extension(kind: int, content: bytes = b"") -> bytes:
    return kind.to_bytes(2) + vector16(content)


def name_entry(name: bytes, kind: int = 0) -> bytes:
    return kind.to_bytes(1) + vector16(name)


def server_name(*names: bytes, kind: int = 0) -> bytes:
    """The server_name extension; more or less than one name is not allowed."""
    return extension(0, vector16(b"".join(name_entry(name, kind) for name in names)))


def alpn(*protocols: bytes) -> bytes:
    return extension(16, vector16(b"".join(map(vector8, protocols))))


def supported_versions(*versions: int) -> bytes:
    return extension(43, vector8(b"".join(version.to_bytes(2) for version in versions)))


def key_share(size: int = 32, group: int = 29) -> bytes:
    return extension(51, vector16(group.to_bytes(2) + vector16(bytes(range(256)) * (size // 256) + bytes(size % 256))))


def groups_and_signatures() -> bytes:
    return extension(10, vector16(b"\0\x1d\0\x17")) + extension(13, vector16(b"\4\3\x08\4\4\1"))


def message(body: bytes, kind: int = 1) -> bytes:
    """A handshake message."""
    return kind.to_bytes(1) + len(body).to_bytes(3) + body


def hello(
    *extensions: bytes,
    version: int = 0x0303,
    session: bytes = bytes(32),
    ciphers: bytes = CIPHERS,
    compression: bytes = b"\0",
    block: bool = True,
) -> bytes:
    """A ClientHello message; `block=False` leaves the extensions out altogether."""
    body = version.to_bytes(2) + bytes(range(32)) + vector8(session) + vector16(ciphers) + vector8(compression)
    return message(body + (vector16(b"".join(extensions)) if block else b""))


def plain_hello(name: bytes = b"www.example.test", *more: bytes) -> bytes:
    """What a client of TLS 1.3 sends, at its shortest."""
    return hello(server_name(name), supported_versions(0x0304, 0x0303), groups_and_signatures(), key_share(), *more)


def post_quantum_hello(name: bytes = b"www.example.test") -> bytes:
    """About what Chromium sends: GREASE, a key share of 1,216 bytes, ECH, ALPN; 1.8 KB."""
    return hello(
        extension(GREASE),
        extension(0xFE0D, bytes(186)),
        server_name(name),
        extension(23),
        alpn(b"h2", b"http/1.1"),
        supported_versions(GREASE, 0x0304, 0x0303),
        groups_and_signatures(),
        extension(51, vector16(b"\x11\xec" + vector16(bytes(1216)) + b"\0\x1d" + vector16(bytes(32)))),
        extension(45, b"\1\1"),
        extension(GREASE + 0x1010, b"\0"),
    )


def record(content: bytes, kind: int = HANDSHAKE, version: int = 0x0301) -> bytes:
    return kind.to_bytes(1) + version.to_bytes(2) + vector16(content)


def cut(content: bytes, places: Iterable[int]) -> list[bytes]:
    """The pieces of `content` between the places, none of them empty."""
    edges = [0, *sorted({place for place in places if 0 < place < len(content)}), len(content)]
    return [content[start:end] for start, end in pairwise(edges) if start < end]


def records(content: bytes, places: Iterable[int] = (), version: int = 0x0301) -> bytes:
    """The message in records that are cut at the places; none is longer than a record may be."""
    every = range(0, len(content), 16_384)
    return b"".join(record(piece, version=version) for piece in cut(content, {*places, *every}))


def openssl_flights(
    name: str | None, protocols: Sequence[str] = (), retry: bool = False, maximum: ssl.TLSVersion | None = None
) -> list[bytes]:
    """What a client of OpenSSL sends: its first hello and, when the server asks for a retry, its second flight."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if maximum is not None:
        context.maximum_version = maximum
    if protocols:
        context.set_alpn_protocols(list(protocols))
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(to_client, to_server, server_hostname=name)
    flights = [advance(client, to_server)]
    if retry:
        to_client.write(retry_request(flights[0]))
        flights.append(advance(client, to_server))
    return flights


def retry_request(flight: bytes) -> bytes:
    """The record of a server that wants another key share (RFC 8446 section 4.1.4)."""
    session = flight[44 : 44 + flight[43]]
    extensions = extension(43, b"\3\4") + extension(51, SECP521R1)
    body = b"\3\3" + sha256(b"HelloRetryRequest").digest() + vector8(session) + b"\x13\1\0" + vector16(extensions)
    return record(message(body, kind=2), version=0x0303)


def advance(side: ssl.SSLObject, out: ssl.MemoryBIO) -> bytes:
    """Let one side go on as far as it can; what it sends."""
    with suppress(ssl.SSLError):
        side.do_handshake()
    return out.read()


letters = st.sampled_from(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_*:[]~\x80\xff.")
names = (
    st.lists(letters, min_size=1, max_size=255)
    .map(bytes)
    .filter(
        lambda name: not name.endswith(b".") and b":" not in name  # behind a colon there may be a port
    )
)
places = st.lists(st.integers(1, 400), max_size=12)


def one_in(count: int) -> st.SearchStrategy[bool]:
    """True about once in so many draws, so that several odd things are seldom together."""
    return st.integers(1, count).map(lambda number: number == count)


@st.composite
def odd_server_name(draw: st.DrawFn, name: bytes) -> bytes:
    """A server_name extension that a server may read otherwise than we do."""
    variants = [
        server_name(name + b"."),
        server_name(name + b".."),
        server_name(name, b"other.example"),
        server_name(name, kind=1),
        extension(0, vector16(name_entry(b"x", 1) + name_entry(name))),
        server_name(),
        server_name(b""),
        server_name(name + b"\0.good.test"),
        server_name(name + b" "),
        server_name(b"a" * 256),
        extension(0),
        extension(0, vector16(name_entry(name)) + b"\0"),
        extension(0, vector16(name_entry(name) + b"\0")),
    ]
    return draw(st.sampled_from(variants))


ODD_EXTENSIONS = [
    alpn(b""),
    extension(16, b"\0\0"),
    supported_versions(),
    supported_versions(0x0302),
    extension(43, b"\3\3\4\0"),
    extension(42),
    extension(41, bytes(40)),
]
EVEN_EXTENSIONS = [
    alpn(b"h2", b"http/1.1"),
    supported_versions(0x0304, 0x0303),
    supported_versions(GREASE, 0x0303),
    extension(0xFE0D, bytes(40)),
    extension(GREASE, bytes(7)),
    extension(23),
    extension(21, bytes(300)),
]


@st.composite
def odd_messages(draw: st.DrawFn) -> bytes:
    """A hello whose extensions are right, odd or wrong, in any order; then perhaps damaged."""
    name = draw(names)
    chosen = draw(st.lists(st.sampled_from(EVEN_EXTENSIONS), max_size=3, unique=True))
    if not draw(one_in(8)):
        chosen.append(draw(odd_server_name(name)) if draw(one_in(3)) else server_name(name))
    if draw(one_in(8)):
        chosen.append(server_name(draw(names)))
    if draw(one_in(8)):
        chosen.append(draw(st.sampled_from(ODD_EXTENSIONS)))
    whole = hello(
        *draw(st.permutations([*chosen, groups_and_signatures(), key_share()])),
        version=draw(st.sampled_from([0x0301, 0x0302, 0x0304, 0x0200, 0x7F01])) if draw(one_in(6)) else 0x0303,
        session=bytes(33 if draw(one_in(12)) else draw(st.sampled_from([0, 32]))),
        compression=draw(st.sampled_from([b"\1\0", b"", b"\1"])) if draw(one_in(10)) else b"\0",
    )
    return draw(damaged(whole)) if draw(one_in(4)) else whole


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """A few bytes changed, put in or left out."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(content) - 1))
        how = draw(st.sampled_from(["change", "change", "insert", "delete"]))
        if how == "insert":
            content.insert(place, draw(st.integers(0, 255)))
        elif how == "delete":
            del content[place]
        else:
            content[place] = draw(st.integers(0, 255))
    return bytes(content)


STRANGERS = [
    record(b""),
    record(b"\1\x5a", ALERT),
    record(b"\1\0", ALERT),
    record(b"\1", CHANGE_CIPHER_SPEC),
    record(b"", APPLICATION_DATA),
    record(message(b"", kind=0)),
    record(plain_hello(b"second.example")),
]


@st.composite
def odd_streams(draw: st.DrawFn) -> bytes:
    """Records of a hello, perhaps with odd versions, among empty or foreign ones, or damaged."""
    version = draw(st.sampled_from([0x0303, 0x0300, 0x03FF, 0x0200, 0x1603])) if draw(one_in(4)) else 0x0301
    pieces = [record(piece, version=version) for piece in cut(draw(odd_messages()), draw(places))]
    while draw(one_in(4)):
        pieces.insert(draw(st.integers(0, len(pieces))), draw(st.sampled_from(STRANGERS)))
    stream = b"".join(pieces)
    return draw(damaged(stream)) if draw(one_in(8)) else stream

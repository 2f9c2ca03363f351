"""The lines between chunks: any cutting, and nothing that two servers read differently."""

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.request import chunked
from penstock.request import http_state as slots
from penstock.request.status import BAD, COMPLETE, NEED_MORE
from tests.request.http_reader import Chunk, ChunkReader, skip_chunks


def read(stream: bytes, first: bool = True) -> Chunk:
    return ChunkReader(first).see(stream)


def read_bytewise(stream: bytes, first: bool) -> Chunk:
    reader = ChunkReader(first)
    for end in range(len(stream) + 1):
        said = reader.see(stream[:end])
        if said.status != NEED_MORE:
            return said
    return said


chunk_lines = st.builds(
    lambda size, ext, end: size + ext + end,
    st.sampled_from([b"5", b"0", b"00", b"Ff", b"1" * 15, b"1" * 16, b"", b"0x5", b"+5", b" 5", b"5 ", b"g"]),
    st.sampled_from([b"", b"", b";", b";a=b", b";a= b", b';a="b"', b";\x80", b";a /b HTTP/1.1"]),
    st.sampled_from(
        [b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"\r\nX: y\r\n\r\n", b"\r\nHost: x\r\n\r\n", b"\r\n\n", b"\r\nX: y\n\r\n"]
    ),
)


@settings(max_examples=200, deadline=None)
@given(st.one_of(chunk_lines, st.binary(max_size=40)), st.booleans())
def test_any_cutting_reads_the_same(line: bytes, first: bool) -> None:
    stream = line if first else b"\r\n" + line
    assert read_bytewise(stream, first) == read(stream, first)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=30), max_size=5), st.booleans(), st.booleans())
def test_h11_finds_the_same_end(chunks: list[bytes], upper: bool, trailer: bool) -> None:
    body = b"".join((b"%X" if upper else b"%x") % len(chunk) + b"\r\n" + chunk + b"\r\n" for chunk in chunks)
    body += b"0\r\n" + (b"X: y\r\n" if trailer else b"") + b"\r\n"
    assert skip_chunks(body + b"GET", 0) == (COMPLETE, len(body))
    server = h11.Connection(h11.SERVER)
    server.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body + b"GET")
    while not isinstance(server.next_event(), h11.EndOfMessage):
        pass
    assert server.trailing_data[0] == b"GET"


REFUSED = [
    (b"\r\n5\r\n", slots.BAD_CHUNK_SIZE),
    (b"0x5\r\n", slots.BAD_CHUNK_SIZE),
    (b"+5\r\n", slots.BAD_CHUNK_SIZE),
    (b"5 \r\n", slots.BAD_CHUNK_SIZE),
    (b"5_0\r\n", slots.BAD_CHUNK_SIZE),
    (b"1" * 16, slots.BAD_CHUNK_SIZE),
    (b";a\r\n", slots.BAD_CHUNK_SIZE),
    (b"5\n", slots.BAD_CHUNK_END),
    (b"5\rx", slots.BAD_CHUNK_END),
    (b"5;a\n", slots.BAD_CHUNK_END),
    (b"5;a /b HTTP/1.1\r\n", slots.BAD_CHUNK_EXTENSION),
    (b'5;a="b\r\n', slots.BAD_CHUNK_EXTENSION),
    (b"5;\xa0\r\n", slots.BAD_CHUNK_EXTENSION),
    (b"0\r\nHost: x\r\n\r\n", slots.BAD_TRAILER),
    (b"0\r\nContent-length: x\r\n\r\n", slots.BAD_TRAILER),
    (b"0\r\nX: y\r\n z\r\n\r\n", slots.BAD_TRAILER),
    (b"0\r\nX : y\r\n\r\n", slots.BAD_TRAILER),
    (b"0\r\nGET / HTTP/1.1\r\n\r\n", slots.BAD_TRAILER),
    (b"0\r\nX: y\n\r\n", slots.BAD_TRAILER),
    (b"0\r\n\n", slots.BAD_TRAILER),
    (b"0\r\nX: \x00\r\n\r\n", slots.BAD_TRAILER),
    (b"5;" + b"a" * chunked.CHUNK_LINE_LIMIT, slots.BAD_CHUNK_LONG),
    (b"0\r\nX: " + b"a" * chunked.TRAILER_LIMIT, slots.BAD_TRAILER_LONG),
]


@pytest.mark.parametrize(("stream", "detail"), REFUSED)
def test_what_servers_read_differently_is_refused(stream: bytes, detail: int) -> None:
    assert read(stream)[:2] == (BAD, detail)


def test_what_a_chunk_line_says() -> None:
    assert read(b"1a;name=value\r\n") == Chunk(COMPLETE, 0, 15, 26)
    assert read(b"\r\nff\r\n", first=False) == Chunk(COMPLETE, 0, 6, 255)
    assert read(b"X\r\n", first=False)[:2] == (BAD, slots.BAD_CHUNK_END)
    assert read(b"\r\n0\r\n", first=False).status == NEED_MORE
    assert read(b"\r\n0\r\n\r\nGET", first=False) == Chunk(COMPLETE, 0, 7, 0)
    assert read(b"0\r\nX: y\r\n\r\n") == Chunk(COMPLETE, 0, 11, 0)
    assert read(b"F" * 15 + b"\r\n").chunk_bytes == 16**15 - 1

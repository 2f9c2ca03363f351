"""The HTTP reader under test: a stream in, what it says out; nothing but its memory may be touched."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from penstock.compile.memory import CHECKED, allow, forbid, take_fault
from penstock.compile.native import kernel
from penstock.request import chunked, http
from penstock.request.status import BAD, COMPLETE, NEED_MORE, NOT_MINE

read_request = kernel(http.read_request)
read_chunk = kernel(chunked.read_chunk)

TRUSTED = (b"POST", b"PUT", b"PATCH")


class Read(NamedTuple):
    """What the state says after a call."""

    status: int
    detail: int = 0
    hosts: tuple[bytes, ...] = ()
    method: bytes = b""
    target: bytes = b""
    path: bytes = b""
    head_end: int = 0
    body_kind: int = 0
    body_bytes: int = 0
    flags: int = 0
    version: int = 0


class Chunk(NamedTuple):
    status: int
    detail: int
    header_end: int
    chunk_bytes: int


@contextmanager
def lent(*arrays: np.ndarray) -> Iterator[None]:
    """These arrays, and nothing else, may be touched."""
    numbers = [allow(array.ctypes.data, array.ctypes.data + array.nbytes) for array in arrays if array.nbytes]
    try:
        yield
    finally:
        for number in numbers:
            forbid(number)
    if CHECKED:
        assert take_fault() is None


def place(stream: bytes) -> np.ndarray:
    """The stream at an address of its own, with a byte behind it that no reader may take for a part of it."""
    return np.frombuffer(stream + b"\n", np.uint8).copy()[: len(stream)]


class Reader:
    """A request's reader with its state; each `see` gives it the stream so far, at another address."""

    def __init__(self) -> None:
        self.state = np.zeros(http.STATE_BYTES // 8, np.int64)

    def slot(self, offset: int) -> int:
        return int(self.state[offset // 8])

    def see(self, stream: bytes, eof: bool = False) -> Read:
        room = place(stream)
        p = room.ctypes.data
        with lent(room, self.state):
            status = int(read_request(p, p + len(stream), int(eof), self.state.ctypes.data))
        detail = self.slot(http.STATUS_DETAIL)
        assert (detail != 0) == (status == BAD)
        assert detail == 0 or detail in http.DETAIL_TEXT
        spans = [http.HOST_SPANS + http.SPAN_STRIDE * n for n in range(self.slot(http.HOST_COUNT))]
        hosts = tuple(self.span(stream, at) for at in spans)
        if status != COMPLETE:
            return Read(status, detail, hosts)
        names = (http.METHOD_SPAN, http.TARGET_SPAN, http.PATH_SPAN)
        numbers = (http.HEAD_END, http.BODY_KIND, http.BODY_LENGTH_BYTES, http.FLAGS, http.VERSION)
        return Read(status, 0, hosts, *(self.span(stream, at) for at in names), *(self.slot(at) for at in numbers))

    def span(self, stream: bytes, at: int) -> bytes:
        off, size_bytes = self.slot(at + http.SPAN_OFF), self.slot(at + http.SPAN_BYTES)
        assert 0 <= off <= off + size_bytes <= len(stream)
        return stream[off : off + size_bytes]


class ChunkReader:
    """A chunk line's reader with its state."""

    def __init__(self, first: bool) -> None:
        self.first = first
        self.state = np.zeros(chunked.CHUNK_STATE_BYTES // 8, np.int64)

    def see(self, stream: bytes) -> Chunk:
        room = place(stream)
        p = room.ctypes.data
        with lent(room, self.state):
            status = int(read_chunk(p, p + len(stream), int(self.first), self.state.ctypes.data))
        detail, header_end, chunk_bytes = (int(self.state[slot]) for slot in range(3))
        assert (detail != 0) == (status == BAD)
        return Chunk(status, detail, header_end, chunk_bytes)


def read(stream: bytes, eof: bool = False) -> Read:
    return Reader().see(stream, eof)


def read_cut(stream: bytes, cuts: list[int], eof: bool = False) -> Read:
    """What the reader says when the stream comes in pieces that end at `cuts`."""
    reader = Reader()
    for cut in sorted(set(cuts) - {len(stream)}):
        said = reader.see(stream[:cut])
        if said.status != NEED_MORE:
            return said
    return reader.see(stream, eof)


class Connection(NamedTuple):
    """What a caller learns from a whole connection. Hosts in order, lower-case; `status` is the last request's."""

    status: int
    hosts: tuple[bytes, ...]
    requests: int
    detail: int = 0


def read_connection(stream: bytes, eof: bool = True) -> Connection:
    """Read request after request as the packet path does: bodies of POST, PUT and PATCH are skipped, others tried."""
    hosts: list[bytes] = []
    start = requests = 0
    while True:
        said = read(stream[start:], eof)
        hosts += [host.lower() for host in said.hosts]
        if said.status != COMPLETE:
            return Connection(said.status, tuple(hosts), requests, said.detail)
        requests += 1
        start += said.head_end
        if said.flags & http.BODY_TRUSTED and said.body_kind == http.BODY_LENGTH:
            start += said.body_bytes
        if said.flags & http.BODY_TRUSTED and said.body_kind == http.BODY_CHUNKED:
            status, start = skip_chunks(stream, start)
            if status != COMPLETE:
                return Connection(status, tuple(hosts), requests)
        if start >= len(stream):
            return Connection(NEED_MORE, tuple(hosts), requests)


def skip_chunks(stream: bytes, start: int) -> tuple[int, int]:
    """The status of the last chunk line, and where the message ends."""
    first = True
    while True:
        chunk = ChunkReader(first).see(stream[start:])
        if chunk.status != COMPLETE:
            return chunk.status, start
        start += chunk.header_end + chunk.chunk_bytes
        if chunk.chunk_bytes == 0:
            return COMPLETE, start
        first = False


def is_refused(said: Connection) -> bool:
    """Does the caller refuse the connection? Bytes that are no request where one must begin are refused as well."""
    return said.status == BAD or (said.status == NOT_MINE and said.requests > 0)


def judge_against(stream: bytes, said: Connection, hosts: list[bytes], requests: int) -> None:
    """The caller refuses, or knows every host that the server served (and that these bytes are requests at all)."""
    if is_refused(said):
        return
    assert set(hosts) <= set(said.hosts), (stream, said, hosts)
    assert said.status != NOT_MINE or requests == 0, (stream, said)

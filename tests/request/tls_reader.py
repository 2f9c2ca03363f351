"""The TLS reader under test: a stream in segments in, what the reader says out; nothing but its memory may be touched."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from penstock.compile.memory import CHECKED, allow, forbid, take_fault
from penstock.compile.native import kernel
from penstock.request import tls
from penstock.request.status import BAD, COMPLETE, NEED_MORE
from tests.hellos import cut

read_hello = kernel(tls.read_hello)


class Read(NamedTuple):
    status: int
    detail: int = 0
    host: bytes = b""
    alpn: bytes = b""
    versions: int = 0
    flags: int = 0
    record_version: int = 0
    hello_end: int = 0


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


class Reader:
    """A reader with its state; each `see` gives it the stream so far, at another address."""

    def __init__(self) -> None:
        self.state = np.zeros(tls.STATE_BYTES // 8, np.int64)
        self.scratch = np.zeros(tls.SCRATCH_BYTES, np.uint8)

    def slot(self, offset: int) -> int:
        return int(self.state[offset // 8])

    def see(self, stream: bytes) -> Read:
        self.room = room = np.frombuffer(stream + b"\xaa", np.uint8).copy()[:-1]
        p = room.ctypes.data
        with lent(room, self.state, self.scratch):
            status = read_hello(p, p + len(stream), self.state.ctypes.data, self.scratch.ctypes.data)
        detail = self.slot(tls.STATUS_DETAIL)
        assert (detail != 0) == (status == BAD)
        assert detail == 0 or detail in tls.DETAILS
        if status != COMPLETE:
            return Read(status, detail)
        return Read(
            status,
            detail,
            self.span(tls.HOST_AT, tls.HOST_LENGTH),
            self.span(tls.ALPN_AT, tls.ALPN_LENGTH),
            *(self.slot(offset) for offset in (tls.VERSIONS, tls.FLAGS, tls.RECORD_VERSION, tls.HELLO_END)),
        )

    def span(self, at: int, length: int) -> bytes:
        """The bytes that a pair of slots names; they must lie in the stream or in the scratch memory."""
        start, size = self.slot(at), self.slot(length)
        for place in (self.room, self.scratch):
            offset = start - place.ctypes.data
            if size and offset >= 0 and offset + size <= place.nbytes:
                return place[offset : offset + size].tobytes()
        assert (start, size) == (0, 0)
        return b""


def read(stream: bytes, places: Iterable[int] = ()) -> Read:
    """What the reader says when the stream arrives in segments; the last word, or the first one that is final."""
    reader, seen, result = Reader(), b"", Read(NEED_MORE)
    for segment in cut(stream, places):
        seen += segment
        result = reader.see(seen)
        if result.status != NEED_MORE:
            break
    return result

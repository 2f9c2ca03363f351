"""The head of a response: how many bytes it has, or that nobody can tell."""

import pytest

from penstock.compile.native import kernel
from penstock.request import response
from penstock.request.response import CONTINUES, FOREIGN, SWITCHES, UNKNOWN
from tests.answer.buffers import lend

read_response = kernel(response.read_response)


def read(stream: bytes, is_head: bool = False) -> int:
    """What the reader says of these first bytes; nothing else may be touched."""
    with lend(stream) as (p,):
        return int(read_response(p, p + len(stream), int(is_head)))


def test_plain_responses_have_a_size() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    assert read(head + b"hello") == len(head) + 5
    assert read(head, is_head=True) == len(head)
    assert read(b"http/1.0 304\n\n") == 14
    assert read(b"HTTP/1.1 100 Continue\r\n\r\n") == CONTINUES - 25
    assert read(b"HTTP/1.1 101 Switching Protocols\r\n") == SWITCHES
    assert read(b"RTSP/1.0 200 OK\r\n\r\n") == FOREIGN


@pytest.mark.parametrize(
    "stream",
    [
        b"HTTP/1.1 20",
        b"HTTP/1.1 101",  # a fourth digit may follow
        b"HTTP/1.1 1010\r\n\r\n",
        b"HTTP/1.1 0:1\r\n\r\n",  # bytes that add up to 101 when they are taken for digits
        b"HTTP/1.1OK\r\n\r\n",
        b"HTTP/1.1\t204 \r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_what_is_not_plain_is_not_known(stream: bytes) -> None:
    assert read(stream) == UNKNOWN
    assert read(stream, is_head=True) in (UNKNOWN, len(stream))

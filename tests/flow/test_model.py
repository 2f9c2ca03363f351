"""The model in small: no server acts for a refused host, and every healthy client gets through."""

import pytest

from penstock.compile.memory import CHECKED
from tests.flow.model import Model
from tests.flow.readers import read_http, read_tls
from tests.hellos import ALERT, CHANGE_CIPHER_SPEC, plain_hello, record

RUNS = 60 if CHECKED else 400


@pytest.mark.parametrize("seed", [1, 2])
def test_no_bypass_and_no_stall(seed: int) -> None:
    model = Model(seed)
    assert model.run(0, RUNS) == []
    assert model.tally["evaders that were refused"] > RUNS // 8
    assert model.tally["healthy clients"] == RUNS // 4


def test_the_http_reader_acts_for_what_is_whole() -> None:
    get = b"GET / HTTP/1.1\r\nHost: A.test.\r\n\r\n"
    post = b"POST http://b.test/x HTTP/1.1\r\nHost: b.test:80\r\nContent-Length: 3\r\n\r\nabc"
    assert read_http(get + post + get, False) == [b"a.test", b"b.test", b"b.test", b"a.test"]
    assert read_http(get[:-2], False) == []
    assert read_http(get[:-4], True) == [b"a.test"]
    chunked = b"PUT / HTTP/1.1\r\nHost: c\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    assert read_http(chunked + get, False) == [b"c", b"a.test"]
    assert read_http(chunked[:-5], False) == [b"c"]
    body = b"GET / HTTP/1.1\r\nHost: d\r\nContent-Length: %d\r\n\r\n" % len(get)
    assert read_http(body + get, False, takes_bodies=True) == [b"d"]
    assert read_http(body + get, False, takes_bodies=False) == [b"d", b"a.test"]
    assert read_http(b"\x16ET / HTTP/1.1\r\nHost: e\r\n\r\n", False) == []


def test_the_tls_reader_takes_one_hello_or_two() -> None:
    first, second = record(plain_hello(b"a.test")), record(plain_hello(b"b.test"))
    between = record(b"\1", CHANGE_CIPHER_SPEC)
    assert read_tls(first + second, False) == [b"a.test"]
    assert read_tls(first + between + second, False, retries=True) == [b"a.test", b"b.test"]
    assert read_tls(first + record(b"\1\x5a", ALERT) + second, False, retries=True) == [b"a.test"]
    assert read_tls(first[:-1], False) == []

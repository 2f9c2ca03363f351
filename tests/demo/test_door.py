"""The door hands bytes on both ways, says when a side is done, and closes with its block."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from urllib.parse import urlsplit

import pytest

from penstock.demo.door import Door


class Here:
    """A topology of which every place is here."""

    def inside(self, place: str) -> Any:
        return nullcontext()


@contextmanager
def answer_once() -> Iterator[int]:
    """A server that reads to the end of what is said, and says it back in capitals."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with listener.accept()[0] as talk:
                said = b""
                while piece := talk.recv(1000):
                    said += piece
                talk.sendall(said.upper())

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(10)
        assert not thread.is_alive()


def connect(door: Door) -> socket.socket:
    place = urlsplit(door.url)
    return socket.create_connection((place.hostname, place.port), 10)


def read_all(talk: socket.socket) -> bytes:
    got = b""
    while piece := talk.recv(1000):
        got += piece
    return got


def test_bytes_are_handed_on_and_the_end_is_too() -> None:
    with answer_once() as port, Door(Here(), "box", "127.0.0.1", port) as door, connect(door) as talk:
        talk.sendall(b"through ")
        talk.sendall(b"the door")
        talk.shutdown(socket.SHUT_WR)
        assert read_all(talk) == b"THROUGH THE DOOR"


def test_behind_its_block_it_is_closed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with Door(Here(), "box", "127.0.0.1", listener.getsockname()[1]) as door:
            talk = connect(door)
            far = listener.accept()[0]
        with talk, far:
            assert read_all(talk) == b""
            assert read_all(far) == b""
        with pytest.raises(OSError, match="refused"):
            connect(door)


def test_who_comes_in_while_it_closes_is_sent_away() -> None:
    is_closed, is_waiting = threading.Event(), threading.Event()

    class Slow:
        """Its places are reached when the door is closed."""

        @contextmanager
        def inside(self, place: str) -> Iterator[None]:
            is_waiting.set()
            is_closed.wait(10)
            yield

    with socket.create_server(("127.0.0.1", 0)) as listener:
        with Door(Slow(), "box", "127.0.0.1", listener.getsockname()[1]) as door:
            talk = connect(door)
            assert is_waiting.wait(10)
        is_closed.set()
        with talk, listener.accept()[0] as far:
            far.settimeout(10)
            assert read_all(talk) == b""
            assert read_all(far) == b""


def test_where_nobody_listens_the_visitor_is_sent_away() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with Door(Here(), "box", "127.0.0.1", port) as door, connect(door) as talk:
        assert read_all(talk) == b""

"""The threads of the portal process: none ends without the others hearing of it."""

import errno
import socket
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from penstock.portal import process as module
from penstock.portal.capture import Captures
from penstock.portal.schema import open_database


class StopError(BaseException):
    """What ends a loop that has no end."""


def stop(*_: object) -> None:
    raise StopError


@pytest.mark.parametrize("error", [IndexError("a descriptor is missing"), KeyError("number"), ValueError(), OSError()])
def test_who_hears_orders_no_more_serves_no_more(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Or it would keep the address when the control process is gone."""

    def hear(_: object) -> bool:
        raise error

    server: Any = SimpleNamespace(should_exit=False)
    monkeypatch.setattr(module.time, "sleep", lambda _: None)
    monkeypatch.setattr(module.os, "_exit", stop)
    with pytest.raises(StopError):
        module.serve_orders(SimpleNamespace(hear=hear), SimpleNamespace(follow=None), server)  # type: ignore[arg-type]
    assert server.should_exit


def test_what_is_old_is_looked_for_again_whatever_went_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []

    def forget() -> None:
        looks.append(1)
        raise PermissionError(errno.EROFS, "read-only")

    def sleep(_: float) -> None:
        if len(looks) == 3:
            raise StopError

    monkeypatch.setattr(module.time, "sleep", sleep)
    with pytest.raises(StopError):
        module.forget_old(SimpleNamespace(forget=forget))  # type: ignore[arg-type]


class FallenTap(socket.socket):
    """A packet socket whose interface goes down: packet(7), ENETDOWN."""

    def recv(self, *_: Any) -> bytes:
        raise OSError(errno.ENETDOWN, "the interface is down")


def test_a_recording_of_an_interface_that_goes_down_ends(tmp_path: Path) -> None:
    with closing(open_database(tmp_path / "portal.db")) as database:
        captures = Captures(database, tmp_path)
        captures.begin("home", "support", FallenTap(socket.AF_UNIX, socket.SOCK_DGRAM), time.time(), 1, 1_000_000)
        end_s = time.monotonic() + 20
        while captures.list_captures("home")[0].state == "running":
            assert time.monotonic() < end_s
            time.sleep(0.05)
        captures.check("home")

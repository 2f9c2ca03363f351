"""What the portal asks for, where whoever took it over asks: an answer or a no, never an end of the control process."""

import os
import socket
from types import SimpleNamespace
from typing import Any

import pytest

from penstock.control.portal import words as module
from penstock.control.portal.tap import PREFIX_LIMIT
from penstock.control.portal.words import PortalWords
from penstock.errors import PenstockError


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"prefixes": 5},
        {"prefixes": None},
        {"prefixes": "0.0.0.0/0"},
        {"prefixes": {"10.0.0.1": 1}},
        {"prefixes": [None]},
        {"prefixes": [["10.0.0.1"]]},
        {"prefixes": ["10.0.0.1"] * (PREFIX_LIMIT + 1)},
    ],
)
def test_a_tap_of_nonsense_is_refused(said: dict[str, Any]) -> None:
    run: Any = SimpleNamespace(pair=SimpleNamespace(ingress="lo"))
    with pytest.raises(PenstockError):
        PortalWords(run).answer("tap", said)


def test_a_word_that_is_none_is_refused() -> None:
    run: Any = SimpleNamespace()
    with pytest.raises(PenstockError):
        PortalWords(run).answer("stop", {})


def test_who_asks_for_taps_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[socket.socket] = []

    def open_tap(_: str, __: list[str]) -> socket.socket:
        made.append(socket.socket())
        return made[-1]

    now_s = [1000.0]
    monkeypatch.setattr(module, "open_tap", open_tap)
    monkeypatch.setattr(module.time, "monotonic", lambda: now_s[0])
    words: Any = PortalWords(SimpleNamespace(pair=SimpleNamespace(ingress="lo")))  # type: ignore[arg-type]
    said = {"prefixes": ["10.0.0.1"], "by": "x"}
    for _ in range(module.TAP_LIMIT):
        os.close(words.answer("tap", said)[1][0])
    with pytest.raises(PenstockError, match="too many"):
        words.answer("tap", said)
    assert len(made) == module.TAP_LIMIT
    now_s[0] += module.TAP_SPAN_S + 1
    os.close(words.answer("tap", said)[1][0])

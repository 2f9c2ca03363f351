"""What the portal asks for, where whoever took it over asks: an answer or a no, never an end of the control process."""

from types import SimpleNamespace
from typing import Any

import pytest

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

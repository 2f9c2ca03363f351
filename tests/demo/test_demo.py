"""What the demo expects of each request, and what it says where QUIC is not to be had."""

import pytest

from penstock.demo import demo
from penstock.demo.box import BLOCKED, GOOD
from penstock.demo.demo import Ask, find_obstacle, has_quic
from penstock.demo.topology import HOME, OFFICE


@pytest.mark.parametrize("scheme", ["http", "https", "quic"])
@pytest.mark.parametrize("family", [4, 6])
def test_only_home_is_refused_and_only_what_is_blocked(scheme: str, family: int) -> None:
    assert Ask(GOOD, scheme, HOME, family).expected == "site"
    for category, host in BLOCKED.items():
        assert Ask(host, scheme, OFFICE, family).expected == "site"
        page = "empty" if category == "advertising" else "page"
        assert Ask(host, scheme, HOME, family).expected == (page if scheme == "http" else "refused")


def test_without_the_library_there_is_no_quic(monkeypatch: pytest.MonkeyPatch) -> None:
    assert has_quic()
    monkeypatch.setattr(demo, "QUIC_LIBRARY", "no_such_library")
    assert not has_quic()
    assert "pip install" in demo.NO_QUIC
    assert "aioquic" not in find_obstacle(), "its absence is no obstacle"

"""The same through one and two VLAN tags, which answers must carry too."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.demo.box import GOOD
from penstock.demo.demo import Ask, send_request
from penstock.demo.servers import Certificate, read_log
from penstock.demo.topology import HOME, OFFICE, Subscriber
from tests.live.line import BAD, Line, build_line, live

pytestmark = live("curl", "openssl")


@pytest.fixture(scope="module", params=[(100,), (200, 100)], ids=["one-tag", "two-tags"])
def tagged(request: pytest.FixtureRequest, here: Path, pair: Certificate) -> Iterator[Line]:
    place = here / "-".join(map(str, request.param))
    place.mkdir()
    with build_line(place, pair, vlan=request.param) as found:
        yield found


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    ("host", "who"), [(GOOD, HOME), (BAD, HOME), (BAD, OFFICE)], ids=["good", "bad", "unprotected"]
)
def test_tagged_sites(tagged: Line, host: str, who: Subscriber, scheme: str, family: int) -> None:
    wanted = Ask(host, scheme, who, family)
    assert send_request(tagged.topology, wanted, tagged.pair) == wanted.expected
    entry = {"kind": "request", "host": host, "scheme": scheme, "client": who.address(family)}
    assert any(entry.items() <= found.items() for found in read_log(tagged.site)) == (wanted.expected == "site")


@pytest.mark.parametrize("vlan", [(100,), (300,)], ids=["in-scope", "in-another"])
def test_one_address_in_two_networks(here: Path, pair: Certificate, vlan: tuple[int, ...]) -> None:
    """OFFICE's address belongs to a protected subscriber in the network of VLAN 100, and to nobody elsewhere."""
    place = here / f"scope-{vlan[0]}"
    place.mkdir()
    north = {"id": "north", "prefixes": [f"{OFFICE.ipv4}/32"], "profile": "everything", "scope": 1}
    settings = {"scopes": {"north": {"number": 1, "vlans": ["100-199"]}}, "subscribers": [north]}
    with build_line(place, pair, vlan=vlan, **settings) as found:
        ask = Ask(BAD, "http", OFFICE, 4)
        got = send_request(found.topology, ask, found.pair)
        assert got == ("page" if vlan == (100,) else "site")
        assert bool(found.events(host=BAD, subscriber="north")) == (vlan == (100,))

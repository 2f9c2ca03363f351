"""Accounting packets through the decoder into a real register: who is where after them, in whatever order they come."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.control.configuration import Configuration
from penstock.control.subscribers.known import KnownSubscribers
from penstock.control.subscribers.model import Place
from penstock.control.subscribers.register import Register
from penstock.control.subscribers.settings_register import RegisterSettings
from penstock.control.subscribers.store import Store
from tests.control.subscribers.radius import NOW_S, address, build_decoder, build_request, prefix

START, STOP, INTERIM, ON = 1, 2, 3, 7
LEASE_S = 3600
DECODER = build_decoder(lease_s=LEASE_S)
HERE = {"Framed-IP-Address": "10.1.2.3"}


class Desk:
    """A register that hears packets; nothing of it is kept."""

    def __init__(self, here: Path) -> None:
        self.store = Store(here / "subscribers.db")
        self.known = KnownSubscribers(here / "subscribers.db")
        self.register = Register(self.store, RegisterSettings())
        self.register.sync_configuration(Configuration(), NOW_S)

    def hear(self, status: int, attributes: dict[str, Any], at_s: float = 0, stamp_s: float | None = None) -> None:
        """A packet that comes `at_s` seconds after NOW_S."""
        stamp = {} if stamp_s is None else {"Event-Timestamp": int(NOW_S + stamp_s)}
        decoded = DECODER.decode(
            build_request({"Acct-Status-Type": status, **stamp, **attributes}), "127.0.0.1", NOW_S + at_s
        )
        self.register.apply(decoded.events, NOW_S + at_s)

    def who(self, place: Place) -> str | None:
        found = self.known.find_by_address(place.address, place.port, place.scope)
        return found.id if found else None

    def close(self) -> None:
        self.known.close()
        self.store.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    found = Desk(tmp_path)
    yield found
    found.close()


def test_from_start_to_stop(desk: Desk) -> None:
    desk.hear(START, {**HERE, "Delegated-IPv6-Prefix": "2001:db8:1::/56"})
    assert desk.who(address("10.1.2.3")) == desk.who(prefix("2001:db8:1::/56")) == "34600111222"
    desk.hear(INTERIM, HERE, 10)
    assert desk.who(prefix("2001:db8:1::/56")) is None, "an update that names places names all of them"
    desk.hear(STOP, {}, 20)
    assert desk.who(address("10.1.2.3")) is None


def test_an_update_without_places_keeps_them_for_another_lease(desk: Desk) -> None:
    desk.hear(START, HERE)
    desk.hear(INTERIM, {}, LEASE_S - 10)
    desk.register.expire(NOW_S + LEASE_S + 10)
    assert desk.who(address("10.1.2.3")) == "34600111222"
    desk.register.expire(NOW_S + 2 * LEASE_S)
    assert desk.who(address("10.1.2.3")) is None


def test_blocks_come_and_go(desk: Desk) -> None:
    def block(first: int) -> dict[str, Any]:
        return {"Alc-Nat-Port-Range": f"203.0.113.1 {first}-{first + 511} router base"}

    first, second = address("203.0.113.1", 1024, 7), address("203.0.113.1", 2048, 7)
    desk.hear(START, block(1024))
    desk.hear(INTERIM, {**block(2048), "Alc-Acct-Triggered-Reason": 20}, 10)
    assert (desk.who(first), desk.who(second)) == ("34600111222", "34600111222")
    desk.hear(START, {**block(3072), "Acct-Session-Id": "0002", "Calling-Station-Id": "34600999999"}, 15)
    desk.hear(INTERIM, {**block(1024), "Alc-Acct-Triggered-Reason": 19}, 20)
    assert (desk.who(first), desk.who(second)) == (None, "34600111222")
    assert desk.who(address("203.0.113.1", 3072, 7)) == "34600999999"
    desk.hear(STOP, {}, 30)
    assert desk.who(second) is None


def test_a_nas_that_begins_anew_takes_its_sessions_along(desk: Desk) -> None:
    desk.hear(START, HERE)
    desk.hear(START, {"Framed-IP-Address": "10.1.2.4", "NAS-IP-Address": "192.0.2.2"})
    desk.hear(ON, {"Acct-Session-Id": None}, 10)
    desk.hear(START, {"Framed-IP-Address": "10.1.2.5", "Acct-Session-Id": "0009"}, 11)
    places = [address(f"10.1.2.{number}") for number in (3, 4, 5)]
    assert [desk.who(place) for place in places] == [None, "34600111222", "34600111222"]


PACKETS = [
    (START, {**HERE}, 0),
    (INTERIM, {**HERE}, 60),
    (STOP, {}, 120),
    (START, {**HERE, "Acct-Session-Id": "0002", "Calling-Station-Id": "34600999999"}, 180),
]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations([*PACKETS, *PACKETS[1:]]))
def test_the_order_of_arrival_does_not_matter(tmp_path_factory: pytest.TempPathFactory, order: list[Any]) -> None:
    desk = Desk(tmp_path_factory.mktemp("order"))
    try:
        for number, (status, attributes, stamp_s) in enumerate(order):
            desk.hear(status, attributes, 200 + number, stamp_s)
        assert desk.who(address("10.1.2.3")) == "34600999999"
    finally:
        desk.close()

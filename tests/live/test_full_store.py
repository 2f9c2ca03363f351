"""The register on a full disk: a batch is not applied and says so, and the same batch is taken when there is room."""

from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import pytest

from penstock.control.subscribers.known import KnownSubscribers
from penstock.control.subscribers.model import Assign
from penstock.control.subscribers.place_key import make_place
from penstock.control.subscribers.register import Register
from penstock.control.subscribers.schema import StoreFullError
from penstock.control.subscribers.settings_register import RegisterSettings
from penstock.control.subscribers.store import Store
from tests.live.line import live
from tests.live.test_full_disk import Disk

pytestmark = live()

NOW_S = 1_700_000_000.0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path / "disk")
    yield disk
    disk.unmount()


def make_batch(number: int) -> list[Assign]:
    numbers = range(number * 200, number * 200 + 200)
    places = [make_place(ip_network(f"10.0.{one >> 8}.{one & 255}")) for one in numbers]
    return [
        Assign("radius", str(one), f"subscriber {one}", (place,), NOW_S)
        for one, place in zip(numbers, places, strict=True)
    ]


def count_places(register: Register) -> int:
    return sum(len(numbers) for _, numbers in register.load_places())


def test_what_was_acknowledged_stays_and_the_rest_says_so(small_disk: Disk) -> None:
    path = small_disk.place / "subscribers.db"
    store = Store(path)
    register = Register(store, RegisterSettings())
    assert len(register.apply(make_batch(0), NOW_S).places) == 200
    with small_disk.full():
        for _ in range(3):
            with pytest.raises(StoreFullError, match=r"subscribers.db: no room on the disk .* nothing was changed"):
                register.apply(make_batch(1), NOW_S)
            assert count_places(register) == 200
        with KnownSubscribers(path) as known:  # who reads is not held up
            assert known.count() == (200, 200)
    assert sorted(register.apply(make_batch(1), NOW_S).places.values()) == list(range(201, 401))
    store.close()
    store = Store(path)
    assert count_places(Register(store, RegisterSettings())) == 400
    assert store.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    store.close()

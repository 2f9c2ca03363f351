"""The store's file: who may read it, what happens when it is damaged, newer, another program's, or written by two; and that
nothing of it is lost when its writer is killed."""

import os
import select
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import pytest

from penstock.control.configuration import Configuration, Profile
from penstock.control.subscribers import schema
from penstock.control.subscribers.choices import Choices
from penstock.control.subscribers.kept import KeptRegister
from penstock.control.subscribers.known import KnownSubscribers
from penstock.control.subscribers.model import Assign, Change, Event, Place, Release
from penstock.control.subscribers.place_key import make_place
from penstock.control.subscribers.register import Register
from penstock.control.subscribers.rows import Session
from penstock.control.subscribers.schema import StoreBusyError, StoreDamagedError, StoreError
from penstock.control.subscribers.settings_register import RegisterSettings
from penstock.control.subscribers.store import Store
from penstock.control.subscribers.terms import Terms
from tests.control.subscribers.model_register import ModelRegister
from tests.control.subscribers.test_register import read_places

NOW_S = 1_700_000_000.0
SETTINGS = RegisterSettings()
HERE = make_place(ip_network("10.1.2.3"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "subscribers.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    store = Store(path)
    yield store
    store.close()


def assign(number: int, at_s: float = NOW_S, *places: Place) -> Assign:
    return Assign("radius", str(number), f"subscriber {number}", places or (HERE,), at_s, None, None, "bng")


def write_once(path: Path) -> None:
    store = Store(path)
    try:
        Register(store, SETTINGS).apply([assign(7, NOW_S + 1)], NOW_S)
    finally:
        store.close()


def place(number: int) -> Place:
    return make_place(ip_network(f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"))


def test_nobody_else_may_read_it(store: Store, path: Path) -> None:
    Register(store, SETTINGS).apply([assign(1)], NOW_S)
    files = sorted(path.parent.iterdir())
    assert [file.name for file in files] == ["subscribers.db", "subscribers.db-shm", "subscribers.db-wal"]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_a_newer_one_is_left_alone(path: Path) -> None:
    Store(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version={schema.VERSION + 1}")
    connection.close()
    before = path.read_bytes()
    for open_it in (Store, KnownSubscribers):
        with pytest.raises(StoreError, match=r"subscribers.db: version 3 of the store, and this Penstock knows 2: .*"):
            open_it(path)
    assert path.read_bytes() == before


def make_version_1(path: Path) -> None:
    """A store as the version before wrote it."""
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE choices")
        connection.execute("DELETE FROM meta WHERE name IN ('has_devices', 'terms')")
        connection.execute("""INSERT INTO meta VALUES('terms', '[["red"], null, 4000]')""")
        connection.execute("PRAGMA user_version=1")
    connection.close()


def test_the_version_before_is_read_and_brought_up(path: Path) -> None:
    profiles = {"red": Profile(services=("web",))}
    services = {"web": {"categories": {"adult": "block"}}}
    configuration = Configuration(services=services, profiles=profiles)
    before = Store(path)
    register = Register(before, SETTINGS)
    register.sync_configuration(configuration, NOW_S)
    said = [Change("ann", NOW_S, "red"), Change("ann/tv", NOW_S, fail="closed"), assign(1)]
    register.apply(said, NOW_S)
    places = [numbers.tolist() for _, numbers in register.load_places()]
    before.close()
    make_version_1(path)

    def tell(register: Register | KeptRegister) -> dict[int, tuple[str | None, bool, frozenset[str]]]:
        found = {}
        for line, numbers in register.load_lines(NOW_S):
            found |= dict.fromkeys(numbers.tolist(), (line.profile, line.fails_closed, line.services))
        return found

    with KnownSubscribers(path) as known, KeptRegister(path, Terms.of(configuration)) as kept:
        ann, tv = known.find_subscriber("ann"), known.find_subscriber("ann/tv")
        assert ann is not None
        assert tv is not None
        assert (ann.line.profile, ann.choices.write(), tv.line.fails_closed) == ("red", "{}", True)
        assert tell(kept)[ann.number] == ("red", False, {"web"})
        assert list(kept.load_names(NOW_S)) == []
        store = Store(path)
        register = Register(store, SETTINGS)
        register.sync_configuration(configuration, NOW_S)
        assert store.connection.execute("PRAGMA user_version").fetchone() == (2,)
        assert tell(register)[tv.number] == ("red", True, {"web"})  # ann's device, which nobody knew before
        assert [numbers.tolist() for _, numbers in register.load_places()] == places
        register.apply([Change("ann", NOW_S, choices=Choices(deny=("x.test",), services={"web": False}))], NOW_S)
        assert tell(kept)[tv.number] == ("red", True, frozenset())  # it sees the table from now on
        assert {number for number, _, _ in kept.load_names(NOW_S)} == {ann.number, tv.number}
        store.close()


def test_another_programs_is_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE recipes(name)")
    connection.close()
    with pytest.raises(StoreError, match="another program's database"):
        Store(path)


def test_no_store_is_said(path: Path) -> None:
    with pytest.raises(StoreError, match="nobody is registered"):
        KnownSubscribers(path)
    with pytest.raises(StoreError, match="File exists"):
        Store(Path("/dev/null/subscribers.db"))


@pytest.mark.parametrize("what", ["head", "middle", "places"])
def test_a_damaged_one_is_said_with_its_cure(path: Path, what: str) -> None:
    store = Store(path)
    register = Register(store, SETTINGS)
    register.apply([assign(number, NOW_S, place(number)) for number in range(500)], NOW_S)
    store.close()
    content = bytearray(path.read_bytes())
    if what == "head":
        content[:64] = b"\xff" * 64
    else:
        content[schema.PAGE_BYTES * 5 :] = b"\xff" * (len(content) - schema.PAGE_BYTES * 5)
    if what == "places":
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE sessions SET places=x'05aabb'")
        connection.close()
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    with pytest.raises(StoreDamagedError, match=r"this file is damaged .*Move it aside, with subscribers.db-wal"):
        write_once(path)
    with pytest.raises(StoreDamagedError), KnownSubscribers(path) as known:
        known.find_subscriber("subscriber 7")
    assert path.read_bytes() == before


def test_a_second_writer_waits_and_sees_what_the_first_did(store: Store, path: Path) -> None:
    first, other = Register(store, SETTINGS), Store(path)
    second = Register(other, SETTINGS)
    assert first.apply([assign(1)], NOW_S).places
    (number,) = second.apply([assign(2, NOW_S + 1)], NOW_S).places.values()
    assert number == 2
    assert list(first.apply([assign(3, NOW_S + 2)], NOW_S).places.values()) == [3]
    store.connection.execute("PRAGMA busy_timeout=10")
    with other.write(), pytest.raises(StoreBusyError, match="another process writes"):
        first.apply([assign(4, NOW_S + 3)], NOW_S)
    assert list(first.apply([assign(4, NOW_S + 3)], NOW_S).places.values()) == [4]
    other.close()


def test_a_reader_sees_whole_batches(store: Store, path: Path) -> None:
    register = Register(store, SETTINGS)
    register.apply([assign(1)], NOW_S)
    with KnownSubscribers(path) as known:
        with store.write() as catalogue:
            store.connection.execute("DELETE FROM subscribers")
            found = known.find_subscriber("subscriber 1")  # at once, though a writer is at work
            assert found
            assert found.number == 1
            catalogue.find_code("x")
        assert known.find_subscriber("subscriber 1") is None


def test_an_error_in_a_batch_leaves_nothing_of_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    register = Register(store, SETTINGS)
    register.apply([assign(1)], NOW_S)
    before = read_places(register)

    def fail(session: Session) -> None:
        raise RuntimeError("in the middle of writing")

    with monkeypatch.context() as patch:
        patch.setattr(Session, "pack", fail)
        with pytest.raises(RuntimeError):
            register.apply([assign(number, NOW_S + 1, place(number)) for number in range(9)], NOW_S)
    assert read_places(register) == before
    assert register.subscriber_count == 1
    updates = register.apply([assign(5, NOW_S + 1, place(5))], NOW_S)
    assert list(updates.places.values()) == [2]


def test_what_is_malformed_is_said_and_the_rest_is_taken(store: Store) -> None:
    register = Register(store, SETTINGS)
    nan = float("nan")
    bad: list[Event] = [
        assign(1, nan),
        assign(1, -1.0),
        assign(1, float("inf")),
        assign(1, NOW_S, Place(0, bytes(15) + b"\1", 64)),
        assign(1, NOW_S, Place(2**32, bytes(16), 128)),
        Assign("radius", "\ud800", "ann", (), NOW_S),
        Assign("radius", "1", "", (HERE,), NOW_S),
        Assign("radius", "1", "a\nb", (HERE,), NOW_S),
        Assign("radius", "1", "\ud800", (HERE,), NOW_S),
        Assign("radius", "1", "a" * 254, (HERE,), NOW_S),
        Assign("radius", "1", "ann", (HERE,), NOW_S, nas="\0"),
        Assign("radius", "1", "ann", (HERE,), NOW_S, expires_s=nan),
        Release("radius", "1", nan),
        Change("ann", NOW_S, packets_per_s=-1),
        Change("ann", NOW_S, packets_per_s=10**12),
        Change("ann", NOW_S, paused_until_s=nan),
        Change("ann", NOW_S, profile=""),
    ]
    updates = register.apply([*bad, assign(2)], NOW_S)
    assert [report.kind for report in updates.reports] == ["malformed"] * len(bad)
    assert all("expected" in report.other or "surrogates" in report.other for report in updates.reports)
    assert updates.counts["malformed"] == len(bad)
    assert list(updates.places.values()) == [1]
    assert register.subscriber_count == 1


def test_less_capacity_than_numbers_is_refused(store: Store) -> None:
    settings = RegisterSettings.model_construct(capacity=8, addresses=1024, forget_days=9, default_profile=None)
    register = Register(store, settings)
    register.apply([assign(number, NOW_S, place(number)) for number in range(9)], NOW_S)
    assert register.subscriber_count == 6
    small = Configuration().model_copy(update={"subscriber_register": settings.model_copy(update={"capacity": 4})})
    with pytest.raises(StoreError, match=r"register.capacity: 4 is too little .* expected more than 7"):
        register.sync_configuration(small, NOW_S)
    assert register.subscriber_count == 6


WRITER = """
import sys
from pathlib import Path
from penstock.control.subscribers.register import Register
from penstock.control.subscribers.settings_register import RegisterSettings
from penstock.control.subscribers.store import Store
from penstock.control.subscribers.terms import Terms
from tests.control.subscribers.test_store import make_batch
register = Register(Store(Path(sys.argv[1])), RegisterSettings())
for number in range(int(sys.argv[2]), 10**9):
    register.apply(make_batch(number), 1_700_000_000.0)
    print(number, flush=True)
"""


def make_batch(number: int) -> list[Event]:
    """Each batch takes places of others, releases and sets something."""
    at_s = NOW_S + number
    events: list[Event] = [assign(number * 7 + one, at_s, place((number * 5 + one) % 400)) for one in range(20)]
    return [*events, Release("radius", str(number * 7 - 30), at_s), Change(f"subscriber {number % 50}", at_s, "red")]


def test_a_killed_writer_loses_no_batch_that_it_acknowledged(path: Path) -> None:
    model = ModelRegister(SETTINGS.capacity, SETTINGS.addresses, SETTINGS.forget_days)
    applied = 0
    for kill in range(3):
        command = [sys.executable, "-c", WRITER, path, str(applied)]
        writer = subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0)  # no line stays in a buffer of ours
        assert writer.stdout is not None
        acknowledged = applied - 1
        for _ in range(3 + 5 * kill):
            assert select.select([writer.stdout], [], [], 60)[0], "a writer that writes nothing"
            acknowledged = int(writer.stdout.readline())
        os.kill(writer.pid, signal.SIGKILL)
        rest, _ = writer.communicate(timeout=60)
        acknowledged = int(rest.split()[-1]) if rest.split() else acknowledged
        while applied <= acknowledged:
            model.apply(make_batch(applied), NOW_S)
            applied += 1
        store = Store(path)
        found = read_places(Register(store, SETTINGS))
        assert store.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        store.close()
        if found != places_of(model):  # the one that was on its way is there as a whole
            model.apply(make_batch(applied), NOW_S)
            applied += 1
            assert found == places_of(model)


def places_of(model: ModelRegister) -> dict[Place, int]:
    return {place: model.people[row.person].number for place, row in model.rows.items()}

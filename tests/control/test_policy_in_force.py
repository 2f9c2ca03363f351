"""What is in force stays so whatever fails, and is replaced whole; with a resolver that answers over UDP."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import AF_INET, SOCK_DGRAM, socket

import dns.message
import dns.rdatatype
import dns.rrset
import pytest
from structlog.testing import capture_logs

from penstock.control.configuration import load_configuration
from penstock.control.guard import Guard
from penstock.control.policy_in_force import PolicyInForce
from penstock.hooks.filters import Filter
from penstock.path.memory import SharedMemory
from penstock.policy.layout import FILTERS_COUNT

RELOAD_S = 60.0
ELSEWHERE = "192.0.2.99"


@dataclass
class Resolver:
    """Answers every question for an address with the same one."""

    port: int
    address: str = "192.0.2.1"


@contextmanager
def start_resolver() -> Iterator[Resolver]:
    with socket(AF_INET, SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        resolver = Resolver(listening.getsockname()[1])

        def answer() -> None:
            while asked := listening.recvfrom(4096):
                content, client = asked
                if not content:
                    return
                told = dns.message.make_response(dns.message.from_wire(content))
                question = told.question[0]
                if question.rdtype == dns.rdatatype.A:
                    told.answer.append(dns.rrset.from_text(question.name, 60, "IN", "A", resolver.address))
                listening.sendto(told.to_wire(), client)

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield resolver
        finally:
            listening.sendto(b"", listening.getsockname())
            thread.join()


@pytest.fixture
def resolver() -> Iterator[Resolver]:
    with start_resolver() as started:
        yield started


def write(directory: Path, port: int, **more: object) -> Path:
    path = directory / "penstock.yaml"
    (directory / "list.txt").write_text("bad.example\n")
    settings = {
        "services": {"web": {"categories": {"phishing": "block"}}},
        "lists": [{"category": "phishing", "path": "list.txt"}],
        "profiles": {"safe": {"services": ["web"], "safe_search": "strict"}},
        "subscribers": [{"id": "home", "prefixes": ["10.0.0.1/32"], "profile": "safe"}],
        "dns": {"resolvers": ["127.0.0.1"], "resolver_port": port},
        "database": "names.db",
    }
    path.write_text(json.dumps(settings | more))
    return path


@pytest.fixture
def policy(tmp_path: Path, resolver: Resolver) -> Iterator[PolicyInForce]:
    path = write(tmp_path, resolver.port)
    made = PolicyInForce(path, load_configuration(path), Guard(SharedMemory(1)))
    made.hold("a-b", "a-b.heir")
    made.open(pair="a-b")
    yield made
    made.snapshot.close()
    made.release()
    assert list(tmp_path.glob("names.db.*")) == []


def test_a_names_database_of_another_version_is_built_anew(tmp_path: Path, resolver: Resolver) -> None:
    path = write(tmp_path, resolver.port)
    (tmp_path / "names.db").write_bytes(b"PENNAMS\x01" + b"\x01" + bytes(200))
    made = PolicyInForce(path, load_configuration(path), Guard(SharedMemory(1)))
    made.hold("a-b", None)
    made.open(pair="a-b")
    assert made.snapshot.name_count == 1
    made.snapshot.close()
    made.release()


def addresses(policy: PolicyInForce) -> set[str]:
    return {str(address) for found in policy.targets.values() for address in found}


def count(policy: PolicyInForce) -> list[int]:
    """The generations that somebody was told to take from now on."""
    taken: list[int] = []
    policy.reload(lambda *_: {})
    end_s = time.monotonic() + RELOAD_S
    while policy.is_busy:
        policy.renew(lambda: taken.append(policy.snapshot.generation))
        assert time.monotonic() < end_s
        time.sleep(0.01)
    return taken


def test_addresses_that_moved_are_taken_once(policy: PolicyInForce, resolver: Resolver) -> None:
    policy.look_for_targets()
    assert addresses(policy) == {"192.0.2.1"}
    taken: list[int] = []
    policy.renew(lambda: taken.append(policy.snapshot.generation))
    assert taken == [], "nothing moved"
    resolver.address = ELSEWHERE
    policy.look_for_targets()
    for _ in range(2):
        policy.renew(lambda: taken.append(policy.snapshot.generation))
    assert (taken, addresses(policy)) == ([2], {ELSEWHERE})


def test_a_snapshot_that_cannot_be_made_leaves_what_was_in_force(policy: PolicyInForce, resolver: Resolver) -> None:
    """As with a names database that somebody damaged; the next look finds the addresses again."""
    assert policy.names is not None
    before, whole = policy.snapshot, policy.names.path.read_bytes()
    resolver.address = ELSEWHERE
    policy.look_for_targets()
    damaged = policy.names.path.with_name("damaged")
    damaged.write_bytes(whole[:-8])
    damaged.replace(policy.names.path)  # another file under the name: what is mapped is whole
    taken: list[int] = []
    with capture_logs() as logs:
        policy.renew(lambda: taken.append(policy.snapshot.generation))
    assert [(entry["log_level"], "damaged" in entry["error"]) for entry in logs] == [("error", True)]
    assert (taken, policy.snapshot is before, addresses(policy)) == ([], True, {"192.0.2.1"})
    policy.names.path.write_bytes(whole)
    policy.look_for_targets()
    policy.renew(lambda: taken.append(policy.snapshot.generation))
    assert (len(taken), addresses(policy)) == (1, {ELSEWHERE})


def test_addresses_of_a_configuration_before_are_not_taken(
    policy: PolicyInForce, resolver: Resolver, tmp_path: Path
) -> None:
    write(tmp_path, resolver.port, profiles={"safe": {"services": ["web"]}})
    policy.reload(lambda *_: {})
    before, end_s = policy.configuration, time.monotonic() + RELOAD_S
    while policy.configuration is before:
        resolver.address = f"192.0.2.{policy.generation + 100}"  # another one whenever they are looked for
        policy.look_for_targets()
        policy.renew(lambda: None)
        assert time.monotonic() < end_s
    assert policy.targets == {}


@pytest.mark.parametrize("damage", ["not: [a configuration", None])
def test_a_reload_that_fails_leaves_what_was_in_force(
    policy: PolicyInForce, tmp_path: Path, damage: str | None
) -> None:
    before = policy.snapshot, policy.configuration, policy.targets
    if damage is None:
        (tmp_path / "list.txt").unlink()
    else:
        policy.path.write_text(damage)
    with capture_logs() as logs:
        assert count(policy) == []
    assert [entry["event"] for entry in logs] == ["not reloaded: what was in force stays"]
    assert (policy.snapshot, policy.configuration, policy.targets) == before


def test_settings_that_need_a_start_are_told(policy: PolicyInForce, resolver: Resolver, tmp_path: Path) -> None:
    write(tmp_path, resolver.port, flows={"capacity": 1024}, ports=[80])
    with capture_logs() as logs:
        assert count(policy) == [2]
    assert [entry.get("settings") for entry in logs] == [["flows"], None]
    assert policy.configuration.flows.capacity == 262_144
    assert policy.configuration.port_bits.count(0) == 8191


def count_filters(policy: PolicyInForce) -> int:
    return policy.snapshot._policy.word(FILTERS_COUNT)


def test_filters_of_hooks_are_taken_once(policy: PolicyInForce, resolver: Resolver) -> None:
    taken: list[int] = []
    for filters in ((Filter(),), (Filter(),), (), (Filter(), Filter.declare(ports=80))):
        policy.ask_about(filters)
        policy.renew(lambda: taken.append(policy.snapshot.generation))
        assert count_filters(policy) == len(filters)
    assert taken == [2, 3, 4]
    assert count(policy) == [5]
    assert count_filters(policy) == 2, "they outlive a reload"


def test_filters_without_a_page_are_tried_once_for_each_configuration(
    policy: PolicyInForce, resolver: Resolver, tmp_path: Path
) -> None:
    (tmp_path / "page.html").write_text("{{ reference }}" + "{{ reason }}" * 4)
    write(tmp_path, resolver.port, page={"template": "page.html"})
    assert count(policy) == [2]
    taken: list[int] = []
    with capture_logs() as logs:
        for _ in range(3):
            policy.ask_about((Filter(),))
            policy.renew(lambda: taken.append(policy.snapshot.generation))
    assert (taken, len(logs), count_filters(policy)) == ([], 1, 0)
    assert "page: a response of" in logs[0]["error"]
    write(tmp_path, resolver.port)
    assert len(count(policy)) == 1
    policy.ask_about((Filter(),))
    policy.renew(lambda: taken.append(policy.snapshot.generation))
    assert (len(taken), count_filters(policy)) == (1, 1)

"""Feeds of a policy in force: what is taken, what is refused and changes nothing, what a start finds; a real server."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from penstock.control.configuration import load_configuration
from penstock.control.guard import Guard
from penstock.control.lists.feed_cache import read_record
from penstock.control.policy_in_force import PolicyInForce
from penstock.path import sample as s
from penstock.path.memory import SharedMemory
from penstock.policy import names
from penstock.policy.layout import profile_tag
from tests.control.lists.feed_server import Site, start_site
from tests.policy.worlds import compiled, readable, span

RENEWED_S = 60.0
PHISHING, ADS = "/phishing.txt", "/ads.txt"
BASE = b"".join(b"n%d.example\n" % number for number in range(100))


@pytest.fixture
def site() -> Iterator[Site]:
    with start_site() as started:
        started.serve(PHISHING, BASE)
        started.serve(ADS, BASE)
        yield started


def write(directory: Path, site: Site, **more: Any) -> Path:
    path = directory / "penstock.yaml"
    (directory / "own.txt").write_text("own.example\n")
    settings = {
        "services": {"web": {"categories": {"phishing": "block", "ads": "empty"}}},
        "feeds": {"directory": "feeds", "timeout_s": 20},
        "lists": [
            {"category": "phishing", "path": "own.txt"},
            {"category": "phishing", "url": site.url + PHISHING, "every_s": 3600, "max_bytes": 1_000_000},
            {"category": "ads", "url": site.url + ADS, "every_s": 3600},
        ],
        "profiles": {"safe": {"services": ["web"]}},
        "subscribers": [{"id": "home", "prefixes": ["10.0.0.1/32"], "profile": "safe"}],
        "guard": {"requests": 10},
        "database": "names.db",
    }
    path.write_text(json.dumps(settings | more))
    return path


@contextmanager
def start(path: Path) -> Iterator[PolicyInForce]:
    policy = PolicyInForce(path, load_configuration(path), Guard(SharedMemory(1)))
    policy.hold("a-b", "a-b.heir")
    policy.open(pair="a-b")
    try:
        yield policy
    finally:
        policy.snapshot.close()
        policy.release()


def settle(policy: PolicyInForce) -> int:
    """Go on until nothing is under way. Returns how many snapshots were taken."""
    taken: list[int] = []
    end_s = time.monotonic() + RENEWED_S
    while True:
        policy.renew(lambda: taken.append(policy.snapshot.generation))
        if not policy.is_busy:
            return len(taken)
        assert time.monotonic() < end_s
        time.sleep(0.01)


def fetch(policy: PolicyInForce, *paths: str) -> int:
    """Fetch feeds, and go on until nothing is under way."""
    for state in list(policy.feeds.states.values()):
        if any(state.feed.url.endswith(path) for path in paths):
            policy.feeds.attempt(state)
    taken = settle(policy)
    policy.feeds.write_taken()
    return taken


def is_listed(policy: PolicyInForce, host: bytes) -> bool:
    text = span(host)
    with readable(text) as (at,):
        return bool(compiled(names.find_categories)(policy.snapshot.names_address, at, len(host)))


def record_of(policy: PolicyInForce, path: str) -> Any:
    (state,) = [state for state in policy.feeds.states.values() if state.feed.url.endswith(path)]
    return state.record


def ask_for(policy: PolicyInForce, host: str, count: int) -> None:
    """The last hour has requests for a host."""
    sample = np.zeros(s.SAMPLE_BYTES, np.uint8)
    sample[: s.SAMPLE_SERVICES].view(np.uint32)[:] = 1, profile_tag("safe")
    sample[s.SAMPLE_HOST_BYTES : s.SAMPLE_HOST].view(np.int64)[0] = len(host)
    sample[s.SAMPLE_HOST : s.SAMPLE_HOST + len(host)] = np.frombuffer(host.encode(), np.uint8)
    policy.guard.drain(time.monotonic())
    for _ in range(count):
        policy.guard.last_hour.add(sample)
    policy.guard.last_hour.count(count)


def test_a_first_start_fetches_and_a_new_version_is_taken(site: Site, tmp_path: Path) -> None:
    with start(write(tmp_path, site)) as policy:
        assert (tmp_path / "feeds").stat().st_mode & 0o777 == 0o700
        assert is_listed(policy, b"n7.example")
        assert is_listed(policy, b"own.example")
        assert settle(policy) == 0, "what is in force is what is on the disk"
        assert fetch(policy, PHISHING, ADS) == 0, "nothing is new"
        assert record_of(policy, PHISHING).entries == 100

        site.serve(PHISHING, BASE.replace(b"n7.", b"m7.") + b"more.example\nnot a name\n")
        with capture_logs() as logs:
            assert fetch(policy, PHISHING, ADS) == 1
        assert is_listed(policy, b"m7.example")
        (told,) = [entry for entry in logs if entry["event"] == "feed taken" and entry["category"] == "phishing"]
        counted = {key: told[key] for key in ("entries", "added", "removed", "bad_lines", "url")}
        url = site.url + PHISHING
        assert counted == {"entries": 101, "added": 2, "removed": 1, "bad_lines": 1, "url": url}
        assert fetch(policy, PHISHING) == 0
        assert list(tmp_path.glob("names.db.*.building")) == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (BASE[: len(BASE) // 3], "it lost 66% of its entries (100 before, 34 now), and `lost_share` is 0.5"),
        (b"", "it lost 100% of its entries (100 before, 0 now), and `lost_share` is 0.5"),
        (
            b"?? error\n" * 20 + b"a.example\n",
            "not a list: 20 lines cannot be read (line 1: expected an address, then names)",
        ),
        (b"x" * 1_000_001, "too big: 1,000,001 bytes are announced, and `max_bytes` is 1,000,000"),
    ],
)
def test_what_is_refused_changes_nothing_and_is_told(site: Site, tmp_path: Path, content: bytes, reason: str) -> None:
    with start(write(tmp_path, site)) as policy:
        before = policy.snapshot
        site.serve(PHISHING, content)
        site.serve(ADS, BASE + b"other.example\n")
        with capture_logs() as logs:
            assert fetch(policy, PHISHING) == 0
        assert policy.snapshot is before
        assert [(entry["event"], entry["reason"]) for entry in logs] == [
            ("feed refused: what was in force stays", reason)
        ]
        state = next(iter(policy.feeds.states.values()))
        assert (state.counts["refused"], state.record.refused, state.record.failures) == (1, reason, 1)
        assert state.due_s < time.time() + 70, "it is tried again soon"
        assert read_record(state.feed).refused == reason
        assert fetch(policy, ADS) == 1, "the other one goes on"
        assert is_listed(policy, b"n7.example")
        assert is_listed(policy, b"other.example")
        site.serve(PHISHING, BASE + b"more.example\n")
        assert fetch(policy, PHISHING) == 1
        assert record_of(policy, PHISHING).refused == ""


def test_a_start_without_network_takes_what_is_on_the_disk(site: Site, tmp_path: Path) -> None:
    path = write(tmp_path, site)
    with start(path):
        pass
    asked = len(site.asked)
    site.answers.clear()
    (tmp_path / "names.db").unlink()
    with start(path) as policy:
        assert is_listed(policy, b"n7.example")
        assert len(site.asked) == asked
        fetch(policy, PHISHING)
        assert record_of(policy, PHISHING).refused == "the server says 404 Not Found"
        assert is_listed(policy, b"n7.example")


def test_a_first_start_without_network_goes_on_without_the_list(site: Site, tmp_path: Path) -> None:
    del site.answers[PHISHING]
    with start(write(tmp_path, site)) as policy:
        assert is_listed(policy, b"own.example")
        assert not is_listed(policy, b"more.example")
        site.serve(PHISHING, BASE + b"more.example\n")
        assert fetch(policy, PHISHING) == 1
        assert is_listed(policy, b"more.example")


def test_a_list_that_was_there_is_not_lost_with_its_file(site: Site, tmp_path: Path) -> None:
    with start(write(tmp_path, site)) as policy:
        for found in (tmp_path / "feeds").glob("*phishing.txt"):
            found.unlink()
        policy.reload(lambda *_: {})
        with capture_logs() as logs:
            assert settle(policy) == 0
        assert "it is in force, and has gone" in logs[0]["error"]
        assert is_listed(policy, b"n7.example")
        assert fetch(policy, PHISHING) == 1, "it is fetched again, whatever its record says"
        policy.reload(lambda *_: {})
        assert settle(policy) == 1


def test_a_feed_that_would_refuse_too_much_is_not_taken_and_another_is(site: Site, tmp_path: Path) -> None:
    with start(write(tmp_path, site)) as policy:
        ask_for(policy, "www.good.example", 100)
        site.serve(PHISHING, BASE + b"good.example\n")
        site.serve(ADS, BASE + b"other.example\n")
        with capture_logs() as logs:
            assert fetch(policy, PHISHING, ADS) == 1, "not both together, nor one of them, but the other one"
            end_s = time.monotonic() + RENEWED_S
            while not any("good.example (100 requests" in str(entry) for entry in logs):
                assert time.monotonic() < end_s, logs
                time.sleep(0.05)
        assert not is_listed(policy, b"www.good.example")
        assert is_listed(policy, b"other.example")
        assert record_of(policy, PHISHING).refused.startswith("it would refuse 100.00% of the last hour's 100 requests")
        assert record_of(policy, ADS).refused == ""
        write(tmp_path, site, guard={"share": 1.0})
        policy.reload(lambda *_: {})
        assert settle(policy) == 1
        (state,) = [state for state in policy.feeds.states.values() if state.feed.url.endswith(PHISHING)]
        assert state.due_s <= time.time(), "a reload has what was refused tried again"
        assert fetch(policy, PHISHING) == 1
        assert is_listed(policy, b"www.good.example")


def test_what_another_process_fetched_is_built(site: Site, tmp_path: Path) -> None:
    path = write(tmp_path, site)
    with start(path) as policy, start(path) as other:
        site.serve(PHISHING, BASE + b"more.example\n")
        assert fetch(other, PHISHING) == 1
        assert not is_listed(policy, b"more.example")
        assert fetch(policy, PHISHING) == 1
        assert is_listed(policy, b"more.example")
        assert site.count(PHISHING) == 3


def test_one_address_for_two_categories_is_fetched_once(site: Site, tmp_path: Path) -> None:
    url = site.url + ADS
    lists = [{"category": "phishing", "url": url}, {"category": "ads", "url": url, "match": "exact"}]
    with start(write(tmp_path, site, lists=lists)) as policy:
        assert site.count(ADS) == 1
        assert [counts.category for counts in record_of(policy, ADS).counts] == ["phishing", "ads"]


def test_a_damaged_record_is_none(site: Site, tmp_path: Path) -> None:
    path = write(tmp_path, site)
    with start(path):
        pass
    for found in (tmp_path / "feeds").glob("*.json"):
        found.write_text('{"counts": [], "strange": 1}')
    with start(path) as policy:
        assert record_of(policy, ADS).etag == ""
        assert fetch(policy, ADS, PHISHING) in (0, 1)
        assert record_of(policy, ADS).etag != ""

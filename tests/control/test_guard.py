"""The guard against a plain-Python model, and the way of a request from the path to it."""

from collections import Counter

import dns.message
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.control.guard import Guard, GuardError, find_change, word_finding
from penstock.control.last_hour import KEPT_LIMIT, LastHour
from penstock.control.subscribers.fixed import FixedOwners
from penstock.kernel.tables import UP_OWNER
from penstock.line.directory import MAPPED_DTYPE
from penstock.path import sample as s
from penstock.path.memory import SAMPLES_OFF, SharedMemory
from penstock.policy.layout import profile_tag
from tests.hellos import plain_hello, record
from tests.path.boxes import LISTS, SETTINGS, Box, Conversation, policy, request
from tests.path.boxes import owners as path_owners
from tests.policy.worlds import compiled, readable, span, world
from tests.quic import crypto, datagram, initial
from tests.quic import hello as quic_hello
from tests.vocabulary import TO_SERVER, Flow

HOSTS = ["a.test", "www.a.test", "b.test", "c.b.test", "d.test"]
PROFILES = {"all": ["web", "ads"], "web": ["web"], "none": []}
PREFIXES = ["10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16", "fd00::/16"]
SERVICES = {
    "web": {"categories": {"phishing": "block", "strange": "report"}},
    "ads": {"categories": {"advertising": "empty"}},
}
CATEGORIES = ["phishing", "strange", "advertising"]

lists = st.fixed_dictionaries({name: st.sets(st.sampled_from(HOSTS), max_size=2) for name in CATEGORIES})
owners = st.lists(st.sampled_from(list(PROFILES)), min_size=len(PREFIXES), max_size=len(PREFIXES))
policies = st.tuples(lists, owners, st.sampled_from([False, False, False, True]))
requests = st.lists(st.tuples(st.integers(0, 80), st.integers(0, 3), st.sampled_from(HOSTS)), max_size=60)


def make_sample(number: int, profile: str, host: str) -> np.ndarray:
    made = np.zeros(s.SAMPLE_BYTES, np.uint8)
    made[: s.SAMPLE_SERVICES].view(np.uint32)[:] = number, profile_tag(profile)
    made[s.SAMPLE_SERVICES : s.SAMPLE_HOST_BYTES].view(np.uint64)[:] = 0  # he chose nothing beside his profile
    made[s.SAMPLE_HOST_BYTES : s.SAMPLE_HOST].view(np.int64)[0] = len(host)
    made[s.SAMPLE_HOST : s.SAMPLE_HOST + len(host)] = np.frombuffer(host.upper().encode(), np.uint8)
    return made


def find_moves(in_force: np.ndarray, wanted: np.ndarray) -> dict[int, int]:
    """Who gets another profile by `wanted` (LINE_DTYPE) than by the lines `in_force`: his number, and its tag."""
    old = in_force["profile"][wanted["number"]]
    return {int(row["number"]): int(row["profile"]) for row in wanted[old != wanted["profile"]] if row["number"]}


def describe(chosen: tuple) -> tuple[dict, dict]:
    """The settings and lists of a policy."""
    names, owned, report_only = chosen
    subscribers = [
        {"id": f"s {at}", "prefixes": [at], "profile": profile} for at, profile in zip(PREFIXES, owned, strict=False)
    ]
    profiles = {name: {"services": services} for name, services in PROFILES.items()}
    wanted = {"services": SERVICES, "profiles": profiles, "subscribers": subscribers, "report_only": report_only}
    return wanted, {name: "".join(f"{host}\n" for host in hosts) for name, hosts in names.items()}


def refuses(chosen: tuple, client: int, host: str) -> str | None:
    """The category by which a policy refuses a request, by the rules in words."""
    names, owned, report_only = chosen
    profile = owned[client]
    for service, category in (("web", "phishing"), ("ads", "advertising")):
        covered = any(host == name or host.endswith(f".{name}") for name in names[category])
        if service in PROFILES[profile] and covered and not report_only:
            return category
    return None


@settings(max_examples=60, deadline=None)
@given(policies, policies, requests)
def test_the_finding_is_the_model_s(before: tuple, after: tuple, asked: list) -> None:
    hour, minute = LastHour(), 100
    counted: list[tuple[int, int, str]] = []
    for passed, client, host in asked:
        minute += passed // 60  # a minute now and then
        hour.begin_minute(minute)
        hour.add(make_sample(client + 1, before[1][client], host))
        hour.count(1)
        counted.append((minute, client, host))
    young = [(client, host) for at, client, host in counted if at > minute - 60]
    newly = [
        (host, category, client)
        for client, host in young
        if (category := refuses(after, client, host)) and not refuses(before, client, host)
    ]
    with world(*describe(before)) as old, world(*describe(after)) as new:
        lines = np.zeros(8, MAPPED_DTYPE)
        rows = FixedOwners(old.configuration).lines()
        lines["profile"][rows["number"]] = rows["profile"]
        moves = find_moves(lines, FixedOwners(new.configuration).lines())
        finding = find_change(hour, old.snapshot, new.snapshot, moves)
    assert (finding.requests, finding.refused) == (len(young), len(newly))
    assert finding.share == (len(newly) / len(young) if young else 0)
    assert finding.categories == Counter(category for _, category, _ in newly)
    times = Counter((host, category) for host, category, _ in newly)
    clients = {(host, category, client) for host, category, client in newly}
    assert sorted(finding.names) == sorted(
        (host, count, sum(one[:2] == (host, category) for one in clients), category)
        for (host, category), count in times.items()
    )
    assert [name[1] for name in finding.names] == sorted(times.values(), reverse=True)


@pytest.mark.parametrize(
    ("share", "requests_", "is_refused"), [(0.2, 10, True), (0.3, 10, False), (0.2, 11, False), (1, 1, False)]
)
def test_a_change_that_is_too_much_is_named(share: float, requests_: int, is_refused: bool) -> None:
    nothing = ({name: set() for name in CATEGORIES}, ["all"], False)
    ads = ({**nothing[0], "advertising": {"a.test"}}, *nothing[1:])
    guard = Guard(SharedMemory(1))
    guard.drain(60.0)
    for number in range(10):
        guard.last_hour.add(make_sample(number, "all", "www.a.test" if number < 3 else "b.test"))
    guard.last_hour.count(10)
    wanted, texts = describe(ads)
    with (
        world(*describe(nothing)) as old,
        world({**wanted, "guard": {"share": share, "requests": requests_}}, texts) as new,
    ):
        if not is_refused:
            guard.check(old.snapshot, new.snapshot, new.configuration)
            assert (guard.refusals, guard.is_held, guard.share) == (0, False, 0.3)
            return
        with pytest.raises(GuardError) as caught:
            guard.check(old.snapshot, new.snapshot, new.configuration)
        assert word_finding(caught.value.finding, new.configuration) == (
            "it would refuse 30.00% of the last hour's 10 requests in addition, and guard.share allows 20.00%: above all "
            f"www.a.test (3 requests of 3 subscribers; advertising, {new.configuration.lists[2].path}:1 `a.test`)"
        )
        assert (guard.refusals, guard.is_held) == (1, True)
        guard.check(old.snapshot, old.snapshot, new.configuration)
        assert (guard.refusals, guard.is_held) == (1, False)


def kept(guard: Guard) -> list[str]:
    """The hosts of the samples, as they were asked for."""
    found = []
    for _, samples in guard.last_hour.minutes():
        for one in samples:
            number, tag = one[: s.SAMPLE_SERVICES].view(np.uint32)
            assert (number, tag) in {(row["number"], row["profile"]) for row in path_owners().lines()}
            size = int(one[s.SAMPLE_HOST_BYTES : s.SAMPLE_HOST].view(np.int64)[0])
            found.append(one[s.SAMPLE_HOST :][:size].tobytes().decode())
    return sorted(found)


@pytest.mark.parametrize("host", ["good.test", "bad.test", "odd.test"])
def test_each_request_is_sampled_once(host: str) -> None:
    box = Box()
    guard = Guard(box.path.shared)
    talk = Conversation(box, Flow(client="10.1.0.1", client_port=1000)).open()
    whole = request(host)
    for part in (whole[:5], whole[5:-3], whole[-3:]):
        talk.client(part)
    talk.client(whole[-3:], at=len(whole) - 3)  # repeated
    Conversation(box, Flow(client="10.1.0.1", client_port=1001, server_port=443)).open().client(
        record(plain_hello(host.encode()))
    )
    where = Flow(client="10.1.0.1", client_port=1002, server_port=443)
    box.take_raw(datagram(where, initial(bytes(8), crypto(0, quic_hello(host)), scid=b"client")), TO_SERVER)
    query = dns.message.make_query(host, "A").to_wire()
    box.take_raw(datagram(Flow(client="10.1.0.1", client_port=1003, server_port=53), query), TO_SERVER)
    guard.drain(60.0)
    assert kept(guard) == [host] * 4
    assert guard.last_hour.requests == 4
    guard.drain(61.0)
    assert guard.last_hour.requests == 4


def test_what_the_path_saw_is_judged_by_a_change_of_lists() -> None:
    box = Box()
    guard = Guard(box.path.shared)
    guard.follow(policy().configuration)
    for number, host in enumerate(["good.test", "good.test", "bad.test", "fine.test"]):
        Conversation(box, Flow(client="10.1.0.1", client_port=2000 + number)).open().client(request(host))
    guard.drain(60.0)
    texts = {**LISTS, "phishing": "bad.test\ngood.test\n"}
    with world({**SETTINGS, "guard": {"requests": 4}}, texts) as new:
        with pytest.raises(GuardError, match=r"50\.00% of the last hour's 4 requests") as caught:
            guard.check(policy().snapshot, new.snapshot, new.configuration)
        assert "good.test (2 requests of 1 subscriber" in word_finding(caught.value.finding, new.configuration)
        guard.check(new.snapshot, policy().snapshot, new.configuration)  # nothing is refused in addition


def test_where_nothing_could_be_too_much_nothing_is_kept() -> None:
    box = Box()
    guard = Guard(box.path.shared)

    def ask(port: int) -> None:
        Conversation(box, Flow(client="10.1.0.1", client_port=port)).open().client(request("good.test"))

    ask(3000)
    guard.drain(60.0)
    with world({**SETTINGS, "guard": {"share": 1}}, LISTS) as free, world(SETTINGS, LISTS) as usual:
        guard.follow(free.configuration)
        assert not guard.last_hour.samples.any()
        ask(3001)
        guard.drain(120.0)
        assert (guard.last_hour.requests, kept(guard)) == (0, [])
        assert not box.path.shared.bytes[SAMPLES_OFF + s.SAMPLES_HEAD_BYTES :].any()
        guard.follow(usual.configuration)
        ask(3002)
        guard.drain(121.0)
        assert (guard.last_hour.requests, kept(guard)) == (1, ["good.test"])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=6, max_size=6), st.integers(-(2**63), 2**63 - 1))
def test_a_packet_process_that_was_taken_over_writes_what_it_likes(words: list, size: int) -> None:
    shared = SharedMemory(1)
    guard = Guard(shared)
    guard.drain(60.0)
    head = shared.words(0, SAMPLES_OFF, s.SAMPLES_HEAD_BYTES // 8)
    for at, word in zip((0, 8, 16, 64, 72, 80), words, strict=True):
        head[at // 8] = word
    if words[0] % 2:
        head[s.SAMPLES_READ // 8] = max(words[0] - 5, -(2**63))
    for slot in range(s.SAMPLE_COUNT):
        shared.words(0, SAMPLES_OFF + s.SAMPLES_HEAD_BYTES + slot * s.SAMPLE_BYTES + s.SAMPLE_HOST_BYTES, 1)[0] = size
    guard.drain(61.0)
    guard.drain(200.0)
    assert 0 <= guard.last_hour.requests <= 3 << 32
    for _, samples in guard.last_hour.minutes():
        assert all(
            0 < int(one[s.SAMPLE_HOST_BYTES : s.SAMPLE_HOST].view(np.int64)[0]) <= s.HOST_LIMIT for one in samples
        )
    find_change(guard.last_hour, policy().snapshot, policy().snapshot, {})


def test_a_long_host_keeps_its_end_and_none_is_no_request() -> None:
    box = Box()
    guard = Guard(box.path.shared)
    host, packet = b"x" * 300 + b".bad.test", np.zeros(256, np.uint8)
    packet[UP_OWNER] = 1
    text = span(host)
    with readable(text, packet) as (at, packet_at):
        for size in (len(host), 0):
            compiled(s.sample_request)(box.path.worker.address, packet_at, at, size)
    guard.drain(60.0)
    assert kept(guard) == [host[-s.HOST_LIMIT :].decode()]
    assert guard.last_hour.requests == 1


def test_a_busy_worker_writes_one_in_so_many_and_waits_for_nobody() -> None:
    box = Box()
    guard = Guard(box.path.shared)
    head = box.path.shared.words(0, SAMPLES_OFF, s.SAMPLES_HEAD_BYTES // 8)

    def ask(times: int) -> None:
        where = Flow(client="10.1.0.1", client_port=1000, server_port=53)
        query = datagram(where, dns.message.make_query("good.test", "A").to_wire())
        for _ in range(times):
            box.take_raw(query, TO_SERVER)

    guard.drain(60.0)
    ask(s.SAMPLE_COUNT + 88)
    assert (int(head[s.SAMPLES_WRITTEN // 8]), guard.lost()) == (s.SAMPLE_COUNT, 88)
    guard.drain(61.0)
    assert guard.last_hour.requests == s.SAMPLE_COUNT + 88
    ask(KEPT_LIMIT * 3)  # in that minute more than is kept
    guard.drain(119.0)
    guard.drain(120.0)
    assert int(head[s.SAMPLES_MASK // 8]) == 7
    before = int(head[s.SAMPLES_WRITTEN // 8])
    ask(800)
    guard.drain(121.0)
    assert int(head[s.SAMPLES_WRITTEN // 8]) - before == 100
    assert guard.last_hour.requests == s.SAMPLE_COUNT + 88 + KEPT_LIMIT * 3 + 800
    seen = sorted((count, len(samples)) for count, samples in guard.last_hour.minutes())
    assert seen == [(800, 100), (s.SAMPLE_COUNT + 88 + KEPT_LIMIT * 3, KEPT_LIMIT)]
    guard.drain(180.0)
    guard.drain(240.0)
    assert int(head[s.SAMPLES_MASK // 8]) == 0


def test_a_rush_thins_out_at_once() -> None:
    """Not only with the next minute: whoever copies every request of a burst takes that time from others."""
    shared = SharedMemory(1)
    guard = Guard(shared)
    guard.drain(0.0)
    head = shared.words(0, SAMPLES_OFF, s.SAMPLES_HEAD_BYTES // 8)
    for look in range(1, 4):
        head[s.SAMPLES_WRITTEN // 8] += 500
        head[s.SAMPLES_SEEN // 8] += 500
        guard.drain(look * 0.05)
        assert int(head[s.SAMPLES_MASK // 8]) == (1 << look) - 1


def test_a_profile_that_gets_a_service_back_is_foreseen_by_older_requests() -> None:
    def configure(*services: str) -> dict:
        subscribers = [{"id": "home", "prefixes": ["10.1.0.0/16"], "profile": "all"}]
        return {"services": SERVICES, "profiles": {"all": {"services": list(services)}}, "subscribers": subscribers}

    listed = {"phishing": "bad.test\n", "strange": "", "advertising": "good.test\n"}
    with world(configure("web", "ads"), listed) as both, world(configure("web"), listed) as one:
        box = Box()
        guard = Guard(box.path.shared)
        for port, made in enumerate((both, one), 2000):  # asked while the service is on, and while it is not
            guard.follow(made.configuration)
            box.path.set_snapshot(made.snapshot.address, made.snapshot.names_address)
            FixedOwners(made.configuration).fill(box.path.directory)
            Conversation(box, Flow(client="10.1.0.1", client_port=port)).open().client(request("good.test"))
            guard.drain(61.0)
        assert guard.last_hour.requests == 2
        assert find_change(guard.last_hour, one.snapshot, both.snapshot, {}).refused == 2
        assert find_change(guard.last_hour, both.snapshot, one.snapshot, {}).refused == 0

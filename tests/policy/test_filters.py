"""What compiled filters say: yes wherever the declared ones do, whatever a request is like."""

from contextlib import ExitStack
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.control.filters import build_filters, fit_filters
from penstock.control.snapshot import build_snapshot
from penstock.hooks import Filter, Request
from penstock.path.layout import PROTO_NAMES
from penstock.policy import filters as form
from penstock.policy.layout import FILTERS_COUNT, FILTERS_OFF, HEAD_BYTES, NAMES_KEY_COPY, profile_tag
from penstock.policy.snapshot import Snapshot
from tests.path.boxes import policy
from tests.policy.worlds import compiled, readable, span

KEY = np.array([0x1234567890ABCDE, -0x123456789ABCDEF], np.int64).tobytes()
CATEGORIES = [f"category-{number}" for number in range(64)]
NOW = datetime.now(UTC)
labels = st.sampled_from(["a", "b", "www", "example", "test", "com"])
hosts = st.lists(labels, max_size=4).map(".".join)
names = st.lists(labels, min_size=1, max_size=3).map(".".join)
ports = st.integers(1, 65_535)
ranges = st.one_of(ports, st.tuples(ports, ports).map(lambda pair: f"{min(pair)}-{max(pair)}"))


def some(values: st.SearchStrategy, most: int = 3) -> st.SearchStrategy:
    return st.one_of(st.none(), st.lists(values, min_size=1, max_size=most))


filters = st.builds(
    Filter.declare,
    categories=some(st.sampled_from(CATEGORIES)),
    ports=some(ranges, 10),
    profiles=some(st.sampled_from([f"profile {number}" for number in range(20)]), 20),
    protocols=some(st.sampled_from(PROTO_NAMES)),
    hosts=some(names, 20),
)
requests = st.builds(
    Request,
    protocol=st.sampled_from(PROTO_NAMES),
    host=hosts,
    port=st.one_of(st.sampled_from([80, 443]), ports),
    time=st.just(NOW),
    client=st.just(ip_address("10.0.0.1")),
    profile=st.sampled_from([None, *(f"profile {number}" for number in range(20))]),
    categories=st.sets(st.sampled_from(CATEGORIES), max_size=3).map(tuple),
)


def find(declared: list[Filter], request: Request, host: bytes) -> bool:
    """What compiled code says of a request whose host was written so."""
    part, count = build_filters(declared, CATEGORIES, KEY)
    head = np.zeros(HEAD_BYTES // 8, np.int64)
    head[FILTERS_OFF // 8], head[FILTERS_COUNT // 8] = HEAD_BYTES, count
    head[NAMES_KEY_COPY // 8 : NAMES_KEY_COPY // 8 + 2] = np.frombuffer(KEY, np.int64)
    mask = sum(1 << CATEGORIES.index(name) for name in request.categories)
    hits = mask - (1 << 64) if mask >> 63 else mask
    tag = profile_tag(request.profile) if request.profile else 0
    snapshot, text = np.frombuffer(head.tobytes() + part, np.uint8).copy(), span(host)
    with readable(snapshot, text) as (at, text_at):
        words = PROTO_NAMES.index(request.protocol), request.port, tag, hits, text_at, len(host)
        return bool(compiled(form.find_filter)(at, *words))


@settings(max_examples=600, deadline=None)
@given(st.lists(filters, min_size=1, max_size=5), requests, st.sampled_from(["", ".", ".."]), st.booleans())
def test_never_no_where_a_filter_matches(declared: list[Filter], request: Request, dots: str, loud: bool) -> None:
    host = (request.host.upper() if loud else request.host).encode() + (dots.encode() if request.host else b"")
    matches = any(one.matches(request) for one in declared)
    fits = all(
        len(one.ports or ()) <= form.PORT_LIMIT and len(one.profiles or ()) <= form.TAG_LIMIT for one in declared
    )
    found = find(declared, request, host)
    assert found >= matches
    assert not fits or found == matches


def test_what_does_not_fit_is_everything() -> None:
    request = Request("tls", "host-7.test", 443, NOW, ip_address("10.0.0.1"))
    many = [f"host-{number}.test" for number in range(form.HOSTS_LIMIT)]
    other = Filter.declare(hosts="other.test")
    assert find([Filter.declare(hosts=many)], request, b"www.host-7.test")
    assert not find([Filter.declare(hosts=many)], request, b"www.host.test")
    assert find([Filter.declare(hosts=[*many, "one.more"])], request, b"www.host.test")
    assert [one.hosts for one in fit_filters([Filter.declare(hosts=many), other])] == [frozenset(many), None]
    assert find([other] * form.FILTER_LIMIT, request, b"other.test")
    assert not find([other] * form.FILTER_LIMIT, request, b"another.test")
    assert find([other] * (form.FILTER_LIMIT + 1), request, b"another.test")


@pytest.mark.parametrize("host", [b"a" * 4000, b"." * 4000, b"a." * 2000, b"\xff\x00", b"."])
def test_hosts_of_any_bytes(host: bytes) -> None:
    request = Request("tls", "", 443, NOW, ip_address("10.0.0.1"))
    assert not find([Filter.declare(hosts="example")], request, host)
    assert find([Filter.declare(hosts="example")], request, host + b".example") or len(host) > 3000


def test_a_snapshot_without_hooks_asks_nobody(tmp_path: Path) -> None:
    known = policy()
    with ExitStack() as stack:
        for count in (0, 2):
            path = build_snapshot(
                known.configuration, known.configuration.database, 3, tmp_path, filters=[Filter()] * count
            )
            snapshot = Snapshot.open(path)
            stack.callback(snapshot.close)
            assert snapshot._policy.word(FILTERS_COUNT) == count

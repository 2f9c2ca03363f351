"""Interfaces of this machine as the kernel describes them, and what two looks say of what happened between."""

import select
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroute2 import IPRoute

from penstock.demo.demo import find_obstacle
from penstock.demo.namespaces import configure_links
from penstock.demo.topology import CLIENT_INTERFACE, EGRESS, INGRESS, Topology
from penstock.line import links
from penstock.line.links import Fault, Link, Notices, find_changes, find_faults, find_pair_faults, read_link

GOOD = Link("eth1", 4, is_up=True, has_carrier=True, mtu=1500)
NOTICE_S = 5.0  # the kernel tells of a carrier once a second at most

found_links = st.builds(
    lambda number, up, carrier, mtu, losses: Link("eth1", number, up, up and carrier, mtu, losses=losses),
    st.integers(1, 2), st.booleans(), st.booleans(), st.sampled_from([1400, 1500]), st.integers(0, 2),
)  # fmt: skip


@settings(max_examples=400)
@given(st.none() | found_links, st.none() | found_links)
def test_changes_lead_from_one_look_to_the_next(before: Link | None, after: Link | None) -> None:
    changes = find_changes(before, after)
    assert set(changes) <= set(links.CHANGES)
    assert (changes == []) or before != after
    assert (links.GONE in changes) == (before is not None and (after is None or after.ifindex != before.ifindex))
    assert (links.RETURNED in changes) == (after is not None and (before is None or after.ifindex != before.ifindex))
    if before and after and before.ifindex == after.ifindex:
        assert (links.MTU in changes) == (before.mtu != after.mtu)
        assert (links.DOWN in changes) == (before.is_up and not after.is_up)
        assert (links.UP_AGAIN in changes) == (after.is_up and not before.is_up)
        if before.is_up and after.is_up:
            assert (links.CARRIER_LOST in changes) >= (before.has_carrier and not after.has_carrier)
            assert (links.CARRIER_BACK in changes) >= (after.has_carrier and not before.has_carrier)
        assert find_changes(after, after) == []


def test_a_carrier_that_was_away_between_two_looks_is_told() -> None:
    assert find_changes(GOOD, replace(GOOD, losses=1)) == [links.CARRIER_LOST, links.CARRIER_BACK]
    assert find_changes(GOOD, replace(GOOD, has_carrier=False, losses=1)) == [links.CARRIER_LOST]


@pytest.mark.parametrize(
    ("link", "cure"),
    [
        (replace(GOOD, is_promiscuous=False), "ip link set eth1 promisc on"),
        (replace(GOOD, has_lro=True), "ethtool -K eth1 lro off"),
        (replace(GOOD, sizes=(("gso_max_size", 65537),)), "ip link set eth1 gso_max_size 65536"),
    ],
)
def test_a_fault_has_its_cure(link: Link, cure: str) -> None:
    assert [fault.cure for fault in find_faults(link)] == [cure]


def test_a_good_pair_has_no_fault() -> None:
    good = replace(GOOD, sizes=(("gso_max_size", 65536),))
    assert list(find_faults(good)) == []
    assert list(find_pair_faults(good, good)) == []
    (fault,) = find_pair_faults(good, replace(good, mtu=1400))
    assert fault == Fault("equal MTUs", "{'ingress': 1500, 'egress': 1400}: larger packets vanish", fault.cure)


@pytest.fixture
def topology() -> Iterator[Topology]:
    if reason := find_obstacle():
        pytest.skip(reason)
    with Topology("penstock", prefix="penstock-links") as found:
        yield found


@pytest.mark.live
def test_a_look_at_real_interfaces(topology: Topology) -> None:
    with topology.inside("box"), IPRoute() as route, closing(Notices()) as notices:
        found = read_link(route, INGRESS)
        assert found is not None
        assert (found.is_up, found.has_carrier, found.mtu, found.is_promiscuous) == (True, True, 1500, True)
        assert dict(found.sizes)["gso_max_size"] == 65536
        assert read_link(route, "nowhere") is None
        notices.drain()
        configure_links(topology.names["client"], [f"link set {CLIENT_INTERFACE} down"])
        assert select.select([notices], [], [], NOTICE_S)[0], "no notice of a lost carrier"
        assert notices.drain()
        assert not notices.drain()
        after = read_link(route, INGRESS)
        assert find_changes(found, after) == [links.CARRIER_LOST]
        configure_links(topology.names["box"], [f"link set {EGRESS} mtu 1400", f"link del {INGRESS}"])
        assert read_link(route, INGRESS) is None
        other = read_link(route, EGRESS)
        assert other is not None
        assert [fault.what for fault in find_pair_faults(found, other)] == ["equal MTUs"]


@pytest.mark.live
def test_too_many_notices_are_one(topology: Topology) -> None:
    """The kernel throws notices away that nobody takes; that, too, is a reason to look."""
    with topology.inside("box"), closing(Notices()) as notices:
        lines = [f"link set {EGRESS} mtu {1400 + number % 2}" for number in range(1000)]
        configure_links(topology.names["box"], lines)
        assert notices.drain()
        assert not notices.drain()

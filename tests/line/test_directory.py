"""The directory and its compiled look-up against `ipaddress`, and against a dictionary over a life of changes."""

import struct
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.control.configuration import Configuration
from penstock.control.subscribers.fixed import FixedOwners
from penstock.kernel import owners
from penstock.kernel import tables as t
from penstock.line.directory import Directory, DirectoryError, Held, make_places, pack_place
from tests.path.boxes import Box, Conversation, name_of, request
from tests.policy.worlds import compiled, packed, readable
from tests.vocabulary import FLOW4

V4_BITS, V6_BITS = (0, 8, 9, 24, 32), (0, 64, 128)  # as many lengths as there may be
BUCKETS = 64
BLOCK_BITS = 7  # of 512 ports

address4 = st.tuples(*[st.sampled_from([0, 1, 10, 127, 128, 255])] * 4).map(bytes)
address6 = st.lists(st.sampled_from([0, 1, 0xFD, 0xFF]), min_size=16, max_size=16).map(bytes)
network4 = st.builds(lambda a, n: IPv4Network((a, n), strict=False), address4, st.sampled_from(V4_BITS))
network6 = st.builds(lambda a, n: IPv6Network((a, n), strict=False), address6, st.sampled_from(V6_BITS)).filter(
    lambda network: not network.network_address.ipv4_mapped
)
scope = st.sampled_from([0, 1, 2**16 - 1])
places = st.tuples(network4 | network6, scope)
owned = st.dictionaries(places, st.integers(1, 60), min_size=1, max_size=40)


class Tables:
    """The tables in plain memory, and the look-up of the packet process."""

    def __init__(self, buckets: int = BUCKETS, subscribers: int = 64) -> None:
        self.control = np.zeros(t.CONTROL_BYTES, np.uint8)
        self.addresses = np.zeros(buckets * t.ADDRESS_BUCKET_BYTES, np.uint8)
        self.subscribers = np.zeros(subscribers * t.SUBSCRIBER_BYTES, np.uint8)
        struct.pack_into("<Q", self.control, t.CONTROL_HASH_KEY, 0x1234_5678_9ABC_DEF1)
        self.directory = Directory(self.control, self.addresses, self.subscribers)

    def find(self, address: bytes, number: int = 0, port: int = 0) -> int:
        key = np.zeros(t.KEY_BYTES, np.uint8)
        key[:16] = np.frombuffer(address, np.uint8)
        struct.pack_into("<II", key, t.FLOW_PORTS, port << 16 | 443, number | 6 << 24)
        with readable(self.control, self.addresses, key) as (control, table, at):
            secret = struct.unpack_from("<q", self.control, t.CONTROL_HASH_KEY)[0]
            mask = len(self.addresses) // t.ADDRESS_BUCKET_BYTES - 1
            return int(compiled(owners.find_owner_at)(control, table, mask, secret, at))


def find_name(configuration: Configuration, address: str) -> str | None:
    """Whose address it is, by the configuration alone."""
    made, fixed = Tables(), FixedOwners(configuration)
    fixed.fill(made.directory)
    return fixed.name_of(made.find(packed(address)))


def row(network: Any, number: int, port: int = 0, port_bits: int = 0) -> tuple:
    bits = network.prefixlen + (96 if network.version == 4 else 0)
    return pack_place(number, packed(str(network[0])), bits, port, port_bits)


def look_up(prefixes: dict, address: bytes, number: int) -> int:
    """The owner of the longest prefix of the scope that holds the address."""
    parsed = ip_address(address)
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    # ::/0 holds the mapped IPv4 addresses too; every IPv4 prefix is longer.
    holding = [
        (network.version == 4, network.prefixlen, owner)
        for (network, where), owner in prefixes.items()
        if where == number and (parsed in network or ip_address(address) in network)
    ]
    return max(holding)[2] if holding else 0


def check(made: Tables, prefixes: dict, addresses: list[bytes]) -> None:
    ends = [packed(str(network[at])) for network, _ in prefixes for at in (0, -1)]
    for address in addresses + ends:
        for number in (0, 1, 2**16 - 1, 5):
            assert made.find(address, number) == look_up(prefixes, address, number)


@settings(max_examples=60, deadline=None)
@given(owned, st.lists(address4.map(lambda a: bytes(10) + b"\xff\xff" + a) | address6, max_size=20))
def test_the_longest_prefix_holds(prefixes: dict, addresses: list[bytes]) -> None:
    made = Tables()
    rows = make_places(row(*place) for place in prefixes)
    assert len(made.directory.replace_all(rows, np.array(list(prefixes.values()), np.uint32))) == 0
    check(made, prefixes, addresses)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["put", "take", "all", "parts"]), owned), min_size=1, max_size=8))
def test_a_life_of_changes(steps: list) -> None:
    made, prefixes = Tables(), {}
    for what, change in steps:
        rows, numbers = make_places(row(*place) for place in change), np.array(list(change.values()), np.uint32)
        if what == "put":
            assert len(made.directory.put(rows, numbers)) == 0
            prefixes |= change
        elif what == "take":
            made.directory.take_away(rows)
            prefixes = {place: owner for place, owner in prefixes.items() if place not in change}
        elif what == "all":
            assert len(made.directory.replace_all(rows, numbers)) == 0
            prefixes = change
        else:
            parts = [(rows[at : at + 3], numbers[at : at + 3]) for at in range(0, len(rows), 3)]
            assert made.directory.replace_parts(parts) == 0
            prefixes = change
        check(made, prefixes, [packed(str(network[0])) for network, _ in change])
    again = Directory(made.control, made.addresses, made.subscribers)
    assert again.shapes == made.directory.shapes


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.integers(0, 127), st.integers(1, 60), max_size=20), st.integers(0, 65535), st.booleans())
def test_a_block_of_ports_is_a_subscriber(blocks: dict[int, int], port: int, whole: bool) -> None:
    made, address = Tables(), ip_network("203.0.113.7/32")
    rows = [row(address, 0, number << 9, BLOCK_BITS) for number in blocks]
    numbers = list(blocks.values())
    if whole:
        rows.append(row(ip_network("203.0.113.0/24"), 0))
        numbers.append(62)
    made.directory.put(make_places(rows), np.array(numbers, np.uint32))
    nobody = made.directory.shared_number if blocks else 62 if whole else 0
    assert made.find(packed("203.0.113.7"), 0, port) == blocks.get(port >> 9, nobody)
    assert made.find(packed("203.0.113.8"), 0, port) == (62 if whole else 0)


def test_a_full_table_says_which_found_no_room() -> None:
    made = Tables(buckets=4)
    count = 4 * t.ADDRESS_SLOTS + 5
    rows = make_places(row(ip_network(f"10.0.0.{number}/32"), 0) for number in range(count))
    failed = made.directory.put(rows, np.arange(1, count + 1, dtype=np.uint32))
    assert len(failed) >= 5
    found = [made.find(packed(f"10.0.0.{number}")) for number in range(count)]
    assert found == [0 if number in failed else number + 1 for number in range(count)]


@pytest.mark.parametrize("share", [0.5, 0.75])
def test_three_quarters_of_the_slots_can_be_used(share: float) -> None:
    made = Tables(buckets=1 << 13, subscribers=1 << 16)
    count = int((1 << 16) * share)
    rows = make_places(row(IPv4Network((10 << 24) + 7 * number), 0) for number in range(count))
    assert len(made.directory.put(rows, np.arange(1, count + 1, dtype=np.uint32))) == 0


def test_a_ninth_shape_is_refused_and_changes_nothing() -> None:
    made = Tables()
    made.directory.put(
        make_places(row(ip_network(f"10.0.0.0/{bits}"), 0) for bits in range(8, 16)), np.arange(1, 9, dtype=np.uint32)
    )
    with pytest.raises(DirectoryError, match=r"at most 8 different prefix lengths .* IPv4 /15 or IPv6 /111, .*/7 "):
        made.directory.put(make_places([row(ip_network("10.0.0.0/7"), 0)]), np.array([9], np.uint32))
    assert [made.find(packed("10.0.0.1")), made.find(packed("10.255.0.1")), made.find(packed("11.0.0.1"))] == [8, 1, 0]


def test_a_line_takes_effect_on_the_next_packet() -> None:
    box = Box()
    talk = Conversation(box, FLOW4).open()
    assert name_of(talk.client(request("bad.test"))) == "blocked"
    home = box.path.directory.lines
    number = next(n for n in range(1, 9) if home["profile"][n])
    box.path.directory.set_line(number, None, Held(is_read=True))
    talk = Conversation(box, FLOW4._replace(client_port=5)).open()
    assert name_of(talk.client(request("bad.test"))) == "allowed"

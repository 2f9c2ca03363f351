"""Places as they are written: blocks of ports cover their range exactly, prefixes, and what nobody can have."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.control.subscribers.model import PORTS, Place
from penstock.control.subscribers.places import BLOCK_LIMIT, MAPPED, PlaceError, build_places, split_ports


def size_of(port_bits: int) -> int:
    return 1 << (16 - port_bits)


@given(first=st.integers(0, PORTS - 1), length=st.integers(1, PORTS))
def test_blocks_cover_the_range_and_nothing_else(first: int, length: int) -> None:
    last = min(first + length, PORTS) - 1
    try:
        blocks = split_ports(first, last)
    except PlaceError:  # too many blocks
        return
    assert 1 <= len(blocks) <= BLOCK_LIMIT
    ends = [port + size_of(bits) for port, bits in blocks]
    assert [port for port, _ in blocks] == [first, *ends[:-1]]
    assert ends[-1] == last + 1
    assert all(port % size_of(bits) == 0 for port, bits in blocks)
    assert all(0 <= bits <= 16 for _, bits in blocks)


@given(bits=st.integers(0, 16), number=st.integers(0, PORTS))
def test_an_aligned_block_is_one(bits: int, number: int) -> None:
    size = size_of(bits)
    first = number * size % PORTS
    assert split_ports(first, first + size - 1) == [(first, bits)]


def test_a_range_is_refused_only_when_it_needs_more_blocks() -> None:
    assert len(split_ports(1, 2 ** (BLOCK_LIMIT) - 1)) == BLOCK_LIMIT
    with pytest.raises(PlaceError, match="at most 8 blocks, not 9"):
        split_ports(1, 2 ** (BLOCK_LIMIT + 1) - 1)


@pytest.mark.parametrize(("first", "last"), [(-1, 5), (5, 4), (0, PORTS)])
def test_what_is_no_range(first: int, last: int) -> None:
    with pytest.raises(PlaceError, match="expected a range of ports from 0 to 65535"):
        split_ports(first, last)


def test_places_that_a_person_writes() -> None:
    four, six = ip_network("10.1.0.0/16"), ip_network("2001:db8::/56")
    assert build_places(four, scope=3) == [Place(3, MAPPED + bytes((10, 1, 0, 0)), 112)]
    assert build_places(six) == [Place(0, six.network_address.packed, 56)]
    one = ip_network("2001:db8::1")
    assert build_places(one, (1024, 2047)) == [Place(0, one.network_address.packed, 128, 1024, 6)]
    with pytest.raises(PlaceError, match="ports of one address"):
        build_places(six, (1024, 2047))

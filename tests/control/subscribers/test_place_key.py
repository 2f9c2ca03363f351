"""Places as keys: nothing is lost, nothing is two things, and an array says what single keys say."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.control.subscribers.model import Place
from penstock.control.subscribers.place_key import (
    MAPPED,
    find_shape,
    make_place,
    pack_place,
    unpack_place,
    unpack_places,
)

scopes = st.sampled_from([0, 0, 1, 255, 256, 65_535, 2**32 - 1])


@st.composite
def places(draw: st.DrawFn) -> Place:
    kind = draw(st.sampled_from(["ipv4", "ipv6", "ports", "any"]))
    scope = draw(scopes)
    if kind == "ipv6":
        bits = draw(st.integers(0, 128))
        address = draw(st.integers(0, 2**128 - 1)) >> (128 - bits) << (128 - bits)
        return Place(scope, address.to_bytes(16), bits)
    if kind == "any":  # around the border of IPv4
        bits = draw(st.integers(90, 128))
        address = int.from_bytes(MAPPED + draw(st.binary(min_size=4, max_size=4)))
        return Place(scope, (address >> (128 - bits) << (128 - bits)).to_bytes(16), bits)
    address = MAPPED + draw(st.binary(min_size=4, max_size=4))
    if kind == "ipv4":
        return Place(scope, address, 128)
    port_bits = draw(st.integers(1, 16))
    port = draw(st.integers(0, 65_535)) >> (16 - port_bits) << (16 - port_bits)
    return Place(scope, draw(st.sampled_from([address, bytes(15) + b"\1"])), 128, port, port_bits)


@given(places())
def test_a_key_holds_the_whole_place(place: Place) -> None:
    key = pack_place(place)
    assert unpack_place(key) == place
    assert find_shape(key) == (place.bits, place.port_bits)
    assert len(key) <= 24


@given(st.lists(places(), max_size=20))
def test_two_places_have_two_keys(some: list[Place]) -> None:
    assert len({pack_place(place) for place in some}) == len(set(some))


@given(st.lists(places(), max_size=20))
def test_an_array_says_the_same(some: list[Place]) -> None:
    rows = unpack_places([pack_place(place) for place in some]).tolist()
    found = [Place(scope, bytes(address), bits, port, port_bits) for scope, bits, port_bits, port, address in rows]
    assert found == some


@pytest.mark.parametrize(
    ("prefix", "size"), [("10.1.2.3", 5), ("10.0.0.0/8", 2), ("fd00:1::/56", 8), ("fd00::/64", 9), ("::/0", 1)]
)
def test_keys_are_short(prefix: str, size: int) -> None:
    assert len(pack_place(make_place(ip_network(prefix)))) == size


@pytest.mark.parametrize(
    "place",
    [
        Place(0, bytes(15) + b"\1", 127),
        Place(0, bytes(15), 128),
        Place(0, bytes(16), 129),
        Place(0, bytes(16), -1),
        Place(-1, bytes(16), 128),
        Place(2**32, bytes(16), 128),
        Place(0, bytes(16), 120, 0, 4),
        Place(0, bytes(16), 128, 1, 4),
        Place(0, bytes(16), 128, 5),
        Place(0, bytes(16), 128, 0, 17),
        Place(0, bytes(16), 128, 65_536, 16),
    ],
)
def test_what_is_no_place_is_refused(place: Place) -> None:
    with pytest.raises(ValueError, match="expected"):
        pack_place(place)

"""Places as people write them: what is written is read back."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.control.subscribers.model import Place
from penstock.control.subscribers.place_text import parse_endpoint, parse_place, word_place

MAPPED = bytes(10) + b"\xff\xff"


@st.composite
def places(draw: st.DrawFn) -> Place:
    is_ipv4 = draw(st.booleans())
    bits = draw(st.integers(96, 128) if is_ipv4 else st.integers(0, 128))
    number = draw(st.integers(0, 2**128 - 1)) >> (128 - bits) << (128 - bits)
    address = number.to_bytes(16)
    if is_ipv4:
        address = MAPPED + address[12:]
    elif ip_address(address).ipv4_mapped:  # type: ignore[union-attr]
        address = b"\x20" + address[1:]
    port_bits = draw(st.integers(1, 16)) if bits == 128 and draw(st.booleans()) else 0
    port = draw(st.integers(0, 65_535)) >> (16 - port_bits) << (16 - port_bits) if port_bits else 0
    return Place(0, address, bits, port, port_bits)


@given(places())
def test_what_is_written_is_read_back(place: Place) -> None:
    assert parse_place(word_place(place), 0) == [place]


def test_forms() -> None:
    (one,) = parse_place("203.0.113.1:1024-2047", 7)
    assert one == Place(7, MAPPED + bytes([203, 0, 113, 1]), 128, 1024, 6)
    assert word_place(one) == "203.0.113.1:1024-2047 in scope 7"
    assert word_place(*parse_place("[2001:db8::1]:0-511", 0)) == "[2001:db8::1]:0-511"
    assert word_place(*parse_place("10.0.0.0/8", 0)) == "10.0.0.0/8"
    assert word_place(*parse_place("2001:db8::/56", 0)) == "2001:db8::/56"
    assert [word_place(part) for part in parse_place("192.0.2.1:1000-1535", 0)] == [
        "192.0.2.1:1000-1007", "192.0.2.1:1008-1023", "192.0.2.1:1024-1535",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ["", "x", "10.0.0.1/8", "10.0.0.256", "10.0.0.1:5", "10.0.0.1:5-3", "10.0.0.1:0-70000", "10.0.0.0/8:0-7"],
)
def test_what_is_no_place(text: str) -> None:
    with pytest.raises(ValueError, match=f"expected .*`{text}`"):
        parse_place(text, 0)


def test_endpoints() -> None:
    assert parse_endpoint("192.0.2.1") == (MAPPED + bytes([192, 0, 2, 1]), 0)
    assert parse_endpoint("192.0.2.1:443") == (MAPPED + bytes([192, 0, 2, 1]), 443)
    assert parse_endpoint("2001:db8::1") == (ip_address("2001:db8::1").packed, 0)
    assert parse_endpoint("[2001:db8::1]:443") == (ip_address("2001:db8::1").packed, 443)
    for text in ("192.0.2.0/24", "192.0.2.1:65536", "x", ""):
        with pytest.raises(ValueError, match="expected an address"):
            parse_endpoint(text)

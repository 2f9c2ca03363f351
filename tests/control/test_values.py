"""How single values are written."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.control.values import parse_category, parse_label, parse_listen, parse_ports, parse_prefix, parse_url

plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
anything = plain | st.lists(plain, max_size=3)


@given(anything)
def test_nothing_raises_but_value_error(value: object) -> None:
    for parse in (parse_prefix, parse_ports, parse_url, parse_listen, parse_category, parse_label):
        said = "expected "
        try:
            parse(value)
        except ValueError as error:
            said = str(error)
        assert said.startswith("expected ")


@given(st.integers(0, 2**32 - 1), st.integers(0, 32))
def test_a_prefix_is_itself(address: int, bits: int) -> None:
    network = ip_network((address, bits), strict=False)
    assert parse_prefix(str(network)) == network


@given(st.lists(st.tuples(st.integers(1, 65535), st.integers(1, 65535)).map(sorted), min_size=1, max_size=5))
def test_ports_are_themselves(ranges: list[list[int]]) -> None:
    text = [f"{first}-{last}" if first != last else first for first, last in ranges]
    assert parse_ports(text) == tuple(sorted((first, last) for first, last in ranges))


@pytest.mark.parametrize(
    "url", ["https://a.example/\r\nX: y", "https://a.example/ b", "javascript:alert(1)", "https://"]
)
def test_an_address_that_would_break_a_header_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="expected a web address"):
        parse_url(url)

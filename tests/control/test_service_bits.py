"""A service's bit is its own, whatever comes and goes."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.control.configuration import Configuration, Service
from penstock.control.service_bits import ServiceBitsError, assign_bits, find_file, place_services, read_services
from penstock.control.subscribers.settings_register import RegisterSettings
from penstock.policy.judge import SERVICE_LIMIT

services = st.lists(st.integers(0, 99).map(str), unique=True, max_size=SERVICE_LIMIT)


@given(st.lists(services, max_size=5))
def test_each_has_one_and_keeps_it_while_it_is_there(turns: list[list[str]]) -> None:
    bits: dict[str, int] = {}
    for wanted in turns:
        after = assign_bits(bits, wanted)
        assert set(wanted) <= set(after)
        assert len(set(after.values())) == len(after) <= SERVICE_LIMIT
        assert all(after[name] == bits[name] for name in wanted if name in bits)
        gone = set(bits) - set(after)
        assert not gone or len(after) == SERVICE_LIMIT, "nothing is forgotten before it must be"
        bits = after


def configure(path: Path, *names: str) -> Configuration:
    register = RegisterSettings(database=path / "subscribers.db")
    listed = {name: Service(categories={"c": "block"}) for name in names}
    return Configuration(services=listed, register=register)


def test_another_order_changes_no_bit(tmp_path: Path) -> None:
    assert place_services(configure(tmp_path, "a", "b")).service_bits == {"a": 0, "b": 1}
    assert place_services(configure(tmp_path, "c", "b")).service_bits == {"c": 2, "b": 1}
    assert place_services(configure(tmp_path, "b", "a", "c")).service_bits == {"b": 1, "a": 0, "c": 2}
    assert read_services(configure(tmp_path, "d", "c")).service_bits == {"d": 3, "c": 2}
    assert read_services(configure(tmp_path, "e")).service_bits == {"e": 3}, "who reads writes nothing down"
    assert place_services(configure(tmp_path, "b")).pack_services(["b"]) == 2


@pytest.mark.parametrize("text", ["", "[]", '{"a": "0"}', '{"a": 64}', '{"a": 0, "b": 0}', '{"a": true}', "\udcff"])
def test_a_damaged_file_says_so(text: str, tmp_path: Path) -> None:
    path = find_file(configure(tmp_path))
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ServiceBitsError, match=r"service_bits\.json: .*move it aside"):
        place_services(configure(tmp_path, "a"))

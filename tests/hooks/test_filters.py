"""A filter reaches what it says: against a plain model, over its plain form, and refusing what cannot be meant."""

import json
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.hooks import Filter, FilterError, Request
from penstock.hooks.request import PROTOCOLS

CATEGORIES = ("games", "new", "adult")
PROFILES = ("kids", "adults")
LABELS = st.sampled_from(["a", "b", "www", "ab"])
HOSTS = st.lists(LABELS, min_size=1, max_size=4).map(lambda labels: ".".join([*labels, "example"]))
PORTS = st.integers(1, 65_535) | st.sampled_from([80, 443, 8080])


def some(values: Any) -> Any:
    return st.none() | st.lists(st.sampled_from(values), min_size=1, max_size=3)


RANGES = st.tuples(PORTS, PORTS).map(lambda pair: f"{min(pair)}-{max(pair)}")
DECLARED = st.fixed_dictionaries(
    {
        "categories": some(CATEGORIES),
        "profiles": some(PROFILES),
        "protocols": some(PROTOCOLS),
        "ports": st.none() | st.lists(PORTS | RANGES, min_size=1, max_size=3),
        "hosts": st.none() | st.lists(HOSTS, min_size=1, max_size=3),
    }
)
REQUESTS = st.builds(
    Request,
    protocol=st.sampled_from(PROTOCOLS),
    host=HOSTS | st.just(""),
    port=PORTS,
    time=st.just(datetime(2026, 1, 1, tzinfo=UTC)),
    client=st.just(ip_address("192.0.2.1")),
    profile=st.none() | st.sampled_from(PROFILES),
    categories=st.lists(st.sampled_from(CATEGORIES), unique=True).map(tuple),
)


def model(declared: dict[str, Any], request: Request) -> bool:
    """The meaning, in the plainest words."""
    if declared["categories"] is not None and not any(name in request.categories for name in declared["categories"]):
        return False
    if declared["profiles"] is not None and request.profile not in declared["profiles"]:
        return False
    if declared["protocols"] is not None and request.protocol not in declared["protocols"]:
        return False
    if declared["ports"] is not None:
        open_ports = set()
        for item in declared["ports"]:
            first, _, last = str(item).partition("-")
            open_ports |= set(range(int(first), int(last or first) + 1))
        if request.port not in open_ports:
            return False
    if declared["hosts"] is not None:
        return any(f".{request.host}".endswith(f".{name}") for name in declared["hosts"]) and request.host != ""
    return True


@given(st.data(), REQUESTS)
def test_one_key_means_what_the_model_says(data: st.DataObject, request: Request) -> None:
    key = data.draw(st.sampled_from(["categories", "profiles", "protocols", "ports", "hosts"]))
    declared = data.draw(DECLARED)
    alone = {name: value if name == key else None for name, value in declared.items()}
    if key == "hosts" and request.host and declared["hosts"]:
        labels = request.host.split(".")
        alone["hosts"].append(".".join(labels[data.draw(st.integers(0, len(labels) - 1)) :]))
    assert Filter.declare(**alone).matches(request) == model(alone, request)


@given(DECLARED, REQUESTS)
def test_it_means_what_the_model_says(declared: dict[str, Any], request: Request) -> None:
    assert Filter.declare(**declared).matches(request) == model(declared, request)


@given(DECLARED)
def test_its_plain_form_is_the_same_filter(declared: dict[str, Any]) -> None:
    built = Filter.declare(**declared)
    assert Filter.from_data(json.loads(json.dumps(built.to_data()))) == built


KEYS = st.sampled_from(["ports", "hosts", "categories", "x"])
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@given(PLAIN)
def test_what_is_no_plain_form_is_refused(data: Any) -> None:
    try:
        built = Filter.from_data(data)
    except FilterError:
        return
    assert Filter.from_data(built.to_data()) == built


@pytest.mark.parametrize(
    ("declared", "key"),
    [
        ({"ports": 0}, "ports"),
        ({"ports": True}, "ports"),
        ({"ports": "90-80"}, "ports"),
        ({"ports": [80, "x"]}, "ports"),
        ({"ports": 70_000}, "ports"),
        ({"protocols": "ftp"}, "protocols"),
        ({"categories": []}, "categories"),
        ({"categories": "Games"}, "categories"),
        ({"categories": [1]}, "categories"),
        ({"profiles": ""}, "profiles"),
        ({"hosts": "www.*.example"}, "hosts"),
        ({"hosts": "a b"}, "hosts"),
        ({"hosts": [None]}, "hosts"),
        ({"hosts": 3}, "hosts"),
        ({"hosts": [[]]}, "hosts"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_its_key(declared: dict[str, Any], key: str) -> None:
    with pytest.raises(FilterError, match=f"^{key}: "):
        Filter.declare(**declared)


def test_one_value_stands_for_a_list_of_it() -> None:
    assert Filter.declare(ports=80, hosts="a.example") == Filter.declare(ports=[80], hosts=["a.example"])


def test_hosts_are_read_as_lists_read_them() -> None:
    assert Filter.declare(hosts=["*.Bücher.example."]).hosts == {"xn--bcher-kva.example"}


def test_an_address_stands_for_itself() -> None:
    declared = Filter.declare(hosts=["2.1", "192.0.2.1", "[2001:db8::1]"])
    asked = {host: declared.matches(_ask(host)) for host in ("192.0.2.1", "10.0.2.1", "[2001:db8::1]", "[::1]")}
    assert asked == {"192.0.2.1": True, "10.0.2.1": False, "[2001:db8::1]": True, "[::1]": False}


def _ask(host: str) -> Request:
    return Request("http", host, 80, datetime(2026, 1, 1, tzinfo=UTC), ip_address("192.0.2.1"))


def test_it_says_what_it_is() -> None:
    assert str(Filter.declare(ports=[443, "8000-8100"], hosts="a.example")) == "ports 443, 8000-8100; hosts a.example"
    assert str(Filter.declare()) == "everything"

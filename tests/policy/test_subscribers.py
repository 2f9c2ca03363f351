"""The compiled look-up of addresses against `ipaddress`."""

from ipaddress import IPv4Network, IPv6Network, ip_address

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.policy.subscribers import LENGTH_LIMIT

from .worlds import packed, world

V4_BITS, V6_BITS = (0, 8, 9, 24, 32), (0, 64, 128)  # as many lengths as there may be

address4 = st.tuples(*[st.sampled_from([0, 1, 10, 127, 128, 255])] * 4).map(bytes)
address6 = st.lists(st.sampled_from([0, 1, 0xFD, 0xFF]), min_size=16, max_size=16).map(bytes)
network4 = st.builds(lambda a, n: IPv4Network((a, n), strict=False), address4, st.sampled_from(V4_BITS))
network6 = st.builds(lambda a, n: IPv6Network((a, n), strict=False), address6, st.sampled_from(V6_BITS)).filter(
    lambda network: not network.network_address.ipv4_mapped
)
scope = st.sampled_from([0, 1, 2**32 - 1])
owned = st.dictionaries(st.tuples(network4 | network6, scope), st.booleans(), min_size=1, max_size=40)


def configure(prefixes: dict) -> dict:
    return {
        "profiles": {"none": {}},
        "subscribers": [
            {
                "id": f"{network} in {number}",
                "prefixes": [str(network)],
                "scope": number,
                "profile": "none",
                "fail": "closed" if closed else "open",
            }
            for (network, number), closed in prefixes.items()
        ],
    }


def look_up(prefixes: dict, address: bytes, number: int) -> str | None:
    """The longest prefix of the scope that holds the address."""
    parsed = ip_address(address)
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    # ::/0 holds the mapped IPv4 addresses too; every IPv4 prefix is longer.
    holding = [
        (network.version == 4, network.prefixlen, f"{network} in {number}")
        for network, where in prefixes
        if where == number and (parsed in network or ip_address(address) in network)
    ]
    return max(holding)[2] if holding else None


@settings(max_examples=40, deadline=None)
@given(owned, st.lists(address4.map(lambda a: bytes(10) + b"\xff\xff" + a) | address6, max_size=40))
def test_find_subscriber_is_the_longest_prefix(prefixes: dict, addresses: list[bytes]) -> None:
    with world(configure(prefixes), {}) as made:
        ends = [packed(str(network[at])) for network, _ in prefixes for at in (0, -1)]
        for address in addresses + ends:
            for number in (0, 1, 2**32 - 1, 5):
                assert made.find_subscriber(address, number) == look_up(prefixes, address, number)


@settings(max_examples=40, deadline=None)
@given(owned)
def test_prefixes_are_told_as_configured(prefixes: dict) -> None:
    with world(configure(prefixes), {}) as made:
        expected = [
            (number, packed(str(network[0])), network.prefixlen + (96 if network.version == 4 else 0), closed)
            for (network, number), closed in prefixes.items()
        ]
        assert sorted(made.snapshot.prefixes()) == sorted(expected)


def test_many_subscribers_of_one_length() -> None:
    count = 5_000
    addresses = [f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}" for number in range(count)]
    settings = {
        "profiles": {"none": {}},
        "subscribers": [
            {"id": f"s{number}", "prefixes": [address], "profile": "none"} for number, address in enumerate(addresses)
        ],
    }
    with world(settings, {}) as made:
        for number in range(0, count, 37):
            assert made.find_subscriber(packed(addresses[number])) == f"s{number}"
        assert made.find_subscriber(packed("10.200.0.0")) is None


def test_as_many_lengths_as_there_may_be() -> None:
    prefixes = {(IPv4Network(f"10.0.0.0/{bits}"), 0): False for bits in range(8, 8 + LENGTH_LIMIT)}
    with world(configure(prefixes), {}) as made:
        assert made.find_subscriber(packed("10.0.0.1")) == "10.0.0.0/15 in 0"
        assert made.find_subscriber(packed("10.255.0.1")) == "10.0.0.0/8 in 0"
        assert made.find_subscriber(packed("11.0.0.1")) is None

"""Filters of hooks into a snapshot: `policy.filters` reads what is written here, and has its layout.

It knows names of protocols, categories and profiles. Refuses to know where filters come from.
"""

from collections.abc import Sequence

import numpy as np

from penstock.control.lists.names_file import hash_names
from penstock.hooks.filters import Filter
from penstock.path.layout import PROTO_NAMES
from penstock.policy import filters as form
from penstock.policy.layout import profile_tag

EVERYTHING = Filter()


def fit_filters(filters: Sequence[Filter]) -> list[Filter]:
    """As many filters as there is room for, each with no more hosts than fit: others stand for every host."""
    kept = list(filters) if len(filters) <= form.FILTER_LIMIT else [EVERYTHING]
    room, fitted = form.HOSTS_LIMIT, []
    for item in kept:
        hosts = item.hosts
        if hosts is not None and len(hosts) > room:
            hosts = None
        room -= len(hosts or ())
        fitted.append(Filter(item.categories, item.ports, item.profiles, item.protocols, hosts))
    return fitted


def build_filters(filters: Sequence[Filter], categories: list[str], key: bytes) -> tuple[bytes, int]:
    """The part of a snapshot, and how many filters are in it. `key`: the two words by which names are hashed."""
    fitted = fit_filters(filters)
    hosts: dict[str, int] = {}
    for number, item in enumerate(fitted):
        for host in item.hosts or ():
            hosts[host] = hosts.get(host, 0) | 1 << number
    table, mask = _build_hosts(hosts, key)
    records = b"".join(_build_filter(item, categories) for item in fitted)
    return np.array([mask], np.int64).tobytes() + records + table, len(fitted)


def _build_filter(item: Filter, categories: list[str]) -> bytes:
    known = PROTO_NAMES if item.protocols is None else item.protocols
    protocols = sum(1 << number for number, name in enumerate(PROTO_NAMES) if name in known)
    wanted = item.categories or ()
    mask = sum(1 << bit for bit, name in enumerate(categories) if name in wanted)
    ports = None if item.ports is None else [first << 16 | last for first, last in item.ports]
    tags = None if item.profiles is None else sorted(profile_tag(name) for name in item.profiles)
    words = [protocols, _signed(mask), int(item.categories is not None)]
    words += _build_list(ports, form.PORT_LIMIT) + _build_list(tags, form.TAG_LIMIT)
    return np.array([*words, int(item.hosts is None)], np.int64).tobytes()


def _build_list(values: list[int] | None, limit: int) -> list[int]:
    """A count and room for `limit` values; -1 for everything, and for more than there is room for."""
    if values is None or len(values) > limit:
        return [-1, *[0] * limit]
    return [len(values), *values, *[0] * (limit - len(values))]


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 == 1 else value


def _build_hosts(hosts: dict[str, int], key: bytes) -> tuple[bytes, int]:
    """The table of hosts, and its mask; -1 without any."""
    if not hosts:
        return b"", -1
    hashes = hash_names("".join(f"{host}\n" for host in hosts).encode(), len(hosts), key)
    merged: dict[int, int] = {}
    for value, mask in zip((_signed(int(number)) for number in hashes), hosts.values(), strict=True):
        merged[value] = merged.get(value, 0) | mask
    size = 1 << (2 * len(merged) - 1).bit_length()
    while (table := _fill_table(merged, size)) is None:
        size *= 2
    return table.tobytes(), size - 1


def _fill_table(hosts: dict[int, int], size: int) -> np.ndarray | None:
    """Each host within HOST_PROBES of its home, and an empty place behind it; None when one does not fit."""
    table = np.zeros((size, form.HOST_BYTES // 8), np.int64)
    for value, mask in hosts.items():
        free = next((at for turn in range(form.HOST_PROBES) if not table[at := (value + turn) & (size - 1), 1]), None)
        if free is None:
            return None
        table[free] = value, _signed(mask)
    return table

"""The table of own names beside a dictionary: what is put is found by the path's look-up, the nearest name first."""

from functools import cache
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.compile.memory import CHECKED, allow, forbid
from penstock.compile.native import kernel
from penstock.line.own_names import OWN_ALLOW, OWN_DENY, OwnNames
from penstock.policy.judge import OWN_NOTHING
from penstock.policy.own_names import WORD_BYTES, find_own

SECRET = 0x1234_5678_9ABC_DEF0
NAMES = ["test", "a.test", "b.a.test", "xn--bro-hoa.test", "[2001:db8::1]", "x" * 60 + ".a.test"]
HOSTS = [*NAMES, "c.b.a.test", "www.example", "B.A.Test", "ba.test"]
WORDS = 32

numbers = st.integers(1, 3)
names = st.sampled_from(NAMES)
actions = st.sampled_from([OWN_ALLOW, OWN_DENY])
steps = st.tuples(st.just("put"), numbers, names, actions) | st.tuples(st.just("away"), numbers, names, actions)
rows = st.dictionaries(st.tuples(numbers, names), actions, max_size=12)


@cache
def finder() -> Any:
    return kernel(find_own)


def find(table: Any, number: int, host: str) -> int:
    text = np.frombuffer(host.encode(), np.uint8).copy()
    regions = [allow(a.ctypes.data, a.ctypes.data + a.nbytes) for a in (table, text)] if CHECKED else []
    mask = len(table) // WORD_BYTES - 1
    found = int(finder()(int(table.ctypes.data), mask, SECRET, number, int(text.ctypes.data), len(text)))
    for region in regions:
        forbid(region)
    return found


def find_plainly(said: dict[tuple[int, str], int], number: int, host: str) -> int:
    labels = host.lower().split(".")
    covering = [".".join(labels[at:]) for at in range(len(labels))]
    return next((said[number, name] for name in covering if (number, name) in said), OWN_NOTHING)


def check(names: OwnNames, table: Any, said: dict[tuple[int, str], int]) -> None:
    assert names.count == len(said)
    for number in (1, 2, 3):
        for host in HOSTS:
            assert find(table, number, host) == find_plainly(said, number, host), (number, host)


@settings(max_examples=60, deadline=None)
@given(taken=st.lists(steps, max_size=40), then=rows)
def test_it_agrees_with_a_dictionary(taken: list[tuple[str, int, str, int]], then: dict[tuple[int, str], int]) -> None:
    table = np.zeros(WORDS * WORD_BYTES, np.uint8)
    own, said = OwnNames(table, SECRET), {}
    for kind, number, name, action in taken:
        if kind == "away":
            own.take_away(number, name)
            said.pop((number, name), None)
        elif own.put(number, name, action):
            said[number, name] = action
        else:
            assert len(said) == own.capacity == WORDS // 2
            assert (number, name) not in said
    check(own, table, said)
    check(OwnNames(table, SECRET), table, said)  # as another process finds it
    assert own.replace_all((number, name, action) for (number, name), action in then.items()) == 0
    check(own, table, then)


def test_what_finds_no_room_is_counted() -> None:
    table = np.zeros(WORDS * WORD_BYTES, np.uint8)
    own = OwnNames(table, SECRET)
    assert own.replace_all((1, f"{at}.test", OWN_DENY) for at in range(20)) == 4
    assert own.count == 16
    assert not own.put(1, "one.more.test", OWN_ALLOW)
    assert own.put(1, "3.test", OWN_ALLOW), "what is there can be said otherwise"
    own.take_away(1, "3.test")
    assert own.put(1, "one.more.test", OWN_ALLOW)
    assert find(table, 1, "one.more.test") == OWN_ALLOW

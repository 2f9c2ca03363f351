"""A subscriber's own list against a dictionary."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.line.own_names import OWN_ALLOW, OWN_DENY, OwnNames
from penstock.policy.own_names import find_own

from .worlds import compiled, readable, span

SECRET = 0x1234_5678_9ABC_DEF1
label = st.text("abz-", min_size=1, max_size=3)
name = st.lists(label, min_size=1, max_size=4).map(".".join)
number = st.integers(1, 4)
action = st.sampled_from([OWN_ALLOW, OWN_DENY])
said = st.dictionaries(st.tuples(number, name), action, max_size=12)


def find(table: np.ndarray, number: int, host: bytes) -> int:
    text = span(host)
    with readable(table, text) as (at, host_at):
        return int(compiled(find_own)(at, len(table) // 8 - 1, SECRET, number, host_at, len(host)))


def expect(said: dict, number: int, host: str) -> int:
    """What the nearest name of the list says."""
    labels = host.split(".")
    found = [".".join(labels[start:]) for start in range(len(labels))]
    return next((said[number, one] for one in found if (number, one) in said), 0)


@settings(deadline=None)
@given(said, said, st.lists(st.tuples(number, name), max_size=8), st.data())
def test_it_says_what_was_said_last(first: dict, then: dict, asked: list, data: st.DataObject) -> None:
    table = np.zeros(8 * 64, np.uint8)
    own = OwnNames(table, SECRET)
    for (number, one), action in first.items():
        assert own.put(number, one, action)
    gone = data.draw(st.sets(st.sampled_from(sorted(first)))) if first else set()
    for number, one in gone:
        own.take_away(number, one)
    now = {key: action for key, action in first.items() if key not in gone}
    for key in [*first, *then, *asked]:
        for host in (key[1], f"www.{key[1]}", key[1].upper()):
            assert find(table, key[0], host.encode()) == expect(now, key[0], host.lower())
    assert own.count == len(now)
    assert own.replace_all((number, one, action) for (number, one), action in then.items()) == 0
    for key in [*first, *then, *asked]:
        assert find(table, key[0], f"a.{key[1]}".encode()) == expect(then, key[0], f"a.{key[1]}")
    assert own.count == len(then)


def test_a_full_table_says_so_and_keeps_what_it_has() -> None:
    table = np.zeros(8 * 64, np.uint8)
    own = OwnNames(table, SECRET)
    names = [f"n{turn}.example" for turn in range(own.capacity)]
    assert all(own.put(7, one, OWN_DENY) for one in names)
    assert not own.put(7, "more.example", OWN_DENY)
    assert find(table, 7, b"more.example") == 0
    assert all(find(table, 7, one.encode()) == OWN_DENY for one in names)
    assert own.replace_all((7, f"m{turn}.example", OWN_ALLOW) for turn in range(own.capacity + 3)) == 3
    assert all(find(table, 7, one.encode()) == 0 for one in names)
    assert sum(find(table, 7, f"m{turn}.example".encode()) == OWN_ALLOW for turn in range(own.capacity)) == own.capacity
    again = OwnNames(table, SECRET)
    assert again.count == own.count == own.capacity


def test_what_is_no_name_is_on_no_list() -> None:
    table = np.zeros(8 * 64, np.uint8)
    OwnNames(table, SECRET).put(1, "example", OWN_DENY)
    assert find(table, 1, b"") == 0
    assert find(table, 1, b"x" * 300) == 0
    assert find(table, 1, b"." * 200 + b"example") == OWN_DENY

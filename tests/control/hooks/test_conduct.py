"""Who loses a hook because it costs worker processes: he alone, before everybody does."""

from hypothesis import given
from hypothesis import strategies as st

from penstock.control.hooks.conduct import OF_ALL, OF_ONE, PAUSE_S, WINDOW_S, Conduct


def test_two_strikes_of_one_subscriber_are_his_own() -> None:
    conduct = Conduct()
    assert conduct.strike("f", "ana", 0.0) is None
    assert not conduct.is_paused("f", "ana", 0.1)
    assert conduct.strike("f", "ana", 1.0) == "ana"
    assert conduct.is_paused("f", "ana", 1.1)
    assert not conduct.is_paused("f", "ben", 1.1)
    assert not conduct.is_paused("g", "ana", 1.1)
    assert conduct.count_paused(1.1) == 1
    assert not conduct.is_paused("f", "ana", 1.0 + PAUSE_S)


def test_strikes_of_many_are_everybodys() -> None:
    conduct = Conduct()
    told = [conduct.strike("f", f"subscriber {number}", float(number)) for number in range(OF_ALL)]
    assert told == [None] * (OF_ALL - 1) + ["everybody"]
    assert conduct.is_paused("f", "somebody", OF_ALL)
    assert conduct.is_paused("f", None, OF_ALL)
    conduct.clear()
    assert not conduct.is_paused("f", "somebody", OF_ALL)


def test_old_strikes_are_forgotten() -> None:
    conduct = Conduct()
    assert [conduct.strike("f", "ana", number * (WINDOW_S + 1)) for number in range(20)] == [None] * 20


@given(st.integers(0, 30))
def test_one_subscriber_alone_never_takes_a_hook_from_others(tries: int) -> None:
    """However often he tries: what he is left out of costs no worker, so that he cannot be blamed for it."""
    conduct = Conduct()
    for number in range(tries):
        if not conduct.is_paused("f", "hostile", float(number)):
            conduct.strike("f", "hostile", float(number))
        assert not conduct.is_paused("f", "honest", float(number))
    assert OF_ALL > 2 * OF_ONE

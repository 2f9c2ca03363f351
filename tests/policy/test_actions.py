"""The numbers of the actions are kept for ever: events and tables hold them."""

from penstock.policy import actions


def test_numbers_and_words() -> None:
    numbers = (actions.FORWARD, actions.REPORT, actions.BLOCK, actions.REDIRECT, actions.EMPTY)
    assert numbers == (0, 1, 2, 3, 4)
    assert [actions.ACTION_NAMES[number] for number in numbers] == ["forward", "report", "block", "redirect", "empty"]
    assert len(actions.ACTION_TEXTS) == len(actions.ACTION_NAMES) == actions.ACTION_COUNT

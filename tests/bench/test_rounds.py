"""Rounds are fair and estimates lie where they must."""

from bench.rounds import compare, estimate, interleave, subtract
from hypothesis import given
from hypothesis import strategies as st

FIGURES = st.lists(st.floats(1, 1e6), min_size=1, max_size=9)


@given(st.lists(st.sampled_from("abcde"), unique=True, min_size=1), st.integers(1, 4))
def test_every_arm_stands_twice_in_a_block_and_as_early_as_late(names: list[str], blocks: int) -> None:
    order: list[str] = []
    arms = {name: name for name in names}
    figures = interleave(arms, blocks, lambda arm: order.append(arm) or {"x": float(len(order))}, lambda: None)
    assert order == names + (names + names[::-1]) * blocks
    for block in range(blocks):  # a steady drift weighs on every arm alike
        assert len({figures["x"][name][block] for name in names}) == 1


@given(FIGURES)
def test_an_estimate_lies_in_its_interval_and_the_interval_in_the_values(values: list[float]) -> None:
    found = estimate(values)
    assert min(values) <= found.low <= found.median <= found.high <= max(values)
    assert estimate(values) == found


@given(FIGURES, st.floats(0.1, 10))
def test_a_constant_ratio_and_difference_are_found(values: list[float], factor: float) -> None:
    figures = {"a": [value * factor for value in values], "b": values}
    assert abs(compare(figures, "a", "b").median - factor) < 1e-6 * factor
    assert subtract({"a": values, "b": values}, "a", "b").median == 0

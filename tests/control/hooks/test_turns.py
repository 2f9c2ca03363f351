"""Turns: nobody waits for another's many, each job is taken once, and nobody holds more than his share."""

from collections import Counter
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from penstock.control.hooks.turns import Turns


@dataclass(eq=False)
class Waits:
    asker: str
    number: int
    is_over: bool = False


VERBS = st.sampled_from(["put", "take", "take", "release", "end"])
STEPS = st.lists(st.tuples(VERBS, st.sampled_from("abc"), st.integers(0, 9)), max_size=80)


@given(STEPS, st.integers(1, 3))
def test_it_agrees_with_the_rules(steps: list[tuple[str, str, int]], share: int) -> None:
    turns: Turns[Waits] = Turns(share)
    waiting: list[Waits] = []
    held: list[Waits] = []
    for number, (step, asker, which) in enumerate(steps):
        if step == "put":
            waiting.append(Waits(asker, number))
            turns.put(waiting[-1])
        elif step == "end" and waiting:
            waiting[which % len(waiting)].is_over = True
        elif step == "release" and held:
            turns.release(held.pop(which % len(held)))
        elif step == "take":
            counts = Counter(item.asker for item in held)
            may = [item for item in waiting if not item.is_over and counts[item.asker] < share]
            taken = turns.take()
            assert (taken is None) == (not may)
            if taken is not None:
                first = next(item for item in may if item.asker == taken.asker)
                assert taken is first  # the oldest of whoever's turn it is
                waiting.remove(taken)
                held.append(taken)
    assert [item for item in turns if not item.is_over] == sorted(
        (item for item in waiting if not item.is_over), key=lambda item: list(turns).index(item)
    )


def test_askers_take_turns() -> None:
    turns: Turns[Waits] = Turns(100)
    for number in range(50):
        turns.put(Waits("many", number))
    turns.put(Waits("one", 0))
    taken = [turns.take() for _ in range(3)]
    assert [item.asker for item in taken if item] == ["many", "one", "many"]

"""The last hour against a plain list of requests: what is kept, what is forgotten, and how much memory it takes."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.control import last_hour as h
from penstock.control.last_hour import LastHour, read_last_hours
from penstock.path.sample import SAMPLE_BYTES

# Minutes that go by before some requests of these kinds, and how many more were counted than sampled.
steps = st.lists(
    st.tuples(st.sampled_from([0, 0, 1, 1, 2, 30, 59, 60, 61, 500]), st.lists(st.integers(1, 250)), st.integers(0, 9)),
    max_size=30,
)


def sample(kind: int) -> np.ndarray:
    return np.full(SAMPLE_BYTES, kind, np.uint8)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**6), steps)
def test_it_holds_the_last_sixty_minutes_and_nothing_else(minute: int, given_steps: list) -> None:
    hour, model, seen = LastHour(), [], Counter()
    for passed, kinds, unsampled in given_steps:
        minute += passed
        hour.begin_minute(minute)
        hour.count(len(kinds) + unsampled)
        seen[minute] += len(kinds) + unsampled
        for kind in kinds:
            hour.add(sample(kind))
            model.append((minute, kind))
        young = [(at, kind) for at, kind in model if at > minute - 60]
        assert hour.requests == sum(count for at, count in seen.items() if at > minute - 60)
        assert hour.seen_in(minute - 1) == seen[minute - 1]
        kept = [int(one[0]) for _, samples in hour.minutes() for one in samples]
        assert sorted(kept) == sorted(kind for _, kind in young)
        assert int((hour.samples[:, :, 0] != 0).sum()) == len(young)  # what is old is not even in memory
    for count, samples in hour.minutes():
        assert count >= len(samples)


@settings(max_examples=10, deadline=None)
@given(st.integers(h.KEPT_LIMIT, 5 * h.KEPT_LIMIT), st.integers(1, 9))
def test_of_a_busy_minute_a_fair_choice_is_kept(requests: int, every: int) -> None:
    hour = LastHour()
    hour.begin_minute(7)
    for number in range(requests):
        hour.add(sample(1 if number * every < requests else 2))  # a share of 1 / every, all of it at the beginning
    hour.count(requests)
    ((seen, samples),) = hour.minutes()
    assert (seen, len(samples)) == (requests, h.KEPT_LIMIT)
    share = float((samples[:, 0] == 1).mean())
    assert abs(share - 1 / every) < 0.15  # six standard deviations of half of 512


def test_it_is_of_a_fixed_size() -> None:
    assert h.SIZE_BYTES < 9_000_000
    hour = LastHour()
    for minute in range(3 * h.MINUTES):
        hour.begin_minute(minute)
        for _ in range(h.KEPT_LIMIT + 3):
            hour.add(sample(9))
    assert hour.samples.nbytes + hour.heads.nbytes < h.SIZE_BYTES
    assert sum(len(samples) for _, samples in hour.minutes()) == h.MINUTES * h.KEPT_LIMIT


def test_another_process_can_read_it() -> None:
    hour = LastHour()
    hour.begin_minute(3)
    hour.add(sample(77))
    hour.count(1)
    hour.set_note(snapshot="/somewhere", refusals=1)
    hour.set_note(refusals=2)
    found = [copy for _, copy in read_last_hours() if copy.note.get("snapshot") == "/somewhere"]
    assert len(found) == 1
    assert found[0].note == {"snapshot": "/somewhere", "refusals": 2}
    ((seen, samples),) = found[0].minutes()
    assert (seen, int(samples[0][5])) == (1, 77)

"""The rule of the flow record against a model in words."""

from functools import cache
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.compile.native import kernel
from penstock.flow import record as f
from penstock.kernel import reasons as r

LIMIT = 1 << 32
BODY_BITS = 30
sequences = st.one_of(st.integers(0, LIMIT - 1), st.integers(LIMIT - 300, LIMIT - 1), st.integers(0, 300))
near = st.one_of(st.integers(-5, 5), st.integers(-3000, 3000), st.integers(-70_000, 70_000))


@cache
def compiled(function: Any) -> Any:
    return kernel(function)


def signed(word: int) -> int:
    """64 bits as compiled code gets them."""
    return word - (1 << 64) if word >> 63 else word


class Case(NamedTuple):
    """A record and a segment, in positions that never wrap and count from J; `age`: bytes acknowledged since birth."""

    state: int
    body: int
    acked: int
    age: int
    waits: bool
    is_gap: bool
    is_urgent: bool
    start: int
    size: int
    fin: bool


def classify(case: Case) -> int:
    """Steps 1 to 7 of the rule; and no server gets urgent bytes, or those before the connection's first, unread."""
    state, body, acked, age, waits, is_gap, is_urgent, start, size, fin = case
    judged, birth, end = 0, acked - age, start + size + fin
    if state == f.REFUSED:
        return r.UP_REFUSED
    is_free = state == f.FREED or (state == f.SETTLING and acked >= judged)
    if end == start and not (is_urgent and not is_free):
        return r.EMPTY
    if waits:
        return r.UP_WAITING
    if is_free:
        return r.FREE
    if is_gap:
        return r.UP_GAP
    if is_urgent or (start < birth - 1 and age < f.BIRTH_BYTES):
        return r.UP_UNJUDGED
    if end <= acked:
        return r.ACKNOWLEDGED
    if state == f.SETTLING:
        return r.FREE if start >= judged else r.UP_UNJUDGED
    if start >= judged and end <= judged + body:
        return r.BODY
    if size == 0 and start == judged and body == 0:
        return r.FINISHED
    if start > judged + body + 65536:
        return r.BEYOND
    return r.UP_UNJUDGED


@given(sequences, sequences)
def test_sequence_difference(a: int, b: int) -> None:
    difference = compiled(f.sequence_difference)(a, b)
    assert -(1 << 31) <= difference < 1 << 31
    assert (difference - a + b) % LIMIT == 0


@given(st.integers(0, 3), sequences, st.integers(0, (1 << BODY_BITS) - 1))
def test_a_word_holds_its_three_parts(state: int, judged: int, body: int) -> None:
    word = compiled(f.pack_word)(state, judged, body)
    assert word == signed(state << 62 | body << 32 | judged)
    assert compiled(f.state_of)(word) == state
    assert compiled(f.judged_end_of)(word) == judged
    assert compiled(f.free_end_of)(word) == (judged + body) % LIMIT


@given(st.integers(0, 3), st.integers(-LIMIT, 3 * LIMIT))
def test_a_word_takes_any_judged_end(state: int, judged: int) -> None:
    word = compiled(f.pack_word)(state, judged, 0)
    assert compiled(f.judged_end_of)(word) == judged % LIMIT
    assert compiled(f.state_of)(word) == state


cases = st.builds(
    Case, st.integers(0, 3), st.one_of(st.just(0), st.integers(0, 3000), st.integers(0, (1 << BODY_BITS) - 1)), near,
    st.one_of(st.integers(0, 3000), st.integers(0, (1 << 31) - 200_000)), st.booleans(), st.booleans(),
    st.integers(0, 7).map(lambda n: n == 0), near, st.integers(0, 65535), st.booleans(),
)  # fmt: skip


@settings(max_examples=2000, deadline=None)
@given(sequences, cases, st.booleans())
def test_the_rule(first: int, case: Case, stands_near_the_end: bool) -> None:
    """Wherever J is in the circle of sequence numbers."""
    if stands_near_the_end:
        case = case._replace(start=case.start + case.body)
    seq = (first + case.start) % LIMIT
    word = signed(case.state << 62 | case.body << 32 | first)
    found = compiled(f.classify_segment)(
        word, (first + case.acked) % LIMIT, (first + case.acked - case.age) % LIMIT,
        case.waits, case.is_gap, case.is_urgent,
        seq, seq + case.size + case.fin, case.size > 0,
    )  # fmt: skip
    assert r.NAMES[found] == r.NAMES[classify(case)]


def test_the_verdicts_are_those_of_the_ranges() -> None:
    for number in (r.EMPTY, r.FREE, r.ACKNOWLEDGED, r.BODY, r.FINISHED):
        assert number < r.DROP_FIRST
    assert r.DROP_FIRST <= r.BEYOND < r.UP_FIRST
    for number in (r.UP_REFUSED, r.UP_WAITING, r.UP_GAP, r.UP_UNJUDGED):
        assert r.UP_FIRST <= number < r.PATH_FIRST


@given(st.integers(0, 2**40), st.integers(0, 2**31))
def test_an_age_is_what_passed_and_never_negative(now_ms: int, passed_ms: int) -> None:
    age_of = compiled(f.age_of)
    assert age_of(now_ms, (now_ms - passed_ms) & 0xFFFFFFFF) == passed_ms
    ahead_ms = passed_ms % f.APART_MS
    assert age_of(now_ms, (now_ms + ahead_ms) & 0xFFFFFFFF) == 0

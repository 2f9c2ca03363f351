"""The catalogue itself: complete, without repetition, each place in it findable; and the judge of outcomes."""

import re
from collections import Counter

import pytest

from tests.evasion.catalogue import CATALOGUE
from tests.evasion.places import TlsClient, build_stream, find_place, http_request
from tests.evasion.recipe import ALLOWED, BLOCKED, COVER, SERVERS, AwaitAck, Segment, Strategy, Tcp
from tests.evasion.stage import Part, Seen, parts_of
from tests.evasion.verdict import judge_part

LEAST = 200
SAMPLE = Strategy("a.b", "a", "c", "d", Tcp())


def test_there_are_enough() -> None:
    assert len(CATALOGUE) >= LEAST


def test_every_id_names_one_strategy() -> None:
    assert [name for name, times in Counter(one.id for one in CATALOGUE).items() if times > 1] == []


@pytest.mark.parametrize("one", CATALOGUE, ids=lambda one: one.id)
def test_each_says_what_it_is(one: Strategy) -> None:
    assert re.fullmatch(rf"{one.family}\.[a-z0-9-]+", one.id)
    assert one.source
    assert one.what
    assert one.nets
    assert set(one.over) <= set(SERVERS)
    assert not (one.harmless and one.ambiguous)


def test_no_two_do_the_same() -> None:
    plays = Counter(
        repr((one.play, one.over, one.nets))
        for one in CATALOGUE
        if isinstance(one.play, Tcp) and "function" not in repr(one.play)
    )
    assert [play for play, times in plays.items() if times > 1] == []


@pytest.mark.parametrize("one", [one for one in CATALOGUE if isinstance(one.play, Tcp)], ids=lambda one: one.id)
def test_every_place_is_in_the_stream(one: Strategy) -> None:
    play = one.play
    for over in one.over:
        stream = TlsClient(BLOCKED).advance() if over == "tls" else http_request(BLOCKED)
        stream = stream if play.stream is None else build_stream(play.stream, BLOCKED)
        stream = stream if play.change is None else play.change(stream)
        for step in play.steps:
            places = (
                (step.start, step.end)
                if isinstance(step, Segment)
                else (step.place,)
                if isinstance(step, AwaitAck)
                else ()
            )
            found = [find_place(place, stream, BLOCKED) for place in places]
            assert all(0 <= place <= len(stream) for place in found), (step, found)
            assert found == sorted(found), (step, found)


def test_names_are_equally_long_and_differ_on_both_sides_of_a_cut() -> None:
    names = (BLOCKED, ALLOWED, COVER)
    assert len({len(name) for name in names}) == 1
    middle = len(BLOCKED) // 2
    assert len({name[:middle] for name in names}) == len({name[middle:] for name in names}) == len(names)


@pytest.mark.parametrize(
    ("host", "without", "through", "ambiguous", "outcome"),
    [
        (BLOCKED, 1, 0, "", "stopped"),
        (BLOCKED, 1, 1, "", "bypass"),
        (BLOCKED, 0, 1, "", "bypass"),
        (BLOCKED, 0, 0, "", "unlanded"),
        (ALLOWED, 2, 2, "", "works"),
        (ALLOWED, 2, 1, "", "collateral"),
        (ALLOWED, 2, 0, "two versions", "refused"),
        (ALLOWED, 0, 0, "", "unlanded"),
    ],
)
def test_outcomes(host: str, without: int, through: int, ambiguous: str, outcome: str) -> None:
    part = Part(Strategy("a.b", "a", "c", "d", Tcp(), ambiguous=ambiguous), "http", "nginx", "IPv4", host)
    name = f"x {host}:80"
    assert judge_part(part, Seen({name: without}), Seen({name: through})) == outcome


@pytest.mark.parametrize(
    ("acted", "counts"),
    [
        (BLOCKED, True),
        (f"{BLOCKED}.", True),
        (f"{BLOCKED}:80", True),
        (f"{COVER} {BLOCKED}", True),
        (f"www.{BLOCKED}", True),
        (f"{BLOCKED}\0.{COVER}", True),
        (f"{BLOCKED}ssh-2.0-x", False),
        (f"my{BLOCKED}", False),
        (f"{BLOCKED}.example.org", False),
    ],
)
def test_only_the_name_itself_and_what_is_below_it_count(acted: str, counts: bool) -> None:
    assert Seen({acted: 1}).count(BLOCKED) == counts


def test_a_repetition_makes_it_late() -> None:
    part = Part(SAMPLE, "http", "nginx", "IPv4", ALLOWED)
    assert judge_part(part, Seen({ALLOWED: 1}), Seen({ALLOWED: 1}, repeats=1)) == "late"


def test_what_is_harmless_must_arrive_whole() -> None:
    part = Part(Strategy("a.b", "a", "c", "d", Tcp(), harmless=True), "sink", "CPython", "IPv4", BLOCKED)
    assert judge_part(part, Seen({}, b"abc"), Seen({}, b"abc")) == "passes"
    assert judge_part(part, Seen({}, b"abc"), Seen({}, b"ab")) == "harmed"


def test_a_strategy_meets_every_server_of_its_protocol() -> None:
    parts = parts_of([SAMPLE], ["IPv4", "IPv6"], [BLOCKED])
    assert len(parts) == 2 * 2 * 2

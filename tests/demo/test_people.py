"""What must come of each person's visits, and that the visits show each outcome that there is."""

import pytest

from penstock.demo.operator import LISTED, MISTAKEN
from penstock.demo.people import (
    ADA,
    BRUNO,
    CARLA,
    CHAT,
    DORA,
    GAMES,
    GUEST,
    KNOWN,
    LIBRARY,
    NEWS,
    PEOPLE,
    TABLET,
    WENT_ON,
    Person,
    list_habits,
    list_visits,
)


@pytest.mark.parametrize(
    ("person", "host", "expected"),
    [
        (ADA, LISTED["phishing"], "page"),
        (ADA, LISTED["advertising"], "empty"),
        (ADA, LISTED["scam"], "warning"),
        (ADA, LISTED["young"], "site"),  # only on trial
        (ADA, MISTAKEN, "site"),
        (ADA, CHAT, "page"),
        (ADA, GAMES, "site"),
        (TABLET, CHAT, "page"),
        (TABLET, GAMES, "page"),
        (LIBRARY, CHAT, "site"),
        (BRUNO, LISTED["adult"], "site"),
        (CARLA, LISTED["malware"], "site"),
        (CARLA, LISTED["ordered"], "court"),
        (GUEST, LISTED["ordered"], "site"),
        (DORA, NEWS, "reset"),
    ],
    ids=lambda value: value.id if isinstance(value, Person) else value,
)
def test_each_gets_what_he_chose(person: Person, host: str, expected: str) -> None:
    assert person.expect(host, "http") == expected
    assert person.expect(host, "https") == (expected if expected in ("site", "reset") else "refused")


def test_the_visits_show_everything() -> None:
    visits = list(list_visits())
    assert {one.expected for one in visits} == {"site", "page", "warning", "court", "empty", "refused", "reset"}
    assert {one.person for one in visits} == set(PEOPLE)
    assert {one.family for one in visits} == {4, 6}
    assert len(visits) == len(set(visits))
    assert WENT_ON.expected == "site"


def test_what_goes_on_is_mostly_allowed_and_none_of_it_waits_for_nothing() -> None:
    habits = list_habits()
    assert sum(one.expected == "site" for one in habits) > 0.7 * len(habits)
    assert not [one for one in habits if one.person.is_paused]


def test_addresses_and_ids_are_distinct() -> None:
    for field in ("id", "ipv4", "ipv6"):
        assert len({getattr(one, field) for one in PEOPLE}) == len(PEOPLE)
    assert GUEST not in KNOWN

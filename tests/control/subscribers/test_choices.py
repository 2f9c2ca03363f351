"""Choices as text: what is written is what is read, in whatever way; what makes no sense is said field by field."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.control.subscribers.choices import (
    DAYS,
    Choices,
    ChoicesError,
    Edit,
    check_choices,
    load_choices,
    read_choices,
)
from penstock.control.subscribers.schedules import find_change, is_active
from penstock.control.subscribers.zones import find_zone

NAMES = [f"{label}.example" for label in "abcd"]
names = st.lists(st.sampled_from(NAMES), max_size=4, unique=True).map(tuple)
schedules = st.fixed_dictionaries(
    {
        "name": st.text("abö ", min_size=1, max_size=40).map(str.strip).filter(bool),
        "days": st.lists(st.sampled_from(DAYS), min_size=1, max_size=9),
        "begin": st.sampled_from(["00:00", "09:30", "23:59"]),
        "end": st.sampled_from(["00:00", "07:05"]),
        "pause": st.just(True),
    },
    optional={"services": st.lists(st.sampled_from(["ads", "web"]), max_size=3)},
)
contents = st.fixed_dictionaries(
    {},
    optional={
        "services": st.dictionaries(st.sampled_from(["ads", "web"]), st.booleans()),
        "allow": st.lists(st.sampled_from([*NAMES, "BÜRO.example.", "[2001:DB8::1]", "192.0.2.1"]), max_size=9),
        "deny": st.lists(st.sampled_from(["www.test", "test"]), max_size=3),
        "schedules": st.lists(schedules, max_size=3, unique_by=lambda one: one["name"]),
        "zone": st.sampled_from([None, "Europe/Madrid"]),
        "safe_search": st.sampled_from([None, "off", False, "strict"]),
        "overrides": st.lists(
            st.fixed_dictionaries({"name": st.sampled_from(NAMES), "until_s": st.floats(0, 2e9)}), max_size=2
        ),
    },
)


@given(content=contents)
def test_what_is_written_is_read(content: dict[str, Any]) -> None:
    choices = check_choices(content)
    assert read_choices(choices.write()) == choices
    assert load_choices(choices.write()) == choices
    assert load_choices(choices.write()).write() == choices.write()
    assert choices.write().isascii()
    assert choices.replace({}) == choices


@given(before=st.tuples(names, names), given_=st.tuples(names, names, names, names))
def test_edits(before: tuple[Any, Any], given_: tuple[Any, Any, Any, Any]) -> None:
    allow, deny = before
    choices = Choices(allow=allow, deny=tuple(name for name in deny if name not in allow))
    more_allow, more_deny, no_allow, no_deny = given_
    edit = Edit(allow=more_allow, deny=more_deny, no_allow=no_allow, no_deny=no_deny)
    after = edit.apply(choices)
    for name in NAMES:
        if name in more_allow:
            said = "allow"
        elif name in more_deny:
            said = "deny" if name not in no_deny else None
        elif name in choices.allow:
            said = None if name in no_allow else "allow"
        elif name in choices.deny:
            said = None if name in no_deny else "deny"
        else:
            said = None
        assert (name in after.allow, name in after.deny) == (said == "allow", said == "deny")


NIGHT = {"name": "night", "days": ["mon"], "begin": "21:00", "end": "07:00", "pause": True}


@pytest.mark.parametrize(
    ("content", "problems"),
    [
        ([], [("", "expected keys with values")]),
        ({"colour": 1}, [("colour", "expected a known key")]),
        (
            {"services": {"ads": 1, " a": True}},
            [("services.ads", "expected `true` or `false`"), ("services. a", "no space")],
        ),
        ({"allow": ["a b", 5, "*.x.test"]}, [(f"allow[{at}]", "expected a name such as") for at in range(3)]),
        ({"allow": ["x.test"], "deny": ["X.test."]}, [("", "not in both: x.test")]),
        ({"zone": "europe/madrid"}, [("zone", "did you mean `Europe/Madrid`?")]),
        ({"zone": "posixrules"}, [("zone", "expected a time zone")]),
        ({"safe_search": "on"}, [("safe_search", "expected `off`, `moderate` or `strict`")]),
        ({"schedules": [NIGHT | {"begin": "24:00"}]}, [("schedules[0].begin", "expected a time of the day")]),
        ({"schedules": [NIGHT | {"days": []}]}, [("schedules[0].days", "expected at least one day")]),
        ({"schedules": [NIGHT | {"days": ["monday"]}]}, [("schedules[0].days[0]", "expected `mon`, ")]),
        ({"schedules": [NIGHT | {"pause": False}]}, [("schedules[0]", "expected `pause` or `services`")]),
        ({"schedules": [NIGHT | {"name": "x" * 41}]}, [("schedules[0].name", "expected 1 to 40 characters")]),
        ({"schedules": [NIGHT, NIGHT]}, [("", "`night` is there twice")]),
        ({"schedules": [NIGHT | {"name": str(at)} for at in range(17)]}, [("schedules", "at most 16 entries, not 17")]),
        ({"overrides": [{"name": "x.test", "until_s": float("inf")}]}, [("overrides[0].until_s", "expected a time")]),
        ({"deny": [f"{at}.{'x' * 60}.{'y' * 60}.test" for at in range(400)]}, [("", "at most 32,768 characters")]),
    ],
)
def test_what_makes_no_sense(content: Any, problems: list[tuple[str, str]]) -> None:
    with pytest.raises(ChoicesError) as error:
        check_choices(content)
    found = error.value.problems
    assert [field for field, _ in found] == [field for field, _ in problems]
    for (_, said), (_, wanted) in zip(found, problems, strict=True):
        assert wanted in said


def test_what_is_no_json() -> None:
    with pytest.raises(ChoicesError, match="expected JSON"):
        read_choices("{")


def test_a_zone_that_there_is_no_more_stops_nobody() -> None:
    """A store may hold what a newer database of time zones has not."""
    text = '{"zone":"Europe/Atlantis","schedules":[{"name":"a","days":["thu"],"begin":"12:00","end":"13:00","pause":true}]}'
    choices = load_choices(text)
    (schedule,) = choices.schedules
    assert find_zone("Europe/Atlantis").key == "UTC"
    assert is_active(schedule, choices.zone or "", 12.5 * 3600)  # 1 January 1970 was a Thursday
    assert find_change(schedule, choices.zone or "", 0) == 12 * 3600

"""What choices come to, beside a model that asks one question at a time."""

from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.control.configuration import Profile
from penstock.control.subscribers.choices import DAYS, Choices, Schedule
from penstock.control.subscribers.devices import list_owners
from penstock.control.subscribers.effective import Effective, Layer, find_effective, is_in_trial
from tests.control.subscribers.plain_choices import LEVELS, find_level, find_name, has_service, in_force

SERVICES = ["web", "ads", "kids"]
NAMES = ["a.example", "b.a.example", "example"]
NOW_S = datetime(2026, 10, 25, 0, 30, tzinfo=UTC).timestamp()  # half an hour before Madrid's clocks go back

services = st.lists(st.sampled_from(SERVICES), max_size=3, unique=True).map(tuple)
levels = st.sampled_from(LEVELS)
profiles = st.none() | st.builds(
    Profile,
    services=services,
    safe_search=levels,
    youtube=levels,
    ech=st.sampled_from(["keep", "remove", "refuse"]),
    unresolved=st.sampled_from(["ignore", "report", "block"]),
)
clocks = st.sampled_from(["00:00", "02:30", "07:00", "21:00"])
schedules = st.builds(
    Schedule,
    name=st.sampled_from("abc"),
    days=st.lists(st.sampled_from(DAYS), min_size=1, unique=True).map(tuple),
    begin=clocks,
    end=clocks,
    pause=st.just(True),
    services=services,
)
overrides = st.fixed_dictionaries(
    {"name": st.sampled_from(NAMES), "until_s": st.sampled_from([NOW_S - 1, NOW_S, NOW_S + 2.5, NOW_S + 9000])}
)


@st.composite
def choices(draw: st.DrawFn) -> Choices:
    names = {name: draw(st.sampled_from(["allow", "deny", None])) for name in NAMES}
    return Choices(
        services=draw(st.dictionaries(st.sampled_from(SERVICES), st.booleans())),
        allow=tuple(name for name in names if names[name] == "allow"),
        deny=tuple(name for name in names if names[name] == "deny"),
        schedules=tuple(draw(st.lists(schedules, max_size=3, unique_by=lambda one: one.name))),
        zone=draw(st.sampled_from([None, "UTC", "Europe/Madrid", "Australia/Lord_Howe"])),
        safe_search=draw(st.none() | levels),
        youtube=draw(st.none() | levels),
        overrides=tuple(draw(st.lists(overrides, max_size=2))),
    )


layers = st.lists(st.builds(Layer, profiles, choices()), min_size=1, max_size=3)
moments = st.integers(-8 * 86_400, 8 * 86_400).map(lambda more_s: NOW_S + more_s)


def without_time(found: Effective) -> tuple[object, ...]:
    return found.services, found.is_paused, found.names, found.schedules


@settings(max_examples=250, deadline=None)
@given(stack=layers, now_s=moments)
def test_it_agrees_with_one_question_at_a_time(stack: list[Layer], now_s: float) -> None:
    found = find_effective(stack, now_s)
    assert found.services == {name for name in SERVICES if has_service(stack, name, now_s)}
    assert found.names == {name: said for name in NAMES if (said := find_name(stack, name, now_s))}
    assert found.schedules == tuple(schedule.name for schedule in in_force(stack, now_s))
    assert found.is_paused == any(schedule.pause for schedule in in_force(stack, now_s))
    for key in ("safe_search", "youtube"):
        assert getattr(found, key) == LEVELS[find_level(stack, key)]
    of_profiles = [one.profile for one in stack if one.profile]
    assert (found.ech == "refuse") == any(profile.ech == "refuse" for profile in of_profiles)
    assert (found.unresolved == "ignore") == all(profile.unresolved == "ignore" for profile in of_profiles)


@settings(max_examples=150, deadline=None)
@given(stack=layers, now_s=moments)
def test_it_holds_until_the_next_change(stack: list[Layer], now_s: float) -> None:
    found = find_effective(stack, now_s)
    end_s = now_s + 10 * 86_400 if found.next_change_s is None else found.next_change_s
    assert end_s > now_s
    for part in range(40):
        then = find_effective(stack, now_s + (end_s - now_s) * part / 40)
        assert (without_time(then), then.next_change_s) == (without_time(found), found.next_change_s)


def test_a_service_of_a_schedule_is_on_though_it_was_chosen_off() -> None:
    homework = Schedule(name="homework", days=("sun",), begin="00:00", end="06:00", services=("kids",))
    stack = [Layer(Profile(services=("web",)), Choices(services={"kids": False, "ads": True}, schedules=(homework,)))]
    found = find_effective(stack, NOW_S)
    assert (found.services, found.is_paused, found.schedules) == ({"web", "ads", "kids"}, False, ("homework",))
    assert found.next_change_s == NOW_S + 5.5 * 3600
    assert find_effective(stack, found.next_change_s).services == {"web", "ads"}
    # In Madrid it is 02:30 then, and the night has an hour more.
    assert find_effective(stack, NOW_S, "Europe/Madrid").next_change_s == NOW_S + 4.5 * 3600


def test_whose_device_it_is() -> None:
    assert list_owners("home") == []
    assert list_owners("home/tablet") == ["home"]
    assert list_owners("a/b/c") == ["a", "a/b"]
    assert list_owners("/tablet") == []
    assert list_owners("home/") == []


def test_a_trial_has_its_share_and_keeps_whom_it_has() -> None:
    people = [f"subscriber {number}" for number in range(5000)]
    before: set[str] = set()
    for share in (0.0, 0.01, 0.1, 0.5, 1.0):
        among = {name for name in people if is_in_trial("ads", name, share)}
        assert before <= among
        assert abs(len(among) / len(people) - share) < 0.02
        before = among
    other = {name for name in people if is_in_trial("web", name, 0.1)}
    assert 20 < len(other & {name for name in people if is_in_trial("ads", name, 0.1)}) < 90  # not the same ones

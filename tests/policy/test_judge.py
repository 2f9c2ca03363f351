"""The judge against a model in a few lines of Python."""

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.policy.actions import ACTION_NAMES, BLOCK, EMPTY, FORWARD, REPORT

from .worlds import Judgement, world

CATEGORIES = [f"c{number}" for number in range(8)]
HOSTS = [f"h{number}.example" for number in range(12)]

category = st.sampled_from(CATEGORIES)
service = st.dictionaries(category, st.sampled_from(["block", "redirect", "empty", "report"]), min_size=1, max_size=5)
services = st.dictionaries(st.sampled_from(["web", "parental", "ads", "tracking", "more"]), service, max_size=5)
chosen = st.lists(st.sampled_from(["web", "parental", "ads", "tracking", "more"]), unique=True)
lists = st.fixed_dictionaries({name: st.sets(st.sampled_from(HOSTS)) for name in CATEGORIES})


def decide(offered: dict, profile: list[str], categories: set[str], report_only: bool) -> Judgement:
    """The first category acted on, else the first that is reported, in the order of the services."""
    reasons = [
        (ACTION_NAMES.index(action), category, name)
        for name, acts in offered.items()
        if name in profile
        for category, action in acts.items()
        if category in categories
    ]
    acting = [reason for reason in reasons if reason[0] != REPORT] + reasons
    if not acting:
        return Judgement(FORWARD, None, None, FORWARD)
    action, category, name = acting[0]
    return Judgement(REPORT if report_only else action, category, name, action)


@settings(max_examples=60, deadline=None)
@given(services, st.lists(chosen, min_size=1, max_size=3), lists, st.booleans())
def test_judge_is_the_model(offered: dict, profiles: list[list[str]], names: dict, report_only: bool) -> None:
    profiles = [[name for name in profile if name in offered] for profile in profiles]
    configuration = {
        "services": {name: {"categories": acts} for name, acts in offered.items()},
        "profiles": {f"p{number}": {"services": profile} for number, profile in enumerate(profiles)},
        "subscribers": [
            {"id": f"s{number}", "prefixes": [f"10.{number}.0.0/16"], "profile": f"p{number}"}
            for number in range(len(profiles))
        ],
        "report_only": report_only,
        "page": {"redirect_url": "https://help.example/"},
    }
    texts = {category: "".join(f"{host}\n" for host in hosts) for category, hosts in names.items()}
    with world(configuration, texts) as made:
        for host in HOSTS:
            categories = {category for category, hosts in names.items() if host in hosts}
            for number, profile in enumerate(profiles):
                expected = decide(offered, profile, categories, report_only)
                assert made.judge(host.encode(), f"p{number}") == expected
                assert made.judge(b"www." + host.upper().encode(), f"p{number}") == expected


def test_who_is_nobody_and_what_is_nameless_goes_on() -> None:
    settings = {
        "services": {"web": {"categories": {"phishing": "block"}}},
        "profiles": {"all": {"services": ["web"]}},
        "subscribers": [{"id": "home", "prefixes": ["10.0.0.0/8"], "profile": "all"}],
    }
    with world(settings, {"phishing": "bad.example\n"}) as made:
        free = Judgement(FORWARD, None, None, FORWARD)
        assert made.judge(b"bad.example").action == BLOCK
        assert made.judge(b"bad.example", "another") == free
        assert made.judge(b"") == free
        assert made.judge(b".") == free


def test_sixty_four_categories_each_decide_for_themselves() -> None:
    categories = [f"c{number}" for number in range(64)]
    settings = {
        "services": {f"s{number}": {"categories": {name: "empty"}} for number, name in enumerate(categories)},
        "profiles": {"all": {"services": [f"s{number}" for number in range(64)]}},
        "subscribers": [{"id": "home", "prefixes": ["10.0.0.0/8"], "profile": "all"}],
    }
    with world(settings, {name: f"{name}.example\nmany.example\n" for name in categories}) as made:
        for number, name in enumerate(categories):
            assert made.judge(f"{name}.example".encode()) == Judgement(EMPTY, name, f"s{number}", EMPTY)
        assert made.judge(b"many.example").category == "c0"

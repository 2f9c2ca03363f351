"""The judge against a model in a few lines of Python."""

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.policy.actions import ACTION_NAMES, BLOCK, EMPTY, FORWARD, REPORT, WARN
from penstock.policy.judge import BY_COURT, BY_NOBODY, BY_OWN_LIST, OWN_ALLOW, OWN_DENY, OWN_NOTHING

from .worlds import Judgement, world

CATEGORIES = [f"c{number}" for number in range(8)]
NOTHING = Judgement(FORWARD, None, None, FORWARD, BY_NOBODY)
HOSTS = [f"h{number}.example" for number in range(12)]

category = st.sampled_from(CATEGORIES)
acts = st.dictionaries(
    category, st.sampled_from(["block", "redirect", "empty", "report", "warn"]), min_size=1, max_size=5
)
service = st.fixed_dictionaries({"categories": acts}, optional={"report_only": st.booleans()})
services = st.dictionaries(st.sampled_from(["web", "parental", "ads", "tracking", "more"]), service, max_size=5)
chosen = st.lists(st.sampled_from(["web", "parental", "ads", "tracking", "more"]), unique=True)
courts = st.lists(category, unique=True, max_size=2)
lists = st.fixed_dictionaries({name: st.sets(st.sampled_from(HOSTS)) for name in CATEGORIES})


def decide(offered: dict, profile: list[str], categories: set[str], report_only: bool) -> Judgement:
    """The first category that is refused, else warned of, else reported, in the order of the services."""
    reasons = [
        (REPORT if acts.get("report_only") else ACTION_NAMES.index(action), category, name, ACTION_NAMES.index(action))
        for name, acts in offered.items()
        if name in profile
        for category, action in acts["categories"].items()
        if category in categories
    ]
    if not reasons:
        return NOTHING
    action, category, name, would = min(reasons, key=lambda reason: (reason[0] == REPORT, reason[0] == WARN))
    return Judgement(REPORT if report_only else action, category, name, would)


@settings(max_examples=60, deadline=None)
@given(services, st.lists(chosen, min_size=1, max_size=3), lists, st.booleans())
def test_judge_is_the_model(offered: dict, profiles: list[list[str]], names: dict, report_only: bool) -> None:
    profiles = [[name for name in profile if name in offered] for profile in profiles]
    configuration = {
        "services": offered,
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


@settings(max_examples=40, deadline=None)
@given(services, lists, courts, st.sampled_from([OWN_NOTHING, OWN_ALLOW, OWN_DENY]), st.booleans())
def test_courts_come_before_his_own_list_and_that_before_services(
    offered: dict, names: dict, ordered: list[str], own: int, report_only: bool
) -> None:
    configuration = {
        "services": offered,
        "profiles": {"all": {"services": list(offered)}, "none": {}},
        "court_orders": {"categories": ordered},
        "report_only": report_only,
        "page": {"redirect_url": "https://help.example/"},
    }
    refused = REPORT if report_only else BLOCK
    texts = {category: "".join(f"{host}\n" for host in hosts) for category, hosts in names.items()}
    with world(configuration, texts) as made:
        for host, profile in product(HOSTS, ["all", "none"]):
            categories = {category for category, hosts in names.items() if host in hosts}
            found = made.judge(host.encode(), profile, own)
            if categories & set(ordered):
                assert found.category in categories & set(ordered)
                assert found == Judgement(refused, found.category, None, BLOCK, BY_COURT)
            elif own:
                expected = (refused, BLOCK) if own == OWN_DENY else (FORWARD, FORWARD)
                assert found == Judgement(expected[0], None, None, expected[1], BY_OWN_LIST)
            else:
                assert found == decide(offered, list(offered) if profile == "all" else [], categories, report_only)


def test_who_is_nobody_and_what_is_nameless_goes_on() -> None:
    settings = {
        "services": {"web": {"categories": {"phishing": "block"}}},
        "profiles": {"all": {"services": ["web"]}},
        "subscribers": [{"id": "home", "prefixes": ["10.0.0.0/8"], "profile": "all"}],
    }
    with world(settings, {"phishing": "bad.example\n"}) as made:
        free = NOTHING
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

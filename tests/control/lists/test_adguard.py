"""Filter rules: what is taken of each, and how the rules of one list outrank each other."""

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.control.lists.adguard import Ranking, Rule, parse_rule
from penstock.control.lists.entries import BadLine, Entry, NotTaken, parse_said
from penstock.control.lists.names_file import Reach
from tests.policy.databases import choose, covers

EXACT, SUBTREE, BELOW = Reach


def parse(text: bytes) -> Entry | str | None:
    """The entry of a rule, or why it has none."""
    try:
        rule = parse_rule(text)
    except (BadLine, NotTaken) as reason:
        return str(reason)
    return rule.entry if isinstance(rule, Rule) else next(iter(rule), None)


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        (b"||bad.test^", Entry(b"bad.test", SUBTREE)),
        (b"||Bad.test^$important", Entry(b"bad.test", SUBTREE)),
        (b"||bad.test^$all", Entry(b"bad.test", SUBTREE)),
        (b"||bad.test", Entry(b"bad.test", SUBTREE)),
        (b"||bad.test/", Entry(b"bad.test", SUBTREE)),
        (b"||zip^", Entry(b"zip", SUBTREE)),
        (b"||*.bad.test^", Entry(b"bad.test", BELOW)),
        (b".bad.test^", Entry(b"bad.test", BELOW)),
        (b"*.bad.test", Entry(b"bad.test", BELOW)),
        (b"|bad.test^", Entry(b"bad.test", EXACT)),
        (b"://bad.test^", Entry(b"bad.test", EXACT)),
        (b"bad.test", Entry(b"bad.test", EXACT)),
        (b"0.0.0.0 bad.test", Entry(b"bad.test", EXACT)),
        (b"||192.0.2.1^", Entry(b"192.0.2.1", SUBTREE)),
        (b"||[2001:DB8::1]^", Entry(b"[2001:db8::1]", SUBTREE)),
        ("||büro.test^".encode(), Entry(b"xn--bro-hoa.test", SUBTREE)),
        (b"@@||good.test^", Entry(b"good.test", SUBTREE, True)),
        (b"@@|good.test^|", Entry(b"good.test", EXACT, True)),
        (b"||bad.test/ads/*", Entry(b"bad.test", SUBTREE, path=b"/ads/")),
        (b"||bad.test/ads^", Entry(b"bad.test", SUBTREE, path=b"/ads")),
        (b"@@||bad.test/good/", Entry(b"bad.test", SUBTREE, True, b"/good/")),
        (b"|http://bad.test^", Entry(b"bad.test", EXACT, path=b"/")),
        (b"http://bad.test/%61/", Entry(b"bad.test", EXACT, path=b"/a/")),
        (b"! comment", None),
        (b"[Adblock Plus 2.0]", None),
        (b"# comment", None),
        (b"", None),
    ],
)
def test_what_is_taken(text: bytes, entry: Entry | None) -> None:
    assert parse(text) == entry


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"||bad.test^$third-party", "a rule with `$third-party`"),
        (b"||bad.test^$client=192.0.2.1", "a rule with `$client`"),
        (b"||bad.test^$important,dnstype=AAAA", "a rule with `$dnstype`"),
        (b"||bad.test^$dnsrewrite=NXDOMAIN", "a rule with `$dnsrewrite`"),
        (b"||bad.test^$~script", "a rule with `$~script`"),
        (b"@@||good.test^$document", "an exception with `$document`"),
        (b"@@||good.test^$all", "an exception with `$all`"),
        (b"||bad*.test^", "a rule of a pattern that is not one name"),
        (b"||admulti.", "a rule of a pattern that is not one name"),
        (b"||ads", "a rule of a pattern that is not one name"),
        (b"bad.test^", "a rule of a pattern that is not one name"),
        (b"||bad.test^*x=", "a rule of a pattern that is not one name"),
        (b"||bad.test/?", "a rule of a pattern that is not one web address"),
        (b"||bad.test/a|", "a rule of a pattern that is not one web address"),
        (b"||bad.test/*.js", "a rule of a pattern that is not one web address"),
        (b"https://bad.test/login", "a rule of a web address over HTTPS, whose path nobody sees"),
        (b"||bad.test:8080", "a rule of a port"),
        (b"/banner[0-9]+/", "a regular expression, or a piece of a path"),
        (b"/ads/$script", "a regular expression, or a piece of a path"),
        (b"bad.test##.ad", "a cosmetic rule"),
        (b"bad.test#@#.ad", "a cosmetic rule"),
        (b"bad.test#%#x()", "a cosmetic rule"),
        (b"||bad..test^", "`bad..test` is no name"),
    ],
)
def test_what_is_not_taken_and_why(text: bytes, reason: str) -> None:
    assert parse(text) == reason


@given(st.binary(max_size=60) | st.text("|@^$*./:[]#a-,~=%", max_size=30).map(str.encode))
def test_any_line_is_taken_or_not(text: bytes) -> None:
    said = parse_said(lambda line: [found] if isinstance(found := parse(line), Entry) else (), text)
    for entry in said if not isinstance(said, Exception) else ():
        assert entry.name
        assert b".." not in entry.name


# ---- rules that touch others -------------------------------------------------------------------------------------------
def take(lines: Iterable[bytes]) -> list[Entry]:
    """The entries of a whole list."""
    lines = list(lines)
    found = [parse_said(Ranking(lines).parse, line) for line in lines]
    return [entry for said in found if not isinstance(said, Exception) for entry in said]


def is_listed(entries: list[Entry], host: bytes) -> bool:
    """Is a host in the category that has these entries, by the rule of all lists?"""
    labels = host.split(b".")
    above = {b".".join(labels[at:]) for at in range(1, len(labels))}
    return bool(choose((0, entry) for entry in entries if covers(entry, host, above)))


@pytest.mark.parametrize(
    ("rules", "host", "listed"),
    [
        ([b"||bad.test^", b"@@||good.bad.test^"], b"www.good.bad.test", False),
        ([b"||bad.test^", b"@@||good.bad.test^"], b"www.bad.test", True),
        ([b"||ads.good.test^", b"@@||good.test^"], b"ads.good.test", False),
        ([b"||ads.good.test^$important", b"@@||good.test^"], b"ads.good.test", True),
        ([b"||bad.test^$important", b"@@||good.bad.test^"], b"good.bad.test", True),
        ([b"||bad.test^$important", b"@@||good.bad.test^$important"], b"good.bad.test", False),
        ([b"||bad.test^", b"||bad.test^$badfilter"], b"bad.test", False),
        ([b"||bad.test^$important", b"||bad.test^$badfilter"], b"bad.test", True),
        ([b"||bad.test^", b"@@||bad.test^", b"@@||bad.test^$badfilter"], b"bad.test", True),
        ([b"|bad.test^", b"@@||*.bad.test^"], b"bad.test", True),
    ],
)
def test_which_rule_wins(rules: list[bytes], host: bytes, listed: bool) -> None:
    assert is_listed(take(rules), host) == listed
    assert is_listed(take(reversed(rules)), host) == listed


names = st.lists(st.sampled_from([b"a", b"b"]), min_size=1, max_size=4).map(b".".join)
rules = st.builds(
    b"%s%s%s^%s".__mod__,
    st.tuples(
        st.sampled_from([b"", b"", b"@@"]),
        st.sampled_from([b"||", b"|", b"||*."]),
        names,
        st.sampled_from([b"", b"$important"]),
    ),
)


def judge_plainly(lines: list[bytes], host: bytes) -> bool:
    """AdGuard's own rule: important exceptions, important rules, exceptions, rules; no matter how precise."""
    labels = host.split(b".")
    above = {b".".join(labels[at:]) for at in range(1, len(labels))}
    for is_important in (True, False):
        for is_allowed in (True, False):
            for line in lines:
                entry = parse(line)
                assert isinstance(entry, Entry)
                if (line.endswith(b"$important"), entry.is_allowed) == (is_important, is_allowed):
                    if covers(entry, host, above):
                        return not is_allowed
    return False


@settings(max_examples=300, deadline=None)
@given(st.lists(rules, max_size=8), st.lists(names, min_size=1, max_size=8))
def test_a_list_by_itself_means_what_adguard_makes_of_it(lines: list[bytes], hosts: list[bytes]) -> None:
    entries = take(lines)
    for host in hosts:
        assert is_listed(entries, host) == judge_plainly(lines, host), host

"""The configuration: what is accepted, and that every error names its line and key."""

import shutil
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from penstock.control.configuration import Configuration, ConfigurationError, load_configuration
from penstock.control.problems import Problem
from penstock.policy.actions import BLOCK, EMPTY, FORWARD
from tests.line.test_directory import find_name
from tests.policy.worlds import World

EXAMPLES = Path(__file__).parents[2] / "examples"

GOOD = """\
services:
  web protection:
    categories: {phishing: block}
  parental:
    categories:
      gambling: redirect
    redirect_url: https://help.example/
lists:
  - {category: phishing, path: lists/phishing.txt}
  - category: gambling
    path: lists/gambling.txt.gz
profiles:
  all:
    services: [web protection, parental]
subscribers:
  - id: home
    prefixes: [10.0.0.0/8, "fd00::/8"]
    profile: all
  - id: office
    prefixes: [192.0.2.1]
    profile: all
"""


def refuse(path: Path, text: str) -> list[str]:
    """The lines of the error, without the file's name."""
    path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load_configuration(path)
    lines = str(caught.value).split("\n")
    assert all(line.startswith(f"{path}:") for line in lines)
    return [line.removeprefix(f"{path}:") for line in lines]


def test_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "penstock.yaml"
    path.write_text(GOOD)
    configuration = load_configuration(path)
    assert configuration.subscribers[0].prefixes == (IPv4Network("10.0.0.0/8"), IPv6Network("fd00::/8"))
    assert configuration.lists[0].path == tmp_path / "lists/phishing.txt"
    assert configuration.category_names == ["phishing", "gambling"]
    assert configuration.ports == ((1, 65535),)
    assert str(configuration.database) == "/var/lib/penstock/names.db"
    assert (configuration.workers, configuration.flows.capacity) == (1, 262_144)


def test_an_empty_file_protects_nobody(tmp_path: Path) -> None:
    path = tmp_path / "penstock.yaml"
    path.write_text("# nothing\n")
    assert load_configuration(path) == Configuration()


# What is put in the place of what, the place that must be named, and what must be said there.
PLACE = ", path: lists/phishing.txt"
MISTAKES = [
    ("block}", "blok}", "3:28", "services.web protection.categories.phishing: expected `block`, `redirect`, "),
    ("phishing: b", "Phishing: b", "3:18", "services.web protection.categories.Phishing: expected a category: "),
    (
        "    redirect_url",
        "    redirect_ulr",
        "7:5",
        "services.parental.redirect_ulr: expected a known key: did you mean ",
    ),
    ("    redirect_url: https://help.example/\n", "", "6:17", "services.parental.categories.gambling: expected `redir"),
    (
        "https://help.example/",
        "help.example",
        "7:19",
        "services.parental.redirect_url: expected a web address in ASCII",
    ),
    (PLACE, "", "9:5", "lists[0]: expected `path` (a file) or `url`"),
    (PLACE, ", url: 'ftp://a.example/x'", "9:31", "lists[0].url: expected an address in ASCII such as https"),
    (PLACE, ", url: 'https:///x'", "9:31", "lists[0].url: expected an address in ASCII such as https"),
    (PLACE, ", url: 'file://a.example/x'", "9:31", "lists[0].url: expected an address in ASCII such as https"),
    (PLACE, ", url: 'https://me:secret@a.example/x'", "9:31", "lists[0].url: expected no credentials in the address"),
    (PLACE, PLACE + ", url: 'https://a.example/x'", "9:5", "lists[0]: expected either `path` or `url`"),
    (PLACE, PLACE + ", every_s: 60", "9:5", "lists[0]: expected `url` beside `every_s`"),
    (
        PLACE,
        ", url: 'https://a.example/x', checksum_url: 'file:///x'",
        "9:5",
        "lists[0]: expected `url` and `checksum_url` both as files",
    ),
    (PLACE, ", url: 'https://a.example/x', sha256: abc", "9:62", "lists[0].sha256: expected a SHA-256 digest: 64 hex"),
    (
        PLACE,
        ", url: 'https://a.example/x'}\n  - {category: phishing, url: 'https://a.example/x', every_s: 60",
        "10:31",
        "lists[1].url: expected the conditions of lists[0], which is the same feed",
    ),
    (
        "subscribers:",
        "feeds: {proxy: 'a.example:80'}\nsubscribers:",
        "15:16",
        "feeds.proxy: expected an address such as",
    ),
    (
        "category: gambling\n",
        "category: gamling\n",
        "6:17",
        "services.parental.categories.gambling: expected a categor",
    ),
    (
        "services: [web pro",
        "services: [web po",
        "14:16",
        "profiles.all.services[0]: expected one of `services`: did yo",
    ),
    ("[web protection, parental]", "web protection", "14:15", "profiles.all.services: expected a list"),
    (
        "10.0.0.0/8",
        "10.0.0.1/8",
        "17:16",
        "subscribers[0].prefixes[0]: expected no bits behind the prefix's length: 10",
    ),
    ('"fd00::/8"', '"fd00::/129"', "17:28", "subscribers[0].prefixes[1]: expected a prefix such as "),
    ('"fd00::/8"', '"::ffff:10.0.0.0/104"', "17:28", "subscribers[0].prefixes[1]: expected an IPv4-mapped prefix in "),
    ("{phishing: block}", "{}", "3:5", "services.web protection.categories: expected at least one entry"),
    ("subscribers:", "register: {capacity: 3000}\nsubscribers:", "15:22", "register.capacity: expected a power of two"),
    (
        "subscribers:",
        "register: {capcity: 4096}\nsubscribers:",
        "15:12",
        "register.capcity: expected a known key: did you ",
    ),
    ("subscribers:", "regster: {}\nsubscribers:", "15:1", "regster: expected a known key: did you mean `register`?"),
    (
        "subscribers:",
        "register: {default_profile: al}\nsubscribers:",
        "15:29",
        "register.default_profile: expected one of `profiles`, or null: did you mean `all`?",
    ),
    (
        "[192.0.2.1]",
        "[10.0.0.0/8]",
        "20:16",
        "subscribers[1].prefixes[0]: expected each prefix once in a scope: 10.0.0",
    ),
    ("id: office", "id: home", "19:9", "subscribers[1].id: expected an id of its own: `home` is subscribers[0]"),
    ("id: office", "id: 12", "19:9", "subscribers[1].id: expected text: put `12` in quotes"),
    (
        "profile: all\n  -",
        "profile: al\n  -",
        "18:14",
        "subscribers[0].profile: expected one of `profiles`: did you me",
    ),
    ("subscribers:", "report_only: 1\nsubscribers:", "15:14", "report_only: expected `true` or `false`"),
    ("subscribers:", "workers: true\nsubscribers:", "15:10", "workers: expected a whole number"),
    ("subscribers:", "line: {link_loss: yes}\nsubscribers:", "15:19", "line.link_loss: expected `ignore` or `pass`"),
    ("subscribers:", "line: {hold_down_s: 1.5}\nsubscribers:", "15:21", "line.hold_down_s: expected a whole number"),
    ("subscribers:", "line: {carrier_wait_s: 0}\nsubscribers:", "15:24", "line.carrier_wait_s: expected at least 1"),
    ("subscribers:", "workers: 65\nsubscribers:", "15:10", "workers: expected at most 16"),
    ("subscribers:", "guard: {share: 5}\nsubscribers:", "15:16", "guard.share: expected at most 1"),
    ("subscribers:", "guard: {share: 5%}\nsubscribers:", "15:16", "guard.share: expected a number"),
    ("subscribers:", "flows: {capacity: 5000}\nsubscribers:", "15:19", "flows.capacity: expected a power of two"),
    ("subscribers:", "ports: [80, 70000]\nsubscribers:", "15:1", "ports: expected `all`, or TCP ports and ranges"),
    ("subscribers:", "ports: 443-80\nsubscribers:", "15:8", "ports: expected `all`, or TCP ports and ranges"),
    (
        "subscribers:",
        "metrics: {listen: 9464}\nsubscribers:",
        "15:19",
        "metrics.listen: expected an address and a port",
    ),
    ("subscribers:", "log: yes\nsubscribers:", "15:6", "log: expected keys with values"),
    ("subscribers:", "services: {}\nsubscribers:", "15:1", "expected each key once: `services` is there already"),
    ("subscribers:", "page: a: b\nsubscribers:", "15:8", "expected YAML: "),
    ("subscribers:", "\tx: 1\nsubscribers:", "15:1", "expected YAML: "),
    ("subscribers:", "page: {operator: \x07}\nsubscribers:", "15:18", "expected text, not the character '\\x07'"),
    ("subscribers:", "workers: 2001-13-41\nsubscribers:", "15:10", "expected a value, not `2001-13-41`"),
    ("subscribers:", "workers: !!bool x\nsubscribers:", "15:10", "expected a value, not `x`"),
    ("subscribers:", "log: &log {path: *log}\nsubscribers:", "15:6", "expected at most 32 levels"),
]


@pytest.mark.parametrize(("good", "bad", "place", "said"), MISTAKES)
def test_a_mistake_is_named_with_its_place(good: str, bad: str, place: str, said: str, tmp_path: Path) -> None:
    assert good in GOOD
    found = refuse(tmp_path / "penstock.yaml", GOOD.replace(good, bad, 1))
    assert found[0].startswith(f"{place}: {said}")


def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    text = (
        GOOD.replace("block}", "blok}")
        .replace("id: office", "id: 12")
        .replace("subscribers:", "port: 80\nsubscribers:")
    )
    lines = refuse(tmp_path / "penstock.yaml", text)
    assert [line.split(":")[0] for line in lines] == ["3", "15", "20"]
    assert lines[1].endswith("port: expected a known key: did you mean `ports`?")


def test_a_ninth_prefix_length_is_refused(tmp_path: Path) -> None:
    prefixes = ", ".join(f"10.0.0.0/{bits}" for bits in range(8, 16))
    fine = GOOD.replace('10.0.0.0/8, "fd00::/8"', prefixes).replace("192.0.2.1", "192.0.2.0/15")
    fine = fine.replace("192.0.2.0/15", "192.0.0.0/15")
    path = tmp_path / "penstock.yaml"
    path.write_text(fine)
    load_configuration(path)
    lines = refuse(path, fine.replace("192.0.0.0/15", "192.0.0.0/16"))
    assert lines == [
        "20:16: subscribers[1].prefixes[0]: expected at most 8 different prefix lengths; in use are "
        + ", ".join(f"IPv4 /{bits}" for bits in range(8, 16))
    ]


def test_more_categories_than_bits_are_refused(tmp_path: Path) -> None:
    lists = "".join(f"  - {{category: c{number}, path: x}}\n" for number in range(63))
    lines = refuse(tmp_path / "penstock.yaml", GOOD.replace("profiles:\n", f"{lists}profiles:\n"))
    assert lines == ["8:1: lists: expected at most 64 categories, not 65"]


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("all", ((1, 65535),)),
        ("443", ((443, 443),)),
        ("8000-8100", ((8000, 8100),)),
        ("[443, 80, 8000 - 8100]", ((80, 80), (443, 443), (8000, 8100))),
    ],
)
def test_ports(text: str, ports: tuple[tuple[int, int], ...], tmp_path: Path) -> None:
    path = tmp_path / "penstock.yaml"
    path.write_text(f"ports: {text}\n")
    assert load_configuration(path).ports == ports


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"gone\.yaml:1:1: expected a readable file: No such file"):
        load_configuration(tmp_path / "gone.yaml")
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"page:\n  operator: caf\xe9\n")
    with pytest.raises(ConfigurationError, match=r"latin\.yaml:2:1: expected UTF-8 text"):
        load_configuration(path)


odd = [*"[]{}:1-'|", "\n", "\n  ", "\n    - ", ", ", '"', "\ud800", "&a", "*a", "<<:", "null", "2001-13-41"]
odd += ["!!int", "!!bool", "!!float", "!!timestamp", "!!binary", "!!set"]
pieces = st.sampled_from([*GOOD.split(), *odd])


def find_problems(path: Path) -> tuple[Problem, ...]:
    """What is wrong with a file; nothing else may be raised."""
    try:
        load_configuration(path)
    except ConfigurationError as error:
        return error.problems
    return ()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.lists(pieces, max_size=30).map("".join) | st.text(max_size=60))
def test_no_text_raises_anything_else(text: str, tmp_path: Path) -> None:
    path = tmp_path / "penstock.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    for problem in find_problems(path):
        assert problem.line >= 1
        assert problem.expected.startswith("expected ")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_mutilated_configuration_raises_nothing_else(data: st.DataObject, tmp_path: Path) -> None:
    start = data.draw(st.integers(0, len(GOOD)))
    end = data.draw(st.integers(start, min(len(GOOD), start + 40)))
    path = tmp_path / "penstock.yaml"
    path.write_text(GOOD[:start] + data.draw(pieces.filter(str.isascii)) + GOOD[end:])
    assert all(problem.line <= GOOD.count("\n") + 3 for problem in find_problems(path))


def test_the_example_judges_as_promised(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    made = World(load_configuration(tmp_path / "examples" / "inline.yaml"), tmp_path)
    for address in ("10.0.0.1", "10.255.255.255", "fd12::1"):
        assert find_name(made.configuration, address) == "home"
    assert find_name(made.configuration, "192.0.2.1") is None
    judged = {
        name: made.judge(f"{name}.example.test".encode())[:3]
        for name in ("bad", "worm", "casino", "adult", "tracker", "ads", "www.bad", "good", "notbad")
    }
    assert judged == {
        "bad": (BLOCK, "phishing", "web protection"),
        "worm": (BLOCK, "malware", "web protection"),
        "casino": (BLOCK, "gambling", "parental control"),
        "adult": (BLOCK, "adult", "parental control"),
        "tracker": (EMPTY, "tracking", "anti-tracking"),
        "ads": (EMPTY, "advertising", "ad blocking"),
        "www.bad": (BLOCK, "phishing", "web protection"),
        "good": (FORWARD, None, None),
        "notbad": (FORWARD, None, None),
    }
    assert made.report.skipped == 0
    made.snapshot.close()


@pytest.mark.parametrize(
    ("entry", "key", "expected"),
    [
        (
            "format: rpz, match: exact",
            "lists[0]",
            "expected no `match` with the format `rpz`",
        ),
        ("csv: {column: 2}", "lists[0]", "expected `format: csv` beside `csv`"),
        ("local_data: take", "lists[0]", "expected `format: rpz` beside `local_data`"),
        ("format: csv, csv: {column: 0}", "lists[0].csv.column", "expected a column's number from 1, or its title"),
        ("format: csv, csv: {column: true}", "lists[0].csv.column", "expected a column's number from 1, or its title"),
        ("allow: 1", "lists[0].allow", "expected `true` or `false`"),
        ("format: adblock", "lists[0].format", "expected `auto`, `domains`, `hosts`, `adguard`"),
    ],
)
def test_keys_of_a_list_that_contradict_each_other(entry: str, key: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "penstock.yaml"
    path.write_text(f"lists:\n  - {{category: bad, path: x, {entry}}}\n")
    with pytest.raises(ConfigurationError) as caught:
        load_configuration(path)
    (problem,) = caught.value.problems
    assert (problem.line, problem.key) == (2, key)
    assert problem.expected.startswith(expected)


def test_a_category_of_exceptions_alone_is_filled_by_nothing(tmp_path: Path) -> None:
    path = tmp_path / "penstock.yaml"
    path.write_text("services: {s: {categories: {bad: block}}}\nlists: [{category: bad, path: x, allow: true}]\n")
    with pytest.raises(ConfigurationError, match="expected a category that one of `lists` fills"):
        load_configuration(path)


def find_models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for inner in get_args(annotation) for found in find_models(inner)]


def test_the_example_names_every_key() -> None:
    text = (EXAMPLES / "inline.yaml").read_text()
    models: list[type[BaseModel]] = [Configuration]  # calls have models too, which no file holds
    for model in models:
        for field in model.model_fields.values():
            models += [found for found in find_models(field.annotation) if found not in models]
    fields = [item for model in models for item in model.model_fields.items()]
    keys = {field.alias or name for name, field in fields}
    assert "redirect_url" in keys
    assert {key for key in keys if f"{key}:" not in text} == set()

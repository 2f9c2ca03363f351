"""examples/operator.yaml: it loads, explains each of its lines and files, and is what `penstock demo --full` starts."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from penstock.control.configuration import Configuration, load_configuration
from penstock.demo.operator import EXAMPLES, LISTED, MISTAKEN, adapt, find_example, write_lists, write_operator

ROOT = Path(__file__).resolve().parents[2]
PATH = ROOT / "examples" / "operator.yaml"
TEXT = PATH.read_text("utf-8")
HEAD = TEXT.partition("\n\n")[0]


@pytest.fixture(scope="module")
def configuration() -> Configuration:
    return load_configuration(PATH)


def find_strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from find_strings(one)


def test_it_uses_what_an_operator_needs(configuration: Configuration) -> None:
    assert configuration.radius.listen
    assert configuration.radius.profile == "Filter-Id"
    assert len(configuration.scopes) == 2
    assert configuration.court_orders.categories
    assert [name for name, one in configuration.services.items() if one.report_only]
    assert "warn" in {action for one in configuration.services.values() for action in one.categories.values()}
    feeds = [one for one in configuration.lists if one.url]
    assert {"squidguard", "adguard", "csv"} <= {one.format for one in feeds}
    assert any(one.checksum_url for one in feeds)
    assert any(one.allow for one in configuration.lists)
    assert configuration.dns.answer == "address"
    assert configuration.api.listen
    assert configuration.api.tls
    assert configuration.metrics.listen


def test_no_secret_is_written_into_it() -> None:
    assert not re.search(r"^\s*(- )?secret:", TEXT, re.MULTILINE)


def test_each_line_that_sets_something_says_why() -> None:
    for number, line in enumerate(TEXT.splitlines(), 1):
        if line.strip() and not line.startswith("#") and not re.fullmatch(r" *[^#:]+:", line):
            assert " # " in line, f"line {number}: {line}"


def test_each_file_is_explained() -> None:
    named = {text for text in find_strings(yaml.safe_load(TEXT)) if text.startswith("/")}
    assert len(named) > 8
    for path in named:
        assert re.search(rf"^#   {re.escape(path)} +\S.{{15}}", HEAD, re.MULTILINE), path
    for path in re.findall(r"^#   (/\S+)", HEAD, re.MULTILINE):
        assert path in named, f"{path} is explained, and nothing names it"


def test_the_demonstration_starts_this_very_file() -> None:
    assert find_example() == EXAMPLES[-1] == PATH


def test_put_into_a_directory_it_names_nothing_elsewhere(tmp_path: Path) -> None:
    document = adapt(yaml.safe_load(TEXT), tmp_path)
    for text in find_strings(document):
        assert not text.startswith("/") or text.startswith(str(tmp_path)), text
    addresses = [one[key] for one in document["lists"] for key in ("url", "checksum_url") if key in one]
    assert len(addresses) > 7
    assert all(one.startswith("http://127.0.0.1:") for one in addresses)
    assert document["services"] == yaml.safe_load(TEXT)["services"]


def test_what_it_names_is_made(tmp_path: Path) -> None:
    configuration = load_configuration(write_operator(tmp_path))
    write_lists(tmp_path / "served")
    for one in configuration.lists:
        if one.url is None:
            assert one.path.exists()
        else:
            assert (tmp_path / "served" / one.url.split("/", 3)[3]).exists(), one.url
    assert set(LISTED) == {one.category for one in configuration.lists}
    assert MISTAKEN in (tmp_path / "etc" / "allow.txt").read_text()
    assert (tmp_path / "etc" / "radius.secret").stat().st_mode & 0o77 == 0

"""What the documents promise is there: commands, options, make targets, files, and the example configuration."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from penstock.cli import app
from penstock.control.configuration import load_configuration
from penstock.kernel.reasons import NAMES
from penstock.path.layout import PROTO_NAMES
from penstock.policy.actions import ACTION_NAMES

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "contrib").glob("*.service")])
COMMANDS: Any = typer.main.get_command(app)


def find_blocks(text: str) -> Iterator[str]:
    """The lines of fenced blocks, continued lines joined."""
    for block in re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        yield from block.replace("\\\n", " ").splitlines()


def find_uses(text: str) -> list[list[str]]:
    """Every `penstock ...` command line of a page, as words behind `penstock`."""
    lines = [*find_blocks(text), *re.findall(r"`([^`\n]+)`", text)]
    lines += re.findall(r"^Exec\w+=(.+)$", text, re.MULTILINE)
    found = [re.match(r"(?:# |\$ )?(?:sudo )?(?:\S*/)?penstock ((?:[a-z-]).*)", line.strip()) for line in lines]
    return [match[1].split("#")[0].split() for match in found if match]


def check_use(words: list[str]) -> None:
    """Raise AssertionError unless the words name a command and options that exist."""
    command, rest = COMMANDS, list(words)
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        assert rest[0] in command.commands, f"penstock {' '.join(words)}: no command `{rest[0]}`"
        command = command.commands[rest.pop(0)]
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
    for word in rest:
        if word.startswith("--"):
            assert word in known, f"penstock {' '.join(words)}: no option `{word}`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_of_the_page_exist(page: Path) -> None:
    for words in find_uses(page.read_text("utf-8")):
        check_use(words)


def test_the_readme_shows_commands() -> None:
    shown = {words[0] for words in find_uses((ROOT / "README.md").read_text("utf-8"))}
    assert {"check", "run", "status", "off", "on", "explain", "replay", "lists", "cable"} <= shown


def test_a_command_that_is_not_there_is_found() -> None:
    with pytest.raises(AssertionError):
        check_use(["fly", "--high"])
    with pytest.raises(AssertionError):
        check_use(["run", "--high"])


def test_make_targets_of_the_readme_exist() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for page in PAGES:
        for line in re.findall(r"`make (\w+)[^`]*`|^make (\w+)", page.read_text("utf-8"), re.MULTILINE):
            assert (line[0] or line[1]) in targets, f"{page.name}: make {line[0] or line[1]}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_the_page_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_source_files_named_by_the_page_exist(page: Path) -> None:
    named = re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.(?:py|yaml|service|sh))`", page.read_text("utf-8"))
    for name in named:
        places = (ROOT / name, ROOT / "src" / "penstock" / name, ROOT / "tests" / name)
        assert any(place.exists() for place in places), f"{page.name}: {name}"


def test_the_example_configuration_loads() -> None:
    configuration = load_configuration(ROOT / "examples" / "inline.yaml")
    (subscriber,) = configuration.subscribers
    assert {str(prefix) for prefix in subscriber.prefixes} == {"10.0.0.0/8", "fd00::/8"}
    assert set(configuration.profiles[subscriber.profile].services) == set(configuration.services)


def test_the_configuration_of_the_readme_loads(tmp_path: Path) -> None:
    (block,) = re.findall(r"^```yaml\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL | re.MULTILINE)
    path = tmp_path / "readme.yaml"
    path.write_text(block)
    shown, whole = load_configuration(path), load_configuration(ROOT / "examples" / "inline.yaml")
    assert {name: one.categories for name, one in shown.services.items()} == {
        name: one.categories for name, one in whole.services.items()
    }
    assert shown.subscribers == whole.subscribers


def test_the_event_of_the_readme_has_the_fields_of_an_event() -> None:
    (line,) = re.findall(r"^```json\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL | re.MULTILINE)
    event = json.loads(line)
    assert event["reason"] in NAMES.values()
    assert event["action"] in ACTION_NAMES
    assert event["proto"] in PROTO_NAMES
    assert re.fullmatch(r"[0-9a-f]{16}", event["id"])

"""Write docs/settings.md from the configuration's models and the comments of examples/inline.yaml; `--check` only says
whether it is up to date.

Types, bounds and defaults come from the models; what a key means from the comment above its section, where a line
`#   key:  ...` begins what is said of one, or from the comment behind it. A key of which nothing is said is an error.
"""

import argparse
import re
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from penstock.control.configuration import Configuration
from penstock.control.lists.feed_settings import NOWHERE

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "settings.md"
EXAMPLE = ROOT / "examples" / "inline.yaml"
HEAD = """# Settings

Written by `python scripts/settings.py` from the models of the configuration and the comments of
[examples/inline.yaml](../examples/inline.yaml): change those, then write the page again. A whole operator's configuration
is [examples/operator.yaml](../examples/operator.yaml).

One YAML file, checked whole before anything starts: an unknown key or a wrong value is named with its line, and nothing
changes. Relative paths start at the file's directory. *NAME* stands for a name of yours, `[]` for each entry of a list.
What a SIGHUP changes and what needs a restart: [operating.md](operating.md#change-something-while-it-runs).
"""
PARSED = {
    "parse_prefix": "prefix",
    "parse_address": "address",
    "parse_listen": "address and port",
    "parse_server": "address and port, or a list of them",
    "parse_ports": "`all`, or ports and ranges",
    "parse_url": "web address",
    "parse_feed_url": "address (http, https, file)",
    "parse_proxy": "address of a proxy",
    "parse_digest": "SHA-256 in hexadecimal",
    "parse_vlans": "VLANs and ranges",
    "parse_nas": "address or NAS-Identifier",
    "parse_column": "number or title",
    "parse_zone": "time zone",
}
"""Values with a syntax of their own, by who reads them."""


PLURALS = {
    "prefix": "prefixes",
    "address": "addresses",
    "text": "texts",
    "file": "files",
    "address or NAS-Identifier": "addresses or NAS-Identifiers",
}


class SettingsError(Exception):
    """A key of which the example says nothing, or a type that has no word here."""


@dataclass
class Section:
    """What the example says of a key at the top: prose, and a text for each key below."""

    prose: list[str]
    texts: dict[str, list[str]]


def read_sections(text: str) -> dict[str, Section]:
    """The comments of the example by top-level key."""
    sections: dict[str, Section] = {}
    comments: list[str] = []
    key = ""
    for line in text.splitlines():
        if line.startswith("#"):
            comments.append(line[1:])
        elif match := re.match(r"([a-z_]+):(.*)", line):
            key = match[1]
            sections[key] = read_comment(comments)
            comments = []
        elif not line.strip():
            comments = []
        if key and (match := re.match(r"[\s-]+([a-z_]+):.*?\s# (.+)", line)):
            sections[key].texts.setdefault(match[1], [match[2]])
    return sections


def read_comment(lines: list[str]) -> Section:
    """Cut a comment into prose and what it says of single keys."""
    section = Section([], {})
    key, indent = "", 0
    for line in lines:
        if match := re.match(r"( +)([a-z_0-9]+):( +)(\S.*)", line):
            if len(match[1]) == 3 or match[2] in section.texts:
                key, indent = match[2], len(match[1])
                section.texts[key] = [match[4]]
                continue
        if key and line.startswith(" " * (indent + 2)):
            section.texts[key].append(line.strip())
        else:
            key = ""
            section.prose.append(line.removeprefix(" "))
    return section


def word_lines(lines: list[str]) -> str:
    """Lines of a comment as one cell: a line with a gap in it begins an item."""
    said = ""
    for line in lines:
        item = re.sub(r"^(\S.*?):? {2,}", r"\1: ", line)
        said += f"{'<br>' if item != line else ' '}{item}" if said else item
    return said.replace("|", "\\|")


def word_prose(lines: list[str]) -> Iterator[str]:
    """Prose as paragraphs; what stands further in as it is."""
    is_code = False
    for line in lines:
        if line.startswith("  ") != is_code:
            is_code = not is_code
            yield "```" if is_code else "```\n"
        yield line
    if is_code:
        yield "```"


def word_type(annotation: Any, metadata: tuple[Any, ...] = ()) -> str:
    """A type in words. Raises SettingsError."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return word_type(arguments[0], (*arguments[1:], *metadata))
    for one in metadata:
        name = getattr(getattr(one, "func", None), "__name__", "")
        if name in PARSED:
            return PARSED[name]
    if origin in (Union, types.UnionType):
        return " or ".join(word_type(one, metadata) for one in arguments if one is not types.NoneType) + (
            " or `null`" if types.NoneType in arguments else ""
        )
    if origin is Literal:
        return ", ".join(f"`{one}`" for one in arguments)
    if origin is tuple:
        return f"list of {word_plural(arguments[0])}"
    if origin is dict:
        return f"{word_type(arguments[0])}: {word_type(arguments[1])}"
    return word_plain(annotation, metadata)


def word_plain(kind: Any, metadata: tuple[Any, ...]) -> str:
    """A type without parts."""
    if kind is bool:
        return "`true`, `false`"
    if isinstance(kind, type) and issubclass(kind, PurePath):
        return "file"
    if kind in (int, float):
        return f"{'whole number' if kind is int else 'number'}{word_bounds(metadata)}"
    if isinstance(kind, type) and issubclass(kind, str):
        return "text"
    if isinstance(kind, type) and kind.__name__ == "SecretStr":
        return "text"
    raise SettingsError(f"no word for {kind!r}")


def word_plural(kind: Any) -> str:
    """Several of a type."""
    word = word_type(kind)
    return PLURALS.get(word, word)


def word_bounds(metadata: tuple[Any, ...]) -> str:
    """The bounds of a number, also those within a Field."""
    flat = [part for one in metadata for part in (one.metadata if isinstance(one, FieldInfo) else [one])]
    low = next((one.ge for one in flat if isinstance(one, annotated_types.Ge)), None)
    above = next((one.gt for one in flat if isinstance(one, annotated_types.Gt)), None)
    high = next((one.le for one in flat if isinstance(one, annotated_types.Le)), None)
    start = f"{low:,}" if low is not None else f"above {above:,}" if above is not None else ""
    power = any(getattr(getattr(one, "func", None), "__name__", "") == "check_power_of_two" for one in flat)
    bounds = f", {start} to {high:,}" if start and high is not None else f", {start} or more" if start else ""
    return bounds + (", a power of two" if power else "")


def word_default(field: FieldInfo) -> str:
    """The default as it would be written."""
    if field.is_required():
        return "must be given"
    value = field.default
    if value == NOWHERE:
        return ""
    if value is None:
        return "`null`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, int):
        return f"`{value}`"
    if isinstance(value, tuple | list):
        return f"`[{', '.join(map(str, value))}]`"
    if isinstance(value, dict):
        return "`{}`" if not value else f"`{value}`"
    return f"`{value}`" if value != "" else '`""`'


def find_model(annotation: Any) -> tuple[type[BaseModel], str] | None:
    """The model within a type, and how its keys are reached."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, ""
    if origin is Annotated:
        return find_model(arguments[0])
    if origin in (Union, types.UnionType):
        return next((found for one in arguments if (found := find_model(one))), None)
    if origin is tuple and (found := find_model(arguments[0])):
        return found[0], "[]" + found[1]
    if origin is dict and (found := find_model(arguments[1])):
        return found[0], ".NAME" + found[1]
    return None


def build_rows(model: type[BaseModel], prefix: str, section: Section, missing: list[str]) -> Iterator[str]:
    """A row for each key of a model, and those below."""
    for name, field in model.model_fields.items():
        key = f"{prefix}.{field.alias or name}"
        said = section.texts.get(field.alias or name)
        if (found := find_model(field.annotation)) is not None and not said:
            yield from build_rows(found[0], key + found[1], section, missing)
            continue
        if not said:
            missing.append(key)
            continue
        kind = (
            f"keys: {', '.join(f'`{one}`' for one in found[0].model_fields)}"
            if found
            else word_type(field.annotation, tuple(field.metadata))
        )
        yield f"| `{key}` | {kind} | {word_default(field)} | {word_lines(said)} |"


def build_page(text: str) -> str:
    """The whole page. Raises SettingsError."""
    sections, missing = read_sections(text), list[str]()
    parts = [HEAD]
    for name, field in Configuration.model_fields.items():
        key = field.alias or name
        if key not in sections:
            missing.append(key)
            continue
        section = sections[key]
        parts += [f"## {key}\n", *word_prose(section.prose), ""]
        found = find_model(field.annotation)
        if found is None:
            parts.append(
                f"Type: {word_type(field.annotation, tuple(field.metadata))}. Default: {word_default(field)}.\n"
            )
            continue
        parts += ["| key | type | default | meaning |", "|---|---|---|---|"]
        parts += [*build_rows(found[0], key + found[1], section, missing), ""]
    if missing:
        raise SettingsError(f"{EXAMPLE.name} says nothing of: {', '.join(missing)}")
    return "\n".join(parts)


def main() -> int:
    """Write or check the page; the exit status."""
    words = argparse.ArgumentParser(description="Write docs/settings.md from models and comments.")
    words.add_argument("--check", action="store_true", help="only say whether the page is up to date")
    try:
        page = build_page(EXAMPLE.read_text("utf-8"))
    except SettingsError as error:
        print(f"scripts/settings.py: {error}", file=sys.stderr)
        return 1
    if words.parse_args().check:
        if not PAGE.exists() or PAGE.read_text("utf-8") != page:
            print("docs/settings.md is stale: run `python scripts/settings.py`", file=sys.stderr)
            return 1
        return 0
    PAGE.write_text(page, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

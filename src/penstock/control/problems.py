"""What is wrong with a configuration, said so that its author can mend it: file, line, column, key, and what was expected.

It turns pydantic's errors into one line each. It does not know what any key means.
"""

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from penstock.control.marks import Document, Place
from penstock.errors import PenstockError

Location = tuple[str | int, ...]

EXPECTED = {
    "missing": "expected this key, which has no default",
    "dict_type": "expected keys with values",
    "model_type": "expected keys with values",
    "tuple_type": "expected a list, such as [a, b]",
    "int_type": "expected a whole number",
    "float_type": "expected a number",
    "bool_type": "expected `true` or `false`",
    "string_type": "expected text",
    "path_type": "expected a path",
    "too_short": "expected at least one entry",
}
"""By pydantic's error type."""


class Problem(NamedTuple):
    """One thing to mend."""

    file: Path
    line: int
    column: int
    key: str
    expected: str

    def __str__(self) -> str:
        key = f"{self.key}: " if self.key else ""
        return f"{self.file}:{self.line}:{self.column}: {key}{self.expected}"


class ConfigurationError(PenstockError):
    """The configuration cannot be used. Its text is one line per problem: `file:line:column: key: expected ...`."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem[:3]))
        super().__init__("\n".join(map(str, self.problems)))


def build_problem(file: Path, document: Document, location: Location, expected: str, at_key: bool = False) -> Problem:
    """The problem with the value at `location`, or `at_key` with the key itself."""
    place: Place = document.find_place(location, at_key)
    return Problem(file, *place, format_location(location), expected)


def format_location(location: Location) -> str:
    """A key path for people: `subscribers[0].prefixes[1]`."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def translate_error(file: Path, document: Document, model: type[BaseModel], error: ErrorDetails) -> Problem:
    """One error of pydantic's as a problem."""
    location, expected, at_key = describe_error(model, error)
    return build_problem(file, document, location, expected, at_key)


def describe_error(model: type[BaseModel], error: ErrorDetails) -> tuple[Location, str, bool]:
    """Where an error of pydantic's is, what was expected there, and whether it is the key itself that is wrong."""
    location = error["loc"]
    at_key = location[-1:] == ("[key]",)
    if at_key:
        location = location[:-1]
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return location, _name_keys(model, location), True
    if kind == "literal_error":
        expected = f"expected {context['expected']}".replace("'", "`")
    elif kind in ("greater_than_equal", "less_than_equal"):
        bound = "at least" if kind == "greater_than_equal" else "at most"
        expected = f"expected {bound} {context.get('ge', context.get('le')):,}"
    elif kind == "string_too_long":
        expected = f"expected at most {context['max_length']} characters"
    elif kind == "too_long":
        expected = f"expected at most {context['max_length']} entries, not {context['actual_length']}"
    elif kind == "value_error":
        expected = str(context["error"])
    else:
        expected = EXPECTED.get(kind) or f"expected something else: {error['msg']}"
    return location, expected, at_key


def suggest_name(name: object, names: Iterable[str]) -> str:
    """What to say after an unknown name: the nearest known one, or all of them."""
    known = list(names)
    near = difflib.get_close_matches(str(name), known, 1)
    if near:
        return f"did you mean `{near[0]}`?"
    return "known are " + ", ".join(f"`{name}`" for name in known) if known else "there are none"


def _name_keys(model: type[BaseModel], location: Location) -> str:
    """Which keys a part of the configuration has, for a location at which an unknown one stands."""
    for part in location[:-1]:
        field = next((field for name, field in model.model_fields.items() if part in (name, field.alias)), None)
        model = (field and _find_model(field.annotation)) or model
    keys = [field.alias or name for name, field in model.model_fields.items()]
    return f"expected a known key: {suggest_name(location[-1], keys)}"


def _find_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _find_model(inner))), None)

"""YAML with its places: a document as plain values, and where in the file every key and value stands.

It knows YAML and nothing of what the keys mean.
"""

from pathlib import Path
from typing import Any

import yaml

from penstock.errors import PenstockError

DEPTH_LIMIT = 32  # levels of nesting; an alias that holds itself has no end

Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml where it is there: ten times as fast, which counts with many subscribers."""

Place = tuple[int, int]
"""Line and column, from 1."""


class MarkedError(PenstockError):
    """The file cannot be read as one YAML document; `place` says where."""

    def __init__(self, place: Place, expected: str) -> None:
        super().__init__(expected)
        self.place, self.expected = place, expected


class Document:
    """A YAML document: `value`, and the places of its parts."""

    def __init__(self, text: str) -> None:
        """Read `text`. Raises MarkedError for what is not one YAML document, for a key given twice, for endless nesting."""
        self._keys: dict[tuple[str, ...], Place] = {}
        self._values: dict[tuple[str, ...], Place] = {(): (1, 1)}
        odd = yaml.reader.Reader.NON_PRINTABLE.search(text)
        if odd:
            line_start = text.rfind("\n", 0, odd.start()) + 1
            place = (text.count("\n", 0, odd.start()) + 1, odd.start() - line_start + 1)
            raise MarkedError(place, f"expected text, not the character {odd[0]!r}")
        loader = Loader(text)
        try:
            node = loader.get_single_node()
            if node is not None:
                self._walk(loader, node, ())
            self.value: Any = None if node is None else loader.construct_document(node)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            raise MarkedError(place, f"expected YAML: {error.problem or error.context}") from None
        finally:
            loader.dispose()

    def find_place(self, path: tuple[str | int, ...], key: bool = False) -> Place:
        """Where the value at `path` stands, or with `key` its key; the nearest part around it where it does not exist."""
        parts = tuple(str(part) for part in path)
        if key and parts in self._keys:
            return self._keys[parts]
        while parts not in self._values:
            parts = parts[:-1]
        return self._values[parts]

    def _walk(self, loader: Any, node: yaml.Node, path: tuple[str, ...]) -> None:
        if len(path) > DEPTH_LIMIT:
            raise MarkedError(_place(node), f"expected at most {DEPTH_LIMIT} levels")
        # A block stands below its key: point at the key, where a reader looks for what is missing in it.
        of_block = None if isinstance(node, yaml.ScalarNode) else self._keys.get(path)
        self._values[path] = of_block or _place(node)
        if isinstance(node, yaml.ScalarNode):
            _read_scalar(loader, node)
        elif isinstance(node, yaml.SequenceNode):
            for number, item in enumerate(node.value):
                self._walk(loader, item, (*path, str(number)))
        elif isinstance(node, yaml.MappingNode):
            _refuse_twins(node)
            loader.flatten_mapping(node)  # `<<: *other` becomes the keys it stands for
            for key, value in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    raise MarkedError(_place(key), "expected a plain key")
                below = (*path, str(_read_scalar(loader, key)))
                self._keys[below] = _place(key)
                self._walk(loader, value, below)


def read_document(path: Path) -> Document:
    """Read a YAML file. Raises MarkedError, also when the file cannot be read."""
    try:
        return Document(path.read_text("utf-8-sig"))
    except OSError as error:
        raise MarkedError((1, 1), f"expected a readable file: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise MarkedError((line, 1), "expected UTF-8 text") from None


def _place(node: yaml.Node) -> Place:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _read_scalar(loader: Any, node: yaml.ScalarNode) -> Any:
    try:
        return loader.construct_object(node)
    except (ValueError, LookupError, AttributeError):  # PyYAML's own, for `!!int x`, `!!bool x` and a 13th month
        raise MarkedError(_place(node), f"expected a value, not `{node.value}`") from None


def _refuse_twins(node: yaml.MappingNode) -> None:
    seen: set[str] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            if key.value in seen:
                raise MarkedError(_place(key), f"expected each key once: `{key.value}` is there already")
            seen.add(key.value)

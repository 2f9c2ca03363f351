"""Which requests reach a hook: declared as data, so that the packet path can compile it and only the rest costs Python.

Keys are joined by *and*, the values of one by *or*; a key that is not given holds for everything. A host stands for itself
and all below it, as in lists. Whoever compiles filters agrees with `Filter.matches`, which is the meaning.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, Self

from penstock.hooks.request import PROTOCOLS, Request

PORT_LIMIT = 65_535
CATEGORY = re.compile(r"[a-z0-9_-]{1,63}")
HOST = re.compile(r"[!-~]{1,255}")


class FilterError(ValueError):
    """A filter that cannot be meant; the text says which key, and what was expected."""


@dataclass(frozen=True, slots=True)
class Filter:
    """A declared filter. None: everything; build one with `declare`."""

    categories: frozenset[str] | None = None
    ports: tuple[tuple[int, int], ...] | None = None
    """Ranges, first and last."""
    profiles: frozenset[str] | None = None
    protocols: frozenset[str] | None = None
    hosts: frozenset[str] | None = None

    @classmethod
    def declare(
        cls,
        categories: Iterable[str] | str | None = None,
        ports: Iterable[int | str] | int | str | None = None,
        profiles: Iterable[str] | str | None = None,
        protocols: Iterable[str] | str | None = None,
        hosts: Iterable[str] | str | None = None,
    ) -> Self:
        """A filter as an operator writes it; one value stands for a list of it. Raises FilterError."""
        return cls(
            _read_words("categories", categories, lambda word: word if CATEGORY.fullmatch(word) else None),
            _read_ports(ports),
            _read_words("profiles", profiles, lambda word: word if 1 <= len(word) <= 63 else None),
            _read_words("protocols", protocols, lambda word: word if word in PROTOCOLS else None),
            _read_words("hosts", hosts, _read_host),
        )

    def matches(self, request: Request) -> bool:
        """Does the request reach the hook?"""
        return (
            (self.protocols is None or request.protocol in self.protocols)
            and (self.ports is None or any(first <= request.port <= last for first, last in self.ports))
            and (self.profiles is None or request.profile in self.profiles)
            and (self.categories is None or not self.categories.isdisjoint(request.categories))
            and (self.hosts is None or any(name in self.hosts for name in find_covering(request.host)))
        )

    def to_data(self) -> dict[str, Any]:
        """As plain lists, with the keys that are given."""
        given = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: [list(item) if name == "ports" else item for item in sorted(value)]
                for name, value in given if value is not None}  # fmt: skip

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Self:
        """The same from plain lists. Raises FilterError."""
        if not isinstance(data, dict) or not set(data) <= {field.name for field in fields(cls)}:
            raise FilterError(f"expected a filter's keys, not {data!r}")
        try:
            ports = [f"{first}-{last}" for first, last in data["ports"]] if "ports" in data else None
        except (TypeError, ValueError):
            raise FilterError("ports: expected ranges") from None
        return cls.declare(**(data | {"ports": ports}))

    def __str__(self) -> str:
        parts = [f"{name} {', '.join(_word(item) for item in value)}" for name, value in self.to_data().items()]
        return "; ".join(parts) or "everything"


def find_covering(host: str) -> list[str]:
    """A host and every name above it, without the root. An address stands for itself alone."""
    if not host:
        return []
    if host.startswith("[") or host.replace(".", "").isdigit():
        return [host]
    labels = host.split(".")
    return [".".join(labels[at:]) for at in range(len(labels))]


def _word(item: Any) -> str:
    if isinstance(item, str):
        return item
    return str(item[0]) if item[0] == item[1] else f"{item[0]}-{item[1]}"


def _list_items(key: str, value: Any) -> list[Any]:
    items = [value] if isinstance(value, str | int) else list(value) if isinstance(value, Iterable) else []
    if not items:
        raise FilterError(f"{key}: expected at least one value; leave the key out for everything")
    return items


def _read_words(key: str, value: Any, read: Any) -> frozenset[str] | None:
    if value is None:
        return None
    words = []
    for item in _list_items(key, value):
        word = read(item) if isinstance(item, str) else None
        if word is None:
            known = f": known are {', '.join(PROTOCOLS)}" if key == "protocols" else ""
            raise FilterError(f"{key}: {item!r} is none{known}")
        words.append(word)
    return frozenset(words)


def _read_host(text: str) -> str | None:
    name = text.removeprefix("*.").rstrip(".").lower()
    try:
        name = name if name.isascii() else name.encode("idna").decode()
    except UnicodeError:
        return None
    return name if HOST.fullmatch(name) and "*" not in name else None


def _read_ports(value: Any) -> tuple[tuple[int, int], ...] | None:
    if value is None:
        return None
    ranges = []
    for item in _list_items("ports", value):
        match = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", str(item))
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if isinstance(item, bool) or not 1 <= first <= last <= PORT_LIMIT:
            raise FilterError(f"ports: expected ports and ranges from 1 to {PORT_LIMIT} such as 443, '8000-8100'")
        ranges.append((first, last))
    return tuple(sorted(ranges))

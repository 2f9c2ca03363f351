"""What the configuration says of a subscriber, what calls said, and what he chose. It knows no rule, and not who he is."""

import sqlite3
from collections.abc import Collection
from dataclasses import dataclass, field

from penstock.control.subscribers.choices import NONE_CHOSEN, Choices, load_choices
from penstock.control.subscribers.store import select

PROFILE, FAILS_CLOSED, PACKETS_PER_S, PAUSED = range(4)  # fields of `changes`


@dataclass(slots=True)
class Words:
    """What the configuration says of a subscriber, and what calls said."""

    configured: tuple[int, int, int | None] | None = None
    """Profile, fails closed, packets a second."""
    changes: dict[int, tuple[int, int]] = field(default_factory=dict)
    """By field: value and time."""
    choices: Choices = NONE_CHOSEN
    chosen_ms: int = -1
    """When he chose; -1: never."""
    next_s: int | None = None
    """The second in which his choices come to something else by themselves; None: never."""


def read_words(connection: sqlite3.Connection, numbers: Collection[int], has_choices: bool) -> dict[int, Words]:
    """What the configuration and calls say of these numbers, and what they chose."""
    found = {number: Words() for number in numbers}
    for row in select(connection, _CONFIGURED, numbers):
        found[row[0]].configured = row[1:]
    for number, name, value, at_ms in select(connection, "SELECT * FROM changes WHERE number", numbers):
        found[number].changes[name] = value, at_ms
    query = "SELECT number, text, at_ms, next_s FROM choices WHERE number"
    for number, text, at_ms, next_s in select(connection, query, numbers) if has_choices else ():
        words = found[number]
        words.choices, words.chosen_ms, words.next_s = load_choices(text), at_ms, next_s
    return found


_CONFIGURED = "SELECT number, profile, fails_closed, packets_per_s FROM configured WHERE number"

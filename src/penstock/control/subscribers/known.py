"""What the register knows, for people: who has an id, who is at an address, whose number is whose.

It reads the store beside the process that writes, and also when there is none; it keeps nobody waiting and changes nothing.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from penstock.control.configuration import Configuration
from penstock.control.configuration import Subscriber as Entry
from penstock.control.subscribers.choices import Choices
from penstock.control.subscribers.effective import Effective
from penstock.control.subscribers.holding import Holding
from penstock.control.subscribers.loading import PersonRow, read_people
from penstock.control.subscribers.model import Place, Source
from penstock.control.subscribers.place_key import pack_place, unpack_place
from penstock.control.subscribers.rows import CONFIGURATION, unpack_places
from penstock.control.subscribers.schema import COUNT_PLACES, COUNT_SUBSCRIBERS, explain_errors, open_reader
from penstock.control.subscribers.store import SOURCES, select
from penstock.control.subscribers.terms import Person, Terms
from penstock.control.subscribers.updates import Line
from penstock.control.subscribers.words import FAILS_CLOSED, PACKETS_PER_S, PAUSED, PROFILE, Words

FIELDS = {PROFILE: "profile", FAILS_CLOSED: "fail", PACKETS_PER_S: "packets_per_s", PAUSED: "paused_until_s"}


@dataclass(frozen=True, slots=True)
class KnownPlace:
    """A place that a subscriber has, and who said so."""

    place: Place
    source: Source
    nas: str
    at_s: float
    """When it was last said; for the configuration when it first named it."""
    expires_s: int | None
    """None: never."""


@dataclass(frozen=True, slots=True)
class Known:
    """A subscriber."""

    number: int
    id: str
    seen_s: float
    """When he was last heard of."""
    line: Line
    """What holds for him now."""
    effective: Effective
    """What his choices and those of his owners come to now."""
    choices: Choices
    """His own."""
    owners: tuple[str, ...]
    """Whose device he is, the outermost first."""
    assigned_profile: str | None
    """The one that a source named."""
    is_configured: bool
    changes: dict[str, tuple[int, float]]
    """What calls said, by field (FIELDS): value, with a profile its number, and time."""
    places: tuple[KnownPlace, ...]


class KnownSubscribers:
    """The store, open to read."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        """`clock`: which moment is now. Raises StoreError, also when there is no store yet."""
        self._path, self._clock = path, clock
        self._connection = open_reader(path)

    def __enter__(self) -> "KnownSubscribers":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def find_subscriber(self, name: str) -> Known | None:
        """The subscriber of that id."""
        return next(iter(self._read("s.id = ?", (name,))), None)

    def find_number(self, number: int) -> Known | None:
        """The subscriber of that number."""
        return next(iter(self._read("s.number = ?", (number,))), None)

    def find_by_address(self, address: bytes, port: int = 0, scope: int = 0) -> Known | None:
        """Who is at an address (16 bytes) and port, as the kernel finds him: the longest prefix, its port blocks first."""
        with self._reading():
            shapes = self._connection.execute("SELECT bits, port_bits FROM shapes ORDER BY 1 DESC, 2 DESC").fetchall()
            for bits, port_bits in shapes:
                masked = int.from_bytes(address) >> (128 - bits) << (128 - bits)
                block = port >> (16 - port_bits) << (16 - port_bits)
                key = pack_place(Place(scope, masked.to_bytes(16), bits, block, port_bits))
                row = self._connection.execute("SELECT number FROM places WHERE place=?", (key,)).fetchone()
                if row:
                    return self.find_number(row[0])
        return None

    def names_of(self, numbers: Collection[int]) -> dict[int, str]:
        """The ids of numbers, as far as somebody has them."""
        with self._reading():
            return dict(select(self._connection, "SELECT number, id FROM subscribers WHERE number", set(numbers)))

    def find_profile_changes(self, numbers: Collection[int], configuration: Configuration) -> dict[int, str | None]:
        """Which of these numbers have another profile by a configuration than by the one in force, and which."""
        changes, terms = {}, Terms.of(configuration)
        with self._reading():
            old_terms, words = self._read_terms(), self._read_words()
            for number, people, then, names in self._move_people(numbers, configuration):
                new = terms.find_profile(then, names)
                if old_terms.find_profile(people, words) != new:
                    changes[number] = new
        return changes

    def find_holding(self, number: int, configuration: Configuration) -> Holding | None:
        """What would hold for a number by a configuration now."""
        with self._reading():
            for _, _, then, names in self._move_people([number], configuration):
                return Terms.of(configuration).judge(then, names, self._clock())
        return None

    def _move_people(
        self, numbers: Collection[int], configuration: Configuration
    ) -> Iterator[tuple[int, list[Person], list[Person], dict[int, str]]]:
        """Each of these numbers behind his owners, as they are and by a configuration, with the profiles' names of that."""
        entries = {one.id: one for one in configuration.subscribers}
        codes = {name: -code for code, name in enumerate(configuration.profiles, 1)}
        names = self._read_words() | {code: name for name, code in codes.items()}
        query = "SELECT number, id, profile FROM subscribers WHERE number"
        rows = dict.fromkeys(select(self._connection, query, numbers))
        for people in read_people(self._connection, list(rows)):
            said = [Person(*one[1:]) for one in people]
            then = [one._replace(words=_move(one.words, entries.get(one.id), codes)) for one in said]
            yield people[-1].number, said, then, names

    def _read_words(self) -> dict[int, str]:
        return dict(self._connection.execute("SELECT code, word FROM words"))

    def list_subscribers(self, prefix: str = "", after: str = "", limit: int = 100) -> list[Known]:
        """Subscribers in the order of their ids: those that start with `prefix` and are behind `after`, `limit` at most."""
        return self._read("s.id >= ? AND s.id < ? AND s.id > ? ORDER BY s.id LIMIT ?", _range(prefix, after, limit))

    def count(self) -> tuple[int, int]:
        """How many subscribers are known, and how many places are in use."""
        with self._reading():
            counts = [self._connection.execute(query).fetchone()[0] for query in (COUNT_SUBSCRIBERS, COUNT_PLACES)]
            return int(counts[0]), int(counts[1])

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """One view of the store for all statements of the block, whatever is written meanwhile."""
        with explain_errors(self._path):
            if self._connection.in_transaction:
                yield
                return
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                self._connection.execute("ROLLBACK")

    def _read(self, condition: str, values: tuple[Any, ...]) -> list[Known]:
        with self._reading():
            terms = self._read_terms()
            query = f"SELECT s.number, s.id, s.profile, s.seen_s FROM subscribers s WHERE {condition}"
            rows = self._connection.execute(query, values).fetchall()
            people = read_people(self._connection, [row[:3] for row in rows])
            return [self._describe(terms, one, row[3]) for one, row in zip(people, rows, strict=True)]

    def _read_terms(self) -> Terms:
        row = self._connection.execute("SELECT value FROM meta WHERE name='terms'").fetchone()
        return Terms.read(row and row[0])

    def _describe(self, terms: Terms, people: list[PersonRow], seen_s: float) -> Known:
        """The last of `people`, whose owners stand before him."""
        number, name, profile, words = people[-1]
        spoken = {code for one in people for code in _list_profiles(one)}
        names = dict(select(self._connection, "SELECT code, word FROM words WHERE code", spoken))
        places = tuple(sorted(self._read_places(number), key=lambda known: known.place))
        said = {FIELDS[field]: (value, at_ms / 1000) for field, (value, at_ms) in words.changes.items()}
        holding = terms.judge([Person(*one[1:]) for one in people], names, self._clock())
        return Known(
            number,
            name,
            max([seen_s, *(known.at_s for known in places if known.source != "configuration")]),
            holding.line,
            holding.effective,
            words.choices,
            tuple(one.id for one in people[:-1]),
            None if profile is None else names[profile],
            words.configured is not None,
            said,
            places,
        )

    def _read_places(self, number: int) -> Iterator[KnownPlace]:
        execute = self._connection.execute
        query = "SELECT s.at_ms, s.expires_s, s.places, n.source, n.name FROM sessions s JOIN nas n ON n.code = s.nas"
        for at_ms, expires_s, packed, source, nas in execute(f"{query} WHERE s.number=?", (number,)):
            for key, said_ms in unpack_places(packed, at_ms)[0].items():
                yield KnownPlace(unpack_place(key), SOURCES[source], nas, said_ms / 1000, expires_s)
        query = "SELECT place, at_ms FROM claims JOIN places USING(place) WHERE claims.number=? AND session=?"
        for key, at_ms in execute(query, (number, CONFIGURATION)):
            yield KnownPlace(unpack_place(key), "configuration", "", at_ms / 1000, None)


def _move(words: Words, entry: Entry | None, codes: Mapping[str, int]) -> Words:
    """The same words with another one of the configuration; `codes`: its profiles."""
    configured = (codes[entry.profile], int(entry.fail == "closed"), entry.packets_per_s) if entry else None
    return replace(words, configured=configured)


def _list_profiles(row: PersonRow) -> set[int]:
    """The codes of the profiles that somebody said he has."""
    said = {row.profile, row.words.configured and row.words.configured[0], row.words.changes.get(PROFILE, (None,))[0]}
    return {code for code in said if code is not None}


def _range(prefix: str, after: str, limit: int) -> tuple[str, str, str, int]:
    return prefix, prefix + chr(0x10FFFF), after, limit

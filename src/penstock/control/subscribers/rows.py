"""The rows that a batch of events is about: fetched together, changed as objects, written back together.

    sessions.places, for each place:  | size 1 | key | at 6, with OWN_TIME | until 5, with GONE |

A session's row holds all of its places, so that an Interim-Update changes one row. `places` says whose a place is, and
both always agree: a place that a session lost is in its row no more. GONE: a Release took it away, and an Assign that is
older does not bring it back. It knows no rule: `batch` does.
"""

import sqlite3
from collections.abc import Collection, Iterable
from typing import Any

from penstock.control.subscribers.devices import find_range, list_owners
from penstock.control.subscribers.holding import Holding
from penstock.control.subscribers.place_key import find_shape
from penstock.control.subscribers.schema import DamagedRowError
from penstock.control.subscribers.store import Catalogue, select
from penstock.control.subscribers.words import Words, read_words

GONE, OWN_TIME, SIZE_MASK = 0x80, 0x40, 0x3F
CONFIGURATION = 0  # a session that has no row


class Session:
    """One session: whose it is, and its places with the time at which they were last said."""

    __slots__ = (
        "at_ms",
        "expires_s",
        "gone",
        "hash",
        "is_changed",
        "is_moved",
        "is_stored",
        "live",
        "nas",
        "number",
        "released_ms",
        "released_until_s",
        "row",
        "whole_ms",
    )

    def __init__(self, row: int, code: int) -> None:
        self.row, self.hash = row, code
        self.number: int | None = None
        """None: it has no places; what is kept are the words of a Release."""
        self.nas: int | None = None
        self.at_ms = 0
        self.whole_ms = 0
        """The latest Assign that named all of its places."""
        self.released_ms = -1
        self.released_until_s = 0
        self.expires_s: int | None = None
        self.live: dict[bytes, int] = {}
        self.gone: dict[bytes, tuple[int, int]] = {}
        self.is_stored = self.is_changed = False
        self.is_moved = False
        """More is changed than what an Interim-Update changes."""

    def end(self) -> None:
        """It has no places any more."""
        self.number = self.nas = self.expires_s = None
        self.at_ms = self.whole_ms = 0
        self.live = {}
        self.is_changed = self.is_moved = True

    @property
    def kept_until_s(self) -> int:
        """How long the words of Releases are kept; 0: there are none."""
        return max([self.released_until_s, *(until_s for _, until_s in self.gone.values())])

    def pack(self) -> tuple[Any, ...]:
        """Its columns, the row's number last."""
        whole_ms = None if self.whole_ms == self.at_ms else self.whole_ms
        released = (self.released_ms, self.released_until_s) if self.released_until_s else (None, None)
        expires_s = self.kept_until_s if self.number is None else self.expires_s
        places = pack_places(self.live, self.gone, self.at_ms)
        return self.number, self.nas, self.at_ms, whole_ms, *released, expires_s, places, self.row

    @classmethod
    def unpack(cls, row: tuple[Any, ...]) -> "Session":
        """From its row, columns in the order of the table. Raises DamagedRowError."""
        session = cls(row[0], row[1])
        _, _, session.number, session.nas, session.at_ms, whole_ms, released_ms, until_s, expires_s, places = row
        session.whole_ms = session.at_ms if whole_ms is None else whole_ms
        if until_s is not None:
            session.released_ms, session.released_until_s = released_ms, until_s
        session.expires_s = None if session.number is None else expires_s
        session.live, session.gone = unpack_places(places, session.at_ms)
        session.is_stored = True
        return session


def pack_places(live: dict[bytes, int], gone: dict[bytes, tuple[int, int]], at_ms: int) -> bytes:
    """The column `places`."""
    parts = []
    for key, said_ms in live.items():
        if said_ms == at_ms:
            parts.append(bytes((len(key),)) + key)
        else:
            parts.append(bytes((len(key) | OWN_TIME,)) + key + said_ms.to_bytes(6))
    for key, (said_ms, until_s) in gone.items():
        parts.append(bytes((len(key) | GONE,)) + key + said_ms.to_bytes(6) + until_s.to_bytes(5))
    return b"".join(parts)


def unpack_places(packed: bytes, at_ms: int) -> tuple[dict[bytes, int], dict[bytes, tuple[int, int]]]:
    """What `pack_places` was given. Raises DamagedRowError."""
    live: dict[bytes, int] = {}
    gone: dict[bytes, tuple[int, int]] = {}
    at, end = 0, len(packed)
    while at < end:
        head = packed[at]
        start = at + 1
        at = start + (head & SIZE_MASK)
        key = packed[start:at]
        if head < OWN_TIME:
            live[key] = at_ms
        elif head & OWN_TIME:
            live[key] = int.from_bytes(packed[at : at + 6])
            at += 6
        else:
            gone[key] = int.from_bytes(packed[at : at + 6]), int.from_bytes(packed[at + 6 : at + 11])
            at += 11
    if at != end:
        raise DamagedRowError("a session's places end before their size")
    return live, gone


class Subscriber:
    """One subscriber, and what sources other than calls and the configuration say of him."""

    __slots__ = (
        "before",
        "id",
        "is_changed",
        "is_due",
        "is_idle",
        "is_stored",
        "number",
        "profile",
        "profile_ms",
        "words",
    )

    def __init__(self, number: int, name: str) -> None:
        self.number, self.id = number, name
        self.profile: int | None = None
        self.profile_ms = 0
        self.is_idle = True
        self.words: Words | None = None
        """None: not fetched."""
        self.before: Holding | None = None
        """What held before the batch; None: nothing was changed of it, or he is new."""
        self.is_due = False
        """Time has changed what held, and the tables may say either."""
        self.is_stored = self.is_changed = False


class Rows:
    """The working set. Whatever is not in it is fetched when it is asked for; the batch says before what that will be."""

    def __init__(self, connection: sqlite3.Connection, catalogue: Catalogue, now_s: int) -> None:
        self.connection, self.catalogue, self.now_s = connection, catalogue, now_s
        self.sessions: dict[int, Session | None] = {}
        self.by_row: dict[int, Session] = {}
        self.places: dict[bytes, tuple[int, int] | None] = {}
        self.moved: set[bytes] = set()
        self.ids: dict[str, Subscriber | None] = {}
        self.numbers: dict[int, Subscriber] = {}
        self.aside: set[int] = set()
        """Of these: owners and devices of whom nobody spoke."""

    # ---- sessions -----------------------------------------------------------------------------------------------------
    def fetch_sessions(self, codes: Collection[int]) -> None:
        """Those of the hashes `codes`."""
        self.sessions.update(dict.fromkeys(set(codes) - self.sessions.keys()))
        self.take_sessions(select(self.connection, "SELECT * FROM sessions WHERE hash", codes))

    def fetch_rows(self, numbers: Iterable[int]) -> None:
        """Those of the rows `numbers`."""
        missing = {number for number in numbers if number and number not in self.by_row}
        self.take_sessions(select(self.connection, "SELECT * FROM sessions WHERE session", missing))

    def take_sessions(self, rows: Iterable[tuple[Any, ...]]) -> list[Session]:
        """Rows of the table as objects, those that are here already as they are here."""
        found = []
        for row in rows:
            session = self.by_row.get(row[0])
            if session is None:
                session = self.by_row[row[0]] = self.sessions[row[1]] = Session.unpack(row)
            found.append(session)
        return found

    def make_session(self, code: int) -> Session:
        """A new one."""
        session = self.sessions[code] = Session(self.catalogue.next_session, code)
        self.by_row[session.row] = session
        self.catalogue.next_session += 1
        return session

    def find_holder(self, row: int) -> Session:
        """The session that a place's row names."""
        if row not in self.by_row:
            self.fetch_rows((row,))
        if row not in self.by_row:
            raise DamagedRowError(f"a place is that of session {row}, which is not there")
        return self.by_row[row]

    # ---- places -------------------------------------------------------------------------------------------------------
    def fetch_places(self, keys: Collection[bytes]) -> None:
        """Those of the keys, and the sessions that hold them."""
        missing = {key for key in keys if key not in self.places}
        self.places.update(dict.fromkeys(missing))
        for key, session, number in select(self.connection, "SELECT * FROM places WHERE place", missing):
            self.places[key] = (session, number)
        self.fetch_rows({row[0] for key in missing if (row := self.places[key])})

    def find_place(self, key: bytes) -> tuple[int, int] | None:
        """Session and number of a place; None: nobody is there."""
        if key not in self.places:
            self.fetch_places((key,))
        return self.places[key]

    def set_place(self, key: bytes, owner: tuple[int, int] | None) -> None:
        """The place has this session and number now; `find_place` was asked before."""
        if (self.places[key] is None) != (owner is None):
            self.catalogue.count_shape(find_shape(key), -1 if owner is None else 1)
        self.places[key] = owner
        self.moved.add(key)

    def find_claim(self, key: bytes) -> tuple[int, int] | None:
        """Number and time of what the configuration says of a place; None: nothing."""
        if not self.catalogue.has_claims:
            return None
        row = self.connection.execute("SELECT number, at_ms FROM claims WHERE place=?", (key,)).fetchone()
        return (row[0], row[1]) if row else None

    # ---- subscribers --------------------------------------------------------------------------------------------------
    def fetch_ids(self, ids: Collection[str]) -> None:
        """The subscribers of these ids."""
        self.ids.update(dict.fromkeys(set(ids) - self.ids.keys()))
        self._take_subscribers(select(self.connection, f"{_SUBSCRIBERS} WHERE id", ids))

    def fetch_numbers(self, numbers: Collection[int]) -> None:
        """The subscribers of these numbers."""
        missing = {number for number in numbers if number not in self.numbers}
        self._take_subscribers(select(self.connection, f"{_SUBSCRIBERS} WHERE number", missing))

    def _take_subscribers(self, rows: Iterable[tuple[Any, ...]]) -> None:
        for number, name, profile, profile_ms, is_idle in rows:
            if number not in self.numbers:
                subscriber = self.numbers[number] = self.ids[name] = Subscriber(number, name)
                subscriber.profile, subscriber.profile_ms = profile, profile_ms or 0
                subscriber.is_idle, subscriber.is_stored = bool(is_idle), True

    def find_id(self, name: str) -> Subscriber | None:
        """The subscriber of that id."""
        if name not in self.ids:
            self.fetch_ids((name,))
        return self.ids[name]

    def find_number(self, number: int) -> Subscriber:
        """The subscriber of that number."""
        if number not in self.numbers:
            self.fetch_numbers((number,))
        if number not in self.numbers:
            raise DamagedRowError(f"something is said of number {number}, which nobody has")
        return self.numbers[number]

    def make_subscriber(self, name: str, number: int) -> Subscriber:
        """A new one."""
        subscriber = self.numbers[number] = self.ids[name] = Subscriber(number, name)
        subscriber.words = Words()
        subscriber.is_changed = True
        return subscriber

    def fetch_words(self, subscriber: Subscriber) -> Words:
        """What the configuration and calls say of him, and what he chose."""
        if subscriber.words is None:
            self.fetch_all_words([subscriber])
        assert subscriber.words is not None
        return subscriber.words

    def fetch_all_words(self, subscribers: Collection[Subscriber]) -> None:
        """The same for many."""
        missing = {subscriber.number: subscriber for subscriber in subscribers if subscriber.words is None}
        for number, words in read_words(self.connection, missing, self.catalogue.has_choices).items():
            missing[number].words = words

    def find_owners(self, name: str) -> list[Subscriber]:
        """Whose device he is who has this id, the outermost first."""
        ids = list_owners(name) if self.catalogue.has_devices else []
        self._fetch_aside(ids)
        return [owner for one in ids if (owner := self.ids[one])]

    def find_devices(self, name: str) -> list[Subscriber]:
        """The devices of the one who has this id."""
        if not self.catalogue.has_devices:
            return []
        first, end = find_range(name)
        query = "SELECT id FROM subscribers WHERE id > ? AND id < ?"
        ids = {row[0] for row in self.connection.execute(query, (first, end))}
        ids |= {one for one, subscriber in self.ids.items() if subscriber and first < one < end}
        self._fetch_aside(ids)
        return [device for one in sorted(ids) if (device := self.ids[one])]

    def _fetch_aside(self, ids: Iterable[str]) -> None:
        missing = [one for one in ids if one not in self.ids]
        if missing:
            self.fetch_ids(missing)
            self.aside |= {found.number for one in missing if (found := self.ids[one])}

    # ---- writing ------------------------------------------------------------------------------------------------------
    def write(self) -> None:
        """Write what was changed."""
        many = self.connection.executemany
        subscribers = [one for one in self.numbers.values() if one.is_changed]
        profiles = [(one.profile, one.profile_ms, one.number) for one in subscribers if one.is_stored]
        many("UPDATE subscribers SET profile=?, profile_ms=? WHERE number=?", profiles)
        new = [(s.number, s.id, s.profile, s.profile_ms, self.now_s) for s in subscribers if not s.is_stored]
        many("INSERT INTO subscribers VALUES(?, ?, ?, ?, ?, 1)", new)
        for subscriber in subscribers:
            subscriber.is_changed, subscriber.is_stored = False, True
        self._write_sessions([one for one in self.by_row.values() if one.is_changed])
        moved = [(key, self.places[key]) for key in sorted(self.moved)]
        many("REPLACE INTO places VALUES(?, ?, ?)", [(key, *owner) for key, owner in moved if owner])
        many("DELETE FROM places WHERE place=?", [(key,) for key, owner in moved if owner is None])
        self.moved.clear()

    def _write_sessions(self, sessions: list[Session]) -> None:
        over = [one for one in sessions if one.number is None and not one.kept_until_s]
        many, kept = (
            self.connection.executemany,
            [one for one in sessions if one.number is not None or one.kept_until_s],
        )
        many("DELETE FROM sessions WHERE session=?", [(one.row,) for one in over if one.is_stored])
        for one in over:
            self.sessions[one.hash] = None
            del self.by_row[one.row]
        many(_INSERT, [(*one.pack(), one.hash) for one in kept if not one.is_stored])
        many(_MOVE, [one.pack() for one in kept if one.is_stored and one.is_moved])
        renewed = [one.pack() for one in kept if one.is_stored and not one.is_moved]
        many(_RENEW, [(*row[2:4], *row[6:]) for row in renewed])
        for one in kept:
            one.is_stored, one.is_changed, one.is_moved = True, False, False


_SUBSCRIBERS = "SELECT number, id, profile, profile_ms, is_idle FROM subscribers"
_COLUMNS = "number, nas, at_ms, whole_ms, released_ms, released_until_s, expires_s, places"
_INSERT = f"INSERT INTO sessions({_COLUMNS}, session, hash) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_MOVE = f"UPDATE sessions SET ({_COLUMNS}) = (?, ?, ?, ?, ?, ?, ?, ?) WHERE session=?"
_RENEW = "UPDATE sessions SET at_ms=?, whole_ms=?, expires_s=?, places=? WHERE session=?"

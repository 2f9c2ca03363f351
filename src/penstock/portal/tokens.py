"""Tokens, by which programs and people prove who they are, and the sessions of pages that were opened with one.

A token is 256 random bits, said once and kept as its SHA-256: there is nothing to guess, so nothing slow is needed. It
knows roles by name alone; what one may do, `roles` says.
"""

import secrets
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

from penstock.errors import PenstockError
from penstock.portal.database import Database

Role = Literal["operator", "support", "selfcare"]
DAY_S = 86_400.0
SESSION_S = 12 * 3600.0
SESSION_LIMIT = 16  # of one token: the oldest ends
NOTED_S = 60.0  # "last used" is kept to the minute
FIELDS = "token, name, role, subscriber, created_s, expires_s, used_s"


class TokenError(PenstockError):
    """The token cannot be had; the text says why."""


@dataclass(frozen=True, slots=True)
class Token:
    """What is known of a token; the token itself is not."""

    id: int
    name: str
    role: Role
    subscriber: str | None
    created_s: float
    expires_s: float | None
    used_s: float | None


def _hash(text: str) -> bytes:
    return sha256(text.encode("utf-8", "surrogatepass")).digest()


class Tokens:
    """The tokens of a portal."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self, name: str, role: Role, subscriber: str | None, expires_s: float | None, now_s: float
    ) -> tuple[str, Token]:
        """A new token: its text, which nobody can be told again, and what is known of it.

        Raises TokenError, DatabaseError.
        """
        if (role == "selfcare") != (subscriber is not None):
            raise TokenError("expected a subscriber with the role selfcare, and with no other")
        text = secrets.token_urlsafe(32)
        row = (_hash(text), name, role, subscriber, now_s, expires_s)
        with self._database.write() as connection:
            query = "INSERT INTO tokens(hash, name, role, subscriber, created_s, expires_s) VALUES(?, ?, ?, ?, ?, ?)"
            number = connection.execute(query, row).lastrowid
        return text, Token(number or 0, name, role, subscriber, now_s, expires_s, None)

    def find(self, text: str, now_s: float) -> Token | None:
        """Whose token that is, unless it is nobody's or over."""
        return self._find("hash = ?", (_hash(text),), now_s)

    def _find(self, condition: str, values: tuple[Any, ...], now_s: float) -> Token | None:
        with self._database.look() as connection:
            row = connection.execute(f"SELECT {FIELDS} FROM tokens WHERE {condition}", values).fetchone()
        if row is None:
            return None
        token = Token(*row)
        if token.expires_s is not None and token.expires_s <= now_s:
            return None
        if token.used_s is None or now_s - token.used_s > NOTED_S:
            with self._database.write() as connection:
                connection.execute("UPDATE tokens SET used_s=? WHERE token=?", (now_s, token.id))
        return token

    def holds(self, number: int, now_s: float) -> bool:
        """Does a token hold still?"""
        query = "SELECT 1 FROM tokens WHERE token=? AND (expires_s IS NULL OR expires_s > ?)"
        with self._database.look() as connection:
            return connection.execute(query, (number, now_s)).fetchone() is not None

    def list_all(self) -> list[Token]:
        """All tokens, the oldest first, also those that are over."""
        with self._database.read() as connection:
            return [Token(*row) for row in connection.execute(f"SELECT {FIELDS} FROM tokens ORDER BY token")]

    def revoke(self, number: int) -> bool:
        """Have a token, and the sessions that were opened with it, hold no more. False: there is none of that number."""
        with self._database.write() as connection:
            return connection.execute("DELETE FROM tokens WHERE token=?", (number,)).rowcount > 0

    # ---- sessions of pages --------------------------------------------------------------------------------------------
    def open_session(self, token: Token, now_s: float) -> str:
        """A new session of a token's owner: the text of its cookie."""
        text = secrets.token_urlsafe(24)
        with self._database.write() as connection:
            connection.execute("DELETE FROM sessions WHERE expires_s <= ?", (now_s,))
            query = "SELECT hash FROM sessions WHERE token=? ORDER BY expires_s DESC LIMIT -1 OFFSET ?"
            old = connection.execute(query, (token.id, SESSION_LIMIT - 1)).fetchall()
            connection.executemany("DELETE FROM sessions WHERE hash=?", old)
            connection.execute("INSERT INTO sessions VALUES(?, ?, ?)", (_hash(text), token.id, now_s + SESSION_S))
        return text

    def find_session(self, text: str, now_s: float) -> Token | None:
        """Whose session that is, unless it, or its token, is over."""
        condition = "token = (SELECT token FROM sessions WHERE hash=? AND expires_s > ?)"
        return self._find(condition, (_hash(text), now_s), now_s)

    def close_session(self, text: str) -> None:
        """End a session, if there is one."""
        with self._database.write() as connection:
            connection.execute("DELETE FROM sessions WHERE hash=?", (_hash(text),))

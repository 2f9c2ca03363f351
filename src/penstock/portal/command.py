"""`penstock token` and `penstock events`: on the portal's own files, beside the process or without one.

They know where the files are, and how things are worded.
"""

import json
import os
import sys
import time
from contextlib import closing
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any, get_args

from rich.console import Console
from rich.table import Table
from rich.text import Text

from penstock.control.configuration import load_configuration
from penstock.control.portal.settings import ApiSettings
from penstock.errors import PenstockError
from penstock.portal.journal import Journal, Row
from penstock.portal.schema import open_database
from penstock.portal.tokens import DAY_S, Role, Tokens

EXPORTED = ("proto", "host", "action", "reason", "category", "service", "answer", "hook", "detail")
"""Beside time and pseudonym. No address, and nothing by which flows could be found again."""


class CommandError(PenstockError):
    """The question cannot be answered; the text says why."""


def create_token(configuration: Path, role: Role, name: str, subscriber: str | None, days: int | None) -> None:
    """Make a token and print it: nobody can print it again. Raises PenstockError."""
    now_s = time.time()
    with closing(open_database(_find_settings(configuration).database)) as database:
        expires_s = None if days is None else now_s + days * DAY_S
        text, token = Tokens(database).create(name, role, subscriber, expires_s, now_s)
    print(text)
    whose = f"{role} of {subscriber}" if subscriber else role
    until = f", until {_word_time(token.expires_s)}" if token.expires_s is not None else ", until it is revoked"
    print(f"token {token.id}, {whose}{until}: it is shown once", file=sys.stderr)


def list_tokens(configuration: Path) -> None:
    """Print what is known of all tokens. Raises PenstockError."""
    with closing(open_database(_find_settings(configuration).database)) as database:
        tokens = Tokens(database).list_all()
    table = Table("token", "name", "role", "subscriber", "created", "expires", "last used")
    for one in tokens:
        is_over = one.expires_s is not None and one.expires_s <= time.time()
        expires = "never" if one.expires_s is None else _word_time(one.expires_s)
        table.add_row(
            str(one.id),
            Text(one.name),
            one.role,
            Text(one.subscriber or ""),
            _word_time(one.created_s),
            Text(expires, "red" if is_over else ""),
            _word_time(one.used_s) if one.used_s else "never",
        )
    Console().print(table if tokens else "there are no tokens: penstock token create")


def revoke_token(configuration: Path, number: int) -> None:
    """Have a token hold no more, from the next call on. Raises PenstockError."""
    with closing(open_database(_find_settings(configuration).database)) as database:
        if not Tokens(database).revoke(number):
            raise CommandError(f"there is no token {number}: see `penstock token list`")


def export_events(configuration: Path, begin: str | None, end: str | None, output: Path | None) -> None:
    """Write the events of a span of time as JSON lines, with pseudonyms in place of subscribers. Raises PenstockError."""
    from_s = parse_moment(begin) if begin else 0.0
    to_s = parse_moment(end) if end else time.time()
    path = _find_settings(configuration).journal
    if not path.exists():
        raise CommandError(f"{path}: there is no journal: `penstock run` with `api.listen` writes it")
    with closing(Journal(path)) as journal:
        if output is None:
            _write_events(journal, from_s, to_s, sys.stdout)
            return
        try:
            with output.open("x") as sink:
                _write_events(journal, from_s, to_s, sink)
        except OSError as error:
            raise CommandError(f"{output}: {error.strerror}") from None


def _write_events(journal: Journal, from_s: float, to_s: float, sink: IO[str]) -> None:
    key = os.urandom(32)  # thrown away behind the last line: nobody can find out whose pseudonym it was
    for row in journal.read_between(from_s, to_s):
        sink.write(json.dumps(pseudonymise(row, key)) + "\n")


def pseudonymise(row: Row, key: bytes) -> dict[str, Any]:
    """An event as it may leave the house: the same subscriber has the same pseudonym under one key."""
    subscriber = None
    if row.subscriber is not None:
        subscriber = blake2b(row.subscriber.encode("utf-8", "surrogatepass"), digest_size=12, key=key).hexdigest()
    fields = {name: getattr(row, name) for name in EXPORTED}
    stamp = datetime.fromtimestamp(row.at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {"timestamp": stamp, "subscriber": subscriber, **{name: value for name, value in fields.items() if value}}


def parse_moment(text: str) -> float:
    """A day or a moment, UTC unless it says otherwise. Raises CommandError."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"expected a time such as 2026-11-26 or 2026-11-26T08:00, not `{text}`") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def parse_role(text: str) -> Role:
    """A role by its name. Raises CommandError."""
    roles: tuple[Role, ...] = get_args(Role)
    for role in roles:
        if role == text:
            return role
    raise CommandError(f"--role: expected one of {', '.join(roles)}, not `{text}`")


def _find_settings(configuration: Path) -> ApiSettings:
    return load_configuration(configuration).api


def _word_time(at_s: float | None) -> str:
    return f"{datetime.fromtimestamp(at_s or 0, UTC):%Y-%m-%d %H:%M:%S} UTC"

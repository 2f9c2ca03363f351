"""All that the routes of one portal share, and how they get it."""

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from penstock.control.portal.settings import ApiSettings
from penstock.portal.audit import Audit
from penstock.portal.box import Box
from penstock.portal.capture import Captures
from penstock.portal.database import Database
from penstock.portal.journal import Journal, now_s
from penstock.portal.limits import COSTLY_BURST, COSTLY_PER_S, FAILURES_BURST, FAILURES_PER_S, Limits
from penstock.portal.rates import Rates
from penstock.portal.schema import open_database
from penstock.portal.tokens import Tokens


@dataclass
class Portal:
    """One portal."""

    box: Box
    settings: ApiSettings
    database: Database
    journal: Journal
    tokens: Tokens
    audit: Audit
    calls: Limits
    failures: Limits
    captures: Captures
    costly: Limits = field(default_factory=lambda: Limits(COSTLY_PER_S, COSTLY_BURST))
    rates: Rates = field(default_factory=Rates)
    watchers: int = 0
    """Who watches live."""

    @classmethod
    def open(cls, box: Box, settings: ApiSettings) -> "Portal":
        """Open the files. Raises DatabaseError."""
        database = open_database(settings.database)
        calls = Limits(settings.calls_per_s, 2.0 * settings.calls_per_s)
        failures = Limits(FAILURES_PER_S, FAILURES_BURST)
        tokens, audit = Tokens(database), Audit(database)
        directory = settings.database.parent / "captures"
        directory.mkdir(mode=0o700, exist_ok=True)
        captures, journal = Captures(database, directory), Journal(settings.journal)
        journal.also_tell = captures.note
        return cls(box, settings, database, journal, tokens, audit, calls, failures, captures)

    def forget(self) -> None:
        """Delete what is too old, all of it: of each kind, whatever becomes of the others. Raises DatabaseError."""
        with ExitStack() as parts:
            parts.callback(self._forget_audit)
            parts.callback(lambda: self.captures.forget(now_s(), self.settings.keep_days))
            parts.callback(self._forget_events)

    def _forget_events(self) -> None:
        while self.journal.forget(now_s(), self.settings.keep_days, self.settings.journal_rows):
            pass

    def _forget_audit(self) -> None:
        while self.audit.forget(now_s(), self.settings.audit_days):
            pass
        self.database.forget_log()

    def close(self) -> None:
        """Close the files."""
        self.database.close()
        self.journal.close()


async def get_portal(request: Request) -> Portal:
    """The portal of a request."""
    portal: Portal = request.app.state.portal
    return portal


Here = Annotated[Portal, Depends(get_portal)]

"""The part `api` of the configuration: where people and programs ask, what is kept of events, and for how long.

`examples/inline.yaml` describes each key. It opens no file.
"""

from pathlib import Path
from typing import Annotated

from pydantic import Field, PlainValidator

from penstock.control.fields import Count, File, Model
from penstock.control.values import parse_listen

PLACE = Path("/var/lib/penstock/portal")


class Tls(Model):
    """What the API's server proves itself by: PEM files."""

    certificate: File
    key: File


class ApiSettings(Model):
    """The API and the journal behind it."""

    listen: Annotated[str, PlainValidator(parse_listen)] | None = None
    tls: Tls | None = None
    database: File = PLACE / "portal.db"
    journal: File = PLACE / "journal.db"
    keep_days: Annotated[Count, Field(ge=1, le=3650)] = 7
    journal_rows: Annotated[Count, Field(ge=1000, le=100_000_000)] = 1_000_000
    audit_days: Annotated[Count, Field(ge=1, le=3650)] = 365
    calls_per_s: Annotated[Count, Field(ge=1, le=10_000)] = 50

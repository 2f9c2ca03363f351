"""The keys of lists that are fetched: of one entry of `lists` with a `url`, and of `feeds`, which is for all of them.

Where a fetched list lies is settled here, so that whatever reads lists finds a path. It fetches nothing.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, PlainValidator, Strict, ValidationInfo, model_validator

from penstock.control.fields import Count, File, Model
from penstock.control.problems import Location

DIRECTORY = Path("/var/lib/penstock/feeds")
NOWHERE = Path("/nonexistent")  # the path of a list that is fetched, until it is placed
DAY_S = 86_400
MAX_BYTES = 256 << 20  # ten million names are about as much
BASENAME_LIMIT = 80


def parse_feed_url(value: Any) -> str:
    """An address from which a list can be fetched. Whoever may see the log may see it: no credentials."""
    expected = "expected an address in ASCII such as https://lists.example.net/phishing.txt or file:///srv/phishing.txt"
    if not isinstance(value, str) or not re.fullmatch(r"[!-~]{1,2048}", value):
        raise ValueError(expected)
    try:
        parts = urlsplit(value)
        is_whole = bool(parts.hostname) and (parts.port or 1) > 0 if parts.scheme in ("http", "https") else False
    except ValueError:
        raise ValueError(expected) from None
    if "@" in parts.netloc:
        raise ValueError("expected no credentials in the address: `auth_file` is for them")
    if not is_whole and not (parts.scheme == "file" and not parts.netloc and parts.path.startswith("/")):
        raise ValueError(expected)
    if parts.fragment:
        raise ValueError("expected an address without a fragment")
    return value


def parse_proxy(value: Any) -> str:
    """The address of a proxy."""
    expected = "expected an address such as http://proxy.example.net:3128"
    if not isinstance(value, str) or not re.fullmatch(r"https?://[A-Za-z0-9_.\-\[\]:]{1,260}/?", value):
        raise ValueError(expected)
    return value.rstrip("/")


def parse_digest(value: Any) -> str:
    """A SHA-256 digest in hexadecimal."""
    if not isinstance(value, str) or not re.fullmatch(r"[0-9a-fA-F]{64}", value):
        raise ValueError("expected a SHA-256 digest: 64 hexadecimal digits")
    return value.lower()


FeedUrl = Annotated[str, PlainValidator(parse_feed_url)]


class Feeds(Model):
    """How lists are fetched."""

    directory: File = DIRECTORY  # what was fetched last; root's alone
    proxy: Annotated[str, PlainValidator(parse_proxy)] | None = None
    timeout_s: Annotated[Count, Field(ge=1, le=3600)] = 300  # for one list, from the first word to the last byte


class FeedKeys(Model):
    """What an entry of `lists` says of where the list comes from: a file, or a feed with its conditions."""

    path: File = NOWHERE
    url: FeedUrl | None = None
    every_s: Annotated[Count, Field(ge=1, le=30 * DAY_S)] = DAY_S
    max_bytes: Annotated[Count, Field(ge=1, le=4 << 30)] = MAX_BYTES  # as it comes, and unpacked
    sha256: Annotated[str, PlainValidator(parse_digest)] | None = None
    checksum_url: FeedUrl | None = None
    auth_file: File | None = None  # one header line
    lost_share: Annotated[float, Strict(), Field(ge=0, le=1)] = 0.5

    @model_validator(mode="after")
    def _check_place(self) -> Self:
        given = self.model_fields_set
        if self.url is None and self.path == NOWHERE:
            raise ValueError("expected `path` (a file) or `url`")
        if self.url is not None and "path" in given and not self.is_placed:
            raise ValueError("expected either `path` or `url`")
        alone = [key for key in FeedKeys.model_fields if key in given and key not in ("path", "url")]
        if self.url is None and alone:
            raise ValueError(f"expected `url` beside `{alone[0]}`")
        if self.sha256 and self.checksum_url:
            raise ValueError("expected either `sha256` or `checksum_url`")
        if self.url and self.checksum_url and self.url.startswith("file:") != self.checksum_url.startswith("file:"):
            raise ValueError("expected `url` and `checksum_url` both as files, or neither")
        return self

    @property
    def is_placed(self) -> bool:
        """Does `path` say where the fetched list lies?"""
        return self.url is not None and self.path.name == name_file(self.url)

    @property
    def fetching(self) -> tuple[object, ...]:
        """What has to be the same in all entries that name one feed."""
        return self.every_s, self.max_bytes, self.sha256, self.checksum_url, self.auth_file


Source = TypeVar("Source", bound=FeedKeys)


def name_file(url: str) -> str:
    """The name of a fetched list: which one, and what it was called there, for its ending may say what it is."""
    base = re.sub(r"[^A-Za-z0-9._-]", "_", PurePosixPath(urlsplit(url).path).name)[-BASENAME_LIMIT:].lstrip(".")
    return f"{hashlib.sha256(url.encode()).hexdigest()[:16]}-{base or 'list'}"


def place_feeds(lists: tuple[Source, ...], information: ValidationInfo) -> tuple[Source, ...]:
    """The entries of `lists`, those with a `url` with the path at which the fetched list lies."""
    feeds = information.data.get("feeds")
    directory = feeds.directory if feeds else DIRECTORY  # a mistake there is told without this
    return tuple(
        source.model_copy(update={"path": directory / name_file(source.url)}) if source.url else source
        for source in lists
    )


def show_url(url: str) -> str:
    """An address for logs and tables: what stands behind a question mark may be a key."""
    return url.partition("?")[0] + ("?..." if "?" in url else "")


def check_feeds(lists: Sequence[FeedKeys]) -> Iterator[tuple[Location, str]]:
    """What contradicts itself: entries with one address and different conditions."""
    first: dict[str, int] = {}
    for number, source in enumerate(lists):
        if source.url is not None:
            before = first.setdefault(source.url, number)
            if lists[before].fetching != source.fetching:
                yield ("lists", number, "url"), f"expected the conditions of lists[{before}], which is the same feed"

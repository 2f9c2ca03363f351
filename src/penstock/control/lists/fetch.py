"""Fetching one feed: the process that does it (`fetching`), its answer into a file, and what must be true of that.

Everything that comes is bounded here once more, in time and size, and digested: the process may be anybody's by then.
"""

import hashlib
import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from penstock.control.child import DATA, SAID, Child, ChildError
from penstock.control.lists.feed_cache import Feed, FeedError, Record, Version

MODULE = "penstock.control.lists.fetching"
TEXT_LIMIT = 2048
WEB_PAGE = (b"<!doctype", b"<html", b"<?xml", b"<head", b"<body")
START_BYTES = 512


def fetch_version(feed: Feed, record: Record, place: Path) -> Version | Record:
    """Fetch what is newer than the record says, to `place`; where nothing is, what is known now. Raises FeedError."""
    timeout_s = feed.settings.timeout_s
    try:
        with Child(MODULE, _write_order(feed, record), timeout_s) as child:
            return _receive(feed, record, place, child)
    except (ChildError, FeedError) as error:
        place.unlink(missing_ok=True)
        raise FeedError(str(error)) from None
    except OSError as error:
        place.unlink(missing_ok=True)
        raise FeedError(f"{place.parent}: {error.strerror}") from None


def _write_order(feed: Feed, record: Record) -> bytes:
    terms = feed.terms
    order = {
        "url": feed.url,
        "max_bytes": terms.max_bytes,
        "checksum_url": terms.checksum_url,
        "proxy": feed.settings.proxy,
        "etag": record.etag,
        "last_modified": record.last_modified,
        "auth_file": str(terms.auth_file) if terms.auth_file else None,
        "timeout_s": feed.settings.timeout_s,
    }
    return json.dumps(order).encode()


def _receive(feed: Feed, record: Record, place: Path, child: Child) -> Version | Record:
    digest, size_bytes, start, said = hashlib.sha256(), 0, b"", []
    with open(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
        for kind, payload in child.frames():
            if kind == SAID:
                said.append(_read_said(payload))
            elif kind == DATA:
                size_bytes += len(payload)
                if size_bytes > feed.terms.max_bytes:
                    raise FeedError(f"too big: more than {feed.terms.max_bytes:,} bytes (`max_bytes`)")
                start += payload[: START_BYTES - len(start)]
                digest.update(payload)
                file.write(payload)
        file.flush()
        os.fsync(file.fileno())
    record = replace(record, checked_s=time.time(), refused="", refused_s=0.0, failures=0)
    if len(said) == 1 and said[0].get("is_new") is False and size_bytes == 0:
        place.unlink()
        return record
    if len(said) != 2:
        raise FeedError("it ends in the middle")
    head, checksum = said[0], said[1].get("checksum") or feed.terms.sha256
    _check(feed, digest.hexdigest(), checksum, start)
    told = replace(record, etag=_text(head, "etag"), last_modified=_text(head, "last_modified"))
    if digest.hexdigest() == record.sha256:
        place.unlink()
        return told
    modified_ns = place.stat().st_mtime_ns
    found = replace(told, final_url=_text(head, "url"), sha256=digest.hexdigest(), fetched_s=record.checked_s)
    return Version(feed, place, replace(found, size_bytes=size_bytes, modified_ns=modified_ns, counts=()))


def _check(feed: Feed, digest: str, wanted: Any, start: bytes) -> None:
    if feed.terms.checksum_url and not isinstance(wanted, str):
        raise FeedError("no checksum came")
    if wanted and digest != wanted:
        whence = "`sha256`" if feed.terms.sha256 else f"{urlsplit(feed.terms.checksum_url or '').path}"
        raise FeedError(f"wrong checksum: {digest}, and {whence} says {str(wanted)[:64]}")
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(WEB_PAGE):
        raise FeedError("not a list: a web page, or XML")


def _read_said(payload: bytes) -> dict[str, Any]:
    try:
        said = json.loads(payload)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise FeedError("an answer that none should be: a defect to report")
    return said


def _text(said: dict[str, Any], key: str) -> str:
    text = said.get(key)
    return text[:TEXT_LIMIT] if isinstance(text, str) and text.isascii() and text.isprintable() else ""

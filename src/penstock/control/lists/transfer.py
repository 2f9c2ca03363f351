"""One list over HTTP, HTTPS or from a file: asked for on a condition, in pieces, within bounds.

    ask ──► redirects (never from https to http) ──► 304: as before │ 200: pieces ──► gunzip (Content-Encoding)
                                                                      └─ of a gzip file: unpacked, to be measured

It raises TransferError with a reason for people, which never has a header in it. It does not know lists, nor where the
pieces go. HTTP is Python's own (urllib, http.client): see decision 48. RFC 9110: 13 (conditions), 15.4 (redirects).
"""

import http.client
import os
import re
import ssl
import stat
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urljoin, urlsplit

from penstock import __version__
from penstock.control.lists.gunzip import MAGIC, Gunzip, GunzipError

STALL_S = 30.0  # without a byte
PIECE_BYTES = 1 << 16
REDIRECT_LIMIT = 5
REDIRECTS = (301, 302, 303, 307, 308)
CHECKSUM_LIMIT_BYTES = 1 << 20
TAG_LIMIT = 1024  # characters of an ETag that is kept
OTHERWISE_PACKED = (b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"PK\x03\x04")


class TransferError(Exception):
    """Nothing was fetched; the text says why."""


@dataclass(frozen=True)
class Order:
    """What to fetch."""

    url: str
    max_bytes: int
    checksum_url: str | None = None
    proxy: str | None = None
    etag: str = ""
    last_modified: str = ""


@dataclass(frozen=True)
class Head:
    """What came before the pieces."""

    is_new: bool
    url: str  # in the end
    etag: str = ""
    last_modified: str = ""


class Fetching:
    """One list while it is fetched: `head`, then the pieces."""

    def __init__(self, order: Order, header: tuple[str, str] | None, context: ssl.SSLContext | None) -> None:
        """Ask for it. `header`: a line of the request, for this server alone. Raises TransferError."""
        self._order, self._header = order, header
        handlers: list[urllib.request.BaseHandler] = [
            urllib.request.ProxyHandler({"http": order.proxy, "https": order.proxy} if order.proxy else {}),
            _NoRedirect(),
        ]
        if context:
            handlers.append(urllib.request.HTTPSHandler(context=context))
        self._opener = urllib.request.build_opener(*handlers)
        conditions = {"If-None-Match": order.etag, "If-Modified-Since": order.last_modified}
        self._response = self._open(order.url, {name: value for name, value in conditions.items() if value})
        if self._response.status == 304:
            self.head = Head(False, self._response.url)
            return
        if self._response.status != 200:
            raise TransferError(f"the server says {self._response.status} {_printable(self._response.reason)}")
        tag, modified = (_printable(self._response.headers.get(name, "")) for name in ("ETag", "Last-Modified"))
        self.head = Head(True, self._response.url, tag, modified)

    def pieces(self) -> Iterator[bytes]:
        """The list, as the server has it. Raises TransferError."""
        limit_bytes, length = self._order.max_bytes, self._response.headers.get("Content-Length", "")
        if length.isdecimal() and int(length) > limit_bytes:
            raise TransferError(f"too big: {int(length):,} bytes are announced, and `max_bytes` is {limit_bytes:,}")
        coding = self._response.headers.get("Content-Encoding", "identity").strip().lower()
        if coding not in ("identity", "", "gzip", "x-gzip"):
            raise TransferError(f"the server sends the coding {_printable(coding)}, which was not asked for")
        yield from bound(self._decode(coding, limit_bytes), limit_bytes)

    def read_checksum(self) -> str | None:
        """The SHA-256 digest that `checksum_url` has for the list. Raises TransferError."""
        if self._order.checksum_url is None:
            return None
        response = self._open(self._order.checksum_url, {})
        if response.status != 200:
            raise TransferError(f"the checksum: the server says {response.status} {_printable(response.reason)}")
        text = b"".join(_read(response, CHECKSUM_LIMIT_BYTES, "the checksum: too big"))
        return _choose_checksum(text, self._order.url)

    def _decode(self, coding: str, limit_bytes: int) -> Iterator[bytes]:
        packed = _read(self._response, limit_bytes, f"too big: more than {limit_bytes:,} bytes (`max_bytes`)")
        if coding in ("identity", ""):
            yield from packed
            return
        unpacking = Gunzip(limit_bytes)
        for piece in packed:
            yield from unpacking.feed(piece)
        unpacking.finish()

    def _open(self, url: str, conditions: dict[str, str]) -> Any:
        """The response to a request, behind any redirects."""
        asked = url
        for _ in range(REDIRECT_LIMIT + 1):
            headers = {"User-Agent": f"penstock/{__version__}", "Accept-Encoding": "gzip", **conditions}
            if self._header and _origin(url) == _origin(self._order.url):
                headers[self._header[0]] = self._header[1]
            try:
                response = self._opener.open(urllib.request.Request(url, headers=headers), timeout=STALL_S)
            except urllib.error.HTTPError as error:
                response = error
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise TransferError(word_error(error)) from None
            location = response.headers.get("Location")
            if response.status not in REDIRECTS or not location:
                return response
            response.close()
            url = _follow(url, location)
        raise TransferError(f"more than {REDIRECT_LIMIT} redirects, from {asked.partition('?')[0]}")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Redirects are ours: urllib would read their bodies whole, and follow them from https to http."""

    def http_error_302(self, *_: Any) -> None:
        return None

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302  # type: ignore[assignment]


class Local:
    """A list in a file, and its checksum in another, open from the beginning. The file's time is its ETag."""

    def __init__(self, order: Order) -> None:
        """Raises TransferError."""
        self._order = order
        self._file, status = _open_file(order.url)
        self._checksum = _open_file(order.checksum_url)[0] if order.checksum_url else None
        tag = f"{status.st_mtime_ns}-{status.st_size}-{status.st_ino}"
        self.head = Head(tag != order.etag, order.url, tag)

    def pieces(self) -> Iterator[bytes]:
        """The list. Raises TransferError."""
        yield from bound(iter(lambda: self._file.read(PIECE_BYTES), b""), self._order.max_bytes)

    def read_checksum(self) -> str | None:
        """The digest of the list in its checksum's file. Raises TransferError."""
        if self._checksum is None:
            return None
        return _choose_checksum(self._checksum.read(CHECKSUM_LIMIT_BYTES), self._order.url)


def _open_file(url: str) -> tuple[BinaryIO, os.stat_result]:
    path = Path(unquote(urlsplit(url).path))
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO would keep us waiting
    except OSError as error:
        raise TransferError(f"{path}: {error.strerror}") from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise TransferError(f"{path}: is no file")
    return os.fdopen(descriptor, "rb"), status


def bound(pieces: Iterator[bytes], limit_bytes: int) -> Iterator[bytes]:
    """The pieces of a list, as long as neither they nor what they unpack to are too much. Raises TransferError."""
    measured: Gunzip | None = None
    total_bytes = 0
    try:
        for piece in pieces:
            if total_bytes == 0:
                measured = _look_at_start(piece, limit_bytes)
            total_bytes += len(piece)
            if total_bytes > limit_bytes:
                raise TransferError(f"too big: more than {limit_bytes:,} bytes (`max_bytes`)")
            for _ in measured.feed(piece) if measured else ():
                pass
            yield piece
        if measured:
            measured.finish()
    except GunzipError as error:
        raise TransferError(f"gzip: {error}") from None


def find_checksum(text: str, name: str) -> str | None:
    """The digest of a file among the lines of sha256sum(1) or of BSD's sha256, or the only one that there is."""
    digests = []
    for line in text.splitlines():
        found = re.fullmatch(r"([0-9a-fA-F]{64})(?:\s+[* ]?(.+))?", line.strip())
        bsd = re.fullmatch(r"SHA256 \((.+)\) = ([0-9a-fA-F]{64})", line.strip())
        if bsd or found:
            digest, of = (bsd[2], bsd[1]) if bsd else (found[1], found[2]) if found else ("", "")
            if of and of.strip().rpartition("/")[2] == name:
                return str(digest).lower()
            digests.append(str(digest).lower())
    return digests[0] if len(digests) == 1 else None


def _choose_checksum(text: bytes, url: str) -> str:
    name = unquote(urlsplit(url).path).rpartition("/")[2]
    found = find_checksum(text.decode("utf-8", "replace"), name)
    if found is None:
        raise TransferError(f"the checksum: no SHA-256 digest of `{_printable(name)}`")
    return found


def word_error(error: BaseException) -> str:
    """What went wrong, without the layers of exceptions around it."""
    reason = getattr(error, "reason", None)
    if isinstance(reason, BaseException):
        return word_error(reason)
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return f"nothing came for {STALL_S:.0f} s"
    if isinstance(error, http.client.HTTPException):
        return f"no HTTP that can be read: {type(error).__name__}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return _printable(str(error)) or type(error).__name__


def _read(response: Any, limit_bytes: int, too_big: str) -> Iterator[bytes]:
    total_bytes = 0
    while True:
        try:
            piece = response.read1(PIECE_BYTES)
        except http.client.IncompleteRead:
            raise TransferError("it ends in the middle") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise TransferError(word_error(error)) from None
        if not piece:
            break
        total_bytes += len(piece)
        if total_bytes > limit_bytes:
            raise TransferError(too_big)
        yield piece
    length = response.headers.get("Content-Length", "")
    if length.isdecimal() and total_bytes < int(length):
        raise TransferError(f"it ends in the middle: {total_bytes:,} of {int(length):,} bytes came")


def _look_at_start(piece: bytes, limit_bytes: int) -> Gunzip | None:
    if piece.startswith(OTHERWISE_PACKED):
        raise TransferError("packed otherwise than by gzip")
    return Gunzip(limit_bytes) if piece.startswith(MAGIC) else None


def _follow(url: str, location: str) -> str:
    try:
        target = urljoin(url, location)
        parts = urlsplit(target)
        if parts.scheme not in ("http", "https") or not parts.hostname or not target.isascii():
            raise ValueError(parts.scheme)
    except ValueError:
        raise TransferError("a redirect to something else than an http or https address") from None
    if urlsplit(url).scheme == "https" and parts.scheme == "http":
        raise TransferError(f"a redirect from https to http, which anybody could have written: to {parts.hostname}")
    return target.partition("#")[0]


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower()


def _printable(text: str) -> str:
    return re.sub(r"[^ -~]", "?", text)[:TAG_LIMIT]

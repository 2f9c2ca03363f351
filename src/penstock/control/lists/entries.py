"""What a line of a list comes to: entries, or why there are none. Every format speaks of lists in these words.

A name is handed on in the form in which hosts are compared: small ASCII letters (RFC 5890 A-labels), no dot at the end, an
IPv6 address in brackets. It knows neither files nor formats nor categories.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from ipaddress import IPv6Address
from re import compile as compile_pattern
from typing import NamedTuple

import idna

from penstock.control.lists.names_file import Reach

NAME_LIMIT = 253  # characters without the dot at the end (RFC 1035, 2.3.4: 255 bytes on the wire)
SHOWN_LIMIT = 60  # characters of a line that a message quotes

# Letters, digits, hyphens anywhere, and underscores: what clients do ask for, not only what a registrar would sell.
_name = compile_pattern(rb"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*").fullmatch


class Entry(NamedTuple):
    """One thing that a list says: of a name, or of a web address (with a path, in canonical form)."""

    name: bytes
    reach: Reach
    is_allowed: bool = False
    path: bytes = b""


class BadLine(Exception):
    """The line has nothing that can be used; the text says why."""


class NotTaken(Exception):
    """The line can be read, but not be honoured as it is meant; the text says why, alike for all lines of that sort."""


Said = Sequence[Entry] | BadLine | NotTaken


class Line(NamedTuple):
    """One line of a list (or record, in formats that have records), and what it comes to: no entries for a comment."""

    number: int
    text: bytes
    said: Said


Parse = Callable[[bytes], Sequence[Entry]]
"""What a line says, without its line feed. Raises BadLine or NotTaken."""


def parse_said(parse: Parse, line: bytes) -> Said:
    """What a line says, or why it says nothing."""
    try:
        return parse(line)
    except (BadLine, NotTaken) as reason:
        return reason


def parse_name(text: bytes) -> bytes:
    """A name as hosts are compared. Raises BadLine."""
    name = text.lower()
    if name[-1:] == b".":
        name = name[:-1]
    if not name.isascii():
        name = encode_name(name)
    if not _name(name):
        return _parse_ipv6(name)
    if len(name) > NAME_LIMIT:
        raise BadLine(f"a name longer than {NAME_LIMIT} characters")
    return name


def encode_name(name: bytes) -> bytes:
    """An internationalised name in ASCII: UTS 46 (not transitional) for the letters' forms, IDNA 2008 for each label.

    Raises BadLine.
    """
    try:
        text = idna.uts46_remap(name.decode("utf-8"), std3_rules=False, transitional=False)
        labels = (label.encode() if label.isascii() else idna.alabel(label) for label in text.split("."))
        return b".".join(labels).lower()
    except UnicodeError as error:
        reason = str(error) if isinstance(error, idna.IDNAError) else "not UTF-8"
        raise BadLine(f"neither an ASCII name nor an internationalised one: {reason}") from None


def quote(text: bytes) -> str:
    """A piece of a line, fit for a message."""
    return f"`{text[:SHOWN_LIMIT].decode('ascii', 'backslashreplace')}`"


def _parse_ipv6(text: bytes) -> bytes:
    with suppress(ValueError):
        address = IPv6Address(text.decode().removeprefix("[").removesuffix("]"))
        if address.scope_id is None:  # a zone (RFC 4007, 11) is a name of the machine it is written on
            return b"[%s]" % address.compressed.encode()
    rule = " (a filter rule, which this format has not)" if text[:2] in (b"||", b"@@", b"|h") else ""
    raise BadLine(f"{quote(text)} is no name{rule}")

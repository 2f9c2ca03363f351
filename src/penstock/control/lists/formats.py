"""What a line of a list says: the names in it, or why it says nothing that can be used.

    domains   one name a line; leading `*.` or `.` ignored; `#` starts a comment, `!` a comment line
    hosts     an address that leads nowhere (0.0.0.0, 127.x.x.x, ::, ::1), then one or more names; `#` starts a comment

A name is handed on in the form in which hosts are compared: small ASCII letters (RFC 5890 A-labels), no dot at the end, an
IPv6 address in brackets. Both formats cover the name and what lies below it unless the configuration says `match: exact`:
hosts files are made from lists of domains more often than by hand, and one who bakes a name afresh for every visitor, as
phishing does, must not escape by a longer one. A name of one label would cover a top-level domain: it has to be written
`*.name`. It knows neither files nor categories.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from ipaddress import IPv6Address, ip_address
from typing import Literal

Format = Literal["auto", "domains", "hosts"]

NAME_LIMIT = 253  # characters without the dot at the end (RFC 1035, 2.3.4: 255 bytes on the wire)
LINE_LIMIT = 4096  # bytes; a hosts line with nine names, the most that Windows reads, takes less

# Letters, digits, hyphens anywhere, and underscores: what clients do ask for, not only what a registrar would sell.
_name = re.compile(rb"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*").fullmatch
_plain = re.compile(rb"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})+").fullmatch

# Entries that a hosts file needs for the machine it lies on, and that name nobody else.
OF_THE_MACHINE = frozenset(
    b"localhost localhost.localdomain local broadcasthost ip6-localhost ip6-loopback ip6-localnet ip6-mcastprefix "
    b"ip6-allnodes ip6-allrouters ip6-allhosts 0.0.0.0".split()
)


class BadLine(Exception):
    """The line has no name that can be used; the text says why."""


def parse_lines(lines: Iterable[bytes], form: Format) -> Iterator[list[bytes] | BadLine]:
    """For each line its names (none for a comment), or a BadLine."""
    plain, names_only = _plain, form != "hosts"
    for line in lines:
        # Nearly every line of a large list is a bare name.
        if names_only and plain(line) and len(line) <= NAME_LIMIT:
            yield [line]
            continue
        try:
            yield parse_line(line, form)
        except BadLine as reason:
            yield reason


def parse_line(line: bytes, form: Format) -> list[bytes]:
    """The names of one line, without its line feed; none for an empty line or comment. Raises BadLine."""
    line = line.removeprefix(b"\xef\xbb\xbf").strip()
    if not line or line[0] in b"#!":
        return []
    if len(line) > LINE_LIMIT:
        raise BadLine(f"longer than {LINE_LIMIT:,} bytes")
    words = line.partition(b"#")[0].split()
    if form == "domains" or (form == "auto" and len(words) == 1):
        if len(words) != 1:
            raise BadLine("expected one name")
        return [parse_name(words[0])]
    _check_sink(words)
    return [parse_name(word) for word in words[1:] if word.lower() not in OF_THE_MACHINE]


def parse_name(text: bytes) -> bytes:
    """A name as hosts are compared. Raises BadLine."""
    bare = text.removeprefix(b"*.").removeprefix(b".")
    name = bare.lower()
    if name[-1:] == b".":
        name = name[:-1]
    if not name.isascii():
        name = _encode_labels(name)
    if not _name(name):
        return _parse_ipv6(name)
    if len(name) > NAME_LIMIT:
        raise BadLine(f"a name longer than {NAME_LIMIT} characters")
    if b"." not in name and bare == text:
        raise BadLine(f"`{name.decode()}` would cover a top-level domain: write `*.{name.decode()}` to mean that")
    return name


def _encode_labels(name: bytes) -> bytes:
    try:
        return name.decode("utf-8").encode("idna").lower()
    except UnicodeError:
        raise BadLine("neither an ASCII name nor an internationalised one in UTF-8") from None


def _parse_ipv6(text: bytes) -> bytes:
    with suppress(ValueError):
        address = IPv6Address(text.decode().removeprefix("[").removesuffix("]"))
        if address.scope_id is None:  # a zone (RFC 4007, 11) is a name of the machine it is written on
            return b"[%s]" % address.compressed.encode()
    shown = text[:60].decode("ascii", "backslashreplace")
    rule = " (a filter rule, which this format has not)" if text[:2] in (b"||", b"@@", b"|h") else ""
    raise BadLine(f"`{shown}` is no name{rule}")


def _check_sink(words: list[bytes]) -> None:
    try:
        address = ip_address(words[0].decode("ascii", "replace"))
    except ValueError:
        raise BadLine("expected an address, then names") from None
    if len(words) == 1:
        raise BadLine("expected a name behind the address")
    if not (address.is_loopback or address.is_unspecified):
        raise BadLine(f"expected an address that leads nowhere, such as 0.0.0.0, not {address}")

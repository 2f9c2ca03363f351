"""Lists of bare names, and hosts files.

    domains   one name or web address a line; `#` starts a comment, `!` a comment line
    hosts     an address that leads nowhere (0.0.0.0, 127.x.x.x, ::, ::1), then one or more names; `#` starts a comment
    auto      each line as one of both

A bare name covers itself and what lies below it, unless the configuration says `match: exact`: hosts files are made from
lists of domains more often than by hand, and one who bakes a name afresh for every visitor, as phishing does, must not
escape by a longer one. With `match: exact` a name is itself alone, `*.name` what lies below it, `.name` both; without, all
three are both. A name of one label would cover a top-level domain: it has to be written `*.name`. A web address covers
what `policy.urls` says, of its very host. It knows neither files nor categories.
"""

import re
from collections.abc import Sequence
from functools import partial
from ipaddress import ip_address
from typing import Literal

from penstock.control.lists.entries import NAME_LIMIT, BadLine, Entry, Parse, parse_name
from penstock.control.lists.names_file import Reach
from penstock.control.lists.web_address import parse_url

Form = Literal["auto", "domains", "hosts"]
Urls = Literal["path", "host"]

LINE_LIMIT = 4096  # bytes; a hosts line with nine names, the most that Windows reads, takes less
SINKS = (b"0.0.0.0 ", b"127.0.0.1 ", b"0.0.0.0\t", b"127.0.0.1\t")
MARK = b"\xef\xbb\xbf"  # some editors put it at the start of UTF-8

_plain = re.compile(rb"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})+").fullmatch

# Entries that a hosts file needs for the machine it lies on, and that name nobody else.
OF_THE_MACHINE = frozenset(
    b"localhost localhost.localdomain local broadcasthost ip6-localhost ip6-loopback ip6-localnet ip6-mcastprefix "
    b"ip6-allnodes ip6-allrouters ip6-allhosts 0.0.0.0".split()
)


def make_parser(form: Form, match: str | None = None, urls: Urls = "path") -> Parse:
    """What a line says in one of the formats."""
    return partial(parse_line, form=form, match=match, urls=urls)


def parse_line(line: bytes, form: Form, match: str | None = None, urls: Urls = "path") -> Sequence[Entry]:
    """The entries of one line, without its line feed; none for an empty line or comment. Raises BadLine."""
    if form != "hosts" and match != "exact" and _plain(line) and len(line) <= NAME_LIMIT:
        return (Entry(line, Reach.SUBTREE),)
    if len(line) > LINE_LIMIT:
        raise BadLine(f"longer than {LINE_LIMIT:,} bytes")
    line = line.removeprefix(MARK).strip()
    if not line or line[0] in b"#!":
        return ()
    if form != "hosts" and b"://" in line:
        return parse_url(line, urls)  # a `#` in it is no comment
    words = line.partition(b"#")[0].split()
    if form == "domains" or (form == "auto" and len(words) == 1):
        if len(words) != 1:
            raise BadLine("expected one name")
        return parse_url(words[0], urls) if b"/" in words[0] else (parse_entry(words[0], match),)
    _check_sink(words)
    return [parse_entry(word, match) for word in words[1:] if word.lower() not in OF_THE_MACHINE]


def parse_entry(text: bytes, match: str | None) -> Entry:
    """What a name with or without a `*.` or `.` in front stands for. Raises BadLine."""
    bare = text.removeprefix(b"*.")
    reach = Reach.EXACT
    if bare != text:
        reach = Reach.BELOW
    elif text[:1] == b".":
        bare, reach = text[1:], Reach.SUBTREE
    name = parse_name(bare)
    if b"." not in name and bare == text and name[:1] != b"[":
        raise BadLine(f"`{name.decode()}` would cover a top-level domain: write `*.{name.decode()}` to mean that")
    return Entry(name, reach if match == "exact" else Reach.SUBTREE)


def _check_sink(words: list[bytes]) -> None:
    try:
        address = ip_address(words[0].decode("ascii", "replace"))
    except ValueError:
        raise BadLine("expected an address, then names") from None
    if len(words) == 1:
        raise BadLine("expected a name behind the address")
    if not (address.is_loopback or address.is_unspecified):
        raise BadLine(f"expected an address that leads nowhere, such as 0.0.0.0, not {address}")

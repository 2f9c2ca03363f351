"""Trees of lists as squidGuard reads them, UT1's for one: a directory for each category, or an archive of them.

    domains       names, which cover what is below them
    urls          web addresses without a scheme; squidGuard leaves `www.` of a host out of account, so both hosts are taken
    expressions   regular expressions over the whole address: not taken, unless one is no more than a name

Other files say nothing of names. It does not know how a tree is stored.
"""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from penstock.control.lists.bulk import Shape
from penstock.control.lists.entries import Entry, NotTaken, Parse, parse_name
from penstock.control.lists.names_file import Reach
from penstock.control.lists.plain import make_parser
from penstock.control.lists.web_address import parse_url

_escaped_name = re.compile(rb"(\^?)((?:[a-zA-Z0-9_-]+\\\.)+[a-zA-Z0-9_-]+)\$?").fullmatch


def find_parser(member: str) -> tuple[Parse, Sequence[Shape]] | None:
    """How to parse a file of a tree, and the shapes of its bulk; None for a file that says nothing of names."""
    name = PurePosixPath(member).name.removesuffix(".gz")
    if name == "domains":
        return make_parser("domains"), ((b"", b""),)
    if name == "urls":
        return parse_address, ()
    if name in ("expressions", "very_restrictive_expression"):
        return parse_expression, ()
    return None


def parse_address(line: bytes) -> Sequence[Entry]:
    """The entries of a line of `urls`. Raises BadLine."""
    line = line.strip()
    if not line or line[:1] == b"#":
        return ()
    (entry,) = parse_url(line)
    bare = entry.name.removeprefix(b"www.")
    if bare != entry.name or bare[:1] == b"[" or bare.replace(b".", b"").isdigit():
        return (entry,)
    return entry, entry._replace(name=b"www." + bare)


def parse_expression(line: bytes) -> Sequence[Entry]:
    """The entry of a line of `expressions`. Raises NotTaken, BadLine."""
    line = line.strip()
    if not line or line[:1] == b"#":
        return ()
    plain = _escaped_name(line)
    if not plain:
        raise NotTaken("a regular expression")
    return (Entry(parse_name(plain[2].replace(b"\\.", b".")), Reach.EXACT if plain[1] else Reach.SUBTREE),)

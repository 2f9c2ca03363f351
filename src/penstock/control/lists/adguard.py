"""Filter rules in the syntax of AdGuard and Adblock Plus, as far as they speak of names and web addresses.

    ||name^        the name and what is below it        ||*.name^, .name^    what is below it
    |name^  name   the name alone                       ://name^             the name alone
    ||name/path    a web address, below the name too    http://name^         a web address: the name's, over HTTP alone
    @@rule         an exception                         0.0.0.0 name         as in a hosts file, the name alone

`$important`, `$badfilter` and `$all` are honoured. What else a rule asks for is not seen by a box in line (who asks, from
which page, for which kind of resource): it is not taken, and counted by its reason, for without its condition it would
refuse more than its author meant. In a list of rules an exception outranks every rule that it covers, however precise
that is; that is settled here, so that what is handed on follows the rule of all lists: the most precise entry decides.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from penstock.control.lists.bulk import Shape
from penstock.control.lists.entries import BadLine, Entry, NotTaken, Parse, parse_name
from penstock.control.lists.names_file import Reach
from penstock.control.lists.plain import LINE_LIMIT, MARK, parse_line
from penstock.control.lists.web_address import parse_url

SHAPES: tuple[Shape, ...] = ((b"||", b"^"),)
RANKING = (b"@@", b"important", b"badfilter")  # bytes of which one is in every rule that touches others

_cosmetic = re.compile(rb"#@?[$?%]{0,2}#|\$@?\$").search
_hosts_line = re.compile(rb"[0-9a-fA-F:.]+\s+\S").match
_anchored = re.compile(rb"(\|\||\|?https?://|\|?:?//|\||\*?\.|)(\[[0-9a-fA-F:.]+\]|[^/^|*:?$]*)(.*)", re.S).fullmatch
_option_name = re.compile(rb"~?[a-z0-9_-]+").match
_path_end = re.compile(rb"[\^*]+$")


class Rule(NamedTuple):
    """One rule of which something can be taken."""

    entry: Entry
    is_important: bool
    is_badfilter: bool
    key: bytes  # the rule without `$badfilter`: what such a rule switches off


def parse_rule(line: bytes) -> Rule | Sequence[Entry]:
    """A rule; or the entries of a hosts line, none for a comment. Raises BadLine or NotTaken."""
    line = line.removeprefix(MARK).strip()
    if not line or line[:1] == b"!" or (line[:1] == b"[" and line[-1:] == b"]"):
        return ()
    if len(line) > LINE_LIMIT:
        raise BadLine(f"longer than {LINE_LIMIT:,} bytes")
    if _cosmetic(line):
        raise NotTaken("a cosmetic rule")
    if line[:1] == b"#":
        return ()
    if _hosts_line(line):
        return parse_line(line, "hosts", "exact")
    is_allowed = line.startswith(b"@@")
    pattern, options = _split_options(line[2:] if is_allowed else line)
    flags = {option for option in options if option in (b"important", b"badfilter")}
    entry = _parse_pattern(pattern, is_allowed)
    for option in options:
        if option not in flags and (option != b"all" or is_allowed):
            found = _option_name(option)
            kind = "an exception" if is_allowed else "a rule"
            raise NotTaken(f"{kind} with `${found[0].decode() if found else '?'}`")
    key = line.partition(b"$")[0] + b"$" + b",".join(sorted(set(options) - {b"badfilter"}))
    return Rule(entry, b"important" in flags, b"badfilter" in flags, key)


def _split_options(body: bytes) -> tuple[bytes, list[bytes]]:
    if body[:1] == b"/" and re.search(rb"/(\$[a-z~].*)?$", body[1:]) and not body.startswith(b"//"):
        raise NotTaken("a regular expression, or a piece of a path")
    pattern, _, options = body.partition(b"$")
    return pattern, [option.strip() for option in options.split(b",") if option.strip()]


def _parse_pattern(pattern: bytes, is_allowed: bool) -> Entry:
    kind = "an exception" if is_allowed else "a rule"
    below = pattern.startswith(b"||*.")
    found = _anchored(pattern.replace(b"||*.", b"||", 1) if below else pattern)
    front, name, rest = (found[1], found[2], found[3]) if found else (b"", b"", b"")
    if not name or name[-1:] == b".":  # the beginning of a name
        raise NotTaken(f"{kind} of a pattern that is not one name")
    if rest[:1] == b"/" or front.endswith((b"http://", b"https://")):
        return _parse_address(front, name, rest, kind, is_allowed)
    if rest[:1] == b":":
        raise NotTaken(f"{kind} of a port")
    is_ended = rest in (b"^", b"^|", b"|")
    is_open = rest == b"" and b"." in name and front in (b"||", b"", b"*.")  # goes on: taken where it does not
    if not (is_ended or is_open) or (front == b"" and rest != b""):
        raise NotTaken(f"{kind} of a pattern that is not one name")
    reach = Reach.EXACT
    if front == b"||":
        reach = Reach.BELOW if below else Reach.SUBTREE
    elif front in (b".", b"*."):
        reach = Reach.BELOW
    try:
        return Entry(parse_name(name), reach, is_allowed)
    except BadLine:
        if name.isascii() and not re.fullmatch(rb"[a-zA-Z0-9_.\[\]:-]+", name):
            raise NotTaken(f"{kind} of a pattern that is not one name") from None
        raise


def _parse_address(front: bytes, name: bytes, rest: bytes, kind: str, is_allowed: bool) -> Entry:
    if front.endswith(b"https://"):
        raise NotTaken(f"{kind} of a web address over HTTPS, whose path nobody sees")
    path = _path_end.sub(b"", rest)
    if front not in (b"||", b"http://", b"|http://") or re.search(rb"[*^|]|\?$", path):
        raise NotTaken(f"{kind} of a pattern that is not one web address")
    if front == b"||" and path == b"/":
        return Entry(parse_name(name), Reach.SUBTREE, is_allowed)
    (entry,) = parse_url(name + path, reach=Reach.SUBTREE if front == b"||" else Reach.EXACT)
    return entry._replace(is_allowed=is_allowed)


class Ranking:
    """The rules of one list that touch other rules of it. Without any, every rule stands for itself."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._switched_off: set[bytes] = set()
        rules = []
        for line in lines:
            try:
                rule = parse_rule(line)
            except (BadLine, NotTaken):
                continue
            if isinstance(rule, Rule) and rule.is_badfilter:
                self._switched_off.add(rule.key)
            elif isinstance(rule, Rule) and not rule.entry.path:
                rules.append(rule)
        self._ranks: dict[bytes, list[tuple[int, Reach]]] = {}
        for rule in rules:
            rank = _find_rank(rule)
            if rank and rule.key not in self._switched_off:
                self._ranks.setdefault(rule.entry.name, []).append((rank, rule.entry.reach))

    def __bool__(self) -> bool:
        return bool(self._ranks or self._switched_off)

    def parse(self, line: bytes) -> Sequence[Entry]:
        """What a line says among the others. Raises BadLine or NotTaken."""
        rule = parse_rule(line)
        if not isinstance(rule, Rule):
            return rule
        if rule.is_badfilter:
            return ()
        if rule.key in self._switched_off:
            raise NotTaken("a rule that `$badfilter` switches off")
        if not rule.entry.path and self._is_outranked(rule):
            raise NotTaken("a rule that others of the same list outrank")
        return (rule.entry,)

    def _is_outranked(self, rule: Rule) -> bool:
        name, reach, rank = rule.entry.name, rule.entry.reach, _find_rank(rule)
        if any(other > rank and by in (Reach.SUBTREE, reach) for other, by in self._ranks.get(name, ())):
            return True
        while name := name.partition(b".")[2]:
            if any(other > rank and by != Reach.EXACT for other, by in self._ranks.get(name, ())):
                return True
        return False


def _find_rank(rule: Rule) -> int:
    """Which of two rules that speak of one host wins: important exceptions, important rules, exceptions, rules."""
    return 2 * rule.is_important + rule.entry.is_allowed


def read_ranking(lines: Iterable[bytes]) -> tuple[Parse, Sequence[Shape]]:
    """How to parse a list, given its lines with a word of RANKING; and the shapes of its bulk."""
    ranking = Ranking(lines)
    return ranking.parse, () if ranking else SHAPES

"""What would happen to a host for a subscriber, and which list, line and service decided: `penstock explain`.

The decision is the compiled judge's own, on the snapshot's own tables; only the line is looked up here, by reading the
lists again. What DNS says of it is `dns_words`'s. It does not know addresses, flows or protocols.
"""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from penstock.compile.memory import CHECKED, allow, forbid
from penstock.compile.native import kernel
from penstock.control.configuration import Configuration
from penstock.control.dns_words import Rewrite, find_rewrite, word_refusal
from penstock.control.lists.build import read_blocks
from penstock.control.lists.formats import BadLine, parse_lines
from penstock.control.lists.settings import ListSource
from penstock.control.problems import suggest_name
from penstock.errors import PenstockError
from penstock.policy import judge, names
from penstock.policy.actions import ACTION_NAMES, ACTION_TEXTS, REPORT, REWRITE
from penstock.policy.layout import profile_tag
from penstock.policy.snapshot import Snapshot

STYLES = {"forward": "green", "report": "yellow", "rewrite": "yellow"}
PAGES = {"block": "a page that says why", "redirect": "a 302 to the operator's page", "empty": "an empty answer"}
ANSWERS = (  # what a refused client gets: protocol, and the answer, which over HTTP is the action's own
    ("over HTTP", None),
    ("over HTTPS", "the TLS alert unrecognized_name: the browser's own error page"),
    ("over QUIC", "a connection that is closed at once: browsers ask again over TCP"),
)


class ExplainError(PenstockError):
    """The question cannot be answered; the text says why."""


@dataclass(frozen=True)
class Explanation:
    """What would happen, and why. What did not take part is None."""

    host: str
    subscriber: str
    profile: str
    action: str
    would: str
    reason: str
    category: str | None
    service: str | None
    list_path: Path | None
    line: int | None
    entry: str | None
    dns: str | None
    built: datetime


def explain(
    configuration: Configuration, snapshot: Snapshot, host_or_url: str, subscriber_id: str, profile: str | None = None
) -> Explanation:
    """Ask the judge about one host for one subscriber, and DNS for what it says where the judge lets the host be.

    `profile`: his, where the register says another one than the configuration. Raises ExplainError for no host, and
    without a profile for a subscriber whom the configuration does not have.
    """
    if profile is None:
        profiles = {subscriber.id: subscriber.profile for subscriber in configuration.subscribers}
        if subscriber_id not in profiles:
            raise ExplainError(f"there is no subscriber `{subscriber_id}`: {suggest_name(subscriber_id, profiles)}")
        profile = profiles[subscriber_id]
    host = parse_host(host_or_url)
    action, category, service, would, mask = _ask_judge(snapshot, profile, host.encode())
    of_host = [name for bit, name in enumerate(snapshot.category_names) if mask >> bit & 1]
    found = None
    if category >= 0:
        found = find_entry(configuration, snapshot.category_names[category], host.encode())
    reason = _word_reason(snapshot, profile, category, service, of_host, action != would)
    rewrite = find_rewrite(configuration, snapshot, profile, host) if would <= REPORT else None
    if rewrite:
        would = REWRITE
        action = action if snapshot.report_only else REWRITE
        reason = rewrite.word_reason(profile) + ("; the box only reports" if snapshot.report_only else "")
    return Explanation(
        host=host,
        subscriber=subscriber_id,
        profile=profile,
        action=ACTION_NAMES[action],
        would=ACTION_NAMES[would],
        reason=reason,
        category=snapshot.category_names[category] if category >= 0 else None,
        service=snapshot.service_names[service] if service >= 0 else None,
        list_path=found[0] if found else None,
        line=found[1] if found else None,
        entry=found[2] if found else None,
        dns=_word_dns(configuration, ACTION_NAMES[action], rewrite),
        built=datetime.fromtimestamp(snapshot.built_ns / 1e9, UTC),
    )


def parse_host(text: str) -> str:
    """The host of a name, `host:port` or web address, as the judge compares it. Raises ExplainError."""
    bare = text.strip()
    try:
        if re.fullmatch(r"\[?[0-9a-fA-F:.]*:[0-9a-fA-F:.]*:[0-9a-fA-F:.]*\]?", bare):
            return f"[{IPv6Address(bare.strip('[]')).compressed}]"
        host = urlsplit(bare if "//" in bare else f"//{bare}").hostname or ""
        if ":" in host:
            return f"[{IPv6Address(host).compressed}]"
        host = host if host.isascii() else host.encode("idna").decode()
    except ValueError:
        host = ""
    host = host.lower().rstrip(".")
    if not re.fullmatch(r"[!-~]{1,255}", host):
        raise ExplainError(f"`{text}` is neither a name nor a web address")
    return host


def find_entry(configuration: Configuration, category: str, host: bytes) -> tuple[Path, int, str] | None:
    """The first entry of a category's lists, as they are now, that covers a host: path, line from 1, name."""
    for source in configuration.lists:
        if source.category != category:
            continue
        covering = {host} | (set(_find_parents(host)) if source.match == "subtree" else set())
        try:
            found = _find_line(source, covering)
        except (OSError, EOFError, zlib.error):
            continue  # a list that is gone since the build has no line to show
        if found:
            return source.path, *found
    return None


def find_answers(action: str, dns: str | None) -> list[tuple[str, str]]:
    """What the client gets for an action, protocol by protocol; none where the request goes on."""
    over_dns = [("over DNS", dns)] if dns else []
    if action not in PAGES:
        return over_dns
    return over_dns + [(protocol, answer or PAGES[action]) for protocol, answer in ANSWERS]


def render(explanation: Explanation) -> RenderableType:
    """An explanation for a terminal."""
    style = STYLES.get(explanation.action, "red")
    text = ACTION_TEXTS[ACTION_NAMES.index(explanation.action)]
    headline = Text.assemble((explanation.host, "bold"), ": ", (explanation.action, f"bold {style}"), f", {text}")
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    where = f"{explanation.list_path}:{explanation.line}" if explanation.list_path else None
    rows = (
        ("because", explanation.reason),
        ("subscriber", f"{explanation.subscriber} (profile {explanation.profile})"),
        ("service", explanation.service),
        ("category", explanation.category),
        ("list", where or ("no line of the lists as they are now" if explanation.category else None)),
        ("entry", explanation.entry),
        *find_answers(explanation.action, explanation.dns),
        ("lists built", f"{explanation.built:%Y-%m-%d %H:%M:%S} UTC"),
    )
    for label, value in rows:
        if value is not None:
            table.add_row(label, Text(value))
    return Group(headline, table)


@cache
def _kernels() -> tuple[Any, Any, Any]:
    return kernel(judge.judge), kernel(names.find_categories), kernel(judge.find_profile)


def _ask_judge(snapshot: Snapshot, profile: str, host: bytes) -> tuple[int, int, int, int, int]:
    """Action, category, service, the action without report-only mode, and the mask of all categories of the host."""
    run_judge, run_find, run_find_profile = _kernels()
    text, out = np.frombuffer(host, np.uint8), np.zeros(judge.OUT_BYTES // 8, np.int64)
    regions = [allow(a.ctypes.data, a.ctypes.data + a.nbytes) for a in (text, out)] if CHECKED else []
    at, length = text.ctypes.data, len(host)
    record = int(run_find_profile(snapshot.address, profile_tag(profile)))
    action = int(run_judge(snapshot.address, snapshot.names_address, record, at, length, out.ctypes.data))
    mask = int(run_find(snapshot.names_address, at, length))
    for region in regions:
        forbid(region)
    category, service, would = (int(out[at // 8]) for at in (judge.OUT_CATEGORY, judge.OUT_SERVICE, judge.OUT_WOULD))
    return action, category, service, would, mask


def _word_reason(
    snapshot: Snapshot, profile: str, category: int, service: int, of_host: list[str], report_only: bool
) -> str:
    if category >= 0:
        chosen = snapshot.service_names[service]
        decided = f"it is listed as {snapshot.category_names[category]}, and {chosen} is switched on"
        return f"{decided}; the box only reports" if report_only else decided
    if of_host:
        return f"it is listed as {', '.join(of_host)}, on which no service of profile {profile} acts"
    return "no list has it or a name above it"


def _word_dns(configuration: Configuration, action: str, rewrite: Rewrite | None) -> str | None:
    if action in PAGES:
        return word_refusal(configuration.dns)
    return rewrite.answer if rewrite and action == ACTION_NAMES[REWRITE] else None


def _find_parents(host: bytes) -> Iterator[bytes]:
    while host := host.partition(b".")[2]:
        yield host


def _find_line(source: ListSource, covering: set[bytes]) -> tuple[int, str] | None:
    for block in read_blocks(source.path):
        for number, parsed in enumerate(parse_lines(block.lines, source.format), block.first_line):
            if not isinstance(parsed, BadLine):
                for name in parsed:
                    if name in covering:
                        return number, name.decode()
    return None

"""What would happen to a host for a subscriber, and which list, line and service decided: `penstock explain`.

The decision is the compiled judge's own, on the snapshot's own tables; only the line is looked up here, by reading the
lists again. What DNS says of it is `dns_words`'s. It does not know addresses, flows or protocols.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
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

from penstock.compile.memory import CHECKED, INT, allow, forbid
from penstock.compile.native import kernel
from penstock.control.configuration import Configuration
from penstock.control.dns_words import Rewrite, find_rewrite, word_refusal
from penstock.control.lists.entries import BadLine, encode_name
from penstock.control.lists.feed_cache import find_feeds
from penstock.control.lists.feed_report import word_feed
from penstock.control.lists.provenance import Asked, Provenance, find_entry
from penstock.control.lists.web_address import canonicalise
from penstock.control.problems import suggest_name
from penstock.errors import PenstockError
from penstock.policy import judge, names, urls
from penstock.policy.actions import ACTION_NAMES, ACTION_TEXTS, REPORT, REWRITE
from penstock.policy.snapshot import Snapshot

STYLES = {"forward": "green", "report": "yellow", "rewrite": "yellow"}
PAGES = {
    "block": "a page that says why",
    "redirect": "a 302 to the operator's page",
    "empty": "an empty answer",
    "warn": "a page that says why, and by which the subscriber can go on",
}
OWN_TEXTS = {judge.OWN_ALLOW: "it is allowed whatever lists say", judge.OWN_DENY: "it is denied"}
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
    list_member: str | None
    list_format: str | None
    feed: str | None
    line: int | None
    entry: str | None
    entry_text: str | None
    dns: str | None
    built: datetime


@dataclass(frozen=True)
class Chosen:
    """What holds for a subscriber now."""

    services: int
    """A bit for each that is on."""
    switches: int
    """policy.switches."""
    own: Mapping[str, int] = field(default_factory=dict)
    """Names of his own list: OWN_ALLOW or OWN_DENY."""

    def find_own(self, host: str) -> tuple[str, int]:
        """The nearest name of his list that covers a host, and what it says; OWN_NOTHING for none."""
        labels = host.split(".")
        for start in range(len(labels)):
            name = ".".join(labels[start:])
            if name in self.own:
                return name, self.own[name]
        return "", judge.OWN_NOTHING


def explain(
    configuration: Configuration,
    snapshot: Snapshot,
    host_or_url: str,
    subscriber_id: str,
    profile: str | None = None,
    chosen: Chosen | None = None,
) -> Explanation:
    """Ask the judge about one host for one subscriber, and DNS for what it says where the judge lets the host be.

    `profile`: his, where the register says another one than the configuration; `chosen`: what holds for him, where that is
    not his profile alone. Raises ExplainError for no host, and without a profile for a subscriber whom the configuration
    does not have.
    """
    if profile is None:
        profiles = {subscriber.id: subscriber.profile for subscriber in configuration.subscribers}
        if subscriber_id not in profiles:
            raise ExplainError(f"there is no subscriber `{subscriber_id}`: {suggest_name(subscriber_id, profiles)}")
        profile = profiles[subscriber_id]
    host = parse_host(host_or_url)
    path = parse_path(host_or_url)
    chosen = chosen or Chosen(*configuration.resolve_profile(profile))
    own_name, own = chosen.find_own(host)
    action, category, service, would, mask, why = _ask_judge(snapshot, chosen.services, own, host.encode(), path)
    of_host = [name for bit, name in enumerate(snapshot.category_names) if mask >> bit & 1]
    found = None
    if category >= 0:
        _, *paths = canonicalise(host.encode(), path) if path else (b"", b"", b"")
        found = find_entry(configuration, snapshot.category_names[category], Asked(host.encode(), *paths))
    reports = "; the box only reports" if snapshot.report_only and action != would else ""
    reports = reports or ("; the service only reports" if action != would else "")
    reason = _word_reason(snapshot, profile, category, service, of_host) + reports
    if why == judge.BY_OWN_LIST:
        reason = f"{own_name} is on the subscriber's own list: {OWN_TEXTS[own]}"
    elif why == judge.BY_COURT:
        reason = f"it is listed as {snapshot.category_names[category]}, which a court orders to refuse to everybody"
    is_decided = category >= 0 or why == judge.BY_OWN_LIST
    exceptions = [] if is_decided else list(_find_exceptions(configuration, snapshot, host.encode()))
    if exceptions:
        found = exceptions[0][1]
        reason = "; ".join(f"{exception} takes it out of {of}" for of, exception in exceptions)
    rewrite = find_rewrite(configuration, snapshot, chosen.switches, host) if would <= REPORT else None
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
        service=snapshot.service_names.get(service),
        list_path=found.path if found else None,
        list_member=(found.member or None) if found else None,
        list_format=found.format if found else None,
        feed=_word_source(configuration, found),
        line=found.line if found else None,
        entry=found.name if found else None,
        entry_text=found.text if found else None,
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
        host = host if host.isascii() else encode_name(host.encode()).decode()
    except (ValueError, BadLine):
        host = ""
    host = host.lower().rstrip(".")
    if not re.fullmatch(r"[!-~]{1,255}", host):
        raise ExplainError(f"`{text}` is neither a name nor a web address")
    return host


def parse_path(text: str) -> bytes:
    """The path and query of a web address, as far as anybody on the way can see them: over plain HTTP."""
    bare = text.strip()
    if bare.lower().startswith("https:"):
        return b""
    try:
        parts = urlsplit(bare if "//" in bare else f"//{bare}")
    except ValueError:
        return b""
    return (parts.path + (f"?{parts.query}" if parts.query else "")).encode()


def find_answers(action: str, dns: str | None) -> list[tuple[str, str]]:
    """What the client gets for an action, protocol by protocol; none where the request goes on."""
    over_dns = [("over DNS", dns)] if dns else []
    if action not in PAGES:
        return over_dns
    return over_dns + [(protocol, answer or PAGES[action]) for protocol, answer in ANSWERS]


def render(explanation: Explanation) -> RenderableType:
    """An explanation for a terminal."""
    style = STYLES.get(explanation.action, "red")
    meaning = ACTION_TEXTS[ACTION_NAMES.index(explanation.action)]
    headline = Text.assemble((explanation.host, "bold"), ": ", (explanation.action, f"bold {style}"), f", {meaning}")
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    member = f"({explanation.list_member})" if explanation.list_member else ""
    where = f"{explanation.list_path}{member}:{explanation.line}" if explanation.list_path else None
    text = explanation.entry_text if explanation.entry_text != explanation.entry else None
    rows = (
        ("because", explanation.reason),
        ("subscriber", f"{explanation.subscriber} (profile {explanation.profile})"),
        ("service", explanation.service),
        ("category", explanation.category),
        ("list", where or ("no line of the lists as they are now" if explanation.category else None)),
        ("from", explanation.feed),
        ("entry", explanation.entry),
        ("written as", f"{text} ({explanation.list_format})" if text else None),
        *find_answers(explanation.action, explanation.dns),
        ("lists built", f"{explanation.built:%Y-%m-%d %H:%M:%S} UTC"),
    )
    for label, value in rows:
        if value is not None:
            table.add_row(label, Text(value))
    return Group(headline, table)


@cache
def _kernels() -> tuple[Any, Any]:
    return kernel(judge.judge_url), kernel(urls.find_url_categories)


@cache
def _exceptions_kernel() -> Any:
    return kernel(names.find_exceptions)


def compile_explain() -> None:
    """Have the code of `explain` in memory, from the cache or compiled."""
    for one in (*_kernels(), _exceptions_kernel()):
        one.compile((INT,) * one.py_func.__code__.co_argcount)


def _ask_judge(snapshot: Snapshot, services: int, own: int, host: bytes, path: bytes) -> tuple[int, ...]:
    """Action, category, service, the action without report-only mode, the mask of all categories of the request, and who
    decides."""
    run_judge, run_find = _kernels()
    text, target = np.frombuffer(host, np.uint8), np.frombuffer(path or b"\0", np.uint8)
    scratch, out = np.zeros(urls.SCRATCH_BYTES, np.uint8), np.zeros(judge.OUT_BYTES // 8, np.int64)
    arrays = (text, target, scratch, out)
    regions = [allow(a.ctypes.data, a.ctypes.data + a.nbytes) for a in arrays] if CHECKED else []
    asked = (text.ctypes.data, len(host), target.ctypes.data, len(path), scratch.ctypes.data)
    bits = services - (1 << 64) if services >> 63 else services
    action = int(run_judge(snapshot.address, snapshot.names_address, bits, own, *asked, out.ctypes.data))
    mask = int(run_find(snapshot.names_address, *asked))
    for region in regions:
        forbid(region)
    words = (judge.OUT_CATEGORY, judge.OUT_SERVICE, judge.OUT_WOULD, judge.OUT_WHY)
    category, service, would, why = (int(out[at // 8]) for at in words)
    return action, category, service, would, mask, why


def _find_exceptions(configuration: Configuration, snapshot: Snapshot, host: bytes) -> Iterator[tuple[str, Provenance]]:
    """The entries that take a host out of a category."""
    text = np.frombuffer(host, np.uint8)
    region = allow(text.ctypes.data, text.ctypes.data + text.nbytes) if CHECKED else None
    mask = int(_exceptions_kernel()(snapshot.names_address, text.ctypes.data, len(host)))
    if region is not None:
        forbid(region)
    for bit, category in enumerate(snapshot.category_names):
        if mask >> bit & 1:
            found = find_entry(configuration, category, Asked(host))
            if found and found.is_allowed:
                yield category, found


def _word_reason(snapshot: Snapshot, profile: str, category: int, service: int, of_host: list[str]) -> str:
    if category >= 0:
        chosen = snapshot.service_names.get(service)
        return f"it is listed as {snapshot.category_names[category]}, and {chosen} is switched on"
    if of_host:
        return f"it is listed as {', '.join(of_host)}, on which no service of profile {profile} acts"
    return "no list has it or a name above it"


def _word_source(configuration: Configuration, found: Provenance | None) -> str | None:
    feeds = find_feeds(configuration) if found else []
    return next((word_feed(feed) for feed in feeds if found and feed.path == found.path), None)


def _word_dns(configuration: Configuration, action: str, rewrite: Rewrite | None) -> str | None:
    if action in PAGES:
        return word_refusal(configuration.dns)
    return rewrite.answer if rewrite and action == ACTION_NAMES[REWRITE] else None

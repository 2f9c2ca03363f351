"""The demo's DNS rows: who is told what, over UDP and TCP.

    good.example.test   its address            bad.example.test   home: NXDOMAIN, and why; office: its address
    www.google.com      home, who has SafeSearch: the safe address behind an alias; office: the engine's own

Knows what must come of each question, and asks the resolver's own log what it heard. Refuses to know how Penstock does it.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from penstock.demo.box import BLOCKED, GOOD, SERVICES
from penstock.demo.resolver import Resolver, start_resolver
from penstock.demo.servers import ServerError
from penstock.demo.topology import HOME, OFFICE, SERVER_IPV4, SERVER_IPV6, Subscriber, Topology, server_address

BAD = BLOCKED["phishing"]
SEARCH, SAFE = "www.google.com", "forcesafesearch.google.com"
ENGINE = {4: "198.51.100.99", 6: "2001:db8:77::99"}
SAFE_ENGINE = {4: "198.51.100.41", 6: "2001:db8:77::41"}
TRANSPORTS = ("UDP", "TCP")
LOOPBACK = "127.0.0.1"
SETTINGS: dict[str, object] = {
    "profiles": {
        "everything": {"services": list(SERVICES), "safe_search": "strict"},
        "nothing": {"services": []},
    },
    "dns": {"resolvers": [LOOPBACK]},
}
"""What the configuration says beyond that of `box`."""


@dataclass(frozen=True)
class Question:
    """One look-up of the demo."""

    name: str
    transport: str
    subscriber: Subscriber
    family: int

    @property
    def expected(self) -> str:
        """What the client must be told."""
        if self.name == BAD and self.subscriber is HOME:
            return "NXDOMAIN"
        if self.name == SEARCH:
            return (SAFE_ENGINE if self.subscriber is HOME else ENGINE)[self.family]
        return server_address(self.family)

    @property
    def word(self) -> str:
        """The same in a word, for the table."""
        if self.subscriber is OFFICE or self.name == GOOD:
            return "address"
        return "blocked" if self.name == BAD else "safe search"

    @property
    def is_heard(self) -> bool:
        """Must the resolver have heard it?"""
        return self.subscriber is OFFICE or self.name == GOOD


@dataclass(frozen=True)
class Told:
    """What a client was told: addresses or a code, the alias on the way, the Extended DNS Error."""

    got: str
    alias: str
    error: str


def start_resolvers(line: Topology, directory: Path) -> Resolver:
    """The resolver of the internet, and the operator's own in the box, which alone knows the safe engine."""
    site = (SERVER_IPV4, SERVER_IPV6)
    known = {GOOD: site, SEARCH: tuple(ENGINE.values())} | dict.fromkeys(BLOCKED.values(), site)
    start_resolver(line, "box", directory, [LOOPBACK], {SAFE: tuple(SAFE_ENGINE.values())})
    return start_resolver(line, "server", directory, site, known)


def build_rows() -> list[list[Question]]:
    """Every row: a name over a transport, asked by each subscriber over each family."""
    columns = [(one, family) for one in (HOME, OFFICE) for family in (4, 6)]
    return [
        [Question(name, transport, one, family) for one, family in columns]
        for name in (GOOD, BAD, SEARCH)
        for transport in TRANSPORTS
    ]


def send_questions(line: Topology, questions: list[Question]) -> list[Told]:
    """Ask by `penstock.demo.lookups`, in a program of the client's namespace. Raises ServerError."""
    asked = [
        {
            "name": one.name,
            "kind": "A" if one.family == 4 else "AAAA",
            "transport": one.transport,
            "source": one.subscriber.address(one.family),
            "server": server_address(one.family),
        }
        for one in questions
    ]
    argv = [sys.executable, "-m", "penstock.demo.lookups"]
    done = line.run("client", argv, stdin=None, input="".join(json.dumps(one) + "\n" for one in asked))
    if done.returncode:
        raise ServerError(f"the DNS client: {done.stderr.strip()[-400:]}")
    rows: list[dict[str, Any]] = [json.loads(row) for row in done.stdout.splitlines()]
    return [Told(row["got"], row["alias"], row["error"]) for row in rows]


def show_names(console: Console, line: Topology, resolver: Resolver) -> str:
    """Ask, print the table; the first thing that is wrong, or nothing."""
    rows = build_rows()
    questions = [question for row in rows for question in row]
    told = dict(zip(questions, send_questions(line, questions), strict=True))
    wrong = list(find_wrong(told, resolver.read_asked()))
    table = Table(title="What each client was told by DNS")
    table.add_column("name", no_wrap=True)
    for question in rows[0]:
        table.add_column(f"{question.subscriber.name}\nIPv{question.family}")
    for row in rows:
        table.add_row(f"{row[0].name}, {row[0].transport}", *(_word_cell(one, told[one]) for one in row))
    console.print(table)
    if not wrong:
        shown = told[Question(BAD, "UDP", HOME, 4)]
        console.print(f"{BAD}: {shown.got}, with the error {shown.error}", markup=False, highlight=False)
        console.print(f"{SEARCH}: leads to {SAFE}. The resolver's log names neither for {HOME.name}.", markup=False)
    return wrong[0] if wrong else ""


def find_wrong(told: dict[Question, Told], heard: set[tuple[str, str]]) -> Iterator[str]:
    """What did not come as expected, a line each."""
    for question, got in told.items():
        client = question.subscriber.address(question.family)
        asked = (
            f"{question.subscriber.name} asked for {question.name} over {question.transport} and IPv{question.family}"
        )
        if got.got != question.expected:
            yield f"{asked} and was told {got.got} where {question.expected} was expected"
        elif question.word == "blocked" and not got.error:
            yield f"{asked} and was not told why it is refused"
        elif question.word == "safe search" and got.alias != SAFE:
            yield f"{asked} and was led to {asdict(got)}"
        elif ((client, question.name) in heard) != question.is_heard:
            yield f"{asked}, and the resolver {'never ' if question.is_heard else ''}heard it"


def _word_cell(question: Question, got: Told) -> str:
    if got.got != question.expected:
        return f"[red]{got.got}[/]"
    return f"[{'green' if question.is_heard else 'yellow'}]{question.word}[/]"

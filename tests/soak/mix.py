"""What the soak's clients do, how often, and as whom: arrivals that follow from a seed.

    python -m tests.soak.mix < plan      the plan in JSON on the first line: seconds, rate, seed, idle_pause_s, subscribers,
                                         servers

Prints a JSON line for each exchange that is over: `Outcome`. Arrivals never wait for what came before them.

Refuses to know what happens to the box meanwhile.
"""

import asyncio
import itertools
import json
import random
import ssl
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import dns.exception

from penstock.demo.box import BLOCKED, GOOD
from penstock.demo.topology import OFFICE, Subscriber
from tests.soak import exchanges, http3, lookups
from tests.soak.session import SILENT, Broken, Refused, Session

Exchange = Callable[[Session], Awaitable[None]]
BAD = BLOCKED["phishing"]  # what protected subscribers ask for
CASINO = BLOCKED["gambling"]  # what the unprotected one asks for: a server's log tells the two apart by the name
SHUT = Subscriber("shut", "10.77.0.4", "fd77::4")  # protected, and fails closed
IDLE_COUNT = 5  # for each subscriber and family
FIRST_PORT = 10_000

KINDS: dict[str, tuple[float, str, Exchange]] = {
    "close": (24, GOOD, exchanges.close_http),
    "close tls": (12, GOOD, exchanges.close_https),
    "keep": (8, GOOD, exchanges.keep_http),
    "keep tls": (5, GOOD, exchanges.keep_https),
    "download": (4, GOOD, exchanges.download),
    "paced download": (2, GOOD, exchanges.paced_download),
    "upload": (4, GOOD, exchanges.upload),
    "chunked upload": (4, GOOD, exchanges.chunked_upload),
    "slow upload": (2, GOOD, exchanges.slow_upload),
    "upgrade": (3, GOOD, exchanges.upgrade),
    "curl": (1.5, GOOD, exchanges.curl),
    "quic": (2, GOOD, http3.quic),
    "dns": (6, GOOD, lookups.ask_udp),
    "dns text": (4, "text", lookups.ask_udp),
    "dns tcp": (3, GOOD, lookups.ask_tcp),
    "listed": (4, BAD, exchanges.close_http),
    "listed tls": (3, BAD, exchanges.close_https),
    "listed later": (2, GOOD, exchanges.listed_later),
    "listed quic": (0.7, BAD, http3.quic),
    "listed dns": (3, BAD, lookups.ask_udp),
    "listed dns tcp": (2, BAD, lookups.ask_tcp),
}
"""Kinds of exchanges: their weight, the host that is asked for, and how."""


@dataclass(frozen=True)
class Outcome:
    """What came of an exchange. `what`: `ok`, `refused: ...` (by Penstock), or what broke it."""

    kind: str
    who: str
    family: int
    seed: int
    begin_s: float
    end_s: float
    longest_s: float
    sent_bytes: int
    received_bytes: int
    what: str
    ports: list[int] = field(default_factory=list)

    @property
    def is_listed(self) -> bool:
        """Does it ask for a listed name?"""
        return self.kind.startswith("listed")

    @property
    def is_protected(self) -> bool:
        """Is a listed name to be refused?"""
        return self.who != OFFICE.name


@dataclass(frozen=True)
class Plan:
    """What to do. `subscribers`: the addresses of each by family; `servers`: the server's."""

    seconds: float
    rate: float
    seed: int
    idle_pause_s: float
    subscribers: dict[str, dict[str, str]]
    servers: dict[str, str]
    weights: dict[str, float]  # of the subscribers
    fresh_ports: bool = False  # no port is used twice: what breaks then breaks for another reason


class Mix:
    """The clients of one run."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.random = random.Random(plan.seed)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE
        self.begin_s = time.monotonic()
        self.end_s = self.begin_s + plan.seconds
        sources = [source for addresses in plan.subscribers.values() for source in addresses.values()]
        self.ports = {source: itertools.count(FIRST_PORT) for source in sources} if plan.fresh_ports else {}

    async def run(self) -> None:
        """Start each exchange when it is due; end when all are over."""
        async with asyncio.TaskGroup() as group:
            for who in self.plan.subscribers:
                for family in ("4", "6"):
                    for _ in range(IDLE_COUNT):
                        group.create_task(self._play("idle", self._make("idle", GOOD, who, family), self._idle))
            due_s = self.begin_s
            while (due_s := due_s + self.random.expovariate(self.plan.rate)) < self.end_s:
                if (ahead_s := due_s - time.monotonic()) > 0.0005:
                    await asyncio.sleep(ahead_s)
                kind, session = self._draw()
                group.create_task(self._play(kind, session, KINDS[kind][2]))

    def _draw(self) -> tuple[str, Session]:
        kind = self.random.choices(list(KINDS), [weight for weight, _, _ in KINDS.values()])[0]
        who = self.random.choices(list(self.plan.weights), list(self.plan.weights.values()))[0]
        return kind, self._make(kind, KINDS[kind][1], who, self.random.choice("46"))

    def _make(self, kind: str, host: str, who: str, family: str) -> Session:
        source, server = self.plan.subscribers[who][family], self.plan.servers[family]
        listed, seed = CASINO if who == OFFICE.name else BAD, self.random.getrandbits(48)
        asked, ports = listed if host == BAD else host, self.ports.get(source)
        return Session(kind, who, source, server, asked, listed, seed, self.context, self.end_s, ports)

    async def _idle(self, session: Session) -> None:
        await asyncio.sleep(session.chance.random() * 2)
        await exchanges.idle(session, self.plan.idle_pause_s)

    async def _play(self, kind: str, session: Session, exchange: Exchange) -> None:
        begin_s = time.monotonic()
        try:
            await exchange(session)
            what = "ok"
        except Refused as refused:
            what = f"refused: {refused}"
        except ssl.SSLError as error:
            what = ("refused" if "UNRECOGNIZED_NAME" in str(error) else "broken") + f": {error.reason}"
        except (TimeoutError, dns.exception.Timeout):
            what = f"{SILENT} in time"
        except (Broken, OSError, EOFError, dns.exception.DNSException) as error:
            is_end = isinstance(error, OSError | EOFError) and session.host == BAD
            what = f"refused: ended: {error}" if is_end else f"broken: {type(error).__name__}: {error}"
        family = 6 if ":" in session.server else 4
        outcome = Outcome(
            kind, session.who, family, session.seed, begin_s, time.monotonic(), session.longest_s,
            session.sent_bytes, session.received_bytes, what, session.ports,
        )  # fmt: skip
        print(json.dumps(asdict(outcome)), flush=True)


def read_outcome(line: str) -> Outcome:
    """An exchange's line."""
    fields: dict[str, Any] = json.loads(line)
    return Outcome(**fields)


def main() -> None:
    """Do what the plan on standard input says."""
    plan = Plan(**json.loads(sys.stdin.readline()))
    asyncio.run(Mix(plan).run())


if __name__ == "__main__":
    main()
